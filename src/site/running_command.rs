//! The running command, and what its output adds to a timeout fault or to a warning that nothing proves its work.

use crate::{fault::Fault, tool::Recipe};
use std::collections::VecDeque;

/// Number of its last lines that are shown, as with a fault of its own.
const SHOWN_LINES: usize = 12;

/// Fix for an app that does not connect to the database.
const FIX_WRONG_DATABASE: &str = "the app looks for its database at another address: let its settings read DATABASE_URL or \
    PGHOST, or pass it the variables that they read, as in `env: POSTGRES_HOST=${DATABASE_HOST}`";

/// A command that was started.
#[derive(Debug)]
pub(crate) struct RunningCommand {
    command: String,
    last_lines: VecDeque<String>,
    /// The last line that the recipe recognises as an error.
    last_error: Option<String>,
    /// Number of connections through the tunnel before it; `None` if it can't be known.
    connections_before: Option<u64>,
    state: CommandState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandState {
    Running,
    Ended,
}

impl RunningCommand {
    /// Starts with no output; `connections_before` is the number of connections so far.
    pub(crate) fn new(command: String, connections_before: Option<u64>) -> Self {
        Self {
            command,
            last_lines: VecDeque::new(),
            last_error: None,
            connections_before,
            state: CommandState::Running,
        }
    }

    /// Adds a line of its output.
    pub(crate) fn push_line(&mut self, recipe: &Recipe, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.last_lines.len() == SHOWN_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.trim_end().to_owned());
        if recipe.error.as_ref().is_some_and(|error| error.is_match(line)) {
            self.last_error = Some(line.trim().to_owned());
        }
    }

    /// Marks it as ended by itself.
    pub(crate) fn mark_ended(&mut self) {
        self.state = CommandState::Ended;
    }

    /// Returns whether no connection came through the tunnel since it started.
    fn has_opened_no_connection(&self, connections_now: Option<u64>) -> bool {
        self.connections_before.zip(connections_now).is_some_and(|(before, connections_now)| before == connections_now)
    }

    /// Adds to the timeout fault of a run or step, if this command still runs: its last lines, and whether it connected
    /// to the database.
    pub(super) fn with_timeout_context(&self, fault: Fault, connections_now: Option<u64>) -> Fault {
        if self.state == CommandState::Ended {
            return fault;
        }
        let fault = match self.has_opened_no_connection(connections_now) {
            true => {
                let cause =
                    format!("{}, and `{}` has opened no connection through the tunnel", fault.cause, self.first_line());
                Fault { cause, ..fault }.fix(FIX_WRONG_DATABASE)
            }
            false => fault,
        };
        let last_output = if self.last_lines.is_empty() { "it had printed nothing" } else { "its last lines:" };
        let fault = fault.detail(format!("`{}` was running; {last_output}", self.first_line()));
        self.last_lines.iter().cloned().fold(fault, Fault::detail)
    }

    /// Adds evidence of failure to the warning that nothing proves this command's work.
    pub(super) fn with_contrary_evidence(&self, warning: Fault, connections_now: Option<u64>) -> Fault {
        let printed = self.last_error.as_ref().map(|error| format!("`{}` printed `{error}`", self.first_line()));
        let no_connection = self
            .has_opened_no_connection(connections_now)
            .then(|| format!("`{}` opened no connection through the tunnel", self.first_line()));
        let fix = no_connection.as_ref().map(|_| FIX_WRONG_DATABASE.to_owned());
        let evidence: Vec<String> = printed.into_iter().chain(no_connection).collect();
        if evidence.is_empty() {
            return warning;
        }
        let cause = format!("{}; {}", evidence.join(", and "), warning.cause);
        let fix = fix.unwrap_or_else(|| warning.fix.clone());
        Fault { cause, ..warning }.fix(fix)
    }

    fn first_line(&self) -> &str {
        self.command.lines().next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    fn waiting(connections_before: Option<u64>) -> RunningCommand {
        let mut command = RunningCommand::new("python wait_for_db.py".to_owned(), connections_before);
        let custom = Recipe::by_name("custom").unwrap();
        for number in 0..20 {
            command.push_line(&custom, &format!("waiting for postgres:5432 ({number})"));
        }
        command
    }

    #[test]
    fn a_timeout_fault_has_the_last_lines_and_mentions_a_missing_connection() {
        let fault = || Fault::new(Code::TimedOut, "not done after 1800 s (`timeout`)");
        let explained = waiting(Some(2)).with_timeout_context(fault(), Some(2));
        assert!(
            explained.cause.ends_with("`python wait_for_db.py` has opened no connection through the tunnel"),
            "{explained:?}"
        );
        assert!(explained.fix.contains("POSTGRES_HOST=${DATABASE_HOST}"), "{explained:?}");
        assert_eq!(explained.detail.len(), 1 + SHOWN_LINES);
        assert_eq!(explained.detail.last().unwrap(), "waiting for postgres:5432 (19)");
        for now in [None, Some(3)] {
            let explained = waiting(now.map(|_| 2)).with_timeout_context(fault(), now);
            assert!(
                explained.cause == fault().cause
                    && explained.fix == fault().fix
                    && explained.detail.len() == 1 + SHOWN_LINES,
                "{explained:?}"
            );
        }
        let without_output = RunningCommand::new("sleep 9".to_owned(), None).with_timeout_context(fault(), None);
        assert_eq!(without_output.detail, ["`sleep 9` was running; it had printed nothing"]);
    }

    #[test]
    fn a_command_that_has_ended_does_not_change_the_timeout_fault() {
        let fault = Fault::new(Code::TimedOut, "not done");
        let mut command = waiting(Some(0));
        command.mark_ended();
        assert_eq!(command.with_timeout_context(fault.clone(), Some(0)), fault);
    }

    #[test]
    fn the_warning_names_a_printed_error_and_a_missing_connection() {
        let warning = || Fault::new(Code::VerifyLedger, "no ledger was found").fix("see");
        let mut command = waiting(Some(0));
        command.mark_ended();
        command.push_line(&Recipe::by_name("custom").unwrap(), "ERROR: could not connect: no such host");
        let explained = command.with_contrary_evidence(warning(), Some(0));
        assert!(
            explained.cause.starts_with("`python wait_for_db.py` printed `ERROR: could not connect"),
            "{explained:?}"
        );
        assert!(
            explained.cause.contains("opened no connection") && explained.cause.ends_with("no ledger was found"),
            "{explained:?}"
        );
        assert_eq!(waiting(Some(0)).with_contrary_evidence(warning(), Some(1)), warning());
    }
}
