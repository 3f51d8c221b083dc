//! The backup before a migration, for every executor: it is planned with the plan, and made when nothing but the
//! migration is left to do. Without a proven backup nothing is migrated.

mod dump;
mod plan;

pub(super) use plan::BackupSubject;

use super::{
    lock_holder::{LockHolder, keep_alive},
    step::{CommandRun, run_command},
};
use crate::{
    fault::{Code, Fault},
    postgres::{Session, own_query::RunLockRequirement},
    run::{BackupFacts, MadeBackup, event::Event},
    settings::{BackupSettings, Site},
    site::{CommandPurpose, Sites},
    tool::CommandLine,
    transport::Transport,
};
use plan::PlannedDump;
use std::time::Duration;

/// A backup that is planned.
#[derive(Debug)]
pub(crate) struct PlannedBackup {
    facts: BackupFacts,
    work: BackupWork,
}

#[derive(Debug)]
enum BackupWork {
    Dump(Box<PlannedDump>),
    Command { line: CommandLine, site: Site },
}

/// The session that holds the run lock while a backup is made.
#[derive(Debug)]
pub(super) enum BackupLock<'l, 'a> {
    /// That of SQL files.
    Session(&'l Session),
    /// That beside a tool.
    Holder(&'l mut LockHolder<'a>),
    /// Without a database there is none.
    Absent,
}

impl BackupLock<'_, '_> {
    /// Resolves when the session is lost, or the lock.
    async fn wait_for_loss(&self, wait: Duration) -> Fault {
        let session = match self {
            Self::Session(session) => *session,
            Self::Holder(holder) => holder.session(),
            Self::Absent => return std::future::pending().await,
        };
        keep_alive(session, RunLockRequirement::Held, wait).await
    }
}

/// Plans the backup, and reports what it will contain. Nothing is planned without the input. `plan` is the session with
/// the database, and the plan to be backed up.
///
/// # Errors
/// `backup-refused`; the lost connection; the fault of an image that can't be pulled.
pub(super) async fn plan_backup(
    sites: &mut Sites<'_>,
    plan: Option<(&Session, &BackupSubject)>,
) -> Result<Option<PlannedBackup>, Fault> {
    let Some(settings) = &sites.settings.backup else { return Ok(None) };
    let planned = match settings {
        BackupSettings::Dump(dump) => match plan::plan_dump(sites, plan, dump).await? {
            Some((facts, dump)) => PlannedBackup { facts, work: BackupWork::Dump(Box::new(dump)) },
            None => return Ok(None),
        },
        BackupSettings::Command { line, site } => PlannedBackup {
            facts: BackupFacts {
                content: "a backup by a command".to_owned(),
                estimate_bytes: None,
                destination: line.display_text(),
                made: None,
            },
            work: BackupWork::Command { line: line.clone(), site: site.clone() },
        },
    };
    sites.events.emit(Event::Backup(planned.facts.clone()));
    Ok(Some(planned))
}

/// Makes the backup and proves it.
///
/// # Errors
/// `backup-failed`, `backup-refused`: nothing passes for a backup then.
pub(super) async fn back_up(
    sites: &mut Sites<'_>,
    planned: PlannedBackup,
    lock: BackupLock<'_, '_>,
) -> Result<(), Fault> {
    let PlannedBackup { facts, work } = planned;
    let made = match work {
        BackupWork::Dump(planned) => dump::make_dump(sites, &facts, *planned, &lock).await,
        BackupWork::Command { line, site } => run_backup_command(sites, &line, &site, lock).await,
    };
    let made = made.map_err(|fault| as_backup_failure(fault, sites))?;
    sites.events.emit(Event::Backup(BackupFacts { made: Some(made), ..facts }));
    Ok(())
}

async fn run_backup_command(
    sites: &mut Sites<'_>,
    line: &CommandLine,
    site: &Site,
    lock: BackupLock<'_, '_>,
) -> Result<MadeBackup, Fault> {
    let lock_holder = match lock {
        BackupLock::Holder(holder) => Some(holder),
        // The session that migrates notices the loss of its lock itself.
        BackupLock::Session(_) | BackupLock::Absent => None,
    };
    let command = CommandRun { site, command: line, purpose: CommandPurpose::Assist, retries: 0, timeout: None };
    run_command(sites, lock_holder, command).await?;
    let proof = "the command ended with code 0".to_owned();
    Ok(MadeBackup { path: None, bytes: None, sha256: None, proof, restore: None })
}

/// Returns the fault as one of the backup: the connection or the engine may have broken it off.
fn as_backup_failure(fault: Fault, sites: &Sites<'_>) -> Fault {
    let lost = sites.transport().ok().and_then(Transport::loss_fault);
    let (fault, is_lost) = match lost {
        Some(lost) => (Fault { detail: fault.detail, ..lost }, true),
        None => (fault, false),
    };
    if matches!(fault.code, Code::BackupFailed | Code::BackupRefused) {
        return fault;
    }
    let cause = format!("the backup was broken off: {}", fault.cause);
    let fix = match is_lost || fault.code.ends_session() {
        true => "run again as soon as the connection holds: nothing was migrated".to_owned(),
        // The usual one is about a migration.
        false if fault.fix == fault.code.fix() => Code::BackupFailed.fix().to_owned(),
        false => fault.fix,
    };
    fault.detail.into_iter().fold(Fault::new(Code::BackupFailed, cause).fix(fix), Fault::detail)
}
