//! A change of one object, as lines of a diff and as statements.

/// A change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// Its lines: `+ ` is new, `- ` is gone, two blanks are neither.
    pub lines: Vec<String>,
    /// The statements that make the change, without their semicolons.
    pub statements: Vec<String>,
}

impl SchemaChange {
    pub(super) fn new(statement: &str) -> Self {
        Self { lines: signed('+', statement), statements: vec![statement.to_owned()] }
    }

    pub(super) fn gone(statement: &str, statements: Vec<String>) -> Self {
        Self { lines: signed('-', statement), statements }
    }

    pub(super) fn replaced(before: &str, after: &str, statements: Vec<String>) -> Self {
        Self { lines: changed_lines(before, after), statements }
    }
}

fn signed(sign: char, text: &str) -> Vec<String> {
    text.lines().map(|line| format!("{sign} {line}")).collect()
}

/// Returns the lines of both texts, without most of those that they have in common at their beginning and their end.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let shorter = old.len().min(new.len());
    let same_first = old.iter().zip(&new).take_while(|(left, right)| left == right).count();
    let same_last = old.iter().rev().zip(new.iter().rev()).take(shorter - same_first);
    let same_last = same_last.take_while(|(left, right)| left == right).count();
    let middle = |lines: &[&str], sign: char| {
        let changed = lines.get(same_first..lines.len() - same_last).unwrap_or_default();
        changed.iter().map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let first = old.iter().take(same_first.min(1)).map(|line| format!("  {line}"));
    let left_out = (same_first > 1).then(|| "  …".to_owned());
    first.chain(left_out).chain(middle(&old, '-')).chain(middle(&new, '+')).collect()
}
