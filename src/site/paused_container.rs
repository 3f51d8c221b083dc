//! A tool in a container that lists its migrations and is paused at its confirmation prompt.

use super::{
    container::Containers,
    container_spec::{self, SessionTerms},
    paused_tool::{PausedTool, is_prompt},
    run_mode::STOP_GRACE,
    site_command::{CommandPurpose, SiteCommand},
};
use crate::{
    docker::{Container, ContainerExit, ContainerStdin, RunningContainer},
    fault::Fault,
    run::{
        event::Event,
        process::{ExitStatus, FollowOutput, Output},
    },
    settings::SiteImage,
    tool::{CONFIRM, FileCommand, ListThenMigrate},
    transport::Transport,
};
use futures_util::future::Either;
use std::rc::Rc;

impl Containers<'_> {
    /// Returns the paused tool if the command resumes it, and ends it otherwise.
    pub(super) fn take_paused(&self, purpose: CommandPurpose) -> Option<PausedTool> {
        let paused = self.paused.take();
        match purpose {
            CommandPurpose::Migrate => paused,
            CommandPurpose::Assist => None,
        }
    }

    /// Runs a tool that lists its migrations, in a container of its own that stays paused if the tool asks for
    /// confirmation. Returns its exit status if it did not ask.
    ///
    /// # Errors
    /// The engine's own faults.
    pub(crate) async fn list_then_pause(
        &self,
        transport: &Rc<Transport>,
        image: &SiteImage,
        commands: &ListThenMigrate,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<Option<ExitStatus>, Fault> {
        let terms = SessionTerms::until_confirmed(self.settings);
        let container = self.create_for_list_then_migrate(image, commands, terms).await?;
        let list_command = commands.list_command.display_text();
        self.events.emit(Event::CommandStarted { command: list_command.clone() });
        let redactor = self.events.redactor();
        let work = async { follow_to_prompt(container.start(redactor).await?, on_output).await };
        let mut accept_loop = self.endpoint.accept_loop(transport);
        let ended = match accept_loop.run_during(work).await {
            Ok(Either::Left(running)) => {
                let commands_left = commands.commands;
                self.paused.replace(Some(PausedTool { list_command, running, accept_loop, commands_left }));
                return Ok(None);
            }
            Ok(Either::Right(ended)) => Ok(ended),
            Err(fault) => Err(fault),
        };
        self.finish_container(ended, list_command).await.map(Some)
    }

    /// Confirms the next command of a paused tool, and follows it to its exit or to its next prompt, which counts as a
    /// success of this command.
    pub(super) async fn resume(
        &self,
        paused: PausedTool,
        task: SiteCommand<'_>,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        let PausedTool { list_command, mut running, mut accept_loop, commands_left } = paused;
        // One start is one container: its usage before the confirmation can't be separated from its usage after it.
        let command = format!("{list_command}, then {}", task.command.display_text());
        self.endpoint.set_session_terms(task.terms)?;
        self.events.emit(Event::CommandStarted { command: task.command.display_text() });
        let work = async {
            running.write_stdin(CONFIRM.as_bytes()).await?;
            if commands_left > 1 {
                return follow_to_prompt(running, on_output).await;
            }
            running.close_stdin().await?;
            running.follow_to_exit(on_output).await.map(Either::Right)
        };
        let ended = match accept_loop.run_during(work).await {
            Ok(Either::Left(running)) => {
                let (list_command, commands_left) = (command, commands_left - 1);
                self.paused.replace(Some(PausedTool { list_command, running, accept_loop, commands_left }));
                return Ok(ExitStatus::Exited(0));
            }
            Ok(Either::Right(ended)) => Ok(ended),
            Err(fault) => Err(fault),
        };
        self.finish_container(ended, command).await
    }

    /// Ends a tool that is paused at its confirmation prompt.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn abort_paused(&self) -> Result<(), Fault> {
        let Some(PausedTool { running, list_command, .. }) = self.paused.take() else { return Ok(()) };
        let usage = running.usage();
        // At the end of its input it exits by itself.
        drop(running);
        self.current.stop_and_remove(STOP_GRACE).await?;
        self.report_usage(list_command, usage);
        Ok(())
    }

    /// Returns whether a tool is paused at its confirmation prompt.
    pub(crate) fn has_paused_tool(&self) -> bool {
        self.paused.borrow().is_some()
    }

    /// Creates the container with the program in a file, so that an entrypoint that prints its arguments prints a few
    /// words; or with the program in the command itself, if the engine can't put a file into the container.
    async fn create_for_list_then_migrate(
        &self,
        image: &SiteImage,
        commands: &ListThenMigrate,
        terms: SessionTerms,
    ) -> Result<Container, Fault> {
        if let Some(FileCommand { command, path, text }) = commands.file_command(container_spec::OWN_DIRECTORY) {
            let container = self.create_container(image, &command, terms, ContainerStdin::Once).await?;
            match container.upload_files(&[(path, text.into_bytes())]).await {
                Ok(()) => return Ok(container),
                Err(refused) => {
                    self.events.emit_note(format!("{}: the program is passed in the command instead", refused.cause));
                }
            }
        }
        self.create_container(image, &commands.inline_command(), terms, ContainerStdin::Once).await
    }
}

/// Follows the tool to its prompt, or to its exit.
async fn follow_to_prompt(
    mut running: RunningContainer,
    mut on_output: impl FnMut(Output<'_>),
) -> Result<Either<RunningContainer, ContainerExit>, Fault> {
    let following = running.follow_output(|output| {
        if is_prompt(output) {
            return FollowOutput::Stop;
        }
        on_output(output);
        FollowOutput::Continue
    });
    match following.await {
        FollowOutput::Stop => Ok(Either::Left(running)),
        FollowOutput::Continue => running.follow_to_exit(|_| ()).await.map(Either::Right),
    }
}
