//! The text of the shell script that runs a command. Pure functions.

use crate::secret::Secret;

/// A command and its environment.
#[derive(Debug, Clone, Default)]
pub struct ShellScript {
    /// Title for people: one line, nothing secret. It stays on the server until the run is settled.
    pub title: String,
    /// Working directory, relative to the login's home; `~/` is that home.
    pub working_directory: Option<String>,
    /// Environment variables, secret or not.
    pub env: Vec<(String, Secret)>,
    /// Files for the command in the run's private directory; they are removed when it has ended.
    pub files: Vec<PrivateFile>,
    /// Shell lines that run before the command, in the same shell.
    pub setup: String,
    /// The command, in shell syntax.
    pub command: String,
    /// Its standard input.
    pub input: CommandInput,
}

/// The standard input of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandInput {
    /// It ends at once.
    #[default]
    Empty,
    /// Lines that come later, over the connection that started the command.
    Lines,
}

/// A file that only the login can read.
#[derive(Debug, Clone)]
pub struct PrivateFile {
    /// Its name: a word without a meaning for a shell.
    pub name: &'static str,
    /// The variable that gets its path, unless it is set.
    pub variable: &'static str,
    /// Its content.
    pub content: Secret,
}

impl ShellScript {
    /// Returns the text that bash runs, or sh where there is no bash. Its first argument is the run's directory.
    pub(super) fn shell_text(&self) -> Secret {
        // Without a trap the shell dies of TERM while its command still cleans up, and the command's exit code is lost.
        let mut lines = vec!["exec </dev/null".to_owned(), "trap 'exit 143' TERM".to_owned()];
        lines.extend(self.exports());
        lines.push("bastion_migrate=$1; set --".to_owned());
        lines.extend(self.files.iter().map(PrivateFile::shell_lines));
        lines.extend(self.directory_change());
        if let Some(path) = self.virtual_environment() {
            lines.push(format!("[ -e {path}/bin/activate ] || : >|\"$bastion_migrate/no-environment\""));
        }
        lines.push("if [ -n \"${BASH_VERSION-}\" ]; then set -euo pipefail; else set -eu; fi".to_owned());
        lines.push(self.setup.clone());
        lines.push(": >|\"$bastion_migrate/prepared\"; unset bastion_migrate".to_owned());
        lines.push(match self.input {
            CommandInput::Empty => self.command.clone(),
            // The set-up must not read them. `start.sh` opens this descriptor.
            CommandInput::Lines => format!("{{ {}\n}} <&4 4<&-", self.command),
        });
        Secret::new(lines.join("\n"))
    }

    /// Returns the text for a command whose output is a stream of bytes: the set-up prints to standard error, and the
    /// command decides itself which failures count.
    pub(super) fn streamed_text(&self) -> Secret {
        let mut lines = vec!["exec </dev/null".to_owned()];
        lines.extend(self.exports());
        lines.extend(self.directory_change());
        lines.push("if [ -n \"${BASH_VERSION-}\" ]; then set -euo pipefail; else set -eu; fi".to_owned());
        lines.extend(["{ :".to_owned(), self.setup.clone(), "} >&2".to_owned()]);
        lines.push("if [ -n \"${BASH_VERSION-}\" ]; then set +euo pipefail; else set +eu; fi".to_owned());
        lines.push(self.command.clone());
        Secret::new(lines.join("\n"))
    }

    fn exports(&self) -> impl Iterator<Item = String> {
        self.env.iter().map(|(name, value)| format!("export {}", quote_word(&format!("{name}={}", value.expose()))))
    }

    fn directory_change(&self) -> Option<String> {
        let directory = self.working_directory.as_deref()?;
        Some(format!("CDPATH= cd -- {} >/dev/null || exit", quote_path(directory)))
    }

    /// Returns the directory as a shell word; empty for the login's home.
    pub(super) fn directory_word(&self) -> String {
        self.working_directory.as_deref().map(quote_path).unwrap_or_else(|| quote_word(""))
    }

    /// Returns the virtual environment that a line of the set-up activates, as it is written there.
    pub(super) fn virtual_environment(&self) -> Option<&str> {
        self.setup.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let enters = words.next().is_some_and(|word| word == "source" || word == ".");
            let file = words.next().filter(|_| enters)?.trim_matches(['"', '\'', ';']);
            let path = file.strip_suffix("/bin/activate")?;
            let plain = |letter: char| letter.is_alphanumeric() || "/._-~${}".contains(letter);
            (!path.is_empty() && path.chars().all(plain)).then_some(path)
        })
    }
}

