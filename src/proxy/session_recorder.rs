//! Records the pid and the errors of a session while the server's messages pass through to the client. From the first
//! bytes that are no messages on, everything passes unparsed.

use super::{
    backend_event::{BackendEvent, MAX_KEPT},
    channel_binding::without_channel_binding,
    error_scanner::ErrorScanner,
    upstream::UpstreamTls,
};
use crate::postgres::{
    FramePart, MessageFramer,
    backend_messages::{AUTHENTICATION, READY_FOR_QUERY, STARTUP_TYPES},
    wire_format::encode_message,
};
use std::borrow::Cow;

/// The recorder of one session, from its first message on.
#[derive(Debug)]
pub(crate) struct SessionRecorder {
    tls: UpstreamTls,
    state: ParseState,
}

#[derive(Debug)]
enum ParseState {
    /// Not ready for a query yet. Holds back the beginning of an incomplete message.
    Startup(Vec<u8>),
    Ready(ErrorScanner),
    Unparsed,
}

impl SessionRecorder {
    /// Starts with the first message of a session.
    pub(crate) fn new(tls: UpstreamTls) -> Self {
        Self { tls, state: ParseState::Startup(Vec::new()) }
    }

    /// Passes a session unparsed, because it is encrypted by the client.
    pub(crate) fn unparsed() -> Self {
        Self { tls: UpstreamTls::Off, state: ParseState::Unparsed }
    }

    /// Takes bytes from the server and returns the bytes that pass to the client now.
    pub(crate) fn pass_through<'a>(
        &mut self,
        bytes: &'a [u8],
        on_event: &mut impl FnMut(BackendEvent),
    ) -> Cow<'a, [u8]> {
        match &mut self.state {
            ParseState::Unparsed => {}
            ParseState::Ready(scanner) => {
                if scanner.scan_messages(bytes, on_event).is_none() {
                    self.state = ParseState::Unparsed;
                }
            }
            ParseState::Startup(held_back) => {
                let mut pending = std::mem::take(held_back);
                pending.extend_from_slice(bytes);
                let (passed, state) = parse_startup(&pending, self.tls, on_event);
                self.state = state;
                return Cow::Owned(passed);
            }
        }
        Cow::Borrowed(bytes)
    }

    /// Returns whether the stream can be parsed.
    pub(crate) fn is_parsing(&self) -> bool {
        !matches!(self.state, ParseState::Unparsed)
    }

    /// Returns the bytes that were held back of an incomplete message.
    pub(crate) fn into_held_back(self) -> Vec<u8> {
        match self.state {
            ParseState::Startup(held_back) => held_back,
            ParseState::Ready(_) | ParseState::Unparsed => Vec::new(),
        }
    }

    /// Reports whether the client has received only whole messages so far, so that the proxy can add one of its own.
    pub(crate) fn is_at_boundary(&self) -> bool {
        match &self.state {
            ParseState::Startup(_) => true,
            ParseState::Ready(scanner) => scanner.is_at_boundary(),
            ParseState::Unparsed => false,
        }
    }
}

