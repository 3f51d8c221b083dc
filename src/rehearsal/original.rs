//! What a copy needs besides the schema: the roles that the schema names, the settings of the database, and the values of
//! sequences. The question only reads the catalog.

use crate::{
    fault::Fault,
    postgres::{OwnQuery, RowTag, Rows, query_rows},
};
use tokio_postgres::Client;

/// The original of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Original {
    /// The server's `server_version_num`, as 150018 for 15.18.
    pub server_version: u32,
    /// The time at which the server was started: no other server has it to the microsecond. A clone of its files has its
    /// `system_identifier`, too, and is another server.
    pub server_start: String,
    /// The encoding of the database.
    pub encoding: String,
    /// Its collation and its character classification.
    pub locale: [String; 2],
    /// Its owner.
    pub owner: String,
    /// The role of the sessions that migrate.
    pub role: String,
    /// The roles that its schema names.
    pub roles: Vec<OriginalRole>,
    /// The memberships of these roles: the group, and the member.
    pub memberships: Vec<(String, String)>,
    /// The settings that new sessions get, by name; the later one wins.
    pub settings: Vec<(String, String)>,
    /// The values of its sequences, by their SQL names.
    pub sequences: Vec<(String, i64)>,
    /// The kinds of objects that a description of the schema leaves out, with their numbers, as phrases.
    pub left_out: Vec<String>,
}

/// A role of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRole {
    /// Its name.
    pub name: String,
    /// The options with which it is created.
    pub options: String,
}

/// The database of the session, and its own role.
const HERE: &str = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";
const ROLE: &str = "(SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)";

/// The time at which a server was started.
pub(super) const SERVER_START: &str =
    "pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::pg_catalog.text";

/// Reads the original.
///
/// # Errors
/// The server's error, or the lost connection.
pub async fn read_original(client: &Client) -> Result<Original, Fault> {
    Ok(parse_original(&query_rows(client, &original_query()).await?))
}

/// Settings with a dot belong to extensions and apps, whose values may be secrets: they stay where they are.
fn original_query() -> OwnQuery {
    let [shape, role, membership, setting, sequence, left_out] = [
        RowTag::OriginalShape,
        RowTag::OriginalRole,
        RowTag::OriginalMembership,
        RowTag::OriginalSetting,
        RowTag::OriginalSequence,
        RowTag::OriginalLeftOut,
    ];
    OwnQuery::read_only(format!(
        "SELECT {shape}, pg_catalog.current_setting('server_version_num'), pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, \
         d.datctype, pg_catalog.pg_get_userbyid(d.datdba), current_user, {SERVER_START} FROM pg_catalog.pg_database d WHERE d.oid = {HERE}"
    ))
    .with_appended(&format!(
        "SELECT {role}, r.rolname, pg_catalog.concat_ws(' ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, \
         CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, \
         CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END) \
         FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' AND (r.oid = 10 OR r.oid = {ROLE} \
         OR r.oid = (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.oid = {HERE}) \
         OR r.oid IN (SELECT s.refobjid FROM pg_catalog.pg_shdepend s \
         WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.dbid = {HERE}) \
         OR r.oid IN (SELECT m.roleid FROM pg_catalog.pg_auth_members m WHERE m.member = {ROLE})) ORDER BY 2"
    ))
    .with_appended(&format!(
        "SELECT DISTINCT {membership}, pg_catalog.pg_get_userbyid(m.roleid), pg_catalog.pg_get_userbyid(m.member) \
         FROM pg_catalog.pg_auth_members m ORDER BY 2, 3"
    ))
    .with_appended(&format!(
        "SELECT {setting}, pg_catalog.split_part(c.line, '=', 1), pg_catalog.substr(c.line, pg_catalog.strpos(c.line, '=') + 1) \
         FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c(line) \
         WHERE s.setdatabase IN (0, {HERE}) AND s.setrole IN (0, {ROLE}) \
         AND pg_catalog.strpos(pg_catalog.split_part(c.line, '=', 1), '.') = 0 ORDER BY s.setrole <> 0, s.setdatabase <> 0"
    ))
    .with_appended(&format!(
        "SELECT {sequence}, pg_catalog.quote_ident(q.schemaname) || '.' || pg_catalog.quote_ident(q.sequencename), q.last_value \
         FROM pg_catalog.pg_sequences q WHERE q.last_value IS NOT NULL ORDER BY 2"
    ))
    .with_appended(&format!(
        "SELECT {left_out}, o.what, pg_catalog.count(*) FROM ( \
         SELECT 'foreign tables' AS what, f.ftrelid AS oid FROM pg_catalog.pg_foreign_table f \
         UNION ALL SELECT 'operators', p.oid FROM pg_catalog.pg_operator p WHERE p.oid >= 16384 \
         UNION ALL SELECT 'casts', c.oid FROM pg_catalog.pg_cast c WHERE c.oid >= 16384 \
         UNION ALL SELECT 'text search configurations', t.oid FROM pg_catalog.pg_ts_config t WHERE t.oid >= 16384) o \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e') GROUP BY 2 ORDER BY 2"
    ))
}

