//! `command: history`: lists the runs that have worked on the database. It needs neither files nor a tool.

use super::{
    lock_holder::LockHolder,
    root_cause::{behind, reports_loss},
};
use crate::{
    audit::{history_query, parse_history, parse_runs_table, runs_table_query},
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{OwnQuery, Rows, query_rows, wait::answer_within},
    run::{
        PastRun,
        event::{Event, Events},
    },
    settings::Settings,
    transport::Transport,
};

/// The session that reads the record of runs; it can't write.
#[derive(Debug)]
pub(crate) struct HistoryReader<'a> {
    settings: &'a Settings,
    session: LockHolder<'a>,
    transport: Transport,
}

impl<'a> HistoryReader<'a> {
    /// Opens the session.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub(crate) async fn connect(
        settings: &'a Settings,
        runner: &'a Runner,
        events: &Events,
        transport: Transport,
    ) -> Result<Self, Fault> {
        let session = LockHolder::connect(settings, runner, events, &transport).await?;
        Ok(Self { settings, session, transport })
    }

    /// Reports the runs.
    ///
    /// # Errors
    /// `ledger-untrusted` for a table that is not ours, or the fault of the query.
    pub(crate) async fn report(&self, events: &Events) -> Result<(), Fault> {
        let runs = self.read().await.map_err(|symptom| {
            let bastion = self.transport.loss_fault().filter(|_| reports_loss(&symptom));
            behind(bastion, symptom)
        })?;
        events.emit(Event::History(runs));
        Ok(())
    }

    async fn read(&self) -> Result<Vec<PastRun>, Fault> {
        let Some(table) = parse_runs_table(&self.query(&runs_table_query()).await?) else { return Ok(Vec::new()) };
        if !table.is_trusted() {
            let cause = format!("the record of runs is not read: {}", table.describe_issue());
            return Err(Fault::new(Code::LedgerUntrusted, cause)
                .fix("let the role that migrates, or a member of it, list the runs; if it has not created the table, find out who has"));
        }
        Ok(parse_history(&self.query(&history_query()).await?))
    }

    async fn query(&self, query: &OwnQuery) -> Result<Rows, Fault> {
        answer_within(self.settings.wait_timeout, query_rows(&self.session.session().client, query)).await
    }

    /// Closes the session and the transport.
    ///
    /// # Errors
    /// The fault of the transport.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        self.session.close().await;
        self.transport.close().await
    }
}
