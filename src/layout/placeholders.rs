//! The placeholders of a file: those of Flyway, `${name}` anywhere, and the environment variables that goose fills in
//! between `-- +goose ENVSUB ON` and `OFF`.

use super::sections::{Line, SectionProblem};
use std::ops::Range;

/// Returns the value of a placeholder, by its name.
pub type ValueOf<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A part of a text, and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledIn {
    /// The part, in bytes.
    pub range: Range<usize>,
    /// The text in its place.
    pub text: String,
    /// The names of the values in it.
    pub names: Vec<String>,
}

/// Finds the placeholders of Flyway, wherever they stand (Flyway 10, `PlaceholderReplacingReader`).
pub(super) fn of_flyway(text: &str, value_of: &ValueOf<'_>) -> Result<Vec<FilledIn>, SectionProblem> {
    let mut filled = Vec::new();
    let mut start = 0;
    while let Some((range, name)) = next_braced(text, start) {
        let Some(value) = value_of(name) else {
            let shown = name.lines().next().unwrap_or_default();
            return Err(SectionProblem::of_template(
                format!("has the placeholder `${{{shown}}}`, which Flyway fills in"),
                format!(
                    "add a line `{shown}=` with its value to `placeholders`, or write the value itself in its place"
                ),
                range.start,
            ));
        };
        start = range.end;
        filled.push(FilledIn { range, text: value, names: vec![name.to_owned()] });
    }
    Ok(filled)
}

fn next_braced(text: &str, start: usize) -> Option<(Range<usize>, &str)> {
    let begin = start + text.get(start..)?.find("${")?;
    let inside = text.get(begin + 2..)?;
    let end = inside.find('}')?;
    Some((begin..begin + 2 + end + 1, inside.get(..end)?))
}

/// Finds what goose fills in on a line (goose 3, which uses mfridman/interpolate). A variable without a value is empty
/// there; here it is a problem.
pub(super) fn of_goose_line(line: &Line<'_>, value_of: &ValueOf<'_>) -> Result<Vec<FilledIn>, SectionProblem> {
    let mut expansion = Expansion { text: line.text, at: 0, names: Vec::new(), value_of };
    let mut filled = Vec::new();
    while expansion.at < line.text.len() {
        let start = expansion.at;
        let problem = |cause: Problem| cause.into_section_problem(line.range.start + start);
        if let Some(text) = expansion.next_item().map_err(problem)? {
            let range = line.range.start + start..line.range.start + expansion.at;
            filled.push(FilledIn { range, text, names: std::mem::take(&mut expansion.names) });
        }
    }
    Ok(filled)
}

/// A reader of one line.
struct Expansion<'a> {
    text: &'a str,
    at: usize,
    names: Vec<String>,
    value_of: &'a ValueOf<'a>,
}

/// The reason why a line can't be filled in.
enum Problem {
    /// A variable has no value.
    Unset(String),
    /// This can't be read.
    Unreadable(String),
}

impl Problem {
    fn into_section_problem(self, at: usize) -> SectionProblem {
        match self {
            Self::Unset(name) => SectionProblem::of_template(
                format!("has `{name}`, which goose fills in from the environment: `-- +goose ENVSUB ON` is above it"),
                format!(
                    "add a line `{name}=` with its value to `placeholders`, or write the value itself in its place"
                ),
                at,
            ),
            Self::Unreadable(text) => SectionProblem::of_template(
                format!("has `{text}` below `-- +goose ENVSUB ON`, which can't be filled in here"),
                "write `$$` for a `$` that stays, `${NAME}` or `${NAME:-default}` for a value, or `-- +goose ENVSUB OFF` above the line",
                at,
            ),
        }
    }
}

