//! The things that a statement destroys, with what is known of their content now.

use super::{
    effect::{Destruction, StatementEffect},
    lock_target::{describe_size, display_name, plain_or_quoted},
    plan_progress::{NameState, PlanProgress},
    relation_facts::RelationFacts,
    table_facts::{Probe, TableFacts},
    units::{format_count, format_duration, format_rows},
};
use crate::{
    run::{Content, DestroyedObject, PlanReview},
    sql::QualifiedName,
};

/// A loss that somebody has allowed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedLoss {
    /// The deed and its object, as in `drop users.legacy_email`; the schema may be left out.
    pub what: String,
    /// The reason.
    pub reason: String,
}

/// The content of an object as a phrase and as a value.
type KnownContent = (String, Content);

/// Returns the things that are gone after this statement.
pub(super) fn weigh_destruction(
    effect: &StatementEffect,
    facts: &TableFacts,
    progress: &PlanProgress,
    allowed: &[AllowedLoss],
) -> Vec<DestroyedObject> {
    let search = DestructionSearch { effect, facts, progress };
    let objects = effect.destroys.iter().flat_map(|destruction| search.objects(destruction));
    let object = |(what, qualified, (facts, content)): (String, String, KnownContent)| {
        let reason = allowed.iter().find(|allowance| allowance.covers(&what, &qualified));
        let allowed = reason.map(|allowance| allowance.reason.clone());
        DestroyedObject { what, qualified, facts, content, allowed }
    };
    objects.map(object).collect()
}

impl AllowedLoss {
    /// Returns whether it is about this object, whose names are given without and with its schema.
    fn covers(&self, what: &str, qualified: &str) -> bool {
        let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
        let own = words(&self.what);
        own == words(what) || own == words(qualified)
    }
}

/// The origin of an object that is not in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Plan,
    Elsewhere,
}

/// Returns the allowed losses for which the plan has no loss.
#[must_use]
pub(super) fn unused_losses<'a>(review: &PlanReview, allowed: &'a [AllowedLoss]) -> Vec<&'a AllowedLoss> {
    let objects = || review.statements.iter().flat_map(|statement| &statement.destroys);
    let is_used = |allowance: &AllowedLoss| objects().any(|object| allowance.covers(&object.what, &object.qualified));
    allowed.iter().filter(|allowance| !is_used(allowance)).collect()
}

struct DestructionSearch<'a> {
    effect: &'a StatementEffect,
    facts: &'a TableFacts,
    progress: &'a PlanProgress,
}

