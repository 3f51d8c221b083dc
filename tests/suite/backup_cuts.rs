//! Backups that are cut at random moments: whatever is killed, no part of a dump passes for a backup, and nothing is migrated
//! without a whole one. `PROPTEST_RNG_SEED` draws other moments.
#![expect(clippy::disallowed_methods, reason = "reads backups with the program that people use")]

use crate::{
    action::Running,
    backup::{backed_up, backup_in_report, backups, fill, nothing_passes, pg_dump_of},
    judge::Finished,
    lab::{
        Lab, poll,
        postgres::{Options, Postgres},
        server::Server,
    },
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, TestRunner},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, path::Path, process::Command, time::Duration};

const SOON: Duration = Duration::from_secs(60);

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);

/// Number of moments at which each cut is made.
const MOMENTS: usize = 2;

/// The share of the dump, in thousandths, up to which every cut comes before its end: the last part of it is in pipes and
/// sockets when `pg_dump` has ended.
const SURELY_EARLY: u64 = 600;

/// A disruption of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// SIGKILL to `pg_dump`.
    PgDump,
    /// SIGKILL to the sshd processes of the connection.
    Connection,
    /// `pg_terminate_backend` of all sessions of the run.
    Sessions,
    /// SIGKILL to a backend of the run, after which the whole server recovers.
    Backend,
    /// SIGKILL to the action.
    Action,
    /// SIGINT to the action.
    Signal,
}

const CUTS: [Cut; 6] = [Cut::PgDump, Cut::Connection, Cut::Sessions, Cut::Backend, Cut::Action, Cut::Signal];

impl Cut {
    fn strike(self, lab: &Lab, server: &Server, running: &Running<'_>, pg_dump: u32) {
        match self {
            Self::PgDump => kill(pg_dump),
            Self::Connection => cut_connection(server),
            Self::Sessions => drop(lab.database.terminate("bastion-migrate%")),
            Self::Backend => {
                let sql =
                    "select pid from pg_stat_activity where datname = current_database() and application_name <> 'lab'";
                let pids = lab.database.sql(sql);
                pids.lines().for_each(|pid| kill(pid.parse().expect("a pid")));
            }
            Self::Action => kill(running.pid()),
            Self::Signal => running.signal(Signal::INT),
        }
    }

    /// Returns the possible causes: two connections are cut at once, and either may be noticed first.
    fn causes(self) -> &'static [&'static str] {
        match self {
            Self::PgDump => &["pg_dump was ended by signal 9"],
            Self::Connection => &["the backup was broken off: "],
            Self::Sessions | Self::Backend => &["pg_dump ended with code 1: ", "the backup was broken off: "],
            Self::Signal => &["stopped by SIGINT"],
            Self::Action => &[],
        }
    }
}

/// Kills a process, which may have just ended by itself.
fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
    kill_process(pid, Signal::KILL).unwrap_or_default();
}

/// Ends the processes of sshd that serve connections, and none of those that they have started.
pub(crate) fn cut_connection(server: &Server) {
    let is_sshd = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end().starts_with("sshd"))
    };
    server.sshd().sessions().into_iter().filter(is_sshd).for_each(kill);
}

/// Judges a step that was cut early. One without a connection leaves the mark of its slot to the next run, and nothing
/// else.
pub(crate) fn ended_by(mut finished: Finished, cut: Cut, server: &Server) {
    match cut {
        Cut::PgDump | Cut::Sessions | Cut::Backend => finished.fails("backup-failed", 5).error("").done(),
        Cut::Signal => finished.fails("cancelled", 130).error("").within(BUDGET).done(),
        Cut::Connection | Cut::Action => {
            let wrong = finished.take_problems();
            let is_mark = |line: &String| line.starts_with("left behind on the server: ") && !line.contains("process ");
            assert!(wrong.iter().all(is_mark), "{wrong:#?}");
            let code = finished.outputs.get("fault-code").map(String::as_str);
            assert_eq!(code, (cut == Cut::Connection).then_some("backup-failed"));
            assert_eq!(server.login().processes(), [].into());
        }
    }
}