impl Expansion<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Reads the next character, escape or variable; returns what takes its place, if anything does.
    fn next_item(&mut self) -> Result<Option<String>, Problem> {
        if self.eat("\\\\") || self.eat("$(") {
            return Ok(None);
        }
        if self.eat("\\$") || self.eat("$$") {
            return Ok(Some("$".to_owned()));
        }
        if self.rest().len() > 1 && self.rest().starts_with('$') {
            return self.variable().map(Some);
        }
        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
        Ok(None)
    }

    fn variable(&mut self) -> Result<String, Problem> {
        let start = self.at;
        self.at += 1;
        let is_braced = self.eat("{");
        let unreadable = |text: &str| Problem::Unreadable(text.chars().take(12).collect());
        let all = self.text.get(start..).unwrap_or_default();
        let name = self.identifier().ok_or_else(|| unreadable(all))?;
        let value = (self.value_of)(&name);
        self.names.push(name.clone());
        if !is_braced || self.eat("}") {
            return value.ok_or(Problem::Unset(name));
        }
        let value = if self.eat(":-") {
            let default = self.text_until_brace()?;
            value.filter(|value| !value.is_empty()).unwrap_or(default)
        } else if self.eat("-") {
            let default = self.text_until_brace()?;
            value.unwrap_or(default)
        } else if self.eat("?") {
            self.text_until_brace()?;
            value.ok_or(Problem::Unset(name))?
        } else {
            return Err(unreadable(all));
        };
        if self.eat("}") { Ok(value) } else { Err(unreadable(all)) }
    }

    fn identifier(&mut self) -> Option<String> {
        let rest = self.rest();
        let length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let name = rest.get(..length).filter(|name| name.starts_with(char::is_alphabetic))?.to_owned();
        self.at += length;
        Some(name)
    }

    /// Reads a default, which may have variables of its own.
    fn text_until_brace(&mut self) -> Result<String, Problem> {
        let mut text = String::new();
        while !self.rest().is_empty() && !self.rest().starts_with('}') {
            let start = self.at;
            let item = self.next_item()?;
            text.push_str(&item.unwrap_or_else(|| self.text.get(start..self.at).unwrap_or_default().to_owned()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(name: &str) -> Option<String> {
        [("A", "one"), ("EMPTY", ""), ("a b", "blank")]
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }

    fn applied(text: &str, filled: &[FilledIn]) -> String {
        let mut result = text.to_owned();
        filled.iter().rev().for_each(|filled| result.replace_range(filled.range.clone(), &filled.text));
        result
    }

    fn goose(text: &str) -> Result<String, String> {
        let line = Line { text, range: 0..text.len() };
        of_goose_line(&line, &value_of).map(|filled| applied(text, &filled)).map_err(|problem| problem.cause)
    }

    #[test]
    fn flyway_replaces_everywhere_and_needs_a_value() {
        let text = "-- ${A}\nselect '${A}${EMPTY}', $1, ${a b}; select '${'";
        let filled = of_flyway(text, &value_of).unwrap();
        assert_eq!(applied(text, &filled), "-- one\nselect 'one', $1, blank; select '${'");
        let problem = of_flyway("select\n${B}", &value_of).unwrap_err();
        assert!(problem.cause.contains("`${B}`") && problem.at == 7, "{problem:?}");
    }

    #[test]
    fn goose_fills_in_what_a_shell_would() {
        for (text, expected) in [
            (
                "select $A, ${A}, ${B:-two}, ${EMPTY:-two}, '${EMPTY-two}', ${B-$A ${C:-x}};",
                "select one, one, two, two, '', one x;",
            ),
            ("select $$1, \\$A, $(date), 5$", "select $1, $A, $(date), 5$"),
            ("no variable", "no variable"),
            ("${A?is needed}", "one"),
        ] {
            assert_eq!(goose(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, named) in
            [("$B", "`B`"), ("${B?x}", "`B`"), ("$1", "`$1`"), ("${A:1:2}", "`${A:1:2}`"), ("${A", "`${A`")]
        {
            assert!(goose(text).unwrap_err().contains(named), "{text}");
        }
    }
}
