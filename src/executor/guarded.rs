//! A tool's migration: guarded while it runs, tried again after a lock timeout, proven from the database, and stopped.

use super::{
    image::{GRACE, Image},
    witness::{self, Witness},
};
use crate::{
    fault::{Code, Fault},
    input::Command,
    postgres::{Guard, Session, Ward, fault::statement, lock, ready, rows},
    reach::Reach,
    run::event::{Event, MigrationId},
    tool::{Line, Verb},
};
use futures_util::future::{Either, join, select};
use std::{convert::Infallible, pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The first pause before the tool is tried again; it doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The interval of signs of life on the session that holds the lock.
const HOLD: Duration = Duration::from_secs(2);

/// How long backends may take to end when they are told to.
const ENDING: Duration = Duration::from_secs(3);

impl Image<'_> {
    /// Lets the tool migrate, and reads from the ledger what it did, however it ended.
    ///
    /// # Errors
    /// Why it failed; what was applied before is told by events.
    pub async fn migrate(&mut self, reach: &mut Reach) -> Result<(), Fault> {
        let line = self.migrating()?;
        self.began = true;
        let mut failed = self.tries(reach, &line).await.err();
        self.tell_settings();
        match self.look_again(reach).await {
            Ok(after) => {
                self.tell_applied(&after);
                if let (Some(_), Some(id)) = (&failed, self.pending.iter().find(|id| !after.has(&id.name))) {
                    self.events.tell(Event::Failed { version: id.version });
                }
                self.after = Some(after);
            }
            Err(why) => {
                self.give_up();
                let cause = format!("what the tool did can't be read from the database: {}", why.cause);
                let doubt = Fault::new(Code::CommitInDoubt, cause);
                failed = Some(match failed {
                    Some(first) => first.detail(doubt.cause),
                    None => doubt,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn migrating(&self) -> Result<Line, Fault> {
        let line = self.tool.run.clone().or_else(|| self.tool.recipe.line(Verb::Migrate));
        line.ok_or_else(|| Fault::new(Code::Bug, "nobody says how to migrate"))
    }

    async fn tries(&self, reach: &Reach, line: &Line) -> Result<(), Fault> {
        let guard = self.guard(reach).await;
        let work = async {
            let (mut tries, mut backoff) = (0, FIRST_BACKOFF);
            loop {
                let Err(fault) = self.once(reach, line, guard.as_ref()).await else { return Ok(()) };
                let retries = self.settings.safety.retries;
                if fault.code != Code::LockTimeout || tries == retries {
                    return Err(fault);
                }
                tries += 1;
                self.events.tell(Event::Waiting {
                    what: format!("another try of the tool ({tries} of {retries}, in {} s)", backoff.as_secs()),
                    why: fault.cause,
                });
                sleep(backoff).await;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
        };
        let done = work.await;
        if let Some(guard) = guard {
            guard.close().await;
        }
        done
    }

    /// A run without a guard is still a run.
    async fn guard(&self, reach: &Reach) -> Option<Guard> {
        let name = lock::application_name(self.runner);
        match Guard::connect(reach, self.settings.database().ok()?, &name, &self.events).await {
            Ok(guard) => Some(guard),
            Err(fault) => {
                self.events.tell(Event::Warning(fault.detail("so nobody watches who blocks whom during this run")));
                None
            }
        }
    }

    /// One try, until it ends or the lock is lost.
    async fn once(&self, reach: &Reach, line: &Line, guard: Option<&Guard>) -> Result<(), Fault> {
        let watch = async {
            match guard {
                Some(guard) => guard.watch(|| self.ward(), &self.events).await,
                None => std::future::pending::<Infallible>().await,
            }
        };
        let lost = async {
            let (hold, watch) = (pin!(self.hold()), pin!(watch));
            match select(hold, watch).await {
                Either::Left((lost, _)) => lost,
                Either::Right((never, _)) => match never {},
            }
        };
        match select(pin!(self.call(reach, line)), pin!(lost)).await {
            Either::Left((done, _)) => done.map(drop),
            Either::Right((lost, _)) => {
                self.current.end(GRACE).await?;
                Err(lost.detail("the run lock went with that connection, so the tool was stopped"))
            }
        }
    }

    fn ward(&self) -> Ward {
        let pids = self.listener.as_ref().map(crate::postgres::Listener::pids).unwrap_or_default();
        Ward { application_name: lock::tool_name(self.runner), pids }
    }

    /// Resolves when the session that holds the lock is lost.
    async fn hold(&self) -> Fault {
        loop {
            sleep(HOLD).await;
            match self.session() {
                Ok(session) => {
                    if let Err(error) = session.client.simple_query("").await {
                        return statement(&error);
                    }
                }
                Err(fault) => return fault,
            }
        }
    }

    /// The database after the work; over a new session if ours was lost meanwhile.
    async fn look_again(&mut self, reach: &mut Reach) -> Result<Witness, Fault> {
        let looked = Witness::again(self.session()?, &self.tool.recipe).await;
        let Err(lost) = looked else { return looked };
        if lost.code != Code::DatabaseLost {
            return Err(lost);
        }
        self.events.tell(Event::Waiting {
            what: "the database, to see what the tool did".to_owned(),
            why: lost.cause.clone(),
        });
        let wait = self.settings.wait_timeout;
        let session = timeout(wait, self.again(reach)).await.unwrap_or(Err(lost))?;
        let session = self.session.insert(session);
        Witness::again(session, &self.tool.recipe).await
    }

    /// Who holds the lock knows that nobody works any more whose lock it was.
    async fn again(&self, reach: &mut Reach) -> Result<Session, Fault> {
        if reach.check().is_some() {
            *reach = Reach::connect(self.settings.route.as_ref(), &self.events).await?;
        }
        let wait = self.settings.wait_timeout;
        let session = ready::connect(reach, self.settings.database()?, &self.startup(), wait, &self.events).await?;
        let server = self.runner.server_url.as_deref();
        lock::acquire(&session, lock::own(), wait, server, &self.events).await?;
        Ok(session)
    }

    fn tell_applied(&self, after: &Witness) {
        let mut unlisted =
            (self.pending.len() + 1..).zip(after.rows_since(&self.before).filter(|row| !self.is_pending(&row.name)));
        let known = self.pending.iter().filter(|id| after.has(&id.name) && !self.before.has(&id.name));
        for id in known {
            self.events.tell(Event::Recorded { version: id.version });
        }
        unlisted.by_ref().for_each(|(place, row)| {
            let version = i64::try_from(place).unwrap_or(i64::MAX);
            self.events.tell(Event::Found(MigrationId { version, name: row.name.clone(), file: String::new() }));
            self.events.tell(Event::Recorded { version });
        });
        let added = after.schema_since(&self.before);
        if !added.is_empty() {
            self.events.tell(Event::Schema { added });
        }
    }

    fn is_pending(&self, name: &str) -> bool {
        self.pending.iter().any(|id| id.name == name)
    }

    /// The proof: of `migrate`, that the ledger has everything that was pending; of `verify`, that nothing is pending and
    /// that the tool's own check agrees. In both, that no index is broken.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn verify(&mut self, reach: &Reach) -> Result<(), Vec<Fault>> {
        let faults = match (self.settings.command, &self.after) {
            (Command::Verify, _) => self.unfinished(reach).await,
            (_, Some(after)) => {
                let command = self.migrating().map(|line| line.shown()).unwrap_or_default();
                let undone = witness::undone(&command, &self.pending, after);
                undone.into_iter().chain(after.broken_since(&self.before)).collect()
            }
            // Nothing was pending when the ledger was read under the lock: that is the proof.
            (_, None) => Vec::new(),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let ledgers = self.after.as_ref().map_or(&self.before.ledgers, |after| &after.ledgers);
        if ledgers.is_empty() {
            let cause = "no ledger was found in the database: that the migration took place is only the tool's word";
            self.events.tell(Event::Warning(
                Fault::new(Code::VerifyLedger, cause)
                    .fix("name a tool that keeps one, or look at what is new in the schema"),
            ));
        } else {
            self.events.tell(Event::Verified);
        }
        Ok(())
    }

    async fn unfinished(&self, reach: &Reach) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(first) = self.pending.first() {
            let cause = match self.pending.len() {
                1 => format!("`{}` is not applied", first.name),
                several => format!("{several} migrations are not applied, `{}` first", first.name),
            };
            faults.push(Fault::new(Code::VerifyPending, cause));
        } else {
            for verb in [Verb::Verify, Verb::Check] {
                let Some(line) = self.tool.recipe.line(verb) else { continue };
                faults.extend(self.call(reach, &line).await.err());
            }
        }
        faults.extend(self.before.broken());
        faults
    }

    /// Stops the work whose future was dropped: the container, and what its backends still do; then reads what was applied.
    ///
    /// # Errors
    /// Why nobody knows what became of the work.
    pub async fn stop(&self) -> Result<(), Fault> {
        let (ended, told) = join(self.current.end(GRACE), self.end_backends()).await;
        ended?;
        told?;
        if self.began && self.after.is_none() {
            let after = Witness::again(self.session()?, &self.tool.recipe).await?;
            self.tell_applied(&after);
        }
        Ok(())
    }

    /// The tool's sessions have no client any more; told so, they end at once instead of with their statement.
    async fn end_backends(&self) -> Result<(), Fault> {
        let Some(session) = &self.session else { return Ok(()) };
        let Ward { application_name, pids } = self.ward();
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let question = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid = ANY ('{{{}}}'::int[]) OR (datname = pg_catalog.current_database() AND application_name = {})",
            pids.join(","),
            crate::postgres::literal(&application_name)
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

    /// Tells of migrations whose fate nobody could find out. Before the tool was let at the database there are none.
    pub fn give_up(&self) {
        for id in self.pending.iter().filter(|_| self.began && self.after.is_none()) {
            self.events.tell(Event::InDoubt { version: id.version });
        }
    }

    /// What ended the connection, if that is what the first fault complains of.
    #[must_use]
    pub fn first_cause(&self, reach: &Reach, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let Some(first) = faults.first_mut()
            && matches!(first.code, Code::DatabaseLost | Code::DatabaseUnready | Code::ToolFailed)
            && let Some(cause) = reach.check()
        {
            *first = cause.at(first.stage).detail(format!("so: {}", first.cause));
        }
        faults
    }
}
