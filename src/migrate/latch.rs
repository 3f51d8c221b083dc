//! The latch protocol: what makes it safe to send many migrations at once.
//!
//! Each migration is three messages: `open`, the file's own text verbatim (so that the server's positions are the file's),
//! and `close`. All are in flight before the first answer is back, so nothing that follows a failure may take effect. Three
//! latches see to it, each needed (all were reproduced without it):
//! * an error leaves the session in a failed block, where every later message fails at its first command;
//! * a COMMIT that fails (a deferred constraint) leaves no block: `close` checks deferred constraints *before* it records,
//!   and `open` demands that the version before is recorded;
//! * a file that ends its own transaction leaves no block either: `close` demands the transaction id that `open` noted.

use crate::{
    ledger::{Entry, Ledger},
    postgres::literal,
};

/// The SQLSTATE of our own refusals; class BM is nobody's (PostgreSQL manual, appendix A).
pub(super) const NOT_RECORDED: &str = "BM001";
/// The same for a transaction that is not the one that was opened.
pub(super) const OTHER_TRANSACTION: &str = "BM002";

/// Where the transaction id is noted; a custom setting needs no right and no table.
const NOTED: &str = "bastion_migrate.xid";

/// Begins a migration; answers with its transaction id.
pub(super) fn open_sql(ledger: &Ledger, previous: Option<i64>) -> String {
    let guard = previous.map_or_else(String::new, |version| {
        let recorded = ledger.is_recorded_sql(version);
        let message = format!("bastion-migrate: version {version} is not recorded");
        raise_unless(&recorded, NOT_RECORDED, &message)
    });
    format!("BEGIN; {guard}SELECT pg_catalog.set_config('{NOTED}', pg_catalog.pg_current_xact_id()::text, false)")
}

/// Ends a migration; answers with the milliseconds that it took.
///
/// `RESET` returns what the file changed in the session to the start-up's settings; it stands before the ledger's own row,
/// because a file may have changed its role.
pub(super) fn close_sql(ledger: &Ledger, entry: &Entry<'_>) -> String {
    let same = format!(
        "pg_catalog.current_setting('{NOTED}', true) IS NOT DISTINCT FROM pg_catalog.pg_current_xact_id()::text"
    );
    let guard = raise_unless(&same, OTHER_TRANSACTION, "bastion-migrate: the file ended the transaction it ran in");
    format!(
        "{guard}SET CONSTRAINTS ALL IMMEDIATE; RESET SESSION AUTHORIZATION; RESET ALL; {}; COMMIT",
        ledger.insert_sql(entry)
    )
}

fn raise_unless(condition: &str, sqlstate: &str, message: &str) -> String {
    format!(
        "DO $bastion_migrate$ BEGIN IF NOT ({condition}) THEN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = {}; END IF; \
         END $bastion_migrate$; ",
        literal(message)
    )
}
