//! The aftermath of a run that did not succeed: the state of the database, what may be deployed, and what to do.

use super::{
    database_changes::DatabaseChanges,
    entries::{MigrationReport, MigrationState},
    first_run::awaits_pin,
    run_report::RunReport,
    wording::count_of,
};
use crate::{
    fault::{Class, Code, Stage},
    run::event::StepState,
    settings::{Command, Resolution},
};

/// The aftermath, as three sentences without full stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aftermath {
    /// What the run has left in the database.
    pub(super) state: String,
    /// The code that may be deployed.
    pub(super) deploy: String,
    /// What to do, once the cause is mended.
    pub(super) next: String,
}

/// What the run has left behind.
enum Situation<'a> {
    Unchanged,
    /// A command of others may have changed anything.
    Unknown,
    /// It is unknown whether this migration was committed.
    InDoubt(&'a MigrationReport),
    /// Some are done, this one is not.
    Stopped(&'a MigrationReport),
    /// This one is half done: so many of its statements.
    HalfDone(&'a MigrationReport, usize, usize),
    /// All are done, and what followed failed.
    AllDone,
}

impl Aftermath {
    /// Returns the aftermath of a run that may write and has failed; `None` for any other, whose faults say it all.
    pub(super) fn of(report: &RunReport) -> Option<Self> {
        let first = report.faults.first().filter(|_| !awaits_pin(report))?;
        let command = report.command.filter(|command| command.may_write() && first.code != Code::Bug)?;
        let words = CommandWords::of(command);
        Some(match situation(report, words) {
            Situation::Unchanged => unchanged(first.code.class(), words),
            Situation::Unknown => Self {
                state: "a command of yours was at work, and it is unknown what it has changed".to_owned(),
                deploy: "nothing until that is known".to_owned(),
                next: "run `command: status`, and compare it with the plan; then run again".to_owned(),
            },
            Situation::InDoubt(migration) => in_doubt(migration),
            Situation::Stopped(migration) => stopped(report, migration, words, run_again(first.code.class())),
            Situation::HalfDone(migration, done, of) => Self {
                state: describe_half_done(report, migration, (done, of), words),
                next: format!(
                    "{}: it goes on with statement {} of `{}`; the statements before it must stay as they are",
                    run_again(first.code.class()),
                    done + 1,
                    migration.id.display_path()
                ),
                ..stopped(report, migration, words, run_again(first.code.class()))
            },
            Situation::AllDone => Self {
                state: format!("all of {} {}", count_of(report.migrations.len(), "migration"), words.are_done),
                deploy: words.deploy_all_done.to_owned(),
                next: "mend the cause; `command: verify` shows whether ledger and indexes are in order".to_owned(),
            },
        })
    }
}

/// The words for what a command does with migrations.
struct CommandWords {
    done_state: MigrationState,
    are_done: &'static str,
    is_not_done: &'static str,
    /// What may be deployed if nothing was changed, and if all is done.
    deploy_unchanged: &'static str,
    deploy_all_done: &'static str,
    /// What may not be deployed while a migration is left: text before its name and after it.
    deploy_stopped: (&'static str, &'static str),
}

const MIGRATE: CommandWords = CommandWords {
    done_state: MigrationState::Applied,
    are_done: "are applied",
    is_not_done: "is not applied",
    deploy_unchanged: "what is deployed now goes on working; the code that needs these migrations has to wait",
    deploy_all_done: "the schema is that of the new code; look at the failure before you deploy to it",
    deploy_stopped: ("no code that needs ", " or what follows it"),
};

const ROLL_BACK: CommandWords = CommandWords {
    done_state: MigrationState::RolledBack,
    are_done: "are rolled back",
    is_not_done: "is still applied",
    deploy_unchanged: "what is deployed now goes on working; the code from before these migrations has to wait",
    deploy_all_done: "the schema is that from before these migrations; look at the failure before you deploy to it",
    deploy_stopped: ("no code that can't run while ", " is applied"),
};

/// A baseline changes the ledger alone.
const RECORD: CommandWords = CommandWords {
    done_state: MigrationState::Applied,
    are_done: "are recorded",
    is_not_done: "is not recorded",
    deploy_unchanged: "as before: a baseline changes nothing but the ledger",
    deploy_all_done: "as before: a baseline changes nothing but the ledger",
    deploy_stopped: ("as before: nothing but the ledger lacks ", ""),
};

/// A decision changes the ledger alone.
const RESOLVE: CommandWords = CommandWords {
    done_state: MigrationState::Applied,
    are_done: "are recorded as decided",
    is_not_done: "is not recorded as decided",
    deploy_unchanged: "as before: the decision changes nothing but the ledger",
    deploy_all_done: "as before: the decision changes nothing but the ledger",
    deploy_stopped: ("as before: nothing but the record of ", " is missing"),
};

const RESOLVE_NOT_APPLIED: CommandWords = CommandWords { done_state: MigrationState::Unrecorded, ..RESOLVE };

impl CommandWords {
    fn of(command: Command) -> &'static Self {
        match command {
            Command::Rollback => &ROLL_BACK,
            Command::Baseline => &RECORD,
            Command::Resolve(Resolution::Applied) => &RESOLVE,
            Command::Resolve(Resolution::NotApplied) => &RESOLVE_NOT_APPLIED,
            _ => &MIGRATE,
        }
    }
}

fn situation<'a>(report: &'a RunReport, words: &CommandWords) -> Situation<'a> {
    if let Some(doubtful) = report.in_state(MigrationState::InDoubt).next() {
        return Situation::InDoubt(doubtful);
    }
    let has_worked = report.stages.iter().any(|stage| stage.stage == Stage::Migrate)
        || report.steps.iter().any(|step| step.fate != StepState::NotRun);
    if !has_worked && report.changed != DatabaseChanges::Something {
        return Situation::Unchanged;
    }
    let Some(first) = report.migrations.iter().find(|entry| entry.fate != words.done_state) else {
        return match (report.migrations.is_empty(), report.changed) {
            (false, _) => Situation::AllDone,
            (true, DatabaseChanges::Nothing) => Situation::Unchanged,
            (true, _) => Situation::Unknown,
        };
    };
    if let Some((done @ 1.., of)) = first.statements {
        return Situation::HalfDone(first, done, of);
    }
    let is_any_done = report.in_state(words.done_state).next().is_some();
    match report.changed {
        _ if is_any_done => Situation::Stopped(first),
        DatabaseChanges::Nothing => Situation::Unchanged,
        _ if report.verified || report.has_unknown_plan() => Situation::Unknown,
        _ => Situation::Stopped(first),
    }
}

