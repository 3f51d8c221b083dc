//! `executor: sql`: plain SQL files, from inside the action, over the tunnel. One session holds the run lock and does the
//! work, so that losing one is losing both.

use crate::{
    fault::{Code, Fault, Stage},
    github::env::Runner,
    input::{Command, Settings},
    ledger::{Content, Found, Layout, Ledger, discover_sql, found},
    migrate::{self, Apply, Files, Migration, Rules, Stopped, Tally},
    postgres::{Session, Startup, facts, fault::statement, lock, ready, rows},
    reach::Reach,
    run::event::{Event, Events, MigrationId, PlanFacts},
};
use std::time::Duration;
use tokio::time::timeout;

/// The executor and what it knows so far.
#[derive(Debug)]
pub struct Sql<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    events: Events,
    files: Option<Files>,
    layout: Option<Layout>,
    startup: Startup,
    session: Option<Session>,
    opening: Vec<Found>,
    locked: bool,
    ledger: Option<Ledger>,
    before: Content,
    pending: Vec<Migration>,
    tally: Tally,
}

/// How long the fate of a lost commit is asked for.
const SETTLE: Duration = Duration::from_secs(5);

/// The pause between two cancel requests: one can come between two statements and then hits nothing.
const CANCEL_AGAIN: Duration = Duration::from_millis(150);

