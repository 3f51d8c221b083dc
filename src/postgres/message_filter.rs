//! Filters the server's messages before they reach the driver, so that no message is too long to hold or impossible to
//! decode.
//!
//! The driver buffers each message whole, decodes some as text, and gives up the connection at an unexpected one. A
//! file may make the server send anything: bytes that are no UTF-8, gigabytes in one value, rows of a COPY that was
//! not recognized in the file's text. None of these is needed, so the filter makes them readable, cuts them or drops
//! them.

use super::{
    backend_messages as backend,
    backend_pid::BackendPid,
    frame::{FramePart, MessageFramer},
    message_treatment::{MAX_BUFFERED, MAX_MESSAGE, MessageTreatment, message_treatment},
    protocol_violation::ProtocolViolation,
    readable_row,
    sent_requests::SentRequests,
    server_message::ServerMessage,
    startup_phase::StartupPhase,
    wire_format,
};
use bytes::{Buf as _, BytesMut};

/// Bytes kept of plain text that is no message.
const MAX_PLAIN_TEXT: usize = 1 << 10;

/// The filter of one session's messages, from its beginning.
#[derive(Debug)]
pub(super) struct MessageFilter {
    frames: MessageFramer,
    phase: StartupPhase,
    kind: u8,
    action: MessageAction,
    pid: BackendPid,
    out: BytesMut,
    /// The body of the previous row, whose memory the next one reuses.
    row_buffer: Vec<u8>,
}

/// The current message, as far as it is kept.
#[derive(Debug)]
enum MessageAction {
    Drop,
    Pass,
    Buffer(Vec<u8>),
    ErrorOrNotice(ServerMessage),
    /// A row that is too long, with its beginning.
    OversizedRow(Vec<u8>),
    PlainText(Vec<u8>),
}

impl MessageFilter {
    pub(super) fn new(pid: BackendPid) -> Self {
        let (frames, out) = (MessageFramer::new(), BytesMut::new());
        Self {
            frames,
            phase: StartupPhase::NothingReceived,
            kind: 0,
            action: MessageAction::Drop,
            pid,
            out,
            row_buffer: Vec::new(),
        }
    }

