//! What the two sides may do next.

use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Forward,
    Program,
}

/// What the server says on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Out(usize),
    Err(usize),
    Eof,
    Status(i32),
    Close,
}

/// One move of either side; what makes no sense at that moment is left out.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The user asks for a channel.
    Ask(Kind),
    /// The server goes on with the channel that is asked for.
    Accept,
    Refuse,
    Say(usize, Said),
    /// The server asks for a sign of life.
    Question,
    /// The server says what nobody needs to know.
    Chat,
    /// The server wants other keys: its part of the exchange is said, and not sent.
    Rekey,
    /// What the server has said goes out, cut at these places (per mille).
    Flush(Vec<usize>),
    /// The same, while the client is awake for another reason.
    Slip(Vec<usize>),
    /// The user writes so many bytes.
    Write(usize, usize),
    /// The user writes no more.
    Shut(usize),
    /// The user goes.
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
