//! The places in which commands run that are not ours, and the way to them. The only match on such a place is here.

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
        event::{Clock, Event, Events},
        process::{Output, Status},
    },
    settings::{Place, Settings, Site},
    tool::{Begun, Line, Recipe, Together},
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

/// The pause after a stop was asked for, in which a command may end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The way to the database and to the deployment server, and what runs in containers and on the server.
#[derive(Debug)]
pub struct Sites<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) runner: &'a Runner,
    pub(crate) events: Events,
    recipe: Recipe,
    /// Connections of containers hold it, too, until these are removed.
    pub(crate) reach: Option<Rc<Transport>>,
    containers: Option<Containers<'a>>,
    pub(crate) server: Option<Remote<'a>>,
    /// Whether the connection to the server was lost for good.
    pub(crate) given_up: Cell<bool>,
    /// The migration that a tool began last, as it says.
    begun: RefCell<Option<Begun>>,
    course: RefCell<Course>,
    /// Lines of the command that runs which were too many.
    cut: Cell<u64>,
    pub(crate) under_way: RefCell<Option<UnderWay>>,
}

/// Whether a command begins, or one goes on that outlived its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Begin,
    Resume,
}

/// A command, where it runs, and on which terms it gets the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'t> {
    pub(crate) site: &'t Site,
    pub(crate) line: &'t Line,
    pub(crate) terms: Terms,
}

/// The end of a command.
pub(crate) struct Ended {
    pub(crate) status: Status,
    around: Around,
    /// What stood in front of it.
    entrypoint: Vec<String>,
}

impl<'a> Sites<'a> {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(settings: &'a Settings, runner: &'a Runner, events: &Events) -> Result<Self, Fault> {
        let recipe = match &settings.place {
            Place::Tool(tool) => tool.recipe.clone(),
            Place::Sql => Recipe::named("custom").unwrap_or_default(),
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

    /// Whether the Docker engine is needed.
    #[must_use]
    pub fn needs_engine(&self) -> bool {
        self.containers.is_some()
    }

    /// Gets what is needed before there is a connection: the engine, every image, and the tunnel's end.
    ///
    /// # Errors
    /// What can't be had.
    pub async fn prepare(&mut self) -> Result<(), Fault> {
        match &mut self.containers {
            Some(containers) => containers.prepare(self.settings.images()).await,
            None => Ok(()),
        }
    }

    /// Opens the way.
    ///
    /// # Errors
    /// Whatever keeps the SSH connection from standing.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        self.reach = Some(Rc::new(Transport::connect(self.settings.route.as_ref(), &self.events).await?));
        Ok(())
    }

    /// The way.
    ///
    /// # Errors
    /// There is none yet.
    pub fn reach(&self) -> Result<&Transport, Fault> {
        self.reach.as_deref().ok_or_else(no_way)
    }

    fn way(&self) -> Result<&Rc<Transport>, Fault> {
        self.reach.as_ref().ok_or_else(no_way)
    }

    /// The way, to be made anew by whoever has it alone.
    ///
    /// # Errors
    /// There is none yet.
    pub fn reach_mut(&mut self) -> Result<&mut Transport, Fault> {
        self.reach.as_mut().and_then(Rc::get_mut).ok_or_else(no_way)
    }

    /// Takes our place on the deployment server, if commands run there.
    ///
    /// # Errors
    /// Who has it, or why there can be none.
    pub async fn enter(&self) -> Result<(), Fault> {
        match &self.server {
            Some(server) => server.enter(self.reach()?).await,
            None => Ok(()),
        }
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// The fault of a command that did not end with 0.
    pub(crate) async fn called(&self, task: Task<'_>) -> Result<(), Fault> {
        self.turn(task, Turn::Begin, &RefCell::default()).await
    }

    /// Lets a tool list that asks then whether to go on: it waits until its command to migrate is run. How it ended, if it did
    /// not ask.
    ///
    /// # Errors
    /// The engine's own trouble.
    pub(crate) async fn ask(
        &self,
        site: &Site,
        together: &Together,
        said: &RefCell<Said>,
    ) -> Result<Option<Status>, Fault> {
        let (Site::Image(image), Some(containers)) = (site, &self.containers) else {
            return Err(Fault::new(Code::Bug, format!("nobody could answer `{}` there", together.status.shown())));
        };
        self.begun.replace(None);
        self.goes_on(together.status.shown());
        let ask = Box::pin(containers.ask(self.way()?, image, together, |output| self.hear(site, output, said)));
        let asked = self.events.paced(ask).await;
        self.is_over();
        self.tell_cut();
        asked
    }

    /// Lets a tool's own TLS through from now on, if it got nowhere because it demands that: it may be asked again.
    pub(super) fn heeds_demand(&self) -> bool {
        let said = self.containers.as_ref().and_then(|containers| containers.tunnel_end.heed_demand());
        said.into_iter().for_each(|said| self.events.note(said));
        said.is_some()
    }

    /// Whether a tool waits for a word.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.containers.as_ref().is_some_and(Containers::is_waited_for)
    }

    /// Lets go whoever waits for a word.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) async fn dismiss(&self) -> Result<(), Fault> {
        match &self.containers {
            Some(containers) => containers.dismiss().await,
            None => Ok(()),
        }
    }

