//! Commands in containers: the engine, the images, and the tunnel's end at which the containers find the database.

use super::{
    GRACE,
    container_spec::{self, Access, Terms},
    current_container::Current,
    database_endpoint::{Serving, TunnelEnd},
};
use crate::{
    docker::{Container, Ended, Engine, Heard, Image, Input, Kind, Left, Order, Others, Own, Running, SOCKET, Tag},
    fault::{Code, Fault},
    github::{command_file, runner::Runner},
    random,
    run::{
        ImageFacts, Usage,
        event::{Event, Events},
        lock_retries::Ladder,
        process::{Output, Status},
    },
    settings::{ImageSettings, Place, Settings, Site},
    tool::{ByFile, Line, QUESTION, Together, YES},
    transport::Transport,
};
use futures_util::future::Either;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    time::Duration,
};

/// The engine, and what it was asked for.
#[derive(Debug)]
pub(crate) struct Containers<'a> {
    settings: &'a Settings,
    shared: &'a ImageSettings,
    runner: &'a Runner,
    events: Events,
    tag: Tag,
    ready: Option<(Engine, Own)>,
    images: BTreeMap<String, Image>,
    /// Where they find the database.
    pub(crate) tunnel_end: TunnelEnd<'a>,
    /// What runs now; outlives the future that runs it.
    current: Current,
    waiting: RefCell<Option<Waiting>>,
}

/// A tool that has listed its migrations, and does this when it is told to go on.
#[derive(Debug)]
struct Waiting {
    image: String,
    line: Line,
    /// What it was asked for so far, as a reader would type it.
    asked: String,
    running: Running,
    /// Its connections to the database go on with it.
    serving: Serving,
}

impl<'a> Containers<'a> {
    /// Nothing is asked yet. `shared` is what all containers have in common.
    pub(crate) fn new(settings: &'a Settings, shared: &'a ImageSettings, runner: &'a Runner, events: Events) -> Self {
        Self {
            settings,
            shared,
            runner,
            events,
            tag: Tag::new(&run_name(runner), Kind::Tool, settings.safety.timeout * 2),
            ready: None,
            images: BTreeMap::new(),
            tunnel_end: TunnelEnd::new(settings, runner),
            current: Current::default(),
            waiting: RefCell::default(),
        }
    }

    /// The engine, who we are to it, the images, and the tunnel's end.
    ///
    /// # Errors
    /// What of it can't be had.
    pub(crate) async fn prepare(&mut self, references: BTreeSet<&str>) -> Result<(), Fault> {
        let (engine, own) = engine(self.runner, &self.tag, &self.events).await?;
        for reference in references {
            let ImageSettings { pull, credentials, .. } = self.shared;
            let image = engine.image(reference, *pull, credentials.as_ref(), &self.events).await?;
            self.events.tell(Event::Image(image.facts.clone()));
            self.images.insert(reference.to_owned(), image);
        }
        self.ready = Some((engine, own));
        self.tunnel_end.open().await
    }

