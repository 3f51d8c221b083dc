//! Where a migration runs. The only match on it is here.

mod aftermath;
mod arrival;
mod asked;
mod containers;
mod current;
mod doubt;
mod entrance;
mod expected;
mod foreign;
mod gap;
mod guarded;
mod heard;
mod keeper;
mod leftover;
mod listing;
mod loss;
mod proof;
mod pursue;
mod remote;
mod renew;
mod sibling;
mod sidecar;
mod sites;
mod sql;
mod sql_file;
mod steps;
mod sweep;
mod target;
mod tenants;
mod tiding;
mod tunnel;
mod tunnel_end;
mod under_way;
mod watched;
mod witness;

pub use foreign::Foreign;
pub use sidecar::{Handover, Sidecar};
pub use sites::Sites;
pub use sql::Sql;
pub use sweep::sweep;
pub use tiding::Tiding;
pub use tunnel::Tunnel;

use crate::{
    fault::Fault,
    github::env::Runner,
    input::{Command, Place, Settings, When},
    postgres::{facts::Opens, lock::Wait},
    run::event::{Events, Phase},
    secret::Secret,
};
use futures_util::future::join;
use keeper::Keeper;
use witness::Witness;

/// Whether a session takes the run lock with its first question. A run that was cut off takes its place on the server again,
/// and then the lock: who takes the lock first would keep it from the other while it waits for the place.
fn opens(settings: &Settings) -> Opens {
    if settings.command.writes() && settings.server.is_none() { Opens::Locking } else { Opens::Reading }
}

/// Says which tables were taken for no ledger although they have the name of one.
fn tell_left_alone(tables: &[String], events: &Events) {
    if let Some((first, more)) = tables.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
        events.note(format!("left alone: {first}{more}; whatever is recorded there is not ours to read"));
    }
}

/// How a run waits for a lock that others hold.
fn lock_wait<'a>(settings: &Settings, runner: &'a Runner) -> Wait<'a> {
    Wait {
        limit: settings.safety.lock_wait,
        input: "lock-wait",
        answer: settings.wait_timeout,
        before: None,
        server_url: runner.server_url.as_deref(),
    }
}

/// Where the migration runs.
#[derive(Debug)]
pub enum Executor<'a> {
    /// In the action itself.
    Sql(Box<Sql<'a>>),
    /// By the app's own tool, in an image or on a server.
    Foreign(Box<Foreign<'a>>),
    /// In a later step of the job, which finds the database through us.
    Tunnel(Box<Tunnel<'a>>),
}

/// One call for whichever it is.
macro_rules! each {
    ($executor:expr, $inner:ident => $sql:expr, $foreign:expr, $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Foreign($inner) => $foreign,
            Executor::Tunnel($inner) => $tunnel,
        }
    };
    // A tunnel alone has nothing to do with a ledger.
    ($executor:expr, $inner:ident => $sql:expr, $foreign:expr; $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Foreign($inner) => $foreign,
            Executor::Tunnel(_) => $tunnel,
        }
    };
}

