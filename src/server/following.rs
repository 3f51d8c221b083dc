//! The connection's part in following a command: its output is passed on until nothing more will come, and then the
//! process that sent it is ended.

use super::{
    Server,
    follower::{FollowOutcome, Follower},
    request::{self, ScriptRequest},
};
use crate::{
    fault::{Code, Fault},
    run::process::{ExitStatus, FollowOutput, Output},
    ssh::{RemoteProcess, Tunnel},
};
use std::cell::Cell;

impl Server {
    /// Follows the command until it ends. Returns `None` as [`Self::settle`] does.
    pub(super) async fn follow_command(
        &self,
        tunnel: &Tunnel,
        request: &ScriptRequest,
        parts: &[&str],
        mut on_output: impl FnMut(Output<'_>),
    ) -> Result<Option<ExitStatus>, Fault> {
        if let Some(follower) = self.follower.borrow_mut().as_mut() {
            follower.begin_channel(&request.token);
        }
        let mut process = tunnel.start_program(request::SHELL_COMMAND).await?;
        process.write_input(request.script_text(parts).as_bytes()).await;
        self.follow_output(&mut process, &mut |output| {
            on_output(output);
            FollowOutput::Continue
        })
        .await;
        self.settle(tunnel, process, on_output).await
    }

    /// Passes on output until `on_output` stops, or until nothing more will come.
    pub(super) async fn follow_output(
        &self,
        process: &mut RemoteProcess,
        on_output: &mut impl FnMut(Output<'_>) -> FollowOutput,
    ) -> FollowOutput {
        if self.has_complete_output() {
            return FollowOutput::Continue;
        }
        let decision = Cell::new(FollowOutput::Continue);
        let mut pass_on = |output: Output<'_>| {
            if on_output(output) == FollowOutput::Stop {
                decision.set(FollowOutput::Stop);
            }
        };
        process
            .follow_output(|chunk| {
                if let Some(follower) = self.follower.borrow_mut().as_mut() {
                    follower.receive_chunk(chunk, &mut pass_on);
                }
                if self.has_complete_output() { FollowOutput::Stop } else { decision.get() }
            })
            .await;
        decision.get()
    }

    fn has_complete_output(&self) -> bool {
        self.follower.borrow().as_ref().is_some_and(Follower::has_complete_output)
    }

    /// Ends the process that has followed the command, and returns the outcome: `None` if the command never started, or
    /// if the last line of its input never came.
    pub(super) async fn settle(
        &self,
        tunnel: &Tunnel,
        mut process: RemoteProcess,
        mut on_output: impl FnMut(Output<'_>),
    ) -> Result<Option<ExitStatus>, Fault> {
        process.end_input().await;
        // Processes that the command has left behind may print more.
        process.follow_output(|_| FollowOutput::Continue).await;
        let exit = process.wait_for_exit().await;
        let outcome = self.follower.borrow_mut().as_mut().map(|follower| follower.channel_outcome(&mut on_output));
        match outcome {
            Some(FollowOutcome::Exited(status)) => {
                self.follower.borrow_mut().iter_mut().for_each(Follower::mark_exited);
                Ok(Some(status))
            }
            Some(FollowOutcome::NeverStarted) => {
                self.follower.replace(None);
                Ok(None)
            }
            Some(FollowOutcome::Unconfirmed) => Ok(None),
            Some(FollowOutcome::Refused(fault)) => {
                self.follower.replace(None);
                Err(fault)
            }
            // The script sent no final message: the connection was lost, or our process on the server was ended.
            Some(FollowOutcome::Detached(fault)) => Err(tunnel.loss_fault().or(exit.err()).unwrap_or(fault)),
            None => Err(Fault::new(Code::Bug, "the command on the server was forgotten while its output was read")),
        }
    }
}
