//! The types of columns: those that PostgreSQL has, and a change of type that may lose or refuse values.

use super::tree::{SyntaxKind, SyntaxNode, find_within, plain_text, read_parts};

/// A property of a type for a column that gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FittingValues {
    /// It holds every value of the types from which columns are usually changed to it.
    Any,
    /// The same without a length or a precision; with one it may lose or refuse values.
    AnyUnlimited,
    /// It may lose or refuse values.
    Some,
}

/// Names of PostgreSQL's types, separated by commas, and of those of common extensions: none of them is a domain.
const TYPES: &[(FittingValues, &str)] = &[
    (FittingValues::Any, "bigint, bigserial, bytea, citext, double precision, float8, int8, serial8, text"),
    (
        FittingValues::AnyUnlimited,
        "bit varying, character varying, dec, decimal, interval, numeric, timestamp, timestamp with time zone, \
         timestamp without time zone, timestamptz, varbit, varchar",
    ),
    (
        FittingValues::Some,
        "bit, bool, boolean, box, bpchar, char, character, cidr, circle, cube, date, datemultirange, daterange, \
         float, float4, geography, geometry, hstore, inet, int, int2, int4, int4multirange, int4range, \
         int8multirange, int8range, integer, json, jsonb, jsonpath, line, lseg, ltree, macaddr, macaddr8, money, \
         name, national character, nchar, nummultirange, numrange, oid, path, pg_lsn, point, polygon, real, \
         regclass, regproc, regtype, serial, serial2, serial4, smallint, smallserial, time, time with time zone, \
         time without time zone, timetz, tsmultirange, tsquery, tsrange, tstzmultirange, tstzrange, tsvector, \
         txid_snapshot, uuid, vector, xid8, xml",
    ),
];

/// Types that get a sequence as their default (PostgreSQL manual, 8.1.4).
const SERIAL_TYPES: [&str; 6] = ["bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"];

/// Types to which some others are changed without writing the rows again: binary-coercible ones, and those whose length
/// or precision grows (PostgreSQL manual, ALTER TABLE, "Notes"; `ATColumnChangeRequiresRewrite` in tablecmds.c).
const COERCIBLE: &str = "bit varying, character varying, citext, dec, decimal, inet, interval, numeric, oid, text, time, \
    timestamp, timestamp with time zone, timestamp without time zone, timestamptz, timetz, varbit, varchar";

/// A type as a column names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// In lower case, without its length and without the brackets of an array.
    name: String,
    has_limit: bool,
    /// As written.
    pub(super) text: String,
}

impl ColumnType {
    /// Reads the type in a node, which begins at its name.
    pub(super) fn read(node: &SyntaxNode) -> Self {
        let mut text = plain_text(node);
        for (loose, tight) in
            [(" (", "("), ("( ", "("), (" )", ")"), (" ,", ","), (" [", "["), ("[ ", "["), (" ]", "]"), (" . ", ".")]
        {
            text = text.replace(loose, tight);
        }
        let bare = without_brackets(&text);
        let name = match find_within(node, SyntaxKind::PATH_REF).and_then(|path| read_parts(&path)) {
            Some(parts) if parts.len() == 1 || parts.first().is_some_and(|schema| schema == "pg_catalog") => {
                parts.last().cloned().unwrap_or(bare)
            }
            Some(parts) => parts.join("."),
            None => bare,
        };
        Self { name, has_limit: text.contains('('), text }
    }

    /// Returns whether PostgreSQL or a common extension has it, so that it is no domain.
    pub(super) fn is_known(&self) -> bool {
        self.find_fit().is_some()
    }

    /// Returns whether each row gets a value from a sequence.
    pub(super) fn is_serial(&self) -> bool {
        SERIAL_TYPES.contains(&self.name.as_str())
    }

    /// Returns whether a change to it may leave the rows as they are.
    pub(super) fn may_be_coercible(&self) -> bool {
        !self.is_known() || is_in(COERCIBLE, &self.name)
    }

    /// Returns whether a column that is changed to it may lose or refuse values.
    pub(super) fn may_narrow(&self) -> bool {
        match self.find_fit() {
            Some(FittingValues::Any) => false,
            Some(FittingValues::AnyUnlimited) => self.has_limit,
            Some(FittingValues::Some) | None => true,
        }
    }

    fn find_fit(&self) -> Option<FittingValues> {
        TYPES.iter().find(|(_, names)| is_in(names, &self.name)).map(|(fit, _)| *fit)
    }
}

/// Returns whether a list with commas contains the name.
fn is_in(names: &str, name: &str) -> bool {
    names.split(", ").any(|known| known == name)
}

/// Returns the text without what is in parentheses or brackets.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    let kept: String = text
        .chars()
        .filter(|character| {
            depth += usize::from(matches!(character, '(' | '['));
            let is_outside = depth == 0;
            depth = depth.saturating_sub(usize::from(matches!(character, ')' | ']')));
            is_outside
        })
        .collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    fn narrowed(new_type: &str) -> bool {
        effects_of(&format!("ALTER TABLE t ALTER a TYPE {new_type}")).contains("narrows")
    }

    #[test]
    fn a_type_with_a_limit_or_a_smaller_range_narrows_a_column() {
        for new_type in [
            "smallint",
            "int",
            "INTEGER",
            "pg_catalog.int4",
            "varchar(10)",
            "character varying (10)",
            "char(3)",
            "char",
            "numeric(10, 2)",
            "date",
            "time",
            "timestamp(0)",
            "real",
            "bool",
            "json",
            "jsonb",
            "uuid",
            "bit(3)",
            "varchar(10)[]",
            "app.status",
            "\"Status\"",
            "timestamptz(3)",
            "name",
            "smallint[]",
        ] {
            assert!(narrowed(new_type), "{new_type}");
        }
        for new_type in [
            "text",
            "bigint",
            "varchar",
            "character varying",
            "numeric",
            "double precision",
            "timestamptz",
            "timestamp",
            "timestamp with time zone",
            "text[]",
            "bigint ARRAY",
            "citext",
            "pg_catalog.text",
            "TEXT COLLATE \"C\"",
        ] {
            assert!(!narrowed(new_type), "{new_type}");
        }
    }
}
