//! The first packets of a client (PostgreSQL manual, 55.2 and 55.7). They are untrusted: lengths are bounded, and nothing
//! of them is kept.

use crate::postgres::{
    frontend_messages::{CANCEL_REQUEST, GSSENC_REQUEST, PROTOCOL_MAJOR_VERSION, SSL_REQUEST},
    wire_format::{body_length, encode_packet, push_c_string, split_c_string},
};

/// Length of the longest start-up packet that PostgreSQL accepts (`MAX_STARTUP_PACKET_LENGTH`), without the length
/// field.
const MAX_LENGTH: usize = 10_000;

/// First byte of a TLS handshake without a request before it (`sslnegotiation=direct`).
const TLS_HANDSHAKE: u8 = 0x16;

/// The kind of a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPacket {
    /// A request for TLS.
    TlsRequest,
    /// A TLS handshake without a request.
    TlsHandshake,
    /// A request for GSSAPI encryption.
    GssRequest,
    /// A request to cancel another session's statement.
    CancelRequest,
    /// A start-up packet.
    Startup,
    /// A start-up packet for replication.
    Replication,
    /// A packet that no PostgreSQL server accepts.
    Invalid,
}

/// Returns the number of bytes behind the length; none if no first packet has that length.
pub(crate) fn remaining_length(length: [u8; 4]) -> Option<usize> {
    body_length(length).filter(|rest| (4..=MAX_LENGTH).contains(rest))
}

/// Returns the kind of a packet. The packet begins with its length, and may end there if [`remaining_length`] returns none.
pub(crate) fn classify_packet(packet: &[u8]) -> FirstPacket {
    if packet.first() == Some(&TLS_HANDSHAKE) {
        return FirstPacket::TlsHandshake;
    }
    match split_packet(packet) {
        Some((CANCEL_REQUEST, [_, ..])) => FirstPacket::CancelRequest,
        Some((SSL_REQUEST, [])) => FirstPacket::TlsRequest,
        Some((GSSENC_REQUEST, [])) => FirstPacket::GssRequest,
        // The format is the same for every minor version: the server responds with the one it supports.
        Some((version, text)) if version >> 16 == PROTOCOL_MAJOR_VERSION => match parse_parameters(text) {
            Some(parameters) if parameters.iter().any(|(name, _)| *name == b"replication") => FirstPacket::Replication,
            Some(_) => FirstPacket::Startup,
            None => FirstPacket::Invalid,
        },
        _ => FirstPacket::Invalid,
    }
}

/// Our settings in the syntax of `options`, where the later of two settings wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InjectedOptions {
    /// Settings before the client's own.
    pub(crate) before: String,
    /// Settings after the client's own.
    pub(crate) after: String,
}

/// Returns the start-up packet with our settings around the client's own, and with our name. None if it is no
/// start-up packet or would become longer than PostgreSQL accepts.
pub(crate) fn with_injected_options(
    packet: &[u8],
    application_name: &str,
    injected: &InjectedOptions,
) -> Option<Vec<u8>> {
    let (version, text) = split_packet(packet)?;
    let parameters = parse_parameters(text)?;
    // If there are several, the server uses the last one.
    let client_options = parameters.iter().rfind(|(name, _)| *name == b"options").map(|(_, value)| *value);
    // The blank comes first because a backslash at the end of the client's own options would escape it.
    let after = if injected.after.is_empty() { String::new() } else { format!(" {}", injected.after) };
    let options = [injected.before.as_bytes(), client_options.unwrap_or_default(), after.as_bytes()];
    let options = options.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ');
    // Names of settings are case-insensitive; `options` is not. A setting beside `options` would override those in it.
    let is_replaced = |name: &[u8]| {
        name == b"options" || name.eq_ignore_ascii_case(b"application_name") || injected.is_overridden_by(name)
    };
    let remaining = parameters.into_iter().filter(|(name, _)| !is_replaced(name));
    let injected: [(&[u8], &[u8]); 2] = [(b"options", &options), (b"application_name", application_name.as_bytes())];
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in remaining.chain(injected.into_iter().filter(|(_, value)| !value.is_empty())) {
        push_c_string(&mut body, name);
        push_c_string(&mut body, value);
    }
    body.push(0);
    (body.len() <= MAX_LENGTH).then(|| encode_packet(&body))
}

