//! Runs commands that are not ours: in a container or on the deployment server. The only `match` on the kind of site is
//! here.

mod container;
pub(crate) mod container_spec;
mod current_container;
mod database_endpoint;
mod entrypoint;
mod environment_check;
mod migration_times;
mod reconnect;
mod running_command;
mod server;
mod transcript;

pub(crate) use container::{engine, run_name};
pub(crate) use container_spec::Terms;
pub(crate) use current_container::Current;
pub(crate) use transcript::Said;

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    run::{
        ImageFacts,
        event::{ClockPrecision, Event, Events},
        process::{ExitStatus, Output},
    },
    settings::{ExecutorSettings, Settings, Site},
    tool::{CommandLine, ListThenMigrate, MigrationStarted, Recipe},
    transport::Transport,
};
use container::Containers;
use migration_times::{Course, Over};
use running_command::UnderWay;
use server::Remote;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};
use transcript::{Around, Shown, failure};

/// Time that a command has to end by itself after a stop was requested.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The connection to the database and the deployment server, and the commands that run in containers and on the server.
#[derive(Debug)]
pub struct Sites<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) runner: &'a Runner,
    pub(crate) events: Events,
    recipe: Recipe,
    /// Shared with the connections of containers, until these are removed.
    pub(crate) reach: Option<Rc<Transport>>,
    containers: Option<Containers<'a>>,
    pub(crate) server: Option<Remote<'a>>,
    /// True once the connection to the server was lost for good.
    pub(crate) given_up: Cell<bool>,
    /// The migration that the tool reported as started last.
    begun: RefCell<Option<MigrationStarted>>,
    course: RefCell<Course>,
    /// Number of lines of the running command that are left out of the log.
    cut: Cell<u64>,
    pub(crate) under_way: RefCell<Option<UnderWay>>,
}

/// The start of a new command, or the resumption of one that outlived its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Begin,
    Resume,
}

/// A command, its site, and the terms on which its sessions get the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'t> {
    pub(crate) site: &'t Site,
    pub(crate) line: &'t CommandLine,
    pub(crate) terms: Terms,
}

