//! A program on the server: its standard input and output, its standard error, its end.

use super::stream::{self, Local, PIPE, Stream};
use crate::fault::{Code, Fault};
use futures_util::future::{Either, select};
use std::pin::pin;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::{oneshot, watch},
};

/// The news of one hop's end.
pub(super) type News = watch::Receiver<Option<Fault>>;

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// How a program on the server ended, as the server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this code. A server that closes the channel without a word says 0, too, as far as libssh2 tells: who must know
    /// has the program say so itself.
    Exited(i32),
    /// By this signal, without `SIG` (RFC 4254, 6.10).
    Signalled(String),
}

/// What a program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// On standard output.
    Out(&'a [u8]),
    /// On standard error.
    Err(&'a [u8]),
}

/// A program on the server. Dropping it closes its channel, and no other; what that means to the program is its own affair.
#[derive(Debug)]
pub struct Process {
    /// Writing is its standard input, and shutting down the end of that; reading is its standard output.
    pub stdio: Stream,
    /// Its standard error.
    pub stderr: DuplexStream,
    pub(super) ended: oneshot::Receiver<End>,
    /// Of every hop, in order.
    lost: Vec<News>,
}

/// The pump's end of what a program has and a forwarded connection has not.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) errors: DuplexStream,
    pub(super) ended: oneshot::Sender<End>,
}

/// Both ends.
pub(super) fn pair(lost: Vec<News>) -> (Local, Far, Process) {
    let (local, stdio) = stream::pair();
    let (errors, stderr) = duplex(PIPE);
    let (tell, ended) = oneshot::channel();
    (local, Far { errors, ended: tell }, Process { stdio, stderr, ended, lost })
}

impl Process {
    /// Gives it all of its input, hears all that it says, and returns how it ended. A program that does not read its input
    /// to the end may do so.
    ///
    /// # Errors
    /// The connection's own fault, when that is lost before the end is known.
    pub async fn converse(self, input: &[u8], mut hear: impl FnMut(Piece<'_>)) -> Result<End, Fault> {
        let Self { stdio, mut stderr, ended, lost } = self;
        let (mut out, mut into) = split(stdio);
        let writing = async {
            // Who does not read says why in another way.
            drop(into.write_all(input).await);
            drop(into.shutdown().await);
        };
        let reading = async {
            let (mut said, mut complained) = (vec![0; PIECE], vec![0; PIECE]);
            let (mut out_open, mut err_open) = (true, true);
            while out_open || err_open {
                let on_out = pin!(read(&mut out, &mut said, out_open));
                let on_err = pin!(read(&mut stderr, &mut complained, err_open));
                match select(on_out, on_err).await {
                    Either::Left((bytes, _)) => {
                        out_open = !bytes.is_empty();
                        hear(Piece::Out(bytes));
                    }
                    Either::Right((bytes, _)) => {
                        err_open = !bytes.is_empty();
                        hear(Piece::Err(bytes));
                    }
                }
            }
        };
        // What the program reads, if it does not read all, is not waited for.
        let all = async {
            match select(pin!(writing), pin!(reading)).await {
                Either::Left(((), reading)) => reading.await,
                Either::Right(((), _)) => {}
            }
        };
        all.await;
        end(ended, lost).await
    }
}

/// The next piece, empty at the end; a stream that has ended says nothing ever again.
async fn read<'a>(stream: &mut (impl tokio::io::AsyncRead + Unpin), into: &'a mut [u8], open: bool) -> &'a [u8] {
    if !open {
        return std::future::pending().await;
    }
    // A pipe in memory does not fail.
    let count = stream.read(into).await.unwrap_or_default();
    into.get(..count).unwrap_or_default()
}

async fn end(ended: oneshot::Receiver<End>, mut lost: Vec<News>) -> Result<End, Fault> {
    if let Ok(end) = ended.await {
        return Ok(end);
    }
    // The pump tells its fault before its channels go.
    let fault = lost.iter_mut().find_map(|news| news.borrow_and_update().clone());
    Err(fault.unwrap_or_else(|| Fault::new(Code::BastionLost, "the connection was closed while a program still ran")))
}