    /// Runs a command that may have begun before; what it says is added to what it has said.
    ///
    /// # Errors
    /// The fault of a command that did not end with 0, or that the connection to it was lost.
    pub(crate) async fn turn(&self, task: Task<'_>, turn: Turn, said: &RefCell<Said>) -> Result<(), Fault> {
        match self.ended(task, turn, said).await? {
            Ended { status: Status::Exited(0), .. } => Ok(()),
            ended => Err(self.failure(task.line, ended, &said.borrow())),
        }
    }

    pub(crate) async fn ended(&self, task: Task<'_>, turn: Turn, said: &RefCell<Said>) -> Result<Ended, Fault> {
        let (began, before) = (Instant::now(), self.around());
        if turn == Turn::Begin {
            self.course.take();
        }
        self.goes_on(task.line.shown());
        let run = Box::pin(self.run(task, turn, |output| self.hear(task.site, output, said)));
        let status = self.events.paced(run).await;
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

    pub(crate) fn failure(&self, line: &Line, ended: Ended, said: &Said) -> Fault {
        let by_itself = matches!(ended.status, Status::Exited(_)) && ended.around.trouble.is_none();
        let fault = failure(&self.recipe, line, ended.status, said, ended.around);
        if by_itself { entrypoint::explained(fault, &ended.entrypoint, line) } else { fault }
    }

    async fn run(&self, task: Task<'_>, turn: Turn, tell: impl FnMut(Output<'_>)) -> Result<Status, Fault> {
        let Task { site, line, terms } = task;
        match (site, &self.containers, &self.server) {
            (Site::Image(image), Some(containers), _) => containers.call(self.way()?, image, (line, terms), tell).await,
            (Site::Server, ..) if self.is_given_up() => {
                let cause = format!("`{}` can't be run: the connection to the server is lost for good", line.shown());
                Err(Fault::new(Code::BastionLost, cause))
            }
            (Site::Server, _, Some(server)) => server.call(self.reach()?, (line, terms), turn, tell).await,
            _ => Err(Fault::new(Code::Bug, format!("nobody has prepared for `{}`", line.shown()))),
        }
    }

    fn hear(&self, site: &Site, output: Output<'_>, said: &RefCell<Said>) {
        let now = Instant::now();
        if let Some(begun) = said.borrow_mut().take(&self.recipe, output) {
            let Begun { name, schema } = begun.clone();
            // What is said on the server stands in a file until somebody looks.
            let clock = if *site == Site::Server { Clock::Coarse } else { Clock::Exact };
            let over = self.course.borrow_mut().begin(begun.clone(), now, clock);
            self.tell_over(over);
            self.events.tell(Event::Begun { name, schema, clock });
            self.begun.replace(Some(begun));
        }
        let (Output::Out(line) | Output::Err(line)) = output else { return };
        if let Some(done) = self.recipe.ends(line) {
            let over = self.course.borrow_mut().end(&done, now);
            self.tell_over(over);
        }
        if let Some(command) = &mut *self.under_way.borrow_mut() {
            command.hear(&self.recipe, line);
        }
        match said.borrow_mut().shows(line) {
            Shown::Yes => self.events.tell(Event::Output { line: line.to_owned() }),
            Shown::TooMany => self.cut.set(self.cut.get() + 1),
            Shown::Otherwise => {}
        }
    }

    fn tell_over(&self, over: impl IntoIterator<Item = Over>) {
        for Over { begun: Begun { name, schema }, took } in over {
            self.events.tell(Event::Ended { name, schema, took });
        }
    }

    /// Tells how many lines of a command were too many, if any were.
    fn tell_cut(&self) {
        let lines = self.cut.take();
        if lines > 0 {
            self.events.tell(Event::Cut { lines });
        }
    }

    fn around(&self) -> Around {
        self.containers.as_ref().map(|containers| containers.tunnel_end.around()).unwrap_or_default()
    }

    /// How many have come through the tunnel's end for containers, if there is one.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.containers.as_ref().and_then(|containers| containers.tunnel_end.connections())
    }

    /// The migration that a tool began last, as it says.
    pub(crate) fn begun(&self) -> Option<Begun> {
        self.begun.borrow().clone()
    }

    /// What was said before, by a look or a step, was no beginning of the work that comes now.
    pub(super) fn nothing_begun(&self) {
        self.begun.replace(None);
    }

    /// Which image that is, if the place is one.
    pub(crate) fn image(&self, site: &Site) -> Option<&ImageFacts> {
        match site {
            Site::Image(reference) => self.containers.as_ref()?.image(reference),
            Site::Server => None,
        }
    }

    /// By which way our settings reached the sessions of a tool in this place.
    pub(crate) fn settings_way(&self, site: &Site, commands: &str) -> Option<String> {
        match site {
            Site::Image(_) => self.containers.as_ref().map(|containers| containers.tunnel_end.settings_way()),
            Site::Server => Some(environment_check::by_environment(commands)),
        }
    }

    /// The backends of what runs, as far as they could be seen.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.containers.as_ref().map(|containers| containers.tunnel_end.pids()).unwrap_or_default()
    }

    /// Ends what runs.
    ///
    /// # Errors
    /// Why it may still be at work.
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

    /// Leaves nothing behind, and closes the way.
    ///
    /// # Errors
    /// What could not be removed or closed.
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
        // Whoever held it, too, is gone.
        let closed = match Rc::into_inner(reach) {
            Some(reach) => reach.close().await,
            None => Ok(()),
        };
        removed.and(left).and(closed)
    }
}

fn no_way() -> Fault {
    Fault::new(Code::Bug, "there is no way to the database yet")
}
