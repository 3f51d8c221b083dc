//! A dump: it streams from `pg_dump` at its site into a file here, and is proven before the file has its name.

use super::{
    BackupLock,
    plan::{DumpTarget, PlannedDump},
};
use crate::{
    backup::{
        Cipher, DumpEnding, DumpOrder, DumpReceiver, DumpScope, ReceivedDump, pg_dump_arguments, prove_dump,
        restore_command,
    },
    fault::Fault,
    random::random_token,
    run::{BackupFacts, MadeBackup, event::Event, process::ExitStatus},
    settings::{DumpContent, Site},
    site::Sites,
    sql::QualifiedName,
};
use futures_util::future::{Either, select};
use std::pin::pin;

/// Makes the dump and proves it.
///
/// # Errors
/// `backup-refused`, `backup-failed`; the fault of the connection or the engine.
pub(super) async fn make_dump(
    sites: &Sites<'_>,
    facts: &BackupFacts,
    planned: PlannedDump,
    lock: &BackupLock<'_, '_>,
) -> Result<MadeBackup, Fault> {
    let PlannedDump { scope, content, max_bytes, site, server_major, target } = planned;
    let token = random_token();
    let order = DumpOrder {
        token: token.clone(),
        arguments: arguments_of(sites, content, &scope),
        server_major,
        receiver: match &target {
            DumpTarget::Command(command) => Some(command.clone()),
            DumpTarget::File { .. } => None,
        },
    };
    let receiver = DumpReceiver::new(&sites.events, &token, facts.estimate_bytes, max_bytes);
    let (mut receiver, cipher) = match target {
        DumpTarget::Command(_) => (receiver, None),
        DumpTarget::File { path, cipher } => {
            (receiver.into_file(path, &facts.destination, cipher.clone()).await?, Some(cipher))
        }
    };
    let command = shown_command(&order.arguments);
    match &order.receiver {
        // The sessions of pg_dump can only read; a command of the user's may do anything.
        None => sites.events.emit_note(format!("$ {command}")),
        Some(receiver) => sites.events.emit(Event::CommandStarted { command: format!("{command} | {receiver}") }),
    }
    let exit = stream_dump(sites, (&site, &order), &mut receiver, lock).await?;
    let received = receiver.end().await?;
    let proven = {
        let (report, last_lines) = receiver.messages();
        let received = cipher.as_ref().map(|_| received.clone());
        let ending = DumpEnding { exit, report, last_lines, received };
        prove_dump(&ending, expected_tables(content, &scope), &site, server_major)?
    };
    let kept = receiver.keep_file().await?;
    let path = cipher.is_some().then(|| facts.destination.clone());
    let restore = cipher.as_ref().map(|cipher| restore_command(&facts.destination, cipher));
    let ReceivedDump { bytes, sha256 } = kept.unwrap_or(proven.dump);
    let proof = match cipher {
        Some(Cipher::Age(recipient)) => format!("{}; encrypted to {recipient}", proven.phrase),
        Some(Cipher::Plain) | None => proven.phrase,
    };
    Ok(MadeBackup { path, bytes: Some(bytes), sha256: Some(sha256), proof, restore })
}

/// Runs the script at its site until it ends, or until the run lock is lost.
async fn stream_dump(
    sites: &Sites<'_>,
    (site, order): (&Site, &DumpOrder),
    receiver: &mut DumpReceiver,
    lock: &BackupLock<'_, '_>,
) -> Result<ExitStatus, Fault> {
    let script = order.script();
    let streaming = sites.stream_script(site, &script, async |chunk| receiver.receive(chunk).await);
    let work = sites.events.run_paced(Box::pin(streaming));
    match select(pin!(work), pin!(lock.wait_for_loss(sites.settings.wait_timeout))).await {
        Either::Left((exit, _)) => exit,
        Either::Right((lost, _)) => {
            sites.stop_commands().await?;
            Err(lost.detail("so the dump was stopped"))
        }
    }
}

/// Most arguments that the log shows.
const MAX_SHOWN_ARGUMENTS: usize = 12;

fn shown_command(arguments: &[String]) -> String {
    let shown = arguments.iter().take(MAX_SHOWN_ARGUMENTS).map(String::as_str);
    let more = arguments.len().saturating_sub(MAX_SHOWN_ARGUMENTS);
    let more = (more > 0).then(|| format!("… and {more} more"));
    std::iter::once("pg_dump").chain(shown).chain(more.as_deref()).collect::<Vec<_>>().join(" ")
}

fn arguments_of(sites: &Sites<'_>, content: DumpContent, scope: &DumpScope) -> Vec<String> {
    let role = sites.settings.database.as_ref().and_then(|database| database.role.as_deref());
    pg_dump_arguments(content, scope, role, sites.settings.safety.lock_timeout)
}

/// Returns the tables whose rows have to be in the dump.
fn expected_tables(content: DumpContent, scope: &DumpScope) -> impl Iterator<Item = &QualifiedName> {
    scope.tables_with_rows().filter(move |_| content == DumpContent::Data)
}
