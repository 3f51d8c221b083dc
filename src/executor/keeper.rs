//! Who holds the run lock while others work: a session of ours that only looks. It is watched, so that a lost lock is noticed,
//! and it is the one that reads what the others have done.

use super::{sibling, witness};
use crate::{
    fault::{Code, Fault},
    github::env::Runner,
    input::Settings,
    postgres::{Guard, Session, Startup, Ward, facts, fault::statement, lock, ready, rows},
    reach::Reach,
    run::event::{Event, Events},
};
use futures_util::future::{Either, select};
use std::{convert::Infallible, pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The interval of signs of life on the session that holds the lock.
const HOLD: Duration = Duration::from_secs(2);

/// How long backends may take to end when they are told to.
const ENDING: Duration = Duration::from_secs(3);

/// The session, if a database is given.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    events: Events,
    session: Option<Session>,
    locked: bool,
    alone: bool,
    /// Which ledgers there are, as the database told it last.
    pub(super) found: Vec<Vec<Option<String>>>,
}

impl<'a> Keeper<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(settings: &'a Settings, runner: &'a Runner, events: Events) -> Self {
        Self { settings, runner, events, session: None, locked: false, alone: false, found: Vec::new() }
    }

    /// The session, and the lock if it is free.
    ///
    /// # Errors
    /// Why the database can't be worked with.
    pub(super) async fn connect(&mut self, reach: &Reach) -> Result<(), Fault> {
        let target = self.settings.database()?;
        let session = ready::connect(reach, target, &self.startup(), self.settings.wait_timeout, &self.events).await?;
        let session = self.session.insert(session);
        let opening =
            facts::open(session, target, super::opens(self.settings), &witness::find_sql(self.settings)).await?;
        (self.locked, self.alone) = (opening.locked, opening.alone);
        self.found = opening.extra;
        self.events.tell(Event::Database(opening.facts));
        Ok(())
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub(super) async fn lock(&mut self) -> Result<(), Fault> {
        let began = Instant::now();
        let Some(session) = &self.session else { return Ok(()) };
        if !self.locked || !self.alone {
            let (server, wait) = (self.runner.server_url.as_deref(), self.settings.safety.lock_wait);
            if !self.locked {
                lock::acquire(session, lock::own(), wait, server, &self.events).await?;
            }
            lock::alone(session, wait.saturating_sub(began.elapsed()), server, &self.events).await?;
            (self.locked, self.alone) = (true, true);
            // Whoever was at work may have made the ledger meanwhile.
            self.find_again().await?;
        }
        self.events.tell(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    /// Asks again which ledgers there are.
    ///
    /// # Errors
    /// Why the database can't be asked.
    pub(super) async fn find_again(&mut self) -> Result<(), Fault> {
        let Some(session) = &self.session else { return Ok(()) };
        let question = witness::find_sql(self.settings);
        self.found = rows(&session.client, &question).await.map_err(|error| statement(&error))?;
        Ok(())
    }

    /// Whether the session is gone, and the lock with it.
    pub(super) fn is_lost(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.client.is_closed())
    }

    /// The session; none if no database is given.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Resolves when the lock is lost, and tells meanwhile who blocks whom. Without a database there is nothing to lose.
    pub(super) async fn watch(&self, reach: &Reach, pids: impl Fn() -> Vec<i32>) -> Fault {
        let Some(session) = &self.session else { return std::future::pending().await };
        let guarded = async {
            match self.guard(reach).await {
                Some(guard) => guard.watch(|| self.ward(pids()), &self.events).await,
                None => std::future::pending::<Infallible>().await,
            }
        };
        match select(pin!(hold(session)), pin!(guarded)).await {
            Either::Left((lost, _)) => lost.detail("the run lock went with that connection"),
            Either::Right((never, _)) => match never {},
        }
    }

    /// A run without a guard is still a run.
    async fn guard(&self, reach: &Reach) -> Option<Guard> {
        let name = lock::application_name(self.runner);
        match Guard::connect(reach, self.settings.database.as_ref()?, &name, &self.events).await {
            Ok(guard) => Some(guard),
            Err(fault) => {
                self.events.tell(Event::Warning(fault.detail("so nobody watches who blocks whom during this run")));
                None
            }
        }
    }

    fn ward(&self, pids: Vec<i32>) -> Ward {
        Ward { application_name: sibling::called(self.settings, self.runner), pids }
    }

    /// The session and the lock anew, over a way that stands. Who holds the lock knows that nobody works any more whose lock
    /// it was.
    ///
    /// # Errors
    /// Why they can't be had.
    pub(super) async fn again(&mut self, reach: &Reach) -> Result<(), Fault> {
        let (Some(target), Some(_)) = (&self.settings.database, &self.session) else { return Ok(()) };
        let wait = self.settings.wait_timeout;
        let before = self.session.as_ref().map_or(0, |session| session.announced_pid);
        let late = Fault::new(Code::DatabaseTimeout, "the database did not answer again in time");
        let session = timeout(wait, async {
            let session = ready::connect(reach, target, &self.startup(), wait, &self.events).await?;
            self.end_own(&session, before).await?;
            let server = self.runner.server_url.as_deref();
            lock::acquire(&session, lock::own(), wait, server, &self.events).await?;
            Ok(session)
        });
        self.session = Some(session.await.unwrap_or(Err(late))?);
        Ok(())
    }

    /// Ends our session of before, which holds the lock for as long as nobody tells the server that its connection is gone.
    async fn end_own(&self, session: &Session, before: i32) -> Result<(), Fault> {
        let question = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid = {before} AND datname = pg_catalog.current_database() AND application_name = {}",
            crate::postgres::literal(&lock::application_name(self.runner))
        );
        rows(&session.client, &question).await.map(drop).map_err(|error| statement(&error))
    }

    /// A tool's sessions have no client any more; told so, they end at once instead of with their statement. Without the run lock
    /// what has only their name may be another job's.
    ///
    /// # Errors
    /// Why they can't be told.
    pub(super) async fn end_backends(&self, pids: Vec<i32>) -> Result<(), Fault> {
        let Some(session) = &self.session else { return Ok(()) };
        let Ward { application_name, pids } = self.ward(pids);
        let named = crate::postgres::literal(if self.locked { &application_name } else { "" });
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let question = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = ANY ('{{{}}}'::int[]) \
             OR (datname = pg_catalog.current_database() AND application_name = {named} AND application_name <> '')",
            pids.join(","),
        );
        let until = Instant::now() + ENDING;
        loop {
            let left = rows(&session.client, &question).await.map_err(|error| statement(&error))?;
            if left.is_empty() || Instant::now() >= until {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// This session only looks: it can't be the one that changed something.
    fn startup(&self) -> Startup {
        let ours = "-c lock_timeout=5000 -c client_connection_check_interval=1000 -c standard_conforming_strings=on \
            -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3";
        let name = lock::application_name(self.runner);
        let mut startup = Startup::new(name, ours, self.settings.database.as_ref());
        // After the user's own, so that nothing can turn it off.
        startup.options += " -c default_transaction_read_only=on";
        startup
    }

    /// Closes the session; the lock goes with it.
    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

/// Resolves when the session is lost.
async fn hold(session: &Session) -> Fault {
    loop {
        sleep(HOLD).await;
        if let Err(error) = session.client.simple_query("").await {
            return statement(&error);
        }
    }
}
