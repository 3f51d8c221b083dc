//! The labels of our containers, and the removal of leftover ones.

use super::{
    client::{Engine, trouble},
    container::Container,
    labels::{EXPIRES, KIND, Kind, RUN, now},
};
use crate::fault::Fault;
use bollard::query_parameters::ListContainersOptionsBuilder;
use std::{collections::HashMap, time::Duration};

/// Time limit for a leftover tunnel to shut down by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The containers to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left<'a> {
    /// All containers of this run.
    By(&'a str),
    /// Containers of any run that have expired.
    Expired,
}

/// A removed container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Its id.
    pub id: String,
    /// The last lines of a tunnel's log; empty for a tool.
    pub last_words: Vec<String>,
}

impl Engine {
    /// Removes leftover containers and returns them.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn sweep(&self, left: Left<'_>) -> Result<Vec<Swept>, Fault> {
        let label = match left {
            Left::By(run) => format!("{RUN}={run}"),
            Left::Expired => EXPIRES.to_owned(),
        };
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let there = self.docker.list_containers(Some(options)).await;
        let there = there.map_err(|error| trouble("the containers can't be listed", &error))?;
        let mut removed = Vec::new();
        for found in there {
            let labels = found.labels.unwrap_or_default();
            let over =
                labels.get(EXPIRES).and_then(|until| until.parse::<u64>().ok()).is_some_and(|until| until < now());
            let Some(id) = found.id.filter(|_| left != Left::Expired || over) else { continue };
            let container = Container::known(self, &id);
            let mut last_words = Vec::new();
            if labels.get(KIND).is_some_and(|kind| kind == Kind::Tunnel.name()) {
                container.stop(GRACE).await?;
                last_words = container.last_words().await?;
            }
            container.remove().await?;
            removed.push(Swept { id, last_words });
        }
        Ok(removed)
    }
}
