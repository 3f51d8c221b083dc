//! A tool that has listed its migrations and is paused at its confirmation prompt.

use super::database_endpoint::AcceptLoop;
use crate::{docker::RunningContainer, run::process::Output, server::WaitingCommand, tool::CONFIRM_PROMPT};

/// A tool that has listed its migrations and is paused at its confirmation prompt, in a container.
#[derive(Debug)]
pub(super) struct PausedTool {
    /// The list command as displayed.
    pub(super) list_command: String,
    pub(super) running: RunningContainer,
    /// The loop that keeps its connections to the database open.
    pub(super) accept_loop: AcceptLoop,
    /// Number of commands that it has yet to run, each after a confirmation.
    pub(super) commands_left: usize,
}

/// A tool that has listed its migrations and is paused at its confirmation prompt, on the server.
#[derive(Debug)]
pub(super) struct PausedOnServer {
    pub(super) command: WaitingCommand,
    /// The loop that keeps its connections to a copy open.
    pub(super) connections: AcceptLoop,
    /// Number of commands that it has yet to run, each after a confirmation.
    pub(super) commands_left: usize,
}

/// Returns whether this line is the prompt; an unfinished line of the app may stand before it.
pub(super) fn is_prompt(output: Output<'_>) -> bool {
    match output {
        Output::Stdout(line) | Output::Stderr(line) => line.trim_end().ends_with(CONFIRM_PROMPT),
        Output::PartialLine(_) => false,
    }
}
