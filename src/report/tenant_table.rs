//! The table of tenants, for ledgers in the schema of each tenant: readers look for a tenant, not for the migrations of all
//! tenants together.

use super::{
    entries::{MigrationReport, MigrationState},
    log_lines::{count_of, format_millis},
    markdown::escape_markdown,
    migration_tables::describe_state,
    run_report::RunReport,
    summary_page::{FoldedPart, SummaryPage, TENANTS},
    visible_text::clip_text,
};
use std::collections::BTreeMap;

/// The head of the table.
const TABLE_HEAD: &str = "| Schema | | Migrations |\n|---|---|---|\n";

/// The largest number of tenants that are not folded.
const MAX_OPEN_TENANTS: usize = 30;

/// Estimated number of bytes of a row besides its list.
const ROW_OVERHEAD: usize = 200;

/// Adds a row for each tenant, with its migrations folded. Tenants that need attention come first; many others are
/// folded.
pub(super) fn add_tenants(report: &RunReport, page: &mut SummaryPage) {
    let failed = failed_schema(report);
    let by_tenant = group_by_tenant(report);
    let mut tenants: Vec<(&str, TenantCounts)> =
        by_tenant.iter().map(|(schema, entries)| (*schema, TenantCounts::of(entries))).collect();
    if tenants.is_empty() {
        return;
    }
    tenants.sort_by_key(|(_, tenant)| !tenant.needs_attention());
    let lists: Vec<String> = tenants
        .iter()
        .map(|(schema, _)| by_tenant.get(schema).map(|entries| list_migrations(entries)).unwrap_or_default())
        .collect();
    // Without room for all lists, a row of each tenant is worth more than some lists.
    let fits = lists.iter().map(|list| list.len() + ROW_OVERHEAD).sum::<usize>() < page.remaining_room() / 2;
    let rows = tenants.iter().zip(&lists).map(|((schema, tenant), list)| {
        let list = if fits { list.as_str() } else { "" };
        tenant.table_row(schema, failed, list)
    });
    let rows: Vec<String> = rows.collect();
    let attention = tenants.iter().filter(|(_, tenant)| tenant.needs_attention()).count();
    let open = if rows.len() > MAX_OPEN_TENANTS { attention } else { rows.len() };
    page.add_piece(TENANTS, "### Tenants\n\n");
    if open > 0 {
        page.add_piece(TENANTS, TABLE_HEAD);
        rows.iter().take(open).for_each(|row| page.add_piece(TENANTS, row));
        page.add_piece(TENANTS, "\n");
    }
    if open < rows.len() {
        let summary = describe_states(tenants.iter().skip(open).map(|(_, tenant)| tenant.describe_state(failed)));
        let folded = FoldedPart { part: TENANTS, summary: &summary, head: TABLE_HEAD };
        page.add_folded(&folded, rows.into_iter().skip(open));
    }
}

/// Counts tenants by their states: `20 tenants done, 4 tenants not reached`.
fn describe_states(states: impl Iterator<Item = &'static str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    states.for_each(|state| *counts.entry(state).or_default() += 1);
    let texts: Vec<String> =
        counts.iter().map(|(state, count)| format!("{} {state}", count_of(*count, "tenant"))).collect();
    texts.join(", ")
}

/// Lists the migrations of a tenant within one cell of a table.
fn list_migrations(entries: &[&MigrationReport]) -> String {
    let names = entries.iter().map(|entry| {
        let note = match entry.fate {
            MigrationState::Applied => entry.took_ms.map(format_millis).unwrap_or_default(),
            MigrationState::Pending => "pending".to_owned(),
            state => describe_state(state).to_owned(),
        };
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        format!("{}{note}", escape_markdown(&clip_text(&entry.id.name_without_schema(), 300)))
    });
    names.collect::<Vec<_>>().join("<br>")
}

/// Counts of one tenant's migrations by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TenantCounts {
    applied: usize,
    rolled_back: usize,
    unrecorded: usize,
    open: usize,
    failed: usize,
    doubtful: usize,
}

/// Knowledge about the schema in which a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailedSchema {
    /// The run has not failed.
    NotFailed,
    KnownSchema,
    UnknownSchema,
}

/// Returns whether the schema in which this run failed is known.
fn failed_schema(report: &RunReport) -> FailedSchema {
    let known = report.in_state(MigrationState::Failed).next().is_some();
    match (known, report.faults.is_empty()) {
        (true, _) => FailedSchema::KnownSchema,
        (false, true) => FailedSchema::NotFailed,
        (false, false) => FailedSchema::UnknownSchema,
    }
}

impl TenantCounts {
    /// Returns whether the tenant is in a state that someone must look at.
    fn needs_attention(&self) -> bool {
        let started = self.applied + self.rolled_back + self.unrecorded > 0;
        self.failed > 0 || self.doubtful > 0 || (started && self.open > 0)
    }

