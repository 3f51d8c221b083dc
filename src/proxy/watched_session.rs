//! The state of a session of a stand-in: the request that the server works on, and what has passed of it.

use super::{
    sent_statements::PreparedStatements,
    server_answer::{ProbeRows, completed_rows, message_text, reported_rows},
    session_watch::{BACK_TO_SAVEPOINT, Exchange, ProbeMoment, SessionWatch, TransactionState, WatchSlot},
};
use crate::postgres::{backend_messages as backend, client_requests::ClientRequests};
use std::time::Instant;

/// The most messages of the server that are kept of one exchange.
const MAX_NOTICES: usize = 3;

/// The state of a session, which both of its directions share.
#[derive(Debug, Default)]
pub(super) struct SessionState {
    pub(super) pid: i32,
    pub(super) requests: Requests,
    pub(super) prepared: PreparedStatements,
    pub(super) transaction: TransactionState,
    pub(super) phase: Phase,
    pub(super) exchange: Exchange,
    pub(super) began: Option<Instant>,
}

/// The requests of the client; a wrapper for the start before the first of them.
#[derive(Debug)]
pub(super) struct Requests(pub(super) ClientRequests);

impl Default for Requests {
    fn default() -> Self {
        Self(ClientRequests::new())
    }
}

/// The request that the server works on.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Idle,
    /// One of the client.
    Request,
    /// A query of ours before one of the client.
    ProbeBefore(ProbeRows),
    /// A query of ours after one of the client, whose `ReadyForQuery` is held back.
    ProbeAfter(ProbeRows, SessionWatch),
    /// The way back to the client's transaction from such a query that has failed.
    ProbeUndone(SessionWatch),
}

/// What is to be done after a message of the server.
pub(super) enum AnswerStep {
    /// Nothing more.
    Continue,
    /// The client's request is answered: its `ReadyForQuery` goes on to it.
    Ready,
    /// A query of ours before a request is answered.
    Turn,
    /// A query of ours has to be sent.
    Probe(String),
}

impl SessionState {
    /// Takes a message of the server.
    pub(super) fn take_message(&mut self, kind: u8, body: &[u8], watch: &WatchSlot) -> AnswerStep {
        match (kind, &mut self.phase) {
            (backend::READY_FOR_QUERY, phase) => {
                let phase = std::mem::take(phase);
                self.end_phase(phase, body, watch)
            }
            (backend::DATA_ROW, Phase::ProbeBefore(probe) | Phase::ProbeAfter(probe, _)) => {
                probe.push(body);
                AnswerStep::Continue
            }
            (backend::ERROR_RESPONSE, Phase::ProbeAfter(..)) => {
                self.exchange.after_failed = true;
                AnswerStep::Continue
            }
            (_, Phase::ProbeBefore(_) | Phase::ProbeAfter(..) | Phase::ProbeUndone(_)) => AnswerStep::Continue,
            (_, Phase::Idle | Phase::Request) => {
                self.take_answer(kind, body);
                AnswerStep::Continue
            }
        }
    }

    /// Ends a phase with the server's `ReadyForQuery`.
    fn end_phase(&mut self, phase: Phase, body: &[u8], slot: &WatchSlot) -> AnswerStep {
        let status = backend::transaction_status(body).map(TransactionState::of_status).unwrap_or_default();
        match phase {
            Phase::ProbeBefore(probe) => {
                self.exchange.before = Some(probe.into_rows());
                AnswerStep::Turn
            }
            Phase::ProbeAfter(probe, watch) => {
                self.exchange.after = Some(probe.into_rows());
                if status == TransactionState::Failed && self.transaction == TransactionState::Open {
                    self.phase = Phase::ProbeUndone(watch);
                    return AnswerStep::Probe(BACK_TO_SAVEPOINT.to_owned());
                }
                watch.report(std::mem::take(&mut self.exchange));
                AnswerStep::Ready
            }
            Phase::ProbeUndone(watch) => {
                watch.report(std::mem::take(&mut self.exchange));
                AnswerStep::Ready
            }
            Phase::Idle | Phase::Request => {
                self.transaction = status;
                let [_, after] = &mut self.exchange.transaction;
                *after = status;
                self.exchange.took = self.began.take().map(|began| began.elapsed()).unwrap_or_default();
                let watch = slot.get().filter(|_| !self.exchange.statements.is_empty());
                let Some(watch) = watch else { return AnswerStep::Ready };
                if let Some(sql) = (watch.probe)(ProbeMoment::After(&self.exchange)) {
                    self.phase = Phase::ProbeAfter(ProbeRows::default(), watch);
                    return AnswerStep::Probe(sql);
                }
                watch.report(std::mem::take(&mut self.exchange));
                AnswerStep::Ready
            }
        }
    }

    /// Returns whether a message of this type is part of the answer to a query of ours.
    pub(super) fn is_of_probe(&self, kind: u8) -> bool {
        let is_probing = !matches!(self.phase, Phase::Idle | Phase::Request);
        is_probing && backend::RESPONSE_TYPES.contains(&kind)
    }

    /// Takes a notice, and returns whether it is a report for us alone.
    pub(super) fn take_report(&mut self, body: &[u8]) -> bool {
        let Some(rows) = reported_rows(body) else { return false };
        self.exchange.reported = Some(rows);
        true
    }

    /// Takes a message of the server that goes on to the client.
    fn take_answer(&mut self, kind: u8, body: &[u8]) {
        match kind {
            backend::BACKEND_KEY_DATA => self.pid = backend::announced_pid(body).unwrap_or_default(),
            backend::COPY_IN_RESPONSE => self.requests.0.expect_copy_rows(),
            backend::COMMAND_COMPLETE => {
                let rows = completed_rows(body);
                self.exchange.rows =
                    self.exchange.rows.zip(rows).map(|(sum, rows)| sum + rows).or(self.exchange.rows).or(rows);
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
