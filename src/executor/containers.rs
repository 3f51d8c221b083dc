//! Commands in containers: the engine, the images, and the tunnel's end at which the containers find the database.

use super::{
    current::Current,
    heard::Around,
    sibling::{self, Access, LOOPBACK},
};
use crate::{
    engine::{Engine, Kind, Left, Own, SOCKET, Tag},
    fault::{Code, Fault},
    github::{env::Runner, file, token},
    input::{ImageSettings, Place, Settings, Site},
    postgres::{Injected, Listener, Passage},
    reach::Reach,
    run::{
        event::{Event, Events, ImageFacts, Usage},
        program::{Output, Status},
    },
    tool::Line,
};
use futures_util::future::{Either, select};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::pin,
    time::Duration,
};

/// The engine, and what it was asked for.
#[derive(Debug)]
pub(super) struct Containers<'a> {
    settings: &'a Settings,
    shared: &'a ImageSettings,
    runner: &'a Runner,
    events: Events,
    tag: Tag,
    ready: Option<(Engine, Own)>,
    images: BTreeMap<String, ImageFacts>,
    listener: Option<Listener>,
    /// What runs now; outlives the future that runs it.
    current: Current,
    usage: Cell<Usage>,
}

impl<'a> Containers<'a> {
    /// Nothing is asked yet. `shared` is what all containers have in common.
    pub(super) fn new(settings: &'a Settings, shared: &'a ImageSettings, runner: &'a Runner, events: Events) -> Self {
        Self {
            settings,
            shared,
            runner,
            events,
            tag: Tag::new(&run_name(runner), Kind::Tool, settings.safety.timeout * 2),
            ready: None,
            images: BTreeMap::new(),
            listener: None,
            current: Current::default(),
            usage: Cell::new(Usage::default()),
        }
    }

    /// The engine, who we are to it, and the images.
    ///
    /// # Errors
    /// What of it can't be had.
    pub(super) async fn prepare(&mut self, references: BTreeSet<&str>) -> Result<(), Fault> {
        let (engine, own) = engine(self.runner, &self.tag, &self.events).await?;
        for reference in references {
            let ImageSettings { pull, credentials, .. } = self.shared;
            let facts = engine.image(reference, *pull, credentials.as_ref(), &self.events).await?;
            self.events.tell(Event::Image(facts.clone()));
            self.images.insert(reference.to_owned(), facts);
        }
        self.ready = Some((engine, own));
        Ok(())
    }

