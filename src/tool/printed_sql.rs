//! The SQL of pending migrations in the output of a tool. The output also contains lines of the app, of an entrypoint and
//! of the migrations themselves, so every line of ours begins with a random mark: behind it are pieces of a JSON object,
//! and a mark alone ends the object. Each object is a script, or the last one of these, which has their number, or the end of
//! another command in the same start.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Maximum number of kept bytes: in JSON, a statement has at most six times its bytes, and hardly ever twice as many.
const MAX_BYTES: usize = 16 << 20;

/// A random mark. A command contains it in two parts, so that a printed command is not taken for its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputMark {
    seed: String,
    printed: String,
}

impl OutputMark {
    /// Creates the mark from a random token, which must be ASCII.
    #[must_use]
    pub fn new(token: &str) -> Self {
        let (first, second) = token.split_at_checked(token.len() / 2).unwrap_or((token, ""));
        Self { seed: format!("{first}-{second}"), printed: token.to_owned() }
    }

    /// Returns the mark as it is passed to the command: with a hyphen in it.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// Returns the mark as the command prints it: without the hyphen.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.printed
    }
}

/// The SQL of a migration as a tool prints it. Untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrintedScript {
    /// The migration's name in the ledger.
    pub name: String,
    /// The schema in which it is so; absent: in all others, or in the only one.
    pub schema: Option<String>,
    /// The statements.
    #[serde(default)]
    pub sql: String,
    /// The statements as the base64 form of a file, in place of `sql`: for programs that can't write a string in JSON.
    base64: Option<String>,
    /// Set if all of them run in one transaction whose BEGIN and COMMIT are not among them.
    #[serde(default)]
    pub whole: bool,
    /// The kinds of code that run as well, as in `Python code`.
    #[serde(default)]
    pub code: Vec<String>,
    /// The reason why there is no SQL.
    pub everything: Option<String>,
}

/// The last object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    scripts: usize,
}

/// The end of another command in the same start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandEnd {
    /// Its index among these commands.
    command: usize,
    /// Its exit code.
    code: i64,
}

/// An object of a command that could print no SQL at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    everything: String,
}

/// An object in the output.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Printed {
    Script(PrintedScript),
    End(End),
    Command(CommandEnd),
    Failure(Failure),
}

/// The marked lines of a command's output.
#[derive(Debug)]
pub struct PrintedSql {
    mark: OutputMark,
    objects: Vec<String>,
    begun: String,
    bytes: usize,
}

impl PrintedSql {
    /// Starts without any line.
    #[must_use]
    pub fn new(mark: OutputMark) -> Self {
        Self { mark, objects: Vec::new(), begun: String::new(), bytes: 0 }
    }

    /// Returns whether this line is marked.
    #[must_use]
    pub fn is_marked(&self, line: &str) -> bool {
        line.contains(self.mark.printed())
    }

    /// Returns whether this line is marked, and keeps it if it is. An unfinished line of the app may stand before the
    /// mark.
    pub fn take_line(&mut self, line: &str) -> bool {
        let Some((_, text)) = line.split_once(self.mark.printed()) else { return false };
        self.bytes = self.bytes.saturating_add(text.len());
        match text.trim() {
            _ if self.bytes > MAX_BYTES => {}
            "" => self.objects.push(std::mem::take(&mut self.begun)),
            // A blank at the end of a piece may belong to a string.
            _ => self.begun.push_str(text.strip_prefix(' ').unwrap_or(text).trim_end_matches(['\r', '\n'])),
        }
        true
    }

    /// Returns the indexes of the other commands that have succeeded.
    #[must_use]
    pub fn succeeded_commands(&self) -> BTreeSet<usize> {
        let succeeded = |object: &String| match serde_json::from_str(object) {
            Ok(Printed::Command(CommandEnd { command, code: 0 })) => Some(command),
            _ => None,
        };
        self.objects.iter().filter_map(succeeded).collect()
    }

    /// Returns the scripts.
    ///
    /// # Errors
    /// The reason why there are none, as a sentence without its full stop: nothing is taken from output that is not
    /// complete, or that has two scripts for one migration.
    pub fn scripts(&self) -> Result<Vec<PrintedScript>, String> {
        if self.bytes > MAX_BYTES {
            return Err("the SQL is too long to be shown".to_owned());
        }
        let incomplete = || "the tool did not print its SQL, or not all of it".to_owned();
        if !self.begun.is_empty() {
            return Err(incomplete());
        }
        let (mut scripts, mut announced) = (Vec::new(), None);
        for object in &self.objects {
            match serde_json::from_str(object) {
                Ok(Printed::Script(script)) if announced.is_none() => scripts.push(script),
                Ok(Printed::End(End { scripts })) if announced.is_none() => announced = Some(scripts),
                Ok(Printed::Failure(Failure { everything })) => return Err(everything),
                Ok(Printed::Command(_)) => {}
                Ok(Printed::Script(_) | Printed::End(_)) | Err(_) => return Err(incomplete()),
            }
        }
        if announced != Some(scripts.len()) {
            return Err(incomplete());
        }
        let mut keys = BTreeSet::new();
        match scripts.iter().find(|script| !keys.insert((&script.name, &script.schema))) {
            Some(twice) => Err(format!("the tool printed the SQL of `{}` twice", twice.name)),
            None => Ok(scripts.into_iter().map(PrintedScript::decoded).collect()),
        }
    }
}

