//! Commands on the deployment server, over the connection that also leads to the database.

use super::{
    container_spec::SessionTerms,
    database_endpoint::{AcceptLoop, DatabaseEndpoint},
    paused_tool::PausedOnServer,
    run_mode::RunMode,
    site_command::{CommandPurpose, SiteCommand},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::SettingsDelivery,
    run::{
        event::{Event, Events},
        process::{ExitStatus, Output},
    },
    secret::Secret,
    server::{OrphanOutcome, OrphanedRun, Server, ServerState, ShellScript, examine_server},
    settings::{ServerSettings, Settings},
    ssh::Tunnel,
    transport::Transport,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

/// The deployment server, and our slot on it.
#[derive(Debug)]
pub(crate) struct ServerSite<'a> {
    pub(super) settings: &'a Settings,
    pub(super) server_settings: &'a ServerSettings,
    pub(super) runner: &'a Runner,
    pub(super) events: Events,
    pub(super) server: Rc<Server>,
    slot: Cell<SlotState>,
    /// The tool that has listed its migrations and waits for the confirmation.
    pub(super) paused: RefCell<Option<Box<PausedOnServer>>>,
    /// The endpoint at which commands find the copy that stands in for the database.
    pub(super) endpoint: Option<DatabaseEndpoint<'a>>,
    /// The way in which settings reach sessions with the database.
    pub(super) delivery: Cell<SettingsDelivery>,
}

/// The state of our slot on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    NotHeld,
    /// The server was asked for it. A run that is stopped before the reply may hold it.
    Requested,
    Held,
}

impl<'a> ServerSite<'a> {
    /// Prepares the slot and label of this run; does not contact the server yet.
    ///
    /// # Errors
    /// A fault of the random number generator.
    pub(crate) fn new(
        settings: &'a Settings,
        shared: &'a ServerSettings,
        runner: &'a Runner,
        events: Events,
    ) -> Result<Self, Fault> {
        let directory = shared.working_directory.as_deref().unwrap_or("~").trim_end_matches('/');
        let directory = directory.strip_prefix("~/").or(directory.strip_prefix("./")).unwrap_or(directory);
        // Read-only commands use a slot of their own and wait only for each other.
        let slot = if settings.command.may_write() { directory.to_owned() } else { format!("look {directory}") };
        let label = runner.run_url().unwrap_or_else(|| "a run outside a workflow".to_owned());
        let server = Rc::new(Server::new(&slot, &label, events.clone())?);
        Ok(Self {
            settings,
            server_settings: shared,
            runner,
            events,
            server,
            slot: Cell::new(SlotState::NotHeld),
            paused: RefCell::default(),
            endpoint: None,
            delivery: Cell::default(),
        })
    }

