//! One call of the tool: a container, what it says, how it ended.

use super::{image::Image, sibling};
use crate::{
    fault::{Code, Fault},
    postgres::Listener,
    reach::Reach,
    run::{
        event::{Event, Usage},
        program::{Output, Status},
    },
    tool::{Line, explain},
};
use futures_util::future::{Either, select};
use std::{cell::RefCell, collections::VecDeque, pin::pin, time::Instant};

/// The last lines of a tool that are kept to say why it failed.
const KEPT: usize = 200;

/// Lines of a listing; more migrations than this nobody has.
const LISTED: usize = 100_000;

/// `lock_not_available` (PostgreSQL manual, appendix A).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What was known when a call began: what was there before is not its doing.
struct Before {
    at: Instant,
    fault: Option<Fault>,
}

/// What a tool has said.
#[derive(Debug, Default)]
struct Said {
    /// On standard output: a listing is read from it.
    out: Vec<String>,
    /// The last lines on standard error.
    err: VecDeque<String>,
    /// The migration that it began last.
    begun: Option<String>,
}

impl Said {
    fn take(&mut self, output: Output<'_>) {
        match output {
            Output::Out(line) if self.out.len() < LISTED => self.out.push(line.to_owned()),
            Output::Err(line) => {
                if self.err.len() == KEPT {
                    self.err.pop_front();
                }
                self.err.push_back(line.to_owned());
            }
            Output::Out(_) | Output::Begun(_) => {}
        }
    }

    /// Why it failed stands on standard error, if it says anything there.
    fn last_words(self) -> Vec<String> {
        if self.err.is_empty() {
            let skipped = self.out.len().saturating_sub(KEPT);
            return self.out.into_iter().skip(skipped).collect();
        }
        self.err.into()
    }
}

impl Image<'_> {
    /// Starts one container with this command, tells what it says, and returns that.
    ///
    /// # Errors
    /// The fault of a tool that did not end with 0.
    pub(super) async fn call(&self, reach: &Reach, line: &Line) -> Result<Vec<String>, Fault> {
        let (engine, own, image) = self.ready()?;
        let port = match &self.listener {
            Some(listener) => listener.address().ok().map(|address| address.port()),
            None => None,
        };
        let place = sibling::Place { own, image: &image.id, port };
        let order = sibling::order(self.settings, self.containers, &place, line, &self.injected());
        let container = self.current.make(engine, order, &self.tag).await?;
        self.events.tell(Event::Calling { command: line.shown() });
        let before = Before { at: Instant::now(), fault: self.listener.as_ref().and_then(Listener::last_fault) };
        let said = RefCell::new(Said::default());
        let run = container.run(|output| self.hear(output, &said));
        let ended = self.served(reach, run).await;
        self.current.remove().await?;
        let (ended, said) = (ended?, said.into_inner());
        self.used(ended.usage);
        match ended.status {
            Status::Exited(0) => Ok(said.out),
            status => {
                let begun = said.begun.clone();
                Err(self.failure(line, status, &said.last_words(), begun.as_deref(), &before))
            }
        }
    }

    fn hear(&self, output: Output<'_>, said: &RefCell<Said>) {
        let mut said = said.borrow_mut();
        let (Output::Out(line) | Output::Err(line) | Output::Begun(line)) = output;
        if let Some(name) = self.tool.recipe.begins(line).map(|begun| begun.name)
            && said.begun.as_deref() != Some(&name)
        {
            said.begun = Some(name.clone());
            self.events.tell(Event::Begun { name });
        }
        if !matches!(output, Output::Begun(_)) {
            self.events.tell(Event::Output { line: line.to_owned() });
        }
        said.take(output);
    }

    /// Lets the work go on with the tunnel's end open.
    async fn served<T>(&self, reach: &Reach, work: impl Future<Output = T>) -> T {
        let (Some(listener), Ok(target)) = (&self.listener, self.settings.database()) else { return work.await };
        match select(pin!(work), pin!(listener.serve(reach, target))).await {
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
        self.events.tell(Event::Used(self.usage.get()));
    }

    /// The tunnel's own trouble comes before what the tool makes of it, and the server's code before the tool's words, which
    /// may be in another language.
    fn failure(&self, line: &Line, status: Status, said: &[String], begun: Option<&str>, before: &Before) -> Fault {
        let shown = line.shown();
        let trouble = self.listener.as_ref().and_then(Listener::last_fault);
        if let Some(cause) = trouble.filter(|cause| before.fault.as_ref() != Some(cause)) {
            return explain(&self.tool.recipe, &format!("`{shown}` failed"), said, begun)
                .detail
                .into_iter()
                .fold(cause, Fault::detail);
        }
        match status {
            Status::OutOfMemory => {
                Fault::new(Code::OutOfMemory, format!("`{shown}` wanted more memory than it may have"))
            }
            Status::Signalled(signal) => {
                Fault::new(Code::ToolKilled, format!("`{shown}` was ended by signal {signal}"))
            }
            // A shell's words for "not found" and "not executable" (POSIX, 2.8.2).
            Status::Exited(126 | 127) => {
                let fault = explain(&self.tool.recipe, &format!("`{shown}` can't be started"), said, begun);
                // What the recipe knows of it says better how to mend it.
                if fault.code == Code::ToolMissing { fault } else { fault.code(Code::ToolMissing) }
            }
            Status::Exited(code) => {
                let fault = explain(&self.tool.recipe, &format!("`{shown}` ended with code {code}"), said, begun);
                let error = self.listener.as_ref().and_then(Listener::last_error);
                match error.filter(|error| error.at >= before.at && error.sqlstate == LOCK_NOT_AVAILABLE) {
                    Some(error) if fault.code == Code::ToolFailed => {
                        fault.code(Code::LockTimeout).sqlstate(error.sqlstate)
                    }
                    _ => fault,
                }
            }
        }
    }
}
