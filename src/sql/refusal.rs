//! The faults of statements that can't run where they are. Each has a fix that makes the file valid.

use super::{classified_statement::ClassifiedStatement, location::FilePlaces};
use crate::fault::{Code, Fault};

/// The author's way to fix a file with transactions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnTransactionFix {
    /// Opt out and keep them.
    OptOut,
    /// Remove them.
    Remove,
}

fn fault_at(places: &dyn FilePlaces, found: &ClassifiedStatement, code: Code, cause: String) -> Fault {
    Fault::new(code, cause).in_file(places.place_at_byte(found.raw.span.start))
}

/// Refuses a statement that would break the run.
pub(crate) fn refused_statement(
    places: &dyn FilePlaces,
    found: &ClassifiedStatement,
    cause: &str,
    fix: Option<&str>,
) -> Fault {
    let cause = format!("line {} of `{}`: {cause}", found.line(places), places.file());
    let fault = fault_at(places, found, Code::StatementRefused, cause);
    match fix {
        Some(fix) => fault.fix(fix),
        None => fault,
    }
}

/// Refuses a statement that begins or ends a transaction, in a file that runs in one of ours.
pub(crate) fn own_transaction(
    places: &dyn FilePlaces,
    found: &ClassifiedStatement,
    advice: OwnTransactionFix,
) -> Fault {
    let cause = format!(
        "`{}` on line {} of `{}` ends or begins a transaction",
        found.words(),
        found.line(places),
        places.file()
    );
    fault_at(places, found, Code::OwnTransaction, cause).fix(match advice {
        OwnTransactionFix::OptOut => {
            "put `-- no-transaction` on the file's first line: each BEGIN … COMMIT then is a transaction of its own, and so is \
             every statement outside of them; or remove BEGIN and COMMIT: the whole file then is one transaction"
        }
        OwnTransactionFix::Remove => {
            "remove the statements that begin or end transactions: each file already runs in a transaction of its own"
        }
    })
}

/// Refuses a BEGIN or COMMIT without its counterpart, and any end of a transaction other than COMMIT.
pub(crate) fn unpaired_boundary(places: &dyn FilePlaces, found: &ClassifiedStatement) -> Fault {
    let cause = format!(
        "`{}` on line {} of `{}`, which runs without a transaction, is not part of a BEGIN … COMMIT",
        found.words(),
        found.line(places),
        places.file()
    );
    fault_at(places, found, Code::OwnTransaction, cause).fix(
        "put BEGIN before and COMMIT after the statements that belong in one transaction, and remove every other statement that \
         begins or ends one",
    )
}

/// Refuses a savepoint where each statement is committed by itself.
pub(crate) fn savepoint_outside_transaction(places: &dyn FilePlaces, found: &ClassifiedStatement) -> Fault {
    let cause =
        format!("a savepoint on line {} of `{}`, which runs without a transaction", found.line(places), places.file());
    fault_at(places, found, Code::OwnTransaction, cause).fix(
        "remove it, as each statement of this file is committed by itself; or put BEGIN before and COMMIT after the statements \
         that belong in one transaction",
    )
}

/// Refuses `SET TRANSACTION` where each statement is committed by itself.
pub(crate) fn modes_outside_transaction(places: &dyn FilePlaces, found: &ClassifiedStatement) -> Fault {
    let cause = format!(
        "`{}` on line {} of `{}`, which runs without a transaction, would have no effect",
        found.words(),
        found.line(places),
        places.file()
    );
    fault_at(places, found, Code::StatementRefused, cause).fix(
        "write `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL …` in its place: it applies to the rest of this \
         file; or remove it",
    )
}

/// Refuses a read-only transaction: our own progress row could not be written in it.
pub(crate) fn read_only_transaction(places: &dyn FilePlaces, found: &ClassifiedStatement) -> Fault {
    let cause = format!(
        "line {} of `{}` makes its transaction READ ONLY, so the transaction could not record that it is done",
        found.line(places),
        places.file()
    );
    fault_at(places, found, Code::StatementRefused, cause).fix("remove READ ONLY there")
}

/// Refuses a statement between BEGIN and COMMIT that can't run in a transaction.
pub(crate) fn non_transactional_in_block(places: &dyn FilePlaces, found: &ClassifiedStatement) -> Fault {
    let cause = format!(
        "{} on line {} of `{}` can't run in a transaction, but is between BEGIN and COMMIT",
        found.words(),
        found.line(places),
        places.file()
    );
    fault_at(places, found, Code::OwnTransaction, cause).fix("move it out of BEGIN … COMMIT")
}

/// Refuses a statement that can't run in a transaction, in a file with others that should.
pub(crate) fn mixed_file(
    places: &dyn FilePlaces,
    non_transactional: &ClassifiedStatement,
    transactional: &ClassifiedStatement,
    advice: OwnTransactionFix,
) -> Fault {
    let line = non_transactional.line(places);
    let cause = format!(
        "{} on line {line} of `{}` can't run in a transaction, but {} on line {} should",
        non_transactional.words(),
        places.file(),
        transactional.words(),
        transactional.line(places)
    );
    let own_file = format!("put the statement of line {line} into a file of its own");
    fault_at(places, non_transactional, Code::MixedFile, cause).fix(match advice {
        OwnTransactionFix::OptOut => format!(
            "{own_file}; or put `-- no-transaction` on the first line, and each statement is committed on its own"
        ),
        OwnTransactionFix::Remove => own_file,
    })
}
