//! The tenants of SQL files: the schemas that the user named, or that a query of the user returns.

use super::{catalog, discover};
use crate::{
    fault::{Code, Fault},
    postgres::{Row, RowTag, Rows, own_query::OwnQuery, query_rows},
};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// The longest name in bytes that PostgreSQL does not cut (PostgreSQL manual, 4.1.1).
const LONGEST_NAME: usize = 63;

/// Returns the query for the ledgers of tenants, for all schemas in which there could be one, and for the search path
/// that a session begins with.
#[must_use]
pub fn tenant_survey_query(ledger_table: Option<&str>) -> OwnQuery {
    let path = format!("SELECT {}, pg_catalog.current_setting('search_path')", RowTag::SessionPath);
    let paths = format!("{} UNION ALL {path}", discover::path_sql());
    discover::survey_query(ledger_table, None).with_appended(&catalog::all_schemas_sql()).preceded_by(paths)
}

/// Returns the search path that a session begins with, from the response to [`tenant_survey_query`].
#[must_use]
pub fn parse_session_path(rows: &Rows) -> String {
    rows.texts_tagged(RowTag::SessionPath).next().unwrap_or_default()
}

/// Returns the schemas of the tenants by the user's query, in its order.
///
/// # Errors
/// `tenants-invalid` if the query fails, or returns something else than a list of names.
pub async fn read_tenants(client: &Client, query: &str) -> Result<Vec<String>, Fault> {
    let rows = query_rows(client, &names_query(query)).await.map_err(query_fault)?;
    parse_names(&rows)
}

/// Returns the user's query, whose first column is the name. It runs with the search path of the user, and can't write.
/// The line break ends a comment in its last line.
fn names_query(query: &str) -> OwnQuery {
    let query = query.trim().trim_end_matches(';');
    OwnQuery::read_only("SELECT").preceded_by(format!("SELECT {}, t.* FROM (\n{query}\n) t", RowTag::Tenant))
}

/// Returns the fault of a query that the server refused.
fn query_fault(fault: Fault) -> Fault {
    if fault.code.ends_session() {
        return fault;
    }
    let cause = format!("the query in `tenants` failed: {}", fault.cause);
    Fault { cause, stage: Code::TenantsInvalid.stage(), ..fault }
        .code(Code::TenantsInvalid)
        .fix("correct the query; it must be one SELECT that returns a column with the names of schemas")
}

fn parse_names(rows: &Rows) -> Result<Vec<String>, Fault> {
    let invalid = |cause: &str, fix: &str| Err(Fault::new(Code::TenantsInvalid, cause).fix(fix));
    let name = |row: Row<'_>| match (row.text(0), row.column_count()) {
        (_, 0 | 2..) => invalid(
            "the query in `tenants` returns more than one column",
            "let it return the name of the schema, and nothing else",
        ),
        (None, _) => invalid(
            "the query in `tenants` returns NULL",
            "leave out the rows without a schema, as in `WHERE schema_name IS NOT NULL`",
        ),
        (Some(name), _) => Ok(name.to_owned()),
    };
    rows.tagged(RowTag::Tenant).map(name).collect()
}

/// Puts the canary first, and refuses names that no tenant can have.
///
/// # Errors
/// `tenants-invalid`.
pub fn order_tenants(schemas: Vec<String>, canary: Option<&str>) -> Result<Vec<String>, Fault> {
    let invalid = |cause: String, fix: &str| Err(Fault::new(Code::TenantsInvalid, cause).fix(fix));
    if schemas.is_empty() {
        return invalid(
            "`tenants` has no names: its query returned no row".to_owned(),
            "check the query, and whether it runs against the right database",
        );
    }
    let mut seen = BTreeSet::new();
    for schema in &schemas {
        let is_possible = !schema.is_empty() && schema.len() <= LONGEST_NAME && !schema.contains('\0');
        // In a search path, `$user` is the schema of the role even if it is quoted (PostgreSQL manual, 20.11.1).
        let is_systems = schema.starts_with("pg_") || ["information_schema", "$user"].contains(&schema.as_str());
        if !is_possible || is_systems {
            return invalid(
                format!("`{schema}` in `tenants` is no schema of a tenant"),
                "correct its name, or leave it out",
            );
        }
        if !seen.insert(schema) {
            return invalid(
                format!("`tenants` names the schema `{schema}` twice"),
                "name each schema once, as `SELECT DISTINCT` does",
            );
        }
    }
    match canary {
        None => Ok(schemas),
        Some(canary) if seen.contains(&canary.to_owned()) => {
            let others = schemas.iter().filter(|schema| *schema != canary).cloned();
            Ok([canary.to_owned()].into_iter().chain(others).collect())
        }
        Some(canary) => invalid(
            format!("the canary `{canary}` is not one of the tenants"),
            "name one of them as `canary`, or leave it out: then it is the first",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_canary_comes_first_and_the_others_keep_their_order() {
        assert_eq!(order_tenants(names(&["b", "a", "c"]), Some("c")).unwrap(), names(&["c", "b", "a"]));
        assert_eq!(order_tenants(names(&["b", "a"]), None).unwrap(), names(&["b", "a"]));
    }

    #[test]
    fn names_that_no_tenant_can_have_are_refused() {
        let long = "x".repeat(64);
        for (given, canary, cause) in [
            (&[][..], None, "no names"),
            (&["a", "b", "a"], None, "`a` twice"),
            (&["a", ""], None, "`` in `tenants` is no schema"),
            (&["pg_catalog"], None, "`pg_catalog` in `tenants`"),
            (&["information_schema"], None, "`information_schema`"),
            (&["a", "$user"], None, "`$user` in `tenants` is no schema"),
            (&[long.as_str()], None, "is no schema of a tenant"),
            (&["a"], Some("b"), "the canary `b` is not one"),
        ] {
            let fault = order_tenants(names(given), canary).unwrap_err();
            assert!(fault.code == Code::TenantsInvalid && fault.cause.contains(cause), "{fault:?}");
        }
    }

    #[test]
    fn a_query_returns_one_column_without_null() {
        let rows = |rows: &[&[&str]]| rows.iter().map(|columns| RowTag::Tenant.row(columns)).collect::<Rows>();
        assert_eq!(parse_names(&rows(&[&["A b"], &["c.d"]])).unwrap(), names(&["A b", "c.d"]));
        for (rows, cause) in [(rows(&[&["a"], &[""]]), "NULL"), (rows(&[&["a", "b"]]), "more than one column")] {
            assert!(parse_names(&rows).unwrap_err().cause.contains(cause));
        }
    }
}