impl<'a> Sql<'a> {
    /// Reads the files; no network yet.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(settings: &'a Settings, runner: &'a Runner, events: Events) -> Result<Self, Vec<Fault>> {
        let files = migrate::read(&settings.sql)?;
        Ok(Self {
            layout: files.layout(),
            files: Some(files),
            startup: startup(settings, runner),
            settings,
            runner,
            events,
            session: None,
            opening: Vec::new(),
            locked: false,
            ledger: None,
            before: Content::default(),
            pending: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// A session, and in one round trip who answers, which ledger there is, and the lock if it is free.
    ///
    /// # Errors
    /// Why the database can't be worked with.
    pub async fn connect(&mut self, reach: &Reach) -> Result<(), Fault> {
        let target = &self.settings.database;
        let session = ready::connect(reach, target, &self.startup, self.settings.wait_timeout, &self.events).await?;
        let session = self.session.insert(session);
        let opens = if self.settings.command.writes() { facts::Opens::Locking } else { facts::Opens::Reading };
        let question = discover_sql(self.settings.sql.ledger_table.as_deref());
        let opening = facts::open(session, target, opens, &question).await?;
        self.locked = opening.locked;
        self.opening = found(&opening.extra);
        self.events.tell(Event::Database(opening.facts));
        Ok(())
    }

    /// The run lock, and sqlx's own when its ledger is kept.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        let began = tokio::time::Instant::now();
        let server = self.runner.server_url.as_deref();
        let wait = self.settings.safety.lock_wait;
        let session = open(self.session.as_ref())?;
        if !self.locked {
            lock::acquire(session, lock::own(), wait, server, &self.events).await?;
            // Whoever held it may have made the ledger meanwhile.
            let question = discover_sql(self.settings.sql.ledger_table.as_deref());
            let answer = rows(&session.client, &question).await.map_err(|error| statement(&error))?;
            self.opening = found(&answer);
            self.locked = true;
        }
        let ledger = self.choose_ledger()?;
        if ledger.layout == Layout::Sqlx {
            let theirs = lock::sqlx(&self.settings.database.name);
            lock::acquire(session, theirs, wait.saturating_sub(began.elapsed()), server, &self.events).await?;
        }
        self.ledger = Some(ledger);
        self.events.tell(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    /// Ledger against files.
    ///
    /// # Errors
    /// Everything that speaks against the plan.
    pub async fn plan(&mut self) -> Result<(), Vec<Fault>> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.choose_ledger().map_err(|fault| vec![fault])?,
        };
        let files = self.files.take().ok_or_else(|| vec![Fault::new(Code::Bug, "there are no files any more")])?;
        let migrations = files.into_migrations(ledger.layout);
        self.before = self.read(&ledger).await.map_err(|fault| vec![fault])?;
        let sql = &self.settings.sql;
        let rules = Rules { target: sql.target, out_of_order: sql.out_of_order };
        let plan = migrate::plan(&migrations, &self.before.recorded, &rules)?;
        let pending: Vec<MigrationId> = plan.pending.iter().map(|migration| migration.id.clone()).collect();
        let digest = plan.digest;
        self.events.tell(Event::Planned(PlanFacts {
            layout: ledger.layout.name().to_owned(),
            ledger: ledger.table.to_string(),
            recorded: self.before.recorded.len(),
            pending: pending.clone(),
            digest: digest.clone(),
        }));
        self.pending = migrations.into_iter().filter(|migration| pending.contains(&migration.id)).collect();
        let half_done = migrate::half_done(&self.pending, &self.before, &ledger);
        if !half_done.is_empty() {
            return Err(half_done);
        }
        self.ledger = Some(ledger);
        self.tell_leftovers();
        match self.settings.command {
            // Nothing to do can't be the wrong thing: an approved job that is run again ends well.
            Command::Migrate if self.has_work() => {
                migrate::approved(&digest, self.settings.safety.expect_plan.as_deref()).map_err(|fault| vec![fault])
            }
            Command::Migrate | Command::Plan | Command::Status | Command::Verify => Ok(()),
        }
    }

    /// Whether there is anything to apply.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Applies the plan. When the connection is lost on the way it is made anew to find out what was committed.
    ///
    /// # Errors
    /// Why it stopped; what was applied before is told by events.
    pub async fn migrate(&mut self, reach: &mut Reach) -> Result<(), Fault> {
        let (session, ledger) = (open(self.session.as_ref())?, known(self.ledger.as_ref())?);
        let run = self.runner.run_url();
        let apply = Apply {
            client: &session.client,
            ledger,
            events: &self.events,
            retries: self.settings.safety.retries,
            run: run.as_deref(),
            tally: &self.tally,
        };
        let pending: Vec<&Migration> = self.pending.iter().collect();
        let Err(stopped) = apply.all(&pending).await else { return Ok(()) };
        if stopped.fault.code == Code::DatabaseLost {
            return self.settle(reach, stopped).await;
        }
        if let Some(migration) = self.pending.get(stopped.at) {
            self.events.tell(Event::Failed { version: migration.id.version });
        }
        Err(stopped.fault)
    }

    /// The proof: of `migrate`, that the ledger, read again, has everything that was applied; of `verify`, that nothing is
    /// pending. In both, that no index is broken.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn verify(&mut self) -> Result<(), Vec<Fault>> {
        let faults = match self.settings.command {
            Command::Verify => migrate::unfinished(&self.pending, &self.before),
            // Nothing was changed since the plan read the ledger under the lock: that is the proof.
            _ if self.pending.is_empty() => Vec::new(),
            _ => {
                let ledger = known(self.ledger.as_ref()).map_err(|fault| vec![fault])?;
                let after = self.read(&ledger.made()).await.map_err(|fault| vec![fault])?;
                migrate::unproven(&self.pending, &self.before, &after)
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        self.events.tell(Event::Verified);
        Ok(())
    }

    /// Stops the work whose future was dropped: cancels the statement until the session answers, rolls back, and reads from
    /// the ledger what was committed while nobody listened.
    pub async fn stop(&mut self, reach: &Reach) {
        let Some(session) = &self.session else { return };
        let canceller = session.canceller();
        let mut rollback = std::pin::pin!(session.client.batch_execute("ROLLBACK"));
        loop {
            match timeout(CANCEL_AGAIN, rollback.as_mut()).await {
                Ok(_) => break,
                Err(_) => {
                    if let Err(fault) = canceller.cancel(reach).await {
                        self.events.tell(Event::Warning(fault.detail("the running statement could not be cancelled")));
                        return;
                    }
                }
            }
        }
        let Some(ledger) = &self.ledger else { return };
        if self.tally.sent.get() > self.tally.applied.get() {
            // A ledger that can't be read was not even made: nothing is committed.
            let content = self.read(&ledger.made()).await.unwrap_or_default();
            self.tell_committed(&content);
        }
    }

    /// Tells of migrations whose fate nobody could find out; for a stop that did not succeed in time.
    pub fn give_up(&self) {
        let unknown = self.pending.iter().take(self.tally.sent.get()).skip(self.tally.applied.get());
        for migration in unknown {
            self.events.tell(Event::InDoubt { version: migration.id.version });
        }
    }

    /// Closes the session; the lock goes with it.
    pub async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    fn choose_ledger(&self) -> Result<Ledger, Fault> {
        let sql = &self.settings.sql;
        Ledger::choose(&self.opening, sql.layout, sql.ledger_table.as_deref(), self.layout)
    }

    async fn read(&self, ledger: &Ledger) -> Result<Content, Fault> {
        let session = open(self.session.as_ref())?;
        let answer = rows(&session.client, &ledger.read_sql()).await.map_err(|error| statement(&error))?;
        Ok(Content::parse(&answer))
    }

    /// What earlier runs, or others, left behind and this run does not touch. To `verify` it is a fault, told there.
    fn tell_leftovers(&self) {
        if self.settings.command == Command::Verify {
            return;
        }
        for index in &self.before.invalid_indexes {
            let fault = Fault::new(Code::VerifyIndex, format!("the index {index} is INVALID since before this run"));
            self.events.tell(Event::Warning(fault.at(Stage::Plan)));
        }
    }

    /// Connects anew and reads what became of the migrations that were in flight. Whoever holds the run lock knows that the
    /// lost session has ended, and with it its transaction: what is not in the ledger then was rolled back.
    async fn settle(&mut self, reach: &mut Reach, stopped: Stopped) -> Result<(), Fault> {
        let lost = match (reach.check(), &mut self.session) {
            (Some(bastion), _) => bastion,
            (None, Some(session)) => session.why_closed().await.unwrap_or_else(|| stopped.fault.clone()),
            (None, None) => stopped.fault.clone(),
        };
        self.events.tell(Event::Waiting {
            what: "the database, to see what was committed".to_owned(),
            why: lost.cause.clone(),
        });
        match timeout(SETTLE, self.ask_again(reach)).await {
            Ok(Ok(content)) => {
                self.tell_committed(&content);
                match self.pending.len() - self.tally.applied.get() {
                    0 => Ok(()),
                    left => {
                        Err(lost
                            .detail(format!("{} applied, {left} not: the ledger says so", self.tally.applied.get())))
                    }
                }
            }
            unsettled => {
                self.give_up();
                let why = match unsettled {
                    Ok(Err(fault)) => fault.cause,
                    _ => "no answer in time".to_owned(),
                };
                Err(Fault::new(
                    Code::CommitInDoubt,
                    format!("the connection broke while a commit was under way: {}", lost.cause),
                )
                .detail(format!("it could not be had again: {why}")))
            }
        }
    }

    async fn ask_again(&mut self, reach: &mut Reach) -> Result<Content, Fault> {
        if reach.check().is_some() {
            *reach = Reach::connect(self.settings.route.as_ref(), &self.events).await?;
        }
        let session = ready::connect(reach, &self.settings.database, &self.startup, SETTLE, &self.events).await?;
        let session = self.session.insert(session);
        if let Some(xid) = self.tally.xid.get() {
            let question = format!("SELECT pg_catalog.pg_xact_status('{xid}'::pg_catalog.xid8)");
            let answer = rows(&session.client, &question).await.map_err(|error| statement(&error))?;
            let status = answer.first().and_then(|row| row.first()).and_then(Option::as_deref).unwrap_or("unknown");
            self.events.note(format!("the server says of transaction {xid}: {status}"));
        }
        let server = self.runner.server_url.as_deref();
        lock::acquire(session, lock::own(), SETTLE, server, &self.events).await?;
        let ledger = known(self.ledger.as_ref())?;
        self.read(&ledger.made()).await
    }

    /// Tells of every migration that the ledger has and no event told yet; they are committed in order.
    fn tell_committed(&self, content: &Content) {
        let from = self.tally.applied.get();
        let recorded = |version| content.recorded.iter().find(|row| row.version == version);
        for (index, migration) in self.pending.iter().enumerate().skip(from) {
            let version = migration.id.version;
            match recorded(version) {
                Some(row) => {
                    let took = Duration::from_millis(row.took_ms);
                    self.events.tell(Event::Applied { version, took });
                    self.tally.applied.set(index + 1);
                }
                None => {
                    self.events.tell(Event::Failed { version });
                    return;
                }
            }
        }
    }
}

fn open(session: Option<&Session>) -> Result<&Session, Fault> {
    session.ok_or_else(|| Fault::new(Code::Bug, "there is no session yet"))
}

fn known(ledger: Option<&Ledger>) -> Result<&Ledger, Fault> {
    ledger.ok_or_else(|| Fault::new(Code::Bug, "there is no ledger yet"))
}

/// Settings at start-up cost no round trip. The order matters: the user's own come after ours, and read-only after everything,
/// so that nothing can turn a plan into a writer.
fn startup(settings: &Settings, runner: &Runner) -> Startup {
    let safety = &settings.safety;
    let mut options = format!(
        "-c lock_timeout={} -c statement_timeout={} -c idle_in_transaction_session_timeout=60000 \
         -c client_connection_check_interval=1000 -c standard_conforming_strings=on \
         -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
        safety.lock_timeout.as_millis(),
        safety.statement_timeout.as_millis(),
    );
    if let Some(own) = &settings.database.options {
        options = format!("{options} {own}");
    }
    if !settings.command.writes() {
        options += " -c default_transaction_read_only=on";
    }
    Startup { application_name: lock::application_name(runner), options }
}
