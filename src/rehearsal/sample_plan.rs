//! The plan of a sample: the tables whose rows are copied, and the SQL that reads them, with masked columns.

use super::{
    masked_value::masked_value,
    sample_catalog::{RowAccess, SampleCatalog, SampleColumn, SampleReference, SampleTable},
};
use crate::{
    fault::{Code, Fault},
    postgres::{quote_identifier, quote_literal},
    settings::{ColumnPattern, SampleSettings},
};
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes that are copied of one table, by the size of its average row.
const MAX_TABLE_BYTES: u64 = 16 << 20;

/// Least similarity of a name that is worth a suggestion (Jaro-Winkler), as for the names of inputs.
const MIN_SIMILARITY: f64 = 0.8;

/// Most names that a sentence lists.
const MAX_NAMES: usize = 5;

/// The plan.
#[derive(Debug, Default)]
pub(super) struct SamplePlan {
    /// The tables that may be read, by their object identifiers.
    pub(super) tables: BTreeMap<u32, PlannedTable>,
    /// Those of them from which the rows are chosen. The others have rows that these refer to.
    pub(super) sampled: Vec<u32>,
    /// What the copy lacks, as sentences.
    pub(super) lacks: Vec<String>,
}

/// A table of the plan.
#[derive(Debug)]
pub(super) struct PlannedTable {
    /// Its name as SQL.
    pub(super) name: String,
    /// Its name in sentences.
    pub(super) shown: String,
    /// Its columns as SQL.
    pub(super) columns: String,
    /// The query for its rows, up to the condition.
    select: String,
    /// The end of the query for the sample: the order and the number of rows.
    sample: String,
    /// Its foreign keys.
    pub(super) references: Vec<SampleReference>,
    key_types: BTreeMap<String, String>,
}

impl PlannedTable {
    /// Returns the query for the sample.
    pub(super) fn sample_query(&self) -> String {
        format!("{}{}", self.select, self.sample)
    }

    /// Returns the query for the rows with these keys.
    pub(super) fn key_query(&self, columns: &[String], keys: &[Vec<String>]) -> String {
        let quoted: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
        let arrays = (0..columns.len()).map(|at| {
            let values = keys.iter().filter_map(|key| key.get(at)).map(|value| quote_literal(value));
            format!("ARRAY[{}]::pg_catalog.text[]", values.collect::<Vec<_>>().join(","))
        });
        let parts: Vec<String> = (0..columns.len()).map(|at| format!("key_{at}")).collect();
        let cast = parts.iter().zip(columns).map(|(part, column)| {
            let sql_type = self.key_types.get(column).map_or("pg_catalog.text", String::as_str);
            format!("u.{part}::{sql_type}")
        });
        // Several arrays are read side by side only by that name without its schema (PostgreSQL, `transformRangeFunction`).
        format!(
            "{} WHERE ({}) IN (SELECT {} FROM unnest({}) u({}))",
            self.select,
            quoted.join(", "),
            cast.collect::<Vec<_>>().join(", "),
            arrays.collect::<Vec<_>>().join(", "),
            parts.join(", ")
        )
    }
}

/// Makes the plan. `salt` is the secret of masked values.
///
/// # Errors
/// `rehearsal-copy` if a pattern names nothing, or a column that can't be masked.
pub(super) fn plan_sample(catalog: &SampleCatalog, settings: &SampleSettings, salt: &str) -> Result<SamplePlan, Fault> {
    let mut masked = find_masked(catalog, &settings.mask)?;
    for pattern in &settings.tables {
        if !catalog.values().any(|table| pattern.matches(&table.name.schema, &table.name.name)) {
            let names = catalog.values().map(|table| table.name.name.clone());
            return Err(unknown_name("tables", "table", &pattern.to_string(), names));
        }
    }
    let is_sampled = |table: &SampleTable| {
        let named = settings.tables.iter().any(|pattern| pattern.matches(&table.name.schema, &table.name.name));
        settings.tables.is_empty() || named
    };
    let mut plan = SamplePlan::default();
    let (mut denied, mut hidden) = (Vec::new(), Vec::new());
    for (oid, table) in catalog.iter().filter(|(_, table)| !table.columns.is_empty()) {
        match table.access {
            RowAccess::Whole => {
                let planned = planned_table(table, settings.rows, &masked.remove(oid).unwrap_or_default(), salt)?;
                plan.tables.insert(*oid, planned);
                plan.sampled.extend(is_sampled(table).then_some(*oid));
            }
            RowAccess::Denied if is_sampled(table) => denied.push(table.name.to_string()),
            RowAccess::Hidden if is_sampled(table) => hidden.push(table.name.to_string()),
            RowAccess::Denied | RowAccess::Hidden => {}
        }
    }
    plan.lacks.extend(without_rows(&denied, "the role may not read them"));
    plan.lacks.extend(without_rows(&hidden, "row-level security hides rows from the role"));
    Ok(plan)
}

