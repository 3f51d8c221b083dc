//! The labels of our containers, and the removal of leftover ones.

use super::{
    client::{DockerEngine, engine_fault},
    container::Container,
    labels::{ContainerKind, EXPIRES_LABEL, JOB_GONE, KIND_LABEL, RUN_LABEL, unix_now},
};
use crate::fault::Fault;
use bollard::{models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use std::{collections::HashMap, time::Duration};

/// Time limit for a leftover tunnel to shut down by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The containers to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanupScope<'a> {
    /// All containers of this run.
    Run(&'a str),
    /// Containers of any run that have expired, and tunnels whose job is gone.
    Expired,
}

/// A removed container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedContainer {
    /// Its id.
    pub id: String,
    /// The last lines of a tunnel's log; empty for a tool.
    pub log_tail: Vec<String>,
}

impl DockerEngine {
    /// Removes leftover containers and returns them.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn remove_leftovers(&self, scope: CleanupScope<'_>) -> Result<Vec<RemovedContainer>, Fault> {
        let containers = match scope {
            CleanupScope::Run(run) => self.list_labelled(format!("{RUN_LABEL}={run}"), None).await?,
            CleanupScope::Expired => {
                let mut containers = self.list_labelled(EXPIRES_LABEL.to_owned(), None).await?;
                containers.retain(|container| container.labels.as_ref().is_some_and(has_expired));
                let tunnel = format!("{KIND_LABEL}={}", ContainerKind::Tunnel.name());
                containers.extend(self.list_labelled(tunnel, Some(JOB_GONE)).await?);
                containers
            }
        };
        let mut removed: Vec<RemovedContainer> = Vec::new();
        for summary in containers {
            let labels = summary.labels.unwrap_or_default();
            let Some(id) = summary.id.filter(|id| removed.iter().all(|entry| entry.id != *id)) else { continue };
            let container = Container::from_id(self, &id);
            let mut log_tail = Vec::new();
            if labels.get(KIND_LABEL).is_some_and(|kind| kind == ContainerKind::Tunnel.name()) {
                container.stop(STOP_GRACE).await?;
                log_tail = container.log_tail().await?;
            }
            container.remove().await?;
            removed.push(RemovedContainer { id, log_tail });
        }
        Ok(removed)
    }

    /// Lists the containers with this label; if an exit code is given, only those that ended with it.
    async fn list_labelled(&self, label: String, exit_code: Option<u8>) -> Result<Vec<ContainerSummary>, Fault> {
        let exit_filter = exit_code.map(|code| ("exited", vec![code.to_string()]));
        let filters: HashMap<_, _> = [("label", vec![label])].into_iter().chain(exit_filter).collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.docker.list_containers(Some(options)).await;
        containers.map_err(|error| engine_fault("the containers can't be listed", &error))
    }
}

fn has_expired(labels: &HashMap<String, String>) -> bool {
    let expiry = labels.get(EXPIRES_LABEL).and_then(|expiry| expiry.parse::<u64>().ok());
    expiry.is_some_and(|expiry| expiry < unix_now())
}
