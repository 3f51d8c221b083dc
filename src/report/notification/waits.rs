//! Tells of long waits while they last.

use super::{
    delivery::{deliver, is_told_of},
    message::NotificationMessage,
};
use crate::{
    github::runner::Runner,
    report::reporter::Reporter,
    run::{
        LongWait,
        event::{Event, Events},
    },
    settings::NotificationSettings,
};
use std::convert::Infallible;
use tokio::sync::mpsc::UnboundedReceiver;

/// Sends a message for each wait in the queue, until it is dropped with the work that waits. A message that can't be sent
/// is a warning.
pub async fn notify_of_waits(
    mut waits: UnboundedReceiver<LongWait>,
    settings: Option<&NotificationSettings>,
    runner: &Runner,
    (reporter, events): (&Reporter, &Events),
) -> Infallible {
    while let Some(wait) = waits.recv().await {
        let report = reporter.report();
        let Some(settings) = settings.filter(|_| is_told_of(report.command)) else { continue };
        let redactor = events.redactor();
        let message = NotificationMessage::of_wait(&wait, &report.redacted(redactor), runner, redactor);
        if let Err(fault) = deliver(&message, settings, &runner.network, redactor, None).await {
            events.emit(Event::Warning(fault));
        }
    }
    std::future::pending().await
}