/// Returns the sentence about tables that have no rows in the copy.
pub(super) fn without_rows(names: &[String], reason: &str) -> Option<String> {
    let shown = names.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = match names.len().checked_sub(MAX_NAMES) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| format!("it has no rows of {shown}{more}: {reason}"))
}

fn planned_table(table: &SampleTable, rows: u32, masked: &BTreeSet<&str>, salt: &str) -> Result<PlannedTable, Fault> {
    let selected = table.columns.iter().map(|column| match masked.contains(column.name.as_str()) {
        true => masked_value(column, salt).ok_or_else(|| no_value_fault(table, column)),
        false => Ok(quote_identifier(&column.name)),
    });
    let selected = selected.collect::<Result<Vec<_>, _>>()?.join(", ");
    let name = table.name.to_sql();
    // A table's children are tables of their own.
    let only = if table.is_partitioned { "" } else { "ONLY " };
    let order: Vec<String> = table.primary_key.iter().map(|key| format!("{} DESC", quote_identifier(key))).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let room = table.row_bytes.map_or(u64::MAX, |bytes| MAX_TABLE_BYTES / bytes.max(1)).max(1);
    let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    Ok(PlannedTable {
        select: format!("SELECT {selected} FROM {only}{name}"),
        sample: format!("{order} LIMIT {}", room.min(rows.into())),
        name,
        shown: table.name.to_string(),
        columns: columns.join(", "),
        references: table.references.clone(),
        key_types: table.columns.iter().map(|column| (column.name.clone(), column.sql_type.clone())).collect(),
    })
}

/// Returns the masked columns of each table.
fn find_masked<'c>(
    catalog: &'c SampleCatalog,
    mask: &[ColumnPattern],
) -> Result<BTreeMap<u32, BTreeSet<&'c str>>, Fault> {
    let keys: BTreeSet<(u32, &str)> = catalog
        .iter()
        .flat_map(|(oid, table)| {
            table.references.iter().flat_map(move |reference| {
                let here = reference.columns.iter().map(move |column| (*oid, column.as_str()));
                here.chain(reference.keys.iter().map(|key| (reference.table, key.as_str())))
            })
        })
        .collect();
    let mut masked: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for pattern in mask {
        let mut is_known = false;
        for (oid, table) in catalog {
            for column in &table.columns {
                if !pattern.matches(&table.name.schema, &table.name.name, &column.name) {
                    continue;
                }
                is_known = true;
                if keys.contains(&(*oid, column.name.as_str())) {
                    let cause = format!(
                        "`mask` names `{}.{}`, which is a part of a foreign key: its values hold rows together",
                        table.name, column.name
                    );
                    let fix = "take it out of `mask`; mask what the rows have besides their keys, or restrict `tables`";
                    return Err(Fault::new(Code::RehearsalCopy, cause).fix(fix));
                }
                masked.entry(*oid).or_default().insert(column.name.as_str());
            }
        }
        if !is_known {
            let names = catalog
                .values()
                .flat_map(|table| table.columns.iter().map(|column| format!("{}.{}", table.name.name, column.name)));
            return Err(unknown_name("mask", "column", &pattern.to_string(), names));
        }
    }
    Ok(masked)
}

fn unknown_name(key: &str, what: &str, pattern: &str, names: impl Iterator<Item = String>) -> Fault {
    let near = names
        .map(|name| (strsim::jaro_winkler(&name, pattern), name))
        .filter(|(likeness, _)| *likeness >= MIN_SIMILARITY)
        .max_by(|(left, _), (right, _)| left.total_cmp(right));
    let fault =
        Fault::new(Code::RehearsalCopy, format!("`{key}` of `rehearse` has `{pattern}`, and there is no such {what}"));
    match near {
        Some((_, name)) => fault.fix(format!("did you mean `{name}`?")),
        None => fault.fix(format!("correct the name, or take it out of `{key}`")),
    }
}

