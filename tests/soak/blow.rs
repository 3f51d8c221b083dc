//! What hits a run.

use crate::{
    action::Running,
    agreement::Terms,
    lab::{Lab, poll, session::Session},
};
use proptest::{prelude::Strategy, sample::select};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{fmt, time::Duration};

/// A run without anybody to hit ends before this.
const PATIENCE: Duration = Duration::from_secs(60);

/// From the first signal to the end: a promise of the README.
const BUDGET: Duration = Duration::from_secs(7);

/// What is done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    /// SIGKILL to the step.
    ActionKilled,
    /// SIGKILL to the processes of sshd that serve it.
    SessionKilled,
    /// SIGKILL to its PostgreSQL backend, or to another one where it has none yet: the whole server recovers.
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

/// What a blow leaves to be mended before the run can be judged.
#[derive(Debug)]
pub(crate) enum Wound {
    None,
    /// The server recovers as soon as this session has been ended.
    Recovering(Box<Session>),
    /// The server is gone.
    Down,
}

/// Those of a kill, in turn.
pub(crate) const KILLS: [Blow; 5] =
    [Blow::ActionKilled, Blow::SessionKilled, Blow::BackendKilled, Blow::BackendTerminated, Blow::ServerCrashed];

/// Those of a cancel, in turn.
pub(crate) const CANCELS: [Blow; 2] = [Blow::Interrupted, Blow::InterruptedTwice];

/// Any of them.
pub(crate) fn blows() -> impl Strategy<Value = Blow> {
    select([&KILLS[..], &CANCELS].concat())
}

impl Blow {
    /// How a run may end that it met. Whatever is hit comes back at once, so nothing may stay in doubt. A signal before the
    /// handlers stand ends a process by itself.
    pub(crate) fn terms(self) -> Terms {
        let (endings, within): (&[_], _) = match self {
            // It may have ended a moment before, which a kill does not tell.
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
        Terms { endings, within }
    }

    /// Hits the run, as soon as there is a victim; nothing if the run has ended before that.
    pub(crate) fn fall(self, lab: &Lab, running: &mut Running<'_>) -> Option<Wound> {
        let strike = || match running.ended() {
            Some(_) => Some(None),
            None => self.strike(lab, running).map(Some),
        };
        poll(PATIENCE, strike).flatten()
    }

    fn strike(self, lab: &Lab, running: &Running<'_>) -> Option<Wound> {
        match self {
            Self::ActionKilled => kill(running.pid()),
            Self::SessionKilled => {
                let sessions = lab.bastion.sessions();
                sessions.iter().copied().for_each(kill);
                return (!sessions.is_empty()).then_some(Wound::None);
            }
            Self::BackendKilled => return Some(Wound::Recovering(Box::new(kill_backend(lab)))),
            Self::BackendTerminated => return (lab.database.terminate("bastion-migrate%") > 0).then_some(Wound::None),
            Self::ServerCrashed => {
                lab.database.server().crash();
                return Some(Wound::Down);
            }
            Self::Interrupted => running.signal(Signal::INT),
            Self::InterruptedTwice => {
                running.signal(Signal::INT);
                running.signal(Signal::TERM);
            }
        }
        Some(Wound::None)
    }
}

impl Wound {
    /// Brings back what was hit.
    pub(crate) fn mend(self, lab: &Lab) {
        match self {
            Self::None => {}
            Self::Recovering(witness) => {
                poll(PATIENCE, || is_closed(&witness).then_some(()))
                    .expect("the server notices that a backend has died");
                lab.database.server().wait_until_it_answers();
            }
            Self::Down => lab.database.server().resume(),
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
    match kill_process(pid, Signal::KILL) {
        // It has just ended by itself.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("{pid:?} can't be killed: {error}"),
    }
}

/// Whichever backend dies, the server ends all of them and recovers. The session that is returned sees when it begins: it is
/// ended by the server, so it is not the victim itself, which is gone before the server knows.
fn kill_backend(lab: &Lab) -> Session {
    let [witness, spare] = [(), ()].map(|()| lab.database.session());
    let spare_pid = spare.sql("select pg_backend_pid()");
    let victim = witness.sql(&format!(
        "select pid from pg_stat_activity where pid = {spare_pid} \
         or (datname = current_database() and application_name like 'bastion-migrate%') \
         order by pid = {spare_pid} limit 1"
    ));
    kill(victim.parse().expect("a pid is a number"));
    witness
}

fn is_closed(session: &Session) -> bool {
    session.try_sql("select 1").is_err()
}

impl fmt::Display for Blow {
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
