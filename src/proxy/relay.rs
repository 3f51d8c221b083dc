//! Relays the bytes of one session in both directions until both sides have ended. Each direction is shut down on its
//! own: a side that has sent everything may still wait for the response.

use super::{lock_timeout::Lift, startup_packet, stats::Record};
use crate::{fault::Fault, postgres::Messages};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::TcpStream,
    try_join,
};

/// Bytes copied at once, as many as the pipe to an SSH channel holds.
const CHUNK: usize = 64 << 10;

/// Relays until both sides have ended, or the client is gone. `lost` returns the fault of the broken transport, if any.
pub(crate) async fn relay(
    client: &mut TcpStream,
    server: impl AsyncRead + AsyncWrite,
    (messages, lift): (Messages, Lift),
    record: &Record,
    lost: impl Fn() -> Option<Fault>,
) {
    let lift = Mutex::new(lift);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = split(server);
    let up = up(from_client, to_server, &lift, record);
    let down = down(from_server, to_client, Session { messages, lift: &lift, record, lost });
    // The error means that the client is gone: nothing is left to report to, and dropping the stream ends its backend.
    drop(try_join!(up, down));
}

struct Session<'a, L> {
    messages: Messages,
    lift: &'a Mutex<Lift>,
    record: &'a Record,
    lost: L,
}

/// Fails if the client is gone, but not if the server is: its last bytes must still be read.
async fn up(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    lift: &Mutex<Lift>,
    record: &Record,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut is_heard = true;
    loop {
        let length = from.read(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if is_heard {
            record.count(|traffic| traffic.sent += bytes.len() as u64);
            let passed = locked(lift).up(bytes);
            is_heard = write(&mut to, &passed).await.is_ok();
        }
    }
    let held = locked(lift).held();
    if is_heard && !held.is_empty() {
        drop(write(&mut to, &held).await);
    }
    // A server that is gone needs no shutdown.
    drop(to.shutdown().await);
    Ok(())
}

async fn down<L: Fn() -> Option<Fault>>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    session: Session<'_, L>,
) -> io::Result<()> {
    let Session { mut messages, lift, record, lost } = session;
    let mut backend = None;
    let mut buffer = vec![0; CHUNK];
    loop {
        // An error is an end, too: TLS reports one if the server's process has gone without closing it.
        let length = from.read(&mut buffer).await.unwrap_or_default();
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        record.count(|traffic| traffic.received += bytes.len() as u64);
        // The last bytes of a client's own TLS are its good-bye, whenever that is.
        if messages.sees() {
            record.answer();
        }
        let passed = messages.pass(bytes, &mut |heard| record.hear(heard, &mut backend));
        let passed = locked(lift).down(&passed);
        write(&mut to, &passed).await?;
    }
    drop(backend);
    match lost() {
        None => write(&mut to, &messages.held()).await?,
        Some(fault) => {
            let farewell = if messages.is_between() { startup_packet::broken(&fault) } else { Vec::new() };
            record.fault(fault);
            write(&mut to, &farewell).await?;
        }
    }
    to.shutdown().await
}

fn locked(lift: &Mutex<Lift>) -> MutexGuard<'_, Lift> {
    lift.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