fn parse_original(rows: &Rows) -> Original {
    let mut original = Original::default();
    if let Some(row) = rows.tagged(RowTag::OriginalShape).next() {
        let [_, encoding, collation, classification, owner, role, start] = row.columns().map(Option::unwrap_or_default);
        original = Original {
            server_version: row.parse(0).unwrap_or_default(),
            server_start: start.to_owned(),
            encoding: encoding.to_owned(),
            locale: [collation.to_owned(), classification.to_owned()],
            owner: owner.to_owned(),
            role: role.to_owned(),
            ..original
        };
    }
    let pairs = |tag: RowTag| {
        let pair = rows.tagged(tag).map(|row| row.columns().map(Option::unwrap_or_default));
        pair.map(|[first, second]| (first.to_owned(), second.to_owned())).collect::<Vec<_>>()
    };
    let roles = pairs(RowTag::OriginalRole).into_iter().map(|(name, options)| OriginalRole { name, options });
    let sequences = rows.tagged(RowTag::OriginalSequence);
    Original {
        roles: roles.collect(),
        memberships: pairs(RowTag::OriginalMembership),
        settings: pairs(RowTag::OriginalSetting),
        sequences: sequences.filter_map(|row| Some((row.text(0)?.to_owned(), row.parse(1)?))).collect(),
        left_out: pairs(RowTag::OriginalLeftOut).into_iter().map(|(what, count)| format!("{count} {what}")).collect(),
        ..original
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_row_and_leaves_out_what_it_can_not_read() {
        let rows: Rows = [
            RowTag::OriginalShape.row(&["160004", "UTF8", "C.UTF-8", "C.UTF-8", "owner", "app", "1.5"]),
            RowTag::OriginalRole.row(&["app", "INHERIT CREATEROLE"]),
            RowTag::OriginalMembership.row(&["owner", "app"]),
            RowTag::OriginalSetting.row(&["search_path", "app, public"]),
            RowTag::OriginalSequence.row(&["public.a_id_seq", "7"]),
            RowTag::OriginalSequence.row(&["public.b_id_seq", "many"]),
            RowTag::OriginalLeftOut.row(&["foreign tables", "2"]),
        ]
        .into_iter()
        .collect();
        let original = parse_original(&rows);
        assert_eq!(
            (original.server_version, original.owner.as_str(), original.role.as_str()),
            (160_004, "owner", "app")
        );
        assert_eq!(original.roles, [OriginalRole { name: "app".to_owned(), options: "INHERIT CREATEROLE".to_owned() }]);
        assert_eq!(original.sequences, [("public.a_id_seq".to_owned(), 7)]);
        assert_eq!(original.settings, [("search_path".to_owned(), "app, public".to_owned())]);
        assert_eq!(original.left_out, ["2 foreign tables"]);
    }
}
