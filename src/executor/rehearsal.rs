//! The part of a plan that a rehearsal needs, and the comparison of a plan with its rehearsal.

use super::{
    Executor,
    review::{ReadScripts, StatementPlaces},
};
use crate::{
    fault::{Code, Fault},
    layout::Table,
    postgres::Session,
    rehearsal::check_rehearsal,
    review::PlanPath,
    settings::ApprovedRehearsal,
};
use std::time::SystemTime;

/// The part of a plan that a rehearsal needs.
#[derive(Debug)]
pub(crate) struct RehearsalSubject<'e> {
    /// The session with the database itself, which only reads.
    pub(crate) session: &'e Session,
    /// The digest of the plan.
    pub(crate) digest: &'e str,
    /// The SQL of the pending migrations.
    pub(crate) scripts: &'e ReadScripts,
    /// The positions of its statements.
    pub(crate) places: &'e StatementPlaces,
    /// The search path in which it runs.
    pub(crate) path: &'e PlanPath,
    /// The tables whose rows the copy needs.
    pub(crate) ledger_tables: Vec<Table>,
    /// The names of the ledgers, as descriptions of a schema have them.
    pub(crate) ledger_names: Vec<String>,
    /// The version of the last applied migration, `0` if there is none; none with tenants, who have one each.
    pub(crate) last_applied: Option<String>,
}

impl Executor<'_> {
    /// Returns the subject of a rehearsal, once the plan is made.
    pub(crate) fn rehearsal_subject(&self) -> Option<RehearsalSubject<'_>> {
        match self {
            Self::Sql(sql) => sql.rehearsal_subject(),
            Self::Tool(_) => None,
        }
    }

    /// Compares the plan and the schema with the rehearsal that this run depends on. An empty plan needs none.
    ///
    /// # Errors
    /// `rehearsal-outdated`; `schema-unknown`, or the lost connection.
    pub(crate) async fn check_rehearsal(&self, rehearsal: Option<&ApprovedRehearsal>) -> Result<(), Fault> {
        let Some(rehearsal) = rehearsal.filter(|_| self.has_work()) else { return Ok(()) };
        let no_plan = || Fault::new(Code::Bug, "a rehearsal is compared with a plan before there is one");
        let subject = self.rehearsal_subject().ok_or_else(no_plan)?;
        let schema = self.current_schema().await?;
        check_rehearsal(subject.digest, &schema, rehearsal, SystemTime::now().into())
    }
}
