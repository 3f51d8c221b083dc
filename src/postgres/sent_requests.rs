//! Tracks the requests of our session on their way to the server.
//!
//! The server responds in order, so each response can be matched to its request. A query may contain an unrecognized
//! `COPY … FROM STDIN`, for which the server waits for rows. There are none, so a `CopyFail` follows each query: a
//! server that does not wait for rows ignores it (PostgreSQL manual, 55.2.6), one that does ends the statement with an
//! error. Without it, the server would treat the next query as a protocol violation and end the session (PostgreSQL,
//! `CopyGetData`). No `CopyFail` follows the last query until the next message is sent, because any message resets the
//! server's timeouts for idle sessions (`PostgresMain`).

use super::{
    client_requests::{ClientRequests, QueryProtocol},
    frame::{FramePart, MessageFramer},
    frontend_messages as frontend,
    origin_comment::{self, OriginComment},
    wire_format::{encode_length, encode_message},
};
use bytes::{Buf as _, BufMut as _, BytesMut};
use std::{collections::VecDeque, io};

/// The reason in the `CopyFail` for an unrecognized COPY; the server's error quotes it.
pub(crate) const NO_COPY_ROWS: &str = "bastion-migrate has no rows for this COPY";

/// Message type that stands for the start-up packet, which has no type byte.
const STARTUP_PACKET: u8 = b'0';

/// The requests without a response yet, and the bytes to send.
#[derive(Debug)]
pub(crate) struct SentRequests {
    frames: MessageFramer,
    /// The type of the message being sent.
    kind: u8,
    /// The beginning of its text, if it is a query.
    query_start: Vec<u8>,
    unanswered: VecDeque<(QueryProtocol, Option<usize>)>,
    /// The migration of the message being sent.
    migration: Option<usize>,
    requests: ClientRequests,
    /// Set if the last message was a query, for which no `CopyFail` has been sent yet.
    after_query: bool,
    out: BytesMut,
}

impl SentRequests {
    /// Starts with the first packet of a session.
    pub(crate) fn new() -> Self {
        Self {
            frames: MessageFramer::from_startup_packet(STARTUP_PACKET),
            kind: STARTUP_PACKET,
            query_start: Vec::new(),
            unanswered: VecDeque::new(),
            migration: None,
            requests: ClientRequests::new(),
            after_query: false,
            out: BytesMut::new(),
        }
    }

