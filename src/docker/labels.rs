//! The labels of our containers.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Exit code of a tunnel whose job is gone: no later step will read its log, so any run may remove its container.
pub const JOB_GONE: u8 = 75;

/// The label with the run that created the container.
pub(super) const RUN_LABEL: &str = "dev.bastion-migrate.run";

/// The label with the time after which any run may remove it, in seconds since 1970.
pub(super) const EXPIRES_LABEL: &str = "dev.bastion-migrate.expires";

/// The label with the container's purpose.
pub(super) const KIND_LABEL: &str = "dev.bastion-migrate.kind";

/// The purpose of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// A tool, whose output was shown while it ran.
    Tool,
    /// A tunnel for later steps, whose last output is shown when it is removed.
    Tunnel,
    /// The place of the programs that carry a run's connection.
    Companion,
    /// The server of a rehearsal's copy.
    Copy,
}

impl ContainerKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Tunnel => "tunnel",
            Self::Companion => "companion",
            Self::Copy => "copy",
        }
    }
}

/// The labels of a container. They contain nothing secret, because everybody with access to the engine can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    run: String,
    kind: ContainerKind,
    expires: u64,
}

impl Labels {
    /// Returns the labels for a container of this run. It expires after `time_to_live`.
    #[must_use]
    pub fn new(run: &str, kind: ContainerKind, time_to_live: Duration) -> Self {
        Self { run: run.to_owned(), kind, expires: unix_now().saturating_add(time_to_live.as_secs()) }
    }

    /// Returns the name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn labels(&self) -> HashMap<String, String> {
        let labels = [
            (RUN_LABEL, self.run.clone()),
            (KIND_LABEL, self.kind.name().to_owned()),
            (EXPIRES_LABEL, self.expires.to_string()),
        ];
        labels.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
