//! Tracks the requests of our session on their way to the server.
//!
//! The server responds in order, so each response can be matched to its request. A query may contain an unrecognized
//! `COPY … FROM STDIN`, for which the server waits for rows. There are none, so a CopyFail follows each query: a server
//! that does not wait for rows ignores it (PostgreSQL manual, 55.2.6), one that does ends the statement with an error.
//! Without it, the server would treat the next query as a protocol violation and end the session (PostgreSQL,
//! `CopyGetData`). No CopyFail follows the last query until the next message is sent, because any message resets the
//! server's timeouts for idle sessions (`PostgresMain`).

use super::{
    frame::{Frames, Step, framed},
    origin_mark::{self, Mark},
};
use bytes::{Buf as _, BufMut as _, BytesMut};
use std::{collections::VecDeque, io};

/// The reason in the CopyFail for an unrecognized COPY; the server's error quotes it.
pub(crate) const NO_ROWS: &str = "bastion-migrate has no rows for this COPY";

/// Message type that stands for the start-up packet, which has no type byte.
const FIRST: u8 = b'0';

/// Types of the extended protocol, whose messages form a group up to a Sync.
const EXTENDED: &[u8] = b"PBDECH";

/// The requests without a response yet, and the bytes to send.
#[derive(Debug)]
pub(crate) struct Asked {
    frames: Frames,
    /// The type of the message being sent.
    kind: u8,
    /// The beginning of its text, if it is a query.
    head: Vec<u8>,
    unanswered: VecDeque<(Request, Option<usize>)>,
    /// The migration of the message being sent.
    migration: Option<usize>,
    group: Group,
    rows: Rows,
    /// Set if the last message was a query, for which no CopyFail has been sent yet.
    after_query: bool,
    out: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Simple,
    Extended,
}

/// The state of a group of extended-protocol messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Begun,
    None,
}

/// The rows of a COPY that the client itself has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Awaited,
    None,
}

impl Asked {
    /// Starts with the first packet of a session.
    pub(crate) fn new() -> Self {
        Self {
            frames: Frames::from_packet(FIRST),
            kind: FIRST,
            head: Vec::new(),
            unanswered: VecDeque::new(),
            migration: None,
            group: Group::None,
            rows: Rows::None,
            after_query: false,
            out: BytesMut::new(),
        }
    }

