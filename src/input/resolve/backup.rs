//! Resolves the backup.

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::InputName,
        parse::{ExecutorChoice, ParsedBackup, ParsedDestination, ParsedDump, ParsedSnapshot, RunSite, fault_about},
        source::Inputs,
    },
    settings::{
        BackupPlace, BackupSettings, Command, DumpDestination, DumpSettings, DumpSite, DumpedTables, ImageOwner, Site,
        SiteImage,
    },
};
use std::path::{Component, Path};

/// The directory of backups that have no name in the inputs.
const DIRECTORY: &str = "backups";

/// The circumstances of the run, as far as they are valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackupContext<'a> {
    pub(super) command: Option<Command>,
    pub(super) run_site: RunSite<'a>,
    pub(super) runner: &'a Runner,
}

/// Resolves the backup; `None` if none is asked for, or if it has faults, which are recorded.
pub(super) fn resolve_backup(
    inputs: &Inputs,
    context: BackupContext<'_>,
    findings: &mut Findings,
) -> Option<BackupSettings> {
    // The inputs of a step may be those of all commands, in the configuration file.
    if !context.command.is_some_and(|command| matches!(command, Command::Migrate | Command::Plan | Command::Rollback)) {
        return None;
    }
    match inputs.parsed_steps().backup.as_ref()? {
        ParsedBackup::Off => None,
        ParsedBackup::Snapshot(snapshot) => resolve_snapshot(snapshot, context.run_site, findings),
        ParsedBackup::Dump(dump) => {
            let dump = resolve_dump(inputs, dump, context);
            findings.ok_or_record(dump).map(BackupSettings::Dump)
        }
    }
}

fn resolve_snapshot(
    snapshot: &ParsedSnapshot,
    run_site: RunSite<'_>,
    findings: &mut Findings,
) -> Option<BackupSettings> {
    let ParsedSnapshot { title, position, line, site_override } = snapshot;
    let site = site_override.resolve_site(run_site).map_err(|invalid| {
        let cause = format!("its command {}", invalid.cause);
        fault_about(Code::InputInvalid, title, position.as_ref(), &cause).fix(invalid.fix)
    });
    let site = findings.ok_or_record(site)??;
    Some(BackupSettings::Command { line: line.clone(), site })
}

fn resolve_dump(inputs: &Inputs, dump: &ParsedDump, context: BackupContext<'_>) -> Result<DumpSettings, Fault> {
    if dump.tables == DumpedTables::OfPlan && context.command == Some(Command::Rollback) {
        let cause = format!(
            "{} has `tables: plan`, and the SQL of a rollback is not reviewed",
            inputs.label(InputName::Backup)
        );
        let fix = "name the tables, as in `tables: [orders, items]`, or remove `tables` to dump all of them";
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    let destination = match &dump.destination {
        ParsedDestination::Command(line) => DumpDestination::Command(line.clone()),
        ParsedDestination::Unnamed => {
            let path = context.runner.resolve_path(DIRECTORY);
            let place = BackupPlace::NamedInDirectory { shown: context.runner.display_path(&path), path };
            DumpDestination::File { place, recipient: dump.recipient.clone() }
        }
        ParsedDestination::File(text) => {
            let path = resolve_file(inputs, text, context.runner)?;
            let place = BackupPlace::Chosen { shown: context.runner.display_path(&path), path };
            DumpDestination::File { place, recipient: dump.recipient.clone() }
        }
    };
    let site = match (&dump.image, context.run_site.executor) {
        (Some(reference), _) => {
            DumpSite::At(Site::Image(SiteImage { reference: reference.clone(), owner: ImageOwner::Step }))
        }
        (None, Some(ExecutorChoice::Server)) => DumpSite::At(Site::Server),
        (None, _) => DumpSite::ImageOfServerVersion,
    };
    let ParsedDump { content, tables, max_bytes, .. } = dump;
    Ok(DumpSettings { content: *content, tables: tables.clone(), max_bytes: *max_bytes, site, destination })
}

/// Resolves the path of a file in the workspace: other places of this container are gone with it.
fn resolve_file(inputs: &Inputs, text: &str, runner: &Runner) -> Result<std::path::PathBuf, Fault> {
    let path = runner.resolve_path(text);
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    let is_inside = runner.workspace.as_deref().is_none_or(|workspace| path.starts_with(workspace));
    let names_a_file = path.file_name().is_some() && !text.ends_with('/') && !is_directory(&path);
    if is_inside && !goes_up && names_a_file {
        return Ok(path);
    }
    let cause = match is_inside && !goes_up {
        true => format!("{}: `to` is `{text}`, which names no file", inputs.label(InputName::Backup)),
        false => format!("{}: `to` is `{text}`, which is not in the workspace", inputs.label(InputName::Backup)),
    };
    Err(Fault::new(Code::InputInvalid, cause)
        .fix("set `to` to a file in the workspace, as in `to: backups/before.dump`, or to a command"))
}

fn is_directory(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_dir())
}
