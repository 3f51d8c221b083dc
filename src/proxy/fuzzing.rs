//! Properties of a client's first packet and of a server's messages, for `make fuzz` and the tests. Each function panics
//! if one does not hold.

use super::{
    backend_event::BackendEvent,
    error_response,
    session_recorder::SessionRecorder,
    startup_packet::{self, InjectedOptions},
    upstream::UpstreamTls,
};
use crate::postgres::{
    fuzzing::cut_into_chunks,
    wire_format::{encode_message, encode_packet},
};

/// Length of the longest start-up packet that PostgreSQL accepts (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_PACKET_LENGTH: usize = 10_000;

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
}

fn pass_chunks<'a>(tls: UpstreamTls, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<BackendEvent>) {
    let (mut recorder, mut out, mut events) = (SessionRecorder::new(tls), Vec::new(), Vec::new());
    for chunk in chunks {
        out.extend_from_slice(&recorder.pass_through(chunk, &mut |event| events.push(event)));
    }
    out.extend(recorder.into_held_back());
    (out, events)
}

/// Treats the bytes as a client's first packet: options are injected only into a complete start-up packet, and the
/// client's other parameters stay unchanged.
///
/// # Panics
/// If the property does not hold.
pub(crate) fn check_first_packet(packet: &[u8]) {
    let is_startup = |packet: &[u8]| {
        matches!(
            startup_packet::classify_packet(packet),
            startup_packet::FirstPacket::Startup | startup_packet::FirstPacket::Replication
        )
    };
    let rewritten = startup_packet::with_injected_options(packet, "we", &options_before("-c a=1"));
    let Some((version, parameters)) = parse_startup_packet(packet) else {
        assert!(rewritten.is_none() && !is_startup(packet), "it is no start-up packet");
        return;
    };
    assert_eq!(is_startup(packet), version >> 16 == 3);
    for cut in 0..packet.len() {
        assert!(!is_startup(packet.split_at(cut).0), "{cut} bytes of it");
    }
    let longer = [packet, &[0]].concat();
    assert!(
        !is_startup(&longer)
            && startup_packet::with_injected_options(&longer, "", &InjectedOptions::default()).is_none(),
        "a byte more than it says"
    );
    let is_ours = |name: &[u8]| name == b"options" || name.eq_ignore_ascii_case(b"application_name");
    let client_options =
        parameters.iter().rfind(|(name, _)| *name == b"options").map(|(_, value)| *value).unwrap_or_default();
    let options = if client_options.is_empty() { b"-c a=1".to_vec() } else { [b"-c a=1 ", client_options].concat() };
    let mut expected: PacketParameters<'_> = parameters.iter().copied().filter(|(name, _)| !is_ours(name)).collect();
    if expected.len() == parameters.len() {
        assert_eq!(
            startup_packet::with_injected_options(packet, "", &InjectedOptions::default()).as_deref(),
            Some(packet),
            "with nothing to add it stays as it is"
        );
    }
    expected.extend([(b"options".as_slice(), options.as_slice()), (b"application_name", b"we")]);
    match &rewritten {
        Some(rewritten) => assert_eq!(parse_startup_packet(rewritten), Some((version, expected))),
        None => {
            assert!(
                packet.len() + b"options\0-c a=1 \0application_name\0we\0".len() > MAX_PACKET_LENGTH + 4,
                "there is room"
            );
        }
    }
}

/// Names and values, in their order.
type PacketParameters<'p> = Vec<(&'p [u8], &'p [u8])>;

fn options_before(options: &str) -> InjectedOptions {
    InjectedOptions { before: options.to_owned(), after: String::new() }
}

/// Returns the version and the parameters of a packet that is one complete start-up packet of any version.
fn parse_startup_packet(packet: &[u8]) -> Option<(u32, PacketParameters<'_>)> {
    let (length, body) = packet.split_first_chunk::<4>()?;
    let (version, text) = body.split_first_chunk::<4>()?;
    let is_valid_length =
        usize::try_from(u32::from_be_bytes(*length)) == Ok(packet.len()) && body.len() <= MAX_PACKET_LENGTH;
    let text = text.strip_suffix(&[0]).filter(|_| is_valid_length)?;
    let texts: Vec<&[u8]> = match text.strip_suffix(&[0]) {
        Some(text) => text.split(|byte| *byte == 0).collect(),
        None if text.is_empty() => Vec::new(),
        None => return None,
    };
    let mut pairs = Vec::new();
    for pair in texts.chunks(2) {
        match pair {
            [name, value] if !name.is_empty() => pairs.push((*name, *value)),
            _ => return None,
        }
    }
    Some((u32::from_be_bytes(*version), pairs))
}

/// Writes a start-up packet, settings and an error with these texts and reads each back.
///
/// # Panics
/// If one differs.
pub(crate) fn check_written_packets(texts: &[String]) {
    let texts: Vec<String> = texts.iter().map(|text| text.replace('\0', "")).collect();
    let pairs: Vec<(String, String)> =
        texts.iter().zip(texts.iter().skip(1)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut body = (3_u32 << 16).to_be_bytes().to_vec();
    for (name, value) in pairs.iter().filter(|(name, _)| !name.is_empty()) {
        body.extend(format!("{name}\0{value}\0").into_bytes());
    }
    body.push(0);
    if body.len() <= MAX_PACKET_LENGTH {
        let packet = encode_packet(&body);
        assert!(parse_startup_packet(&packet).is_some(), "it is written as one");
        check_first_packet(&packet);
    }
    let expected: Vec<String> =
        pairs.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect();
    assert_eq!(split_options(&crate::postgres::encode_options(&pairs)), expected);
    if let [message, detail, hint, ..] = texts.as_slice() {
        let written = error_response::fatal_error("08006", message, detail, hint);
        let expected = [('S', "FATAL"), ('V', "FATAL"), ('C', "08006"), ('M', message), ('D', detail), ('H', hint)];
        let expected: String = expected
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(field, text)| format!("{field}{text}\0"))
            .chain(["\0".to_owned()])
            .collect();
        assert_eq!(written, encode_message(b'E', expected.as_bytes()));
    }
}

/// Splits `options` as the server does (`pg_split_opts` in `postinit.c`).
fn split_options(options: &str) -> Vec<String> {
    let is_blank = |letter: char| letter.is_ascii_whitespace() || letter == '\x0b';
    let (mut arguments, mut letters) = (Vec::new(), options.chars().peekable());
    loop {
        while letters.next_if(|letter| is_blank(*letter)).is_some() {}
        if letters.peek().is_none() {
            return arguments;
        }
        let mut argument = String::new();
        while let Some(letter) = letters.next_if(|letter| !is_blank(*letter)) {
            argument.extend(if letter == '\\' { letters.next() } else { Some(letter) });
        }
        arguments.push(argument);
    }
}
