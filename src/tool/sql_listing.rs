//! A listing, the SQL of the pending migrations and the commands of other verbs in one start of the tool. The command prints
//! what `status` prints, the SQL in lines that begin with a random mark ([`super::PrintedSql`]), and the output of the others.

use super::{command_line::CommandLine, commands::Verb, printed_sql::OutputMark};
use serde::Deserialize;

/// The name and the text of every file in `programs`, as listed by the build script.
const EMBEDDED_PROGRAMS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// The placeholder for the program in a command line.
const PROGRAM_PLACEHOLDER: &str = "{program}";

/// The placeholder for the mark in a command line or a program.
const MARK_PLACEHOLDER: &str = "{mark}";

/// The placeholder for the applied migrations: as a word of a command line, each of them is a word; in a program, they
/// are a JSON array, which is a list in the languages of the programs, too.
const APPLIED_PLACEHOLDER: &str = "{applied}";

/// The placeholder in a program that is `yes` if it is to print the SQL, and else `no`.
const SCRIPTS_PLACEHOLDER: &str = "{scripts}";

/// The placeholder in a program for the commands to run after the list: a JSON array of arrays of words, behind those that
/// start the tool. A program without it runs none.
const ALSO_PLACEHOLDER: &str = "{also}";

/// A recipe's way to get the SQL of the pending migrations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected `hidden` with the reason why the tool can't show SQL, or `line` with the words of a command"
)]
pub(super) enum ScriptSource {
    /// A command that lists the migrations and prints their SQL.
    Listing(SqlListing),
    /// There is none.
    Hidden(HiddenSql),
}

/// A command line, and the program in place of `{program}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlListing {
    line: Vec<String>,
    /// The name of a file in `programs`.
    program: Option<String>,
}

/// The reason why there is no SQL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HiddenSql {
    /// A sentence without its full stop.
    hidden: String,
}

/// The work of one start of a tool, beside its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingRequest {
    /// The mark in front of its lines.
    pub mark: OutputMark,
    /// The applied migrations as the ledger names them; of several ledgers, those in all of them but that of `public`.
    pub applied: Vec<String>,
    /// The SQL of the pending migrations.
    pub scripts: WantedScripts,
    /// The verbs whose commands run after the list, if the program can run them.
    pub also: Vec<Verb>,
    /// The target for them.
    pub target: Option<String>,
}

/// Whether the SQL is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedScripts {
    /// That of every pending migration.
    All,
    /// None.
    None,
}

impl ListingRequest {
    /// Returns a request for the list and the SQL alone.
    #[must_use]
    pub fn for_scripts(mark: OutputMark, applied: Vec<String>) -> Self {
        Self { mark, applied, scripts: WantedScripts::All, also: Vec::new(), target: None }
    }

    /// Returns the text with the values in place of their placeholders.
    pub(super) fn fill_in(&self, text: &str, also: &[Vec<String>]) -> String {
        let scripts = match self.scripts {
            WantedScripts::All => "yes",
            WantedScripts::None => "no",
        };
        text.replace(MARK_PLACEHOLDER, self.mark.seed())
            .replace(SCRIPTS_PLACEHOLDER, scripts)
            .replace(APPLIED_PLACEHOLDER, &serde_json::Value::from(self.applied.clone()).to_string())
            .replace(ALSO_PLACEHOLDER, &serde_json::Value::from(also.to_vec()).to_string())
    }
}

impl ScriptSource {
    /// Returns the reason why there is no SQL, if there is none.
    pub(super) fn hidden_reason(&self) -> Option<&str> {
        match self {
            Self::Listing(_) => None,
            Self::Hidden(HiddenSql { hidden }) => Some(hidden),
        }
    }

