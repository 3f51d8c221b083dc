//! The steps that the two sides may take.

use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Forward,
    Program,
}

/// A message of the server on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelMessage {
    Stdout(usize),
    Stderr(usize),
    Eof,
    Status(i32),
    Close,
}

/// One step of either side; a step that is impossible at that moment is skipped.
#[derive(Debug, Clone)]
pub(super) enum ScriptedStep {
    /// The user requests a channel.
    RequestChannel(ChannelKind),
    /// The server accepts the requested channel or its program.
    Accept,
    Refuse,
    Send(usize, ChannelMessage),
    /// The server sends a keepalive.
    Keepalive,
    /// The server sends a message to be ignored.
    Ignore,
    /// The server starts a key exchange: its part is queued, and not sent.
    Rekey,
    /// The queued messages are sent, cut at these positions (per mille).
    Flush(Vec<usize>),
    /// The same, while the client is awake for another reason.
    FlushUnnoticed(Vec<usize>),
    /// The user writes this many bytes.
    Write(usize, usize),
    /// The user shuts down writing.
    ShutDownWriting(usize),
    /// The user drops the channel.
    DropUser(usize),
}

impl Arbitrary for ScriptedStep {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let channel = 0..6_usize;
        let message = prop_oneof![
            4 => (1..3000_usize).prop_map(ChannelMessage::Stdout),
            1 => (1..3000_usize).prop_map(ChannelMessage::Stderr),
            1 => Just(ChannelMessage::Eof),
            1 => (1..250_i32).prop_map(ChannelMessage::Status),
            2 => Just(ChannelMessage::Close),
        ];
        prop_oneof![
            3 => prop_oneof![Just(ChannelKind::Forward), Just(ChannelKind::Program)].prop_map(Self::RequestChannel),
            4 => Just(Self::Accept),
            1 => Just(Self::Refuse),
            12 => (channel.clone(), message).prop_map(|(channel, message)| Self::Send(channel, message)),
            1 => Just(Self::Keepalive),
            1 => Just(Self::Ignore),
            1 => Just(Self::Rekey),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Self::Flush),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Self::FlushUnnoticed),
            1 => (channel.clone(), 1..40_000_usize).prop_map(|(channel, count)| Self::Write(channel, count)),
            1 => channel.clone().prop_map(Self::ShutDownWriting),
            1 => channel.prop_map(Self::DropUser),
        ]
        .boxed()
    }
}
