//! The state of a command that was followed up to its prompt.

use crate::{run::process::ExitStatus, ssh::RemoteProcess};

/// A command that was followed up to a prompt. Dropping it ends its input.
#[derive(Debug)]
pub struct WaitingCommand {
    pub(super) process: RemoteProcess,
}

/// The state of a command that was followed.
#[derive(Debug)]
pub enum FollowedCommand {
    /// It waits for a line.
    Waiting(WaitingCommand),
    /// It has ended.
    Exited(ExitStatus),
}