    /// Returns the tenant's row of the table. `list` has its migrations.
    fn table_row(&self, schema: &str, failed: FailedSchema, list: &str) -> String {
        let schema = escape_markdown(&clip_text(schema, 300));
        let state = self.describe_state(failed);
        let state = if self.needs_attention() { format!("**{state}**") } else { state.to_owned() };
        let counts = [
            (self.applied, "applied"),
            (self.rolled_back, "rolled back"),
            (self.unrecorded, "recorded as not applied"),
            (self.open, "open"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        match list {
            "" => format!("| {schema} | {state} | {counts} |\n"),
            list => {
                format!("| {schema} | {state} | <details><summary>{counts}</summary>{list}</details> |\n")
            }
        }
    }

    /// Describes the tenant's state. If the run failed in an unknown schema, it may be any that has not started.
    fn describe_state(&self, failed: FailedSchema) -> &'static str {
        match (self, failed) {
            (Self { failed: 1.., .. }, _) => "failed",
            (Self { open: 0, .. }, _) => "done",
            (Self { doubtful: 1.., .. }, _) => "in doubt",
            (Self { applied: 0, rolled_back: 0, unrecorded: 0, .. }, FailedSchema::NotFailed) => "pending",
            (Self { applied: 0, rolled_back: 0, unrecorded: 0, .. }, FailedSchema::KnownSchema) => "not reached",
            (Self { applied: 0, rolled_back: 0, unrecorded: 0, .. }, FailedSchema::UnknownSchema) => {
                "failed or not reached"
            }
            (_, _) => "partly done",
        }
    }

    fn of(entries: &[&MigrationReport]) -> Self {
        let mut counts = Self::default();
        entries.iter().for_each(|entry| counts.count_migration(entry));
        counts
    }

    fn count_migration(&mut self, entry: &MigrationReport) {
        match entry.fate {
            MigrationState::Applied => self.applied += 1,
            MigrationState::RolledBack => self.rolled_back += 1,
            MigrationState::Unrecorded => self.unrecorded += 1,
            MigrationState::Failed => (self.failed, self.open) = (self.failed + 1, self.open + 1),
            MigrationState::InDoubt => (self.doubtful, self.open) = (self.doubtful + 1, self.open + 1),
            MigrationState::Pending | MigrationState::Running | MigrationState::Cancelled => self.open += 1,
        }
    }
}

/// Groups the migrations of every tenant that has any, by schema; empty without tenants.
fn group_by_tenant(report: &RunReport) -> BTreeMap<&str, Vec<&MigrationReport>> {
    let mut tenants: BTreeMap<&str, Vec<&MigrationReport>> = BTreeMap::new();
    for entry in report.migrations.iter().filter(|entry| !entry.id.schema.is_empty()) {
        tenants.entry(&entry.id.schema).or_default().push(entry);
    }
    tenants
}

/// The state of a tenant, for the output `report`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct TenantOutput {
    schema: String,
    /// In words, as in the summary.
    state: &'static str,
    applied: usize,
    pending: usize,
}

/// Returns the state of every tenant that has migrations in the plan; empty without tenants.
pub(super) fn tenant_outputs(report: &RunReport) -> Vec<TenantOutput> {
    let failed = failed_schema(report);
    let output = |(schema, entries): (&str, Vec<&MigrationReport>)| {
        let counts = TenantCounts::of(&entries);
        let state = counts.describe_state(failed);
        TenantOutput { schema: schema.to_owned(), state, applied: counts.applied, pending: counts.open }
    };
    group_by_tenant(report).into_iter().map(output).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::run::MigrationId;

    /// Returns the table of tenants with ten migrations each, of which the last tenant has applied one.
    fn table(tenants: usize, room: usize) -> String {
        let migration = |tenant: usize, at: usize| MigrationReport {
            fate: if tenant + 1 == tenants && at == 0 { MigrationState::Applied } else { MigrationState::Pending },
            ..MigrationReport::new_pending(&MigrationId::of_tool(format!("shop.{at:04}"), format!("t{tenant:04}")))
        };
        let mut report = sample::report_of(&Vec::new());
        report.migrations = (0..tenants).flat_map(|tenant| (0..10).map(move |at| migration(tenant, at))).collect();
        let mut page = SummaryPage { text: String::new(), room, left_out: Vec::new() };
        add_tenants(&report, &mut page);
        page.text
    }

    #[test]
    fn a_tenant_that_is_partly_done_stays_visible_above_many_others() {
        let text = table(31, 1 << 20);
        let (open, folded) = text.split_once("<details><summary>30 tenants pending</summary>\n").unwrap();
        assert!(open.contains("| t0030 | **partly done** | <details><summary>1 applied, 9 open</summary>"), "{text}");
        assert_eq!((open.matches("| t0").count(), folded.matches("| t0").count()), (1, 30), "{text}");
        assert!(!table(30, 1 << 20).contains("tenants pending"));
    }

    #[test]
    fn without_room_for_the_migrations_each_tenant_still_has_a_row() {
        let text = table(500, 65_536);
        assert_eq!(text.matches("\n| t0").count(), 500);
        assert!(!text.contains("shop.0000") && text.len() < 65_536, "{text}");
    }

    #[test]
    fn a_tenant_that_may_have_failed_is_not_shown_as_not_reached() {
        let state = |tenant: TenantCounts| {
            [FailedSchema::NotFailed, FailedSchema::KnownSchema, FailedSchema::UnknownSchema]
                .map(|failed| tenant.describe_state(failed))
        };
        let untouched = TenantCounts { open: 2, ..TenantCounts::default() };
        assert_eq!(state(untouched), ["pending", "not reached", "failed or not reached"]);
        assert_eq!(state(TenantCounts { open: 1, failed: 1, ..TenantCounts::default() }), ["failed"; 3]);
        assert_eq!(state(TenantCounts { open: 1, doubtful: 1, ..TenantCounts::default() }), ["in doubt"; 3]);
        assert_eq!(state(TenantCounts { applied: 2, ..TenantCounts::default() }), ["done"; 3]);
        assert_eq!(state(TenantCounts { applied: 1, open: 1, ..TenantCounts::default() }), ["partly done"; 3]);
    }
}
