//! The tenant that failed and those that were not reached, from the ledgers. A tool that migrates them one after the
//! other stops at the first that fails; not every tool reports which one that was.

use super::first_names::join_first_names;
use crate::{run::MigrationId, tool::MigrationStarted};

/// Returns the migration at which the work stopped: the one that the tool reported last. For a tool that reports none,
/// the ledger shows it, if anything was done at all: it is the next one, and with many schemas it is in the only schema
/// that is half done or left. If the tool started no migration and did nothing, none has failed.
pub(crate) fn failed_migration<'p>(
    pending: &'p [MigrationId],
    started: Option<&MigrationStarted>,
    is_done: impl Fn(&MigrationId) -> bool,
) -> Option<&'p MigrationId> {
    let not_done = || pending.iter().filter(|id| !is_done(id));
    let first = not_done().next()?;
    let is_only_schema = not_done().all(|id| id.schema == first.schema);
    if let Some(started) = started.filter(|started| pending.iter().any(|id| id.name == started.name)) {
        let matches_schema = |id: &MigrationId| match &started.schema {
            _ if id.schema.is_empty() => true,
            Some(schema) => *schema == id.schema,
            None => is_only_schema,
        };
        let announced = not_done().find(|id| id.name == started.name && matches_schema(id));
        // With only one schema, the tool's report is complete.
        if announced.is_some() || first.schema.is_empty() {
            return announced;
        }
    }
    if !pending.iter().any(&is_done) {
        return None;
    }
    let mut half_done =
        progress_by_tenant(pending, &is_done).into_iter().filter(|group| group.remaining > 0 && group.done > 0);
    let half_done = half_done.next().filter(|_| half_done.next().is_none());
    let half_done = half_done.and_then(|group| not_done().find(|id| id.schema == group.schema));
    half_done.or_else(|| is_only_schema.then_some(first))
}

/// Describes the tenants in a sentence; `None` if there are none.
pub(crate) fn describe_tenants(
    pending: &[MigrationId],
    failed: Option<&MigrationId>,
    is_done: impl Fn(&MigrationId) -> bool,
) -> Option<String> {
    let groups = progress_by_tenant(pending, &is_done);
    if groups.len() < 2 {
        return None;
    }
    let done = groups.iter().filter(|group| group.remaining == 0).count();
    let failed = failed.map(|id| id.schema.as_str());
    let remaining_schemas: Vec<&str> = groups
        .iter()
        .filter(|group| group.remaining > 0)
        .map(|group| group.schema)
        .filter(|s| Some(*s) != failed)
        .collect();
    let failed = failed.map(|schema| format!("; `{schema}` failed")).unwrap_or_default();
    // The summary lists all.
    let schema_names = join_first_names(remaining_schemas.iter().map(|schema| format!("`{schema}`")));
    let remaining_schemas = match (remaining_schemas.len(), failed.is_empty()) {
        (0, _) => String::new(),
        (_, false) => format!("; not migrated: {schema_names}"),
        // The tool does not report where it stopped.
        (_, true) => format!("; failed or not reached: {schema_names}"),
    };
    Some(format!("{done} of {} schemas are migrated{failed}{remaining_schemas}", groups.len()))
}

/// The progress of one schema.
struct TenantProgress<'p> {
    schema: &'p str,
    done: usize,
    remaining: usize,
}

fn progress_by_tenant<'p>(
    pending: &'p [MigrationId],
    is_done: &impl Fn(&MigrationId) -> bool,
) -> Vec<TenantProgress<'p>> {
    let mut groups: Vec<TenantProgress<'p>> = Vec::new();
    for id in pending.iter().filter(|id| !id.schema.is_empty()) {
        // The migrations of a schema are adjacent.
        if groups.last().is_none_or(|group| group.schema != id.schema) {
            groups.push(TenantProgress { schema: &id.schema, done: 0, remaining: 0 });
        }
        if let Some(group) = groups.last_mut() {
            if is_done(id) { group.done += 1 } else { group.remaining += 1 }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(ids: &[(&str, &str)]) -> Vec<MigrationId> {
        let id = |(schema, name): &(&str, &str)| MigrationId {
            name: (*name).to_owned(),
            schema: (*schema).to_owned(),
            ..MigrationId::default()
        };
        ids.iter().map(id).collect()
    }

    #[test]
    fn with_one_ledger_the_started_migration_has_failed_or_none_if_none_started() {
        let ids = pending(&[("", "a.1"), ("", "a.2"), ("", "a.3")]);
        let failed = |started: Option<&str>, done: &[&str]| {
            let started = started.map(|name| MigrationStarted { name: name.to_owned(), schema: None });
            failed_migration(&ids, started.as_ref(), |id| done.contains(&id.name.as_str())).map(|id| id.name.as_str())
        };
        assert_eq!(failed(None, &[]), None, "it could not connect");
        assert_eq!(failed(Some("a.1"), &[]), Some("a.1"));
        assert_eq!(failed(Some("a.3"), &[]), Some("a.3"), "all are in one transaction");
        assert_eq!(failed(Some("a.1"), &["a.1"]), None, "a later one has failed, which it did not report");
        assert_eq!(failed(None, &["a.1"]), Some("a.2"), "the tool reports no migrations");
        assert_eq!(failed(Some("AddUsers"), &["a.1"]), Some("a.2"), "the tool reports other names");
    }

    #[test]
    fn with_many_schemas_none_has_failed_if_none_started() {
        let ids = pending(&[("c", "x"), ("c", "y")]);
        assert_eq!(failed_migration(&ids, None, |_| false), None);
        let started = MigrationStarted { name: "y".to_owned(), schema: None };
        let failed = failed_migration(&ids, Some(&started), |id| id.name == "x");
        assert_eq!(failed.map(|id| id.name.as_str()), Some("y"));
    }

    #[test]
    fn with_many_schemas_the_tool_reports_the_failed_one_or_it_is_the_half_done_one() {
        let ids = pending(&[("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "y")]);
        let failed_at = |started: Option<MigrationStarted>, done: &[(&str, &str)]| {
            let is_done = |id: &MigrationId| done.contains(&(id.schema.as_str(), id.name.as_str()));
            failed_migration(&ids, started.as_ref(), is_done).map(|id| format!("{} {}", id.schema, id.name))
        };
        let started = |schema: Option<&str>| {
            Some(MigrationStarted { name: "x".to_owned(), schema: schema.map(ToOwned::to_owned) })
        };
        assert_eq!(failed_at(started(Some("b")), &[]).as_deref(), Some("b x"));
        assert_eq!(failed_at(started(None), &[("c", "x")]).as_deref(), Some("c y"));
        assert_eq!(failed_at(None, &[("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]).as_deref(), Some("c x"));
        assert_eq!(failed_at(None, &[]), None);
    }
}
