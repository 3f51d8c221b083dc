//! Properties of the message filter for any bytes from a server, for `make fuzz` and the tests. Each function panics if
//! its property does not hold.

use super::{backend_pid::BackendPid, message_filter::MessageFilter, sent_requests::SentRequests};

/// Filters a server's bytes in pieces of these lengths: the result is the same as in one piece.
///
/// # Panics
/// If the property does not hold.
pub(crate) fn check_filter(bytes: &[u8], lengths: &[u8]) {
    let (at_once, pid, is_understood) = filter_chunks([bytes].into_iter());
    if is_understood {
        assert_eq!(filter_chunks(cut_into_chunks(bytes, lengths).into_iter()), (at_once, pid, true));
    } else {
        assert!(!filter_chunks(cut_into_chunks(bytes, lengths).into_iter()).2, "a breach is one however it arrives");
    }
}

/// Cuts the bytes into pieces that are one byte longer than these lengths, over and over.
pub(crate) fn cut_into_chunks<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    for length in lengths.iter().cycle().take(bytes.len()) {
        let (chunk, after) = rest.split_at(rest.len().min(usize::from(*length) + 1));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// Returns the filtered bytes, the announced pid, and whether the filter accepted all of them.
fn filter_chunks<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, i32, bool) {
    let pid = BackendPid::default();
    let (mut filter, mut requests, mut out) = (MessageFilter::new(pid.clone()), SentRequests::new(), Vec::new());
    let mut is_understood = true;
    for chunk in chunks {
        is_understood = is_understood && filter.filter_bytes(chunk, &mut requests).is_ok();
        let passed = filter.output().to_vec();
        filter.consume_output(passed.len());
        out.extend(passed);
    }
    (out, pid.get(), is_understood)
}
