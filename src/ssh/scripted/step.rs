//! The steps that the two sides may take.

use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Forward,
    Program,
}

/// A message of the server on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Out(usize),
    Err(usize),
    Eof,
    Status(i32),
    Close,
}

/// One step of either side; a step that is impossible at that moment is skipped.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The user requests a channel.
    Ask(Kind),
    /// The server accepts the requested channel or its program.
    Accept,
    Refuse,
    Say(usize, Said),
    /// The server sends a keepalive.
    Question,
    /// The server sends a message to be ignored.
    Chat,
    /// The server starts a key exchange: its part is queued, and not sent.
    Rekey,
    /// The queued messages are sent, cut at these positions (per mille).
    Flush(Vec<usize>),
    /// The same, while the client is awake for another reason.
    Slip(Vec<usize>),
    /// The user writes this many bytes.
    Write(usize, usize),
    /// The user shuts down writing.
    Shut(usize),
    /// The user drops the channel.
    Leave(usize),
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let channel = 0..6_usize;
        let said = prop_oneof![
            4 => (1..3000_usize).prop_map(Said::Out),
            1 => (1..3000_usize).prop_map(Said::Err),
            1 => Just(Said::Eof),
            1 => (1..250_i32).prop_map(Said::Status),
            2 => Just(Said::Close),
        ];
        prop_oneof![
            3 => prop_oneof![Just(Kind::Forward), Just(Kind::Program)].prop_map(Self::Ask),
            4 => Just(Self::Accept),
            1 => Just(Self::Refuse),
            12 => (channel.clone(), said).prop_map(|(channel, said)| Self::Say(channel, said)),
            1 => Just(Self::Question),
            1 => Just(Self::Chat),
            1 => Just(Self::Rekey),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Self::Flush),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Self::Slip),
            1 => (channel.clone(), 1..40_000_usize).prop_map(|(channel, count)| Self::Write(channel, count)),
            1 => channel.clone().prop_map(Self::Shut),
            1 => channel.prop_map(Self::Leave),
        ]
        .boxed()
    }
}
