//! Commands on the deployment server, over the connection that also leads to the database.

use super::{
    container_spec::{self, LOOPBACK, SessionTerms},
    database_endpoint::{AcceptLoop, DatabaseEndpoint},
    paused_tool::PausedOnServer,
    run_mode::RunMode,
    site_command::{CommandPurpose, SiteCommand},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{ClientCertificate, DatabasePlaceholder, DatabaseTarget, DatabaseUrl, SettingsDelivery},
    run::{
        event::{Event, Events},
        process::{ExitStatus, Output, OutputChunk},
    },
    secret::Secret,
    server::{
        CommandInput, OrphanOutcome, OrphanedRun, PrivateFile, Server, ServerState, ShellScript, examine_server,
        quote_words,
    },
    settings::{ServerSettings, Settings},
    ssh::Tunnel,
    tool::CommandLine,
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
    server_settings: &'a ServerSettings,
    runner: &'a Runner,
    pub(super) events: Events,
    pub(super) server: Rc<Server>,
    slot: Cell<SlotState>,
    /// The tool that has listed its migrations and waits for the confirmation.
    pub(super) paused: RefCell<Option<Box<PausedOnServer>>>,
    /// The endpoint at which commands find the copy that stands in for the database.
    pub(super) endpoint: Option<DatabaseEndpoint<'a>>,
    /// The way in which settings reach sessions with the database.
    delivery: Cell<SettingsDelivery>,
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

    /// Returns the script of a command, with all that it needs to log in to the database.
    pub(super) async fn command_script(&self, line: &CommandLine, terms: SessionTerms) -> Result<ShellScript, Fault> {
        let token = self.fresh_token().await?;
        let certificate = self.settings.database.as_ref().and_then(|database| database.identity.certificate.as_ref());
        let files = certificate.map(certificate_files).unwrap_or_default();
        Ok(ShellScript { files, ..self.shell_script(line, terms, token.as_ref()) })
    }

    /// Runs a script that reads the database itself, whose output is a stream of bytes.
    ///
    /// # Errors
    /// The fault of `on_output`, or of the connection.
    pub(crate) async fn stream_script(
        &self,
        transport: &Transport,
        script: &str,
        terms: SessionTerms,
        on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ExitStatus, Fault> {
        let token = self.fresh_token().await?;
        let script = self.shell_script(&CommandLine::Shell(script.to_owned()), terms, token.as_ref());
        let database = self.settings.database.as_ref();
        let of_database = database.into_iter().flat_map(|database| database_variables(database, token.as_ref()));
        let env = of_database.chain(script.env).collect();
        self.server.stream_script(tunnel_of(transport)?, &ShellScript { env, ..script }, on_output).await
    }

    /// Returns a token for the log-in of a command, if there is a source of them.
    async fn fresh_token(&self) -> Result<Option<Secret>, Fault> {
        let login = self.settings.database.as_ref().and_then(|database| database.identity.token.as_ref());
        let Some(login) = login else { return Ok(None) };
        Box::pin(login.fresh_token(&self.events)).await.map(Some)
    }

    fn shell_script(&self, line: &CommandLine, terms: SessionTerms, token: Option<&Secret>) -> ShellScript {
        let session_settings =
            container_spec::session_settings(self.settings, self.runner, terms).delivered(self.delivery.get());
        let options = container_spec::environment_options(self.settings, &session_settings);
        let own_variables = [("PGAPPNAME", session_settings.application_name.clone()), ("PGOPTIONS", options)];
        let own_variables = own_variables.into_iter().filter(|(_, value)| !value.is_empty());
        let own_variables = own_variables.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let password = token.map(|token| ("PGPASSWORD".to_owned(), token.clone()));
        ShellScript {
            title: command_title(&self.events.redactor().redact(&line.display_text())),
            working_directory: self.server_settings.working_directory.clone(),
            // The user's own variables come last, and win.
            env: own_variables.chain(password).chain(self.user_environment(token)).collect(),
            files: Vec::new(),
            setup: self.server_settings.setup.clone(),
            command: match line {
                CommandLine::Program(words) | CommandLine::Substitute { words, .. } => quote_words(words),
                CommandLine::Shell(lines) => lines.clone(),
            },
            input: CommandInput::Empty,
        }
    }

    /// Returns the user's variables, with the database's own facts filled in: the server reaches the database directly.
    fn user_environment(&self, token: Option<&Secret>) -> impl Iterator<Item = (String, Secret)> {
        let database = self.database_for_commands();
        let fact = move |fact| {
            database.as_ref().map(|database| server_database_fact(fact, database, token)).unwrap_or_default()
        };
        let filled = move |value: &Secret| Secret::new(DatabasePlaceholder::fill_in(value.expose(), &fact));
        self.settings.env.iter().map(move |(name, value)| (name.clone(), filled(value)))
    }

    /// Returns the database as commands there reach it.
    fn database_for_commands(&self) -> Option<DatabaseTarget> {
        let database = self.settings.database_for_tools()?.clone();
        Some(match self.endpoint.as_ref().and_then(DatabaseEndpoint::local_port) {
            Some(port) => DatabaseTarget { host: LOOPBACK.to_owned(), port, ..database },
            None => database,
        })
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

/// The variable with the database's CA, which the script for a dump writes to a file.
const CA_VARIABLE: &str = "BASTION_MIGRATE_CA";

/// The variables with the client certificate and its key, which the script for a dump writes to files.
const CERTIFICATE_VARIABLES: [&str; 2] = ["BASTION_MIGRATE_CERT", "BASTION_MIGRATE_KEY"];

/// Returns the files of the client certificate for a command, which libpq finds by these variables.
fn certificate_files(certificate: &ClientCertificate) -> Vec<PrivateFile> {
    vec![
        PrivateFile { name: "crt", variable: "PGSSLCERT", content: Secret::new(certificate.chain.clone()) },
        PrivateFile { name: "key", variable: "PGSSLKEY", content: certificate.key.clone() },
    ]
}

/// Returns the variables by which programs of PostgreSQL find the database (libpq, "Environment Variables"). A command of
/// the user's gets none of them: its own configuration names the database.
fn database_variables(database: &DatabaseTarget, token: Option<&Secret>) -> impl Iterator<Item = (String, Secret)> {
    let facts = [
        ("PGHOST", DatabasePlaceholder::Host),
        ("PGPORT", DatabasePlaceholder::Port),
        ("PGUSER", DatabasePlaceholder::User),
        ("PGPASSWORD", DatabasePlaceholder::Password),
        ("PGDATABASE", DatabasePlaceholder::Name),
        ("PGSSLMODE", DatabasePlaceholder::Sslmode),
    ];
    let ca = database.ca.iter().map(|pem| (CA_VARIABLE.to_owned(), Secret::new(pem.clone())));
    let certificate = database.identity.certificate.iter().flat_map(|certificate| {
        let texts = [Secret::new(certificate.chain.clone()), certificate.key.clone()];
        CERTIFICATE_VARIABLES.into_iter().map(str::to_owned).zip(texts)
    });
    let value = move |fact| Secret::new(server_database_fact(fact, database, token));
    let facts = facts.into_iter().map(move |(name, fact)| (name.to_owned(), value(fact)));
    facts.filter(|(_, value)| !value.expose().is_empty()).chain(ca).chain(certificate)
}

fn server_database_fact(fact: DatabasePlaceholder, database: &DatabaseTarget, token: Option<&Secret>) -> String {
    let url = || DatabaseUrl::of_target(database, Some(database.sslmode));
    match fact {
        DatabasePlaceholder::Url => url().text().expose().to_owned(),
        DatabasePlaceholder::Address => url().address().expose().to_owned(),
        DatabasePlaceholder::Host => database.host.clone(),
        DatabasePlaceholder::Port => database.port.to_string(),
        DatabasePlaceholder::User => database.user.clone(),
        DatabasePlaceholder::Password => {
            token.or(database.password.as_ref()).map(|secret| secret.expose().to_owned()).unwrap_or_default()
        }
        DatabasePlaceholder::Name => database.name.clone(),
        DatabasePlaceholder::Sslmode => database.sslmode.name().to_owned(),
    }
}
