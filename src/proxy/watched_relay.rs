//! Relays a session of a stand-in, one request after the other: the next one waits until the server has answered the last.
//! In between, queries of a watch run in the same session, and their answers never reach the client.

use super::{
    backend_event::{BackendEvent, MAX_KEPT},
    sent_statements::{MAX_READ, PreparedStatements, opening_text},
    session_watch::{Exchange, ProbeMoment, SessionWatch, TransactionState},
    stand_in::StandIn,
    stats::ProxyStats,
};
use crate::postgres::{
    FramePart, MessageFramer, Rows, backend_messages as backend,
    client_requests::ClientRequests,
    error_fields::{ErrorFieldReader, FieldPart, MESSAGE, SEVERITY},
    frontend_messages as frontend,
    wire_format::{encode_header, encode_message, split_c_string},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::{Mutex as AsyncMutex, Notify},
    try_join,
};

/// Bytes copied at once.
const BUFFER_SIZE: usize = 64 << 10;

/// The most messages of the server that are kept of one exchange, and the most bytes of the rows of a query of ours.
const MAX_NOTICES: usize = 3;
const MAX_ROWS: usize = 64 << 20;

/// Relays until both sides have ended, or one is gone.
pub(super) async fn relay_watched<C, S>(client: &mut C, server: S, stand_in: &StandIn, stats: &ProxyStats)
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
        stand_in,
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
    stand_in: &'a StandIn,
    stats: &'a ProxyStats,
}

#[derive(Debug, Default)]
struct SessionState {
    pid: i32,
    requests: Requests,
    prepared: PreparedStatements,
    transaction: TransactionState,
    phase: Phase,
    exchange: Exchange,
    began: Option<Instant>,
}

/// The requests of the client; a wrapper for the start before the first of them.
#[derive(Debug)]
struct Requests(ClientRequests);

impl Default for Requests {
    fn default() -> Self {
        Self(ClientRequests::new())
    }
}

/// The request that the server works on.
#[derive(Debug, Default)]
enum Phase {
    /// There is none.
    #[default]
    Idle,
    /// One of the client.
    Request,
    /// A query of ours before one of the client.
    ProbeBefore(ProbeRows),
    /// A query of ours after one of the client, whose `ReadyForQuery` is held back.
    ProbeAfter(ProbeRows, Arc<SessionWatch>),
}

/// The rows of a query of ours.
#[derive(Debug, Default)]
struct ProbeRows {
    rows: Vec<Vec<Option<String>>>,
    bytes: usize,
}

/// What is to be done after a message of the server.
enum Next {
    /// Nothing more.
    Continue,
    /// The client's request is answered: its `ReadyForQuery` goes on to it.
    Ready,
    /// A query of ours before a request is answered.
    Turn,
    /// A query of ours has to be sent.
    Probe(String),
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
            let watch = self.stand_in.watch();
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
            state.exchange.statements.extend(sent);
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

