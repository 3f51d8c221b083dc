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
    let kinds = KINDS.join("UNION ALL\n");
    let objects = format!(
        "{objects} SELECT {}, o.rank, o.address, o.parent, o.head, o.tail, o.undo, o.parts FROM ({COLUMNS} UNION ALL\n{kinds}) o",
        RowTag::SchemaStatement
    );
    let dependencies = format!("SELECT {}, o.* FROM ({DEPENDENCIES}) o", RowTag::SchemaDependency);
    OwnQuery::read_only(format!("{}; {objects}; {dependencies}", size_check())).preceded_by(SETTINGS)
}

/// Returns a statement that fails if the schema is too large to be described. A view locks its tables until the end of
/// the transaction, so there may be only half as many as the server has room for (PostgreSQL manual,
/// `max_locks_per_transaction`).
fn size_check() -> String {
    format!(
        "DO $bastion_migrate$ DECLARE columns bigint; views bigint; room bigint; BEGIN \
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
         END $bastion_migrate$"
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