/// The exit of a command.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    around: Around,
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
        let server = server.map(|shared| Remote::new(settings, shared, runner, events.clone())).transpose()?;
        Ok(Self {
            settings,
            runner,
            events: events.clone(),
            recipe,
            reach: None,
            containers: containers.map(|shared| Containers::new(settings, shared, runner, events.clone())),
            begun: RefCell::default(),
            course: RefCell::default(),
            cut: Cell::default(),
            under_way: RefCell::default(),
            server,
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
    pub async fn prepare(&mut self) -> Result<(), Fault> {
        match &mut self.containers {
            Some(containers) => containers.prepare(self.settings.images()).await,
            None => Ok(()),
        }
    }

    /// Opens the transport: the SSH connection, if there is a bastion.
    ///
    /// # Errors
    /// The fault of the SSH connection.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        self.reach = Some(Rc::new(Transport::connect(self.settings.route.as_ref(), &self.events).await?));
        Ok(())
    }

    /// Returns the transport.
    ///
    /// # Errors
    /// It is not open yet.
    pub fn reach(&self) -> Result<&Transport, Fault> {
        self.reach.as_deref().ok_or_else(no_way)
    }

    fn way(&self) -> Result<&Rc<Transport>, Fault> {
        self.reach.as_ref().ok_or_else(no_way)
    }

    /// Returns the transport for replacement; no container may hold it.
    ///
    /// # Errors
    /// It is not open yet, or a container's connection still holds it.
    pub fn reach_mut(&mut self) -> Result<&mut Transport, Fault> {
        self.reach.as_mut().and_then(Rc::get_mut).ok_or_else(no_way)
    }

    /// Takes the slot on the deployment server, if commands run there.
    ///
    /// # Errors
    /// The holder of the slot, or the fault of the server.
    pub async fn enter(&self) -> Result<(), Fault> {
        match &self.server {
            Some(server) => server.enter(self.reach()?).await,
            None => Ok(()),
        }
    }

    /// Runs a command to its exit.
    ///
    /// # Errors
    /// The fault of a command that did not exit with 0.
    pub(crate) async fn called(&self, task: Task<'_>) -> Result<(), Fault> {
        self.turn(task, Turn::Begin, &RefCell::default()).await
    }

    /// Runs a tool that lists its migrations and then waits for confirmation; it stays paused until its migrate command
    /// is run. Returns its exit status if it ended without asking for confirmation.
    ///
    /// # Errors
    /// The engine's own faults.
    pub(crate) async fn ask(
        &self,
        site: &Site,
        together: &ListThenMigrate,
        said: &RefCell<Said>,
    ) -> Result<Option<ExitStatus>, Fault> {
        let (Site::Image(image), Some(containers)) = (site, &self.containers) else {
            return Err(Fault::new(Code::Bug, format!("no site can confirm `{}`", together.status.display_text())));
        };
        self.begun.replace(None);
        self.goes_on(together.status.display_text());
        let ask = Box::pin(containers.ask(self.way()?, image, together, |output| self.hear(site, output, said)));
        let asked = self.events.run_paced(ask).await;
        self.is_over();
        self.tell_cut();
        asked
    }

    /// Passes the tool's own TLS through from now on, if the tool failed because it demands TLS. Returns whether it
    /// does so: then the tool can be run again.
    pub(super) fn heeds_demand(&self) -> bool {
        let said = self.containers.as_ref().and_then(|containers| containers.tunnel_end.heed_demand());
        said.into_iter().for_each(|said| self.events.emit_note(said));
        said.is_some()
    }

    /// Returns whether a tool is paused at its confirmation prompt.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.containers.as_ref().is_some_and(Containers::is_waited_for)
    }

    /// Ends a tool that is paused at its confirmation prompt.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn dismiss(&self) -> Result<(), Fault> {
        match &self.containers {
            Some(containers) => containers.dismiss().await,
            None => Ok(()),
        }
    }

    /// Runs a command, or follows one that is already running, and adds its output to `said`.
    ///
    /// # Errors
    /// The fault of a command that did not exit with 0, or of a lost connection.
    pub(crate) async fn turn(&self, task: Task<'_>, turn: Turn, said: &RefCell<Said>) -> Result<(), Fault> {
        match self.ended(task, turn, said).await? {
            Ended { status: ExitStatus::Exited(0), .. } => Ok(()),
            ended => Err(self.failure(task.line, ended, &said.borrow())),
        }
    }

    pub(crate) async fn ended(&self, task: Task<'_>, turn: Turn, said: &RefCell<Said>) -> Result<Ended, Fault> {
        let (began, before) = (Instant::now(), self.around());
        if turn == Turn::Begin {
            self.course.take();
        }
        self.goes_on(task.line.display_text());
        let run = Box::pin(self.run(task, turn, |output| self.hear(task.site, output, said)));
        let status = self.events.run_paced(run).await;
        self.is_over();
        self.tell_cut();
        let status = status?;
        let answered = self.containers.as_ref().and_then(|containers| containers.tunnel_end.answered());
        let over = self.course.borrow_mut().rest(answered);
        self.tell_over(over);
        let entrypoint = match (task.site, &self.containers) {
            (Site::Image(image), Some(containers)) => containers.entrypoint(image, task.line),
            (Site::Image(_) | Site::Server, _) => Vec::new(),
        };
        Ok(Ended { status, around: self.around().since(&before, began), entrypoint })
    }

    pub(crate) fn failure(&self, line: &CommandLine, ended: Ended, said: &Said) -> Fault {
        let by_itself = matches!(ended.status, ExitStatus::Exited(_)) && ended.around.trouble.is_none();
        let fault = failure(&self.recipe, line, ended.status, said, ended.around);
        if by_itself { entrypoint::explained(fault, &ended.entrypoint, line) } else { fault }
    }

    async fn run(&self, task: Task<'_>, turn: Turn, tell: impl FnMut(Output<'_>)) -> Result<ExitStatus, Fault> {
        let Task { site, line, terms } = task;
        match (site, &self.containers, &self.server) {
            (Site::Image(image), Some(containers), _) => containers.call(self.way()?, image, (line, terms), tell).await,
            (Site::Server, ..) if self.is_given_up() => {
                let cause =
                    format!("`{}` can't be run: the connection to the server was lost for good", line.display_text());
                Err(Fault::new(Code::BastionLost, cause))
            }
            (Site::Server, _, Some(server)) => server.call(self.reach()?, (line, terms), turn, tell).await,
            _ => Err(Fault::new(Code::Bug, format!("no site is prepared for `{}`", line.display_text()))),
        }
    }

    fn hear(&self, site: &Site, output: Output<'_>, said: &RefCell<Said>) {
        let now = Instant::now();
        if let Some(begun) = said.borrow_mut().take(&self.recipe, output) {
            let MigrationStarted { name, schema } = begun.clone();
            // Output on the server is written to a file that is polled.
            let clock = if *site == Site::Server { ClockPrecision::Coarse } else { ClockPrecision::Exact };
            let over = self.course.borrow_mut().begin(begun.clone(), now, clock);
            self.tell_over(over);
            self.events.emit(Event::ToolMigrationStarted { name, schema, clock });
            self.begun.replace(Some(begun));
        }
        let (Output::Stdout(line) | Output::Stderr(line)) = output else { return };
        if let Some(done) = self.recipe.ends(line) {
            let over = self.course.borrow_mut().end(&done, now);
            self.tell_over(over);
        }
        if let Some(command) = &mut *self.under_way.borrow_mut() {
            command.hear(&self.recipe, line);
        }
        match said.borrow_mut().shows(line) {
            Shown::Yes => self.events.emit(Event::Output { line: line.to_owned() }),
            Shown::TooMany => self.cut.set(self.cut.get() + 1),
            Shown::Otherwise => {}
        }
    }

    fn tell_over(&self, over: impl IntoIterator<Item = Over>) {
        for Over { begun: MigrationStarted { name, schema }, took } in over {
            self.events.emit(Event::Ended { name, schema, took });
        }
    }

    /// Reports how many lines of the command were left out of the log, if any.
    fn tell_cut(&self) {
        let lines = self.cut.take();
        if lines > 0 {
            self.events.emit(Event::LinesOmitted { lines });
        }
    }

    fn around(&self) -> Around {
        self.containers.as_ref().map(|containers| containers.tunnel_end.around()).unwrap_or_default()
    }

    /// Returns the number of connections that the endpoint for containers has accepted, if there is one.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.containers.as_ref().and_then(|containers| containers.tunnel_end.connections())
    }

    /// Returns the migration that the tool reported as started last.
    pub(crate) fn begun(&self) -> Option<MigrationStarted> {
        self.begun.borrow().clone()
    }

    /// Forgets the migration that a listing or a step reported: it does not belong to the work that follows.
    pub(super) fn nothing_begun(&self) {
        self.begun.replace(None);
    }

    /// Returns the facts of the site's image, if the site is one.
    pub(crate) fn image(&self, site: &Site) -> Option<&ImageFacts> {
        match site {
            Site::Image(reference) => self.containers.as_ref()?.image(reference),
            Site::Server => None,
        }
    }

    /// Describes how our settings reach the sessions of a tool at this site.
    pub(crate) fn settings_way(&self, site: &Site, commands: &str) -> Option<String> {
        match site {
            Site::Image(_) => self.containers.as_ref().map(|containers| containers.tunnel_end.settings_way()),
            Site::Server => Some(environment_check::by_environment(commands)),
        }
    }

    /// Returns the known backends of the running command.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.containers.as_ref().map(|containers| containers.tunnel_end.pids()).unwrap_or_default()
    }

    /// Stops the running commands.
    ///
    /// # Errors
    /// The reason why one may still be running.
    pub(crate) async fn end(&self) -> Result<(), Fault> {
        self.tell_cut();
        let removed = match &self.containers {
            Some(containers) => containers.end(GRACE).await,
            None => Ok(()),
        };
        let ended = match (&self.server, &self.reach) {
            (Some(server), Some(reach)) => server.end(reach, GRACE).await,
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
            Some(containers) => containers.remove().await,
            None => Ok(()),
        };
        let Some(reach) = self.reach else { return removed };
        let left = match &self.server {
            Some(server) => server.leave(&reach).await,
            None => Ok(()),
        };
        // The containers that also held it are gone.
        let closed = match Rc::into_inner(reach) {
            Some(reach) => reach.close().await,
            None => Ok(()),
        };
        removed.and(left).and(closed)
    }
}

fn no_way() -> Fault {
    Fault::new(Code::Bug, "there is no connection to the database yet")
}