    /// Takes bytes from the driver.
    ///
    /// # Errors
    /// If they are no message.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(step) = self.frames.next(&mut rest) {
            match step {
                Step::Begin(kind, length) => self.begin(kind, length),
                Step::Piece(piece) => self.pass(piece),
                Step::Last(piece) => {
                    self.pass(piece);
                    self.read_mark();
                    self.after_query = self.kind == b'Q';
                }
                Step::Broken => return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no message")),
            }
        }
        Ok(())
    }

    fn pass(&mut self, piece: &[u8]) {
        if self.kind == b'Q' {
            self.head.extend(piece.iter().take(origin_mark::LONGEST - self.head.len()));
        }
        self.out.extend_from_slice(piece);
    }

    /// Assigns the request to the migration in its comment. The request can't have a response yet, because it ends
    /// only now.
    fn read_mark(&mut self) {
        let said = origin_mark::read(&std::mem::take(&mut self.head));
        let (Some(said), Some((_, migration))) = (said, self.unanswered.back_mut()) else { return };
        let (Mark::Begins(index) | Mark::Ends(index)) = said;
        *migration = Some(index);
        self.migration = (said == Mark::Begins(index)).then_some(index);
    }

    fn begin(&mut self, kind: u8, length: usize) {
        self.refuse_rows();
        let before = std::mem::replace(&mut self.kind, kind);
        if kind != FIRST {
            self.out.put_u8(kind);
        }
        self.out.put_u32(u32::try_from(length + 4).unwrap_or(u32::MAX));
        match kind {
            b'Q' => self.unanswered.push_back((Request::Simple, self.migration)),
            // The driver sends one Sync behind the COPY, which the server ignores while it waits for rows, and one
            // behind the rows: together they get one response (PostgreSQL, `CopyGetData`).
            b'S' if self.rows == Rows::Awaited && matches!(before, b'c' | b'f') => self.rows = Rows::None,
            b'S' => {
                self.extend();
                self.group = Group::None;
            }
            kind if EXTENDED.contains(&kind) => self.extend(),
            _ => {}
        }
    }

    fn extend(&mut self) {
        if self.group == Group::None {
            self.unanswered.push_back((Request::Extended, self.migration));
            self.group = Group::Begun;
        }
    }

    /// Sends a CopyFail if the last message was a query.
    pub(crate) fn refuse_rows(&mut self) {
        if std::mem::take(&mut self.after_query) {
            self.out.extend_from_slice(&framed(b'f', format!("{NO_ROWS}\0").as_bytes()));
        }
    }

    /// Reports whether the server is responding to a query, for which the driver sends no rows.
    pub(crate) fn is_query_next(&self) -> bool {
        self.unanswered.front().is_some_and(|(request, _)| *request == Request::Simple)
    }

    /// Returns the migration of the request that the server is responding to.
    pub(crate) fn migration(&self) -> Option<usize> {
        self.unanswered.front().and_then(|(_, migration)| *migration)
    }

    /// Records that the server waits for the rows of a COPY.
    pub(crate) fn await_rows(&mut self) {
        self.rows = Rows::Awaited;
    }

    /// Records that the server has completed a request.
    pub(crate) fn answered(&mut self) {
        self.unanswered.pop_front();
    }

    /// Returns the bytes to send.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// Removes this many sent bytes.
    pub(crate) fn sent(&mut self, count: usize) {
        self.out.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_PACKET: &[u8] = b"\0\0\0\x08abcd";

    fn sent<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Asked) {
        let mut asked = Asked::new();
        for piece in pieces {
            asked.take(piece).unwrap();
        }
        (asked.outgoing().to_vec(), asked)
    }

    fn refusal() -> Vec<u8> {
        framed(b'f', format!("{NO_ROWS}\0").as_bytes())
    }

    #[test]
    fn sends_a_copy_fail_before_the_next_message_for_any_split_of_the_bytes() {
        let (one, other) = (framed(b'Q', b"one\0"), framed(b'Q', b"other\0"));
        let session = [FIRST_PACKET, &framed(b'p', b"secret\0"), &one, &other, &framed(b'X', b"")].concat();
        let expected =
            [FIRST_PACKET, &framed(b'p', b"secret\0"), &one, &refusal(), &other, &refusal(), &framed(b'X', b"")]
                .concat();
        for cut in 0..=session.len() {
            let (begin, end) = session.split_at(cut);
            assert_eq!(sent([begin, end]).0, expected, "{cut}");
        }
        assert_eq!(sent(session.chunks(1)).0, expected);
    }

    #[test]
    fn sends_nothing_after_a_query_on_its_own() {
        let session = [FIRST_PACKET, &framed(b'Q', b"one\0")].concat();
        let (out, mut asked) = sent([session.as_slice()]);
        assert_eq!(out, session);
        asked.refuse_rows();
        asked.refuse_rows();
        assert_eq!(asked.outgoing(), [session, refusal()].concat());
    }

    #[test]
    fn a_copy_of_the_driver_gets_its_rows() {
        let rows = [framed(b'B', b""), framed(b'E', b""), framed(b'd', b"1\n"), framed(b'c', b""), framed(b'S', b"")];
        let session = [FIRST_PACKET, &rows.concat()].concat();
        let (out, mut asked) = sent([session.as_slice()]);
        assert_eq!(out, session);
        assert!(!asked.is_query_next() && asked.unanswered.len() == 1);
        asked.refuse_rows();
        assert_eq!(asked.outgoing(), session);
    }

    /// The driver sends a Sync behind the COPY and one behind its rows.
    #[test]
    fn a_copy_has_one_response_and_the_next_request_its_own() {
        let mut asked = Asked::new();
        asked.take(FIRST_PACKET).unwrap();
        for _ in 0..3 {
            for kind in *b"QBES" {
                asked.take(&framed(kind, b"")).unwrap();
            }
            assert!(asked.is_query_next());
            asked.answered();
            assert!(!asked.is_query_next());
            asked.await_rows();
            for kind in *b"ddcS" {
                asked.take(&framed(kind, b"")).unwrap();
            }
            asked.answered();
            assert!(asked.unanswered.is_empty());
        }
    }

    #[test]
    fn a_response_belongs_to_the_migration_of_the_last_comment() {
        let query = |text: String| framed(b'Q', format!("{text}\0").as_bytes());
        let marked =
            |version| [query(format!("{} BEGIN", origin_mark::begins(version))), query("do it".to_owned())].concat();
        let ended = |version| query(format!("{} COMMIT", origin_mark::ends(version)));
        let copied = [framed(b'P', b""), framed(b'S', b"")].concat();
        let session =
            [FIRST_PACKET.to_vec(), query("ask".to_owned()), marked(1), ended(1), marked(2), copied, ended(2)];
        let session = [session.concat(), query("ask again".to_owned())].concat();
        for cut in 0..=session.len() {
            let (begin, end) = session.split_at(cut);
            let mut asked = sent([begin, end]).1;
            let whose: Vec<Option<usize>> = (0..10)
                .map(|_| {
                    let migration = asked.migration();
                    asked.answered();
                    migration
                })
                .collect();
            let (one, two) = (Some(1), Some(2));
            assert_eq!(whose, [None, one, one, one, two, two, two, two, None, None], "{cut}");
        }
    }

    #[test]
    fn matches_responses_to_requests_in_order() {
        let session = [FIRST_PACKET, &framed(b'Q', b""), &framed(b'P', b""), &framed(b'S', b""), &framed(b'S', b"")];
        let (_, mut asked) = sent([session.concat().as_slice(), &framed(b'Q', b"")]);
        let queries: Vec<bool> = (0..5)
            .map(|_| {
                let is_query = asked.is_query_next();
                asked.answered();
                is_query
            })
            .collect();
        assert_eq!(queries, [true, false, false, true, false]);
    }
}