fn no_value_fault(table: &SampleTable, column: &SampleColumn) -> Fault {
    let cause = format!(
        "`mask` names `{}.{}`, whose type {} has no value that could take the place of another one",
        table.name, column.name, column.sql_type
    );
    Fault::new(Code::RehearsalCopy, cause).fix("take it out of `mask`; or leave the table out, with `tables`")
}

#[cfg(test)]
mod tests {
    use super::{
        super::sample_catalog::{Nulls, TypeKind},
        *,
    };
    use crate::{layout::Table, settings::TablePattern};

    fn table(name: &str, columns: &[&str], references: Vec<SampleReference>) -> SampleTable {
        let column = |name: &&str| SampleColumn {
            name: (*name).to_owned(),
            sql_type: "pg_catalog.text".to_owned(),
            base_type: "text".to_owned(),
            kind: TypeKind::Builtin,
            modifier: None,
            nulls: Nulls::Allowed,
        };
        SampleTable {
            name: Table { schema: "public".to_owned(), name: name.to_owned() },
            columns: columns.iter().map(column).collect(),
            primary_key: vec!["id".to_owned()],
            references,
            row_bytes: Some(1 << 20),
            ..SampleTable::default()
        }
    }

    fn catalog() -> SampleCatalog {
        let reference = SampleReference { table: 1, columns: vec!["customer".to_owned()], keys: vec!["id".to_owned()] };
        let hidden = SampleTable { access: RowAccess::Hidden, ..table("secrets", &["id"], Vec::new()) };
        let tables = [
            table("customers", &["id", "email"], Vec::new()),
            table("orders", &["id", "customer"], vec![reference]),
            hidden,
        ];
        (1..).zip(tables).collect()
    }

    fn settings(tables: &[&str], mask: &[&str]) -> SampleSettings {
        let pattern = |text: &str| TablePattern { schema: None, table: text.to_owned() };
        let column = |text: &&str| {
            let (table, column) = text.split_once('.').expect("it has a table");
            ColumnPattern { table: pattern(table), column: column.to_owned() }
        };
        SampleSettings {
            rows: 1_000,
            tables: tables.iter().map(|text| pattern(text)).collect(),
            mask: mask.iter().map(column).collect(),
        }
    }

    #[test]
    fn a_table_that_is_not_sampled_can_be_referred_to() {
        let plan = plan_sample(&catalog(), &settings(&["ord*"], &["*.email"]), "salt").unwrap();
        assert_eq!((plan.sampled.as_slice(), plan.tables.len()), ([2].as_slice(), 2));
        assert_eq!(
            plan.tables[&2].sample_query(),
            "SELECT \"id\", \"customer\" FROM ONLY \"public\".\"orders\" ORDER BY \"id\" DESC LIMIT 16"
        );
        let keys = [vec!["7".to_owned()], vec!["o'n".to_owned()]];
        let query = plan.tables[&1].key_query(&["id".to_owned()], &keys);
        assert!(query.starts_with("SELECT \"id\", CASE WHEN \"email\" IS NOT NULL"), "{query}");
        assert!(
            query.ends_with(
                "WHERE (\"id\") IN (SELECT u.key_0::pg_catalog.text FROM unnest(ARRAY['7','o''n']::pg_catalog.text[]) u(key_0))"
            ),
            "{query}"
        );
        let all = plan_sample(&catalog(), &settings(&[], &[]), "salt").unwrap();
        assert_eq!(all.lacks, ["it has no rows of `public.secrets`: row-level security hides rows from the role"]);
    }

    #[test]
    fn a_name_that_is_not_there_or_can_not_be_masked_is_refused() {
        for (tables, mask, cause, fix) in [
            (&["ordres"][..], &[][..], "no such table", "did you mean `orders`?"),
            (&[], &["customer.email"], "no such column", "did you mean `customers.email`?"),
            (&[], &["orders.customer"], "a part of a foreign key", "take it out"),
            (&[], &["customers.id"], "a part of a foreign key", "take it out"),
        ] {
            let fault = plan_sample(&catalog(), &settings(tables, mask), "salt").unwrap_err();
            assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{fault:#?}");
        }
    }
}
