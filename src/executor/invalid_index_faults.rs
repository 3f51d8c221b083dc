//! Messages about INVALID indexes, which an interrupted index build leaves behind. Such an index blocks the next build,
//! slows down every write, and is never used.

use crate::fault::{Code, Fault};

/// Returns the warning about an index that a failed or stopped run leaves behind. `index` is its SQL name.
pub(super) fn leftover_warning(index: &str) -> Fault {
    let cause =
        format!("the index {index} is INVALID since this run: the statement that builds or drops it did not complete");
    let fix = format!("run again: an SQL file resumes by itself; for a tool, {} first", drop_sql(index));
    Fault::new(Code::VerifyIndex, cause).fix(fix)
}

/// Returns the fault of a lock timeout that ended a statement which waits for older transactions by design.
pub(super) fn lock_limit_fault(fault: Fault, index_form: &str, blockers: Option<&str>) -> Fault {
    let cause = format!("the lock timeout ended {index_form}, which waits for older transactions: {}", fault.cause);
    let fix = "run again when those transactions have ended, or let it wait for them: raise `retries`, which adds a \
        try without that limit, or set `lock-timeout: 0`";
    let fault = Fault { cause, ..fault.fix(fix) };
    match blockers {
        Some(blockers) => fault.detail(blockers),
        None => fault,
    }
}

/// Explains a fault that something already exists, if that is an INVALID index: no one may take that for an applied
/// migration.
pub(super) fn explain_already_exists(fault: Fault, invalid: &[String]) -> Fault {
    let is_named = |index: &&String| {
        let message = format!("\"{}\" already exists", bare_name(index));
        std::iter::once(&fault.cause).chain(&fault.detail).any(|text| text.contains(&message))
    };
    let Some(index) = invalid.iter().find(is_named) else { return fault };
    let cause = format!("{}; it is INVALID: an earlier build of it was interrupted", fault.cause);
    let fix = format!(
        "{}, then run again: the migration builds it again; don't record the migration as applied, as the server \
         never uses an INVALID index",
        drop_sql(index)
    );
    Fault { cause, ..fault.fix(fix) }
}

fn drop_sql(index: &str) -> String {
    format!("`DROP INDEX CONCURRENTLY {index}`")
}

/// Returns the name without its schema and its quotes.
fn bare_name(index: &str) -> String {
    let name = match index.strip_suffix('"') {
        // In quotes a dot is part of the name, and a quote is doubled.
        Some(quoted) => quoted.rsplit_once(".\"").map_or(quoted, |(_, name)| name).trim_start_matches('"'),
        None => index.rsplit('.').next().unwrap_or(index),
    };
    name.replace("\"\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(cause: &str, invalid: &[&str]) -> Fault {
        let invalid: Vec<String> = invalid.iter().map(|&index| index.to_owned()).collect();
        explain_already_exists(Fault::new(Code::ToolFailed, cause).fix("record it as applied"), &invalid)
    }

    #[test]
    fn an_existing_invalid_index_must_be_dropped_not_recorded_as_applied() {
        for (index, name) in [
            ("public.t_id", "t_id"),
            ("t_id", "t_id"),
            ("public.\"Shop.Id\"", "Shop.Id"),
            ("\"My app\".\"T id\"", "T id"),
            ("\"T id\"", "T id"),
        ] {
            let fault = explained(
                &format!("django.db.utils.ProgrammingError: relation \"{name}\" already exists"),
                &["x", index],
            );
            assert!(
                fault.fix.starts_with(&format!("`DROP INDEX CONCURRENTLY {index}`, then run again")),
                "{}",
                fault.fix
            );
            assert!(fault.cause.contains("INVALID") && !fault.fix.contains("record it"), "{fault:?}");
        }
    }

    #[test]
    fn other_objects_that_already_exist_keep_their_fault() {
        for invalid in [&[][..], &["public.t"], &["public.t_id_2"]] {
            assert_eq!(explained("relation \"t_id\" already exists", invalid).fix, "record it as applied");
        }
    }
}
