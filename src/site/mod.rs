//! Runs commands that are not ours: in a container or on the deployment server. The only `match` on the kind of site is
//! here.

mod container;
pub(crate) mod container_spec;
mod container_stream;
mod copy_sites;
mod current_container;
mod database_endpoint;
mod delivery;
mod engine;
mod entrypoint;
mod environment_check;
mod migration_times;
mod observation;
mod paused_container;
mod paused_on_server;
mod paused_tool;
mod reconnect;
mod run_mode;
mod running_command;
mod server;
mod server_script;
mod site_command;
mod stream;
mod transcript;

pub(crate) use container::Containers;
pub(crate) use current_container::CurrentContainer;
pub(crate) use engine::{connect_engine, connect_engine_from_anywhere, unique_run_name};
pub(crate) use run_mode::RunMode;
pub(crate) use server::ServerSite;
pub(crate) use site_command::{CommandPurpose, SiteCommand};
pub(crate) use transcript::Transcript;

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::SettingsDelivery,
    run::{
        ImageFacts,
        event::Events,
        process::{ExitStatus, Output},
    },
    settings::{ExecutorSettings, Settings, Site},
    tool::{CommandLine, ListThenMigrate, MigrationStarted, Recipe},
    transport::Transport,
};
use database_endpoint::DatabaseEndpoint;
use migration_times::RunningMigrations;
use run_mode::STOP_GRACE;
use running_command::RunningCommand;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};
use transcript::{ProxyFindings, command_fault};

/// The connection to the database and the deployment server, and the commands that run in containers and on the server.
#[derive(Debug)]
pub struct Sites<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) runner: &'a Runner,
    pub(crate) events: Events,
    recipe: Recipe,
    /// Shared with the connections of containers, until these are removed.
    pub(crate) transport: Option<Rc<Transport>>,
    /// The connection to the deployment server, if the database is not reached through it.
    pub(super) server_transport: Option<Rc<Transport>>,
    pub(super) containers: Option<Containers<'a>>,
    pub(crate) server: Option<ServerSite<'a>>,
    /// The way in which settings reach the sessions of our own and of tools.
    delivery: Cell<SettingsDelivery>,
    /// True once the connection to the server was lost for good.
    pub(crate) given_up: Cell<bool>,
    /// The migration that the tool reported as started last.
    last_started: RefCell<Option<MigrationStarted>>,
    running_migrations: RefCell<RunningMigrations>,
    /// Number of lines of the running command that are left out of the log.
    omitted_lines: Cell<u64>,
    pub(crate) running_command: RefCell<Option<RunningCommand>>,
}

/// The exit of a command.
pub(crate) struct CommandExit {
    pub(crate) status: ExitStatus,
    proxy_findings: ProxyFindings,
    /// The entrypoint that ran in front of the command.
    entrypoint: Vec<String>,
}

impl<'a> Sites<'a> {
    /// Prepares the sites of these settings; contacts nothing yet.
    ///
    /// # Errors
    /// A fault of the random number generator.
    pub fn new(settings: &'a Settings, runner: &'a Runner, events: &Events) -> Result<Self, Fault> {
        let recipe = match &settings.executor {
            ExecutorSettings::Tool(tool) => tool.recipe.clone(),
            ExecutorSettings::Sql => Recipe::by_name("custom").unwrap_or_default(),
        };
        let containers = settings.image.as_ref();
        let server = settings.server.as_ref();
        let server = server.map(|shared| ServerSite::new(settings, shared, runner, events.clone())).transpose()?;
        Ok(Self {
            settings,
            runner,
            events: events.clone(),
            recipe,
            transport: None,
            server_transport: None,
            containers: containers.map(|shared| Containers::new(settings, shared, runner, events.clone())),
            last_started: RefCell::default(),
            running_migrations: RefCell::default(),
            omitted_lines: Cell::default(),
            running_command: RefCell::default(),
            server,
            delivery: Cell::default(),
            given_up: Cell::new(false),
        })
    }

    /// Returns whether the Docker engine is needed.
    #[must_use]
    pub fn needs_engine(&self) -> bool {
        self.containers.is_some()
    }

    /// Connects to the engine, gets every image and opens the database endpoint. None of it needs the connection.
    ///
    /// # Errors
    /// The fault of the engine, an image or the endpoint.
    pub async fn prepare_containers(&mut self) -> Result<(), Fault> {
        match &mut self.containers {
            Some(containers) => containers.prepare_images(self.settings.images()).await,
            None => Ok(()),
        }
    }

    /// Returns the containers and the server, to be prepared at the same time.
    pub(crate) fn parts(&mut self) -> (Option<&mut Containers<'a>>, Option<&ServerSite<'a>>) {
        (self.containers.as_mut(), self.server.as_ref())
    }

