//! The review of a plan: what the SQL of its migrations does to this database. Parsing and judging are pure; the one
//! question to the database is in `table_facts`.

mod effect;
mod effects;
mod script;

pub use effect::{
    Blocked, Certainty, Destruction, LockDuration, LockMode, LockedRelation, RelationLock, StatementEffect, TableWork,
};
pub use effects::statement_effects;
pub use script::{HiddenPart, MigrationScript, ScriptTransaction};