impl<'a> Executor<'a> {
    /// The one that the settings ask for; no network yet.
    ///
    /// # Errors
    /// Everything that is wrong with its files.
    pub async fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        handover: &'a [(String, Secret)],
        events: &Events,
    ) -> Result<Self, Vec<Fault>> {
        Ok(match &settings.place {
            _ if settings.command == Command::Tunnel => {
                Self::Tunnel(Box::new(Tunnel::new(settings, runner, handover, events.clone())))
            }
            Place::Sql => Self::Sql(Box::new(Sql::new(settings, runner, events.clone()).await?)),
            Place::Tool(tool) => {
                let foreign = Foreign::new(settings, tool, runner, events).map_err(|fault| vec![fault])?;
                Self::Foreign(Box::new(foreign))
            }
        })
    }

    /// Opens the way for later steps, if that is all that is asked.
    ///
    /// # Errors
    /// What can't be had.
    pub async fn open(&mut self) -> Result<(), Fault> {
        each!(self, _inner => Ok(()), Ok(()), _inner.open().await)
    }

    /// A session, and who answers.
    ///
    /// # Errors
    /// Why the database can't be worked with.
    pub async fn connect(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        each!(self, inner => inner.connect(sites.reach()?).await, inner.connect(sites).await; Ok(()))
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        each!(self, inner => inner.lock().await, inner.lock().await; Ok(()))
    }

    /// What there is to do.
    ///
    /// # Errors
    /// Everything that speaks against it.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.plan().await, inner.plan(sites).await; Ok(()))
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        each!(self, inner => inner.has_work(), inner.has_work(); false)
    }

    /// Applies the plan.
    ///
    /// # Errors
    /// Why it stopped; what was applied before is told by events.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        // It is large, and its caller has to hold it beside others.
        each!(self, inner => Box::pin(inner.migrate(sites.reach_mut()?)).await, Box::pin(inner.migrate(sites)).await; Ok(()))
    }

    /// The proof.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn verify(&mut self, sites: &mut Sites<'_>) -> Result<(), Vec<Fault>> {
        let no_way = |fault| vec![fault];
        each!(self, inner => inner.verify(sites.reach_mut().map_err(no_way)?).await, inner.verify(sites).await; Ok(()))
    }

    /// Whose turn it is among the steps of a run that goes well.
    #[must_use]
    pub fn turns(&self) -> &'static [When] {
        each!(self, inner => inner.turns(), inner.turns(); &[When::Always])
    }

    /// Tells of the steps that there are.
    pub fn announce(&self, sites: &Sites<'_>) {
        let migrate = each!(self, inner => { let _nothing = inner; &[][..] }, &inner.steps; &[]);
        steps::announce(sites.settings, migrate, &sites.events);
    }

    /// What comes before everything else that is called: the question whether it can begin, and steps for every run.
    ///
    /// # Errors
    /// `unhealthy`, or the fault of the first step that failed and is not optional.
    pub async fn prepare(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        let earlier = match self {
            Self::Foreign(foreign) => foreign.read_before().await?,
            Self::Sql(_) | Self::Tunnel(_) => Witness::default(),
        };
        if let Some(health) = &sites.settings.steps.health {
            steps::health(sites, health).await?;
        }
        self.steps(sites, Phase::Before, &[When::Always]).await?;
        // They may have made what the opening of the connection did not find.
        each!(self, inner => inner.find_again().await, inner.after_steps(&earlier).await; Ok(()))
    }

    /// The steps before a migration that has something to do.
    ///
    /// # Errors
    /// The fault of the first that failed and is not optional.
    pub async fn before(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.steps(sites, Phase::Before, &[When::Pending]).await
    }

    /// The steps after a migration that is proven.
    ///
    /// # Errors
    /// Likewise.
    pub async fn after(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.steps(sites, Phase::After, self.turns()).await
    }

    /// The steps for a run that has failed.
    ///
    /// # Errors
    /// Likewise.
    pub async fn after_failure(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.steps(sites, Phase::After, &[When::Failure]).await
    }

    async fn steps(&mut self, sites: &mut Sites<'a>, phase: Phase, turns: &[When]) -> Result<(), Fault> {
        let settings = sites.settings;
        let steps = match phase {
            Phase::Before => &settings.steps.before,
            Phase::Migrate => &settings.steps.migrate,
            Phase::After => &settings.steps.after,
        };
        let mut nobody = Keeper::new(settings, sites.runner, sites.events.clone());
        let keeper = match self {
            // After a failure the lock may be what was lost: then there is nothing to watch any more.
            Self::Foreign(foreign) if !foreign.keeper.is_lost() => &mut foreign.keeper,
            // The session that works is the one that holds the lock: it notices itself.
            Self::Sql(_) | Self::Foreign(_) | Self::Tunnel(_) => &mut nobody,
        };
        Box::pin(steps::run(sites, keeper, (phase, steps), turns)).await
    }

    /// What ended the connection, if that is what the first fault complains of.
    pub async fn first_cause(&mut self, sites: &Sites<'_>, faults: Vec<Fault>) -> Vec<Fault> {
        let Ok(reach) = sites.reach() else { return faults };
        each!(self, inner => inner.first_cause(reach, faults).await, inner.first_cause(sites, faults); faults)
    }

    /// Stops the work whose future was dropped.
    ///
    /// # Errors
    /// Why nobody knows what became of it.
    pub async fn stop(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        each!(
            self,
            inner => match sites.reach() {
                Ok(reach) => {
                    let (ended, told) = join(sites.end(), inner.stop(reach)).await;
                    ended.and(told)
                }
                Err(_) => Ok(()),
            },
            inner.stop(sites).await,
            inner.stop().await
        )
    }

    /// Tells of migrations whose fate nobody could find out.
    pub fn give_up(&self) {
        each!(self, inner => inner.give_up(), inner.give_up(); ());
    }

    /// Leaves nothing behind.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn close(self) -> Result<(), Fault> {
        each!(self, inner => { inner.close().await; Ok(()) }, { inner.close().await; Ok(()) }, inner.stop().await)
    }
}
