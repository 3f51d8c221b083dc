//! The labels of our containers, and the removal of leftover ones.

use super::{
    client::{DockerEngine, engine_fault},
    container::Container,
    labels::{ContainerKind, EXPIRES_LABEL, KIND_LABEL, RUN_LABEL, unix_now},
};
use crate::fault::Fault;
use bollard::query_parameters::ListContainersOptionsBuilder;
use std::{collections::HashMap, time::Duration};

/// Time limit for a leftover tunnel to shut down by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The containers to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanupScope<'a> {
    /// All containers of this run.
    Run(&'a str),
    /// Containers of any run that have expired.
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
    pub async fn remove_leftovers(&self, left: CleanupScope<'_>) -> Result<Vec<RemovedContainer>, Fault> {
        let label = match left {
            CleanupScope::Run(run) => format!("{RUN_LABEL}={run}"),
            CleanupScope::Expired => EXPIRES_LABEL.to_owned(),
        };
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let there = self.docker.list_containers(Some(options)).await;
        let there = there.map_err(|error| engine_fault("the containers can't be listed", &error))?;
        let mut removed = Vec::new();
        for found in there {
            let labels = found.labels.unwrap_or_default();
            let over = labels
                .get(EXPIRES_LABEL)
                .and_then(|until| until.parse::<u64>().ok())
                .is_some_and(|until| until < unix_now());
            let Some(id) = found.id.filter(|_| left != CleanupScope::Expired || over) else { continue };
            let container = Container::from_id(self, &id);
            let mut last_words = Vec::new();
            if labels.get(KIND_LABEL).is_some_and(|kind| kind == ContainerKind::Tunnel.name()) {
                container.stop(STOP_GRACE).await?;
                last_words = container.log_tail().await?;
            }
            container.remove().await?;
            removed.push(RemovedContainer { id, log_tail: last_words });
        }
        Ok(removed)
    }
}
