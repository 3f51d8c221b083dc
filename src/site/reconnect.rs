//! The connection to the deployment server is lost while something goes on there: having it again, or giving it up.

use super::Sites;
use crate::{
    fault::{Code, Fault},
    run::event::Event,
    settings::Site,
};
use std::{cell::RefCell, time::Duration};
use tokio::time::{sleep, timeout};

/// The pause between two tries to have a lost connection again.
const PAUSE: Duration = Duration::from_secs(2);

impl Sites<'_> {
    /// Whether a command goes on at this place although we don't hear of it any more: the connection is lost.
    pub(crate) fn is_cut_off(&self, site: &Site) -> bool {
        self.is_lost() && self.works_on_server(site)
    }

    /// Whether a command may go on at this place although this fault is all that we hear of it. A session that its server
    /// ends may lose what listens there before it loses the connection.
    pub(crate) fn is_unheard(&self, site: &Site, fault: &Fault) -> bool {
        (self.is_lost() || fault.code == Code::BastionLost) && self.works_on_server(site)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.reach.as_ref().is_some_and(|reach| reach.loss_fault().is_some())
    }

    fn works_on_server(&self, site: &Site) -> bool {
        let server = self.server.as_ref().filter(|_| !self.is_given_up());
        *site == Site::Server && server.is_some_and(|server| server.is_at_work())
    }

    /// Whether nobody will hear any more of what goes on on the server.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Nobody will hear any more of what goes on on the server.
    pub(crate) fn give_up(&self, cause: String) -> Fault {
        self.given_up.set(true);
        let fix = "run again when the server can be reached: the next run waits for what still works there, and tells first \
            what became of it";
        Fault::new(Code::CommitInDoubt, cause).fix(fix)
    }

    /// The way and our place on the server again, after this fault was all that was heard of a command.
    ///
    /// # Errors
    /// `commit-in-doubt`: nobody knows what became of the command. `lock-lost`: another run has our place.
    pub(crate) async fn again(&mut self, lost: &Fault) -> Result<(), Fault> {
        let wait = self.settings.wait_timeout;
        let why = RefCell::new(lost.cause.clone());
        if let Ok(done) = timeout(wait, self.try_again(&why)).await {
            return done;
        }
        let cause = format!("the connection to the server was lost and can't be had again: {}", why.take());
        Err(self.give_up(cause).detail(format!("waited {} s for it (`wait-timeout`)", wait.as_secs())))
    }

    async fn try_again(&mut self, why: &RefCell<String>) -> Result<(), Fault> {
        loop {
            self.events.tell(Event::Waiting {
                what: "the server, where the work goes on".to_owned(),
                why: why.borrow().clone(),
            });
            match self.once_more().await {
                Err(fault) if self.is_lost() => why.replace(fault.cause),
                done => return done,
            };
            sleep(PAUSE).await;
        }
    }

    async fn once_more(&mut self) -> Result<(), Fault> {
        if self.is_lost() {
            self.connect().await?;
        }
        match &self.server {
            Some(server) => server.enter_again(self.reach()?).await,
            None => Ok(()),
        }
    }

    /// What is to be said of work that could not be stopped.
    #[must_use]
    pub fn unstopped(&self, why: &str) -> String {
        match self.server.as_ref().is_some_and(|server| server.is_at_work()) {
            true => format!(
                "the server may not have been told to stop ({why}): what still works there goes on, and the next run \
                 waits for it and tells what became of it"
            ),
            false => format!(
                "the database could not be told to stop ({why}): it ends what it was doing when it misses the connection"
            ),
        }
    }
}