    /// Filters bytes from the server.
    ///
    /// # Errors
    /// A violation after which the stream can't be read; the messages before it have passed.
    pub(super) fn filter_bytes(&mut self, bytes: &[u8], requests: &mut SentRequests) -> Result<(), ProtocolViolation> {
        let mut rest = bytes;
        while let Some(step) = self.frames.next_part(&mut rest) {
            match step {
                FramePart::Header(kind, length) => self.begin_message(kind, length, requests)?,
                FramePart::Body(chunk) => self.take_body(chunk)?,
                FramePart::BodyEnd(chunk) => {
                    self.take_body(chunk)?;
                    self.end_message(requests);
                }
                FramePart::Invalid => {
                    return Err(ProtocolViolation::malformed(
                        "the server sent bytes that are not a PostgreSQL message",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns the violation if the stream ends within plain text.
    pub(super) fn violation_at_end(&self) -> Option<ProtocolViolation> {
        match &self.action {
            MessageAction::PlainText(text) => Some(ProtocolViolation::plain_text(text)),
            _ => None,
        }
    }

    /// Returns the filtered bytes that were not consumed yet.
    pub(super) fn output(&self) -> &[u8] {
        &self.out
    }

    /// Consumes this many filtered bytes.
    pub(super) fn consume_output(&mut self, count: usize) {
        self.out.advance(count);
        if self.out.is_empty() && self.out.capacity() + self.row_buffer.capacity() > MAX_BUFFERED {
            (self.out, self.row_buffer) = (BytesMut::new(), Vec::new());
        }
    }

    fn begin_message(&mut self, kind: u8, length: usize, requests: &mut SentRequests) -> Result<(), ProtocolViolation> {
        self.phase.check_type(kind)?;
        if self.phase != StartupPhase::Ready && kind == backend::ERROR_RESPONSE && length > MAX_MESSAGE {
            self.action = MessageAction::PlainText(wire_format::encode_length(length).to_vec());
            return Ok(());
        }
        self.phase.count_bytes(length.min(MAX_BUFFERED))?;
        self.kind = kind;
        self.action = match message_treatment(kind, length)? {
            MessageTreatment::Drop => MessageAction::Drop,
            MessageTreatment::Pass => self.pass_unchanged(kind, length),
            MessageTreatment::Buffer => MessageAction::Buffer(Vec::with_capacity(length)),
            MessageTreatment::BufferRow => MessageAction::Buffer(self.take_row_buffer(length)),
            MessageTreatment::ReplaceRow => MessageAction::OversizedRow(Vec::new()),
            MessageTreatment::CutFields => MessageAction::ErrorOrNotice(ServerMessage::default()),
            MessageTreatment::AwaitCopyRows if requests.is_query_next() => {
                requests.refuse_copy_rows();
                MessageAction::Drop
            }
            MessageTreatment::AwaitCopyRows => {
                requests.expect_copy_rows();
                self.pass_unchanged(kind, length)
            }
        };
        Ok(())
    }

    fn pass_unchanged(&mut self, kind: u8, length: usize) -> MessageAction {
        self.pass_header(kind, length);
        MessageAction::Pass
    }

    fn take_body(&mut self, chunk: &[u8]) -> Result<(), ProtocolViolation> {
        match &mut self.action {
            MessageAction::Drop => {}
            MessageAction::Pass => self.out.extend_from_slice(chunk),
            MessageAction::Buffer(body) => body.extend_from_slice(chunk),
            MessageAction::ErrorOrNotice(message) => message.push_bytes(chunk),
            MessageAction::OversizedRow(beginning) => {
                beginning.extend(chunk.iter().take(readable_row::COLUMN_COUNT_LENGTH - beginning.len()));
            }
            MessageAction::PlainText(text) => {
                text.extend(chunk.iter().take(MAX_PLAIN_TEXT - text.len()));
                if text.len() == MAX_PLAIN_TEXT || text.contains(&0) {
                    return Err(ProtocolViolation::plain_text(text));
                }
            }
        }
        Ok(())
    }

    fn end_message(&mut self, requests: &mut SentRequests) {
        match (self.kind, std::mem::replace(&mut self.action, MessageAction::Drop)) {
            (backend::READY_FOR_QUERY, MessageAction::Pass) => {
                self.phase = StartupPhase::Ready;
                requests.complete_request();
            }
            (backend::BACKEND_KEY_DATA, MessageAction::Buffer(body)) => {
                if let Some(pid) = backend::announced_pid(&body) {
                    self.pid.set(pid);
                }
                self.pass_message(backend::BACKEND_KEY_DATA, &body);
            }
            (backend::DATA_ROW, MessageAction::Buffer(body)) => {
                self.pass_message(backend::DATA_ROW, &readable_row::readable_row(&body));
                self.row_buffer = body;
            }
            (backend::ROW_DESCRIPTION, MessageAction::Buffer(body)) => {
                self.pass_message(backend::ROW_DESCRIPTION, &readable_row::readable_column_names(&body));
            }
            (kind, MessageAction::Buffer(body)) => self.pass_message(kind, String::from_utf8_lossy(&body).as_bytes()),
            (backend::NOTICE_RESPONSE, MessageAction::ErrorOrNotice(message)) => {
                self.pass_message(backend::NOTICE_RESPONSE, &message.into_notice_body(requests.answered_migration()));
            }
            (kind, MessageAction::ErrorOrNotice(message)) => self.pass_message(kind, &message.into_body()),
            (_, MessageAction::OversizedRow(beginning)) => {
                self.pass_message(backend::DATA_ROW, &readable_row::unreadable_row(&beginning));
            }
            (_, MessageAction::Drop | MessageAction::Pass | MessageAction::PlainText(_)) => {}
        }
    }

    fn pass_message(&mut self, kind: u8, body: &[u8]) {
        self.pass_header(kind, body.len());
        self.out.extend_from_slice(body);
    }

    fn pass_header(&mut self, kind: u8, length: usize) {
        self.out.extend_from_slice(&wire_format::encode_header(kind, length));
    }

    /// Returns an empty buffer for a body; one row after the other uses the same memory.
    fn take_row_buffer(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.row_buffer);
        buffer.clear();
        buffer.reserve_exact(length);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            fuzzing::cut_into_chunks,
            message_treatment::MAX_ROW,
            sent_requests::NO_COPY_ROWS,
            startup_phase::MAX_STARTUP,
            test_messages::{any_message, chunk_lengths},
            wire_format::encode_message,
        },
        *,
    };
    use proptest::prelude::*;

    /// Returns the output for bytes that come in these pieces, and the violation that ended it.
    fn filter_chunks<'a>(
        requests: &mut SentRequests,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, Option<ProtocolViolation>) {
        let mut filter = MessageFilter::new(BackendPid::default());
        let violation = chunks.into_iter().find_map(|chunk| filter.filter_bytes(chunk, requests).err());
        (filter.output().to_vec(), violation)
    }

    fn passed(bytes: &[u8]) -> (Vec<u8>, Option<ProtocolViolation>) {
        filter_chunks(&mut sent_request(b'Q'), [bytes])
    }

    /// Two requests that begin with a message of this type.
    fn sent_request(kind: u8) -> SentRequests {
        let mut requests = SentRequests::new();
        let sync = encode_message(b'S', b"");
        let request =
            if kind == b'Q' { encode_message(kind, b"\0") } else { [encode_message(kind, b""), sync].concat() };
        requests.push_bytes(&[b"\0\0\0\x08abcd", request.as_slice(), &request].concat()).unwrap();
        requests
    }

    fn greeting() -> Vec<u8> {
        [encode_message(b'R', &[0; 4]), encode_message(b'K', b"\0\0\x04\xd2\0\0\0\x01"), encode_message(b'Z', b"I")]
            .concat()
    }

    fn row(value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        encode_message(b'D', &[&[0, 1], length.as_slice(), value].concat())
    }

    /// A header with this length, and three bytes of a body.
    fn claimed(kind: u8, length: u32) -> Vec<u8> {
        [&[kind], length.to_be_bytes().as_slice(), b"abc"].concat()
    }

    /// A session with messages of every type, and its filtered form.
    fn session() -> (Vec<u8>, Vec<u8>) {
        let names = |name: &[u8]| encode_message(b'T', &[&[0, 1], name, &[0; 19]].concat());
        let error = |text: &[u8]| encode_message(b'E', &[b"SERROR\0C42P01\0M", text, b"\0\0"].concat());
        let both = |part: Vec<u8>| (part.clone(), part);
        let parts = [
            both(greeting()),
            (encode_message(b'S', b"TimeZone\0UTC\0"), Vec::new()),
            (names(b"gr\xf6"), names("gr�".as_bytes())),
            (row(b"gr\xf6\xdfe"), row("gr��e".as_bytes())),
            both(row("größe".as_bytes())),
            both(encode_message(b'C', b"SELECT 2\0")),
            (encode_message(b'H', &[0, 0, 1, 0, 0]), Vec::new()),
            (encode_message(b'd', b"1\t\xff\n"), Vec::new()),
            (encode_message(b'c', b""), Vec::new()),
            (encode_message(b'A', b"\0\0\0\x01gr\xf6\0\0"), Vec::new()),
            (error(b"gr\xf6"), error("gr�".as_bytes())),
            both(encode_message(b'Z', b"I")),
            both(encode_message(b'I', b"")),
            both(encode_message(b'Z', b"I")),
        ];
        let (sent, expected): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        (sent.concat(), expected.concat())
    }

    #[test]
    fn passes_the_same_for_any_split_of_the_bytes() {
        let (sent, expected) = session();
        for cut in 0..=sent.len() {
            let (first, second) = sent.split_at(cut);
            assert_eq!(filter_chunks(&mut sent_request(b'Q'), [first, second]), (expected.clone(), None), "{cut}");
        }
        assert_eq!(filter_chunks(&mut sent_request(b'Q'), sent.chunks(1)), (expected, None));
    }

    #[test]
    fn records_the_pid() {
        let pid = BackendPid::default();
        MessageFilter::new(pid.clone()).filter_bytes(&greeting(), &mut SentRequests::new()).unwrap();
        assert_eq!(pid.get(), 1234);
    }

    #[test]
    fn rejects_a_server_by_its_first_byte() {
        for invalid in [b"HTTP/1.1 400".as_slice(), b"SSH-2.0-x", &row(b"1")] {
            assert!(matches!(passed(invalid).1, Some(ProtocolViolation::Malformed(_))));
        }
        assert_eq!(passed(b"").1, None);
    }

    #[test]
    fn reports_plain_text_instead_of_messages() {
        let response = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0";
        let violation = ProtocolViolation::PlainText(
            "could not fork new process for connection: Resource temporarily unavailable".to_owned(),
        );
        for cut in 0..=response.len() {
            let (first, second) = response.split_at(cut);
            assert_eq!(filter_chunks(&mut SentRequests::new(), [first, second]).1, Some(violation.clone()), "{cut}");
        }
        let mut filter = MessageFilter::new(BackendPid::default());
        filter.filter_bytes(b"Ecould not fork", &mut SentRequests::new()).unwrap();
        assert_eq!(filter.violation_at_end(), Some(ProtocolViolation::PlainText("could not fork".to_owned())));
    }

    #[test]
    fn rejects_an_impossible_length_at_once() {
        for (kind, length) in
            [(b'D', 0x7fff_ffff), (b'N', 0x7fff_ffff), (b'd', 0x4000_0005), (b'C', 1 << 29), (b'T', 2 << 20)]
        {
            let bytes = [greeting(), claimed(kind, length)].concat();
            let (out, violation) = passed(&bytes);
            assert_eq!(out, greeting());
            let Some(ProtocolViolation::Malformed(problem)) = violation else { panic!("{violation:?}") };
            assert!(problem.contains(&format!("a message of {} bytes", length - 4)), "{problem}");
        }
        assert!(matches!(passed(&claimed(b'R', 0x7fff_ffff)).1, Some(ProtocolViolation::Malformed(_))));
    }

    #[test]
    fn rejects_messages_that_postgresql_does_not_have() {
        for invalid in [claimed(b'W', 8), claimed(b'x', 8), vec![0, 0, 0, 0, 4], claimed(b'D', 3)] {
            let (out, violation) = passed(&[greeting(), invalid].concat());
            assert!(out == greeting() && matches!(violation, Some(ProtocolViolation::Malformed(_))), "{violation:?}");
        }
    }

    #[test]
    fn gives_up_a_server_that_never_becomes_ready() {
        let notice = encode_message(b'N', &[b"SNOTICE\0C00000\0M", [b'x'; 4000].as_slice(), b"\0\0"].concat());
        let greeting = encode_message(b'R', &[0; 4]);
        let chunks = std::iter::once(greeting.as_slice()).chain(std::iter::repeat_n(notice.as_slice(), 10_000));
        let (out, violation) = filter_chunks(&mut SentRequests::new(), chunks);
        assert!(out.len() < 2 * MAX_STARTUP && violation.is_some());
    }

    #[test]
    fn replaces_a_row_that_is_too_long() {
        let long = row(&vec![b'x'; MAX_ROW]);
        let bytes = [greeting(), long, encode_message(b'C', b"SELECT 1\0")].concat();
        let (out, violation) = filter_chunks(&mut sent_request(b'Q'), bytes.chunks(5000));
        assert_eq!((out, violation), ([greeting(), row(b"\xff"), encode_message(b'C', b"SELECT 1\0")].concat(), None));
    }

    #[test]
    fn refuses_copy_rows_unless_the_driver_sends_them() {
        let bytes = [greeting(), encode_message(b'G', &[0, 0, 1, 0, 0])].concat();
        let refusal = encode_message(b'f', format!("{NO_COPY_ROWS}\0").as_bytes());
        let mut requests = sent_request(b'Q');
        let before = requests.outgoing().len();
        assert_eq!(filter_chunks(&mut requests, [bytes.as_slice()]), (greeting(), None));
        assert_eq!(&requests.outgoing()[before..], refusal);
        let mut requests = sent_request(b'P');
        let before = requests.outgoing().len();
        assert_eq!(filter_chunks(&mut requests, [bytes.as_slice()]), (bytes, None));
        assert_eq!(requests.outgoing().len(), before);
    }

    proptest! {
        #[test]
        fn passes_any_bytes_the_same_for_any_split(
            messages in prop::collection::vec(any_message(b"RKSNEZTDCIGHdcA123nst"), 0..12),
            ready in any::<bool>(),
            lengths in chunk_lengths(),
        ) {
            let begin = if ready { greeting() } else { Vec::new() };
            let bytes = [begin, messages.concat()].concat();
            let chunks = cut_into_chunks(&bytes, &lengths);
            let (mut in_chunks, mut at_once) = (sent_request(b'Q'), sent_request(b'Q'));
            prop_assert_eq!(filter_chunks(&mut in_chunks, chunks), filter_chunks(&mut at_once, [bytes.as_slice()]));
            prop_assert_eq!(in_chunks.outgoing(), at_once.outgoing());
        }
    }
}