    /// The tunnel's end, if there is a tunnel and a database at its other end.
    ///
    /// # Errors
    /// `listener-unavailable`.
    pub(super) async fn listen(&mut self) -> Result<(), Fault> {
        let (Some(database), true) = (&self.settings.database, self.settings.route.is_some()) else { return Ok(()) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, database.port));
        let listener = Listener::bind(address, self.settings.passage, self.injected()).await.map_err(|error| {
            let cause = format!("the tunnel's end can't be opened at {LOOPBACK}:{}", database.port);
            Fault::new(Code::ListenerUnavailable, cause).because(&error)
        })?;
        if sibling::keeps_its_name(self.settings, database) {
            name_loopback(&database.host)?;
        }
        self.listener = Some(listener);
        Ok(())
    }

    fn injected(&self) -> Injected {
        sibling::injected(self.settings, self.runner, Access::of(self.settings.command))
    }

    /// Runs one command in a container of its own, to its end, and removes that.
    ///
    /// # Errors
    /// The engine's own trouble.
    pub(super) async fn call(
        &self,
        reach: &Reach,
        image: &str,
        line: &Line,
        tell: impl FnMut(Output<'_>),
    ) -> Result<Status, Fault> {
        let (Some((engine, own)), Some(facts)) = (&self.ready, self.images.get(image)) else {
            return Err(Fault::new(Code::Bug, format!("the engine was not asked for `{image}`")));
        };
        let port = self.listener.as_ref().and_then(|listener| listener.address().ok()).map(|address| address.port());
        let place = sibling::Place { own, image: &facts.id, port };
        let order = sibling::order(self.settings, self.shared, &place, line, &self.injected());
        let order = if self.is_the_tools(image) { order } else { sibling::of_its_own(order, line) };
        let container = self.current.make(engine, order, &self.tag).await?;
        self.events.tell(Event::Calling { command: line.shown() });
        let ended = self.served(reach, async { container.start().await?.end(tell).await }).await;
        self.current.remove().await?;
        let ended = ended?;
        self.used(ended.usage);
        Ok(ended.status)
    }

    fn is_the_tools(&self, image: &str) -> bool {
        match &self.settings.place {
            Place::Tool(tool) => tool.site == Site::Image(image.to_owned()),
            Place::Sql => false,
        }
    }

    /// Lets the work go on with the tunnel's end open.
    async fn served<T>(&self, reach: &Reach, work: impl Future<Output = T>) -> T {
        let (Some(listener), Some(database)) = (&self.listener, &self.settings.database) else { return work.await };
        match select(pin!(work), pin!(listener.serve(reach, database))).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    fn used(&self, more: Usage) {
        let so_far = self.usage.get();
        self.usage.set(Usage {
            memory_bytes: so_far.memory_bytes.max(more.memory_bytes),
            cpu_ms: so_far.cpu_ms.saturating_add(more.cpu_ms),
        });
        if self.usage.get() != Usage::default() {
            self.events.tell(Event::Used(self.usage.get()));
        }
    }

    /// What the tunnel's end has seen so far.
    pub(super) fn around(&self) -> Around {
        Around {
            trouble: self.listener.as_ref().and_then(Listener::last_fault),
            error: self.listener.as_ref().and_then(Listener::last_error),
        }
    }

    /// The backends of what runs in the containers, as far as they could be seen.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.listener.as_ref().map(Listener::pids).unwrap_or_default()
    }

    /// By which way our settings reached the sessions of what ran here.
    pub(super) fn settings_way(&self) -> String {
        match (&self.listener, self.settings.passage) {
            (Some(listener), Passage::Bridged) => {
                let traffic = listener.traffic();
                format!("by the start-up packet of {} of {} connections", traffic.settled, traffic.connections)
            }
            (Some(_), Passage::Untouched) => "by PGOPTIONS: the tool's own TLS passes the tunnel untouched".to_owned(),
            (None, _) => "by PGOPTIONS: there is no tunnel".to_owned(),
        }
    }

    /// Which image that is.
    pub(super) fn image(&self, reference: &str) -> Option<&ImageFacts> {
        self.images.get(reference)
    }

    /// Ends what runs, after it had this time to end by itself.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(super) async fn end(&self, grace: Duration) -> Result<(), Fault> {
        self.current.end(grace).await
    }

    /// Removes what runs.
    ///
    /// # Errors
    /// What could not be removed.
    pub(super) async fn remove(&self) -> Result<(), Fault> {
        self.current.remove().await
    }
}

/// The name of the state by which the post stage knows what to remove.
const STATE: &str = "run";

/// The engine and who we are to it, once it is noted what the post stage has to look for, and old leavings are gone.
pub(super) async fn engine(runner: &Runner, tag: &Tag, events: &Events) -> Result<(Engine, Own), Fault> {
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
        Some(path) => file::append_state(path, &[(STATE, tag.run().to_owned())]),
        None => Ok(()),
    }
}

/// Tells this run from every other on the same engine, jobs of a matrix included.
pub(super) fn run_name(runner: &Runner) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "local".to_owned());
    format!("{}.{}.{}", part(&runner.run_id), part(&runner.run_attempt), token::unguessable())
}

/// Writes the database's name into our own `/etc/hosts`, which a container that joins our network shares.
fn name_loopback(host: &str) -> Result<(), Fault> {
    let written =
        OpenOptions::new().append(true).open(HOSTS).and_then(|mut hosts| writeln!(hosts, "{LOOPBACK} {host}"));
    written.map_err(|error| {
        Fault::new(Code::ListenerUnavailable, format!("`{HOSTS}` can't be written"))
            .because(&error)
            .fix("run it as a step of a workflow, whose container has a file of its own there")
    })
}

const HOSTS: &str = "/etc/hosts";
