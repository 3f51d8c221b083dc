//! Functions whose effect is known: those of PostgreSQL itself that migrations use.

/// A function's volatility, as far as it matters for a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownFunction {
    /// It gives the same value for all rows of a statement (`provolatile` is `i` or `s`).
    Steady,
    /// It gives each row a value of its own (`provolatile` is `v`), and does nothing else to a table.
    Volatile,
}

/// Functions of `pg_catalog` that give each row its own value, or have an effect on the session or a sequence. Those of
/// the extensions `pgcrypto` and `uuid-ossp` are here as well.
const VOLATILE: &str = "\
    clock_timestamp currval gen_random_bytes gen_random_uuid gen_salt lastval nextval pg_advisory_lock \
    pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared \
    pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_notify pg_sleep pg_try_advisory_lock \
    pg_try_advisory_xact_lock random random_normal set_config setseed setval timeofday uuid_generate_v1 \
    uuid_generate_v1mc uuid_generate_v4 uuidv4 uuidv7";

/// Functions of `pg_catalog` that only compute.
const STEADY: &str = "\
    abs age any_value array_agg array_append array_cat array_dims array_length array_lower array_ndims \
    array_position array_positions array_prepend array_remove array_replace array_to_json array_to_string \
    array_upper ascii avg bit_and bit_length bit_or bool bool_and bool_or btrim cardinality cbrt ceil ceiling \
    char_length character_length chr coalesce col_description concat concat_ws convert_from convert_to count \
    cume_dist current_database current_date current_query current_schema current_schemas current_setting \
    current_time current_timestamp current_user date date_bin date_part date_trunc daterange decode degrees \
    dense_rank digest div encode enum_first enum_last enum_range every exists exp extract factorial first_value \
    float4 float8 floor format format_type gcd generate_series generate_subscripts greatest grouping \
    has_database_privilege has_schema_privilege has_table_privilege hashtext host initcap int2 int4 int4range \
    int8 int8range isfinite json_agg json_array_elements json_array_elements_text json_array_length \
    json_build_array json_build_object json_each json_each_text json_extract_path json_extract_path_text \
    json_object json_object_agg json_object_keys json_populate_record json_populate_recordset json_strip_nulls \
    json_to_record json_to_recordset json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text \
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path \
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists \
    jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_populate_record \
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record \
    jsonb_to_recordset jsonb_typeof justify_days justify_hours justify_interval lag last_value lcm lead left \
    length ln localtime localtimestamp log lower lower_inc lower_inf lpad ltrim make_date make_interval \
    make_time make_timestamp make_timestamptz max md5 min mod mode now nth_value ntile nullif num_nonnulls \
    num_nulls numeric numrange obj_description octet_length overlay percent_rank percentile_cont percentile_disc \
    pg_backend_pid pg_current_xact_id pg_get_constraintdef pg_get_expr pg_get_indexdef pg_get_serial_sequence \
    pg_get_userbyid pg_get_viewdef pg_is_in_recovery pg_typeof phraseto_tsquery pi plainto_tsquery position pow \
    power quote_ident quote_literal quote_nullable radians rank regexp_match regexp_matches regexp_replace \
    regexp_split_to_array regexp_split_to_table repeat replace reverse right round row row_number row_to_json \
    rpad rtrim scale session_user setweight sha224 sha256 sha384 sha512 sign split_part sqrt starts_with \
    statement_timestamp stddev string_agg string_to_array string_to_table strip strpos substr substring sum text \
    timestamp timestamptz to_char to_date to_hex to_json to_jsonb to_number to_regclass to_regproc to_regtype \
    to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim trim_array trim_scale trunc ts_rank \
    tsrange tstzrange txid_current unnest upper upper_inc upper_inf user uuid varchar version \
    websearch_to_tsquery width_bucket";

/// Returns the function of PostgreSQL with this name, unless the name leads to another schema. A function of the
/// database's own with the name of one of PostgreSQL's is not found by an unqualified call: `pg_catalog` is searched
/// first (PostgreSQL manual, 5.10.5), unless the types of its parameters fit better, which the text does not show.
pub(super) fn find_function(parts: &[String]) -> Option<KnownFunction> {
    let name = match parts {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return None,
    };
    let is_in = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
    if is_in(STEADY) {
        return Some(KnownFunction::Steady);
    }
    is_in(VOLATILE).then_some(KnownFunction::Volatile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Option<KnownFunction> {
        find_function(&name.split('.').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn knows_the_functions_of_postgresql_and_no_others() {
        assert_eq!(
            (find("now"), find("pg_catalog.setval")),
            (Some(KnownFunction::Steady), Some(KnownFunction::Volatile))
        );
        assert_eq!((find("add_tenant"), find("public.now"), find("a.pg_catalog.now")), (None, None, None));
    }
}