    /// Runs one command in a container of its own, to its end, and removes that. A tool that waits to do just this goes on.
    ///
    /// # Errors
    /// The engine's own trouble.
    pub(crate) async fn call(
        &self,
        reach: &Rc<Transport>,
        image: &str,
        (line, terms): (&Line, Terms),
        tell: impl FnMut(Output<'_>),
    ) -> Result<Status, Fault> {
        let waiting = self.waiting.take().filter(|waiting| waiting.image == image && waiting.line == *line);
        // One start is one container: what it used before its word was given can't be told from what it used after.
        let command = match &waiting {
            Some(waiting) => format!("{}, then {}", waiting.asked, line.shown()),
            None => line.shown(),
        };
        let (mut serving, work) = match waiting {
            Some(Waiting { mut running, serving, .. }) => {
                self.tunnel_end.tell(terms)?;
                let going_on = async move {
                    running.tell(YES.as_bytes()).await?;
                    running.end(tell).await
                };
                (serving, Either::Left(going_on))
            }
            None => {
                let container = self.make(image, line, terms, Input::None).await?;
                let redactor = self.events.redactor();
                let run = async move { container.start(redactor).await?.end(tell).await };
                (self.tunnel_end.serve(reach), Either::Right(run))
            }
        };
        self.events.tell(Event::Calling { command: line.shown() });
        let ended = serving.during(work).await;
        self.finish(ended, command).await
    }

    /// Lets a tool list, in a container of its own that waits if it asks whether to go on. How it ended, if it did not ask.
    ///
    /// # Errors
    /// The engine's own trouble.
    pub(crate) async fn ask(
        &self,
        reach: &Rc<Transport>,
        image: &str,
        together: &Together,
        mut tell: impl FnMut(Output<'_>),
    ) -> Result<Option<Status>, Fault> {
        let safety = &self.settings.safety;
        // The session that lists may be the one that migrates.
        let lock_timeout = Ladder { top: safety.lock_timeout, retries: safety.retries }.limit(0);
        let terms = Terms { access: Access::ReadingFirst, lock_timeout };
        let container = self.make_for_both(image, together, terms).await?;
        self.events.tell(Event::Calling { command: together.status.shown() });
        let work = async {
            let mut running = container.start(self.events.redactor()).await?;
            let heard = running.hear(|output| match output {
                Output::Out(line) | Output::Err(line) if line.trim_end().ends_with(QUESTION) => Heard::Enough,
                other => {
                    tell(other);
                    Heard::More
                }
            });
            match heard.await {
                Heard::Enough => Ok(Either::Left(running)),
                Heard::More => running.end(|_| ()).await.map(Either::Right),
            }
        };
        let mut serving = self.tunnel_end.serve(reach);
        let ended = match serving.during(work).await {
            Ok(Either::Left(running)) => {
                let (image, line, asked) = (image.to_owned(), together.migrate.clone(), together.status.shown());
                self.waiting.replace(Some(Waiting { image, line, asked, running, serving }));
                return Ok(None);
            }
            Ok(Either::Right(ended)) => Ok(ended),
            Err(fault) => Err(fault),
        };
        self.finish(ended, together.status.shown()).await.map(Some)
    }

    /// Lets a tool go that waits for a word that will not come.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) async fn dismiss(&self) -> Result<(), Fault> {
        let Some(Waiting { running, asked, .. }) = self.waiting.take() else { return Ok(()) };
        let usage = running.usage();
        // At the end of its input it ends by itself.
        drop(running);
        self.current.end(GRACE).await?;
        self.used(asked, usage);
        Ok(())
    }

    /// Whether a tool waits for a word.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.borrow().is_some()
    }

    /// With the program in a file, so that an entrypoint that shows what it is told shows a few words; or in the command itself
    /// where the engine puts no file into it.
    async fn make_for_both(&self, image: &str, together: &Together, terms: Terms) -> Result<Container, Fault> {
        if let Some(ByFile { line, path, text }) = together.by_file(container_spec::OURS) {
            let container = self.make(image, &line, terms, Input::Once).await?;
            match container.put(&[(path, text.into_bytes())]).await {
                Ok(()) => return Ok(container),
                Err(refused) => self.events.note(format!("{}: it is handed over in the command", refused.cause)),
            }
        }
        self.make(image, &together.line(), terms, Input::Once).await
    }

