//! Labels of what we make, and the removal of what is left of it.

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

/// Whose it is.
const RUN: &str = "dev.bastion-migrate.run";
/// When it may be removed by anybody, in seconds since 1970.
const EXPIRES: &str = "dev.bastion-migrate.expires";
/// What it is for.
const KIND: &str = "dev.bastion-migrate.kind";

/// How long a container that is swept may take to end by itself: a tunnel says good-bye.
const GRACE: Duration = Duration::from_secs(5);

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tool: its words were told while it ran.
    Tool,
    /// A tunnel for later steps: its last words are worth telling.
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

/// What is written on everything that a run makes. Nothing secret: who may ask the engine may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    run: String,
    kind: Kind,
    expires: u64,
}

/// What a sweep looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left<'a> {
    /// Everything of this run.
    By(&'a str),
    /// What any run left behind longer ago than it may live.
    Expired,
}

/// One container that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Its id.
    pub id: String,
    /// What a tunnel said at last; nothing of a tool.
    pub last_words: Vec<String>,
}

impl Tag {
    /// The tag of what this run makes for that; it is nobody's after `life`.
    #[must_use]
    pub fn new(run: &str, kind: Kind, life: Duration) -> Self {
        Self { run: run.to_owned(), kind, expires: now().saturating_add(life.as_secs()) }
    }

    /// The run's name in it.
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
    /// Removes what is left, and returns what that was.
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
