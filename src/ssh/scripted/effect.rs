//! The effect of a packet that has arrived.

use super::step::ChannelMessage;

/// The effect of a packet that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    Message(usize, ChannelMessage),
    /// The client requests a program on the new channel.
    ProgramRequested,
    /// The requester has its channel.
    Opened,
    Refused,
    KeepaliveAnswered,
    None,
}
