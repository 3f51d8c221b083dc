//! A program on the server: its standard input, standard output, standard error and exit.

use super::stream::{self, ChannelStream, LocalEnd, PIPE_CAPACITY};
use crate::{
    fault::{Code, Fault},
    run::process::{FollowOutput, OutputChunk},
};
use futures_util::future::{Either, select};
use std::pin::pin;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::{oneshot, watch},
};

/// Resolves to the fault of one hop when its connection is lost.
pub(super) type LossWatch = watch::Receiver<Option<Fault>>;

/// Size of one read.
const CHUNK_SIZE: usize = 16 << 10;

/// The end of a program, as the server reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessExit {
    /// Exited with this code. libssh2 returns 0 as well when the server closes the channel without a status: a caller
    /// that must distinguish the two lets the program print its status.
    Exited(i32),
    /// Ended by this signal, without `SIG` (RFC 4254, 6.10).
    Signalled(String),
}

/// A program on the server. Dropping it closes its channel and no other; whether the program ends with it is up to the
/// program.
#[derive(Debug)]
pub struct RemoteProcess {
    /// Standard input when written to (shutting down ends it), standard output when read.
    pub stdio: ChannelStream,
    /// Standard error of the program.
    pub stderr: DuplexStream,
    pub(super) exit: oneshot::Receiver<ProcessExit>,
    /// One for every hop, in order.
    loss_watches: Vec<LossWatch>,
}

/// The driver's end of a program's extra streams, which a forwarded connection does not have.
#[derive(Debug)]
pub(super) struct ProgramPipes {
    pub(super) stderr: DuplexStream,
    pub(super) exit: oneshot::Sender<ProcessExit>,
}

/// Creates both ends.
pub(super) fn process_pair(loss_watches: Vec<LossWatch>) -> (LocalEnd, ProgramPipes, RemoteProcess) {
    let (local, stdio) = stream::stream_pair();
    let (stderr_writer, stderr) = duplex(PIPE_CAPACITY);
    let (exit_sender, exit) = oneshot::channel();
    (
        local,
        ProgramPipes { stderr: stderr_writer, exit: exit_sender },
        RemoteProcess { stdio, stderr, exit, loss_watches },
    )
}

