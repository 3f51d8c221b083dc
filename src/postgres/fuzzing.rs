//! Properties of the parsers for any bytes from a server or a client, for `make fuzz` and the tests. Each function
//! panics if its property does not hold.

use super::{
    backend_messages::{BackendEvent, BackendMessages, UpstreamTls},
    backend_pid::BackendPid,
    message_filter::MessageFilter,
    sent_requests::SentRequests,
};

/// Passes a server's bytes through in pieces of these lengths: the output and the events are the same as in one
/// piece, and nothing is lost or added.
///
/// # Panics
/// If the property does not hold.
pub(crate) fn check_pass_through(bytes: &[u8], lengths: &[u8]) {
    for tls in [UpstreamTls::Off, UpstreamTls::Terminated] {
        let (at_once, events) = pass_chunks(tls, [bytes].into_iter());
        let (in_chunks, events_in_chunks) = pass_chunks(tls, cut_into_chunks(bytes, lengths).into_iter());
        assert_eq!(in_chunks, at_once, "{tls:?}");
        assert_eq!(events_in_chunks, events, "{tls:?}");
        assert!(tls == UpstreamTls::Terminated || at_once == bytes, "something else arrived");
        assert!(at_once.len() <= bytes.len() && events.len() <= bytes.len() / 5, "more than was sent");
    }
    let (at_once, pid, is_understood) = filter_chunks([bytes].into_iter());
    if is_understood {
        assert_eq!(filter_chunks(cut_into_chunks(bytes, lengths).into_iter()), (at_once, pid, true));
    } else {
        assert!(!filter_chunks(cut_into_chunks(bytes, lengths).into_iter()).2, "a breach is one however it arrives");
    }
}

fn cut_into_chunks<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    for length in lengths.iter().cycle().take(bytes.len()) {
        let (chunk, after) = rest.split_at(rest.len().min(usize::from(*length) + 1));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

fn pass_chunks<'a>(tls: UpstreamTls, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<BackendEvent>) {
    let (mut messages, mut out, mut events) = (BackendMessages::new(tls), Vec::new(), Vec::new());
    for chunk in chunks {
        out.extend_from_slice(&messages.pass_through(chunk, &mut |event| events.push(event)));
    }
    out.extend(messages.into_held_back());
    (out, events)
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
