//! Effects as text, for tests.

use super::{
    super::{
        effect::{Certainty, Destruction, LockedRelation, StatementEffect, TableWork},
        script::{MigrationScript, ScriptTransaction},
    },
    statement_effects,
};
use crate::run::MigrationId;

/// Returns the effects of a script on PostgreSQL 15, one line for each statement.
pub(super) fn effects_of(sql: &str) -> String {
    effects_on(150_000, sql)
}

/// Returns the effects of a script on this version of PostgreSQL, one line for each statement.
pub(super) fn effects_on(server_version: u32, sql: &str) -> String {
    let effects = read_script(server_version, sql, ScriptTransaction::Whole);
    effects.iter().map(draw_effect).collect::<Vec<_>>().join("\n")
}

/// Returns the effects of a script.
pub(super) fn read_script(server_version: u32, sql: &str, transaction: ScriptTransaction) -> Vec<StatementEffect> {
    let id = MigrationId { file: "0001_a.sql".to_owned(), ..MigrationId::default() };
    let script = MigrationScript { id, sql: sql.to_owned(), transaction, hidden: Vec::new() };
    statement_effects(&script, server_version)
}

fn draw_effect(effect: &StatementEffect) -> String {
    let mut parts: Vec<String> =
        effect.locks.iter().map(|lock| format!("{} {}", lock.mode.name(), draw_relation(&lock.relation))).collect();
    parts.extend(effect.work.iter().map(draw_work));
    parts.extend(effect.destroys.iter().map(draw_destruction));
    parts.extend(effect.creates.iter().map(|created| format!("creates {created}")));
    match &effect.certainty {
        Certainty::Known => {}
        Certainty::MayBeMore(reason) => parts.push(format!("more: {reason}")),
        Certainty::MayBeLess(reason) => parts.push(format!("less: {reason}")),
    }
    parts.join("; ")
}

fn draw_relation(relation: &LockedRelation) -> String {
    match relation {
        LockedRelation::Named(name) => name.to_string(),
        LockedRelation::TableOfIndex(name) => format!("table of {name}"),
        LockedRelation::PartitionsOfIndexTable(name) => format!("partitions with {name}"),
        LockedRelation::TableOfStatistics(name) => format!("table of statistics {name}"),
        LockedRelation::IndexesOf(name) => format!("indexes of {name}"),
        LockedRelation::ReferencedBy(name) => format!("referenced by {name}"),
        LockedRelation::ReferencedByColumn { table, column } => format!("referenced by {table}.{column}"),
        LockedRelation::ReferencedByConstraint { table, constraint } => format!("referenced by {table}:{constraint}"),
        LockedRelation::ReferencesTo(name) => format!("references to {name}"),
        LockedRelation::ReferencesToColumn { table, column } => format!("references to {table}.{column}"),
        LockedRelation::DescendantsOf(name) => format!("below {name}"),
        LockedRelation::PartitionsOf(name) => format!("partitions of {name}"),
        LockedRelation::DefaultPartitionOf(name) => format!("default of {name}"),
        LockedRelation::DefaultSiblingOf(name) => format!("default beside {name}"),
        LockedRelation::ViewsOn(name) => format!("views on {name}"),
        LockedRelation::ParentOf(name) => format!("parent of {name}"),
        LockedRelation::InSchema(name) => format!("all in {name}"),
    }
}

fn draw_work(work: &TableWork) -> String {
    match work {
        TableWork::Scan(name) => format!("scan {name}"),
        TableWork::ScanDefaultPartition(name) => format!("scan default of {name}"),
        TableWork::Rewrite(name) => format!("rewrite {name}"),
        TableWork::BuildIndex(name) => format!("index on {name}"),
        TableWork::RebuildIndex(name) => format!("rebuild {name}"),
        TableWork::ChangeRows(name) => format!("change some of {name}"),
        TableWork::ChangeAllRows(name) => format!("change all of {name}"),
    }
}

fn draw_destruction(destruction: &Destruction) -> String {
    match destruction {
        Destruction::Table(name) => format!("drops table {name}"),
        Destruction::Column { table, column } => format!("drops column {table}.{column}"),
        Destruction::Database(name) => format!("drops database {name}"),
        Destruction::Schema(name) => format!("drops schema {name}"),
        Destruction::Type(name) => format!("drops type {name}"),
        Destruction::Index(name) => format!("drops index {name}"),
        Destruction::Rows(name) => format!("empties {name}"),
        Destruction::Values { table, columns } => format!("overwrites {table}.{}", columns.join(",")),
        Destruction::Narrowed { table, column, to } => format!("narrows {table}.{column} to {to}"),
    }
}