impl RemoteProcess {
    /// Writes the input, passes all output to `on_output`, and returns the program's exit. The program need not read
    /// its input to the end.
    ///
    /// # Errors
    /// The connection's own fault, if it is lost before the exit is known.
    pub async fn run_with_input(
        self,
        input: &[u8],
        mut on_output: impl FnMut(OutputChunk<'_>),
    ) -> Result<ProcessExit, Fault> {
        let Self { stdio, mut stderr, exit, loss_watches } = self;
        let (mut out, mut into) = split(stdio);
        let writing = async {
            // A program that stops reading explains itself by its output or exit.
            drop(into.write_all(input).await);
            drop(into.shutdown().await);
        };
        let reading = async {
            let mut output = ProcessOutput::new(&mut out, &mut stderr);
            while let Some(chunk) = output.next().await {
                on_output(chunk);
            }
        };
        // Input that the program never reads is not waited for.
        let all = async {
            match select(pin!(writing), pin!(reading)).await {
                Either::Left(((), reading)) => reading.await,
                Either::Right(((), _)) => {}
            }
        };
        all.await;
        exit_or_loss(exit, loss_watches).await
    }

    /// Writes a part of the input, which stays open. A program that stops reading explains itself by its output or exit.
    pub async fn write_input(&mut self, input: &[u8]) {
        drop(self.stdio.write_all(input).await);
        drop(self.stdio.flush().await);
    }

    /// Ends the input.
    pub async fn end_input(&mut self) {
        drop(self.stdio.shutdown().await);
    }

    /// Passes output to `on_output` until it stops, or until both outputs have ended.
    pub async fn follow_output(&mut self, mut on_output: impl FnMut(OutputChunk<'_>) -> FollowOutput) -> FollowOutput {
        let mut output = ProcessOutput::new(&mut self.stdio, &mut self.stderr);
        while let Some(chunk) = output.next().await {
            if on_output(chunk) == FollowOutput::Stop {
                return FollowOutput::Stop;
            }
        }
        FollowOutput::Continue
    }

    /// Waits for the exit, after both outputs have ended.
    ///
    /// # Errors
    /// The connection's own fault, if it is lost before the exit is known.
    pub async fn wait_for_exit(self) -> Result<ProcessExit, Fault> {
        exit_or_loss(self.exit, self.loss_watches).await
    }

    /// Writes the input and keeps it open until the program ends, so that the program meets its end only if the
    /// connection is lost or this future is dropped. Passes all output to `on_output`, which is awaited before more is
    /// read, and returns the program's exit.
    ///
    /// # Errors
    /// The fault of `on_output`; the connection's own fault, if it is lost before the exit is known.
    pub async fn stream_with_open_input(
        self,
        input: &[u8],
        mut on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ProcessExit, Fault> {
        let Self { stdio, mut stderr, exit, loss_watches } = self;
        let (mut out, mut into) = split(stdio);
        // A program that stops reading explains itself by its output or exit.
        drop(into.write_all(input).await);
        let mut output = ProcessOutput::new(&mut out, &mut stderr);
        while let Some(chunk) = output.next().await {
            on_output(chunk).await?;
        }
        exit_or_loss(exit, loss_watches).await
    }
}

/// Both outputs of a program, read as they come.
struct ProcessOutput<'s, O, E> {
    out: &'s mut O,
    err: &'s mut E,
    /// Set until the end of each.
    is_open: (bool, bool),
    buffers: (Vec<u8>, Vec<u8>),
}

impl<'s, O: AsyncRead + Unpin, E: AsyncRead + Unpin> ProcessOutput<'s, O, E> {
    fn new(out: &'s mut O, err: &'s mut E) -> Self {
        Self { out, err, is_open: (true, true), buffers: (vec![0; CHUNK_SIZE], vec![0; CHUNK_SIZE]) }
    }

    /// Returns the next chunk, empty at the end of its output; `None` at the end of both.
    async fn next(&mut self) -> Option<OutputChunk<'_>> {
        if self.is_open == (false, false) {
            return None;
        }
        let on_out = pin!(read_chunk(self.out, &mut self.buffers.0, self.is_open.0));
        let on_err = pin!(read_chunk(self.err, &mut self.buffers.1, self.is_open.1));
        Some(match select(on_out, on_err).await {
            Either::Left((bytes, _)) => {
                self.is_open.0 = !bytes.is_empty();
                OutputChunk::Stdout(bytes)
            }
            Either::Right((bytes, _)) => {
                self.is_open.1 = !bytes.is_empty();
                OutputChunk::Stderr(bytes)
            }
        })
    }
}

/// Reads the next chunk, empty at the end; a stream that has ended never resolves again.
async fn read_chunk<'a>(stream: &mut (impl AsyncRead + Unpin), into: &'a mut [u8], open: bool) -> &'a [u8] {
    if !open {
        return std::future::pending().await;
    }
    // A pipe in memory cannot fail.
    let count = stream.read(into).await.unwrap_or_default();
    into.get(..count).unwrap_or_default()
}

async fn exit_or_loss(
    exit: oneshot::Receiver<ProcessExit>,
    mut loss_watches: Vec<LossWatch>,
) -> Result<ProcessExit, Fault> {
    if let Ok(end) = exit.await {
        return Ok(end);
    }
    // The driver publishes its fault before it drops its channels.
    let fault = loss_watches.iter_mut().find_map(|watch| watch.borrow_and_update().clone());
    Err(fault.unwrap_or_else(|| Fault::new(Code::BastionLost, "the connection was closed while a program still ran")))
}
