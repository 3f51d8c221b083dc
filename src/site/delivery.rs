//! The way in which settings reach the sessions of commands.

use super::{Sites, container::Containers, database_endpoint, environment_check};
use crate::{fault::Fault, postgres::SettingsDelivery, settings::Site};

impl Sites<'_> {
    /// Returns the way in which settings reach sessions with the database.
    pub(crate) fn delivery(&self) -> SettingsDelivery {
        self.delivery.get()
    }

    /// Changes the way in which settings reach the sessions that begin from now on.
    pub(crate) fn set_delivery(&self, delivery: SettingsDelivery) {
        self.delivery.set(delivery);
        if let Some(containers) = &self.containers {
            containers.endpoint.set_delivery(delivery);
        }
        if let Some(server) = &self.server {
            server.set_delivery(delivery);
        }
    }

    /// Checks that `database-role` reaches the sessions of these commands.
    ///
    /// # Errors
    /// `database-role`.
    pub(crate) fn check_role_delivery(&self, site: &Site, commands: &str) -> Result<(), Fault> {
        // The listener of a copy gives its sessions the role.
        let is_given = self.settings.stands_in_for.is_some();
        if is_given || self.settings.database.as_ref().is_none_or(|database| database.role.is_none()) {
            return Ok(());
        }
        let is_read_by_proxy = |containers: &Containers<'_>| containers.endpoint.reads_sessions();
        let fault = match (site, &self.containers) {
            (Site::Image(_), Some(containers)) if is_read_by_proxy(containers) => None,
            // The URL has the role as well.
            (Site::Image(_), _) => environment_check::undelivered_role_fault("", self.delivery()),
            (Site::Server, _) => environment_check::undelivered_role_fault(commands, self.delivery()),
        };
        fault.map_or(Ok(()), Err)
    }

    /// Describes how our settings reach the sessions of a tool at this site.
    pub(crate) fn describe_delivery(&self, site: &Site, commands: &str) -> Option<String> {
        match (site, self.delivery()) {
            (Site::Image(_), _) => self.containers.as_ref().map(|containers| containers.endpoint.describe_delivery()),
            (Site::Server, SettingsDelivery::StartupPacket) => Some(environment_check::pgoptions_delivery(commands)),
            (Site::Server, SettingsDelivery::Statements) => Some(database_endpoint::NOT_THROUGH_POOLER.to_owned()),
        }
    }
}
