//! The command lines of tools.

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A program and its arguments, started without a shell.
    Program(Vec<String>),
    /// Lines for `sh`, each of which must succeed.
    Shell(String),
    /// A program and its arguments that does the work of another command line and more; some of its words are long texts.
    Substitute {
        /// The program and its arguments.
        words: Vec<String>,
        /// The other command line as a person would type it, for display.
        shown: String,
    },
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
            Self::Program(words) | Self::Substitute { words, .. } => words.clone(),
            Self::Shell(lines) => vec!["sh".to_owned(), "-euc".to_owned(), lines.clone()],
        }
    }

    /// Returns the command line as a person would type it.
    #[must_use]
    pub fn display_text(&self) -> String {
        match self {
            Self::Program(words) => words.join(" "),
            Self::Shell(lines) => lines.trim().to_owned(),
            Self::Substitute { shown, .. } => shown.clone(),
        }
    }

    /// Returns the command line behind other words, as in `docker compose run --rm web`.
    #[must_use]
    pub fn behind(self, prefix: &[String]) -> Self {
        match self {
            line if prefix.is_empty() => line,
            Self::Substitute { words, shown } => Self::Substitute {
                words: [prefix.to_vec(), words].concat(),
                shown: format!("{} {shown}", prefix.join(" ")),
            },
            line => Self::Program([prefix.to_vec(), line.to_argv()].concat()),
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

    #[test]
    fn a_prefix_is_put_in_front_of_what_is_run_and_of_what_is_shown() {
        let prefix = ["tini", "--"].map(str::to_owned);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let substitute = CommandLine::Substitute { words: words("tool -c long"), shown: "tool list".to_owned() };
        for (line, argv, shown) in [
            (CommandLine::Program(words("tool list")), words("tini -- tool list"), "tini -- tool list"),
            (
                CommandLine::Shell("tool list".to_owned()),
                [&prefix[..], &["sh".to_owned(), "-euc".to_owned(), "tool list".to_owned()]].concat(),
                "tini -- sh -euc tool list",
            ),
            (substitute.clone(), words("tini -- tool -c long"), "tini -- tool list"),
        ] {
            let line = line.behind(&prefix);
            assert_eq!((line.to_argv(), line.display_text().as_str()), (argv, shown));
        }
        assert_eq!(substitute.clone().behind(&[]), substitute);
    }
}
