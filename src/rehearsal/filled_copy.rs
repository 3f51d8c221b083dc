//! Fills an empty database with a schema, the rows of its ledgers and the values of its sequences.

use super::{copied_rows::CopiedRows, copy_server::as_copy_fault, original::Original};
use crate::{
    fault::{Code, Fault},
    postgres::{Session, fault::query_fault, quote_literal},
    sql::{SqlSource, TextStart, split::split_statements},
};

/// The first words of statements without which the tables are the same: a copy may lack them.
const DISPENSABLE: [&str; 7] = [
    "GRANT ",
    "REVOKE ",
    "ALTER DEFAULT PRIVILEGES",
    "COMMENT ON ",
    "CREATE PUBLICATION ",
    "CREATE EVENT TRIGGER ",
    "CREATE EXTENSION ",
];

/// Number of sequences that are set at once.
const SEQUENCES_AT_ONCE: usize = 1_000;

/// Fills the database of the session. `schema` is the description of the original as a file; `lacks` gets what the copy
/// lacks.
///
/// # Errors
/// `rehearsal-copy`, with the statement that fails.
pub async fn fill_copy(
    session: &Session,
    schema: &str,
    rows: &[CopiedRows],
    original: &Original,
    lacks: &mut Vec<String>,
) -> Result<(), Fault> {
    // One message is one transaction: it leaves nothing behind if it fails.
    if session.client.batch_execute(schema).await.is_err() {
        fill_by_statements(session, schema, lacks).await?;
    }
    for rows in rows {
        if let Some(sql) = rows.insert_sql() {
            let added = session.client.batch_execute(&sql).await;
            added.map_err(|error| about(&format!("the rows of {}", rows.table), &query_fault(&error)))?;
        }
    }
    for sequences in original.sequences.chunks(SEQUENCES_AT_ONCE) {
        let values = sequences.iter().map(|(name, value)| format!("({}, {value}::bigint)", quote_literal(name)));
        let values = values.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT pg_catalog.setval(pg_catalog.to_regclass(v.name), v.value) FROM (VALUES {values}) v (name, value) \
             WHERE pg_catalog.to_regclass(v.name) IS NOT NULL"
        );
        let set = session.client.batch_execute(&sql).await;
        set.map_err(|error| about("the values of its sequences", &query_fault(&error)))?;
    }
    lacks.extend(original.left_out.iter().map(|what| format!("it has none of the {what} of the database")));
    Ok(())
}

async fn fill_by_statements(session: &Session, schema: &str, lacks: &mut Vec<String>) -> Result<(), Fault> {
    let source = SqlSource { file: "the schema", text: schema, start: TextStart::OF_FILE };
    let script = split_statements(source).map_err(|faults| {
        let cause = faults.into_iter().next().map(|fault| fault.cause).unwrap_or_default();
        Fault::new(Code::RehearsalCopy, format!("the description of the schema can't be read: {cause}"))
    })?;
    let mut postponed: Vec<(&str, &str)> = Vec::new();
    for raw in &script.statements {
        let statement = raw.span.slice_of(schema);
        let Err(error) = session.client.batch_execute(statement).await else { continue };
        let fault = query_fault(&error);
        let first = statement.lines().next().unwrap_or_default().trim_end_matches(['(', ' ', ';']);
        let is_dispensable =
            DISPENSABLE.iter().any(|words| statement.starts_with(words)) || first.contains(" OWNER TO ");
        if fault.code.ends_session() || !is_dispensable {
            let fault = about(&format!("`{first}`"), &fault);
            return Err(postponed
                .iter()
                .fold(fault, |fault, (_, first)| fault.detail(format!("before it, `{first}` was left out"))));
        }
        postponed.push((statement, first));
    }
    // A new owner may need a right that a later statement gives.
    for (statement, first) in postponed {
        if let Err(error) = session.client.batch_execute(statement).await {
            lacks.push(format!("`{first}` was left out: {}", query_fault(&error).cause));
        }
    }
    Ok(())
}

fn about(what: &str, fault: &Fault) -> Fault {
    as_copy_fault(Fault { cause: format!("{what}: {}", fault.cause), ..fault.clone() })
}
