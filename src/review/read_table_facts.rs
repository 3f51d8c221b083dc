//! The question to the database: the facts for the names of a plan.
//!
//! One message reads everything that is in the catalog and in the statistics. A second one is sent first if the search
//! path is unknown, one follows if `pg_stat_statements` is there, and one for each table to look into; the last two kinds
//! are sent together.

use super::{
    plan_names::PlanNames,
    relation_facts::RelationFacts,
    relation_query::{near_sql, relations_sql, schemas_sql, types_sql},
    relation_rows::add_relations,
    server_facts::{parse_page, parse_replication, parse_server, server_sql},
    session_facts::{parse_sessions, sessions_sql},
    statement_families::{StatementStatistics, parse_families},
    table_facts::{Probe, TableFacts},
    table_probe::{MAX_PROBES, probe_query, read_probe},
};
use crate::{
    fault::Fault,
    postgres::{OwnQuery, RowTag, Rows, query_rows},
    settings::QueryDisplay,
};
use futures_util::future::{join, join_all};
use tokio_postgres::Client;

/// The time limit of each statement of the question. `jit` costs more time than it saves in queries of the catalog.
const LIMITS: &str = "SET LOCAL statement_timeout TO '10s'; SET LOCAL jit TO off";

/// The question about the names of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsQuestion {
    /// The names.
    pub names: PlanNames,
    /// The search path of the sessions in which the plan will run.
    pub path: PlanPath,
    /// The part of other sessions' queries that is read.
    pub queries: QueryDisplay,
    /// The largest number of rows that is counted in a table to look into.
    pub small_table: u64,
}

/// The search path of the sessions in which a plan will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanPath {
    /// That of the session that asks.
    Session,
    /// These schemas, as for a tenant.
    Schemas(Vec<String>),
}

/// The schema that is searched first unless the search path has it elsewhere (PostgreSQL manual, 5.9.3).
const CATALOG: &str = "pg_catalog";

/// Asks for the facts. It changes nothing, and takes no lock on a table except in order to look into one.
///
/// # Errors
/// The server's error, such as a statement that took too long, or the lost connection. A table that can't be looked into
/// and statistics that can't be read are no errors.
pub async fn read_table_facts(client: &Client, question: &FactsQuestion) -> Result<TableFacts, Fault> {
    let FactsQuestion { names, path, queries, small_table } = question;
    let path = read_search_path(client, path).await?;
    let rows = query_rows(client, &facts_query(names, &path, *queries)).await?;
    let mut facts = parse_facts(&rows, names);
    let to_probe: Vec<RelationFacts> = facts.tables_to_probe(names).into_iter().take(MAX_PROBES).cloned().collect();
    let probes = join_all(to_probe.iter().map(|table| probe_table(client, table, *small_table)));
    let statistics = StatementStatistics::from_rows(&rows);
    let (families, probes) = join(read_families(client, statistics.as_ref(), &facts), probes).await;
    facts.families.extend(families.iter().flat_map(parse_families));
    facts.probes.extend(probes);
    Ok(facts)
}

/// Returns the schemas in which a name of the plan is looked up, in their order.
///
/// # Errors
/// The server's error, or the lost connection.
pub async fn read_search_path(client: &Client, path: &PlanPath) -> Result<Vec<String>, Fault> {
    Ok(match path {
        PlanPath::Schemas(schemas) => with_catalog(schemas),
        PlanPath::Session => query_rows(client, &path_query()).await?.texts_tagged(RowTag::SearchPath).collect(),
    })
}

/// Returns the path with the catalog, which is searched first if it is not named.
fn with_catalog(schemas: &[String]) -> Vec<String> {
    let is_named = schemas.iter().any(|schema| schema == CATALOG);
    let catalog = (!is_named).then(|| CATALOG.to_owned());
    catalog.into_iter().chain(schemas.iter().cloned()).collect()
}

/// Returns the query for the search path of the session. It runs with that path, so it has no operators.
fn path_query() -> OwnQuery {
    let path = format!(
        "SELECT {}, p.name FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) p(name)",
        RowTag::SearchPath
    );
    OwnQuery::read_only("SELECT").preceded_by(path)
}

fn facts_query(names: &PlanNames, path: &[String], queries: QueryDisplay) -> OwnQuery {
    let near = near_sql(names, path);
    let parts = [
        LIMITS.to_owned(),
        server_sql(),
        relations_sql(&near),
        schemas_sql(&names.schemas),
        types_sql(&names.types, path),
        sessions_sql(&near, queries),
    ];
    OwnQuery::read_only(parts.join("; "))
}

fn parse_facts(rows: &Rows, names: &PlanNames) -> TableFacts {
    let mut facts = TableFacts {
        server: parse_server(rows),
        replication: parse_replication(rows),
        sessions: parse_sessions(rows),
        ..TableFacts::default()
    };
    add_relations(&mut facts, rows, names, parse_page(rows));
    facts
}

async fn probe_table(client: &Client, table: &RelationFacts, most: u64) -> (u32, Probe) {
    let response = query_rows(client, &probe_query(table, most)).await;
    (table.oid, read_probe(response, most))
}

/// Returns the queries that use the tables, if they can be read.
async fn read_families(client: &Client, statistics: Option<&StatementStatistics>, facts: &TableFacts) -> Option<Rows> {
    let named = facts.names.values().filter_map(|oid| facts.relations.get(oid));
    let mut tables: Vec<&RelationFacts> = named.filter(|table| !table.kind.is_index()).collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.whole_size().bytes()));
    tables.dedup_by_key(|table| table.oid);
    let query = statistics.filter(|_| !tables.is_empty())?.query(&tables, LIMITS);
    query_rows(client, &query).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_searched_first_unless_the_path_has_it() {
        let path =
            |schemas: &[&str]| with_catalog(&schemas.iter().map(|&schema| schema.to_owned()).collect::<Vec<_>>());
        assert_eq!(path(&["app", "public"]), ["pg_catalog", "app", "public"]);
        assert_eq!(path(&["app", "pg_catalog"]), ["app", "pg_catalog"]);
    }

    #[test]
    fn the_question_is_read_only_and_has_a_time_limit() {
        let sql = facts_query(&PlanNames::default(), &[], QueryDisplay::FirstWords).to_string();
        assert!(sql.starts_with("SET TRANSACTION READ ONLY; SET LOCAL search_path"), "{sql}");
        assert!(sql.contains("SET LOCAL statement_timeout TO '10s'"), "{sql}");
    }
}
