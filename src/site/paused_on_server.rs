//! A tool on the server that lists its migrations and is paused at its confirmation prompt. The confirmation reaches it over
//! the connection that started it; if that is lost before, the tool's input ends, and it ends without migrating.

use super::{
    container_spec::SessionTerms,
    database_endpoint::AcceptLoop,
    paused_tool::{PausedOnServer, is_prompt},
    run_mode::STOP_GRACE,
    server::{ServerSite, command_title, tunnel_of},
    site_command::SiteCommand,
};
use crate::{
    fault::Fault,
    run::{
        event::Event,
        process::{ExitStatus, FollowOutput, Output},
    },
    server::{CommandInput, FollowedCommand, ShellScript},
    ssh::Tunnel,
    tool::{CONFIRM, ListThenMigrate},
    transport::Transport,
};
use tokio::time::timeout;

impl ServerSite<'_> {
    /// Runs a tool that lists its migrations, and leaves it paused if it asks for confirmation. Returns its exit status
    /// if it did not ask. `title` is kept on the server, for the next run if this one is cut off after the confirmation.
    ///
    /// # Errors
    /// The reason why it did not start, or the loss of the connection.
    pub(crate) async fn list_then_pause(
        &self,
        transport: &Transport,
        (commands, title): (&ListThenMigrate, &str),
        on_output: impl FnMut(Output<'_>),
    ) -> Result<Option<ExitStatus>, Fault> {
        let tunnel = tunnel_of(transport)?;
        let terms = SessionTerms::until_confirmed(self.settings);
        let script = self.command_script(&commands.inline_command(), terms).await?;
        let title = command_title(&self.events.redactor().redact(title));
        let script = ShellScript { title, input: CommandInput::Lines, ..script };
        self.events.emit(Event::CommandStarted { command: commands.list_command.display_text() });
        let mut connections = self.connections(terms)?;
        let running = self.server.run_until_prompt(tunnel, &script, until_prompt(on_output));
        let followed = connections.run_during(running).await?;
        Ok(self.keep_paused(followed, connections, commands.commands))
    }

    /// Confirms the next command of a paused tool, and follows it to its exit or to its next prompt, which counts as a
    /// success of this command.
    pub(super) async fn resume(
        &self,
        tunnel: &Tunnel,
        PausedOnServer { command, mut connections, commands_left }: PausedOnServer,
        task: SiteCommand<'_>,
        mut on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        if let Some(endpoint) = &self.endpoint {
            endpoint.set_session_terms(task.terms)?;
        }
        self.events.emit(Event::CommandStarted { command: task.command.display_text() });
        let work = async {
            if commands_left > 1 {
                return self.server.continue_with_line(tunnel, command, CONFIRM, until_prompt(on_output)).await;
            }
            let on_output = |output: Output<'_>| {
                on_output(output);
                FollowOutput::Continue
            };
            self.server.continue_with_last_line(tunnel, command, CONFIRM, on_output).await
        };
        let followed = connections.run_during(work).await?;
        let kept = self.keep_paused(followed, connections, commands_left.saturating_sub(1));
        Ok(kept.unwrap_or(ExitStatus::Exited(0)))
    }

    /// Keeps a tool that is paused, or returns the exit status of one that has ended.
    fn keep_paused(
        &self,
        followed: FollowedCommand,
        connections: AcceptLoop,
        commands_left: usize,
    ) -> Option<ExitStatus> {
        match followed {
            FollowedCommand::Waiting(command) => {
                self.paused.replace(Some(Box::new(PausedOnServer { command, connections, commands_left })));
                None
            }
            FollowedCommand::Exited(status) => Some(status),
        }
    }

    /// Ends a tool that is paused at its confirmation prompt: at the end of its input it exits by itself.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn abort_paused(&self, transport: &Transport) -> Result<(), Fault> {
        let Some(paused) = self.paused.take() else { return Ok(()) };
        let PausedOnServer { command, mut connections, .. } = *paused;
        let tunnel = tunnel_of(transport)?;
        let ended = timeout(STOP_GRACE, self.server.end_input(tunnel, command));
        if connections.run_during(ended).await.is_err() {
            self.server.terminate_command(tunnel, STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Returns whether a tool is paused at its confirmation prompt.
    pub(crate) fn has_paused_tool(&self) -> bool {
        self.paused.borrow().is_some()
    }
}

/// Passes output on up to the prompt.
fn until_prompt(mut on_output: impl FnMut(Output<'_>)) -> impl FnMut(Output<'_>) -> FollowOutput {
    move |output| {
        if is_prompt(output) {
            return FollowOutput::Stop;
        }
        on_output(output);
        FollowOutput::Continue
    }
}
