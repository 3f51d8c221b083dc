//! The review of a plan: the effect of its SQL on this database. Parsing and weighing are pure; the question to the
//! database is in `read_table_facts`.

mod blocking_sessions;
mod effect;
mod effects;
mod lint;
mod lint_plan;
mod lint_rules;
mod lock_conflicts;
mod lock_target;
mod plan_names;
mod plan_notes;
mod plan_progress;
mod plan_tables;
mod read_table_facts;
mod refusals;
mod relation_facts;
mod relation_query;
mod relation_rows;
mod risk_rules;
mod script;
mod script_effects;
mod server_facts;
mod session_facts;
mod statement_families;
mod table_facts;
mod table_probe;
#[cfg(test)]
pub(crate) mod test_effects;
mod units;
mod weigh;
#[cfg(test)]
mod weigh_tests;
mod weigh_time;
mod weighed_destruction;
mod work_time;

pub use effect::{
    Blocked, Certainty, Destruction, LockDuration, LockMode, LockedRelation, RelationLock, StatementEffect, TableWork,
};
pub use effects::statement_effects;
pub use lint::{TableState, Violation, lint_script};
pub use lint_plan::{PlacedFinding, allowed_losses, finding_refusals, lint_plan, unused_allowances};
pub use lint_rules::SILENT_RULES;
pub use plan_names::{PlanNames, names_to_ask};
pub use plan_tables::PlanTables;
pub use read_table_facts::{FactsQuestion, PlanPath, read_search_path, read_table_facts};
pub use refusals::refusals;
pub use relation_facts::{Descendants, RelationFacts, RelationKind, TableSize};
pub use script::{HiddenPart, MigrationScript, ScriptTransaction};
pub use script_effects::ScriptEffects;
pub use session_facts::{LockState, SessionFacts, SessionKind, SessionLock};
pub use table_facts::{
    ForeignKey, IndexFacts, Probe, SchemaFacts, ServerFacts, SessionVisibility, StatementFamilies, TableFacts,
    TypeFacts,
};
pub use weigh::{Scales, weigh_plan};
pub use weighed_destruction::AllowedLoss;
pub use work_time::{RateRange, RateSource, WorkRates};