    async fn copy_to_client(&self, mut from: ReadHalf<S>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let (mut buffer, mut frames, mut backend_entry) = (vec![0; BUFFER_SIZE], MessageFramer::new(), None);
        let (mut kind, mut body, mut passes) = (0, Vec::new(), true);
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
                        (kind, body) = (found, Vec::new());
                        passes = kind != backend::READY_FOR_QUERY && !self.is_of_probe(kind);
                        if passes {
                            out.extend(encode_header(kind, length));
                        }
                        continue;
                    }
                    FramePart::Body(chunk) => (chunk, false),
                    FramePart::BodyEnd(chunk) => (chunk, true),
                    FramePart::Invalid => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                };
                if passes {
                    out.extend_from_slice(chunk);
                }
                let room = if passes { MAX_KEPT } else { MAX_ROWS }.saturating_sub(body.len());
                body.extend(chunk.iter().take(room));
                if !is_end {
                    continue;
                }
                let event = BackendEvent::from_message(kind, &body).filter(|_| passes);
                event.into_iter().for_each(|event| self.stats.record_event(event, &mut backend_entry));
                match self.take_message(kind, &body) {
                    Next::Continue => {}
                    Next::Turn => self.turn.notify_waiters(),
                    Next::Ready => {
                        out.extend(encode_message(kind, &[status_byte(self.state().transaction)]));
                        // The client may send its next request as soon as it has this.
                        write_and_flush(&mut to, &out).await?;
                        out.clear();
                        self.turn.notify_waiters();
                    }
                    Next::Probe(sql) => {
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

    /// Returns whether a message of this type is part of the answer to a query of ours.
    fn is_of_probe(&self, kind: u8) -> bool {
        let is_probing = matches!(self.state().phase, Phase::ProbeBefore(_) | Phase::ProbeAfter(..));
        is_probing && backend::RESPONSE_TYPES.contains(&kind)
    }

    fn take_message(&self, kind: u8, body: &[u8]) -> Next {
        let mut state = self.state();
        let state = &mut *state;
        match (kind, &mut state.phase) {
            (backend::READY_FOR_QUERY, phase) => {
                let phase = std::mem::take(phase);
                self.end_phase(state, phase, body)
            }
            (backend::DATA_ROW, Phase::ProbeBefore(probe) | Phase::ProbeAfter(probe, _)) => {
                probe.push(body);
                Next::Continue
            }
            (_, Phase::ProbeBefore(_) | Phase::ProbeAfter(..)) => Next::Continue,
            (_, Phase::Idle | Phase::Request) => {
                state.take_answer(kind, body);
                Next::Continue
            }
        }
    }

    /// Ends a phase with the server's `ReadyForQuery`.
    fn end_phase(&self, state: &mut SessionState, phase: Phase, body: &[u8]) -> Next {
        let status = backend::transaction_status(body).map(TransactionState::of_status).unwrap_or_default();
        match phase {
            Phase::ProbeBefore(probe) => {
                state.exchange.before = Some(probe.into_rows());
                Next::Turn
            }
            Phase::ProbeAfter(probe, watch) => {
                state.exchange.after = Some(probe.into_rows());
                watch.report(std::mem::take(&mut state.exchange));
                Next::Ready
            }
            Phase::Idle | Phase::Request => {
                state.transaction = status;
                let [_, after] = &mut state.exchange.transaction;
                *after = status;
                state.exchange.took = state.began.take().map(|began| began.elapsed()).unwrap_or_default();
                let watch = self.stand_in.watch().filter(|_| !state.exchange.statements.is_empty());
                let Some(watch) = watch else { return Next::Ready };
                if let Some(sql) = (watch.probe)(ProbeMoment::After(&state.exchange)) {
                    state.phase = Phase::ProbeAfter(ProbeRows::default(), watch);
                    return Next::Probe(sql);
                }
                watch.report(std::mem::take(&mut state.exchange));
                Next::Ready
            }
        }
    }
}

impl SessionState {
    /// Takes a message of the server that goes on to the client.
    fn take_answer(&mut self, kind: u8, body: &[u8]) {
        match kind {
            backend::BACKEND_KEY_DATA => self.pid = backend::announced_pid(body).unwrap_or_default(),
            backend::COPY_IN_RESPONSE => self.requests.0.expect_copy_rows(),
            backend::COMMAND_COMPLETE => {
                let rows = completed_rows(body);
                self.exchange.rows = self.exchange.rows.zip(rows).map(|(sum, rows)| sum + rows).or(self.exchange.rows).or(rows);
            }
            backend::ERROR_RESPONSE => self.exchange.error = message_text(body).map(|(_, text)| text),
            backend::NOTICE_RESPONSE if self.exchange.notices.len() < MAX_NOTICES => {
                let notice = message_text(body).map(|(severity, text)| format!("{severity}: {text}"));
                self.exchange.notices.extend(notice);
            }
            _ => {}
        }
    }
}

impl ProbeRows {
    /// Adds a `DataRow`.
    fn push(&mut self, body: &[u8]) {
        self.bytes += body.len();
        if self.bytes > MAX_ROWS {
            return;
        }
        let (_, mut rest) = body.split_at(body.len().min(2));
        let mut values = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                values.push(None);
                continue;
            };
            let (value, after) = rest.split_at(length.min(rest.len()));
            values.push(Some(String::from_utf8_lossy(value).into_owned()));
            rest = after;
        }
        self.rows.push(values);
    }

    fn into_rows(self) -> Rows {
        self.rows.into_iter().collect()
    }
}

/// Returns the number of rows in a command tag, as in `UPDATE 7` and `INSERT 0 1`.
fn completed_rows(body: &[u8]) -> Option<u64> {
    let (tag, _) = split_c_string(body)?;
    std::str::from_utf8(tag).ok()?.rsplit(' ').next()?.parse().ok()
}

/// Returns severity and text of an error or a notice.
fn message_text(body: &[u8]) -> Option<(String, String)> {
    let (mut severity, mut message, mut rest) = (String::new(), None, body);
    let mut fields = ErrorFieldReader::default();
    while let Some(FieldPart::Text(kind, text) | FieldPart::TextEnd(kind, text)) = fields.next_part(&mut rest) {
        match kind {
            SEVERITY => severity = String::from_utf8_lossy(text).into_owned(),
            MESSAGE => message = Some(String::from_utf8_lossy(text).into_owned()),
            _ => {}
        }
    }
    message.map(|message| (severity, message))
}

fn status_byte(state: TransactionState) -> u8 {
    match state {
        TransactionState::Idle => backend::IDLE,
        TransactionState::Open => b'T',
        TransactionState::Failed => b'E',
    }
}

async fn write_and_flush(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
