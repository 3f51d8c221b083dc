//! The holder of the run lock while a tool works: a session of ours that is read-only but for the record of the run. It is
//! checked, so that a lost lock is noticed, and it reads what the tool has done.

use super::tool::snapshot::{self, LedgerSnapshot};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{
        ActivityMonitor, LockWaits, Rows, Session, SessionMeans, SessionSettings, WatchedSessions, WorkOwner,
        own_query::{OwnQuery, RunLockRequirement},
        pooler,
        preflight::{self, LockAttempt},
        query_rows,
        run_lock::{self, LockWait},
        wait::{self, answer_within, retry_if_lost},
    },
    run::event::{Event, Events},
    settings::{ExecutorSettings, Settings},
    site::container_spec,
    tool::Recipe,
    transport::Transport,
};
use futures_util::future::{Either, join, select};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::pin,
    rc::Rc,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// The interval of keep-alive queries on the session that holds the lock.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// The session that holds the run lock.
#[derive(Debug)]
pub(super) struct LockHolder<'a> {
    pub(super) settings: &'a Settings,
    pub(super) runner: &'a Runner,
    pub(super) events: Events,
    session: Session,
    pub(super) has_lock: bool,
    is_alone: bool,
    /// Set when the session did not respond in time.
    is_unresponsive: Cell<bool>,
    /// The activity monitor; it continues from one attempt to the next.
    monitor: RefCell<MonitorState>,
    /// The state of the tool's ledgers that was read behind the lock, until it is used.
    early_snapshot: RefCell<Option<Box<LedgerSnapshot>>>,
    /// The rows of the last query for ledgers.
    pub(super) ledger_rows: Rows,
}

/// The state of the activity monitor.
#[derive(Debug, Default)]
enum MonitorState {
    #[default]
    NotConnected,
    Connected(Rc<ActivityMonitor>),
    /// It got no connection, and that was reported.
    Unavailable,
}

