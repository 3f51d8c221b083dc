//! Splits a byte stream of either side into messages (PostgreSQL manual, 55.7: type byte, length that counts itself,
//! body), from pieces of any size. It keeps nothing of a body.

use super::wire_format::{HEADER_LENGTH, body_length};

/// The position of a stream within its messages.
#[derive(Debug)]
pub(crate) struct MessageFramer {
    header: [u8; HEADER_LENGTH],
    position: FramePosition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramePosition {
    /// Within a header, after this many bytes.
    Header(usize),
    /// Within a body, of which this many bytes are still missing.
    Body(usize),
}

/// The next part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FramePart<'a> {
    /// The header of a message: its type and the length of its body.
    Header(u8, usize),
    /// A piece of the body that is not its end.
    Body(&'a [u8]),
    /// The last piece of the body, which may be empty.
    BodyEnd(&'a [u8]),
    /// The bytes are no message.
    Invalid,
}

impl MessageFramer {
    /// Starts at the header of a message.
    pub(crate) fn new() -> Self {
        Self { header: [0; HEADER_LENGTH], position: FramePosition::Header(0) }
    }

    /// Starts at a packet without a type byte, such as a client's first one; it is reported as a message of type
    /// `kind`.
    pub(crate) fn from_startup_packet(kind: u8) -> Self {
        Self { header: [kind, 0, 0, 0, 0], position: FramePosition::Header(1) }
    }

    /// Reports whether only whole messages have passed so far.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.position == FramePosition::Header(0)
    }

    /// Takes the next part off `bytes`; none at their end.
    pub(crate) fn next_part<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<FramePart<'a>> {
        match self.position {
            FramePosition::Header(filled) => {
                let (header_bytes, rest) = bytes.split_at(bytes.len().min(HEADER_LENGTH - filled));
                for (slot, byte) in self.header.iter_mut().skip(filled).zip(header_bytes) {
                    *slot = *byte;
                }
                *bytes = rest;
                let filled = filled + header_bytes.len();
                if filled < HEADER_LENGTH {
                    self.position = FramePosition::Header(filled);
                    return None;
                }
                let [kind, length @ ..] = self.header;
                let Some(length) = body_length(length).filter(|_| kind.is_ascii_alphanumeric()) else {
                    return Some(FramePart::Invalid);
                };
                self.position = FramePosition::Body(length);
                Some(FramePart::Header(kind, length))
            }
            FramePosition::Body(remaining) if remaining > bytes.len() => {
                let chunk = std::mem::take(bytes);
                self.position = FramePosition::Body(remaining - chunk.len());
                (!chunk.is_empty()).then_some(FramePart::Body(chunk))
            }
            FramePosition::Body(remaining) => {
                let (chunk, rest) = bytes.split_at(remaining);
                *bytes = rest;
                self.position = FramePosition::Header(0);
                Some(FramePart::BodyEnd(chunk))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire_format::encode_message, *};

    /// Returns the messages in bytes that come in these pieces.
    fn messages<'a>(mut frames: MessageFramer, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u8, Vec<u8>)> {
        let (mut complete, mut kind, mut body) = (Vec::new(), 0, Vec::new());
        for mut chunk in chunks {
            while let Some(step) = frames.next_part(&mut chunk) {
                match step {
                    FramePart::Header(message_kind, _) => kind = message_kind,
                    FramePart::Body(chunk) => body.extend_from_slice(chunk),
                    FramePart::BodyEnd(chunk) => {
                        body.extend_from_slice(chunk);
                        complete.push((kind, std::mem::take(&mut body)));
                    }
                    FramePart::Invalid => panic!("they are messages"),
                }
            }
        }
        assert!(frames.is_at_boundary());
        complete
    }

    #[test]
    fn finds_the_same_messages_for_any_split_of_the_bytes() {
        let bytes =
            [encode_message(b'Q', b"select 1\0"), encode_message(b'S', b""), encode_message(b'Z', b"I")].concat();
        let expected = [(b'Q', b"select 1\0".to_vec()), (b'S', Vec::new()), (b'Z', b"I".to_vec())];
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(messages(MessageFramer::new(), [first, second]), expected, "{cut}");
        }
        assert_eq!(messages(MessageFramer::new(), bytes.chunks(1)), expected);
    }

    #[test]
    fn reads_a_first_packet_without_a_type_byte() {
        let bytes = [b"\0\0\0\x08abcd".as_slice(), &encode_message(b'Q', b"")].concat();
        assert_eq!(
            messages(MessageFramer::from_startup_packet(b'0'), bytes.chunks(3)),
            [(b'0', b"abcd".to_vec()), (b'Q', Vec::new())]
        );
    }

    #[test]
    fn rejects_an_invalid_length_or_type() {
        for invalid in [b"R\0\0\0\x03".as_slice(), b"E\xff\xff\xff\xff", b"\0\0\0\0\x04"] {
            let mut bytes = invalid;
            assert_eq!(MessageFramer::new().next_part(&mut bytes), Some(FramePart::Invalid));
        }
    }
}
