//! The labels of our containers, and the removal of leftover ones.

use super::{
    client::{Engine, trouble},
    container::Container,
};
use crate::fault::Fault;
use bollard::query_parameters::ListContainersOptionsBuilder;
use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The label with the run that created the container.
const RUN: &str = "dev.bastion-migrate.run";
/// The label with the time after which any run may remove it, in seconds since 1970.
const EXPIRES: &str = "dev.bastion-migrate.expires";
/// The label with the container's purpose.
const KIND: &str = "dev.bastion-migrate.kind";

/// Time limit for a leftover tunnel to shut down by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The purpose of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tool, whose output was shown while it ran.
    Tool,
    /// A tunnel for later steps, whose last output is shown when it is removed.
    Tunnel,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Tunnel => "tunnel",
        }
    }
}

/// The labels of a container. They contain nothing secret, because everybody with access to the engine can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    run: String,
    kind: Kind,
    expires: u64,
}

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

impl Tag {
    /// Returns the labels for a container of this run. It expires after `life`.
    #[must_use]
    pub fn new(run: &str, kind: Kind, life: Duration) -> Self {
        Self { run: run.to_owned(), kind, expires: now().saturating_add(life.as_secs()) }
    }

    /// Returns the name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn labels(&self) -> HashMap<String, String> {
        let labels =
            [(RUN, self.run.clone()), (KIND, self.kind.name().to_owned()), (EXPIRES, self.expires.to_string())];
        labels.map(|(name, value)| (name.to_owned(), value)).into()
    }
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

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
