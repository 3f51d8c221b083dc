//! What is run, as the text of a shell script. Pure functions.

use crate::secret::Secret;

/// One command with its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What people call it: one line, nothing secret. It is kept on the server until the run is settled.
    pub title: String,
    /// Where it runs, as seen from the login's home; `~/` is that home.
    pub working_directory: Option<String>,
    /// Environment variables, secret or not.
    pub env: Vec<(String, Secret)>,
    /// Lines before the command, in the same shell.
    pub setup: String,
    /// The command, in the shell's own language.
    pub command: String,
}

impl Script {
    /// The text that bash, or where there is none sh, reads and runs. Its first argument is the run's directory.
    pub(super) fn work(&self) -> Secret {
        // A shell without a trap dies of TERM while its command still tidies up; and then nobody knows how that ends.
        let mut lines = vec!["exec </dev/null".to_owned(), "trap 'exit 143' TERM".to_owned()];
        lines.extend(
            self.env.iter().map(|(name, value)| format!("export {}", quoted(&format!("{name}={}", value.expose())))),
        );
        lines.push("bastion_migrate=$1; set --".to_owned());
        if let Some(directory) = &self.working_directory {
            lines.push(format!("CDPATH= cd -- {} >/dev/null || exit", path(directory)));
        }
        if let Some(place) = self.environment() {
            lines.push(format!("[ -e {place}/bin/activate ] || : >|\"$bastion_migrate/no-environment\""));
        }
        lines.push("if [ -n \"${BASH_VERSION-}\" ]; then set -euo pipefail; else set -eu; fi".to_owned());
        lines.push(self.setup.clone());
        lines.push(": >|\"$bastion_migrate/prepared\"; unset bastion_migrate".to_owned());
        lines.push(self.command.clone());
        Secret::new(lines.join("\n"))
    }

    /// The directory as a word of the shell; empty is the login's home.
    pub(super) fn directory(&self) -> String {
        self.working_directory.as_deref().map(path).unwrap_or_else(|| quoted(""))
    }

    /// The virtual environment that a line of the set-up enters, as it is written there.
    pub(super) fn environment(&self) -> Option<&str> {
        self.setup.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let enters = words.next().is_some_and(|word| word == "source" || word == ".");
            let file = words.next().filter(|_| enters)?.trim_matches(['"', '\'', ';']);
            let place = file.strip_suffix("/bin/activate")?;
            let plain = |letter: char| letter.is_alphanumeric() || "/._-~${}".contains(letter);
            (!place.is_empty() && place.chars().all(plain)).then_some(place)
        })
    }
}

/// One word for any shell of POSIX (2.2.2: within single quotes every character stands for itself).
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A program and its arguments, as the shell reads them.
#[must_use]
pub fn words(program: &[String]) -> String {
    program.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Our own text for one line of a file.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST_LINE).collect()
}

/// No title or label needs more.
const LONGEST_LINE: usize = 500;

/// A directory, where `~` is the login's home as it is in a shell.
fn path(directory: &str) -> String {
    match directory.strip_prefix('~') {
        Some("") => "\"$HOME\"".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("\"$HOME\"{}", quoted(rest)),
        Some(_) | None => quoted(directory),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a real shell reads what is quoted")]
mod tests {
    use super::*;
    use std::process::Command;

    fn run(shell: &str, script: &Script) -> (String, Option<i32>) {
        let run = tempfile::tempdir().unwrap();
        let work = script.work();
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
                let script = Script {
                    env: vec![("VALUE".to_owned(), Secret::new(value))],
                    command: "printf '%s' \"$VALUE\"".to_owned(),
                    ..Script::default()
                };
                assert_eq!(run(shell, &script), (value.to_owned(), Some(0)), "{shell}");
            }
        }
    }

    #[test]
    fn a_directory_may_have_any_name() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["plain", "a b", "it's", "$HOME", "-P", "ü\n"] {
            let place = parent.path().join(name);
            std::fs::create_dir(&place).unwrap();
            let working_directory = Some(place.to_str().unwrap().to_owned());
            let script = Script { working_directory, command: "printf '%s' \"$PWD\"".to_owned(), ..Script::default() };
            assert_eq!(run("dash", &script).0, place.to_str().unwrap());
        }
        assert_eq!(path("~"), "\"$HOME\"");
        assert_eq!(path("~/a b"), "\"$HOME\"'/a b'");
        assert_eq!(path("~other/x"), "'~other/x'");
    }

    #[test]
    fn stops_at_the_first_failure() {
        let script = |setup: &str, command: &str| Script {
            setup: setup.to_owned(),
            command: command.to_owned(),
            ..Script::default()
        };
        assert_eq!(run("dash", &script("false", "echo ran")), (String::new(), Some(1)));
        assert_eq!(run("bash", &script("", "false | true\necho ran")), (String::new(), Some(1)));
        assert_eq!(run("bash", &script("", "echo $unset_name; echo ran")).0, "");
        assert_eq!(run("dash", &script("x=1\n", "echo $x; exit 7")), ("1\n".to_owned(), Some(7)));
    }

    #[test]
    fn knows_the_virtual_environment_of_a_set_up() {
        let environment = |setup: &str| {
            let script = Script { setup: setup.to_owned(), ..Script::default() };
            script.environment().map(ToOwned::to_owned)
        };
        assert_eq!(environment("cd x\nsource ../venv/bin/activate").as_deref(), Some("../venv"));
        assert_eq!(environment(". \"$HOME/.venv/bin/activate\"").as_deref(), Some("$HOME/.venv"));
        assert_eq!(environment("source .env"), None);
        assert_eq!(environment("source $(id)/bin/activate"), None);
        assert_eq!(environment("echo ../venv/bin/activate"), None);
    }
}
