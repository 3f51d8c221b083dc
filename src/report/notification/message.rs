//! The content of a notification, the same in every form.

use crate::{
    fault::Fault,
    github::runner::Runner,
    report::{
        entries::MigrationState,
        headline::Headline,
        log_lines::format_millis,
        run_outcome::RunOutcome,
        run_report::RunReport,
        visible_text::{clip_text, replace_control},
    },
    run::LongWait,
    secret::Redactor,
    settings::{Command, Occasion, Resolution},
};

/// Longest text of one fact, in characters: the message is read on a phone, and the rest is in the run.
const MAX_FACT: usize = 500;

/// Longest name (of an environment, a repository, a database), in characters.
const MAX_NAME: usize = 100;

/// A notification. Its texts are redacted and cut, and have no markup yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotificationMessage {
    pub(super) occasion: Occasion,
    /// The first line: the sign, where, and the result.
    pub(super) title: String,
    pub(super) command: Option<Command>,
    pub(super) outcome: Option<RunOutcome>,
    pub(super) repository: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) database: Option<DatabaseName>,
    /// Number of migrations that are done, by whatever the command does with them.
    pub(super) done: usize,
    pub(super) pending: usize,
    pub(super) fault: Option<FaultNote>,
    pub(super) wait: Option<WaitNote>,
    pub(super) run_url: Option<String>,
    pub(super) duration_ms: u64,
}

/// The database, as the report names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct DatabaseName {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
}

/// The first fault.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct FaultNote {
    pub(super) code: &'static str,
    pub(super) stage: &'static str,
    pub(super) cause: String,
    pub(super) fix: String,
}

/// The wait that lasts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct WaitNote {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) seconds: u64,
}

/// One line below the title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) text: String,
}

impl NotificationMessage {
    /// Returns the message about the end of a run; `None` if its outcome is no occasion. The report must be redacted.
    pub(super) fn of_outcome(report: &RunReport, runner: &Runner, redactor: &Redactor) -> Option<Self> {
        let occasion = match report.outcome() {
            RunOutcome::Failed | RunOutcome::Cancelled => Occasion::Failed,
            RunOutcome::InDoubt => Occasion::InDoubt,
            RunOutcome::Success => Occasion::Succeeded,
            RunOutcome::NothingToDo | RunOutcome::Pending => return None,
        };
        let headline = Headline::from_report(report);
        let clean = CleanText(redactor);
        Some(Self {
            outcome: Some(report.outcome()),
            fault: report.faults.first().map(|fault| clean.note_fault(fault)),
            ..Self::without_result(occasion, headline.sign, &headline.sentence, report, (runner, clean))
        })
    }

    /// Returns the message about a wait that lasts. The report must be redacted.
    pub(super) fn of_wait(wait: &LongWait, report: &RunReport, runner: &Runner, redactor: &Redactor) -> Self {
        let clean = CleanText(redactor);
        let seconds = wait.waited.as_secs();
        let sentence = format!("Still waiting for {} after {seconds} s", redactor.redact(&wait.what));
        Self {
            wait: Some(WaitNote { what: clean.fact(&wait.what), why: clean.fact(&wait.why), seconds }),
            ..Self::without_result(Occasion::Blocked, "⏳", &sentence, report, (runner, clean))
        }
    }

    fn without_result(
        occasion: Occasion,
        sign: &str,
        sentence: &str,
        report: &RunReport,
        (runner, clean): (&Runner, CleanText<'_>),
    ) -> Self {
        let repository = runner.repository.as_deref().map(|name| clean.name(name));
        let environment = report.environment.as_deref().map(|name| clean.name(name));
        let places = ["bastion-migrate"].into_iter().chain(repository.as_deref()).chain(environment.as_deref());
        let title = format!("{sign} {} · {sentence}", places.collect::<Vec<_>>().join(" · "));
        let database = report.database.as_ref().map(|facts| DatabaseName {
            name: clean.name(&facts.name),
            host: clean.name(&facts.host),
            port: facts.port,
        });
        let done_state = match report.command {
            Some(Command::Rollback) => MigrationState::RolledBack,
            Some(Command::Resolve(Resolution::NotApplied)) => MigrationState::Unrecorded,
            _ => MigrationState::Applied,
        };
        let done = report.in_state(done_state).count();
        Self {
            occasion,
            title: clean.fact(&title),
            command: report.command,
            outcome: None,
            repository,
            environment,
            database,
            done,
            pending: report.not_done().count(),
            fault: None,
            wait: None,
            run_url: report.run_url.as_deref().map(|url| clean.fact(url)),
            duration_ms: report.duration_ms,
        }
    }

    /// Returns the lines below the title.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut add = |label, text: String| facts.push(Fact { label, text });
        if let Some(FaultNote { code, stage, cause, fix }) = &self.fault {
            add("Cause", format!("{cause} ({code} in {stage})"));
            add("Fix", fix.clone());
        }
        if let Some(wait) = &self.wait {
            add("In the way", wait.why.clone());
        }
        if let Some(DatabaseName { name, host, port }) = &self.database {
            add("Database", format!("{name} at {host}:{port}"));
        }
        if self.done + self.pending > 0 {
            let word = match self.command {
                Some(Command::Rollback) => "rolled back",
                Some(Command::Baseline) => "recorded",
                Some(Command::Resolve(Resolution::Applied)) => "recorded as applied",
                Some(Command::Resolve(Resolution::NotApplied)) => "recorded as not applied",
                _ => "applied",
            };
            add("Migrations", format!("{} {word}, {} pending", self.done, self.pending));
        }
        if self.wait.is_some() {
            add("Running for", format_millis(self.duration_ms));
        }
        facts
    }
}