/// Returns the advice to run again after a failure of this class.
fn run_again(class: Class) -> &'static str {
    match class {
        Class::Lock => "run again when the other run has ended",
        Class::Cancelled => "run again with the same inputs when you like",
        _ => "when the cause is mended, run again with the same inputs",
    }
}

fn unchanged(class: Class, words: &CommandWords) -> Aftermath {
    Aftermath {
        state: "this run has changed nothing in the database".to_owned(),
        deploy: words.deploy_unchanged.to_owned(),
        next: run_again(class).to_owned(),
    }
}

fn in_doubt(migration: &MigrationReport) -> Aftermath {
    let name = migration.id.display_path();
    Aftermath {
        state: format!("it is unknown whether `{name}` was committed"),
        deploy: "nothing until that is known, and start no other tool on this database".to_owned(),
        next: "run `command: status` as soon as the database can be reached: the ledger has the answer; another run reads it \
               first and goes on from there"
            .to_owned(),
    }
}

fn stopped(report: &RunReport, migration: &MigrationReport, words: &CommandWords, run_again: &str) -> Aftermath {
    let (name, done) = (migration.id.display_path(), report.in_state(words.done_state).count());
    let all = count_of(report.migrations.len(), "migration");
    let (before, after) = words.deploy_stopped;
    Aftermath {
        state: format!("{done} of {all} {} and stay so; `{name}` {}", words.are_done, words.is_not_done),
        deploy: format!("{before}`{name}`{after}"),
        next: format!("{run_again}: it begins with `{name}`"),
    }
}

