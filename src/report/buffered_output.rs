//! An output stream whose reader may stall: output is queued in memory, and a separate thread writes it. A stalled
//! reader blocks nothing else, in particular no cancel.

use crate::run::backpressure::LogFlow;
use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::Builder,
};

/// Maximum number of bytes per write.
const WRITE_SIZE: usize = 64 << 10;

/// The end that is written to. Writes never block; `flow` counts the queued bytes.
#[derive(Debug)]
pub(super) struct BufferedOutput {
    shared: Arc<SharedOutput>,
    flow: LogFlow,
}

#[derive(Debug, Default)]
struct SharedOutput {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OutputState {
    unwritten: Vec<u8>,
    status: OutputStatus,
}

/// State of the two ends.
#[derive(Debug, Default, PartialEq, Eq)]
enum OutputStatus {
    #[default]
    Open,
    /// The [`BufferedOutput`] was dropped: nothing more is queued.
    WriterDropped,
    /// Writing failed: the output is not read any more.
    ReaderGone,
}

impl BufferedOutput {
    /// Starts a thread that writes to this stream. The thread ends when the returned value is dropped and everything is
    /// written; if the reader stalls, it ends only with the process.
    ///
    /// # Errors
    /// The error of the system if no thread can be started.
    pub(super) fn spawn_writer(to: impl Write + Send + 'static, flow: LogFlow) -> io::Result<Self> {
        let shared = Arc::new(SharedOutput::default());
        let (far, written) = (Arc::clone(&shared), flow.clone());
        Builder::new().name("log".to_owned()).spawn(move || far.write_until_closed(to, &written))?;
        Ok(Self { shared, flow })
    }
}

impl Write for BufferedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock_state();
        if state.status == OutputStatus::ReaderGone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.unwritten.extend_from_slice(bytes);
        // Counted before the thread can write them.
        self.flow.add_unwritten(bytes.len());
        drop(state);
        self.shared.changed.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BufferedOutput {
    fn drop(&mut self) {
        self.shared.lock_state().status = OutputStatus::WriterDropped;
        self.shared.changed.notify_one();
    }
}

impl SharedOutput {
    fn write_until_closed(&self, mut to: impl Write, flow: &LogFlow) {
        while let Some(text) = self.next_bytes() {
            let mut left = text.len();
            for piece in text.chunks(WRITE_SIZE) {
                if to.write_all(piece).and_then(|()| to.flush()).is_err() {
                    self.discard_unwritten(left, flow);
                    return;
                }
                left -= piece.len();
                flow.remove_unwritten(piece.len());
            }
        }
    }

    /// Waits for queued bytes and takes them; returns `None` at the end.
    fn next_bytes(&self) -> Option<Vec<u8>> {
        let empty = |state: &mut OutputState| state.unwritten.is_empty() && state.status == OutputStatus::Open;
        let waited = self.changed.wait_while(self.lock_state(), empty);
        let text = std::mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).unwritten);
        (!text.is_empty()).then_some(text)
    }

    /// Drops everything that is queued, after a write failed.
    fn discard_unwritten(&self, left: usize, flow: &LogFlow) {
        let mut state = self.lock_state();
        state.status = OutputStatus::ReaderGone;
        let left = left + std::mem::take(&mut state.unwritten).len();
        drop(state);
        flow.remove_unwritten(left);
    }

    fn lock_state(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead as _, BufReader},
        time::Duration,
    };
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn output_that_is_read_late_arrives_complete_and_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let flow = LogFlow::default();
        let mut outlet = BufferedOutput::spawn_writer(writer, flow.clone()).unwrap();
        for number in 0..100_000 {
            writeln!(outlet, "line {number}").unwrap();
        }
        assert!(timeout(Duration::from_millis(1), flow.wait_until_written()).await.is_err(), "the pipe is full");
        let reading = tokio::task::spawn_blocking(move || BufReader::new(reader).lines().map(Result::unwrap).collect());
        timeout(PATIENCE, flow.wait_until_written()).await.unwrap();
        drop(outlet);
        let read: Vec<String> = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(read.len() == 100_000 && read.iter().enumerate().all(|(at, line)| *line == format!("line {at}")));
    }

    #[tokio::test]
    async fn output_is_discarded_once_the_reader_is_gone() {
        let (reader, writer) = io::pipe().unwrap();
        let flow = LogFlow::default();
        let mut outlet = BufferedOutput::spawn_writer(writer, flow.clone()).unwrap();
        outlet.write_all(&[b'x'; 1 << 20]).unwrap();
        drop(reader);
        timeout(PATIENCE, flow.wait_until_written()).await.unwrap();
        assert!(outlet.write_all(b"x").is_err());
    }
}
