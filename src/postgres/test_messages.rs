//! Messages for the tests of their readers.

use super::wire_format::encode_message;
use proptest::prelude::*;

/// Generates messages of these types with any body, and now and then any bytes.
pub(crate) fn any_message(kinds: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..60);
    let valid = (prop::sample::select(kinds), any_bytes.clone()).prop_map(|(kind, body)| encode_message(kind, &body));
    prop_oneof![8 => valid, 1 => any_bytes]
}

/// Generates lengths for [`super::fuzzing::cut_into_chunks`].
pub(crate) fn chunk_lengths() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..39, 1..30)
}
