//! Where a migration runs. The only match on it is here.

mod aftermath;
mod call;
mod current;
mod guarded;
mod image;
mod sibling;
mod sidecar;
mod sql;
mod sweep;
mod tunnel;
mod witness;

pub use image::Image;
pub use sidecar::{Handover, Sidecar};
pub use sql::Sql;
pub use sweep::sweep;
pub use tunnel::Tunnel;

use crate::{
    fault::Fault,
    github::env::Runner,
    input::{Command, Place, Settings},
    reach::Reach,
    run::event::Events,
    secret::Secret,
};

/// Where the migration runs.
#[derive(Debug)]
pub enum Executor<'a> {
    /// In the action itself.
    Sql(Box<Sql<'a>>),
    /// In a container of the app's own image.
    Image(Box<Image<'a>>),
    /// In a later step of the job, which finds the database through us.
    Tunnel(Box<Tunnel<'a>>),
}

/// One call for whichever it is.
macro_rules! each {
    ($executor:expr, $inner:ident => $sql:expr, $image:expr, $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Image($inner) => $image,
            Executor::Tunnel($inner) => $tunnel,
        }
    };
    // A tunnel alone has nothing to do with a ledger.
    ($executor:expr, $inner:ident => $both:expr; $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $both,
            Executor::Image($inner) => $both,
            Executor::Tunnel(_) => $tunnel,
        }
    };
}

impl<'a> Executor<'a> {
    /// The one that the settings ask for; no network yet.
    ///
    /// # Errors
    /// Everything that is wrong with its files.
    pub fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        handover: &'a [(String, Secret)],
        events: &Events,
    ) -> Result<Self, Vec<Fault>> {
        Ok(match &settings.place {
            _ if settings.command == Command::Tunnel => {
                Self::Tunnel(Box::new(Tunnel::new(settings, runner, handover, events.clone())))
            }
            Place::Sql => Self::Sql(Box::new(Sql::new(settings, runner, events.clone())?)),
            Place::Tool(tool) => match &settings.image {
                Some(image) => Self::Image(Box::new(Image::new(settings, tool, image, runner, events.clone()))),
                None => return Err(vec![Fault::new(crate::fault::Code::Bug, "no image is named")]),
            },
        })
    }

    /// Whether it needs the Docker engine.
    #[must_use]
    pub fn needs_engine(&self) -> bool {
        each!(self, _inner => false, true, true)
    }

    /// Gets what it needs before there is a connection.
    ///
    /// # Errors
    /// What can't be had.
    pub async fn prepare(&mut self) -> Result<(), Fault> {
        each!(self, inner => { let _nothing = inner; Ok(()) }, inner.prepare().await, inner.open().await)
    }

    /// A session, and who answers.
    ///
    /// # Errors
    /// Why the database can't be worked with.
    pub async fn connect(&mut self, reach: &Reach) -> Result<(), Fault> {
        each!(self, inner => inner.connect(reach).await; Ok(()))
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        each!(self, inner => inner.lock().await; Ok(()))
    }

    /// What there is to do.
    ///
    /// # Errors
    /// Everything that speaks against it.
    pub async fn plan(&mut self, reach: &Reach) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.plan().await, inner.plan(reach).await, { let _nothing = inner; Ok(()) })
    }

    /// Whether there is anything to apply.
    #[must_use]
    pub fn has_work(&self) -> bool {
        each!(self, inner => inner.has_work(); false)
    }

    /// Applies the plan.
    ///
    /// # Errors
    /// Why it stopped; what was applied before is told by events.
    pub async fn migrate(&mut self, reach: &mut Reach) -> Result<(), Fault> {
        // It is large, and its caller has to hold it beside others.
        each!(self, inner => Box::pin(inner.migrate(reach)).await; Ok(()))
    }

    /// The proof.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn verify(&mut self, reach: &mut Reach) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.verify(reach).await; Ok(()))
    }

    /// What ended the connection, if that is what the first fault complains of.
    pub async fn first_cause(&mut self, reach: &Reach, faults: Vec<Fault>) -> Vec<Fault> {
        each!(self, inner => inner.first_cause(reach, faults).await, inner.first_cause(reach, faults), { let _nothing = inner; faults })
    }

    /// Stops the work whose future was dropped.
    ///
    /// # Errors
    /// Why nobody knows what became of it.
    pub async fn stop(&self, reach: Option<&Reach>) -> Result<(), Fault> {
        each!(
            self,
            inner => match reach {
                Some(reach) => inner.stop(reach).await,
                None => Ok(()),
            },
            inner.stop().await,
            inner.stop().await
        )
    }

    /// Tells of migrations whose fate nobody could find out.
    pub fn give_up(&self) {
        each!(self, inner => inner.give_up(); ());
    }

    /// Leaves nothing behind.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn close(self) -> Result<(), Fault> {
        each!(self, inner => { inner.close().await; Ok(()) }, inner.close().await, inner.stop().await)
    }
}
