//! Commands in containers: the engine, the images, and the endpoint at which containers find the database.

use super::{
    container_spec::{self, SessionTerms},
    current_container::CurrentContainer,
    database_endpoint::DatabaseEndpoint,
    engine::{connect_engine, unique_run_name},
    paused_tool::PausedTool,
    site_command::SiteCommand,
};
use crate::{
    docker::{
        AvailableImage, Container, ContainerExit, ContainerKind, ContainerSpec, ContainerStdin, DockerEngine, Image,
        Labels, OtherProcesses, SelfContainer,
    },
    fault::{Code, Fault},
    github::runner::Runner,
    run::{
        ImageFacts, ResourceUsage,
        event::{Event, Events},
        process::{ExitStatus, Output},
    },
    settings::{ImageOwner, ImageSettings, Settings, SiteImage},
    tool::CommandLine,
    transport::Transport,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

/// The connection to the engine, and the images and containers that it provides.
#[derive(Debug)]
pub(crate) struct Containers<'a> {
    pub(super) settings: &'a Settings,
    pub(super) image_settings: &'a ImageSettings,
    runner: &'a Runner,
    pub(super) events: Events,
    pub(super) labels: Labels,
    pub(super) connected_engine: Option<(DockerEngine, SelfContainer)>,
    pub(super) images: BTreeMap<String, Image>,
    /// The endpoint at which containers find the database.
    pub(crate) endpoint: DatabaseEndpoint<'a>,
    /// The running container; it outlives the future that runs it.
    pub(super) current: Rc<CurrentContainer>,
    pub(super) paused: RefCell<Option<PausedTool>>,
}

impl<'a> Containers<'a> {
    /// Prepares containers of these settings; does not contact the engine yet. `shared` is what all containers have in
    /// common.
    pub(crate) fn new(settings: &'a Settings, shared: &'a ImageSettings, runner: &'a Runner, events: Events) -> Self {
        Self {
            settings,
            image_settings: shared,
            runner,
            events,
            labels: Labels::new(&unique_run_name(runner), ContainerKind::Tool, settings.safety.timeout * 2),
            connected_engine: None,
            images: BTreeMap::new(),
            endpoint: DatabaseEndpoint::new(settings, runner),
            current: Rc::default(),
            paused: RefCell::default(),
        }
    }

