//! Early server messages. Files are pipelined, so the server's messages about a file can arrive before the event that
//! the file started. They are held back, so that each is reported under its own file.

use super::{
    entries::{MigrationReport, MigrationState},
    run_report::RunReport,
};
use crate::{
    fault::Stage,
    run::event::{Event, NoticeSubject},
};

/// The messages whose file has not started yet, with the file's index.
#[derive(Debug, Default)]
pub(super) struct EarlyNotices(Vec<(usize, Event)>);

impl EarlyNotices {
    /// Returns the events to report now, in order: this one, unless it is held back, and those that it releases.
    pub(super) fn put_in_order(&mut self, event: Event, report: &RunReport) -> Vec<Event> {
        match &event {
            Event::Notice { about: Some(NoticeSubject::Migration(index)), .. } if is_not_started(*index, report) => {
                self.0.push((*index, event));
                Vec::new()
            }
            // Messages precede the event that ends the file, and follow the event that starts it.
            Event::Applied { index, .. }
            | Event::Failed { index }
            | Event::Cancelled { index }
            | Event::InDoubt { index } => self.take_notices_of(*index).chain([event]).collect(),
            Event::Started(id) => {
                let its = self.take_notices_of(id.index);
                [event].into_iter().chain(its).collect()
            }
            // No file starts any more.
            Event::StageDone(Stage::Migrate) | Event::Fault(_) => {
                self.0.drain(..).map(|(_, message)| message).chain([event]).collect()
            }
            _ => vec![event],
        }
    }

    fn take_notices_of(&mut self, wanted: usize) -> impl Iterator<Item = Event> + use<> {
        let (its, others) = std::mem::take(&mut self.0).into_iter().partition(|(index, _)| *index == wanted);
        self.0 = others;
        Vec::into_iter(its).map(|(_, message)| message)
    }
}

fn is_not_started(index: usize, report: &RunReport) -> bool {
    let is_it = |entry: &&MigrationReport| entry.id.index == index;
    report.open_stage() == Some(Stage::Migrate)
        && report.migrations.iter().find(is_it).is_some_and(|entry| entry.fate == MigrationState::Pending)
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::{Code, Fault};
    use std::time::Duration;

    fn notice(index: usize) -> Event {
        Event::Notice {
            severity: "NOTICE".to_owned(),
            text: "x".to_owned(),
            about: Some(NoticeSubject::Migration(index)),
        }
    }

    /// Returns the events in reported order, for a run whose migrations 3 and 4 are planned and have not started.
    fn reported(events: &[Event]) -> Vec<Event> {
        let mut report =
            sample::report_of(&sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 300).collect());
        report.fold_event(&Event::StageStarted(Stage::Migrate), Duration::ZERO);
        let mut early = EarlyNotices::default();
        let mut reported = Vec::new();
        for event in events {
            for event in early.put_in_order(event.clone(), &report) {
                report.fold_event(&event, Duration::ZERO);
                reported.push(event);
            }
        }
        reported
    }

    #[test]
    fn a_message_waits_until_its_file_has_started() {
        let started = |index| Event::Started(sample::migration_id(index, "x"));
        let applied = |index| Event::Applied { index, took: Duration::ZERO };
        let came = [notice(3), notice(4), notice(4), started(3), notice(3), applied(3), started(4), applied(4)];
        let expected = [started(3), notice(3), notice(3), applied(3), started(4), notice(4), notice(4), applied(4)];
        assert_eq!(reported(&came), expected);
    }

    #[test]
    fn messages_of_files_that_never_start_are_reported_before_the_end() {
        let fault = Event::Fault(Fault::new(Code::Cancelled, "stopped"));
        assert_eq!(reported(&[notice(4), fault.clone()]), [notice(4), fault]);
        let failed = Event::Failed { index: 3 };
        assert_eq!(reported(&[notice(3), failed.clone()]), [notice(3), failed]);
    }

    #[test]
    fn messages_about_no_planned_migration_are_not_held_back() {
        assert_eq!(reported(&[notice(9)]), [notice(9)]);
    }
}
