//! The rooms of the ground: what a step with the real image does.

use super::disruption::Disruption::{
    self, ActionKilled, ActionShimKilled, BackendKilled, CommandKilled, ServerRestarted, SessionKilled, SiblingKilled,
    SiblingShimKilled,
};

/// What the step of a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// `executor: sql`.
    Sql,
    /// The same with a backup.
    Backup,
    /// `executor: image`, with the application's image.
    Image,
    /// `executor: server`, with the application on the server.
    Server,
    /// `command: tunnel`, and a client in a later step.
    Tunnel,
}

/// All rooms, used in turn.
pub(crate) const ROOMS: [Room; 5] = [Room::Sql, Room::Image, Room::Server, Room::Tunnel, Room::Backup];

impl Room {
    /// Returns whether it migrates SQL files.
    pub(super) fn has_files(self) -> bool {
        matches!(self, Self::Sql | Self::Backup)
    }

    /// Returns the name in `ROOM=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Backup => "backup",
            Self::Image => "image",
            Self::Server => "server",
            Self::Tunnel => "tunnel",
        }
    }

    /// Returns the disruptions of its `kill` rounds, used in turn.
    pub(crate) fn kills(self) -> &'static [Disruption] {
        match self {
            Self::Sql => &[ActionKilled, ActionShimKilled, SessionKilled, BackendKilled, ServerRestarted],
            Self::Image | Self::Tunnel | Self::Backup => &[
                ActionKilled,
                SiblingKilled,
                ActionShimKilled,
                SiblingShimKilled,
                SessionKilled,
                BackendKilled,
                ServerRestarted,
            ],
            Self::Server => {
                &[ActionKilled, CommandKilled, ActionShimKilled, SessionKilled, BackendKilled, ServerRestarted]
            }
        }
    }
}
