//! Commands on the deployment server, over the connection that also leads to the database.

use super::{
    Turn,
    container_spec::{self, Terms},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{Mention, Target},
    run::{
        event::{Event, Events},
        process::{Output, Status},
    },
    secret::Secret,
    server::{OrphanOutcome, OrphanedRun, Server, ShellScript, quote_words},
    settings::{ServerSettings, Settings},
    ssh::Tunnel,
    tool::Line,
    transport::Transport,
};
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Our place on the server.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    settings: &'a Settings,
    shared: &'a ServerSettings,
    runner: &'a Runner,
    events: Events,
    server: Server,
    place: Cell<Place>,
}

/// Whether the slot on the server is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    NotYet,
    Taken,
}

impl<'a> Remote<'a> {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn new(
        settings: &'a Settings,
        shared: &'a ServerSettings,
        runner: &'a Runner,
        events: Events,
    ) -> Result<Self, Fault> {
        let directory = shared.working_directory.as_deref().unwrap_or("~").trim_end_matches('/');
        let directory = directory.strip_prefix("~/").or(directory.strip_prefix("./")).unwrap_or(directory);
        // Who only looks is in nobody's way but that of others who look.
        let slot = if settings.command.writes() { directory.to_owned() } else { format!("look {directory}") };
        let label = runner.run_url().unwrap_or_else(|| "a run by hand".to_owned());
        let server = Server::new(&slot, &label, events.clone())?;
        Ok(Self { settings, shared, runner, events, server, place: Cell::new(Place::NotYet) })
    }

    /// Takes our place, and tells what became of a run that was cut off from its own.
    ///
    /// # Errors
    /// Who has the place, or why there can be none.
    pub(crate) async fn enter(&self, reach: &Transport) -> Result<(), Fault> {
        let began = Instant::now();
        let left = self.server.take_slot(tunnel(reach)?, self.settings.safety.lock_wait).await?;
        self.place.set(Place::Taken);
        if self.settings.database.is_none() && self.settings.command.writes() {
            self.events.tell(Event::Locked { waited: began.elapsed() });
        }
        if let Some(left) = left.filter(|_| self.settings.command.writes()) {
            self.events.tell(told(left));
        }
        Ok(())
    }

    /// Takes our place again, over another connection.
    ///
    /// # Errors
    /// `lock-lost`, or that this connection is lost, too.
    pub(crate) async fn enter_again(&self, reach: &Transport) -> Result<(), Fault> {
        match self.place.get() {
            Place::Taken => self.server.retake_slot(tunnel(reach)?).await,
            Place::NotYet => Ok(()),
        }
    }

    /// Runs one command to its end, or goes on listening to the one that runs.
    ///
    /// # Errors
    /// Why it did not begin, or that we don't hear of it any more.
    pub(crate) async fn call(
        &self,
        reach: &Transport,
        (line, terms): (&Line, Terms),
        turn: Turn,
        mut tell: impl FnMut(Output<'_>),
    ) -> Result<Status, Fault> {
        let tunnel = tunnel(reach)?;
        if turn == Turn::Resume
            && let Some(status) = self.server.resume_following(tunnel, &mut tell).await?
        {
            return Ok(status);
        }
        self.events.tell(Event::Calling { command: line.shown() });
        self.server.run_script(tunnel, &self.script(line, terms), tell).await
    }

    fn script(&self, line: &Line, terms: Terms) -> ShellScript {
        let injected = container_spec::injected(self.settings, self.runner, terms);
        let ours = [("PGAPPNAME", injected.application_name.clone()), ("PGOPTIONS", injected.options())];
        let ours = ours.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        ShellScript {
            title: title(&self.events.redactor().redact(&line.shown())),
            working_directory: self.shared.working_directory.clone(),
            // What the user wrote comes last, and wins.
            env: ours.into_iter().chain(self.own()).collect(),
            setup: self.shared.setup.clone(),
            command: match line {
                Line::Program(program) => quote_words(program),
                Line::Shell(lines) => lines.clone(),
            },
        }
    }

    /// What the user wrote, with the database's own facts where they are named: the server sees it as it is.
    fn own(&self) -> impl Iterator<Item = (String, Secret)> {
        let database = self.settings.database.as_ref();
        let fact = move |fact| database.map(|database| fact_of(fact, database)).unwrap_or_default();
        let filled = move |value: &Secret| Secret::new(Mention::filled(value.expose(), fact));
        self.settings.env.iter().map(move |(name, value)| (name.clone(), filled(value)))
    }

    /// Whether something of ours may be at work there.
    pub(crate) fn is_at_work(&self) -> bool {
        self.server.may_be_running()
    }

    /// Ends what runs, after it had this time to end by itself.
    ///
    /// # Errors
    /// Why it may still be at work.
    pub(crate) async fn end(&self, reach: &Transport, grace: Duration) -> Result<(), Fault> {
        match self.server.may_be_running() {
            true => self.server.terminate_command(tunnel(reach)?, grace).await,
            false => Ok(()),
        }
    }

    /// Gives our place back. Over a connection that is lost nobody can: the next run finds the place without an owner.
    ///
    /// # Errors
    /// What is still there.
    pub(crate) async fn leave(&self, reach: &Transport) -> Result<(), Fault> {
        if self.place.get() == Place::NotYet || reach.loss_fault().is_some() {
            return Ok(());
        }
        let tunnel = tunnel(reach)?;
        match self.server.release_slot(tunnel).await {
            // What only looked, and was interrupted.
            Err(fault) if fault.code == Code::ServerUnstopped => {
                self.server.terminate_command(tunnel, Duration::ZERO).await?;
                self.server.release_slot(tunnel).await
            }
            left => left,
        }
    }
}

/// How many words of a command are kept on the server to name it: arguments may be what nobody should read there.
const TITLE_WORDS: usize = 4;

fn title(shown: &str) -> String {
    let words: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().take(TITLE_WORDS).collect();
    words.join(" ")
}

fn tunnel(reach: &Transport) -> Result<&Tunnel, Fault> {
    reach.tunnel().ok_or_else(|| Fault::new(Code::Bug, "there is no server without `ssh-host`"))
}

/// What became of a run that nobody heard the end of.
fn told(left: OrphanedRun) -> Event {
    let OrphanedRun { label, title, outcome, out, err } = left;
    let run = format!("an earlier run ({label}) was cut off from the server while `{title}` ran");
    let (code, cause) = match outcome {
        OrphanOutcome::Exited(0) => return Event::Note(format!("{run}; it has ended well since")),
        OrphanOutcome::NeverStarted => return Event::Note(format!("{run}; it never began")),
        OrphanOutcome::Exited(code) => (Code::ToolFailed, format!("{run}; it has ended with code {code} since")),
        OrphanOutcome::Killed => (Code::ToolKilled, format!("{run}; it was killed, or went down with the machine")),
    };
    let fault = Fault::new(code, cause).fix("this run goes on from what is applied now: see below what that is");
    let last = if err.is_empty() { out } else { err };
    Event::Warning(last.into_iter().fold(fault, Fault::detail))
}

fn fact_of(fact: Mention, database: &Target) -> String {
    let address = || database.address(&database.host, database.port).expose().to_owned();
    match fact {
        Mention::Url => format!("postgresql://{}?sslmode={}", address(), database.sslmode.name()),
        Mention::Address => address(),
        Mention::Host => database.host.clone(),
        Mention::Port => database.port.to_string(),
        Mention::User => database.user.clone(),
        Mention::Password => database.password.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        Mention::Name => database.name.clone(),
        Mention::Sslmode => database.sslmode.name().to_owned(),
    }
}
