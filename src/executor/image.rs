//! `executor: image`: the app's own tool in a container of its own image, which shares our network and finds the database at
//! its own name, through the tunnel. Our session holds the run lock and reads the tool's ledger before and after.

use super::{
    current::Current,
    sibling::{self, Access, LOOPBACK},
    witness::{self, Witness},
};
use crate::{
    engine::{Engine, Kind, Left, Own, SOCKET, Tag},
    fault::{Code, Fault, Stage},
    github::{env::Runner, file, token},
    input::{Command, ImageSettings, Settings, Site, ToolSettings},
    ledger::shape,
    postgres::{Injected, Listener, Passage, Session, Startup, facts, fault::statement, lock, ready, rows},
    reach::Reach,
    run::event::{Event, Events, ImageFacts, MigrationId, PlanFacts, Usage},
    tool::{Listed, Verb},
};
use std::{
    cell::Cell,
    fs::OpenOptions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

/// The executor and what it knows so far.
#[derive(Debug)]
pub struct Image<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tool: &'a ToolSettings,
    pub(super) containers: &'a ImageSettings,
    pub(super) runner: &'a Runner,
    pub(super) events: Events,
    pub(super) tag: Tag,
    pub(super) engine: Option<Engine>,
    pub(super) own: Option<Own>,
    pub(super) image: Option<ImageFacts>,
    pub(super) session: Option<Session>,
    locked: bool,
    pub(super) listener: Option<Listener>,
    found: Vec<Vec<Option<String>>>,
    pub(super) before: Witness,
    pub(super) after: Option<Witness>,
    listed: Vec<Listed>,
    pub(super) pending: Vec<MigrationId>,
    /// What runs now; outlives the future that runs it.
    pub(super) current: Current,
    /// Whether the tool was let at the database.
    pub(super) began: bool,
    pub(super) usage: Cell<Usage>,
}

impl<'a> Image<'a> {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(
        settings: &'a Settings,
        tool: &'a ToolSettings,
        containers: &'a ImageSettings,
        runner: &'a Runner,
        events: Events,
    ) -> Self {
        Self {
            settings,
            tool,
            containers,
            runner,
            events,
            tag: Tag::new(&run_name(runner), Kind::Tool, settings.safety.timeout * 2),
            engine: None,
            own: None,
            image: None,
            session: None,
            locked: false,
            listener: None,
            found: Vec::new(),
            before: Witness::default(),
            after: None,
            listed: Vec::new(),
            pending: Vec::new(),
            current: Current::default(),
            began: false,
            usage: Cell::new(Usage::default()),
        }
    }

    /// The engine, who we are to it, and the image.
    ///
    /// # Errors
    /// What of it can't be had.
    pub async fn prepare(&mut self) -> Result<(), Fault> {
        let (engine, own) = engine(self.runner, &self.tag, &self.events).await?;
        self.own = Some(own);
        let ImageSettings { pull, credentials, .. } = self.containers;
        let Site::Image(image) = &self.tool.site else { return Err(Fault::new(Code::Bug, "no image is named")) };
        let facts = engine.image(image, *pull, credentials.as_ref(), &self.events).await?;
        self.events.tell(Event::Image(facts.clone()));
        (self.image, self.engine) = (Some(facts), Some(engine));
        Ok(())
    }

    /// Our own session, and the tunnel's end for the tool.
    ///
    /// # Errors
    /// Why the database can't be worked with, or `listener-unavailable`.
    pub async fn connect(&mut self, reach: &Reach) -> Result<(), Fault> {
        let target = self.settings.database()?;
        let session = ready::connect(reach, target, &self.startup(), self.settings.wait_timeout, &self.events).await?;
        let session = self.session.insert(session);
        let opens = if self.settings.command.writes() { facts::Opens::Locking } else { facts::Opens::Reading };
        let opening = facts::open(session, target, opens, &shape::find_sql()).await?;
        self.locked = opening.locked;
        self.found = opening.extra;
        self.events.tell(Event::Database(opening.facts));
        if self.settings.route.is_some() {
            self.listener = Some(self.listen().await?);
        }
        Ok(())
    }

    async fn listen(&self) -> Result<Listener, Fault> {
        let port = self.settings.database()?.port;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = Listener::bind(address, self.settings.passage, self.injected()).await.map_err(|error| {
            let cause = format!("the tunnel's end can't be opened at {LOOPBACK}:{port}");
            Fault::new(Code::ListenerUnavailable, cause).because(&error)
        })?;
        let database = self.settings.database()?;
        if sibling::keeps_its_name(self.settings, database) {
            name_loopback(&database.host)?;
        }
        Ok(listener)
    }

