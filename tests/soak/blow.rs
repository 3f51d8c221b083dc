//! Disruptions of a run: kills, crashes and signals.

use crate::{
    action::Running,
    agreement::AllowedEnds,
    lab::{Lab, poll, session::Session, sshd::Sshd},
    recorded_run::MissingEnd,
};
use proptest::{prelude::Strategy, sample::select};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{fmt, time::Duration};

/// Time limit for a target to appear; a run without one ends earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit from the first signal to the end, as promised in the README.
const BUDGET: Duration = Duration::from_secs(7);

/// A disruption of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disruption {
    /// SIGKILL to the step.
    ActionKilled,
    /// SIGKILL to the sshd processes of its session.
    SessionKilled,
    /// SIGKILL to its PostgreSQL backend, or to another one if it has none yet: the whole server recovers.
    BackendKilled,
    /// `pg_terminate_backend`.
    BackendTerminated,
    /// SIGKILL to the whole PostgreSQL server, which starts again at once.
    ServerCrashed,
    /// SIGINT.
    Interrupted,
    /// SIGINT, and SIGTERM before it has ended.
    InterruptedTwice,
}

/// The damage that has to be repaired before the run can be judged.
#[derive(Debug)]
pub(crate) enum Damage {
    None,
    /// The server recovers once it has ended this session.
    Recovering(Box<Session>),
    /// The server is down.
    Down,
}

/// The disruptions of `kill` rounds, used in turn.
pub(crate) const KILLS: [Disruption; 5] = [
    Disruption::ActionKilled,
    Disruption::SessionKilled,
    Disruption::BackendKilled,
    Disruption::BackendTerminated,
    Disruption::ServerCrashed,
];

/// The disruptions of `cancel` rounds, used in turn.
pub(crate) const CANCELS: [Disruption; 2] = [Disruption::Interrupted, Disruption::InterruptedTwice];

/// Generates any disruption.
pub(crate) fn disruptions() -> impl Strategy<Value = Disruption> {
    select([&KILLS[..], &CANCELS].concat())
}

impl Disruption {
    /// Returns the allowed ends of a disrupted run. The server comes back at once, so no commit may stay in doubt. A
    /// signal that comes before the handlers are installed kills the process.
    pub(crate) fn allowed_ends(self) -> AllowedEnds {
        let (endings, time_limit): (&[_], _) = match self {
            // The run may have ended just before; a kill does not report that.
            Self::ActionKilled => (&[("killed", 9), ("success", 0), ("nothing-to-do", 0)], None),
            Self::SessionKilled | Self::BackendKilled | Self::BackendTerminated | Self::ServerCrashed => {
                (&[("success", 0), ("nothing-to-do", 0), ("failed", 3)], None)
            }
            Self::Interrupted => {
                (&[("success", 0), ("nothing-to-do", 0), ("cancelled", 130), ("killed", 2)], Some(BUDGET))
            }
            Self::InterruptedTwice => (
                &[("success", 0), ("nothing-to-do", 0), ("cancelled", 130), ("killed", 2), ("killed", 15)],
                Some(BUDGET),
            ),
        };
        AllowedEnds { endings, time_limit }
    }

    /// Returns whether the row of a disrupted run may have no end. A run that got a signal has its session, and time to
    /// complete the row.
    pub(crate) fn missing_end(self) -> MissingEnd {
        match self {
            Self::ActionKilled
            | Self::SessionKilled
            | Self::BackendKilled
            | Self::BackendTerminated
            | Self::ServerCrashed => MissingEnd::Allowed,
            Self::Interrupted | Self::InterruptedTwice => MissingEnd::Forbidden,
        }
    }

    /// Disrupts the run, which logs in at `entrance`, as soon as the target exists. Returns `None` if the run ended before.
    pub(crate) fn inject(self, lab: &Lab, entrance: &Sshd, running: &mut Running<'_>) -> Option<Damage> {
        let disrupt = || match running.ended() {
            Some(_) => Some(None),
            None => self.disrupt(lab, entrance, running).map(Some),
        };
        poll(PATIENCE, disrupt).flatten()
    }

    fn disrupt(self, lab: &Lab, entrance: &Sshd, running: &Running<'_>) -> Option<Damage> {
        match self {
            Self::ActionKilled => {
                kill(running.pid());
            }
            Self::SessionKilled => {
                let sessions = entrance.sessions();
                for pid in &sessions {
                    kill(*pid);
                }
                return (!sessions.is_empty()).then_some(Damage::None);
            }
            Self::BackendKilled => return Some(Damage::Recovering(Box::new(kill_backend(lab)))),
            Self::BackendTerminated => return (lab.database.terminate("bastion-migrate%") > 0).then_some(Damage::None),
            Self::ServerCrashed => {
                lab.database.server().crash();
                return Some(Damage::Down);
            }
            Self::Interrupted => running.signal(Signal::INT),
            Self::InterruptedTwice => {
                running.signal(Signal::INT);
                running.signal(Signal::TERM);
            }
        }
        Some(Damage::None)
    }
}

impl Damage {
    /// Waits for the recovery of the server, or starts it again.
    pub(crate) fn repair(self, lab: &Lab) {
        match self {
            Self::None => {}
            Self::Recovering(witness) => {
                poll(PATIENCE, || is_closed(&witness).then_some(()))
                    .expect("the server notices that a backend has died");
                lab.database.server().wait_until_ready();
            }
            Self::Down => lab.database.server().resume(),
        }
    }
}

/// The result of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Killed,
    /// It had just ended by itself.
    Gone,
}

fn kill(pid: u32) -> Victim {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
    match kill_process(pid, Signal::KILL) {
        Ok(()) => Victim::Killed,
        Err(Errno::SRCH) => Victim::Gone,
        Err(error) => panic!("{pid:?} can't be killed: {error}"),
    }
}

/// Kills a backend of the run, or one of ours if it has none, after which the server ends all others and recovers.
/// Returns a session that shows when the server has noticed: the server ends it. The killed backend can't show that, as
/// it is gone before the server notices.
fn kill_backend(lab: &Lab) -> Session {
    let [witness, spare] = [(), ()].map(|()| lab.database.session());
    let backends = witness.sql(
        "select string_agg(pid::text, ' ') from pg_stat_activity \
         where datname = current_database() and application_name like 'bastion-migrate%'",
    );
    let spare_pid = spare.sql("select pg_backend_pid()");
    let mut victims = backends.split(' ').chain([spare_pid.as_str()]).filter_map(|pid| pid.parse().ok());
    assert!(victims.any(|pid| kill(pid) == Victim::Killed), "our own backend is there");
    witness
}

fn is_closed(session: &Session) -> bool {
    session.try_sql("select 1").is_err()
}

impl fmt::Display for Disruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ActionKilled => "kill -9 of the action",
            Self::SessionKilled => "kill -9 of sshd's child",
            Self::BackendKilled => "kill -9 of the backend",
            Self::BackendTerminated => "pg_terminate_backend",
            Self::ServerCrashed => "kill -9 of the server",
            Self::Interrupted => "SIGINT",
            Self::InterruptedTwice => "SIGINT and SIGTERM",
        })
    }
}
