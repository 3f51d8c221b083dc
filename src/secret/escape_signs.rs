//! The characters that start escapes, and those for control characters.

/// Bytes that may start an escape, regardless of the next byte. Quotes and the like may do so when they are doubled.
pub(super) const ESCAPE_SIGNS: &[u8] = b"%\\&=`^+";

/// Letters that stand for a control character after a backslash.
pub(super) const CONTROL_ESCAPES: [(u8, u8); 9] =
    [(b'n', b'\n'), (b't', b'\t'), (b'r', b'\r'), (b'b', 8), (b'f', 12), (b'v', 11), (b'a', 7), (b'e', 27), (b'0', 0)];
