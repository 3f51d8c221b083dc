//! Messages as both sides send them, counted from header to header (PostgreSQL manual, 55.7: type byte, length that counts
//! itself, body), in whatever pieces they come. Nothing of a body is kept here.

/// How much a header is.
const HEADER: usize = 5;

/// Where in the messages a stream is.
#[derive(Debug)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So much of the header is there.
    Header(usize),
    /// So much of the body is to come.
    Body(usize),
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A message of this kind begins; its body has this length.
    Begin(u8, usize),
    /// A piece of its body.
    Piece(&'a [u8]),
    /// The last piece of its body, which may be empty.
    Last(&'a [u8]),
    /// These are no messages.
    Broken,
}

impl Frames {
    /// From the first header on.
    pub(crate) fn new() -> Self {
        Self { header: [0; HEADER], at: At::Header(0) }
    }

    /// From a packet without a type byte on, as a client's first one is; it is counted as one of this kind.
    pub(crate) fn from_packet(kind: u8) -> Self {
        Self { header: [kind, 0, 0, 0, 0], at: At::Header(1) }
    }

    /// Whether whole messages have passed so far.
    pub(crate) fn is_between(&self) -> bool {
        self.at == At::Header(0)
    }

    /// Takes the next step off `bytes`; none where they are at their end.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Step<'a>> {
        match self.at {
            At::Header(filled) => {
                let (more, rest) = bytes.split_at(bytes.len().min(HEADER - filled));
                for (place, byte) in self.header.iter_mut().skip(filled).zip(more) {
                    *place = *byte;
                }
                *bytes = rest;
                let filled = filled + more.len();
                if filled < HEADER {
                    self.at = At::Header(filled);
                    return None;
                }
                let [kind, length @ ..] = self.header;
                let Some(length) = body_length(length).filter(|_| kind.is_ascii_alphanumeric()) else {
                    return Some(Step::Broken);
                };
                self.at = At::Body(length);
                Some(Step::Begin(kind, length))
            }
            At::Body(left) if left > bytes.len() => {
                let piece = std::mem::take(bytes);
                self.at = At::Body(left - piece.len());
                (!piece.is_empty()).then_some(Step::Piece(piece))
            }
            At::Body(left) => {
                let (piece, rest) = bytes.split_at(left);
                *bytes = rest;
                self.at = At::Header(0);
                Some(Step::Last(piece))
            }
        }
    }
}

/// The length of the body, of a header's length; none where no message has that.
pub(crate) fn body_length(length: [u8; 4]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(length)).ok()?.checked_sub(4)
}

/// The message with this body.
pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], crate::proxy::with_length(body).as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that come when the bytes come in these pieces.
    fn messages<'a>(mut frames: Frames, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u8, Vec<u8>)> {
        let (mut whole, mut kind, mut body) = (Vec::new(), 0, Vec::new());
        for mut piece in pieces {
            while let Some(step) = frames.next(&mut piece) {
                match step {
                    Step::Begin(begun, _) => kind = begun,
                    Step::Piece(piece) => body.extend_from_slice(piece),
                    Step::Last(piece) => {
                        body.extend_from_slice(piece);
                        whole.push((kind, std::mem::take(&mut body)));
                    }
                    Step::Broken => panic!("they are messages"),
                }
            }
        }
        assert!(frames.is_between());
        whole
    }

    #[test]
    fn messages_are_the_same_whatever_way_their_bytes_are_cut() {
        let bytes = [framed(b'Q', b"select 1\0"), framed(b'S', b""), framed(b'Z', b"I")].concat();
        let expected = [(b'Q', b"select 1\0".to_vec()), (b'S', Vec::new()), (b'Z', b"I".to_vec())];
        for cut in 0..=bytes.len() {
            let (one, other) = bytes.split_at(cut);
            assert_eq!(messages(Frames::new(), [one, other]), expected, "{cut}");
        }
        assert_eq!(messages(Frames::new(), bytes.chunks(1)), expected);
    }

    #[test]
    fn a_first_packet_has_no_kind() {
        let bytes = [b"\0\0\0\x08abcd".as_slice(), &framed(b'Q', b"")].concat();
        assert_eq!(
            messages(Frames::from_packet(b'0'), bytes.chunks(3)),
            [(b'0', b"abcd".to_vec()), (b'Q', Vec::new())]
        );
    }

    #[test]
    fn what_has_no_length_is_no_message() {
        for strange in [b"R\0\0\0\x03".as_slice(), b"E\xff\xff\xff\xff", b"\0\0\0\0\x04"] {
            let mut bytes = strange;
            assert_eq!(Frames::new().next(&mut bytes), Some(Step::Broken));
        }
    }
}
