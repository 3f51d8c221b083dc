//! Relays a session of a stand-in, one request after the other: the next one waits until the server has answered the last.
//! In between, queries of a watch run in the same session, and their answers never reach the client.

use super::{
    backend_event::{BackendEvent, MAX_KEPT},
    sent_statements::{MAX_READ, opening_text},
    server_answer::{MAX_ROWS, ProbeRows, status_byte},
    session_watch::{Exchange, ProbeMoment, WatchSlot},
    stats::ProxyStats,
    watched_session::{AnswerStep, Phase, SessionState},
};
use crate::postgres::{
    FramePart, MessageFramer, backend_messages as backend, frontend_messages as frontend,
    wire_format::{encode_header, encode_message},
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::{Mutex as AsyncMutex, Notify},
    try_join,
};

/// Bytes copied at once.
const BUFFER_SIZE: usize = 64 << 10;

/// Relays until both sides have ended, or one is gone.
pub(super) async fn relay_watched<C, S>(client: &mut C, server: S, watch: &WatchSlot, stats: &ProxyStats)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let session = WatchedSession {
        state: Mutex::default(),
        turn: Notify::new(),
        to_server: AsyncMutex::new(to_server),
        watch,
        stats,
    };
    // The error means that one side is gone: nothing is left to report to, and dropping the streams ends both.
    drop(try_join!(session.copy_to_server(from_client), session.copy_to_client(from_server, to_client)));
}

/// A session, and its state that both directions share.
struct WatchedSession<'a, S> {
    state: Mutex<SessionState>,
    /// Notified when an answer is complete.
    turn: Notify,
    to_server: AsyncMutex<WriteHalf<S>>,
    watch: &'a WatchSlot,
    stats: &'a ProxyStats,
}

/// When a message of the server goes on to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwarding {
    /// As it comes.
    AtOnce,
    /// At its end, unless it is a report for us.
    AtItsEnd,
    /// Never, as it answers a query of ours, or it ends an answer, which may have to wait.
    NotAsSuch,
}

/// A message of the client that is not sent yet.
struct HeldMessage {
    kind: u8,
    length: usize,
    body: Vec<u8>,
    is_sent: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WatchedSession<'_, S> {
    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn copy_to_server(&self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        let (mut buffer, mut frames) = (vec![0; BUFFER_SIZE], MessageFramer::new());
        let mut message: Option<HeldMessage> = None;
        loop {
            let length = from.read(&mut buffer).await?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            self.stats.update_traffic(|traffic| traffic.sent += length as u64);
            while let Some(part) = frames.next_part(&mut rest) {
                let (chunk, is_end) = match part {
                    FramePart::Header(kind, length) => {
                        message = Some(HeldMessage { kind, length, body: Vec::new(), is_sent: false });
                        continue;
                    }
                    FramePart::Body(chunk) => (chunk, false),
                    FramePart::BodyEnd(chunk) => (chunk, true),
                    // A client that sends something else is not served any further.
                    FramePart::Invalid => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                };
                let Some(held) = &mut message else { continue };
                if held.is_sent {
                    self.to_server.lock().await.write_all(chunk).await?;
                } else {
                    held.body.extend_from_slice(chunk);
                    if is_end || held.body.len() >= MAX_READ {
                        self.begin_message(held).await?;
                        (held.is_sent, held.body) = (true, Vec::new());
                    }
                }
            }
            self.to_server.lock().await.flush().await?;
        }
        self.to_server.lock().await.shutdown().await
    }

    /// Sends a message, once it is its turn.
    async fn begin_message(&self, held: &HeldMessage) -> io::Result<()> {
        let begins = self.state().requests.0.begin_message(held.kind).is_some();
        if begins {
            self.wait_for_turn().await;
            let watch = self.watch.get();
            if let (Some(watch), Some(text)) = (&watch, opening_text(held.kind, &held.body)) {
                let moment = |state: &SessionState| {
                    let (session, transaction) = (state.pid, state.transaction);
                    (watch.probe)(ProbeMoment::Before { session, text: &text, transaction })
                };
                let probe = moment(&self.state());
                if let Some(sql) = probe {
                    self.state().phase = Phase::ProbeBefore(ProbeRows::default());
                    self.send_query(&sql).await?;
                    self.wait_for_turn().await;
                }
            }
            let mut state = self.state();
            let before = std::mem::take(&mut state.exchange).before;
            let (session, transaction) = (state.pid, [state.transaction; 2]);
            state.exchange = Exchange { session, transaction, before, ..Exchange::default() };
            (state.phase, state.began) = (Phase::Request, Some(Instant::now()));
        }
        {
            let mut state = self.state();
            let sent = state.prepared.take_message(held.kind, &held.body);
            sent.into_iter().for_each(|sent| state.exchange.add(sent));
        }
        let mut to_server = self.to_server.lock().await;
        to_server.write_all(&encode_header(held.kind, held.length)).await?;
        to_server.write_all(&held.body).await
    }

