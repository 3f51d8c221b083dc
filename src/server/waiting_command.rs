//! A command on the server that reads lines from its standard input. They reach it only over the connection that started
//! it; without that connection its input ends, and with it the command.

use super::{
    Server,
    followed_command::{FollowedCommand, WaitingCommand},
    request,
    script::ShellScript,
};
use crate::{
    fault::Fault,
    run::process::{FollowOutput, Output},
    ssh::{RemoteProcess, Tunnel},
};

/// The message to our script (`read_input` in `input.sh`) that ends the command's input; a line for it is `line …`.
const END_OF_INPUT: &[u8] = b"end\n";

impl Server {
    /// Starts a script whose command reads lines, and passes on its output until `on_output` stops or the command ends.
    ///
    /// # Errors
    /// As [`Self::run_script`].
    pub async fn run_until_prompt(
        &self,
        tunnel: &Tunnel,
        script: &ShellScript,
        on_output: impl FnMut(Output<'_>) -> FollowOutput,
    ) -> Result<FollowedCommand, Fault> {
        let request = self.start_request(script)?;
        if let Some(follower) = self.follower.borrow_mut().as_mut() {
            follower.begin_channel(&request.token);
        }
        let mut process = tunnel.start_program(request::SHELL_COMMAND).await?;
        process.write_input(request.script_text(&super::START_PARTS).as_bytes()).await;
        self.follow_until_prompt(tunnel, process, on_output).await
    }

    /// Sends the command a line, which ends in a line feed, and continues as [`Self::run_until_prompt`].
    ///
    /// # Errors
    /// As [`Self::run_script`].
    pub async fn continue_with_line(
        &self,
        tunnel: &Tunnel,
        command: WaitingCommand,
        line: &str,
        on_output: impl FnMut(Output<'_>) -> FollowOutput,
    ) -> Result<FollowedCommand, Fault> {
        let process = self.send_line(command, line).await;
        self.follow_until_prompt(tunnel, process, on_output).await
    }

    async fn send_line(&self, WaitingCommand { mut process }: WaitingCommand, line: &str) -> RemoteProcess {
        if let Some(follower) = self.follower.borrow_mut().as_mut() {
            follower.count_line();
        }
        process.write_input(format!("line {line}").as_bytes()).await;
        process
    }

    /// Sends the command its last line, and ends its input.
    ///
    /// # Errors
    /// As [`Self::run_script`].
    pub async fn continue_with_last_line(
        &self,
        tunnel: &Tunnel,
        command: WaitingCommand,
        line: &str,
        on_output: impl FnMut(Output<'_>) -> FollowOutput,
    ) -> Result<FollowedCommand, Fault> {
        let mut process = self.send_line(command, line).await;
        process.write_input(END_OF_INPUT).await;
        self.follow_until_prompt(tunnel, process, on_output).await
    }

    /// Ends the input of the command, and waits for its exit.
    ///
    /// # Errors
    /// As [`Self::run_script`].
    pub async fn end_input(&self, tunnel: &Tunnel, command: WaitingCommand) -> Result<(), Fault> {
        let WaitingCommand { mut process } = command;
        process.write_input(END_OF_INPUT).await;
        self.follow_until_prompt(tunnel, process, |_| FollowOutput::Continue).await.map(drop)
    }

    async fn follow_until_prompt(
        &self,
        tunnel: &Tunnel,
        mut process: RemoteProcess,
        mut on_output: impl FnMut(Output<'_>) -> FollowOutput,
    ) -> Result<FollowedCommand, Fault> {
        if self.follow_output(&mut process, &mut on_output).await == FollowOutput::Stop {
            return Ok(FollowedCommand::Waiting(WaitingCommand { process }));
        }
        let pass_on = |output: Output<'_>| {
            on_output(output);
        };
        let status = self.settle(tunnel, process, pass_on).await?;
        status.map(FollowedCommand::Exited).ok_or_else(super::fault::never_started)
    }
}