/// Parses messages before `ReadyForQuery`. Returns the bytes that pass, and the next state.
fn parse_startup(bytes: &[u8], tls: UpstreamTls, on_event: &mut impl FnMut(BackendEvent)) -> (Vec<u8>, ParseState) {
    let (mut passed, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    loop {
        let (message, after) = match split_startup_message(rest) {
            StartupMessage::Complete(message, after) => (message, after),
            StartupMessage::Incomplete => return (passed, ParseState::Startup(rest.to_vec())),
            StartupMessage::Invalid => {
                passed.extend_from_slice(rest);
                return (passed, ParseState::Unparsed);
            }
        };
        rest = after;
        let (kind, body) = message;
        let is_rewritten = kind == AUTHENTICATION && tls == UpstreamTls::Terminated;
        let rewritten = if is_rewritten { without_channel_binding(body) } else { None };
        passed.extend(encode_message(kind, rewritten.as_deref().unwrap_or(body)));
        BackendEvent::from_message(kind, body).into_iter().for_each(&mut *on_event);
        if kind == READY_FOR_QUERY {
            passed.extend_from_slice(rest);
            let mut scanner = ErrorScanner::new();
            let state = scanner.scan_messages(rest, on_event).map(|()| ParseState::Ready(scanner));
            return (passed, state.unwrap_or(ParseState::Unparsed));
        }
    }
}

/// The first message of some bytes.
enum StartupMessage<'a> {
    /// Type and body, and the bytes behind it.
    Complete((u8, &'a [u8]), &'a [u8]),
    Incomplete,
    Invalid,
}

fn split_startup_message(bytes: &[u8]) -> StartupMessage<'_> {
    // The first byte of a service that is not PostgreSQL must not wait for a whole header.
    if bytes.first().is_some_and(|kind| !STARTUP_TYPES.contains(kind)) {
        return StartupMessage::Invalid;
    }
    let mut rest = bytes;
    match MessageFramer::new().next_part(&mut rest) {
        None => StartupMessage::Incomplete,
        Some(FramePart::Header(kind, length)) if length <= MAX_KEPT => match rest.split_at_checked(length) {
            None => StartupMessage::Incomplete,
            Some((body, rest)) => StartupMessage::Complete((kind, body), rest),
        },
        Some(_) => StartupMessage::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        postgres::{
            fuzzing::cut_into_chunks,
            test_messages::{any_message, chunk_lengths},
        },
        proxy::error_response,
    };
    use proptest::prelude::*;

    /// Returns the output and the events for bytes that come in these pieces.
    fn passed<'a>(
        tls: UpstreamTls,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, Vec<BackendEvent>, SessionRecorder) {
        let (mut recorder, mut out, mut events) = (SessionRecorder::new(tls), Vec::new(), Vec::new());
        for chunk in chunks {
            out.extend_from_slice(&recorder.pass_through(chunk, &mut |event| events.push(event)));
        }
        (out, events, recorder)
    }

    fn sasl(names: &[&str]) -> Vec<u8> {
        let names: Vec<u8> = names.iter().flat_map(|name| format!("{name}\0").into_bytes()).collect();
        encode_message(b'R', &[&[0, 0, 0, 10], names.as_slice(), &[0]].concat())
    }

    fn greeting() -> Vec<u8> {
        [
            encode_message(b'R', &[0; 4]),
            encode_message(b'S', b"a\0b\0"),
            encode_message(b'K', b"\0\0\x04\xd2\0\0\0\x01"),
            encode_message(b'Z', b"I"),
        ]
        .concat()
    }

    fn error_response(sqlstate: &str, message: &str) -> (Vec<u8>, BackendEvent) {
        let events = BackendEvent::Error { sqlstate: sqlstate.to_owned(), message: message.to_owned() };
        (error_response::fatal_error(sqlstate, message, "", ""), events)
    }

    #[test]
    fn reports_the_same_events_for_any_split_of_the_bytes() {
        let (error, event) = error_response("42P01", "no such table");
        let session =
            [greeting(), encode_message(b'T', &[7; 300]), error, encode_message(b'Z', b"I"), encode_message(b'1', b"")]
                .concat();
        for cut in 0..session.len() {
            let (first, second) = session.split_at(cut);
            let (out, events, recorder) = passed(UpstreamTls::Off, [first, second]);
            assert_eq!(out, session);
            assert_eq!(events, [BackendEvent::Started(1234), event.clone()]);
            assert!(recorder.is_at_boundary());
        }
    }

    #[test]
    fn removes_channel_binding_when_the_proxy_terminates_tls() {
        let offer = sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        for cut in 0..offer.len() {
            let (first, second) = offer.split_at(cut);
            let (out, ..) = passed(UpstreamTls::Terminated, [first, second, greeting().as_slice()]);
            assert_eq!(out, [sasl(&["SCRAM-SHA-256"]), greeting()].concat());
        }
        assert_eq!(passed(UpstreamTls::Off, [offer.as_slice()]).0, offer);
        for alone in [
            sasl(&["SCRAM-SHA-256-PLUS"]),
            sasl(&["SCRAM-SHA-256"]),
            sasl(&[]),
            encode_message(b'R', &[0, 0, 0, 10, 1]),
        ] {
            assert_eq!(passed(UpstreamTls::Terminated, [alone.as_slice()]).0, alone);
        }
    }

    #[test]
    fn reports_a_refused_login() {
        let (error, event) = error_response("28P01", "password authentication failed");
        let (out, events, _) = passed(UpstreamTls::Terminated, [error.as_slice()]);
        assert_eq!((out, events), (error, vec![event]));
    }

    #[test]
    fn passes_bytes_that_are_no_messages_at_once() {
        for invalid in
            [b"HTTP/1.1 400".as_slice(), b"R\0\0\0\x03", b"E\xff\xff\xff\xff", b"could not fork", b"S\x7f\0\0\0"]
        {
            let (out, events, recorder) = passed(UpstreamTls::Terminated, [invalid, b"more"]);
            assert_eq!(out, [invalid, b"more"].concat());
            assert!(events.is_empty() && !recorder.is_at_boundary());
        }
        let (out, _, recorder) =
            passed(UpstreamTls::Off, [greeting().as_slice(), b"\0\0\0\0\x04", &error_response("0", "").0]);
        assert!(out.starts_with(&greeting()) && !recorder.is_at_boundary());
    }

    #[test]
    fn releases_an_incomplete_message_at_the_end() {
        let (out, _, recorder) = passed(UpstreamTls::Terminated, [b"R\0\0\0\x08\0\0".as_slice()]);
        assert!(out.is_empty() && recorder.is_at_boundary());
        assert_eq!(recorder.into_held_back(), b"R\0\0\0\x08\0\0");
    }

    #[test]
    fn keeps_only_the_beginning_of_an_endless_error() {
        let (long, _) = error_response("XX000", &"x".repeat(10 * MAX_KEPT));
        let (out, events, recorder) = passed(UpstreamTls::Off, [greeting(), long].concat().chunks(1000));
        assert!(out.len() > 10 * MAX_KEPT && recorder.is_at_boundary());
        let Some(BackendEvent::Error { sqlstate, message }) = events.last() else { panic!("{events:?}") };
        assert!(sqlstate == "XX000" && message.len() < MAX_KEPT && message.len() > MAX_KEPT / 2);
    }

    #[test]
    fn is_not_between_messages_in_the_middle_of_one() {
        let row = encode_message(b'D', &[1; 100]);
        for cut in 1..row.len() {
            let (part, _) = row.split_at(cut);
            assert!(!passed(UpstreamTls::Off, [greeting().as_slice(), part]).2.is_at_boundary(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn passes_any_bytes_unchanged_for_any_split(
            sent_messages in prop::collection::vec(any_message(b"RKSNEvZDTC123"), 0..12),
            ready in any::<bool>(),
            lengths in chunk_lengths(),
        ) {
            let begin = if ready { greeting() } else { Vec::new() };
            let bytes = [begin, sent_messages.concat()].concat();
            let (mut out, events, recorder) = passed(UpstreamTls::Off, cut_into_chunks(&bytes, &lengths));
            out.extend(recorder.into_held_back());
            prop_assert_eq!(&out, &bytes);
            let (_, events_at_once, _) = passed(UpstreamTls::Off, [bytes.as_slice()]);
            prop_assert_eq!(events, events_at_once);
        }
    }
}
