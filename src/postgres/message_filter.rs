//! Filters the server's messages before they reach the driver, so that no message is too long to hold or impossible to
//! decode.
//!
//! The driver buffers each message whole, decodes some as text, and gives up the connection at an unexpected one. A
//! file may make the server send anything: bytes that are no UTF-8, gigabytes in one value, rows of a COPY that was
//! not recognized in the file's text. None of these is needed, so the filter makes them readable, cuts them or drops
//! them.

use super::{
    backend_pid::BackendPid,
    frame::{Frames, Step},
    readable_row,
    sent_requests::Asked,
    server_message::Complaint,
};
use bytes::{Buf as _, BufMut as _, BytesMut};

/// Length of PostgreSQL's longest message (`MaxAllocSize`).
const LONGEST: usize = 1 << 30;

/// Length of the longest message to buffer that is no row: the description of 1664 columns is less than half as long.
const SMALL: usize = 1 << 20;

/// Length of the longest row to buffer; no row of our own queries comes near it.
pub(super) const LONGEST_ROW: usize = 4 << 20;

/// Bytes that the server may send before it is ready for the first query: the driver keeps them.
const OPENING: usize = 16 << 20;

/// Types of the first message after a start-up packet (PostgreSQL manual, 55.2.1): authentication, error, version
/// negotiation, notice.
const FIRST: &[u8] = b"REvN";

/// Types of the messages that pass unchanged.
const PLAIN: &[u8] = b"RZI123nstGv";

/// Bytes kept of plain text that is no message.
const WORDS: usize = 1 << 10;

/// A response that no PostgreSQL server sends after a successful start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// Bytes that violate the protocol.
    #[error("{0}")]
    Strange(String),
    /// Plain text, as from a server that could not fork a backend (PostgreSQL, `report_fork_failure_to_client`).
    #[error("{0}")]
    Words(String),
}

/// The filter of one session's messages, from its beginning.
#[derive(Debug)]
pub(super) struct Sieve {
    frames: Frames,
    phase: Phase,
    kind: u8,
    doing: Doing,
    pid: BackendPid,
    out: BytesMut,
    /// The body of the previous row, whose memory the next one reuses.
    kept: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No message has come yet.
    Silence,
    /// Not ready for a query yet, after this many bytes.
    Opening(usize),
    Ready,
}

/// The treatment of the current message.
#[derive(Debug)]
enum Doing {
    Drop,
    Pass,
    Keep(Vec<u8>),
    Complaint(Complaint),
    /// A row that is too long, with its beginning.
    LongRow(Vec<u8>),
    Words(Vec<u8>),
}

impl Sieve {
    pub(super) fn new(pid: BackendPid) -> Self {
        let (frames, out) = (Frames::new(), BytesMut::new());
        Self { frames, phase: Phase::Silence, kind: 0, doing: Doing::Drop, pid, out, kept: Vec::new() }
    }

    /// Filters bytes from the server.
    ///
    /// # Errors
    /// A violation after which the stream can't be read; the messages before it have passed.
    pub(super) fn feed(&mut self, bytes: &[u8], asked: &mut Asked) -> Result<(), Breach> {
        let mut rest = bytes;
        while let Some(step) = self.frames.next(&mut rest) {
            match step {
                Step::Begin(kind, length) => self.begin(kind, length, asked)?,
                Step::Piece(piece) => self.take(piece)?,
                Step::Last(piece) => {
                    self.take(piece)?;
                    self.end(asked);
                }
                Step::Broken => return Err(strange("the server sent bytes that are not a PostgreSQL message")),
            }
        }
        Ok(())
    }

    /// Returns the violation if the stream ends within plain text.
    pub(super) fn at_end(&self) -> Option<Breach> {
        match &self.doing {
            Doing::Words(words) => Some(said(words)),
            _ => None,
        }
    }

    /// Returns the filtered bytes that were not consumed yet.
    pub(super) fn passed(&self) -> &[u8] {
        &self.out
    }

    /// Consumes this many filtered bytes.
    pub(super) fn given(&mut self, count: usize) {
        self.out.advance(count);
        if self.out.is_empty() && self.out.capacity() + self.kept.capacity() > SMALL {
            (self.out, self.kept) = (BytesMut::new(), Vec::new());
        }
    }