    pub(super) fn injected(&self) -> Injected {
        let access = if self.settings.command.writes() { Access::Writing } else { Access::Reading };
        sibling::injected(self.settings, self.runner, access)
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        let began = tokio::time::Instant::now();
        if !self.locked {
            let session = self.session()?;
            let server = self.runner.server_url.as_deref();
            lock::acquire(session, lock::own(), self.settings.safety.lock_wait, server, &self.events).await?;
            // Whoever held it may have made the ledger meanwhile.
            self.found = rows(&session.client, &shape::find_sql()).await.map_err(|error| statement(&error))?;
            self.locked = true;
        }
        self.events.tell(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    /// The tool's own listing against its ledger.
    ///
    /// # Errors
    /// Why the tool can't say what is pending, or that it speaks of another database.
    pub async fn plan(&mut self, reach: &Reach) -> Result<(), Vec<Fault>> {
        let ledgers = shape::found(&self.found, self.tool.recipe.ledger.as_deref());
        let session = self.session().map_err(|fault| vec![fault])?;
        self.before = Witness::of(session, ledgers).await.map_err(|fault| vec![fault])?;
        if let (Some(listing), Some(line)) = (&self.tool.recipe.listing, self.tool.recipe.line(Verb::Status)) {
            let said = self.call(reach, &line).await.map_err(|fault| vec![fault.at(Stage::Plan)])?;
            self.listed = listing.read(said.iter().map(String::as_str));
            witness::same_database(&self.tool.recipe, &self.listed, &self.before).map_err(|fault| vec![fault])?;
        }
        self.pending = witness::pending(&self.listed);
        let plan = PlanFacts {
            layout: self.tool.recipe.name.clone(),
            ledger: self.before.ledger_name(),
            recorded: self.before.rows.len(),
            pending: self.pending.clone(),
            digest: witness::digest(&self.tool.recipe, self.image.as_ref(), &self.pending),
        };
        let digest = plan.digest.clone();
        self.events.tell(Event::Planned(plan));
        if self.settings.command == Command::Plan
            && self.has_work()
            && let Some(line) = self.tool.recipe.line(Verb::Plan)
        {
            self.call(reach, &line).await.map_err(|fault| vec![fault.at(Stage::Plan)])?;
        }
        match self.settings.command {
            Command::Migrate if self.has_work() => {
                crate::migrate::approved(&digest, self.settings.safety.expect_plan.as_deref())
                    .map_err(|fault| vec![fault])
            }
            _ => Ok(()),
        }
    }

    /// Whether there is anything to apply; a tool that can't list may always have something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.tool.recipe.listing.is_none()
    }

    /// By which way our settings reached the tool's sessions.
    pub(super) fn tell_settings(&self) {
        let way = match (&self.listener, self.settings.passage) {
            (Some(listener), Passage::Bridged) => {
                let traffic = listener.traffic();
                format!("by the start-up packet of {} of {} connections", traffic.settled, traffic.connections)
            }
            (Some(_), Passage::Untouched) => "by PGOPTIONS: the tool's own TLS passes the tunnel untouched".to_owned(),
            (None, _) => "by PGOPTIONS: there is no tunnel".to_owned(),
        };
        self.events.tell(Event::Settings { way });
    }

    pub(super) fn ready(&self) -> Result<(&Engine, &Own, &ImageFacts), Fault> {
        match (&self.engine, &self.own, &self.image) {
            (Some(engine), Some(own), Some(image)) => Ok((engine, own, image)),
            _ => Err(Fault::new(Code::Bug, "the engine was not asked yet")),
        }
    }

    /// Our session only looks: it can't be the one that changed something.
    pub(super) fn startup(&self) -> Startup {
        let mut options =
            "-c lock_timeout=5000 -c client_connection_check_interval=1000 -c standard_conforming_strings=on \
            -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
                .to_owned();
        if let Some(own) = self.settings.database.as_ref().and_then(|database| database.options.as_ref()) {
            options = format!("{options} {own}");
        }
        // After the user's own, so that nothing can turn it off.
        options += " -c default_transaction_read_only=on";
        Startup { application_name: lock::application_name(self.runner), options }
    }

    pub(super) fn session(&self) -> Result<&Session, Fault> {
        self.session.as_ref().ok_or_else(|| Fault::new(Code::Bug, "there is no session yet"))
    }

    /// Removes what runs, and closes the session; the lock goes with it.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn close(self) -> Result<(), Fault> {
        let removed = self.current.remove().await;
        if let Some(session) = self.session {
            session.close().await;
        }
        removed
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

/// The pause after a stop was asked for, in which the tool may end by itself.
pub(super) const GRACE: Duration = Duration::from_secs(1);
