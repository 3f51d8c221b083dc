//! The command lines of tools.

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A program and its arguments, started without a shell.
    Program(Vec<String>),
    /// Lines for `sh`, each of which must succeed.
    Shell(String),
}

impl CommandLine {
    /// Reads the input `run`: a JSON array of strings is a program with its arguments, anything else is for a shell.
    #[must_use]
    pub fn from_input(text: &str) -> Self {
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(words) if !words.is_empty() => Self::Program(words),
            _ => Self::Shell(text.to_owned()),
        }
    }

    /// Returns the program to start, followed by its arguments.
    #[must_use]
    pub fn to_argv(&self) -> Vec<String> {
        match self {
            Self::Program(words) => words.clone(),
            Self::Shell(lines) => vec!["sh".to_owned(), "-euc".to_owned(), lines.clone()],
        }
    }

    /// Returns the command line as a person would type it.
    #[must_use]
    pub fn display_text(&self) -> String {
        match self {
            Self::Program(words) => words.join(" "),
            Self::Shell(lines) => lines.trim().to_owned(),
        }
    }
}

/// One of the commands that a tool needs for one verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCommand {
    /// Its name in the log, if there are several.
    pub name: Option<String>,
    /// The command line to start.
    pub line: CommandLine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_a_program_and_everything_else_is_for_a_shell() {
        let program = CommandLine::from_input(r#"["./migrate", "--to", "head now"]"#);
        assert_eq!(program.to_argv(), ["./migrate", "--to", "head now"]);
        assert_eq!(program.display_text(), "./migrate --to head now");
        assert_eq!(CommandLine::from_input("make migrate").to_argv(), ["sh", "-euc", "make migrate"]);
        assert_eq!(CommandLine::from_input("[]").to_argv(), ["sh", "-euc", "[]"]);
    }
}