/// Returns the start-up packet with another role and another database. None if it is no start-up packet.
pub(crate) fn with_identity(packet: &[u8], role: &str, database: &str) -> Option<Vec<u8>> {
    let (version, text) = split_packet(packet)?;
    let remaining = parse_parameters(text)?.into_iter().filter(|(name, _)| !matches!(*name, b"user" | b"database"));
    let identity: [(&[u8], &[u8]); 2] = [(b"user", role.as_bytes()), (b"database", database.as_bytes())];
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in identity.into_iter().chain(remaining) {
        push_c_string(&mut body, name);
        push_c_string(&mut body, value);
    }
    body.push(0);
    Some(encode_packet(&body))
}

/// Returns the role in a start-up packet.
pub(crate) fn role_of(packet: &[u8]) -> Option<&[u8]> {
    let (_, text) = split_packet(packet)?;
    parse_parameters(text)?.into_iter().rfind(|(name, _)| *name == b"user").map(|(_, role)| role)
}

/// Splits the client's `options` from its packet. None if it is no start-up packet, or they are no UTF-8.
pub(crate) fn take_options(packet: &[u8]) -> Option<(Vec<u8>, String)> {
    let (version, text) = split_packet(packet)?;
    let parameters = parse_parameters(text)?;
    let options = parameters.iter().rfind(|(name, _)| *name == b"options").map(|(_, value)| *value);
    let options = String::from_utf8(options.unwrap_or_default().to_vec()).ok()?;
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters.into_iter().filter(|(name, _)| *name != b"options") {
        push_c_string(&mut body, name);
        push_c_string(&mut body, value);
    }
    body.push(0);
    Some((encode_packet(&body), options))
}

impl InjectedOptions {
    /// Reports whether a parameter of this name would override one of the settings in `after`.
    fn is_overridden_by(&self, name: &[u8]) -> bool {
        let sets_name =
            |setting: &str| setting.split('=').next().is_some_and(|key| key.as_bytes().eq_ignore_ascii_case(name));
        self.after.split("-c ").any(sets_name)
    }
}

/// Splits a packet into its code or version and the bytes behind it.
fn split_packet(packet: &[u8]) -> Option<(u32, &[u8])> {
    let (length, body) = packet.split_first_chunk::<4>()?;
    let (code, rest) = body.split_first_chunk::<4>()?;
    (remaining_length(*length) == Some(body.len())).then(|| (u32::from_be_bytes(*code), rest))
}

