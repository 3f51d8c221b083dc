//! The part of a plan that a rehearsal needs, and the comparison of a plan with its rehearsal.

use super::{
    Executor,
    review::{ReadScripts, StatementPlaces},
};
use crate::{
    fault::{Code, Fault},
    layout::Table,
    postgres::Session,
    rehearsal::{RehearsedPlan, WatchedLedger, check_rehearsal},
    review::PlanPath,
    run::{ImageFacts, MigrationId},
    settings::ApprovedRehearsal,
    site::Sites,
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
    /// The pending migrations.
    pub(crate) pending: &'e [MigrationId],
    /// The targets of the rollbacks that lead back to where it was, in their order; or the reason why there are none, as a
    /// sentence without its full stop, which is empty if there is nothing to tell.
    pub(crate) ways_back: Result<Vec<String>, String>,
    /// The image of the tool.
    pub(crate) image: Option<&'e ImageFacts>,
    /// The ledger by which the statements of a tool are assigned to migrations; none for SQL files.
    pub(crate) ledger: Option<WatchedLedger>,
}

impl Executor<'_> {
    /// Returns the subject of a rehearsal, once the plan is made.
    pub(crate) fn rehearsal_subject<'e>(&'e self, sites: &'e Sites<'_>) -> Option<RehearsalSubject<'e>> {
        match self {
            Self::Sql(sql) => sql.rehearsal_subject(),
            Self::Tool(tool) => tool.rehearsal_subject(sites),
        }
    }

    /// Checks that a tool uses the database that it is led to.
    ///
    /// # Errors
    /// `tool-elsewhere`.
    pub(crate) async fn check_led(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        match self {
            Self::Sql(_) => Ok(()),
            Self::Tool(tool) => tool.check_led(sites).await,
        }
    }

    /// Returns the migration at which a tool stopped, if it failed and that is known.
    pub(crate) fn failed_migration(&self, sites: &Sites<'_>) -> Option<&MigrationId> {
        match self {
            Self::Sql(_) => None,
            Self::Tool(tool) => tool.failed_migration(sites),
        }
    }

    /// Checks that a tool has left the database itself alone.
    ///
    /// # Errors
    /// `tool-unasked`, with the changes; the fault of reading it.
    pub(crate) async fn check_untouched(&self) -> Result<(), Fault> {
        match self {
            Self::Sql(_) => Ok(()),
            Self::Tool(tool) => tool.check_untouched().await,
        }
    }

    /// Compares the plan and the schema with the rehearsal that this run depends on. An empty plan needs none.
    ///
    /// # Errors
    /// `rehearsal-outdated`; `schema-unknown`, or the lost connection.
    pub(crate) async fn check_rehearsal(
        &self,
        sites: &Sites<'_>,
        rehearsal: Option<&ApprovedRehearsal>,
    ) -> Result<(), Fault> {
        let Some(rehearsal) = rehearsal.filter(|_| self.has_work()) else { return Ok(()) };
        let no_plan = || Fault::new(Code::Bug, "a rehearsal is compared with a plan before there is one");
        let subject = self.rehearsal_subject(sites).ok_or_else(no_plan)?;
        let schema = self.current_schema().await?;
        let plan = RehearsedPlan { digest: subject.digest, image: subject.image };
        check_rehearsal(plan, &schema, rehearsal, SystemTime::now().into())
    }
}
