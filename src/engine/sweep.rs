//! Labels of what we make, and the removal of what is left of it.

use super::{Engine, client::trouble};
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

/// What is written on everything that a run makes. Nothing secret: who may ask the engine may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    run: String,
    expires: u64,
}

/// What a sweep looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Everything of this run.
    Whatever,
    /// What any run left behind longer ago than it may live.
    Only,
}

impl Tag {
    /// The tag of this run; what it makes is nobody's after `life`.
    #[must_use]
    pub fn new(run: &str, life: Duration) -> Self {
        Self { run: run.to_owned(), expires: now().saturating_add(life.as_secs()) }
    }

    /// The run's name in it.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn labels(&self) -> HashMap<String, String> {
        [(RUN, self.run.clone()), (EXPIRES, self.expires.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

impl Engine {
    /// Removes what is left, and returns how much that was.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn sweep(&self, run: &str, expired: Expired) -> Result<usize, Fault> {
        let label = match expired {
            Expired::Whatever => format!("{RUN}={run}"),
            Expired::Only => EXPIRES.to_owned(),
        };
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let there = self.docker.list_containers(Some(options)).await;
        let there = there.map_err(|error| trouble("the containers can't be listed", &error))?;
        let mut removed = 0;
        for container in there {
            let until = container.labels.as_ref().and_then(|labels| labels.get(EXPIRES)?.parse::<u64>().ok());
            let (Some(id), true) =
                (container.id, expired == Expired::Whatever || until.is_some_and(|until| until < now()))
            else {
                continue;
            };
            self.remove(&id).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
