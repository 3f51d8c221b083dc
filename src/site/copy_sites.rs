//! The sites of a rehearsal: those of the original, whose commands find a copy in place of the database.

use super::{Sites, container::Containers, database_endpoint::DatabaseEndpoint, server::ServerSite};
use crate::{
    fault::Fault, github::runner::Runner, proxy::SessionWatch, run::event::Events, secret::Secret, settings::Settings,
    transport::Transport,
};
use std::rc::Rc;

impl<'a> Sites<'a> {
    /// Closes what leads commands to the database: from now on they find nothing there.
    pub(crate) fn close_endpoint(&mut self) {
        if let Some(containers) = &mut self.containers {
            containers.endpoint.close_listener();
        }
    }

    /// Prepares the same sites for a copy, and opens what leads commands to it. What runs there is stopped and removed with
    /// what runs at the original's.
    ///
    /// # Errors
    /// `listener-unavailable`, `forwarding-forbidden`, or the lost connection.
    pub(crate) async fn for_copy<'b>(
        &self,
        settings: &'b Settings,
        runner: &'b Runner,
        events: &Events,
    ) -> Result<Sites<'b>, Fault> {
        let password = settings.stands_in_for.as_ref().and_then(|database| database.password.as_ref());
        password.into_iter().for_each(|password| events.redactor().hide(password));
        let mut sites = Sites::new(settings, runner, events)?;
        sites.transport = Some(Rc::new(Transport::Direct));
        if let (Some(containers), Some(shared)) = (&self.containers, &settings.image) {
            let mut containers = Containers::for_copy(containers, settings, shared, runner, events.clone());
            containers.open_endpoint().await?;
            sites.containers = Some(containers);
        }
        if let (Some(server), Some(shared), Some(transport)) = (&self.server, &settings.server, &self.transport) {
            let mut server = ServerSite::for_copy(server, settings, shared, runner, events.clone());
            server.open_endpoint(transport, self.known_passwords(settings)).await?;
            sites.server = Some(server);
            sites.server_transport = Some(Rc::clone(transport));
        }
        Ok(sites)
    }

    /// Returns the passwords by which a tool logs in: the one that it gets, and the database's own, which its settings may
    /// have.
    fn known_passwords(&self, settings: &Settings) -> Vec<Secret> {
        let databases = [self.settings.database.as_ref(), settings.stands_in_for.as_ref()];
        databases.into_iter().flatten().filter_map(|database| database.password.clone()).collect()
    }

    /// Watches the sessions of commands with the copy from now on; none ends the watch.
    pub(crate) fn set_watch(&self, watch: Option<&SessionWatch>) {
        self.endpoints().for_each(|endpoint| endpoint.set_watch(watch.cloned()));
    }

    /// Returns the endpoints at which commands find the database, or its copy.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &DatabaseEndpoint<'a>> {
        let of_server = self.server.iter().filter_map(|server| server.endpoint.as_ref());
        of_server.chain(self.containers.iter().map(|containers| &containers.endpoint))
    }
}
