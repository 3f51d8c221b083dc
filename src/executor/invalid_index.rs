//! What a build of an index that was cut off leaves behind: an index that is INVALID. It is in the way of the next build, keeps
//! every write busy, and is never used.

use crate::fault::{Code, Fault};

/// The warning about an index that a run leaves behind which has failed or was stopped. `index` is named as in SQL.
pub(super) fn left(index: &str) -> Fault {
    let cause =
        format!("the index {index} is INVALID since this run: what builds it, or drops it, did not come to its end");
    let fix = format!("run again: a file of SQL goes on with it by itself; for a tool, {} first", drop_sql(index));
    Fault::new(Code::VerifyIndex, cause).fix(fix)
}

/// The fault for a limit on waits for locks that has hit what waits for older transactions by what it is.
pub(super) fn cut_off(fault: Fault, form: &str, said: Option<&str>) -> Fault {
    let cause =
        format!("the limit on waits for locks ended {form}, which waits for older transactions: {}", fault.cause);
    let fix = "run again when those transactions have ended, or let it wait for them: raise `retries`, which has another try without \
               that limit, or set `lock-timeout: 0`";
    let fault = Fault { cause, ..fault.fix(fix) };
    match said {
        Some(said) => fault.detail(said),
        None => fault,
    }
}

/// The same fault, unless it complains that something already exists which is an INVALID index: that is nothing that
/// anybody may take for applied.
pub(super) fn explained(fault: Fault, invalid: &[String]) -> Fault {
    let said = |index: &&String| {
        let complaint = format!("\"{}\" already exists", bare(index));
        std::iter::once(&fault.cause).chain(&fault.detail).any(|text| text.contains(&complaint))
    };
    let Some(index) = invalid.iter().find(said) else { return fault };
    let cause = format!("{}; it is INVALID: an earlier build of it was cut off", fault.cause);
    let fix = format!(
        "{}, then run again: the migration builds it anew; don't record the migration as applied, as the server never uses an INVALID index",
        drop_sql(index)
    );
    Fault { cause, ..fault.fix(fix) }
}

fn drop_sql(index: &str) -> String {
    format!("`DROP INDEX CONCURRENTLY {index}`")
}

/// Its name without its schema and its quotes.
fn bare(index: &str) -> String {
    let name = match index.strip_suffix('"') {
        // In quotes a point is a letter, and a quote is doubled.
        Some(quoted) => quoted.rsplit_once(".\"").map_or(quoted, |(_, name)| name).trim_start_matches('"'),
        None => index.rsplit('.').next().unwrap_or(index),
    };
    name.replace("\"\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cause: &str, invalid: &[&str]) -> Fault {
        let invalid: Vec<String> = invalid.iter().map(|&index| index.to_owned()).collect();
        explained(Fault::new(Code::ToolFailed, cause).fix("record it as applied"), &invalid)
    }

    #[test]
    fn an_invalid_index_that_is_there_is_to_be_dropped_and_not_to_be_recorded() {
        for (index, name) in [
            ("public.t_id", "t_id"),
            ("t_id", "t_id"),
            ("public.\"Shop.Id\"", "Shop.Id"),
            ("\"My app\".\"T id\"", "T id"),
            ("\"T id\"", "T id"),
        ] {
            let fault =
                told(&format!("django.db.utils.ProgrammingError: relation \"{name}\" already exists"), &["x", index]);
            assert!(
                fault.fix.starts_with(&format!("`DROP INDEX CONCURRENTLY {index}`, then run again")),
                "{}",
                fault.fix
            );
            assert!(fault.cause.contains("INVALID") && !fault.fix.contains("record it"), "{fault:?}");
        }
    }

    #[test]
    fn what_else_already_exists_is_told_as_before() {
        for invalid in [&[][..], &["public.t"], &["public.t_id_2"]] {
            assert_eq!(told("relation \"t_id\" already exists", invalid).fix, "record it as applied");
        }
    }
}