impl DestructionSearch<'_> {
    /// Returns the objects that are destroyed: the names without and with the schema, and their content.
    fn objects(&self, destruction: &Destruction) -> Vec<(String, String, KnownContent)> {
        match destruction {
            Destruction::Table(table) => vec![self.of_table("drop", table, None)],
            Destruction::Rows(table) => vec![self.of_table(self.row_verb(), table, None)],
            Destruction::Column { table, column } => vec![self.of_table("drop", table, Some(column))],
            Destruction::Narrowed { table, column, .. } => vec![self.of_table("narrow", table, Some(column))],
            Destruction::Values { table, columns } => {
                columns.iter().map(|column| self.of_table("update", table, Some(column))).collect()
            }
            Destruction::Database(name) => {
                let what = format!("drop database {}", plain_or_quoted(name));
                vec![(what.clone(), what, ("all of it".to_owned(), Content::Something))]
            }
            Destruction::Schema(schema) => {
                let what = format!("drop schema {}", plain_or_quoted(schema));
                vec![(what.clone(), what, self.schema_content(schema))]
            }
            Destruction::Type(name) => vec![self.of_type(name)],
            Destruction::Index(name) => self.of_index(name).into_iter().collect(),
        }
    }

    /// Returns the verb for all rows, which the statement's first word shows.
    fn row_verb(&self) -> &'static str {
        let first = self.effect.summary.split_whitespace().next().unwrap_or_default();
        if first.eq_ignore_ascii_case("TRUNCATE") { "truncate" } else { "delete" }
    }

    fn of_table(&self, verb: &str, name: &QualifiedName, column: Option<&str>) -> (String, String, KnownContent) {
        let table = self.facts.find(name).filter(|_| !self.progress.is_new(name, self.facts));
        let column = column.map(|column| format!(".{}", plain_or_quoted(column))).unwrap_or_default();
        let what = format!("{verb} {}{column}", as_written(name));
        let qualified = table.map_or_else(|| what.clone(), |table| format!("{verb} {}{column}", with_schema(table)));
        let content = match table {
            Some(table) => self.table_content(table),
            None if self.progress.is_new(name, self.facts) => self.absent_content(Origin::Plan),
            None => self.absent_content(Origin::Elsewhere),
        };
        (what, qualified, content)
    }

    /// Returns the content of a table. That the statistics count no row is no proof: only a look into it is.
    fn table_content(&self, table: &RelationFacts) -> KnownContent {
        let size = table.whole_size();
        let (rows, content) = match self.facts.probes.get(&table.oid) {
            Some(Probe::Rows(0)) => return ("it is empty".to_owned(), Content::Nothing),
            Some(Probe::Rows(rows)) => (format_rows(*rows), Content::Something),
            Some(Probe::MoreThan(_)) => (describe_size(self.facts.rows(table), &size), Content::Something),
            Some(Probe::Unreadable(reason)) => {
                let estimate = describe_size(size.rows, &size);
                (format!("{estimate} by the statistics, and it could not be read: {reason}"), Content::Unknown)
            }
            None => (format!("{} by the statistics", describe_size(size.rows, &size)), Content::Unknown),
        };
        let use_of_it = [self.describe_use(table), describe_dependants(table)];
        let parts: Vec<String> = [Some(rows)].into_iter().chain(use_of_it).flatten().collect();
        (parts.join(", "), content)
    }

    /// Returns the use of a table since the statistics were reset. When it was last written is not recorded anywhere.
    fn describe_use(&self, table: &RelationFacts) -> Option<String> {
        let since = match self.facts.server.statistics_age {
            Some(age) => format!("in the last {}", format_duration(age)),
            None => "since the statistics began".to_owned(),
        };
        let (writes, scans) = (format_count(table.writes), format_count(table.scans));
        Some(format!("{writes} rows written and {scans} scans {since}"))
    }

    fn schema_content(&self, schema: &str) -> KnownContent {
        match self.facts.schemas.iter().find(|known| known.name == schema) {
            Some(found) if found.tables == 0 => ("it has no tables".to_owned(), Content::Nothing),
            Some(found) => {
                let size = describe_size(found.size.rows, &found.size);
                (format!("{} tables, {size}", format_count(found.tables)), Content::Something)
            }
            None => self.absent_content(Origin::Elsewhere),
        }
    }

    fn of_type(&self, name: &QualifiedName) -> (String, String, KnownContent) {
        let what = format!("drop type {}", as_written(name));
        let found = self.facts.types.iter().find(|known| known.name == *name);
        let qualified = |schema: &str| format!("drop type {}.{}", plain_or_quoted(schema), plain_or_quoted(&name.name));
        match found {
            Some(found) if found.columns == 0 => {
                (what, qualified(&found.schema), ("no column has it".to_owned(), Content::Nothing))
            }
            Some(found) => {
                let facts = format!("{} columns have it", format_count(found.columns));
                (what, qualified(&found.schema), (facts, Content::Something))
            }
            None => (what.clone(), what, self.absent_content(Origin::Elsewhere)),
        }
    }

    /// Returns an index that is the only one for a foreign key. Any other index holds no data and can be built again.
    fn of_index(&self, name: &QualifiedName) -> Option<(String, String, KnownContent)> {
        let relation = self.facts.find(name).filter(|_| !self.progress.is_new(name, self.facts))?;
        let index = self.facts.indexes.iter().find(|index| index.oid == relation.oid)?;
        if index.only_one_for.is_empty() {
            return None;
        }
        let keys: Vec<String> = index.only_one_for.iter().map(|key| plain_or_quoted(key)).collect();
        let facts = format!("it is the only index for the foreign key {}", keys.join(", "));
        let content =
            self.facts.relations.get(&index.table).map_or(Content::Unknown, |table| self.table_content(table).1);
        // Without a look into the table, its statistics count: an index holds no data of its own.
        let rows = self.facts.relations.get(&index.table).and_then(|table| self.facts.rows(table));
        let content = if rows.is_some_and(|rows| rows > 0) { Content::Something } else { content };
        let what = format!("drop index {}", as_written(name));
        Some((what, format!("drop index {}", with_schema(relation)), (facts, content)))
    }

    /// Returns the content of an object that is not in the database.
    fn absent_content(&self, origin: Origin) -> KnownContent {
        match (origin, &self.facts.unknown, self.progress.names()) {
            (Origin::Plan, ..) => ("it is created by this plan".to_owned(), Content::Nothing),
            (Origin::Elsewhere, Some(reason), _) => (format!("its content is unknown: {reason}"), Content::Unknown),
            (Origin::Elsewhere, None, NameState::AsFound) => {
                ("it is not in this database".to_owned(), Content::Nothing)
            }
            (Origin::Elsewhere, None, NameState::Changed) => {
                let facts = "it is not in this database now, and an earlier statement may give another object its name";
                (facts.to_owned(), Content::Unknown)
            }
        }
    }
}

fn as_written(name: &QualifiedName) -> String {
    display_name(name.schema.as_deref(), &name.name)
}

fn with_schema(relation: &RelationFacts) -> String {
    format!("{}.{}", plain_or_quoted(&relation.schema), plain_or_quoted(&relation.name))
}

fn describe_dependants(table: &RelationFacts) -> Option<String> {
    (table.views > 0).then(|| format!("used by {} views", format_count(table.views)))
}