    /// Prepares commands with a copy of the database, in the slot of the original.
    pub(crate) fn for_copy<'b>(
        &self,
        settings: &'b Settings,
        shared: &'b ServerSettings,
        runner: &'b Runner,
        events: Events,
    ) -> ServerSite<'b> {
        ServerSite {
            settings,
            server_settings: shared,
            runner,
            events,
            server: Rc::clone(&self.server),
            slot: Cell::new(SlotState::NotHeld),
            paused: RefCell::default(),
            endpoint: None,
            delivery: Cell::default(),
        }
    }

    /// Opens the endpoint of a copy. `passwords` are those of the database itself.
    ///
    /// # Errors
    /// `forwarding-forbidden`, or the lost connection.
    pub(crate) async fn open_endpoint(&mut self, transport: &Transport, passwords: Vec<Secret>) -> Result<(), Fault> {
        let mut endpoint = DatabaseEndpoint::new(self.settings, self.runner);
        endpoint.open_at_server(tunnel_of(transport)?, passwords).await?;
        self.endpoint = Some(endpoint);
        Ok(())
    }

    /// Changes the way in which settings reach the sessions of commands.
    pub(crate) fn set_delivery(&self, delivery: SettingsDelivery) {
        self.delivery.set(delivery);
    }

    /// Takes the slot, and reports the outcome of an earlier run that was cut off from it.
    ///
    /// # Errors
    /// The holder of the slot, or the fault of the server.
    pub(crate) async fn take_slot(&self, transport: &Transport) -> Result<(), Fault> {
        let began = Instant::now();
        self.slot.set(SlotState::Requested);
        let taken = self.server.take_slot(tunnel_of(transport)?, self.settings.safety.lock_wait).await;
        self.slot.set(if taken.is_ok() { SlotState::Held } else { SlotState::NotHeld });
        let orphan = taken?;
        if self.settings.database.is_none() && self.settings.command.may_write() {
            self.events.emit(Event::Locked { waited: began.elapsed() });
        }
        if let Some(orphan) = orphan.filter(|_| self.settings.command.may_write()) {
            self.events.emit(orphan_event(orphan));
        }
        Ok(())
    }

    /// Looks at what the server has for a command; changes nothing there.
    ///
    /// # Errors
    /// The reason why the login runs no script.
    pub(crate) async fn examine(&self, transport: &Transport) -> Result<ServerState, Fault> {
        let ServerSettings { working_directory, setup } = self.server_settings;
        let (working_directory, setup) = (working_directory.clone(), setup.clone());
        let script = ShellScript { working_directory, setup, ..ShellScript::default() };
        examine_server(tunnel_of(transport)?, &script).await
    }

    /// Takes our slot again over a new connection.
    ///
    /// # Errors
    /// `lock-lost`, or the loss of this connection, too.
    pub(crate) async fn retake_slot(&self, transport: &Transport) -> Result<(), Fault> {
        match self.slot.get() {
            SlotState::Held => self.server.retake_slot(tunnel_of(transport)?).await,
            SlotState::NotHeld | SlotState::Requested => Ok(()),
        }
    }

    /// Runs one command to its exit, or continues to follow the running one.
    ///
    /// # Errors
    /// The reason why it did not start, or the loss of the connection to it.
    pub(crate) async fn run_or_resume(
        &self,
        transport: &Transport,
        task: SiteCommand<'_>,
        mode: RunMode,
        mut on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        let (tunnel, SiteCommand { command: line, terms, .. }) = (tunnel_of(transport)?, task);
        match (mode, task.purpose) {
            (RunMode::Start, CommandPurpose::Migrate) => {
                if let Some(paused) = self.paused.take() {
                    return Box::pin(self.resume(tunnel, *paused, task, on_output)).await;
                }
            }
            (RunMode::Start, CommandPurpose::Assist) => Box::pin(self.abort_paused(transport)).await?,
            (RunMode::Resume, _) => {}
        }
        if mode == RunMode::Resume
            && let Some(status) = self.server.resume_following(tunnel, &mut on_output).await?
        {
            return Ok(status);
        }
        let script = self.command_script(line, terms).await?;
        self.events.emit(Event::CommandStarted { command: line.display_text() });
        let mut connections = self.connections(terms)?;
        connections.run_during(self.server.run_script(tunnel, &script, on_output)).await
    }

    /// Returns the loop that serves the connections of a command with a copy, on these terms; without a copy it has none.
    pub(super) fn connections(&self, terms: SessionTerms) -> Result<AcceptLoop, Fault> {
        match &self.endpoint {
            None => Ok(AcceptLoop::without_connections()),
            Some(endpoint) => {
                endpoint.set_session_terms(terms)?;
                Ok(endpoint.accept_loop(&Rc::new(Transport::Direct)))
            }
        }
    }

    /// Returns whether a command of ours may be running there.
    pub(crate) fn may_be_running(&self) -> bool {
        self.server.may_be_running()
    }

    /// Stops the running command, after `grace` to end by itself.
    ///
    /// # Errors
    /// The reason why it may still be running.
    pub(crate) async fn stop_command(&self, transport: &Transport, grace: Duration) -> Result<(), Fault> {
        drop(self.paused.take());
        match self.server.may_be_running() {
            true => self.server.terminate_command(tunnel_of(transport)?, grace).await,
            false => Ok(()),
        }
    }

    /// Releases our slot. This is impossible over a lost connection: then the next run finds the slot without an owner.
    ///
    /// # Errors
    /// The fault of the server.
    pub(crate) async fn release_slot(&self, transport: &Transport) -> Result<(), Fault> {
        if self.slot.get() == SlotState::NotHeld || transport.loss_fault().is_some() {
            return Ok(());
        }
        Box::pin(self.abort_paused(transport)).await?;
        let tunnel = tunnel_of(transport)?;
        match self.server.release_slot(tunnel).await {
            // A read-only command was interrupted and still runs.
            Err(fault) if fault.code == Code::ServerUnstopped => {
                self.server.terminate_command(tunnel, Duration::ZERO).await?;
                self.server.release_slot(tunnel).await
            }
            result => result,
        }
    }
}

/// Number of words of a command that are kept on the server as its title: later arguments may be secret.
const TITLE_WORDS: usize = 4;

pub(super) fn command_title(command_text: &str) -> String {
    let words: Vec<&str> =
        command_text.lines().next().unwrap_or_default().split_whitespace().take(TITLE_WORDS).collect();
    words.join(" ")
}

pub(super) fn tunnel_of(transport: &Transport) -> Result<&Tunnel, Fault> {
    transport.tunnel().ok_or_else(|| Fault::new(Code::Bug, "there is no server without `ssh-host`"))
}

/// Describes the outcome of a run whose end was not seen.
fn orphan_event(orphan: OrphanedRun) -> Event {
    let OrphanedRun { label, title, outcome, out, err } = orphan;
    let run = format!("an earlier run ({label}) was cut off from the server while `{title}` ran");
    let (code, cause) = match outcome {
        OrphanOutcome::Exited(0) => return Event::Note(format!("{run}; it has succeeded since")),
        OrphanOutcome::NeverStarted => return Event::Note(format!("{run}; it never started")),
        OrphanOutcome::Exited(code) => (Code::ToolFailed, format!("{run}; it has ended with code {code} since")),
        OrphanOutcome::Killed => (Code::ToolKilled, format!("{run}; it was killed, or the machine was shut down")),
    };
    let fault = Fault::new(code, cause).fix("this run continues from what is applied now: see that below");
    let last_lines = if err.is_empty() { out } else { err };
    Event::Warning(last_lines.into_iter().fold(fault, Fault::detail))
}
