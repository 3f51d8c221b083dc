//! The effect of a packet that has arrived.

use super::step::Said;

/// The effect of a packet that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    Said(usize, Said),
    /// The client requests a program on the new channel.
    Accepted,
    /// The requester has its channel.
    Opened,
    Refused,
    Answered,
    None,
}