impl PrintedScript {
    /// Puts the decoded statements in the place of their base64 form.
    fn decoded(mut self) -> Self {
        let Some(encoded) = self.base64.take() else { return self };
        match BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(sql) => Self { sql, ..self },
            None => Self { everything: Some("its file is not text in UTF-8".to_owned()), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "0123456789abcdef";

    fn printed(lines: &[&str]) -> (Result<Vec<PrintedScript>, String>, Vec<bool>) {
        let mut printed = PrintedSql::new(OutputMark::new(MARK));
        let taken = lines.iter().map(|line| printed.take_line(&line.replace('#', MARK))).collect();
        (printed.scripts(), taken)
    }

    fn names(lines: &[&str]) -> Result<Vec<String>, String> {
        printed(lines).0.map(|scripts| scripts.into_iter().map(|script| script.name).collect())
    }

    #[test]
    fn scripts_are_read_from_the_marked_lines_among_others() {
        let lines = [
            "loading",
            r##"Applying x...# {"name":"a.1","sql":"select "##,
            "a line of another thread",
            r##"# 1;","whole":true,"code":["Python code"]}"##,
            "#",
            "mark = '01234567-89abcdef'",
            r##"# {"name":"a.2","schema":"public","everything":"it can't"}"##,
            "#",
            r##"# {"scripts":2}"##,
            "#",
        ];
        let (scripts, taken) = printed(&lines);
        let first = PrintedScript {
            name: "a.1".to_owned(),
            schema: None,
            sql: "select  1;".to_owned(),
            base64: None,
            whole: true,
            code: vec!["Python code".to_owned()],
            everything: None,
        };
        let scripts = scripts.unwrap();
        assert_eq!(scripts[0], PrintedScript { sql: "select 1;".to_owned(), ..first });
        assert_eq!(
            (scripts[1].schema.as_deref(), scripts[1].everything.as_deref()),
            (Some("public"), Some("it can't"))
        );
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 7);
    }

    #[test]
    fn nothing_is_taken_from_output_that_is_incomplete_or_ambiguous() {
        let (one, end) = (r##"# {"name":"a.1"}"##, r##"# {"scripts":1}"##);
        assert_eq!(names(&[one, "#", end, "#"]), Ok(vec!["a.1".to_owned()]));
        for lines in [
            vec![],
            vec!["nothing"],
            vec![one, "#"],
            vec![one, "#", end],
            vec![one, end, "#"],
            vec![one, "#", "#", end, "#"],
            vec![end, "#", one, "#"],
            vec![one, "#", end, "#", one, "#", end, "#"],
            vec!["# {\"name\":", "#", end, "#"],
            vec![r##"# {"name":"a.1","extra":1}"##, "#", end, "#"],
        ] {
            assert!(names(&lines).unwrap_err().starts_with("the tool did not print"), "{lines:?}");
        }
        let twice = [one, "#", one, "#", r##"# {"scripts":2}"##, "#"];
        assert_eq!(names(&twice), Err("the tool printed the SQL of `a.1` twice".to_owned()));
        assert_eq!(names(&[one, "#", r##"# {"everything":"no such app"}"##, "#"]), Err("no such app".to_owned()));
    }

    #[test]
    fn the_ends_of_other_commands_may_stand_anywhere() {
        let mut printed = PrintedSql::new(OutputMark::new(MARK));
        let objects =
            [r#"{"command":0,"code":0}"#, r#"{"name":"a.1"}"#, r#"{"command":1,"code":1}"#, r#"{"scripts":1}"#];
        for object in objects.into_iter().chain([r#"{"command":2,"code":0}"#]) {
            assert!(printed.take_line(&format!("{MARK} {object}")) && printed.take_line(MARK));
        }
        assert_eq!((printed.succeeded_commands(), printed.scripts().unwrap().len()), (BTreeSet::from([0, 2]), 1));
    }

    #[test]
    fn a_file_may_be_in_base64() {
        let end = r##"# {"scripts":1}"##;
        let script = |text: &str| {
            let script = format!(r##"# {{"name":"a.1","base64":"{text}"}}"##);
            printed(&[&script, "#", end, "#"]).0.unwrap().remove(0)
        };
        assert_eq!(
            (script("c2VsZWN0IDE7Cg==").sql.as_str(), script("c2VsZWN0IDE7Cg==").everything),
            ("select 1;\n", None)
        );
        for invalid in ["/w==", "!"] {
            assert!(script(invalid).everything.is_some_and(|reason| reason.contains("UTF-8")), "{invalid}");
        }
    }

    #[test]
    fn output_without_end_is_dropped() {
        let mut printed = PrintedSql::new(OutputMark::new(MARK));
        let line = format!("{MARK} {}", "x".repeat(16_000));
        for _ in 0..2_000 {
            assert!(printed.take_line(&line));
        }
        assert!(printed.begun.len() <= MAX_BYTES, "{}", printed.begun.len());
        assert_eq!(printed.scripts(), Err("the SQL is too long to be shown".to_owned()));
    }
}
