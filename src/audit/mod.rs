//! The record of runs in the database: the table `bastion_migrate.runs` has a row for each run that has worked on the
//! database, whatever became of it.

mod history;
mod missing_right;
mod new_run;
mod run_end;
mod runs_table;

pub use history::{history_query, parse_history};
pub use missing_right::RIGHT_TO_RECORD;
pub use new_run::{NewRun, parse_unended};
pub use run_end::{end_query, guarded_end_sql};
pub use runs_table::{parse_runs_table, runs_table_query};
