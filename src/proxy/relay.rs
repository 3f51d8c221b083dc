//! Relays the bytes of one session in both directions until both sides have ended. Each direction is shut down on its
//! own: a side that has sent everything may still wait for the response.

use super::{error_response, lock_timeout::LockTimeoutSwitch, session_recorder::SessionRecorder, stats::ProxyStats};
use crate::fault::Fault;
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    try_join,
};

/// Bytes copied at once, as many as the pipe to an SSH channel holds.
const BUFFER_SIZE: usize = 64 << 10;

/// Relays until both sides have ended, or the client is gone. `loss_fault` returns the fault of the broken transport,
/// if any.
pub(crate) async fn relay_streams(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: impl AsyncRead + AsyncWrite,
    (recorder, switch): (SessionRecorder, LockTimeoutSwitch),
    stats: &ProxyStats,
    loss_fault: impl Fn() -> Option<Fault>,
) {
    let switch = Mutex::new(switch);
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let up = copy_to_server(from_client, to_server, &switch, stats);
    let down = copy_to_client(from_server, to_client, ServerSide { recorder, switch: &switch, stats, loss_fault });
    // The error means that the client is gone: nothing is left to report to, and dropping the stream ends its backend.
    drop(try_join!(up, down));
}

struct ServerSide<'a, L> {
    recorder: SessionRecorder,
    switch: &'a Mutex<LockTimeoutSwitch>,
    stats: &'a ProxyStats,
    loss_fault: L,
}

/// Fails if the client is gone, but not if the server is: its last bytes must still be read.
async fn copy_to_server(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    switch: &Mutex<LockTimeoutSwitch>,
    stats: &ProxyStats,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut is_open = true;
    loop {
        let length = from.read(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if is_open {
            stats.update_traffic(|traffic| traffic.sent += bytes.len() as u64);
            let passed = lock_switch(switch).pass_to_server(bytes);
            is_open = write_and_flush(&mut to, &passed).await.is_ok();
        }
    }
    let held_back = lock_switch(switch).take_held();
    if is_open && !held_back.is_empty() {
        drop(write_and_flush(&mut to, &held_back).await);
    }
    // A server that is gone needs no shutdown.
    drop(to.shutdown().await);
    Ok(())
}

async fn copy_to_client<L: Fn() -> Option<Fault>>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    session: ServerSide<'_, L>,
) -> io::Result<()> {
    let ServerSide { mut recorder, switch, stats, loss_fault } = session;
    let mut backend = None;
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        // An error is an end, too: TLS reports one if the server's process has gone without closing it.
        let length = from.read(&mut buffer).await.unwrap_or_default();
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        stats.update_traffic(|traffic| traffic.received += bytes.len() as u64);
        // The last bytes of a client's own TLS are its good-bye, whenever that is.
        if recorder.is_parsing() {
            stats.record_response();
        }
        let passed = recorder.pass_through(bytes, &mut |event| stats.record_event(event, &mut backend));
        let passed = lock_switch(switch).pass_to_client(&passed);
        write_and_flush(&mut to, &passed).await?;
    }
    drop(backend);
    match loss_fault() {
        None => write_and_flush(&mut to, &recorder.into_held_back()).await?,
        Some(fault) => {
            let error_packet =
                if recorder.is_at_boundary() { error_response::connection_failure(&fault) } else { Vec::new() };
            stats.record_fault(fault);
            write_and_flush(&mut to, &error_packet).await?;
        }
    }
    to.shutdown().await
}

fn lock_switch(switch: &Mutex<LockTimeoutSwitch>) -> MutexGuard<'_, LockTimeoutSwitch> {
    switch.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write_and_flush(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
