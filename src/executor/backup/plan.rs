//! The plan of a dump: what it contains, how large that is, and where it goes.

use crate::{
    backup::{BackupTarget, Cipher, DumpScope, ScopeSelection, default_file_name, read_scope},
    fault::{Code, Fault},
    postgres::{Session, wait::answer_within},
    review::{PlanPath, PlanTables, read_search_path},
    run::{BackupFacts, format_bytes},
    settings::{
        BackupPlace, Command, DumpContent, DumpDestination, DumpSettings, DumpSite, DumpedTables, ImageOwner, Site,
        SiteImage,
    },
    site::Sites,
    sql::QualifiedName,
};
use std::{path::PathBuf, time::SystemTime};

/// The part of a plan that a backup depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupSubject {
    /// The digest of the plan.
    pub(crate) digest: String,
    /// The tables that the plan changes.
    pub(crate) tables: PlanTables,
    /// The schemas of the tenants that have pending migrations.
    pub(crate) tenants: Vec<String>,
}

/// A dump that is planned.
#[derive(Debug)]
pub(super) struct PlannedDump {
    pub(super) scope: DumpScope,
    pub(super) content: DumpContent,
    pub(super) max_bytes: Option<u64>,
    pub(super) site: Site,
    pub(super) server_major: u32,
    pub(super) target: DumpTarget,
}

/// The destination of a planned dump.
#[derive(Debug)]
pub(super) enum DumpTarget {
    File { path: PathBuf, cipher: Cipher },
    Command(String),
}

/// Plans a dump; nothing if the plan changes no table that exists.
///
/// # Errors
/// `backup-refused`; the lost connection; the fault of an image that can't be pulled.
pub(super) async fn plan_dump(
    sites: &mut Sites<'_>,
    plan: Option<(&Session, &BackupSubject)>,
    settings: &DumpSettings,
) -> Result<Option<(BackupFacts, PlannedDump)>, Fault> {
    let wrong_phase = || Fault::new(Code::Bug, "a backup is planned before there is a plan");
    let (session, subject) = plan.ok_or_else(wrong_phase)?;
    let server_major = session.server_version().ok_or_else(wrong_phase)? / 10_000;
    let scope = answer_within(sites.settings.wait_timeout, find_scope(session, subject, &settings.tables)).await?;
    if matches!(&scope, DumpScope::Relations(relations) if relations.is_empty()) {
        sites.events.emit_note("there is nothing to back up: the plan changes no table that exists");
        return Ok(None);
    }
    let estimate_bytes = (settings.content == DumpContent::Data).then(|| scope.bytes());
    refuse_too_large(estimate_bytes, settings.max_bytes)?;
    let site = match &settings.site {
        DumpSite::At(site) => site.clone(),
        DumpSite::ImageOfServerVersion => {
            let reference = format!("postgres:{server_major}");
            if sites.settings.command.may_write() {
                sites.ensure_image(&reference).await?;
            }
            Site::Image(SiteImage { reference, owner: ImageOwner::Step })
        }
    };
    let (target, destination) = find_target(sites, settings, &subject.digest);
    let facts =
        BackupFacts { content: describe_content(settings.content, &scope), estimate_bytes, destination, made: None };
    let DumpSettings { content, max_bytes, .. } = settings;
    let dump = PlannedDump { scope, content: *content, max_bytes: *max_bytes, site, server_major, target };
    Ok(Some((facts, dump)))
}

/// Finds the relations that are dumped, with their sizes.
async fn find_scope(session: &Session, subject: &BackupSubject, tables: &DumpedTables) -> Result<DumpScope, Fault> {
    let selection = match tables {
        DumpedTables::All => ScopeSelection::Database,
        DumpedTables::Named(names) => ScopeSelection::Names {
            relations: names.iter().map(|name| qualified(name)).collect(),
            schemas: Vec::new(),
            paths: vec![read_search_path(&session.client, &PlanPath::Session).await?],
        },
        DumpedTables::OfPlan => {
            refuse_unknown_tables(&subject.tables)?;
            ScopeSelection::Names {
                relations: subject.tables.relations.iter().cloned().collect(),
                schemas: subject.tables.schemas.iter().cloned().collect(),
                paths: paths_of_plan(session, subject).await?,
            }
        }
    };
    let (scope, missing) = read_scope(&session.client, &selection).await?;
    match (tables, missing.first()) {
        // Those that the plan creates.
        (DumpedTables::OfPlan | DumpedTables::All, _) | (_, None) => Ok(scope),
        (DumpedTables::Named(_), Some(name)) => {
            let cause = format!("there is no table `{name}` to back up (`tables` of `backup`)");
            let fix = "correct the name, with its schema if that is not in the role's search path";
            Err(Fault::new(Code::BackupRefused, cause).fix(fix))
        }
    }
}

