//! `executor: image` and `executor: server`: the app's own tool, where the app is at home. Our session holds the run lock and
//! reads the tool's ledger before and after; where no database is given, the tool's own listing is all there is to read.

use super::{
    keeper::Keeper,
    sites::Sites,
    witness::{self, Witness},
};
use crate::{
    fault::{Fault, Stage},
    github::env::Runner,
    input::{Command, Need, Settings, Step, ToolSettings, When, Work},
    ledger::shape,
    run::event::{Event, Events, MigrationId, PlanFacts},
    tool::{Line, Listed, Verb},
};

/// The executor and what it knows so far.
#[derive(Debug)]
pub struct Foreign<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tool: &'a ToolSettings,
    pub(super) events: Events,
    pub(super) keeper: Keeper<'a>,
    /// What is done to migrate, in order.
    pub(super) steps: Vec<Step>,
    pub(super) before: Witness,
    pub(super) after: Option<Witness>,
    listed: Vec<Listed>,
    pub(super) pending: Vec<MigrationId>,
    /// Whether the tool was let at the database.
    pub(super) began: bool,
}

impl<'a> Foreign<'a> {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(settings: &'a Settings, tool: &'a ToolSettings, runner: &'a Runner, events: &Events) -> Self {
        Self {
            settings,
            tool,
            events: events.clone(),
            keeper: Keeper::new(settings, runner, events.clone()),
            steps: migrating(settings, tool),
            before: Witness::default(),
            after: None,
            listed: Vec::new(),
            pending: Vec::new(),
            began: false,
        }
    }

    /// Our own session, if a database is given, and the tunnel's end for containers.
    ///
    /// # Errors
    /// Why the database can't be worked with, or `listener-unavailable`.
    pub async fn connect(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        if self.settings.database.is_some() {
            self.keeper.connect(sites.reach()?).await?;
        }
        sites.listen().await
    }

    /// The run lock.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        self.keeper.lock().await
    }

    /// The tool's own listing against its ledger.
    ///
    /// # Errors
    /// Why the tool can't say what is pending, or that it speaks of another database.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        self.look(sites).await.map_err(|fault| vec![fault.at(Stage::Plan)])?;
        self.pending = witness::pending(&self.listed);
        let plan = PlanFacts {
            layout: self.tool.recipe.name.clone(),
            ledger: self.before.ledger_name(),
            recorded: self.before.rows.len(),
            pending: self.pending.clone(),
            digest: witness::digest(&self.tool.recipe, sites.image(&self.tool.site), &self.pending),
        };
        let digest = plan.digest.clone();
        self.events.tell(Event::Planned(plan));
        if self.settings.command == Command::Plan
            && self.has_work()
            && let Some(line) = self.line(Verb::Plan)
        {
            sites.called(&self.tool.site, &line).await.map_err(|fault| vec![fault.at(Stage::Plan)])?;
        }
        if self.settings.command.writes() && self.has_work() {
            crate::migrate::approved(&digest, self.settings.safety.expect_plan.as_deref())
                .map_err(|fault| vec![fault])?;
        }
        Ok(())
    }

    async fn look(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if let Some(session) = self.keeper.session() {
            let ledgers = shape::found(&self.keeper.found, self.tool.recipe.ledger.as_deref());
            self.before = Witness::of(session, ledgers).await?;
        }
        self.listed = self.list(sites).await?;
        match self.keeper.session() {
            Some(_) => witness::same_database(&self.tool.recipe, &self.listed, &self.before),
            None => {
                self.before = Witness::of_listing(&self.listed);
                Ok(())
            }
        }
    }

    /// What the tool itself says of its migrations; nothing if it can't.
    pub(super) async fn list(&self, sites: &Sites<'_>) -> Result<Vec<Listed>, Fault> {
        let (Some(listing), Some(line)) = (self.tool.recipe.listing, self.line(Verb::Status)) else {
            return Ok(Vec::new());
        };
        let said = sites.called(&self.tool.site, &line).await?;
        Ok(listing.read(said.iter().map(String::as_str)))
    }

    /// The database as it is now, or what the tool says of it.
    ///
    /// # Errors
    /// Why it can't be read.
    pub(super) async fn look_now(&self, sites: &Sites<'_>) -> Result<Witness, Fault> {
        match self.keeper.session() {
            Some(session) => Witness::again(session, &self.tool.recipe).await,
            None => Ok(Witness::of_listing(&self.list(sites).await?)),
        }
    }

    /// The recipe's command for this, with what stands in front of each.
    pub(super) fn line(&self, verb: Verb) -> Option<Line> {
        Some(self.tool.recipe.line(verb)?.behind(&self.tool.prefix))
    }

    /// Whether there is anything to do; a tool that can't list may always have something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let always = self.steps.iter().any(|step| step.when == When::Always);
        always || !self.pending.is_empty() || self.tool.recipe.listing.is_none()
    }

    /// Whose turn it is in a run that goes well.
    pub(super) fn turns(&self) -> &'static [When] {
        let pending = !self.pending.is_empty() || self.tool.recipe.listing.is_none();
        if pending { &[When::Always, When::Pending] } else { &[When::Always] }
    }

    /// Closes our session; the lock goes with it.
    pub async fn close(self) {
        self.keeper.close().await;
    }
}

/// What the user wrote, or the recipe's way.
fn migrating(settings: &Settings, tool: &ToolSettings) -> Vec<Step> {
    if !settings.steps.migrate.is_empty() {
        return settings.steps.migrate.clone();
    }
    let line = tool.run.clone().or_else(|| Some(tool.recipe.line(Verb::Migrate)?.behind(&tool.prefix)));
    let step = |line: Line| Step {
        name: line.shown(),
        work: Work::Command { line, site: tool.site.clone() },
        timeout: None,
        retries: settings.safety.retries,
        need: Need::Required,
        when: When::Pending,
    };
    line.into_iter().map(step).collect()
}
