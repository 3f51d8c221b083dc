//! Asks the database: one session, which only reads, and next to it a handshake for the certificate.

use super::ledger::LedgerExpectation;
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    layout::Table,
    ledger::{Survey, invalid_indexes_sql, known_tools, parse_invalid_indexes, survey_query},
    postgres::{
        DatabaseTarget, OwnQuery, RowTag, Rows, SequenceUse, ServerCertificate, ServerHealth, Session, SessionMeans,
        SessionSettings, health_sql,
        preflight::{self, LockAttempt},
        query_rows, quote_literal, read_certificate, run_lock, sequences_sql,
    },
    run::{DatabaseFacts, event::Events},
    transport::Transport,
};
use futures_util::future::join;
use tokio::time::{Instant, timeout_at};

/// The checks wait for less time than a run, so a longer time limit would not help them.
const SLOW_DATABASE_FIX: &str = "check the firewall between bastion and database; if the server is only slow, `command: plan` waits for it, up to `wait-timeout`";

/// Time for which a question waits for a session that has locked a sequence, in milliseconds.
const SEQUENCE_WAIT_MS: u32 = 500;

/// The answers of the database.
#[derive(Debug)]
pub(super) struct ExaminedDatabase {
    /// The facts of the session, or why there is none that a migration could use.
    pub(super) session: Result<DatabaseFacts, Fault>,
    /// The server's `server_version_num`, if it is known.
    pub(super) version: Option<u32>,
    /// The server's certificate, or why there is none.
    pub(super) certificate: Result<Option<ServerCertificate>, Fault>,
    /// The content of the catalog, or why it could not be read; `None` without a session.
    pub(super) catalog: Option<Result<ExaminedCatalog, Fault>>,
}

/// The answers of the database about its content.
#[derive(Debug)]
pub(super) struct ExaminedCatalog {
    pub(super) survey: Survey,
    /// The response with the tables that may be ledgers of tools.
    pub(super) rows: Rows,
    pub(super) health: ServerHealth,
    pub(super) invalid_indexes: Vec<String>,
    /// The sequences near their end, or why they could not be read.
    pub(super) sequences: Result<Vec<SequenceUse>, Fault>,
    /// The fault that a run meets at the run lock.
    pub(super) lock_holder: Option<Fault>,
    /// Set if the session's role may write to the ledger; `None` if there is no ledger.
    pub(super) writes_ledger: Option<bool>,
}

/// The database to examine, and the means for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DatabaseExaminer<'a> {
    pub(super) target: &'a DatabaseTarget,
    pub(super) runner: &'a Runner,
    pub(super) events: &'a Events,
    pub(super) ledger: LedgerExpectation<'a>,
    pub(super) deadline: Instant,
}

impl DatabaseExaminer<'_> {
    /// Examines the database.
    pub(super) async fn examine(self, transport: &Transport) -> ExaminedDatabase {
        let certificate = self.in_time(read_certificate(transport, self.target));
        let (asked, certificate) = join(Box::pin(self.ask(transport)), Box::pin(certificate)).await;
        match asked {
            Ok((session, version, catalog)) => {
                ExaminedDatabase { session, version, certificate, catalog: Some(catalog) }
            }
            Err(fault) => ExaminedDatabase { session: Err(fault), version: None, certificate, catalog: None },
        }
    }

    /// Opens a session and asks; the result is an error only without a session.
    async fn ask(
        &self,
        transport: &Transport,
    ) -> Result<(Result<DatabaseFacts, Fault>, Option<u32>, Result<ExaminedCatalog, Fault>), Fault> {
        let settings = SessionSettings::examining(run_lock::application_name(self.runner), self.target);
        let mut session = self.in_time(Session::connect(transport, self.target, &settings, self.events)).await?;
        let wait = self.deadline.saturating_duration_since(Instant::now());
        let means = SessionMeans { transport, wait, events: self.events };
        let nothing = |_: &str| OwnQuery::read_only("SELECT NULL");
        let preflight = self.in_time(preflight::run_preflight(&mut session, LockAttempt::Skip, nothing, means)).await;
        let catalog = self.in_time(self.read_catalog(&session)).await;
        let version = session.server_version();
        session.close().await;
        Ok((preflight.map(|answer| answer.facts), version, catalog))
    }

    async fn read_catalog(&self, session: &Session) -> Result<ExaminedCatalog, Fault> {
        let LedgerExpectation { table, source_table, .. } = self.ledger;
        let query = survey_query(table, source_table)
            .with_appended(&known_tools::find_sql())
            .with_appended(&invalid_indexes_sql())
            .with_appended(&run_lock::run_lock_holder_sql())
            .with_appended(&health_sql());
        // Sent at the same time; a session that has locked a sequence holds up only the second.
        let sequences =
            OwnQuery::read_only(format!("SET LOCAL lock_timeout TO {SEQUENCE_WAIT_MS}; {}", sequences_sql()));
        let (rows, sequences) =
            join(query_rows(&session.client, &query), query_rows(&session.client, &sequences)).await;
        let rows = rows?;
        let health = ServerHealth::from_rows(&rows)
            .ok_or_else(|| Fault::new(Code::DatabaseNotPostgres, "the server does not answer about its catalog"))?;
        let survey = Survey::from_rows(&rows);
        let writes_ledger = match self.ledger.standing_table(&survey, &rows) {
            Some(table) => Some(may_write(session, &table).await?),
            None => None,
        };
        Ok(ExaminedCatalog {
            health,
            sequences: sequences.map(|rows| SequenceUse::from_rows(&rows)),
            writes_ledger,
            invalid_indexes: parse_invalid_indexes(&rows),
            lock_holder: run_lock::parse_run_lock_holder(&rows, self.runner.server_url.as_deref()),
            survey,
            rows,
        })
    }

    /// Limits a question to the time of the check.
    async fn in_time<T>(&self, question: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        timeout_at(self.deadline, question).await.unwrap_or_else(|_| {
            let DatabaseTarget { host, port, .. } = self.target;
            let cause = format!("`{host}:{port}` has not answered within the time of the check");
            Err(Fault::new(Code::DatabaseTimeout, cause).fix(SLOW_DATABASE_FIX))
        })
    }
}

async fn may_write(session: &Session, table: &Table) -> Result<bool, Fault> {
    let sql = format!(
        "SELECT {}, pg_catalog.has_table_privilege({}, 'INSERT')",
        RowTag::LedgerRight,
        quote_literal(&table.to_sql())
    );
    let rows = query_rows(&session.client, &OwnQuery::read_only(sql)).await?;
    Ok(rows.texts_tagged(RowTag::LedgerRight).next().as_deref() == Some("t"))
}