/// Parses names and values up to the empty name, which must be the end.
fn parse_parameters(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (mut parameters, mut rest) = (Vec::new(), bytes);
    loop {
        let (name, after) = split_c_string(rest)?;
        if name.is_empty() {
            return after.is_empty().then_some(parameters);
        }
        let (value, after) = split_c_string(after)?;
        parameters.push((name, value));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V3: u32 = 3 << 16;

    fn before(options: &str) -> InjectedOptions {
        InjectedOptions { before: options.to_owned(), after: String::new() }
    }

    fn packet(code: u32, text: &[u8]) -> Vec<u8> {
        encode_packet(&[&code.to_be_bytes(), text].concat())
    }

    fn read(packet: &[u8]) -> Vec<(String, String)> {
        let (_, text) = split_packet(packet).expect("it is a packet");
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        parse_parameters(text).expect("it has parameters").into_iter().map(|(n, v)| (lossy(n), lossy(v))).collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    #[test]
    fn recognizes_every_first_packet() {
        assert_eq!(classify_packet(&packet(80_877_103, b"")), FirstPacket::TlsRequest);
        assert_eq!(classify_packet(&packet(80_877_104, b"")), FirstPacket::GssRequest);
        assert_eq!(classify_packet(&packet(80_877_102, &[0; 8])), FirstPacket::CancelRequest);
        assert_eq!(classify_packet(&packet(80_877_102, &[7; 260])), FirstPacket::CancelRequest);
        assert_eq!(classify_packet(&packet(V3, b"user\0me\0\0")), FirstPacket::Startup);
        assert_eq!(classify_packet(&packet(V3 + 2, b"user\0me\0_pq_.x\0on\0\0")), FirstPacket::Startup);
        assert_eq!(classify_packet(&packet(V3, b"user\0me\0replication\0database\0\0")), FirstPacket::Replication);
        assert_eq!(classify_packet(&[0x16, 3, 1, 2]), FirstPacket::TlsHandshake);
    }

    #[test]
    fn does_not_recognize_packets_that_no_server_accepts() {
        for invalid in [
            b"GET / HTTP/1.1".as_slice(),
            b"",
            b"\0\0\0\x08",
            &packet(2 << 16, b"user\0me\0\0"),
            &packet(V3, b""),
            &packet(V3, b"user\0me\0"),
            &packet(V3, b"user\0"),
            &packet(V3, b"user\0me\0\0more"),
            &packet(80_877_103, b"more"),
            &packet(80_877_102, b""),
        ] {
            assert_eq!(classify_packet(invalid), FirstPacket::Invalid, "{invalid:?}");
        }
    }

    #[test]
    fn accepts_only_the_lengths_that_a_server_accepts() {
        let rest = |length: u32| remaining_length(length.to_be_bytes());
        assert_eq!([8, 10_004].map(rest), [Some(4), Some(10_000)]);
        assert_eq!([0, 3, 7, 10_005, u32::MAX].map(rest), [None; 5]);
    }

    #[test]
    fn enforced_settings_come_last_and_nothing_in_the_packet_overrides_them() {
        let injected = InjectedOptions { before: "-c a=1".to_owned(), after: "-c ro=on".to_owned() };
        for (client_options, expected) in
            [("-c ro=off", "-c a=1 -c ro=off  -c ro=on"), ("-c b=\\", "-c a=1 -c b=\\  -c ro=on")]
        {
            let original = packet(V3, format!("user\0me\0RO\0off\0options\0{client_options}\0\0").as_bytes());
            let rewritten = with_injected_options(&original, "", &injected).unwrap();
            assert_eq!(read(&rewritten), pairs([("user", "me"), ("options", expected)]));
        }
    }

    #[test]
    fn our_settings_come_first_and_the_clients_own_win() {
        let original = packet(V3, b"user\0me\0options\0-c b=2\0application_name\0psql\0database\0shop\0\0");
        let rewritten = with_injected_options(&original, "bastion-migrate", &before("-c a=1 -c b=1")).unwrap();
        assert_eq!(classify_packet(&rewritten), FirstPacket::Startup);
        let expected = [
            ("user", "me"),
            ("database", "shop"),
            ("options", "-c a=1 -c b=1 -c b=2"),
            ("application_name", "bastion-migrate"),
        ];
        assert_eq!(read(&rewritten), pairs(expected));
    }

    #[test]
    fn keeps_the_last_options_and_replaces_the_name_in_any_case() {
        let original = packet(V3, b"options\0-c a=1\0options\0-c a=2\0Application_Name\0x\0Options\0y\0\0");
        let rewritten = with_injected_options(&original, "we", &before("")).unwrap();
        assert_eq!(read(&rewritten), pairs([("Options", "y"), ("options", "-c a=2"), ("application_name", "we")]));
    }

    #[test]
    fn without_settings_the_packet_stays_unchanged() {
        let original = packet(V3 + 2, b"user\0me\0client_encoding\0\0\0");
        assert_eq!(with_injected_options(&original, "", &before("")).unwrap(), original);
    }

    #[test]
    fn refuses_a_packet_without_room_for_our_settings() {
        let full = [b"user\0", [b'x'; 9_980].as_slice(), b"\0\0"].concat();
        assert!(with_injected_options(&packet(V3, &full), "", &before("")).is_some());
        assert_eq!(with_injected_options(&packet(V3, &full), "bastion-migrate", &before("")), None);
    }

    proptest! {
        #[test]
        fn injects_options_into_start_up_packets_alone(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let framed = encode_packet(&bytes);
            let is_startup = matches!(classify_packet(&framed), FirstPacket::Startup | FirstPacket::Replication);
            prop_assert_eq!(with_injected_options(&framed, "we", &before("-c a=1")).is_some(), is_startup);
            prop_assert_ne!(classify_packet(&bytes), FirstPacket::Startup);
        }

        #[test]
        fn keeps_the_clients_other_parameters(
            values in prop::collection::vec(("[a-z_]{1,20}", "[^\0]{0,30}"), 0..8),
        ) {
            let replaced = ["options", "application_name", "replication"];
            let values: Vec<_> = values.into_iter().filter(|(name, _)| !replaced.contains(&name.as_str())).collect();
            let mut text: Vec<u8> = values.iter().flat_map(|(n, v)| format!("{n}\0{v}\0").into_bytes()).collect();
            text.push(0);
            let rewritten = with_injected_options(&packet(V3, &text), "we", &before("-c a=1")).unwrap();
            prop_assert_eq!(classify_packet(&rewritten), FirstPacket::Startup);
            let mut expected = values;
            expected.extend(pairs([("options", "-c a=1"), ("application_name", "we")]));
            prop_assert_eq!(read(&rewritten), expected);
        }
    }
}
