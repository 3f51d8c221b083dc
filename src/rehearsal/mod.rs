//! The rehearsal of migrations: a copy of the schema in another server, the observation of each statement there, its
//! comparison with the plan's forecast, and the mark of the schema on which the result depends. It knows neither the
//! executors nor the sites.

mod copied_rows;
mod copy_container;
mod copy_roles;
mod copy_server;
mod copy_settings;
mod filled_copy;
mod folded_forms;
mod forecast_check;
mod lock_report;
mod loop_form;
mod masked_value;
mod migration_changes;
mod observation;
mod observed_effect;
mod observer;
mod original;
mod relation_catalog;
mod row_guard;
mod row_loading;
mod sample_catalog;
mod sample_plan;
mod sampled_rows;
mod schema_binding;
mod session_probe;
mod statement_kind;
mod watched_forecast;
mod watched_ledger;
mod watched_migration;
mod watched_run;
mod watched_state;

pub use copied_rows::{CopiedRows, read_rows};
pub use copy_container::CopyContainer;
pub use copy_server::CopyServer;
pub use copy_settings::{CopyRound, settings_for_copy};
pub use filled_copy::fill_copy;
pub use folded_forms::fold_forms;
pub use forecast_check::{RehearsedScript, hold_against_forecast, observed_effects};
pub use lock_report::install_lock_report;
pub use observation::{ObservedScript, ObservedStatement};
pub use observer::{ObservedRun, observe_scripts};
pub use original::{Original, read_original};
pub use row_guard::RowGuard;
pub use sampled_rows::{SampledRows, copy_sample};
pub use schema_binding::{RehearsedPlan, check_rehearsal, schema_mark};
pub use watched_forecast::{LOOP, WatchedScripts};
pub use watched_ledger::WatchedLedger;
pub use watched_run::{FailedStatement, WatchedEnd, WatchedRun};
