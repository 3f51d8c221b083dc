//! The running command, and what its output adds to a timeout fault or to a warning that nothing proves its work.

use super::Sites;
use crate::{fault::Fault, tool::Recipe};
use std::collections::VecDeque;

/// Number of its last lines that are shown, as with a fault of its own.
const SHOWN: usize = 12;

/// Fix for an app that does not connect to the database.
const ELSEWHERE: &str = "the app looks for its database at another address: let its settings read DATABASE_URL or \
    PGHOST, or pass it the variables that they read, as in `env: POSTGRES_HOST=${DATABASE_HOST}`";

/// A command that was started.
#[derive(Debug)]
pub(crate) struct UnderWay {
    shown: String,
    last: VecDeque<String>,
    /// The last line that the recipe recognises as an error.
    error: Option<String>,
    /// Number of connections through the tunnel before it; `None` if it can't be known.
    before: Option<u64>,
    going: Going,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Over,
}

impl UnderWay {
    /// Starts with no output; `before` is the number of connections so far.
    pub(crate) fn begin(shown: String, before: Option<u64>) -> Self {
        Self { shown, last: VecDeque::new(), error: None, before, going: Going::On }
    }

    /// Adds a line of its output.
    pub(crate) fn hear(&mut self, recipe: &Recipe, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line.trim_end().to_owned());
        if recipe.error.as_ref().is_some_and(|error| error.is_match(line)) {
            self.error = Some(line.trim().to_owned());
        }
    }

    /// Marks it as ended by itself.
    pub(crate) fn end(&mut self) {
        self.going = Going::Over;
    }

    /// Returns whether no connection came through the tunnel since it started.
    fn is_alone(&self, now: Option<u64>) -> bool {
        self.before.zip(now).is_some_and(|(before, now)| before == now)
    }

    /// Adds to the timeout fault of a run or step, if this command still runs: its last lines, and whether it connected
    /// to the database.
    fn cut_short(&self, fault: Fault, now: Option<u64>) -> Fault {
        if self.going == Going::Over {
            return fault;
        }
        let fault = match self.is_alone(now) {
            true => {
                let cause =
                    format!("{}, and `{}` has opened no connection through the tunnel", fault.cause, self.title());
                Fault { cause, ..fault }.fix(ELSEWHERE)
            }
            false => fault,
        };
        let words = if self.last.is_empty() { "it had printed nothing" } else { "its last lines:" };
        let fault = fault.detail(format!("`{}` was running; {words}", self.title()));
        self.last.iter().cloned().fold(fault, Fault::detail)
    }

    /// Adds evidence of failure to the warning that nothing proves this command's work.
    fn doubted(&self, warning: Fault, now: Option<u64>) -> Fault {
        let printed = self.error.as_ref().map(|error| format!("`{}` printed `{error}`", self.title()));
        let alone = self.is_alone(now).then(|| format!("`{}` opened no connection through the tunnel", self.title()));
        let fix = alone.as_ref().map(|_| ELSEWHERE.to_owned());
        let against: Vec<String> = printed.into_iter().chain(alone).collect();
        if against.is_empty() {
            return warning;
        }
        let cause = format!("{}; {}", against.join(", and "), warning.cause);
        let fix = fix.unwrap_or_else(|| warning.fix.clone());
        Fault { cause, ..warning }.fix(fix)
    }

    fn title(&self) -> &str {
        self.shown.lines().next().unwrap_or_default()
    }
}

impl Sites<'_> {
    /// Records the command that now runs.
    pub(crate) fn goes_on(&self, shown: String) {
        self.under_way.replace(Some(UnderWay::begin(shown, self.connections())));
    }

    /// Records that the command has ended.
    pub(crate) fn is_over(&self) {
        if let Some(command) = &mut *self.under_way.borrow_mut() {
            command.end();
        }
    }

    /// Adds the running command to the timeout fault of a run or step.
    pub(crate) fn cut_short(&self, fault: Fault) -> Fault {
        match &*self.under_way.borrow() {
            Some(command) => command.cut_short(fault, self.connections()),
            None => fault,
        }
    }

    /// Adds evidence of failure to the warning that nothing proves the last command's work.
    pub(crate) fn doubted(&self, warning: Fault) -> Fault {
        match &*self.under_way.borrow() {
            Some(command) => command.doubted(warning, self.connections()),
            None => warning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    fn waiting(before: Option<u64>) -> UnderWay {
        let mut command = UnderWay::begin("python wait_for_db.py".to_owned(), before);
        let custom = Recipe::by_name("custom").unwrap();
        for number in 0..20 {
            command.hear(&custom, &format!("waiting for postgres:5432 ({number})"));
        }
        command
    }

    #[test]
    fn a_timeout_fault_has_the_last_lines_and_says_if_the_command_opened_no_connection() {
        let fault = || Fault::new(Code::TimedOut, "not done after 1800 s (`timeout`)");
        let told = waiting(Some(2)).cut_short(fault(), Some(2));
        assert!(
            told.cause.ends_with("`python wait_for_db.py` has opened no connection through the tunnel"),
            "{told:?}"
        );
        assert!(told.fix.contains("POSTGRES_HOST=${DATABASE_HOST}"), "{told:?}");
        assert_eq!(told.detail.len(), 1 + SHOWN);
        assert_eq!(told.detail.last().unwrap(), "waiting for postgres:5432 (19)");
        for now in [None, Some(3)] {
            let told = waiting(now.map(|_| 2)).cut_short(fault(), now);
            assert!(
                told.cause == fault().cause && told.fix == fault().fix && told.detail.len() == 1 + SHOWN,
                "{told:?}"
            );
        }
        let silent = UnderWay::begin("sleep 9".to_owned(), None).cut_short(fault(), None);
        assert_eq!(silent.detail, ["`sleep 9` was running; it had printed nothing"]);
    }

    #[test]
    fn a_command_that_has_ended_does_not_change_the_timeout_fault() {
        let fault = Fault::new(Code::TimedOut, "not done");
        let mut command = waiting(Some(0));
        command.end();
        assert_eq!(command.cut_short(fault.clone(), Some(0)), fault);
    }

    #[test]
    fn the_warning_names_a_printed_error_and_a_missing_connection() {
        let warning = || Fault::new(Code::VerifyLedger, "no ledger was found").fix("see");
        let mut command = waiting(Some(0));
        command.end();
        command.hear(&Recipe::by_name("custom").unwrap(), "ERROR: could not connect: no such host");
        let told = command.doubted(warning(), Some(0));
        assert!(told.cause.starts_with("`python wait_for_db.py` printed `ERROR: could not connect"), "{told:?}");
        assert!(told.cause.contains("opened no connection") && told.cause.ends_with("no ledger was found"), "{told:?}");
        assert_eq!(waiting(Some(0)).doubted(warning(), Some(1)), warning());
    }
}
