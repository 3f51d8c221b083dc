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
pub(crate) fn check_pass_through(bytes: &[u8], pieces: &[u8]) {
    for tls in [UpstreamTls::Off, UpstreamTls::Terminated] {
        let (at_once, events) = pass_pieces(tls, [bytes].into_iter());
        let (in_pieces, events_in_pieces) = pass_pieces(tls, cut_into_pieces(bytes, pieces).into_iter());
        assert_eq!(in_pieces, at_once, "{tls:?}");
        assert_eq!(events_in_pieces, events, "{tls:?}");
        assert!(tls == UpstreamTls::Terminated || at_once == bytes, "something else arrived");
        assert!(at_once.len() <= bytes.len() && events.len() <= bytes.len() / 5, "more than was sent");
    }
    let (at_once, pid, is_understood) = filter_pieces([bytes].into_iter());
    if is_understood {
        assert_eq!(filter_pieces(cut_into_pieces(bytes, pieces).into_iter()), (at_once, pid, true));
    } else {
        assert!(!filter_pieces(cut_into_pieces(bytes, pieces).into_iter()).2, "a breach is one however it arrives");
    }
}

fn cut_into_pieces<'a>(bytes: &'a [u8], pieces: &[u8]) -> Vec<&'a [u8]> {
    let (mut cut, mut rest) = (Vec::new(), bytes);
    for length in pieces.iter().cycle().take(bytes.len()) {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*length) + 1));
        cut.push(piece);
        rest = after;
    }
    cut.push(rest);
    cut
}

fn pass_pieces<'a>(tls: UpstreamTls, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<BackendEvent>) {
    let (mut messages, mut out, mut events) = (BackendMessages::new(tls), Vec::new(), Vec::new());
    for piece in pieces {
        out.extend_from_slice(&messages.pass_through(piece, &mut |what| events.push(what)));
    }
    out.extend(messages.into_held_back());
    (out, events)
}

/// Returns the filtered bytes, the announced pid, and whether the filter accepted all of them.
fn filter_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, i32, bool) {
    let pid = BackendPid::default();
    let (mut sieve, mut asked, mut out) = (MessageFilter::new(pid.clone()), SentRequests::new(), Vec::new());
    let mut is_understood = true;
    for piece in pieces {
        is_understood = is_understood && sieve.filter_bytes(piece, &mut asked).is_ok();
        let passed = sieve.output().to_vec();
        sieve.consume_output(passed.len());
        out.extend(passed);
    }
    (out, pid.get(), is_understood)
}