/// Makes a text fit for a message: redacted, in one line of visible characters, then cut.
#[derive(Clone, Copy)]
struct CleanText<'a>(&'a Redactor);

impl CleanText<'_> {
    fn fact(self, text: &str) -> String {
        self.cut(text, MAX_FACT)
    }

    fn name(self, text: &str) -> String {
        self.cut(text, MAX_NAME)
    }

    fn cut(self, text: &str, letters: usize) -> String {
        let line = self.0.redact(text).split_whitespace().collect::<Vec<_>>().join(" ");
        clip_text(&line.chars().map(replace_control).collect::<String>(), letters)
    }

    fn note_fault(self, fault: &Fault) -> FaultNote {
        FaultNote {
            code: fault.code.name(),
            stage: fault.stage.name(),
            cause: self.fact(&fault.cause),
            fix: self.fact(&fault.fix),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{fault::Code, report::sample, run::event::Event, secret::Secret};
    use std::time::Duration;

    pub(in super::super) fn runner() -> Runner {
        Runner { repository: Some("octo/app".to_owned()), ..Runner::default() }
    }

    /// Returns the message of a run that failed.
    pub(in super::super) fn failed() -> NotificationMessage {
        let report = sample::report_of(&sample::failed_events());
        NotificationMessage::of_outcome(&report, &runner(), &Redactor::default()).unwrap()
    }

    /// Returns the message of a run that waits for this reason.
    pub(in super::super) fn blocked_by(why: &str) -> NotificationMessage {
        let wait = LongWait { what: "the run lock".to_owned(), why: why.to_owned(), waited: Duration::from_secs(61) };
        let report = sample::report_of(&sample::events_until_migration());
        NotificationMessage::of_wait(&wait, &report, &runner(), &Redactor::default())
    }

    #[test]
    fn says_what_happened_where_and_why() {
        let message = failed();
        assert!(message.title.starts_with("❌ bastion-migrate · octo/app · prod · Failed: "), "{}", message.title);
        let labels: Vec<&str> = message.facts().iter().map(|fact| fact.label).collect();
        assert_eq!(labels, ["Cause", "Fix", "Database", "Migrations"]);
        assert!(message.facts()[0].text.ends_with("(statement-failed in migrate)"), "{:?}", message.facts());
        assert_eq!(message.run_url.as_deref(), Some("https://github.com/owner/name/actions/runs/1/attempts/1"));
        let wait = blocked_by("held by pid 7");
        assert!(wait.title.ends_with("prod · Still waiting for the run lock after 61 s"), "{}", wait.title);
        assert_eq!(wait.facts()[0], Fact { label: "In the way", text: "held by pid 7".to_owned() });
    }

    #[test]
    fn every_outcome_that_a_person_may_care_about_is_an_occasion() {
        let occasion = |events: sample::SampleEvents| {
            let report = sample::report_of(&events);
            NotificationMessage::of_outcome(&report, &runner(), &Redactor::default()).map(|message| message.occasion)
        };
        let ended_by = |code| {
            let fault = (500, Event::Fault(Fault::new(code, "x")));
            sample::events_until_migration().into_iter().chain([fault]).collect()
        };
        assert_eq!(occasion(sample::successful_events()), Some(Occasion::Succeeded));
        for code in [Code::StatementFailed, Code::Cancelled, Code::TimedOut, Code::Bug, Code::InputMissing] {
            assert_eq!(occasion(ended_by(code)), Some(Occasion::Failed), "{code}");
        }
        assert_eq!(occasion(ended_by(Code::CommitInDoubt)), Some(Occasion::InDoubt));
        assert_eq!(occasion(Vec::new()), None, "nothing was to be done");
    }

    #[test]
    fn a_secret_is_replaced_before_a_text_is_cut() {
        let secret = "hunter2-".repeat(4);
        for before in (MAX_FACT - 40)..=MAX_FACT {
            let wait = LongWait {
                what: "a lock".to_owned(),
                why: format!("{}{secret}", "x".repeat(before)),
                waited: Duration::ZERO,
            };
            let redactor = Redactor::new(&[Secret::new(secret.clone())]);
            let report = sample::report_of(&Vec::new());
            let message = NotificationMessage::of_wait(&wait, &report, &runner(), &redactor);
            assert!(!message.facts()[0].text.contains("hun"), "{before}");
        }
    }

    #[test]
    fn a_text_is_one_line_of_visible_characters() {
        let message = blocked_by("held\r\nby \u{1b}[31mpid\u{7}\t7");
        assert_eq!(message.facts()[0].text, "held by \u{fffd}[31mpid\u{fffd} 7");
        assert_eq!(blocked_by(&"ü".repeat(9_000)).facts()[0].text.chars().count(), MAX_FACT + 1);
    }
}
