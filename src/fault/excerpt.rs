//! An excerpt of a file's line for the reader of a report.

use serde::{Serialize, Serializer};

/// Length of the shown part of a line, in characters.
const SHOWN_CHARS: usize = 120;

/// Length of the part of a line that is kept on each side of its column, in characters. A secret that reaches into the
/// shown part lies completely within the kept part, however it is encoded.
const KEPT_CHARS: usize = 64 << 10;

/// A line and a column in it. The line is cut only when it is rendered, after redaction: in a line that was cut before,
/// a partial secret would not be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    line: String,
    /// 1-based, in characters.
    column: usize,
}

impl Excerpt {
    /// Keeps the part of the line around this 1-based column.
    #[must_use]
    pub fn new(line: &str, column: usize) -> Self {
        let first = column.saturating_sub(KEPT_CHARS);
        Self { line: line.chars().skip(first).take(2 * KEPT_CHARS).collect(), column: column - first }
    }

    /// Returns the excerpt with another text for its line; `change` maps the line and the byte offset of the column to
    /// their new values.
    #[must_use]
    pub fn map_line(&self, change: impl FnOnce(&str, usize) -> (String, usize)) -> Self {
        let offset = self.line.char_indices().nth(self.column.saturating_sub(1)).map_or(self.line.len(), |(at, _)| at);
        let (line, offset) = change(&self.line, offset);
        let column = line.get(..offset).map_or(0, |before| before.chars().count()) + 1;
        Self { line, column }
    }

    /// Renders the line and a caret under the column; a long line is cut on both sides of it. Tabs are repeated in the
    /// caret's line, so that the caret is in the right place at any tab width.
    #[must_use]
    pub fn render(&self) -> String {
        let Self { line, column } = self;
        let length = line.chars().count();
        let first =
            if length <= SHOWN_CHARS { 0 } else { column.saturating_sub(SHOWN_CHARS / 2).min(length - SHOWN_CHARS) };
        let shown: String = line.chars().skip(first).take(SHOWN_CHARS).collect();
        let left = if first == 0 { "" } else { "…" };
        let right = if first + SHOWN_CHARS < length { "…" } else { "" };
        let before_caret = column.saturating_sub(1 + first);
        let mut padding: String =
            left.chars().chain(shown.chars().take(before_caret)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        padding.push('^');
        format!("{left}{shown}{right}\n{padding}")
    }
}

impl Serialize for Excerpt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_long_line_around_the_column() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let shown = Excerpt::new(&line, 301).render();
        let (text, caret) = shown.split_once('\n').unwrap();
        assert_eq!(text.chars().count(), SHOWN_CHARS + 2);
        assert_eq!(text.chars().nth(caret.chars().count() - 1), Some('X'));
        assert!(text.starts_with("…a") && text.ends_with("b…"));
    }

    #[test]
    fn cuts_a_long_line_on_one_side_only_at_its_ends() {
        let line = format!("X{}Y", "a".repeat(300));
        let first = Excerpt::new(&line, 1).render();
        assert!(first.starts_with("Xa") && first.ends_with("a…\n^"), "{first}");
        let last = Excerpt::new(&line, 302).render();
        let (text, caret) = last.split_once('\n').unwrap();
        assert!(text.starts_with("…a") && text.ends_with("aY"));
        assert_eq!(text.chars().count(), caret.chars().count());
    }

    #[test]
    fn keeps_enough_of_a_line_that_has_no_end() {
        let line = format!("{}X{}", "ä".repeat(200_000), "ü".repeat(200_000));
        let excerpt = Excerpt::new(&line, 200_001);
        assert_eq!(excerpt.line.chars().count(), 2 * KEPT_CHARS);
        let shown = excerpt.render();
        let (text, caret) = shown.split_once('\n').unwrap();
        assert_eq!(text.chars().nth(caret.chars().count() - 1), Some('X'));
        assert!(text.starts_with("…ä") && text.ends_with("ü…"));
    }

    #[test]
    fn the_caret_follows_its_letter() {
        let excerpt = Excerpt::new("set x = 'hunter2', oops", 20);
        let changed = excerpt.map_line(|line, at| (line.replace("hunter2", "***"), at - 4));
        assert_eq!(changed.render(), "set x = '***', oops\n               ^");
    }
}
