//! Disruptions of a step in a container.

use super::{damage, machines::Machines, room::Room};
use crate::{agreement::AllowedEnds, lab::poll, network::Database, recorded_run::MissingEnd, running::Running};
use std::{fmt, time::Duration};

/// Time limit for a target to appear; a run without one ends earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit from the first signal to the end, as promised in the README.
const BUDGET: Duration = Duration::from_secs(7);

/// A disruption of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disruption {
    /// SIGKILL to the action's container.
    ActionKilled,
    /// SIGKILL to the engine's shim of the action's container.
    ActionShimKilled,
    /// SIGKILL to the container of the tool, or of the tunnel.
    SiblingKilled,
    /// SIGKILL to the engine's shim of that container.
    SiblingShimKilled,
    /// SIGKILL to the command on the server.
    CommandKilled,
    /// SIGKILL to the processes of sshd that serve the step.
    SessionKilled,
    /// SIGKILL to a PostgreSQL backend of the step: the whole server recovers.
    BackendKilled,
    /// SIGKILL to the whole PostgreSQL server, which starts again at once.
    ServerRestarted,
    /// The runner's signals for a cancelled job.
    Cancelled,
}

/// The way in which a disrupted stage ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It reports what has happened.
    Reported,
    /// It was killed, and tidies up nothing.
    Killed,
    /// The runner stops it.
    Stopped,
}

impl Disruption {
    /// Returns how the disrupted stage ends.
    pub(crate) fn ending(self) -> Ending {
        match self {
            Self::ActionKilled | Self::ActionShimKilled => Ending::Killed,
            Self::Cancelled => Ending::Stopped,
            Self::SiblingKilled
            | Self::SiblingShimKilled
            | Self::CommandKilled
            | Self::SessionKilled
            | Self::BackendKilled
            | Self::ServerRestarted => Ending::Reported,
        }
    }

    /// Returns the allowed ends of a disrupted run. The server comes back at once, so no commit may stay in doubt.
    pub(crate) fn allowed_ends(self, room: Room) -> AllowedEnds {
        let reported: &[_] = match room {
            Room::Sql => &[("success", 0), ("nothing-to-do", 0), ("failed", 3)],
            // A backup that is not completed refuses the plan.
            Room::Backup => &[("success", 0), ("nothing-to-do", 0), ("failed", 3), ("failed", 5)],
            Room::Tunnel => &[("success", 0), ("failed", 2), ("failed", 3)],
            // The tool itself reports what it has met.
            Room::Image | Room::Server => &[("success", 0), ("nothing-to-do", 0), ("failed", 3), ("failed", 6)],
        };
        let (endings, time_limit): (&[_], _) = match self.ending() {
            // The run may have ended just before; a kill does not report that.
            Ending::Killed => (&[("killed", 9), ("success", 0), ("nothing-to-do", 0)], None),
            Ending::Stopped => (&[("success", 0), ("nothing-to-do", 0), ("cancelled", 130)], Some(BUDGET)),
            Ending::Reported => (reported, None),
        };
        AllowedEnds { endings, time_limit }
    }

    /// Returns whether the row of a disrupted run may have no end.
    pub(crate) fn missing_end(self) -> MissingEnd {
        match self.ending() {
            Ending::Killed | Ending::Reported => MissingEnd::Allowed,
            Ending::Stopped => MissingEnd::Forbidden,
        }
    }

    /// Disrupts the run as soon as the target exists, and repairs the server. Returns whether it happened before the end
    /// of the run. The signals of a cancelled job are left to the caller: only the container has to run.
    pub(crate) fn inject(self, machines: &Machines, database: &Database, room: Room, running: &Running<'_>) -> bool {
        let disrupt = || match running.ended() {
            true => Some(false),
            false => self.disrupt(machines, database, room, running).then_some(true),
        };
        poll(PATIENCE, disrupt).unwrap_or_default()
    }

    /// Disrupts the run, and returns whether its target was there.
    fn disrupt(self, machines: &Machines, database: &Database, room: Room, running: &Running<'_>) -> bool {
        let siblings = || match room {
            Room::Tunnel => machines.tunnels(),
            Room::Sql | Room::Backup | Room::Image | Room::Server => running.siblings(),
        };
        let network = database.network();
        match self {
            Self::ActionKilled => damage::kill_container(running.container()),
            Self::ActionShimKilled => damage::kill_shim(running.container()),
            Self::SiblingKilled => siblings().iter().any(|id| damage::kill_container(id)),
            Self::SiblingShimKilled => siblings().iter().any(|id| damage::kill_shim(id)),
            Self::CommandKilled => damage::kill_processes(machines.server(), r"^(\S*/)?python"),
            Self::SessionKilled => damage::kill_processes(machines.entrance(room), "^sshd: deploy"),
            Self::BackendKilled => damage::kill_backend(database),
            Self::ServerRestarted => {
                damage::restart(network.postgres());
                true
            }
            Self::Cancelled => running.pid().is_some(),
        }
    }
}

impl fmt::Display for Disruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ActionKilled => "kill -9 of the action",
            Self::ActionShimKilled => "kill -9 of the action's shim",
            Self::SiblingKilled => "kill -9 of the sibling",
            Self::SiblingShimKilled => "kill -9 of the sibling's shim",
            Self::CommandKilled => "kill -9 of the command",
            Self::SessionKilled => "kill -9 of sshd's child",
            Self::BackendKilled => "kill -9 of the backend",
            Self::ServerRestarted => "kill -9 of the server",
            Self::Cancelled => "cancel",
        })
    }
}