    /// What asks can be answered; what reads although it is told nothing finds the end at once.
    async fn make(&self, image: &str, line: &Line, terms: Terms, input: Input) -> Result<Container, Fault> {
        let (Some((engine, own)), Some(known)) = (&self.ready, self.images.get(image)) else {
            return Err(Fault::new(Code::Bug, format!("the engine was not asked for `{image}`")));
        };
        let place = container_spec::Place {
            own,
            image: &known.facts.id,
            port: self.tunnel_end.port(),
            passage: self.tunnel_end.passage(),
            access: terms.access,
        };
        self.tunnel_end.tell(terms)?;
        let order = container_spec::order(self.settings, self.shared, &place, line, &self.tunnel_end.injected(terms));
        let order = match self.is_the_tools(image) {
            true => container_spec::entered(order, self.shared.entrypoint.as_deref()),
            false => container_spec::of_its_own(order, line),
        };
        let order = Order { input, ..order };
        // One that waits for another word gets none.
        self.current.remove().await?;
        self.current.make(engine, order, &self.tag).await
    }

    async fn finish(&self, ended: Result<Ended, Fault>, command: String) -> Result<Status, Fault> {
        self.current.remove().await?;
        let ended = ended?;
        if ended.others == Others::OutOfMemory {
            let cause = "a process in the container was killed because it wanted more memory than there is, and the command ended well all the same";
            let fix = "see in its own words above whether what that process had to do is done; raise `memory`, or use a runner with more of it";
            self.events.tell(Event::Warning(Fault::new(Code::OutOfMemory, cause).fix(fix)));
        }
        self.used(command, ended.usage);
        Ok(ended.status)
    }

    fn is_the_tools(&self, image: &str) -> bool {
        match &self.settings.place {
            Place::Tool(tool) => tool.site == Site::Image(image.to_owned()),
            Place::Sql => false,
        }
    }

    /// Tells it of this one command: a sum over all of them is nobody's.
    fn used(&self, command: String, usage: Usage) {
        if usage != Usage::default() {
            self.events.tell(Event::Used { command, usage });
        }
    }

    /// Which image that is.
    pub(crate) fn image(&self, reference: &str) -> Option<&ImageFacts> {
        self.images.get(reference).map(|image| &image.facts)
    }

    /// What stands in front of this command there.
    pub(crate) fn entrypoint(&self, reference: &str, line: &Line) -> Vec<String> {
        let own = self.images.get(reference).map(|image| image.entrypoint.clone()).unwrap_or_default();
        match (self.is_the_tools(reference), line) {
            (true, _) => self.shared.entrypoint.clone().unwrap_or(own),
            (false, Line::Program(_)) => own,
            (false, Line::Shell(_)) => Vec::new(),
        }
    }

    /// Ends what runs, after it had this time to end by itself.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) async fn end(&self, grace: Duration) -> Result<(), Fault> {
        drop(self.waiting.take());
        self.current.end(grace).await
    }

    /// Removes what runs.
    ///
    /// # Errors
    /// What could not be removed.
    pub(crate) async fn remove(&self) -> Result<(), Fault> {
        drop(self.waiting.take());
        self.current.remove().await
    }
}

/// The name of the state by which the post stage knows what to remove.
const STATE: &str = "run";

/// The engine and who we are to it, once it is noted what the post stage has to look for, and old leavings are gone.
pub(crate) async fn engine(runner: &Runner, tag: &Tag, events: &Events) -> Result<(Engine, Own), Fault> {
    let engine = Engine::connect(Path::new(SOCKET)).await?;
    let own = Own::find(&engine).await?;
    remember(runner, tag)?;
    if let Err(left) = engine.sweep(Left::Expired).await {
        events.tell(Event::Warning(left));
    }
    Ok((engine, own))
}

/// The post stage finds by this what a killed run left behind; so it is written before there is anything.
fn remember(runner: &Runner, tag: &Tag) -> Result<(), Fault> {
    match &runner.state_file {
        Some(path) => command_file::append_state(path, &[(STATE, tag.run().to_owned())]),
        None => Ok(()),
    }
}

/// Tells this run from every other on the same engine, jobs of a matrix included.
pub(crate) fn run_name(runner: &Runner) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "local".to_owned());
    format!("{}.{}.{}", part(&runner.run_id), part(&runner.run_attempt), random::unguessable())
}