    async fn send_query(&self, sql: &str) -> io::Result<()> {
        let mut to_server = self.to_server.lock().await;
        to_server.write_all(&encode_message(frontend::QUERY, format!("{sql}\0").as_bytes())).await?;
        to_server.flush().await
    }

    /// Waits until the server works on no request.
    async fn wait_for_turn(&self) {
        loop {
            let turn = self.turn.notified();
            if matches!(self.state().phase, Phase::Idle) {
                return;
            }
            turn.await;
        }
    }

    fn forwarding_of(&self, kind: u8, length: usize) -> Forwarding {
        if kind == backend::READY_FOR_QUERY || self.state().is_of_probe(kind) {
            Forwarding::NotAsSuch
        } else if kind == backend::NOTICE_RESPONSE && length <= MAX_KEPT {
            Forwarding::AtItsEnd
        } else {
            Forwarding::AtOnce
        }
    }

    async fn copy_to_client(&self, mut from: ReadHalf<S>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let (mut buffer, mut frames, mut backend_entry) = (vec![0; BUFFER_SIZE], MessageFramer::new(), None);
        let (mut kind, mut body, mut forwarding) = (0, Vec::new(), Forwarding::AtOnce);
        loop {
            // An error is an end, too: TLS reports one if the server's process has gone without closing it.
            let length = from.read(&mut buffer).await.unwrap_or_default();
            let mut rest = buffer.get(..length).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            self.stats.update_traffic(|traffic| traffic.received += length as u64);
            self.stats.record_response();
            let mut out = Vec::with_capacity(length);
            while let Some(part) = frames.next_part(&mut rest) {
                let (chunk, is_end) = match part {
                    FramePart::Header(found, length) => {
                        (kind, body, forwarding) = (found, Vec::new(), self.forwarding_of(found, length));
                        if forwarding == Forwarding::AtOnce {
                            out.extend(encode_header(kind, length));
                        }
                        continue;
                    }
                    FramePart::Body(chunk) => (chunk, false),
                    FramePart::BodyEnd(chunk) => (chunk, true),
                    FramePart::Invalid => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                };
                if forwarding == Forwarding::AtOnce {
                    out.extend_from_slice(chunk);
                }
                let room =
                    if forwarding == Forwarding::NotAsSuch { MAX_ROWS } else { MAX_KEPT }.saturating_sub(body.len());
                body.extend(chunk.iter().take(room));
                if !is_end {
                    continue;
                }
                if forwarding == Forwarding::AtItsEnd {
                    if self.state().take_report(&body) {
                        continue;
                    }
                    out.extend(encode_message(kind, &body));
                }
                let event = BackendEvent::from_message(kind, &body).filter(|_| forwarding != Forwarding::NotAsSuch);
                event.into_iter().for_each(|event| self.stats.record_event(event, &mut backend_entry));
                let step = self.state().take_message(kind, &body, self.watch);
                match step {
                    AnswerStep::Continue => {}
                    AnswerStep::Turn => self.turn.notify_waiters(),
                    AnswerStep::Ready => {
                        out.extend(encode_message(kind, &[status_byte(self.state().transaction)]));
                        // The client may send its next request as soon as it has this.
                        write_and_flush(&mut to, &out).await?;
                        out.clear();
                        self.turn.notify_waiters();
                    }
                    AnswerStep::Probe(sql) => {
                        write_and_flush(&mut to, &out).await?;
                        out.clear();
                        self.send_query(&sql).await?;
                    }
                }
            }
            write_and_flush(&mut to, &out).await?;
        }
        drop(backend_entry);
        to.shutdown().await?;
        // The other direction may wait for a turn that never comes.
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

async fn write_and_flush(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
