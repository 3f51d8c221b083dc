//! The right to record a run.

/// The fix for a role that has it not.
pub const RIGHT_TO_RECORD: &str = "let the role create the table (`GRANT CREATE ON DATABASE … TO …`, until the first run has created it), or write to it \
    (`GRANT USAGE ON SCHEMA bastion_migrate TO …; GRANT SELECT, INSERT, UPDATE ON bastion_migrate.runs TO …`), or set \
    `audit: false`";