impl<'a> LockHolder<'a> {
    /// Opens the session, and takes the lock if it is free.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub(super) async fn connect(
        settings: &'a Settings,
        runner: &'a Runner,
        events: &Events,
        transport: &Transport,
    ) -> Result<Self, Fault> {
        let target = settings.required_database()?;
        let wait = settings.wait_timeout;
        let startup = startup_settings(settings, runner);
        let mut session = wait::wait_for_session(transport, target, &startup, wait, events).await?;
        let ledgers_query = |_: &str| snapshot::ledgers_query(settings);
        let means = SessionMeans { transport, wait, events };
        let preflight_result =
            preflight::run_preflight(&mut session, lock_attempt(settings), ledgers_query, means).await?;
        events.emit(Event::Database(preflight_result.facts));
        Ok(Self {
            settings,
            runner,
            events: events.clone(),
            session,
            has_lock: preflight_result.locked,
            is_alone: preflight_result.no_tool_active,
            is_unresponsive: Cell::new(false),
            monitor: RefCell::default(),
            early_snapshot: RefCell::default(),
            ledger_rows: preflight_result.rows,
        })
    }

    /// Takes the run lock.
    ///
    /// # Errors
    /// The holder of the lock.
    pub(super) async fn take_run_lock(&mut self) -> Result<(), Fault> {
        let began = Instant::now();
        if !self.has_lock || !self.is_alone {
            let mut wait = lock_wait(self.settings, self.runner);
            if self.take_free_lock(&wait).await? {
                self.events.emit(Event::Locked { waited: began.elapsed() });
                return Ok(());
            }
            let session = &self.session;
            if !self.has_lock {
                run_lock::acquire_lock(session, run_lock::bastion_migrate_lock(), &wait, &self.events).await?;
            }
            wait.limit = wait.limit.saturating_sub(began.elapsed());
            run_lock::wait_for_other_tools(session, &wait, &self.events).await?;
            (self.has_lock, self.is_alone) = (true, true);
            // The previous holder may have created the ledger meanwhile.
            self.find_ledgers_again().await?;
        }
        self.events.emit(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    /// Takes the lock if it is free and no tool of an earlier run is active, and reads the tool's ledgers behind it, in one
    /// round trip. Returns whether it has done so.
    async fn take_free_lock(&mut self, wait: &LockWait<'_>) -> Result<bool, Fault> {
        let ExecutorSettings::Tool(tool) = &self.settings.executor else { return Ok(false) };
        let lock = run_lock::try_lock_alone(&self.session, run_lock::bastion_migrate_lock(), wait);
        let lock_requirement = self.lock_requirement();
        let snapshot = LedgerSnapshot::reread(&self.session, lock_requirement, &self.ledger_rows, &tool.recipe);
        let (is_taken, read) = join(lock, answer_within(self.settings.wait_timeout, snapshot)).await;
        if is_taken? {
            let (ledger_rows, snapshot) = read?;
            (self.ledger_rows, self.has_lock, self.is_alone) = (ledger_rows, true, true);
            // A wait for the start may be long.
            self.early_snapshot.replace(self.settings.start_conditions().is_none().then(|| Box::new(snapshot)));
        }
        Ok(self.has_lock && self.is_alone)
    }

    /// Reads the state of the tool's ledgers and of the schema; it may have been read behind the lock.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(super) async fn read_snapshot(&self, recipe: &Recipe) -> Result<LedgerSnapshot, Fault> {
        if let Some(early) = self.early_snapshot.take() {
            return Ok(*early);
        }
        let read = LedgerSnapshot::read(&self.session, self.lock_requirement(), &self.ledger_rows, recipe);
        answer_within(self.settings.wait_timeout, read).await
    }

    /// Reads again which ledgers there are.
    ///
    /// # Errors
    /// The fault of the query.
    pub(super) async fn find_ledgers_again(&mut self) -> Result<(), Fault> {
        let query = snapshot::ledgers_query(self.settings).requiring_lock(self.lock_requirement());
        self.ledger_rows = self.query_rows(&query).await?;
        Ok(())
    }

    /// Reads the state of the tool's ledgers and of the schema again.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(super) async fn reread_snapshot(&self, recipe: &Recipe) -> Result<LedgerSnapshot, Fault> {
        let lock_requirement = self.lock_requirement();
        let read = LedgerSnapshot::reread(&self.session, lock_requirement, &self.ledger_rows, recipe);
        Ok(answer_within(self.settings.wait_timeout, read).await?.1)
    }

    /// Returns the lock requirement of our queries.
    pub(super) fn lock_requirement(&self) -> RunLockRequirement {
        if self.has_lock { RunLockRequirement::Held } else { RunLockRequirement::NotNeeded }
    }

    pub(super) async fn query_rows(&self, query: &OwnQuery) -> Result<Rows, Fault> {
        answer_within(self.settings.wait_timeout, query_rows(&self.session.client, query)).await
    }

    /// Returns whether the session is lost, and the lock with it.
    pub(super) fn is_lost(&self) -> bool {
        self.is_unresponsive.get() || self.session.client.is_closed()
    }

    /// Returns the session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Starts the activity monitor before the tool: a tool's first lock waits are short.
    pub(super) async fn start_monitor(&self, transport: &Transport) {
        drop(self.connected_monitor(transport).await);
    }

    /// Resolves when the lock is lost, and reports meanwhile which sessions block others.
    pub(super) async fn monitor_until_lost(
        &self,
        transport: &Transport,
        pids: impl Fn() -> Vec<i32>,
        lock_waits: &LockWaits,
    ) -> Fault {
        let session = &self.session;
        let monitoring = async {
            match self.connected_monitor(transport).await {
                Some(monitor) => {
                    monitor.poll_activity(|| self.watched_sessions(pids()), lock_waits, &self.events).await
                }
                None => std::future::pending::<Infallible>().await,
            }
        };
        match select(pin!(keep_alive(session, self.lock_requirement(), self.settings.wait_timeout)), pin!(monitoring))
            .await
        {
            Either::Left((fault, _)) if fault.code == Code::DatabaseTimeout => {
                self.is_unresponsive.set(true);
                fault.code(Code::DatabaseLost).detail("so it is unknown whether this run still holds the run lock")
            }
            Either::Left((lost, _)) => lost.detail("the run lock was lost with that connection"),
            Either::Right((never, _)) => match never {},
        }
    }

    /// Returns the monitor, connected if possible; a run continues without one.
    async fn connected_monitor(&self, transport: &Transport) -> Option<Rc<ActivityMonitor>> {
        match &*self.monitor.borrow() {
            MonitorState::NotConnected => {}
            MonitorState::Unavailable => return None,
            MonitorState::Connected(monitor) if monitor.is_closed() => {}
            MonitorState::Connected(monitor) => return Some(Rc::clone(monitor)),
        }
        let name = run_lock::monitor_application_name(self.runner);
        // If neither session gets a response any more, the one with the lock decides, and reports it first.
        let wait = self.settings.wait_timeout + KEEPALIVE_INTERVAL * 2;
        let means = SessionMeans { transport, wait, events: &self.events };
        let target = self.settings.database.as_ref()?;
        match ActivityMonitor::connect(target, &name, self.session.delivery(), means).await {
            Ok(monitor) => {
                let monitor = Rc::new(monitor);
                self.monitor.replace(MonitorState::Connected(Rc::clone(&monitor)));
                Some(monitor)
            }
            Err(fault) => {
                self.events.emit(Event::Warning(fault.detail("so blocked sessions are not monitored during this run")));
                self.monitor.replace(MonitorState::Unavailable);
                None
            }
        }
    }

    pub(super) fn watched_sessions(&self, pids: Vec<i32>) -> WatchedSessions {
        WatchedSessions {
            application_name: container_spec::application_name(self.settings, self.runner),
            pids,
            owner: WorkOwner::Tool,
        }
    }

    /// Opens another session with the same database, as soon as it accepts one.
    pub(super) async fn connect_beside(
        &self,
        transport: &Transport,
        startup: SessionSettings,
    ) -> Result<Session, Fault> {
        let (target, wait) = (self.settings.required_database()?, self.settings.wait_timeout);
        let startup = startup.delivered(self.session.delivery());
        let mut session = wait::wait_for_session(transport, target, &startup, wait, &self.events).await?;
        pooler::take_backend_if_pooled(&mut session, wait).await?;
        Ok(session)
    }

    /// Reconnects and takes the lock again, over an open transport. Holding it proves that its previous holder has
    /// ended.
    ///
    /// # Errors
    /// The reason why it can't.
    pub(super) async fn reconnect(&mut self, transport: &Transport) -> Result<(), Fault> {
        self.session.abort_driver().await;
        self.monitor.take();
        let mut previous_pids = vec![self.session.pid()];
        let deadline = Instant::now() + self.settings.wait_timeout;
        let late = || Fault::new(Code::DatabaseTimeout, "the database did not respond again in time");
        let opening = retry_if_lost(deadline, async || self.open_locked(transport, &mut previous_pids).await);
        let opened = timeout_at(deadline, opening).await;
        self.session = opened.unwrap_or_else(|_| Err(late()))?;
        self.is_unresponsive.set(false);
        Ok(())
    }

    /// Opens a session that holds the run lock. `previous_pids` has those of the lost ones, and gets that of this one.
    async fn open_locked(&self, transport: &Transport, previous_pids: &mut Vec<i32>) -> Result<Session, Fault> {
        let session = self.connect_beside(transport, startup_settings(self.settings, self.runner)).await?;
        let wait = LockWait {
            limit: self.settings.wait_timeout,
            input: "wait-timeout",
            previous_pids,
            ..lock_wait(self.settings, self.runner)
        };
        let locked = run_lock::acquire_lock(&session, run_lock::bastion_migrate_lock(), &wait, &self.events).await;
        previous_pids.push(session.pid());
        locked.map(|_| session)
    }

    /// Closes the session, which releases the lock.
    pub(super) async fn close(self) {
        if let MonitorState::Connected(monitor) = self.monitor.take()
            && let Some(monitor) = Rc::into_inner(monitor)
        {
            monitor.close().await;
        }
        self.session.close().await;
    }
}

