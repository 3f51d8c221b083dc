//! The one place where work races against what can end it, and where every event passes on its way to the report.

use super::{
    event::Event,
    stop::{Signals, Stop},
};
use std::{pin::pin, time::Duration};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};

/// How work ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself.
    Done(T),
    /// Its future was dropped. Dropping is not stopping: whoever owns the work must stop it now.
    Stopped(Stop),
}

/// Watches over the run's work, one piece after the other.
pub struct Watch<S> {
    events: UnboundedReceiver<Event>,
    signals: Signals,
    deadline: Instant,
    sink: S,
}

impl<S: FnMut(Event)> Watch<S> {
    /// `timeout` counts from now; `sink` is told every event, in order.
    pub fn new(events: UnboundedReceiver<Event>, signals: Signals, timeout: Duration, sink: S) -> Self {
        Self { events, signals, deadline: Instant::now() + timeout, sink }
    }

    /// Lets the work run until it ends or must end.
    pub async fn over<T>(&mut self, work: impl Future<Output = T>) -> Ended<T> {
        let mut work = pin!(work);
        let ended = loop {
            tokio::select! {
                biased;
                _ = self.signals.interrupt.recv() => break Ended::Stopped(Stop::Signal("SIGINT")),
                _ = self.signals.terminate.recv() => break Ended::Stopped(Stop::Signal("SIGTERM")),
                () = sleep_until(self.deadline) => break Ended::Stopped(Stop::Timeout),
                Some(event) = self.events.recv() => (self.sink)(event),
                done = &mut work => break Ended::Done(done),
            }
        };
        self.drain();
        ended
    }

    /// Lets the work that stops the run go on for so long at most. A further signal changes nothing: the time is short
    /// already, and a stop that is cut off knows less of what was committed.
    pub async fn within<T>(&mut self, budget: Duration, work: impl Future<Output = T>) -> Option<T> {
        let done = timeout(budget, work).await.ok();
        self.drain();
        done
    }

    /// Passes on what has been told and not been heard yet.
    pub fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            (self.sink)(event);
        }
    }
}

impl<S> std::fmt::Debug for Watch<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Events;
    use std::{future::pending, sync::Mutex};

    fn watch<'a>(timeout: Duration, told: &'a Mutex<Vec<Event>>) -> (Events, Watch<impl FnMut(Event) + 'a>) {
        let (events, receiver) = Events::channel();
        let sink = |event| told.lock().expect("no panic while held").push(event);
        (events, Watch::new(receiver, Signals::install().expect("handlers"), timeout, sink))
    }

    #[tokio::test(start_paused = true)]
    async fn tells_the_events_of_work_that_ends() {
        let told = Mutex::new(Vec::new());
        let (events, mut watch) = watch(Duration::from_secs(1), &told);
        let work = async {
            events.note("one");
            7
        };
        assert!(matches!(watch.over(work).await, Ended::Done(7)));
        assert_eq!(*told.lock().unwrap(), [Event::Note("one".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_work_that_takes_too_long_and_keeps_its_events() {
        let told = Mutex::new(Vec::new());
        let (events, mut watch) = watch(Duration::from_secs(1), &told);
        let work = async {
            events.note("one");
            pending::<()>().await;
        };
        assert!(matches!(watch.over(work).await, Ended::Stopped(Stop::Timeout)));
        assert_eq!(told.lock().unwrap().len(), 1);
    }
}