/// The length of the dump so far; `None` when it has its final name, or the step has ended.
fn arrived(running: &mut Running<'_>, workspace: &Path) -> Option<u64> {
    let incomplete = backups(workspace).into_iter().find(|name| name.ends_with(".incomplete"))?;
    let length = fs::metadata(workspace.join("backups").join(incomplete)).ok()?.len();
    running.ended().is_none().then_some(length)
}

/// Returns whether the server's own `pg_restore` reads the backup to its end.
fn is_whole(backup: &Path) -> bool {
    let read = Command::new("pg_restore").arg("--file=/dev/null").arg(backup).output();
    read.expect("there is pg_restore").status.success()
}

/// Checks what is there after a cut at any moment; returns whether something was migrated.
fn check_remains(lab: &Lab, workspace: &Path, cut: Cut) -> bool {
    let (incomplete, complete): (Vec<_>, Vec<_>) =
        backups(workspace).into_iter().partition(|name| name.ends_with(".incomplete"));
    // Nobody removes the file of a killed action, and its name shows what it is.
    assert!(incomplete.is_empty() || cut == Cut::Action, "{incomplete:?}");
    for name in &complete {
        assert!(is_whole(&workspace.join("backups").join(name)), "{name} passes for a backup");
    }
    let migrated = !lab.database.sql("select to_regclass('migrated')").is_empty();
    assert!(!migrated || complete.len() == 1, "it has migrated without a backup");
    migrated
}

/// Makes an undisturbed backup, and returns its length in bytes.
fn full_length(lab: &Lab) -> u64 {
    let server = Server::start();
    let finished = backed_up(lab, &server, "data").input("run", "true").run().succeeds();
    let bytes = backup_in_report(&finished)["made"]["bytes"].as_u64().expect("a length");
    finished.warning("no ledger was found in the database").done();
    bytes
}

/// Cuts a backup when this many bytes of it have arrived.
fn cut_at(lab: &Lab, cut: Cut, share: u64, bytes: u64) {
    let server = Server::start();
    let step = backed_up(lab, &server, "data").input("wait-timeout", "20s");
    let workspace = step.workspace();
    let mut running = step.start();
    let pg_dump = pg_dump_of(&running, &server, &workspace);
    let is_there = || arrived(&mut running, &workspace).is_none_or(|length| length >= bytes).then_some(());
    poll(SOON, is_there).expect("the backup goes on");
    cut.strike(lab, &server, &running, pg_dump);
    running.wait();
    lab.database.server().wait_until_ready();
    let migrated = check_remains(lab, &workspace, cut);
    if share > SURELY_EARLY {
        drop(running.finish().take_problems());
        if migrated {
            lab.database.sql("drop table migrated");
        }
        return;
    }
    if cut != Cut::Action {
        nothing_passes(lab, &workspace);
    }
    assert!(!migrated);
    let finished = running.finish();
    let shown = finished.rendered_log();
    assert!(cut.causes().is_empty() || cut.causes().iter().any(|cause| shown.contains(cause)), "{shown}");
    assert!(cut == Cut::Action || shown.contains("nothing was applied to "), "{shown}");
    ended_by(finished, cut, &server);
}

#[test]
fn a_cut_at_any_moment_leaves_no_backup_and_no_migration() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    fill(&lab.database, 40);
    let bytes = full_length(&lab);
    let mut runner = TestRunner::new(Config::default());
    for cut in CUTS.into_iter().cycle().take(CUTS.len() * MOMENTS) {
        let share = (0..=1000_u64).new_tree(&mut runner).expect("nothing is filtered").current();
        eprintln!("{cut:?} at {share} ‰ of {bytes} bytes");
        cut_at(&lab, cut, share, bytes * share / 1000);
    }
}
