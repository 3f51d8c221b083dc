//! Commands on the deployment server, over the connection that also leads to the database.

use super::sites::Turn;
use crate::{
    fault::{Code, Fault},
    github::env::Runner,
    input::{ServerSettings, Settings},
    reach::Reach,
    run::{
        event::Events,
        program::{Output, Status},
    },
    tool::Line,
};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Remote<'a> {
    _settings: &'a Settings,
    _shared: &'a ServerSettings,
    _runner: &'a Runner,
    _events: Events,
}

impl<'a> Remote<'a> {
    pub(super) fn new(settings: &'a Settings, shared: &'a ServerSettings, runner: &'a Runner, events: Events) -> Self {
        Self { _settings: settings, _shared: shared, _runner: runner, _events: events }
    }

    pub(super) async fn enter(&self, _reach: &Reach) -> Result<(), Fault> {
        Err(Fault::new(Code::Bug, "not yet"))
    }

    pub(super) async fn call(
        &self,
        _reach: &Reach,
        _line: &Line,
        _turn: Turn,
        _tell: impl FnMut(Output<'_>),
    ) -> Result<Status, Fault> {
        Err(Fault::new(Code::Bug, "not yet"))
    }

    pub(super) fn is_at_work(&self) -> bool {
        false
    }

    pub(super) async fn end(&self, _reach: &Reach, _grace: Duration) -> Result<(), Fault> {
        Ok(())
    }

    pub(super) async fn leave(&self, _reach: &Reach) -> Result<(), Fault> {
        Ok(())
    }
}
