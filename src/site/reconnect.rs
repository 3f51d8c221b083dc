//! Handling of a connection to the deployment server that is lost while a command runs there: reconnecting, or giving
//! up.

use super::Sites;
use crate::{
    fault::{Code, Fault},
    run::event::Event,
    settings::Site,
};
use std::{cell::RefCell, time::Duration};
use tokio::time::{sleep, timeout};

/// The pause between two attempts to reconnect.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

impl Sites<'_> {
    /// Returns whether a command still runs at this site although the connection to it is lost.
    pub(crate) fn is_detached(&self, site: &Site) -> bool {
        self.is_connection_lost() && self.works_on_server(site)
    }

    /// Returns whether a command may still run at this site although following it ended with this fault. A session that
    /// is ended by its server may lose the follower there before it loses the connection.
    pub(crate) fn may_be_detached(&self, site: &Site, fault: &Fault) -> bool {
        (self.is_connection_lost() || fault.code == Code::BastionLost) && self.works_on_server(site)
    }

    pub(crate) fn is_connection_lost(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.loss_fault().is_some())
    }

    fn works_on_server(&self, site: &Site) -> bool {
        let server = self.server.as_ref().filter(|_| !self.has_given_up());
        match site {
            Site::Server => server.is_some_and(|server| server.may_be_running()),
            Site::Image(_) => false,
        }
    }

    /// Returns whether this run has given up following commands on the server.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Gives up following the command on the server, and returns `commit-in-doubt`.
    pub(crate) fn give_up(&self, cause: String) -> Fault {
        self.given_up.set(true);
        let fix = "run again when the server can be reached: the next run waits for the command that still runs \
            there, and first reports its outcome";
        Fault::new(Code::CommitInDoubt, cause).fix(fix)
    }

    /// Restores the connection and our slot on the server, after following a command ended with this fault.
    ///
    /// # Errors
    /// `commit-in-doubt`: the outcome of the command is unknown. `lock-lost`: another run has our slot.
    pub(crate) async fn reconnect(&mut self, lost: &Fault) -> Result<(), Fault> {
        let wait = self.settings.wait_timeout;
        let cause_of_failure = RefCell::new(lost.cause.clone());
        if let Ok(done) = timeout(wait, self.reconnect_with_retries(&cause_of_failure)).await {
            return done;
        }
        let cause =
            format!("the connection to the server was lost and could not be restored: {}", cause_of_failure.take());
        Err(self.give_up(cause).detail(format!("waited {} s for it (`wait-timeout`)", wait.as_secs())))
    }

    async fn reconnect_with_retries(&mut self, last_cause: &RefCell<String>) -> Result<(), Fault> {
        loop {
            self.events.emit(Event::Waiting {
                what: "the server, where the command still runs".to_owned(),
                why: last_cause.borrow().clone(),
            });
            match self.try_reconnect().await {
                Err(fault) if self.is_connection_lost() => last_cause.replace(fault.cause),
                done => return done,
            };
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_reconnect(&mut self) -> Result<(), Fault> {
        if self.is_connection_lost() {
            self.open_transport().await?;
        }
        match &self.server {
            Some(server) => server.retake_slot(self.transport()?).await,
            None => Ok(()),
        }
    }

    /// Describes work that could not be stopped.
    #[must_use]
    pub fn describe_unstopped(&self, cause: &str) -> String {
        match self.server.as_ref().is_some_and(|server| server.may_be_running()) {
            true => format!(
                "the command on the server may not have been stopped ({cause}): if it still runs, the next run waits \
                 for it and reports its outcome"
            ),
            false => format!(
                "the database could not be asked to stop ({cause}): it ends the statement when it notices that the \
                 connection is gone"
            ),
        }
    }
}