/// Returns the start-up settings of a session that only reads, except where a transaction sets otherwise.
fn startup_settings(settings: &Settings, runner: &Runner) -> SessionSettings {
    SessionSettings::holding_lock(run_lock::application_name(runner), settings.database.as_ref())
}

/// Resolves when the session or only the lock is lost, or when it does not respond within `wait`.
pub(super) async fn keep_alive(session: &Session, lock: RunLockRequirement, wait: Duration) -> Fault {
    let query = OwnQuery::read_only("SELECT").requiring_lock(lock);
    loop {
        sleep(KEEPALIVE_INTERVAL).await;
        if let Err(fault) = answer_within(wait, query_rows(&session.client, &query)).await {
            return fault;
        }
    }
}

/// Returns whether the preflight query also tries to take the run lock. With a server slot it must not: the order is
/// slot, then lock, as for a run that reconnects; otherwise two runs would deadlock.
pub(super) fn lock_attempt(settings: &Settings) -> LockAttempt {
    if settings.command.may_write() && settings.server.is_none() { LockAttempt::TryRunLock } else { LockAttempt::Skip }
}

/// Returns the limits for waiting for a lock that other runs hold.
pub(super) fn lock_wait<'a>(settings: &Settings, runner: &'a Runner) -> LockWait<'a> {
    LockWait {
        limit: settings.safety.lock_wait,
        input: "lock-wait",
        response_timeout: settings.wait_timeout,
        previous_pids: &[],
        server_url: runner.server_url.as_deref(),
    }
}