/// Returns the search paths in which the names of the plan are looked up: one for each tenant.
async fn paths_of_plan(session: &Session, subject: &BackupSubject) -> Result<Vec<Vec<String>>, Fault> {
    let path = match subject.tenants.is_empty() {
        true => &subject.tables.path,
        false => &PlanPath::Session,
    };
    let common = read_search_path(&session.client, path).await?;
    if subject.tenants.is_empty() {
        return Ok(vec![common]);
    }
    let of_tenant = |tenant: &String| [tenant.clone()].into_iter().chain(common.iter().cloned()).collect();
    Ok(subject.tenants.iter().map(of_tenant).collect())
}

fn qualified(name: &str) -> QualifiedName {
    match name.split_once('.') {
        Some((schema, name)) => QualifiedName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => QualifiedName { schema: None, name: name.to_owned() },
    }
}

/// Most reasons that a fault lists.
const MAX_REASONS: usize = 10;

fn refuse_unknown_tables(tables: &PlanTables) -> Result<(), Fault> {
    let Some(first) = tables.unknown.first() else { return Ok(()) };
    let cause = format!("the tables of the plan are not known, so `tables: plan` of `backup` is incomplete: {first}");
    let fix = "name the tables in `tables` of `backup`, or remove `tables` to dump all of them";
    let fault = Fault::new(Code::BackupRefused, cause).fix(fix);
    let more = tables.unknown.len().saturating_sub(MAX_REASONS);
    let fault = tables.unknown.iter().skip(1).take(MAX_REASONS - 1).cloned().fold(fault, Fault::detail);
    Err(if more > 0 { fault.detail(format!("and {more} more")) } else { fault })
}

fn refuse_too_large(estimate_bytes: Option<u64>, max_bytes: Option<u64>) -> Result<(), Fault> {
    let Some((estimate, max)) = estimate_bytes.zip(max_bytes).filter(|(estimate, max)| estimate > max) else {
        return Ok(());
    };
    let (estimate, max) = (format_bytes(estimate), format_bytes(max));
    let cause = format!("the tables to back up have {estimate} with their indexes, and `max` of `backup` is {max}");
    let fix = "raise `max`, dump fewer tables with `tables: plan` or by their names, or let `command` of `backup` make a snapshot";
    Err(Fault::new(Code::BackupRefused, cause).fix(fix))
}

/// Returns the destination, and its name for reports.
fn find_target(sites: &Sites<'_>, settings: &DumpSettings, digest: &str) -> (DumpTarget, String) {
    let (place, recipient) = match &settings.destination {
        DumpDestination::Command(line) => {
            let text = line.display_text();
            return (DumpTarget::Command(text.clone()), text);
        }
        DumpDestination::File { place, recipient } => (place, recipient),
    };
    let cipher = recipient.clone().map_or(Cipher::Plain, Cipher::Age);
    match place {
        BackupPlace::Chosen { shown, path } => (DumpTarget::File { path: path.clone(), cipher }, shown.clone()),
        BackupPlace::NamedInDirectory { shown, path } => {
            let run = sites.settings;
            let database = run.database.as_ref().map(|database| database.name.as_str()).unwrap_or_default();
            let target = BackupTarget { environment: run.environment.as_deref(), database, plan_digest: digest };
            let name = default_file_name(target, SystemTime::now().into());
            let name = if cipher == Cipher::Plain { name } else { format!("{name}.age") };
            let path = path.join(&name);
            let shown = match run.command {
                // The name has the time of the backup.
                Command::Plan => format!("a new file in {shown}"),
                _ => format!("{shown}/{name}"),
            };
            (DumpTarget::File { path, cipher }, shown)
        }
    }
}

fn describe_content(content: DumpContent, scope: &DumpScope) -> String {
    let content = match content {
        DumpContent::Schema => "the schema",
        DumpContent::Data => "schema and data",
    };
    match scope {
        DumpScope::Database(_) => format!("{content} of the whole database"),
        DumpScope::Relations(relations) => match relations.len() {
            1 => format!("{content} of 1 relation"),
            count => format!("{content} of {count} relations"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_larger_than_allowed_is_refused_with_both_sizes() {
        assert_eq!(refuse_too_large(Some(5), Some(5)), Ok(()));
        assert_eq!(refuse_too_large(None, Some(5)), Ok(()));
        let fault = refuse_too_large(Some(5_767_168), Some(1_024)).unwrap_err();
        assert_eq!(fault.code, Code::BackupRefused);
        assert!(fault.cause.contains("5.5 MB") && fault.cause.contains("1.0 kB"), "{fault:?}");
    }

    #[test]
    fn tables_that_are_not_known_are_refused_with_the_reasons() {
        let mut tables = PlanTables::unknown("one runs Python code");
        tables.unknown.extend((0..20).map(|number| number.to_string()));
        let fault = refuse_unknown_tables(&tables).unwrap_err();
        assert!(fault.cause.ends_with("one runs Python code") && fault.fix.contains("name the tables"), "{fault:?}");
        assert_eq!((fault.detail.len(), fault.detail.last().unwrap().as_str()), (MAX_REASONS, "and 11 more"));
    }
}