    /// Prepares containers for a copy of the database: over the same connection to the engine, of the same images, and one
    /// at a time with those of the original.
    pub(crate) fn for_copy<'b>(
        &self,
        settings: &'b Settings,
        shared: &'b ImageSettings,
        runner: &'b Runner,
        events: Events,
    ) -> Containers<'b> {
        Containers {
            labels: self.labels.clone(),
            connected_engine: self.connected_engine.clone(),
            images: self.images.clone(),
            current: Rc::clone(&self.current),
            ..Containers::new(settings, shared, runner, events)
        }
    }

    /// Connects to the engine and finds our own container.
    ///
    /// # Errors
    /// The fault of the engine.
    pub(crate) async fn connect(&mut self) -> Result<(), Fault> {
        self.connected_engine = Some(connect_engine(self.runner, &self.labels, &self.events).await?);
        Ok(())
    }

    /// Gets an image, over the connection to the engine.
    ///
    /// # Errors
    /// The reason why it can't be had.
    pub(crate) async fn get_image(&mut self, reference: &str) -> Result<(), Fault> {
        let ImageSettings { pull, credentials, .. } = self.image_settings;
        let image = self.engine()?.ensure_image(reference, *pull, credentials.as_ref(), &self.events).await?;
        self.events.emit(Event::Image(image.facts.clone()));
        self.images.insert(reference.to_owned(), image);
        Ok(())
    }

    /// Asks the engine about an image that it can have, without a pull.
    ///
    /// # Errors
    /// The reason why it can't be had.
    pub(crate) async fn look_for_image(&self, reference: &str) -> Result<AvailableImage, Fault> {
        let ImageSettings { pull, credentials, .. } = self.image_settings;
        self.engine()?.look_for_image(reference, *pull, credentials.as_ref()).await
    }

    fn engine(&self) -> Result<&DockerEngine, Fault> {
        let engine = self.connected_engine.as_ref().map(|(engine, _)| engine);
        engine.ok_or_else(|| Fault::new(Code::Bug, "there is no connection to the Docker engine yet"))
    }

    /// Connects to the engine, gets the images and opens the endpoint.
    ///
    /// # Errors
    /// The fault of the first that failed.
    pub(crate) async fn prepare_images(&mut self, references: BTreeSet<&str>) -> Result<(), Fault> {
        self.connect().await?;
        for reference in references {
            self.get_image(reference).await?;
        }
        self.open_endpoint().await
    }

    /// Opens the endpoint at which containers find the database.
    ///
    /// # Errors
    /// `listener-unavailable`.
    pub(crate) async fn open_endpoint(&mut self) -> Result<(), Fault> {
        self.endpoint.open_listener(&self.events).await
    }

    /// Runs one command in a container of its own to its exit and removes the container. For the migration, a tool that
    /// is paused at its confirmation prompt is resumed instead.
    ///
    /// # Errors
    /// The engine's own faults.
    pub(crate) async fn run_to_exit(
        &self,
        transport: &Rc<Transport>,
        image: &SiteImage,
        task: SiteCommand<'_>,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        if let Some(paused) = self.take_paused(task.purpose) {
            return self.resume(paused, task, on_output).await;
        }
        let SiteCommand { command: line, terms, .. } = task;
        let container = self.create_container(image, line, terms, ContainerStdin::None).await?;
        let redactor = self.events.redactor();
        self.events.emit(Event::CommandStarted { command: line.display_text() });
        let run = async move { container.start(redactor).await?.follow_to_exit(on_output).await };
        let ended = self.endpoint.accept_loop(transport).run_during(run).await;
        self.finish_container(ended, line.display_text()).await
    }

    /// Creates a container for the command. Only the list-then-migrate command gets a standard input; every other one
    /// reads the end of it at once.
    pub(super) async fn create_container(
        &self,
        image: &SiteImage,
        line: &CommandLine,
        terms: SessionTerms,
        input: ContainerStdin,
    ) -> Result<Container, Fault> {
        let spec = self.container_spec(image, line, terms)?;
        let spec = match image.owner {
            ImageOwner::Tool => container_spec::with_entrypoint(spec, self.image_settings.entrypoint.as_deref()),
            ImageOwner::Step => container_spec::for_step_image(spec, line),
        };
        self.create_from_spec(ContainerSpec { stdin: input, ..spec }).await
    }

    /// Returns the specification of a container for the command, and sets the terms of its sessions.
    pub(super) fn container_spec(
        &self,
        image: &SiteImage,
        line: &CommandLine,
        terms: SessionTerms,
    ) -> Result<ContainerSpec, Fault> {
        let reference = &image.reference;
        let (Some((_, self_container)), Some(prepared)) = (&self.connected_engine, self.images.get(reference)) else {
            return Err(Fault::new(Code::Bug, format!("the image `{reference}` was not prepared")));
        };
        let context = container_spec::ContainerContext {
            self_container,
            image_id: &prepared.facts.id,
            endpoint_port: self.endpoint.local_port(),
            client_tls: self.endpoint.client_tls(),
            access: terms.access,
        };
        self.endpoint.set_session_terms(terms)?;
        let session_settings = self.endpoint.session_settings(terms);
        Ok(container_spec::build_spec(self.settings, self.image_settings, &context, line, &session_settings))
    }

    pub(super) async fn finish_container(
        &self,
        ended: Result<ContainerExit, Fault>,
        command: String,
    ) -> Result<ExitStatus, Fault> {
        self.current.remove().await?;
        let ended = ended?;
        if ended.other_processes == OtherProcesses::OutOfMemory {
            let cause = "a process in the container was killed because there was not enough memory, and the command \
                succeeded all the same";
            let fix = "see in the log whether the work of that process was done; raise `memory`, or use a \
                runner with more memory";
            self.events.emit(Event::Warning(Fault::new(Code::OutOfMemory, cause).fix(fix)));
        }
        self.report_usage(command, ended.usage);
        Ok(ended.status)
    }

    /// Reports the usage of this one command: a sum over several would belong to none of them.
    pub(super) fn report_usage(&self, command: String, usage: ResourceUsage) {
        if usage != ResourceUsage::default() {
            self.events.emit(Event::ResourceUsage { command, usage });
        }
    }

    /// Returns the facts of this image.
    pub(crate) fn image_facts(&self, reference: &str) -> Option<&ImageFacts> {
        self.images.get(reference).map(|image| &image.facts)
    }

    /// Returns the entrypoint that runs in front of this command in this image.
    pub(crate) fn entrypoint_before(&self, image: &SiteImage, line: &CommandLine) -> Vec<String> {
        let prepared = self.images.get(&image.reference);
        let image_entrypoint = prepared.map(|image| image.entrypoint.clone()).unwrap_or_default();
        match (image.owner, line) {
            (ImageOwner::Tool, _) => self.image_settings.entrypoint.clone().unwrap_or(image_entrypoint),
            (ImageOwner::Step, CommandLine::Program(_) | CommandLine::Substitute { .. }) => image_entrypoint,
            (ImageOwner::Step, CommandLine::Shell(_)) => Vec::new(),
        }
    }

    /// Stops and removes the running container, after `grace` to end by itself.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn stop_and_remove(&self, grace: Duration) -> Result<(), Fault> {
        drop(self.paused.take());
        self.current.stop_and_remove(grace).await
    }

    /// Removes the running container at once.
    ///
    /// # Errors
    /// The engine's fault.
    pub(crate) async fn remove_current(&self) -> Result<(), Fault> {
        drop(self.paused.take());
        self.current.remove().await
    }
}
