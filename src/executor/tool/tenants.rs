//! Which tenant failed and which were not reached, from what the ledgers say. A tool that works through them one after the other
//! stops at the first that fails; not every tool says which one that was.

use crate::{run::event::MigrationId, tool::Begun};

/// How many schemas are named; the summary has all.
const NAMED: usize = 5;

/// Where the work stopped, as far as it can be told: of one ledger, at the first migration that is not done; of many, where
/// the tool said it was, or in the only schema that is half done.
pub(crate) fn stopped_at<'p>(
    pending: &'p [MigrationId],
    begun: Option<&Begun>,
    is_done: impl Fn(&MigrationId) -> bool,
) -> Option<&'p MigrationId> {
    let open = || pending.iter().filter(|id| !is_done(id));
    if open().all(|id| id.schema.is_empty()) {
        return open().next();
    }
    let said = begun.and_then(|begun| {
        open().find(|id| id.name == begun.name && begun.schema.as_deref() == Some(id.schema.as_str()))
    });
    let half_done = || {
        let mut schemas = groups(pending, &is_done).into_iter().filter(|group| group.open > 0 && group.done > 0);
        let only = schemas.next().filter(|_| schemas.next().is_none())?;
        open().find(|id| id.schema == only.schema)
    };
    let only_one = || {
        let first = open().next()?;
        open().all(|id| id.schema == first.schema).then_some(first)
    };
    said.or_else(half_done).or_else(only_one)
}

/// The same in a sentence; nothing where there are no tenants.
pub(crate) fn told(
    pending: &[MigrationId],
    failed: Option<&MigrationId>,
    is_done: impl Fn(&MigrationId) -> bool,
) -> Option<String> {
    let groups = groups(pending, &is_done);
    if groups.len() < 2 {
        return None;
    }
    let done = groups.iter().filter(|group| group.open == 0).count();
    let failed = failed.map(|id| id.schema.as_str());
    let open: Vec<&str> =
        groups.iter().filter(|group| group.open > 0).map(|group| group.schema).filter(|s| Some(*s) != failed).collect();
    let failed = failed.map(|schema| format!("; `{schema}` failed")).unwrap_or_default();
    let named = open.iter().take(NAMED).map(|schema| format!("`{schema}`")).collect::<Vec<_>>().join(", ");
    let more = match open.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let open = match (open.len(), failed.is_empty()) {
        (0, _) => String::new(),
        (_, false) => format!("; not migrated: {named}{more}"),
        // The tool does not say where it was.
        (_, true) => format!("; failed or not reached: {named}{more}"),
    };
    Some(format!("{done} of {} schemas are migrated{failed}{open}", groups.len()))
}

/// One schema.
struct Group<'p> {
    schema: &'p str,
    done: usize,
    open: usize,
}

fn groups<'p>(pending: &'p [MigrationId], is_done: &impl Fn(&MigrationId) -> bool) -> Vec<Group<'p>> {
    let mut groups: Vec<Group<'p>> = Vec::new();
    for id in pending.iter().filter(|id| !id.schema.is_empty()) {
        // The migrations of a schema stand together.
        if groups.last().is_none_or(|group| group.schema != id.schema) {
            groups.push(Group { schema: &id.schema, done: 0, open: 0 });
        }
        if let Some(group) = groups.last_mut() {
            if is_done(id) { group.done += 1 } else { group.open += 1 }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(ids: &[(&str, &str)]) -> Vec<MigrationId> {
        let id = |(schema, name): &(&str, &str)| MigrationId::of_tool((*name).to_owned(), (*schema).to_owned());
        ids.iter().map(id).collect()
    }

    #[test]
    fn of_one_ledger_the_first_that_is_not_done_has_failed() {
        let ids = pending(&[("", "a.1"), ("", "a.2"), ("", "a.3")]);
        let failed = stopped_at(&ids, None, |id| id.name == "a.1").unwrap();
        assert_eq!(failed.name, "a.2");
    }

    #[test]
    fn of_many_schemas_the_tool_says_it_or_the_one_that_is_half_done_or_nobody() {
        let ids = pending(&[("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "y")]);
        let at = |begun: Option<Begun>, done: &[(&str, &str)]| {
            let is_done = |id: &MigrationId| done.contains(&(id.schema.as_str(), id.name.as_str()));
            stopped_at(&ids, begun.as_ref(), is_done).map(|id| format!("{} {}", id.schema, id.name))
        };
        let begun = |schema: Option<&str>| Some(Begun { name: "x".to_owned(), schema: schema.map(ToOwned::to_owned) });
        assert_eq!(at(begun(Some("b")), &[]).as_deref(), Some("b x"));
        assert_eq!(at(begun(None), &[("c", "x")]).as_deref(), Some("c y"));
        assert_eq!(at(None, &[("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]).as_deref(), Some("c x"));
        assert_eq!(at(None, &[]), None);
    }
}
