//! The question for the schema: one message, which only reads. PostgreSQL's own functions write the definitions, with a
//! search path of the catalog alone, so every other name is qualified. None of them runs a function of a user: an
//! expression is printed from its parse tree.

use crate::postgres::{OwnQuery, RowTag};

/// Maximum number of columns of tables and views. A description of 50,000 columns has about 10 MB, and takes the server
/// about a second.
const MAX_COLUMNS: u32 = 50_000;

/// SQLSTATE of a schema that is too large, in the class that PostgreSQL leaves to PL/pgSQL programs.
pub(super) const TOO_LARGE: &str = "BM007";

/// Settings of this transaction. The definitions of views, indexes and defaults take ACCESS SHARE locks (PostgreSQL,
/// `ruleutils.c`), so a table that is locked exclusively would hold up the run. The queries join relations without
/// statistics, for which the planner would choose nested loops, and compile what runs once.
const SETTINGS: &str = "SET LOCAL lock_timeout TO 200; SET LOCAL statement_timeout TO 20000; SET LOCAL jit TO off; \
    SET LOCAL enable_nestloop TO off; SET LOCAL work_mem TO '32MB'";

const OBJECTS: &str = include_str!("question/objects.sql");

/// The kinds of objects; each query has the columns of [`COLUMNS`].
const KINDS: [&str; 11] = [
    include_str!("question/spaces.sql"),
    include_str!("question/types.sql"),
    include_str!("question/routines.sql"),
    include_str!("question/sequences.sql"),
    include_str!("question/tables.sql"),
    include_str!("question/columns.sql"),
    include_str!("question/views.sql"),
    include_str!("question/table_settings.sql"),
    include_str!("question/indexes.sql"),
    include_str!("question/reactions.sql"),
    include_str!("question/rights.sql"),
];

/// The place of the kind in the order, the address of the object, that of the object it belongs to, its statement up to
/// its columns, the rest, the statement that removes it, and its columns or labels as JSON.
const COLUMNS: &str = "SELECT NULL::int AS rank, NULL::text AS address, NULL::text AS parent, NULL::text AS head, \
    NULL::text AS tail, NULL::text AS undo, NULL::json AS parts WHERE false";

const DEPENDENCIES: &str = include_str!("question/dependencies.sql");

/// Returns the query for the schema.
#[must_use]
pub fn description_query() -> OwnQuery {
    query_of(OBJECTS)
}

/// Returns the query for the schema together with our own one, in which ledgers may be.
#[must_use]
pub fn description_query_with_own_schema() -> OwnQuery {
    query_of(&OBJECTS.replace(OWN_SCHEMA_EXCLUDED, "('information_schema')"))
}

/// The schemas that are left out, as the question writes them.
const OWN_SCHEMA_EXCLUDED: &str = "('information_schema', 'bastion_migrate')";

fn query_of(objects: &str) -> OwnQuery {
    let [objects, dependencies] = selects(objects);
    let check = format!("DO $bastion_migrate$ {} $bastion_migrate$", size_check());
    OwnQuery::read_only(format!("{check}; {objects}; {dependencies}")).preceded_by(SETTINGS)
}

/// The function by which a copy describes its schema.
const FUNCTION: &str = "bastion_migrate.described_schema";

/// Returns the query for the schema of a copy that has the function.
#[must_use]
pub fn description_query_by_function() -> OwnQuery {
    OwnQuery::read_only(format!("SELECT * FROM {FUNCTION}()")).preceded_by(SETTINGS)
}

/// Returns the statements that create the function in a copy. A session plans the queries of a function once, and planning
/// these takes longer than running them (PostgreSQL manual, 43.11.2).
#[must_use]
pub fn description_function() -> String {
    let [objects, dependencies] = selects(OBJECTS);
    format!(
        "CREATE SCHEMA IF NOT EXISTS bastion_migrate; GRANT USAGE ON SCHEMA bastion_migrate TO PUBLIC; \
         CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS TABLE (tag text, rank text, address text, parent text, head text, \
         tail text, undo text, parts text) LANGUAGE plpgsql STABLE AS $bastion_migrate$\n#variable_conflict use_column\n\
         BEGIN {}; RETURN QUERY {objects}; RETURN QUERY {dependencies}; END $bastion_migrate$",
        size_check()
    )
}

/// Returns the queries for the objects and for their dependencies, which have the same columns.
fn selects(objects: &str) -> [String; 2] {
    let kinds = KINDS.join("UNION ALL\n");
    let objects = format!(
        "{objects} SELECT {}::text, o.rank::text, o.address, o.parent, o.head, o.tail, o.undo, o.parts::text \
         FROM ({COLUMNS} UNION ALL\n{kinds}) o",
        RowTag::SchemaStatement
    );
    let dependencies = format!(
        "SELECT {}::text, o.address, o.needed, o.default_of, NULL::text, NULL::text, NULL::text, NULL::text \
         FROM ({DEPENDENCIES}) o (address, needed, default_of)",
        RowTag::SchemaDependency
    );
    [objects, dependencies]
}

/// Returns a block that fails if the schema is too large to be described. A view locks its tables until the end of
/// the transaction, so there may be only half as many as the server has room for (PostgreSQL manual,
/// `max_locks_per_transaction`).
fn size_check() -> String {
    format!(
        "DECLARE columns bigint; views bigint; room bigint; BEGIN \
         SELECT COALESCE(pg_catalog.sum(c.relnatts), 0), pg_catalog.count(*) FILTER (WHERE c.relkind IN ('v', 'm')) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' \
         AND n.nspname NOT IN ('information_schema', 'bastion_migrate') \
         INTO columns, views; \
         room := pg_catalog.current_setting('max_locks_per_transaction')::bigint \
         * pg_catalog.current_setting('max_connections')::bigint / 2; \
         IF columns > {MAX_COLUMNS} THEN RAISE EXCEPTION USING ERRCODE = '{TOO_LARGE}', \
         MESSAGE = pg_catalog.format('its tables have %s columns, more than {MAX_COLUMNS}', columns); END IF; \
         IF views > room THEN RAISE EXCEPTION USING ERRCODE = '{TOO_LARGE}', \
         MESSAGE = pg_catalog.format('it has %s views, more than %s, half of the locks of the server', views, room); END IF; \
         END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_schema_is_described_only_for_a_copy() {
        let [usual, with_own] =
            [description_query(), description_query_with_own_schema()].map(|query| query.to_string());
        let excluded = OBJECTS.matches(OWN_SCHEMA_EXCLUDED).count();
        assert!(excluded > 0);
        assert!(usual.matches(OWN_SCHEMA_EXCLUDED).count() == with_own.matches(OWN_SCHEMA_EXCLUDED).count() + excluded);
    }
}