impl PrivateFile {
    /// Returns the lines that write the file and export its path. `printf` is a builtin, so no process has the content among
    /// its arguments.
    fn shell_lines(&self) -> String {
        let Self { name, variable, content } = self;
        let content = quote_word(content.expose());
        format!(
            "(umask 077; printf '%s\\n' {content} >|\"$bastion_migrate/file.{name}\") || exit\n\
             export {variable}=\"${{{variable}-$bastion_migrate/file.{name}}}\""
        )
    }
}

/// Quotes one word for any POSIX shell (2.2.2: within single quotes every character stands for itself).
pub(super) fn quote_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a program and its arguments for the shell.
#[must_use]
pub fn quote_words(program: &[String]) -> String {
    program.iter().map(|word| quote_word(word)).collect::<Vec<_>>().join(" ")
}

/// Fits a text of ours into one line of a file.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST_LINE).collect()
}

/// Longest title or label, in characters.
const LONGEST_LINE: usize = 500;

/// Quotes a directory; `~` is the login's home, as in a shell.
fn quote_path(directory: &str) -> String {
    match directory.strip_prefix('~') {
        Some("") => "\"$HOME\"".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("\"$HOME\"{}", quote_word(rest)),
        Some(_) | None => quote_word(directory),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a real shell reads what is quoted")]
mod tests {
    use super::*;
    use std::process::Command;

    fn run(shell: &str, script: &ShellScript) -> (String, Option<i32>) {
        let run = tempfile::tempdir().unwrap();
        let work = script.shell_text();
        let output = Command::new(shell).args(["-c", work.expose(), "x"]).arg(run.path()).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    #[test]
    fn values_arrive_as_they_are() {
        for value in [
            "",
            "a b",
            "it's",
            "\"x\"",
            "$HOME `id` $(id)",
            "two\nlines\n",
            "back\\slash\\n",
            "ünï→",
            "-n",
            "a=b;c&d|e*?",
        ] {
            for shell in ["bash", "dash"] {
                let script = ShellScript {
                    env: vec![("VALUE".to_owned(), Secret::new(value))],
                    command: "printf '%s' \"$VALUE\"".to_owned(),
                    ..ShellScript::default()
                };
                assert_eq!(run(shell, &script), (value.to_owned(), Some(0)), "{shell}");
            }
        }
    }

    #[test]
    fn a_directory_may_have_any_name() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["plain", "a b", "it's", "$HOME", "-P", "ü\n"] {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let working_directory = Some(path.to_str().unwrap().to_owned());
            let script =
                ShellScript { working_directory, command: "printf '%s' \"$PWD\"".to_owned(), ..ShellScript::default() };
            assert_eq!(run("dash", &script).0, path.to_str().unwrap());
        }
        assert_eq!(quote_path("~"), "\"$HOME\"");
        assert_eq!(quote_path("~/a b"), "\"$HOME\"'/a b'");
        assert_eq!(quote_path("~other/x"), "'~other/x'");
    }

    #[test]
    fn stops_at_the_first_failure() {
        let script = |setup: &str, command: &str| ShellScript {
            setup: setup.to_owned(),
            command: command.to_owned(),
            ..ShellScript::default()
        };
        assert_eq!(run("dash", &script("false", "echo ran")), (String::new(), Some(1)));
        assert_eq!(run("bash", &script("", "false | true\necho ran")), (String::new(), Some(1)));
        assert_eq!(run("bash", &script("", "echo $unset_name; echo ran")).0, "");
        assert_eq!(run("dash", &script("x=1\n", "echo $x; exit 7")), ("1\n".to_owned(), Some(7)));
    }

    #[test]
    fn finds_the_virtual_environment_of_a_set_up() {
        let environment = |setup: &str| {
            let script = ShellScript { setup: setup.to_owned(), ..ShellScript::default() };
            script.virtual_environment().map(ToOwned::to_owned)
        };
        assert_eq!(environment("cd x\nsource ../venv/bin/activate").as_deref(), Some("../venv"));
        assert_eq!(environment(". \"$HOME/.venv/bin/activate\"").as_deref(), Some("$HOME/.venv"));
        assert_eq!(environment("source .env"), None);
        assert_eq!(environment("source $(id)/bin/activate"), None);
        assert_eq!(environment("echo ../venv/bin/activate"), None);
    }
}
