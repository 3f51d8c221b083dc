//! Where a migration runs. The only match on it is here.

mod aftermath;
mod current;
mod guarded;
mod image;
mod sibling;
mod sql;
mod witness;

pub use image::Image;
pub use sql::Sql;

use crate::{
    fault::Fault,
    github::env::Runner,
    input::{Place, Settings},
    reach::Reach,
    run::event::Events,
};

/// Where the migration runs.
#[derive(Debug)]
pub enum Executor<'a> {
    /// In the action itself.
    Sql(Box<Sql<'a>>),
    /// In a container of the app's own image.
    Image(Box<Image<'a>>),
}

/// One call for whichever it is.
macro_rules! each {
    ($executor:expr, $inner:ident => $sql:expr, $image:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Image($inner) => $image,
        }
    };
    ($executor:expr, $inner:ident => $both:expr) => {
        each!($executor, $inner => $both, $both)
    };
}

impl<'a> Executor<'a> {
    /// The one that the settings ask for; no network yet.
    ///
    /// # Errors
    /// Everything that is wrong with its files.
    pub fn new(settings: &'a Settings, runner: &'a Runner, events: &Events) -> Result<Self, Vec<Fault>> {
        Ok(match &settings.place {
            Place::Sql => Self::Sql(Box::new(Sql::new(settings, runner, events.clone())?)),
            Place::Image(tool) => Self::Image(Box::new(Image::new(settings, tool, runner, events.clone()))),
        })
    }

    /// Whether it needs an image.
    #[must_use]
    pub fn needs_image(&self) -> bool {
        each!(self, _inner => false, true)
    }

    /// Gets what it needs before there is a connection.
    ///
    /// # Errors
    /// What can't be had.
    pub async fn prepare(&mut self) -> Result<(), Fault> {
        each!(self, inner => { let _nothing = inner; Ok(()) }, inner.prepare().await)
    }

    /// A session, and who answers.
    ///
    /// # Errors
    /// Why the database can't be worked with.
    pub async fn connect(&mut self, reach: &Reach) -> Result<(), Fault> {
        each!(self, inner => inner.connect(reach).await)
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        each!(self, inner => inner.lock().await)
    }

    /// What there is to do.
    ///
    /// # Errors
    /// Everything that speaks against it.
    pub async fn plan(&mut self, reach: &Reach) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.plan().await, inner.plan(reach).await)
    }

    /// Whether there is anything to apply.
    #[must_use]
    pub fn has_work(&self) -> bool {
        each!(self, inner => inner.has_work())
    }

    /// Applies the plan.
    ///
    /// # Errors
    /// Why it stopped; what was applied before is told by events.
    pub async fn migrate(&mut self, reach: &mut Reach) -> Result<(), Fault> {
        each!(self, inner => inner.migrate(reach).await)
    }

    /// The proof.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn verify(&mut self, reach: &mut Reach) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.verify(reach).await)
    }

    /// What ended the connection, if that is what the first fault complains of.
    pub async fn first_cause(&mut self, reach: &Reach, faults: Vec<Fault>) -> Vec<Fault> {
        each!(self, inner => inner.first_cause(reach, faults).await, inner.first_cause(reach, faults))
    }

    /// Stops the work whose future was dropped.
    ///
    /// # Errors
    /// Why nobody knows what became of it.
    pub async fn stop(&self, reach: &Reach) -> Result<(), Fault> {
        each!(self, inner => inner.stop(reach).await, inner.stop().await)
    }

    /// Tells of migrations whose fate nobody could find out.
    pub fn give_up(&self) {
        each!(self, inner => inner.give_up());
    }

    /// Leaves nothing behind.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn close(self) -> Result<(), Fault> {
        each!(self, inner => { inner.close().await; Ok(()) }, inner.close().await)
    }
}