    /// Opens the transport: the SSH connection, if there is a bastion.
    ///
    /// # Errors
    /// The fault of the SSH connection.
    pub async fn open_transport(&mut self) -> Result<(), Fault> {
        self.transport =
            Some(Rc::new(Transport::connect(self.settings.route.as_ref(), &self.settings.way, &self.events).await?));
        Ok(())
    }

    /// Returns the transport.
    ///
    /// # Errors
    /// It is not open yet.
    pub fn transport(&self) -> Result<&Transport, Fault> {
        self.transport.as_deref().ok_or_else(not_connected)
    }

    /// Returns the connection to the deployment server.
    ///
    /// # Errors
    /// It is not open yet.
    pub(super) fn server_transport(&self) -> Result<&Transport, Fault> {
        self.server_transport.as_deref().or(self.transport.as_deref()).ok_or_else(not_connected)
    }

    fn shared_transport(&self) -> Result<&Rc<Transport>, Fault> {
        self.transport.as_ref().ok_or_else(not_connected)
    }

    /// Returns the transport for replacement; no container may hold it.
    ///
    /// # Errors
    /// It is not open yet, or a container's connection still holds it.
    pub fn transport_mut(&mut self) -> Result<&mut Transport, Fault> {
        self.transport.as_mut().and_then(Rc::get_mut).ok_or_else(not_connected)
    }

    /// Takes the slot on the deployment server, if commands run there.
    ///
    /// # Errors
    /// The holder of the slot, or the fault of the server.
    pub async fn take_server_slot(&self) -> Result<(), Fault> {
        match &self.server {
            Some(server) => server.take_slot(self.server_transport()?).await,
            None => Ok(()),
        }
    }

    /// Runs a command to its exit.
    ///
    /// # Errors
    /// The fault of a command that did not exit with 0.
    pub(crate) async fn run_checked(&self, task: SiteCommand<'_>) -> Result<(), Fault> {
        self.run_to_success(task, RunMode::Start, &RefCell::default()).await
    }

    /// Runs a tool that lists its migrations and then waits for confirmation; it stays paused until its migrate command
    /// is run. `title` is that command for people. Returns its exit status if it ended without asking for confirmation.
    ///
    /// # Errors
    /// The engine's own faults.
    pub(crate) async fn list_then_pause(
        &self,
        site: &Site,
        (commands, title): (&ListThenMigrate, &str),
        transcript: &RefCell<Transcript>,
    ) -> Result<Option<ExitStatus>, Fault> {
        let list_command = commands.list_command.display_text();
        self.last_started.replace(None);
        self.command_started(list_command.clone());
        let on_output = |output: Output<'_>| self.handle_output(site, output, transcript);
        let listing = Box::pin(async {
            match (site, &self.containers, &self.server) {
                (Site::Image(image), Some(containers), _) => {
                    containers.list_then_pause(self.shared_transport()?, image, commands, on_output).await
                }
                (Site::Server, _, Some(server)) => {
                    server.list_then_pause(self.server_transport()?, (commands, title), on_output).await
                }
                _ => Err(Fault::new(Code::Bug, format!("no site is prepared for `{list_command}`"))),
            }
        });
        let listed = self.events.run_paced(listing).await;
        self.command_ended();
        self.report_omitted_lines();
        listed
    }

    /// Passes the tool's own TLS through from now on, if the tool failed because it demands TLS. Returns whether it
    /// does so: then the tool can be run again.
    pub(super) fn pass_tls_if_demanded(&self) -> bool {
        let note = self.containers.as_ref().and_then(|containers| containers.endpoint.pass_tls_if_demanded());
        note.into_iter().for_each(|note| self.events.emit_note(note));
        note.is_some()
    }

    /// Returns whether a tool is paused at its confirmation prompt.
    pub(crate) fn has_paused_tool(&self) -> bool {
        let in_container = self.containers.as_ref().is_some_and(Containers::has_paused_tool);
        in_container || self.server.as_ref().is_some_and(ServerSite::has_paused_tool)
    }