    fn begin(&mut self, kind: u8, length: usize, asked: &mut Asked) -> Result<(), Breach> {
        if self.phase == Phase::Silence && !FIRST.contains(&kind) {
            return Err(strange("the first byte of the response does not begin a PostgreSQL message"));
        }
        if let Phase::Silence | Phase::Opening(_) = self.phase
            && kind == b'E'
            && length > LONGEST
        {
            let length = u32::try_from(length + 4).unwrap_or(u32::MAX);
            self.doing = Doing::Words(length.to_be_bytes().to_vec());
            return Ok(());
        }
        self.count(length)?;
        self.kind = kind;
        self.doing = match kind {
            _ if length > LONGEST => return Err(too_long(kind, length)),
            b'E' | b'N' => Doing::Complaint(Complaint::default()),
            b'D' if length > LONGEST_ROW => Doing::LongRow(Vec::new()),
            b'D' => Doing::Keep(self.room(length)),
            b'd' => Doing::Drop,
            _ if length > SMALL => return Err(too_long(kind, length)),
            // Nothing here uses notifications, the server's settings or the rows of a COPY.
            b'A' | b'S' | b'H' | b'c' => Doing::Drop,
            b'G' if asked.is_query_next() => {
                asked.refuse_rows();
                Doing::Drop
            }
            b'G' => {
                asked.await_rows();
                self.pass_header(kind, length);
                Doing::Pass
            }
            b'T' | b'C' | b'K' => Doing::Keep(Vec::with_capacity(length)),
            kind if PLAIN.contains(&kind) => {
                self.pass_header(kind, length);
                Doing::Pass
            }
            kind => return Err(strange(format!("PostgreSQL has no message of the kind `{}`", char::from(kind)))),
        };
        Ok(())
    }

