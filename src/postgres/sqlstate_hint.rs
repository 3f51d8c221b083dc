//! Fixes for an SQLSTATE that are more specific than "correct the file". A new hint is a new row.

const FIXES: &[(&str, &str)] = &[
    (
        "25001",
        "this statement can't run in a transaction: put it into a file of its own with `-- no-transaction` on the first line",
    ),
    (
        "25006",
        "the database is read-only: use the primary, and see whether the provider switched it to read-only because its disk is full",
    ),
    ("2BP01", "another object depends on this one: drop or change that one first, or write CASCADE to drop it, too"),
    ("40001", "another transaction changed the same rows; run again"),
    (
        "40P01",
        "another session and this file waited for each other; run again when the tables are less busy, or split the file",
    ),
    ("42501", "grant the right to the role in `database-url`, or use the role that owns the object"),
    (
        "42P07",
        "the object is already there although the ledger does not record this file: it was created by hand or by another tool",
    ),
    (
        "42710",
        "the object is already there although the ledger does not record this file: it was created by hand or by another tool",
    ),
    (
        "42701",
        "the column is already there although the ledger does not record this file: it was created by hand or by another tool",
    ),
    (
        "42P01",
        "a table that the file needs is missing: is a file missing before it, or does `search_path` lack its schema?",
    ),
    ("3F000", "create the schema in an earlier file, or grant its use to the role"),
    ("53100", "the server's disk is full: free space there before the next run"),
    ("53200", "the server is out of memory: split the work, or give it more"),
    (
        "55P03",
        "run again after the blocking session (named as `in the way`) has ended, or terminate it; or raise `lock-timeout` or `retries`",
    ),
    (
        "55P04",
        "the new enum value can be used only after its ALTER TYPE is committed: put the statements that use it into a later file",
    ),
    ("57014", "raise `statement-timeout`, or split the work"),
];

/// Returns the fix for this SQLSTATE, if it has one that is better than the fault code's own.
pub(super) fn sqlstate_fix(sqlstate: &str) -> Option<&'static str> {
    FIXES.iter().find(|(state, _)| *state == sqlstate).map(|(_, fix)| *fix)
}

#[cfg(test)]
mod tests {
    use super::FIXES;

    #[test]
    fn every_row_has_an_sqlstate_of_its_own_and_a_sentence() {
        for (index, (state, fix)) in FIXES.iter().enumerate() {
            assert!(state.len() == 5 && fix.len() > 20, "{state}");
            assert!(!FIXES[..index].iter().any(|(earlier, _)| earlier == state), "{state} stands twice");
        }
    }
}