    /// Ends a tool that is paused at its confirmation prompt.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn abort_paused(&self) -> Result<(), Fault> {
        let in_container = match &self.containers {
            Some(containers) => containers.abort_paused().await,
            None => Ok(()),
        };
        let on_server = match (&self.server, self.server_transport()) {
            (Some(server), Ok(transport)) => Box::pin(server.abort_paused(transport)).await,
            _ => Ok(()),
        };
        in_container.and(on_server)
    }

    /// Runs a command, or follows one that is already running, and adds its output to `transcript`.
    ///
    /// # Errors
    /// The fault of a command that did not exit with 0, or of a lost connection.
    pub(crate) async fn run_to_success(
        &self,
        task: SiteCommand<'_>,
        mode: RunMode,
        transcript: &RefCell<Transcript>,
    ) -> Result<(), Fault> {
        match self.run_to_exit(task, mode, transcript).await? {
            CommandExit { status: ExitStatus::Exited(0), .. } => Ok(()),
            ended => Err(self.exit_fault(task.command, ended, &transcript.borrow())),
        }
    }

    pub(crate) async fn run_to_exit(
        &self,
        task: SiteCommand<'_>,
        mode: RunMode,
        transcript: &RefCell<Transcript>,
    ) -> Result<CommandExit, Fault> {
        let (began, before) = (Instant::now(), self.proxy_findings());
        if mode == RunMode::Start {
            self.running_migrations.take();
        }
        self.command_started(task.command.display_text());
        let run = Box::pin(self.run_at_site(task, mode, |output| self.handle_output(task.site, output, transcript)));
        let status = self.events.run_paced(run).await;
        self.command_ended();
        self.report_omitted_lines();
        let status = status?;
        let last_response_at = self.containers.as_ref().and_then(|containers| containers.endpoint.last_answer_at());
        let ended_migrations = self.running_migrations.borrow_mut().finish_all(last_response_at);
        self.report_ended(ended_migrations);
        let entrypoint = match (task.site, &self.containers) {
            (Site::Image(image), Some(containers)) => containers.entrypoint_before(image, task.command),
            (Site::Image(_) | Site::Server, _) => Vec::new(),
        };
        Ok(CommandExit { status, proxy_findings: self.proxy_findings().new_since(&before, began), entrypoint })
    }

    pub(crate) fn exit_fault(&self, line: &CommandLine, ended: CommandExit, transcript: &Transcript) -> Fault {
        let by_itself = matches!(ended.status, ExitStatus::Exited(_)) && ended.proxy_findings.proxy_fault.is_none();
        let fault = command_fault(&self.recipe, line, ended.status, transcript, ended.proxy_findings);
        if by_itself { entrypoint::explain_swallowed_command(fault, &ended.entrypoint, line) } else { fault }
    }

    async fn run_at_site(
        &self,
        task: SiteCommand<'_>,
        mode: RunMode,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        let SiteCommand { site, command, .. } = task;
        match (site, &self.containers, &self.server) {
            (Site::Image(image), Some(containers), _) => {
                containers.run_to_exit(self.shared_transport()?, image, task, on_output).await
            }
            (Site::Server, ..) if self.has_given_up() => {
                let cause = format!(
                    "`{}` can't be run: the connection to the server was lost for good",
                    command.display_text()
                );
                Err(Fault::new(Code::BastionLost, cause))
            }
            (Site::Server, _, Some(server)) => {
                server.run_or_resume(self.server_transport()?, task, mode, on_output).await
            }
            _ => Err(Fault::new(Code::Bug, format!("no site is prepared for `{}`", command.display_text()))),
        }
    }

    /// Returns the facts of the site's image, if the site is one.
    pub(crate) fn image_facts(&self, site: &Site) -> Option<&ImageFacts> {
        match site {
            Site::Image(image) => self.containers.as_ref()?.image_facts(&image.reference),
            Site::Server => None,
        }
    }

    /// Returns the known backends of the running command.
    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        // A pooler announces numbers of its own.
        let is_known = self.delivery() == SettingsDelivery::StartupPacket;
        self.endpoints().filter(|_| is_known).flat_map(DatabaseEndpoint::backend_pids).collect()
    }

    /// Stops the running commands.
    ///
    /// # Errors
    /// The reason why one may still be running.
    pub(crate) async fn stop_commands(&self) -> Result<(), Fault> {
        self.report_omitted_lines();
        let removed = match &self.containers {
            Some(containers) => containers.stop_and_remove(STOP_GRACE).await,
            None => Ok(()),
        };
        let ended = match (&self.server, self.server_transport()) {
            (Some(server), Ok(transport)) => server.stop_command(transport, STOP_GRACE).await,
            _ => Ok(()),
        };
        removed.and(ended)
    }

    /// Removes containers, releases the slot on the server and closes the connection.
    ///
    /// # Errors
    /// The fault of the first of them that failed.
    pub async fn close(self) -> Result<(), Fault> {
        let removed = match &self.containers {
            Some(containers) => containers.remove_current().await,
            None => Ok(()),
        };
        let Some(transport) = self.transport else { return removed };
        let released = match &self.server {
            Some(server) => Box::pin(server.release_slot(&transport)).await,
            None => Ok(()),
        };
        // The containers that also held it are gone.
        let closed = match Rc::into_inner(transport) {
            Some(transport) => transport.close().await,
            None => Ok(()),
        };
        removed.and(released).and(closed)
    }
}

fn not_connected() -> Fault {
    Fault::new(Code::Bug, "there is no connection to the database yet")
}