    /// Takes bytes from the driver.
    ///
    /// # Errors
    /// If they are no message.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(step) = self.frames.next_part(&mut rest) {
            match step {
                FramePart::Header(kind, length) => self.begin_message(kind, length),
                FramePart::Body(chunk) => self.append_body(chunk),
                FramePart::BodyEnd(chunk) => {
                    self.append_body(chunk);
                    self.read_origin_comment();
                    self.after_query = self.kind == frontend::QUERY;
                }
                FramePart::Invalid => return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no message")),
            }
        }
        Ok(())
    }

    fn append_body(&mut self, chunk: &[u8]) {
        if self.kind == frontend::QUERY {
            self.query_start.extend(chunk.iter().take(origin_comment::MAX_LENGTH - self.query_start.len()));
        }
        self.out.extend_from_slice(chunk);
    }

    /// Assigns the request to the migration in its comment. The request can't have a response yet, because it ends
    /// only now.
    fn read_origin_comment(&mut self) {
        let comment = origin_comment::parse_comment(&std::mem::take(&mut self.query_start));
        let (Some(comment), Some((_, migration))) = (comment, self.unanswered.back_mut()) else { return };
        let (OriginComment::Begins(index) | OriginComment::Ends(index)) = comment;
        *migration = Some(index);
        self.migration = (comment == OriginComment::Begins(index)).then_some(index);
    }

    fn begin_message(&mut self, kind: u8, length: usize) {
        self.refuse_copy_rows();
        self.kind = kind;
        if kind != STARTUP_PACKET {
            self.out.put_u8(kind);
        }
        self.out.extend_from_slice(&encode_length(length));
        if let Some(protocol) = self.requests.begin_message(kind) {
            self.unanswered.push_back((protocol, self.migration));
        }
    }

    /// Sends a `CopyFail` if the last message was a query.
    pub(crate) fn refuse_copy_rows(&mut self) {
        if std::mem::take(&mut self.after_query) {
            self.out.extend_from_slice(&encode_message(frontend::COPY_FAIL, format!("{NO_COPY_ROWS}\0").as_bytes()));
        }
    }

    /// Reports whether the server is responding to a query, for which the driver sends no rows.
    pub(crate) fn is_query_next(&self) -> bool {
        self.unanswered.front().is_some_and(|(request, _)| *request == QueryProtocol::Simple)
    }

    /// Returns the migration of the request that the server is responding to.
    pub(crate) fn answered_migration(&self) -> Option<usize> {
        self.unanswered.front().and_then(|(_, migration)| *migration)
    }

    /// Records that the server waits for the rows of a COPY.
    pub(crate) fn expect_copy_rows(&mut self) {
        self.requests.expect_copy_rows();
    }

    /// Records that the server has completed a request.
    pub(crate) fn complete_request(&mut self) {
        self.unanswered.pop_front();
    }

    /// Returns the bytes to send.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// Removes this many sent bytes.
    pub(crate) fn consume_sent(&mut self, count: usize) {
        self.out.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_PACKET: &[u8] = b"\0\0\0\x08abcd";

    fn sent<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, SentRequests) {
        let mut requests = SentRequests::new();
        for chunk in chunks {
            requests.push_bytes(chunk).unwrap();
        }
        (requests.outgoing().to_vec(), requests)
    }

    fn refusal() -> Vec<u8> {
        encode_message(b'f', format!("{NO_COPY_ROWS}\0").as_bytes())
    }

    #[test]
    fn sends_a_copy_fail_before_the_next_message_for_any_split_of_the_bytes() {
        let (first, second) = (encode_message(b'Q', b"one\0"), encode_message(b'Q', b"other\0"));
        let session =
            [FIRST_PACKET, &encode_message(b'p', b"secret\0"), &first, &second, &encode_message(b'X', b"")].concat();
        let expected = [
            FIRST_PACKET,
            &encode_message(b'p', b"secret\0"),
            &first,
            &refusal(),
            &second,
            &refusal(),
            &encode_message(b'X', b""),
        ]
        .concat();
        for cut in 0..=session.len() {
            let (begin, end) = session.split_at(cut);
            assert_eq!(sent([begin, end]).0, expected, "{cut}");
        }
        assert_eq!(sent(session.chunks(1)).0, expected);
    }

    #[test]
    fn sends_nothing_after_a_query_on_its_own() {
        let session = [FIRST_PACKET, &encode_message(b'Q', b"one\0")].concat();
        let (out, mut requests) = sent([session.as_slice()]);
        assert_eq!(out, session);
        requests.refuse_copy_rows();
        requests.refuse_copy_rows();
        assert_eq!(requests.outgoing(), [session, refusal()].concat());
    }

    #[test]
    fn a_copy_of_the_driver_gets_its_rows() {
        let rows = [
            encode_message(b'B', b""),
            encode_message(b'E', b""),
            encode_message(b'd', b"1\n"),
            encode_message(b'c', b""),
            encode_message(b'S', b""),
        ];
        let session = [FIRST_PACKET, &rows.concat()].concat();
        let (out, mut requests) = sent([session.as_slice()]);
        assert_eq!(out, session);
        assert!(!requests.is_query_next() && requests.unanswered.len() == 1);
        requests.refuse_copy_rows();
        assert_eq!(requests.outgoing(), session);
    }

    /// The driver sends a Sync behind the COPY and one behind its rows.
    #[test]
    fn a_copy_has_one_response_and_the_next_request_its_own() {
        let mut requests = SentRequests::new();
        requests.push_bytes(FIRST_PACKET).unwrap();
        for _ in 0..3 {
            for kind in *b"QBES" {
                requests.push_bytes(&encode_message(kind, b"")).unwrap();
            }
            assert!(requests.is_query_next());
            requests.complete_request();
            assert!(!requests.is_query_next());
            requests.expect_copy_rows();
            for kind in *b"ddcS" {
                requests.push_bytes(&encode_message(kind, b"")).unwrap();
            }
            requests.complete_request();
            assert!(requests.unanswered.is_empty());
        }
    }

    #[test]
    fn a_response_belongs_to_the_migration_of_the_last_comment() {
        let query = |text: String| encode_message(b'Q', format!("{text}\0").as_bytes());
        let marked = |version| {
            [query(format!("{} BEGIN", origin_comment::first_message_comment(version))), query("do it".to_owned())]
                .concat()
        };
        let ended = |version| query(format!("{} COMMIT", origin_comment::last_message_comment(version)));
        let copied = [encode_message(b'P', b""), encode_message(b'S', b"")].concat();
        let session =
            [FIRST_PACKET.to_vec(), query("ask".to_owned()), marked(1), ended(1), marked(2), copied, ended(2)];
        let session = [session.concat(), query("ask again".to_owned())].concat();
        for cut in 0..=session.len() {
            let (begin, end) = session.split_at(cut);
            let mut requests = sent([begin, end]).1;
            let migrations: Vec<Option<usize>> = (0..10)
                .map(|_| {
                    let migration = requests.answered_migration();
                    requests.complete_request();
                    migration
                })
                .collect();
            let (first, second) = (Some(1), Some(2));
            assert_eq!(migrations, [None, first, first, first, second, second, second, second, None, None], "{cut}");
        }
    }

    #[test]
    fn matches_responses_to_requests_in_order() {
        let session = [
            FIRST_PACKET,
            &encode_message(b'Q', b""),
            &encode_message(b'P', b""),
            &encode_message(b'S', b""),
            &encode_message(b'S', b""),
        ];
        let (_, mut requests) = sent([session.concat().as_slice(), &encode_message(b'Q', b"")]);
        let queries: Vec<bool> = (0..5)
            .map(|_| {
                let is_query = requests.is_query_next();
                requests.complete_request();
                is_query
            })
            .collect();
        assert_eq!(queries, [true, false, false, true, false]);
    }
}