    fn count(&mut self, length: usize) -> Result<(), Breach> {
        let said = match self.phase {
            Phase::Ready => return Ok(()),
            Phase::Silence => 0,
            Phase::Opening(said) => said,
        };
        self.phase = Phase::Opening(said + length.min(SMALL));
        if said > OPENING {
            return Err(strange("the server sends too much without becoming ready for a query"));
        }
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Breach> {
        match &mut self.doing {
            Doing::Drop => {}
            Doing::Pass => self.out.extend_from_slice(piece),
            Doing::Keep(body) => body.extend_from_slice(piece),
            Doing::Complaint(complaint) => complaint.take(piece),
            Doing::LongRow(beginning) => beginning.extend(piece.iter().take(readable_row::COUNT - beginning.len())),
            Doing::Words(words) => {
                words.extend(piece.iter().take(WORDS - words.len()));
                if words.len() == WORDS || words.contains(&0) {
                    return Err(said(words));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, asked: &mut Asked) {
        match (self.kind, std::mem::replace(&mut self.doing, Doing::Drop)) {
            (b'Z', Doing::Pass) => {
                self.phase = Phase::Ready;
                asked.answered();
            }
            (b'K', Doing::Keep(body)) => {
                if let [a, b, c, d, ..] = body.as_slice() {
                    self.pid.set(i32::from_be_bytes([*a, *b, *c, *d]));
                }
                self.pass(b'K', &body);
            }
            (b'D', Doing::Keep(body)) => {
                self.pass(b'D', &readable_row::readable(&body));
                self.kept = body;
            }
            (b'T', Doing::Keep(body)) => self.pass(b'T', &readable_row::readable_names(&body)),
            (kind, Doing::Keep(body)) => self.pass(kind, String::from_utf8_lossy(&body).as_bytes()),
            (b'N', Doing::Complaint(complaint)) => self.pass(b'N', &complaint.into_notice(asked.migration())),
            (kind, Doing::Complaint(complaint)) => self.pass(kind, &complaint.into_body()),
            (_, Doing::LongRow(beginning)) => self.pass(b'D', &readable_row::unreadable(&beginning)),
            (_, Doing::Drop | Doing::Pass | Doing::Words(_)) => {}
        }
    }

    fn pass(&mut self, kind: u8, body: &[u8]) {
        self.pass_header(kind, body.len());
        self.out.extend_from_slice(body);
    }

    fn pass_header(&mut self, kind: u8, length: usize) {
        self.out.put_u8(kind);
        self.out.put_u32(u32::try_from(length + 4).unwrap_or(u32::MAX));
    }

    /// Returns an empty buffer for a body; one row after the other uses the same memory.
    fn room(&mut self, length: usize) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.kept);
        room.clear();
        room.reserve_exact(length);
        room
    }
}

fn strange(what: impl Into<String>) -> Breach {
    Breach::Strange(what.into())
}

fn too_long(kind: u8, length: usize) -> Breach {
    strange(format!(
        "the server begins a message of {length} bytes (kind `{}`): PostgreSQL sends none so long",
        char::from(kind)
    ))
}

fn said(words: &[u8]) -> Breach {
    let words = words.split(|byte| *byte == 0).next().unwrap_or_default();
    Breach::Words(String::from_utf8_lossy(words).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{frame::framed, sent_requests::NO_ROWS},
        *,
    };
    use proptest::prelude::*;

    /// Returns the output for bytes that come in these pieces, and the violation that ended it.
    fn sifted<'a>(asked: &mut Asked, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Breach>) {
        let mut sieve = Sieve::new(BackendPid::default());
        let breach = pieces.into_iter().find_map(|piece| sieve.feed(piece, asked).err());
        (sieve.passed().to_vec(), breach)
    }

    fn passed(bytes: &[u8]) -> (Vec<u8>, Option<Breach>) {
        sifted(&mut asking(b'Q'), [bytes])
    }

    /// Two requests that begin with a message of this type.
    fn asking(kind: u8) -> Asked {
        let mut asked = Asked::new();
        let sync = framed(b'S', b"");
        let request = if kind == b'Q' { framed(kind, b"\0") } else { [framed(kind, b""), sync].concat() };
        asked.take(&[b"\0\0\0\x08abcd", request.as_slice(), &request].concat()).unwrap();
        asked
    }

    fn greeting() -> Vec<u8> {
        [framed(b'R', &[0; 4]), framed(b'K', b"\0\0\x04\xd2\0\0\0\x01"), framed(b'Z', b"I")].concat()
    }

    fn row(value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        framed(b'D', &[&[0, 1], length.as_slice(), value].concat())
    }

    /// A header with this length, and three bytes of a body.
    fn claimed(kind: u8, length: u32) -> Vec<u8> {
        [&[kind], length.to_be_bytes().as_slice(), b"abc"].concat()
    }

    /// A session with messages of every type, and its filtered form.
    fn session() -> (Vec<u8>, Vec<u8>) {
        let names = |name: &[u8]| framed(b'T', &[&[0, 1], name, &[0; 19]].concat());
        let error = |text: &[u8]| framed(b'E', &[b"SERROR\0C42P01\0M", text, b"\0\0"].concat());
        let both = |part: Vec<u8>| (part.clone(), part);
        let parts = [
            both(greeting()),
            (framed(b'S', b"TimeZone\0UTC\0"), Vec::new()),
            (names(b"gr\xf6"), names("gr�".as_bytes())),
            (row(b"gr\xf6\xdfe"), row("gr��e".as_bytes())),
            both(row("größe".as_bytes())),
            both(framed(b'C', b"SELECT 2\0")),
            (framed(b'H', &[0, 0, 1, 0, 0]), Vec::new()),
            (framed(b'd', b"1\t\xff\n"), Vec::new()),
            (framed(b'c', b""), Vec::new()),
            (framed(b'A', b"\0\0\0\x01gr\xf6\0\0"), Vec::new()),
            (error(b"gr\xf6"), error("gr�".as_bytes())),
            both(framed(b'Z', b"I")),
            both(framed(b'I', b"")),
            both(framed(b'Z', b"I")),
        ];
        let (sent, expected): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        (sent.concat(), expected.concat())
    }

    #[test]
    fn passes_the_same_for_any_split_of_the_bytes() {
        let (sent, expected) = session();
        for cut in 0..=sent.len() {
            let (one, other) = sent.split_at(cut);
            assert_eq!(sifted(&mut asking(b'Q'), [one, other]), (expected.clone(), None), "{cut}");
        }
        assert_eq!(sifted(&mut asking(b'Q'), sent.chunks(1)), (expected, None));
    }

    #[test]
    fn records_the_pid() {
        let pid = BackendPid::default();
        Sieve::new(pid.clone()).feed(&greeting(), &mut Asked::new()).unwrap();
        assert_eq!(pid.get(), 1234);
    }

    #[test]
    fn rejects_a_server_by_its_first_byte() {
        for strange in [b"HTTP/1.1 400".as_slice(), b"SSH-2.0-x", &row(b"1")] {
            assert!(matches!(passed(strange).1, Some(Breach::Strange(_))));
        }
        assert_eq!(passed(b"").1, None);
    }

    #[test]
    fn reports_plain_text_instead_of_messages() {
        let words = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0";
        let told =
            Breach::Words("could not fork new process for connection: Resource temporarily unavailable".to_owned());
        for cut in 0..=words.len() {
            let (one, other) = words.split_at(cut);
            assert_eq!(sifted(&mut Asked::new(), [one, other]).1, Some(told.clone()), "{cut}");
        }
        let mut sieve = Sieve::new(BackendPid::default());
        sieve.feed(b"Ecould not fork", &mut Asked::new()).unwrap();
        assert_eq!(sieve.at_end(), Some(Breach::Words("could not fork".to_owned())));
    }

    #[test]
    fn rejects_an_impossible_length_at_once() {
        for (kind, length) in
            [(b'D', 0x7fff_ffff), (b'N', 0x7fff_ffff), (b'd', 0x4000_0005), (b'C', 1 << 29), (b'T', 2 << 20)]
        {
            let bytes = [greeting(), claimed(kind, length)].concat();
            let (out, breach) = passed(&bytes);
            assert_eq!(out, greeting());
            let Some(Breach::Strange(told)) = breach else { panic!("{breach:?}") };
            assert!(told.contains(&format!("a message of {} bytes", length - 4)), "{told}");
        }
        assert!(matches!(passed(&claimed(b'R', 0x7fff_ffff)).1, Some(Breach::Strange(_))));
    }

    #[test]
    fn rejects_messages_that_postgresql_does_not_have() {
        for strange in [claimed(b'W', 8), claimed(b'x', 8), vec![0, 0, 0, 0, 4], claimed(b'D', 3)] {
            let (out, breach) = passed(&[greeting(), strange].concat());
            assert!(out == greeting() && matches!(breach, Some(Breach::Strange(_))), "{breach:?}");
        }
    }

    #[test]
    fn gives_up_a_server_that_never_becomes_ready() {
        let notice = framed(b'N', &[b"SNOTICE\0C00000\0M", [b'x'; 4000].as_slice(), b"\0\0"].concat());
        let greeting = framed(b'R', &[0; 4]);
        let pieces = std::iter::once(greeting.as_slice()).chain(std::iter::repeat_n(notice.as_slice(), 10_000));
        let (out, breach) = sifted(&mut Asked::new(), pieces);
        assert!(out.len() < 2 * OPENING && breach.is_some());
    }

    #[test]
    fn replaces_a_row_that_is_too_long() {
        let long = row(&vec![b'x'; LONGEST_ROW]);
        let bytes = [greeting(), long, framed(b'C', b"SELECT 1\0")].concat();
        let (out, breach) = sifted(&mut asking(b'Q'), bytes.chunks(5000));
        assert_eq!((out, breach), ([greeting(), row(b"\xff"), framed(b'C', b"SELECT 1\0")].concat(), None));
    }

    #[test]
    fn refuses_copy_rows_unless_the_driver_sends_them() {
        let bytes = [greeting(), framed(b'G', &[0, 0, 1, 0, 0])].concat();
        let refusal = framed(b'f', format!("{NO_ROWS}\0").as_bytes());
        let mut asked = asking(b'Q');
        let before = asked.outgoing().len();
        assert_eq!(sifted(&mut asked, [bytes.as_slice()]), (greeting(), None));
        assert_eq!(&asked.outgoing()[before..], refusal);
        let mut asked = asking(b'P');
        let before = asked.outgoing().len();
        assert_eq!(sifted(&mut asked, [bytes.as_slice()]), (bytes, None));
        assert_eq!(asked.outgoing().len(), before);
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let anything = prop::collection::vec(any::<u8>(), 0..60);
        let real = (any::<prop::sample::Index>(), anything.clone()).prop_map(|(kind, body)| {
            let kinds = b"RKSNEZTDCIGHdcA123nst";
            framed(kinds[kind.index(kinds.len())], &body)
        });
        prop_oneof![8 => real, 1 => anything]
    }

    proptest! {
        #[test]
        fn passes_any_bytes_the_same_for_any_split(
            messages in prop::collection::vec(message(), 0..12),
            ready in any::<bool>(),
            cuts in prop::collection::vec(1_usize..40, 1..30),
        ) {
            let begin = if ready { greeting() } else { Vec::new() };
            let bytes = [begin, messages.concat()].concat();
            let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
            for length in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let (mut one, mut other) = (asking(b'Q'), asking(b'Q'));
            prop_assert_eq!(sifted(&mut one, pieces), sifted(&mut other, [bytes.as_slice()]));
            prop_assert_eq!(one.outgoing(), other.outgoing());
        }
    }
}