fn describe_half_done(
    report: &RunReport,
    migration: &MigrationReport,
    (statements, of): (usize, usize),
    words: &CommandWords,
) -> String {
    let (name, done) = (migration.id.display_path(), report.in_state(words.done_state).count());
    let all = count_of(report.migrations.len(), "migration");
    format!("{done} of {all} {}; `{name}` is half done: {statements} of {of} statements stay", words.are_done)
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::{fault::Fault, run::event::Event};

    fn report(change: impl FnOnce(&mut sample::SampleEvents), code: Code) -> RunReport {
        let mut events = sample::events_until_migration();
        change(&mut events);
        events.push((500, Event::Fault(Fault::new(code, "x"))));
        sample::report_of(&events)
    }

    fn state(report: &RunReport) -> String {
        Aftermath::of(report).map_or_else(String::new, |aftermath| aftermath.state)
    }

    #[test]
    fn what_was_committed_stays_and_the_next_run_begins_behind_it() {
        let stopped = report(|events| events.push((400, Event::Failed { index: 4 })), Code::StatementFailed);
        let aftermath = Aftermath::of(&stopped).unwrap();
        let file = "migrations/0004_drop_name.sql";
        assert_eq!(
            aftermath,
            Aftermath {
                state: format!("1 of 2 migrations are applied and stay so; `{file}` is not applied"),
                deploy: format!("no code that needs `{file}` or what follows it"),
                next: format!("when the cause is mended, run again with the same inputs: it begins with `{file}`"),
            }
        );
    }

    #[test]
    fn a_half_done_migration_is_continued_behind_its_last_statement() {
        let half =
            report(|events| events.push((400, Event::StatementDone { index: 4, number: 2, of: 5 })), Code::LockTimeout);
        assert!(state(&half).ends_with("is half done: 2 of 5 statements stay"), "{}", state(&half));
        assert!(Aftermath::of(&half).unwrap().next.contains("goes on with statement 3 of"));
    }

    #[test]
    fn a_commit_in_doubt_forbids_everything_else() {
        let doubt = report(|events| events.push((400, Event::InDoubt { index: 4 })), Code::CommitInDoubt);
        assert!(state(&doubt).starts_with("it is unknown whether"), "{}", state(&doubt));
    }

    #[test]
    fn a_run_that_was_refused_has_changed_nothing() {
        let events: sample::SampleEvents = sample::events_until_migration().into_iter().take(4).collect();
        let refused = report(|all| *all = events, Code::LockHeld);
        assert_eq!(state(&refused), "this run has changed nothing in the database");
        assert_eq!(Aftermath::of(&refused).unwrap().next, "run again when the other run has ended");
    }

    #[test]
    fn a_run_that_ended_before_its_migration_has_changed_nothing_although_commands_ran() {
        let refused = report(
            |events| {
                events
                    .retain(|(_, event)| !matches!(event, Event::StageStarted(Stage::Migrate) | Event::Applied { .. }));
                events.push((400, Event::CommandStarted { command: "pg_dump".to_owned() }));
            },
            Code::BackupFailed,
        );
        assert_eq!(state(&refused), "this run has changed nothing in the database");
    }

    #[test]
    fn a_failure_behind_the_migration_leaves_all_applied() {
        let mut events = sample::successful_events();
        events.push((900, Event::Fault(Fault::new(Code::VerifyIndex, "x"))));
        assert_eq!(state(&sample::report_of(&events)), "all of 2 migrations are applied");
        assert_eq!(Aftermath::of(&sample::report_of(&sample::successful_events())), None);
    }

    #[test]
    fn each_command_has_its_own_words_about_the_code_to_deploy() {
        let deploy = |command: Command| {
            let done = match command {
                Command::Rollback => Event::RolledBack { index: 3 },
                _ => Event::Applied { index: 3, took: std::time::Duration::ZERO },
            };
            let mut stopped =
                report(|events| events.extend([(390, done), (400, Event::Failed { index: 4 })]), Code::StatementFailed);
            stopped.command = Some(command);
            Aftermath::of(&stopped).unwrap().deploy
        };
        assert!(deploy(Command::Migrate).starts_with("no code that needs `"), "{}", deploy(Command::Migrate));
        let rolled_back = deploy(Command::Rollback);
        assert!(rolled_back.starts_with("no code that can't run while `") && rolled_back.ends_with(" is applied"));
        assert!(deploy(Command::Baseline).starts_with("as before: "), "{}", deploy(Command::Baseline));
    }

    #[test]
    fn a_read_only_command_has_no_aftermath() {
        let mut plan = report(|_| (), Code::LockTimeout);
        plan.command = Some(Command::Plan);
        assert_eq!(Aftermath::of(&plan), None);
    }
}
