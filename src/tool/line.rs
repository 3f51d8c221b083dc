//! A command of a tool.

/// How it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A program and its arguments; no shell is needed.
    Program(Vec<String>),
    /// Lines for `sh`, of which each must succeed.
    Shell(String),
}

impl Line {
    /// What the user wrote in `run`: a JSON array of texts is a program with its arguments, everything else is for a shell.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(words) if !words.is_empty() => Self::Program(words),
            _ => Self::Shell(text.to_owned()),
        }
    }

    /// The program to start, its arguments behind it.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Program(words) => words.clone(),
            Self::Shell(lines) => vec!["sh".to_owned(), "-euc".to_owned(), lines.clone()],
        }
    }

    /// As a reader would type it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Program(words) => words.join(" "),
            Self::Shell(lines) => lines.trim().to_owned(),
        }
    }
}

/// One command of the several that a tool may need for one thing, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What people call it, if there are several.
    pub name: Option<String>,
    /// What is started.
    pub line: Line,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_a_program_and_everything_else_is_for_a_shell() {
        let program = Line::read(r#"["./migrate", "--to", "head now"]"#);
        assert_eq!(program.words(), ["./migrate", "--to", "head now"]);
        assert_eq!(program.shown(), "./migrate --to head now");
        assert_eq!(Line::read("make migrate").words(), ["sh", "-euc", "make migrate"]);
        assert_eq!(Line::read("[]").words(), ["sh", "-euc", "[]"]);
    }
}
