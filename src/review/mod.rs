//! The review of a plan: what the SQL of its migrations does to this database. Parsing and judging are pure; the one
//! question to the database is in `table_facts`.

mod effect;
mod script;

pub use effect::{
    Blocked, Certainty, Destruction, LockDuration, LockMode, LockedRelation, RelationLock, StatementEffect, TableWork,
};
pub use script::{HiddenPart, MigrationScript, ScriptTransaction};
