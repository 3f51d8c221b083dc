//! Splits a byte stream of either side into messages (PostgreSQL manual, 55.7: type byte, length that counts itself,
//! body), in whatever pieces the bytes come. It keeps nothing of a body.

/// Bytes of a header: type and length.
const HEADER: usize = 5;

/// The position of a stream within its messages.
#[derive(Debug)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Within a header, after this many bytes.
    Header(usize),
    /// Within a body, of which this many bytes are still missing.
    Body(usize),
}

/// The next part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The header of a message: its type and the length of its body.
    Begin(u8, usize),
    /// A piece of the body that is not its end.
    Piece(&'a [u8]),
    /// The last piece of the body, which may be empty.
    Last(&'a [u8]),
    /// The bytes are no message.
    Broken,
}

impl Frames {
    /// Starts at the header of a message.
    pub(crate) fn new() -> Self {
        Self { header: [0; HEADER], at: At::Header(0) }
    }

    /// Starts at a packet without a type byte, such as a client's first one; it is reported as a message of type
    /// `kind`.
    pub(crate) fn from_packet(kind: u8) -> Self {
        Self { header: [kind, 0, 0, 0, 0], at: At::Header(1) }
    }

    /// Reports whether only whole messages have passed so far.
    pub(crate) fn is_between(&self) -> bool {
        self.at == At::Header(0)
    }

    /// Takes the next part off `bytes`; none at their end.
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

/// Returns the length of the body for the length in a header; none if no message can have it.
pub(crate) fn body_length(length: [u8; 4]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(length)).ok()?.checked_sub(4)
}

/// Returns the message of type `kind` with this body.
pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], crate::proxy::startup_packet::with_length(body).as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the messages in bytes that come in these pieces.
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
    fn finds_the_same_messages_for_any_split_of_the_bytes() {
        let bytes = [framed(b'Q', b"select 1\0"), framed(b'S', b""), framed(b'Z', b"I")].concat();
        let expected = [(b'Q', b"select 1\0".to_vec()), (b'S', Vec::new()), (b'Z', b"I".to_vec())];
        for cut in 0..=bytes.len() {
            let (one, other) = bytes.split_at(cut);
            assert_eq!(messages(Frames::new(), [one, other]), expected, "{cut}");
        }
        assert_eq!(messages(Frames::new(), bytes.chunks(1)), expected);
    }

    #[test]
    fn reads_a_first_packet_without_a_type_byte() {
        let bytes = [b"\0\0\0\x08abcd".as_slice(), &framed(b'Q', b"")].concat();
        assert_eq!(
            messages(Frames::from_packet(b'0'), bytes.chunks(3)),
            [(b'0', b"abcd".to_vec()), (b'Q', Vec::new())]
        );
    }

    #[test]
    fn rejects_an_invalid_length_or_type() {
        for strange in [b"R\0\0\0\x03".as_slice(), b"E\xff\xff\xff\xff", b"\0\0\0\0\x04"] {
            let mut bytes = strange;
            assert_eq!(Frames::new().next(&mut bytes), Some(Step::Broken));
        }
    }
}
