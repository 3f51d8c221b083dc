//! The SQL that replaces a value by another one of the same type. It runs in the original, so that no such value leaves it.
//! Equal values are replaced by equal ones, and others by others as far as the type has room for them.

use super::sample_catalog::{Nulls, SampleColumn, TypeKind};
use crate::postgres::{quote_identifier, quote_literal};

/// The longest replaced text, in characters.
const MAX_TEXT: u32 = 200;

/// The room of numbers without a bound of their own.
const NUMBERS: u64 = 1_000_000_000;

/// Returns the expression that replaces a column's value, or `None` if the type has no value that could take its place.
/// `salt` is different in each rehearsal, so that nobody can look a value up.
pub(super) fn masked_value(column: &SampleColumn, salt: &str) -> Option<String> {
    let name = quote_identifier(&column.name);
    let text = format!("{name}::pg_catalog.text");
    let salted = format!("pg_catalog.convert_to({} || {text}, 'UTF8')", quote_literal(salt));
    let hash = format!("pg_catalog.sha256({salted})");
    let hex = format!("pg_catalog.encode({hash}, 'hex')");
    // 60 bits, so that it is not negative.
    let number = format!("('x' || pg_catalog.substr({hex}, 1, 15))::pg_catalog.bit(60)::pg_catalog.int8");
    let modulo = |room: u64| format!("({number} % {room})");
    let replaced = match (column.kind, column.base_type.as_str()) {
        (TypeKind::Text, _) | (TypeKind::Builtin, "text" | "varchar" | "bpchar" | "name") => masked_text(&text, &hash),
        (TypeKind::Builtin, "int2") => modulo(1 << 15),
        (TypeKind::Builtin, "int4") => modulo(1 << 31),
        (TypeKind::Builtin, "int8") => modulo(1 << 53),
        (TypeKind::Builtin, "numeric") => modulo(room_of_numeric(column.modifier)),
        (TypeKind::Builtin, "float4" | "float8") => modulo(1 << 20),
        (TypeKind::Builtin, "bool") => format!("{} = 0", modulo(2)),
        (TypeKind::Builtin, "date") => format!("'2000-01-01'::pg_catalog.date + {}::pg_catalog.int4", modulo(7_300)),
        (TypeKind::Builtin, "timestamp" | "timestamptz") => {
            format!("'2000-01-01'::pg_catalog.timestamp + {} * '1 s'::pg_catalog.interval", modulo(630_720_000))
        }
        (TypeKind::Builtin, "time") => {
            format!("'00:00'::pg_catalog.time + {} * '1 s'::pg_catalog.interval", modulo(86_400))
        }
        (TypeKind::Builtin, "uuid") => format!("pg_catalog.substr({hex}, 1, 32)"),
        (TypeKind::Builtin, "bytea") => hash,
        (TypeKind::Builtin, "inet") => format!("'10.0.0.0'::pg_catalog.inet + {}", modulo(1 << 24)),
        (TypeKind::Builtin, "json" | "jsonb") => "'{}'".to_owned(),
        (TypeKind::Array, _) => "'{}'".to_owned(),
        (TypeKind::Enumeration, _) => {
            let values = format!("pg_catalog.enum_range(NULL::{})", column.sql_type);
            format!("({values})[1 + {number} % pg_catalog.cardinality({values})]")
        }
        (TypeKind::Builtin | TypeKind::Other, _) if column.nulls == Nulls::Allowed => "NULL".to_owned(),
        (TypeKind::Builtin | TypeKind::Other, _) => return None,
    };
    Some(format!("CASE WHEN {name} IS NOT NULL THEN ({replaced})::{} END", column.sql_type))
}

/// Replaces letters by letters and digits by digits, so that the form of an address or a telephone number stays, and with
/// it what a constraint demands.
fn masked_text(text: &str, hash: &str) -> String {
    format!(
        "COALESCE((SELECT pg_catalog.string_agg(CASE WHEN c.code BETWEEN 48 AND 57 THEN pg_catalog.chr(48 + c.byte % 10) \
         WHEN c.code BETWEEN 65 AND 90 THEN pg_catalog.chr(65 + c.byte % 26) \
         WHEN c.code BETWEEN 97 AND 122 OR c.code > 127 THEN pg_catalog.chr(97 + c.byte % 26) ELSE pg_catalog.chr(c.code) END, '' ORDER BY c.at) \
         FROM (SELECT i AS at, pg_catalog.ascii(pg_catalog.substr({text}, i, 1)) AS code, pg_catalog.get_byte(h.hash, (i - 1) % 32) AS byte \
         FROM (SELECT {hash} AS hash) h, pg_catalog.generate_series(1, LEAST(pg_catalog.length({text}), {MAX_TEXT})) i) c), '')"
    )
}

/// Returns the number of whole values that a numeric of this modifier has room for (PostgreSQL, `numeric_typmod_precision`:
/// the precision is above 16 bits, the scale in the lowest 11, and both behind an offset of 4).
fn room_of_numeric(modifier: Option<i32>) -> u64 {
    let Some(modifier) = modifier.and_then(|modifier| u32::try_from(modifier - 4).ok()) else { return NUMBERS };
    let (precision, scale) = ((modifier >> 16) & 0xffff, modifier & 0x7ff);
    // A scale that is negative has its highest bit set, and more room.
    let digits = if scale < 1_024 { precision.saturating_sub(scale) } else { precision };
    10_u64.saturating_pow(digits).clamp(1, NUMBERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: TypeKind, base_type: &str, nulls: Nulls) -> SampleColumn {
        let base_type = base_type.to_owned();
        SampleColumn { name: "a".to_owned(), sql_type: "t".to_owned(), base_type, kind, nulls, modifier: None }
    }

    #[test]
    fn a_type_that_has_no_other_value_is_null_or_refused() {
        let masked = |nulls| masked_value(&column(TypeKind::Builtin, "point", nulls), "salt");
        assert_eq!(masked(Nulls::Refused), None);
        assert_eq!(masked(Nulls::Allowed).unwrap(), "CASE WHEN \"a\" IS NOT NULL THEN (NULL)::t END");
        let text = masked_value(&column(TypeKind::Text, "citext", Nulls::Refused), "it's").unwrap();
        assert!(text.contains("'it''s' || \"a\"::pg_catalog.text"), "{text}");
    }

    #[test]
    fn a_number_stays_within_its_type() {
        let numeric = |precision: i32, scale: i32| Some(((precision << 16) | scale) + 4);
        for (modifier, room) in [
            (None, NUMBERS),
            (numeric(4, 2), 100),
            (numeric(2, 2), 1),
            (numeric(30, 2), NUMBERS),
            (numeric(3, 2_046), 1_000),
        ] {
            assert_eq!(room_of_numeric(modifier), room, "{modifier:?}");
        }
    }
}
