//! The rooms of the ground where the program runs as a process: what surrounds the files.

/// What surrounds the files of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing.
    Files,
    /// Steps before and after the migration: SQL files, and commands on the server that the run logs in to.
    Steps,
    /// A schema per tenant, several at a time.
    Tenants,
    /// A rehearsal in another server, which is disrupted before the migration.
    Rehearsal,
}

/// All rooms.
pub(crate) const ROOMS: [Room; 4] = [Room::Files, Room::Steps, Room::Tenants, Room::Rehearsal];

impl Room {
    /// Returns the name in `ROOM=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Steps => "steps",
            Self::Tenants => "tenants",
            Self::Rehearsal => "rehearsal",
        }
    }
}