    /// Returns the words of the command line.
    pub(super) fn line_mut(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Self::Listing(listing) => Some(&mut listing.line),
            Self::Hidden(_) => None,
        }
    }

    /// Returns the first mistake in it.
    pub(super) fn find_mistake(&self) -> Option<String> {
        let Self::Listing(SqlListing { line, program }) = self else { return None };
        let has_place = line.iter().skip(1).any(|word| word == PROGRAM_PLACEHOLDER);
        match program {
            _ if line.is_empty() => Some("`sql` has no program to start".to_owned()),
            Some(name) if embedded_program(name).is_none() => {
                Some(format!("`sql` names the program `{name}`, which does not exist"))
            }
            program if program.is_some() != has_place => {
                Some("`sql.line` contains `{program}` if, and only if, `sql.program` is given".to_owned())
            }
            _ => None,
        }
    }

    /// Returns whether its program can run the commands of other verbs after the list.
    pub(super) fn runs_more(&self) -> bool {
        let Self::Listing(SqlListing { program: Some(program), .. }) = self else { return false };
        embedded_program(program).is_some_and(|text| text.contains(ALSO_PLACEHOLDER))
    }

    /// Returns the command line; people see `shown`, the commands that it replaces.
    pub(super) fn command(&self, request: &ListingRequest, also: &[Vec<String>], shown: String) -> Option<CommandLine> {
        let Self::Listing(listing) = self else { return None };
        let words = listing.line.iter().flat_map(|word| match word.as_str() {
            PROGRAM_PLACEHOLDER => vec![self.program_text(request, also).unwrap_or_default()],
            APPLIED_PLACEHOLDER => request.applied.clone(),
            MARK_PLACEHOLDER => vec![request.mark.seed().to_owned()],
            _ => vec![word.clone()],
        });
        Some(CommandLine::Substitute { words: words.collect(), shown })
    }

    /// Returns the text of the program.
    pub(super) fn program_text(&self, request: &ListingRequest, also: &[Vec<String>]) -> Option<String> {
        let Self::Listing(SqlListing { program, .. }) = self else { return None };
        Some(request.fill_in(embedded_program(program.as_deref()?)?, also))
    }
}

/// Returns the text of a file in `programs`.
pub(super) fn embedded_program(name: &str) -> Option<&'static str> {
    EMBEDDED_PROGRAMS.iter().find(|(embedded, _)| *embedded == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> ScriptSource {
        serde_yaml::from_str(text).unwrap()
    }

    fn request() -> ListingRequest {
        let applied = vec!["a.1".to_owned(), "it's \"b\" \\".to_owned()];
        ListingRequest::for_scripts(OutputMark::new("0123456789abcdef"), applied)
    }

    fn command(text: &str) -> Option<CommandLine> {
        source(text).command(&request(), &[], "tool list".to_owned())
    }

    #[test]
    fn the_command_gets_mark_and_applied_migrations_as_words() {
        let line = command("line: [tool, list, --sql, '{mark}', '{applied}']").unwrap();
        assert_eq!(line.to_argv(), ["tool", "list", "--sql", "01234567-89abcdef", "a.1", "it's \"b\" \\"]);
        assert_eq!(line.display_text(), "tool list");
        assert_eq!(command("hidden: it can't"), None);
    }

    #[test]
    fn a_program_contains_the_mark_only_in_two_parts_and_names_only_as_json() {
        let also = [vec!["migrate".to_owned(), "--plan".to_owned()]];
        let python = source("{line: [python, -c, '{program}'], program: django-sql.py}");
        let text = python.program_text(&request(), &also).unwrap();
        assert!(text.contains("mark = '01234567-89abcdef'.replace('-', '')\n"), "{text}");
        assert!(!text.contains(request().mark.printed()));
        assert!(text.contains(r#"applied_by_tenants = ["a.1","it's \"b\" \\"]"#), "{text}");
        assert!(text.contains(r#"also = [["migrate","--plan"]]"#) && text.contains("'yes' == 'yes'"), "{text}");
        assert!(python.runs_more() && !source("line: [tool]").runs_more());
    }

    #[test]
    fn a_mistake_is_found_before_anything_is_started() {
        for (text, mistake) in [
            ("line: []", "no program to start"),
            ("{line: [tool, '{program}']}", "if, and only if"),
            ("{line: [tool], program: django-sql.py}", "if, and only if"),
            ("{line: ['{program}'], program: django-sql.py}", "if, and only if"),
            ("{line: [tool, '{program}'], program: nosuch}", "`nosuch`, which does not exist"),
        ] {
            assert!(source(text).find_mistake().is_some_and(|found| found.contains(mistake)), "{text}");
        }
        assert_eq!(source("line: [tool, sql]").find_mistake(), None);
        assert_eq!(source("hidden: it can't").find_mistake(), None);
    }
}
