//! `command: history`: the list of runs. It needs neither files nor a tool, and not even an engine.

use crate::{
    executor::HistoryReader,
    fault::{Fault, Stage},
    github::runner::Runner,
    run::event::Events,
    settings::Settings,
    stage::{run_stage, single_fault},
    transport::Transport,
};

/// The list of runs.
pub(crate) struct HistoryJob<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    events: Events,
    reader: Option<HistoryReader<'a>>,
}

impl<'a> HistoryJob<'a> {
    /// Prepares the job; uses no network yet.
    pub(crate) fn new(settings: &'a Settings, runner: &'a Runner, events: Events) -> Self {
        Self { settings, runner, events, reader: None }
    }

    /// Connects, and lists the runs.
    ///
    /// # Errors
    /// The reason why they can't be read.
    pub(crate) async fn run_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, runner, events, reader } = self;
        let connecting =
            async { Transport::connect(settings.route.as_ref(), &settings.way, events).await.map_err(single_fault) };
        let transport = match settings.route {
            Some(_) => run_stage(events, Stage::Bastion, connecting).await?,
            None => connecting.await?,
        };
        run_stage(events, Stage::Database, async {
            let connected = HistoryReader::connect(settings, runner, events, transport).await.map_err(single_fault)?;
            reader.insert(connected).report(events).await.map_err(single_fault)
        })
        .await
    }

    /// Closes the session and the connection.
    ///
    /// # Errors
    /// The fault of the connection.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        match self.reader {
            Some(reader) => reader.close().await,
            None => Ok(()),
        }
    }
}
