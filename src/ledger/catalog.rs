//! Describes tables from the catalog, and decides whether their rows may be read or written.
//!
//! A table can run its owner's code in any session that uses it: by a view or a rule in its place, triggers, policies,
//! defaults, casts of custom types. So only tables count that belong to our role, to a role that it is a member of, or
//! to a superuser. And rows hidden by row security must not be mistaken for missing ones.

use crate::{
    fault::{Code, Fault},
    layout::Table,
    postgres::{Row, RowTag, Rows, quote_identifier},
};

/// A table and the reasons not to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTable {
    /// Its name.
    pub table: Table,
    /// Its columns, by name.
    pub columns: Vec<String>,
    /// The reasons not to use it; the most important first.
    pub issues: Vec<TrustIssue>,
}

/// A reason not to use a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustIssue {
    /// It is a view, a foreign table or a partitioned one.
    NotATable,
    /// Our role may not read it.
    Unreadable,
    /// Row security applies to our role.
    RowSecurity,
    /// It belongs to this role, whose code could run in our sessions.
    Owner(String),
    /// It has this trigger, whose function belongs to a role that we don't trust.
    Trigger(String),
    /// It has this rule.
    Rule(String),
}

/// The roles whose code may run in our sessions: our own, those that it is a member of, and superusers. `pg_has_role`
/// reports a superuser as a member of every role, so the memberships themselves are read. `pg_database_owner` has the
/// owner of the database as its only member (PostgreSQL manual, 22.5). It begins a query, whose conditions may use
/// `trusted`.
pub const TRUSTED_ROLES: &str = "WITH RECURSIVE member(oid) AS (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user \
    UNION SELECT m.roleid FROM pg_auth_members m JOIN member ON m.member = member.oid), \
    trusted(oid) AS (SELECT oid FROM member UNION SELECT r.oid FROM pg_roles r WHERE r.rolsuper \
    UNION SELECT r.oid FROM pg_roles r WHERE r.rolname = 'pg_database_owner')";

/// The condition that reading the table is safe although its owner is not trusted: the owner owns the database, our
/// session is read-only, and all columns have PostgreSQL's own types, so no code of the owner runs. This way a
/// read-only role need not be a member of the migrating one.
const SAFE_TO_READ: &str = "(current_setting('default_transaction_read_only') = 'on' \
    AND c.relowner = (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()) \
    AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid \
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND y.typnamespace <> 'pg_catalog'::regnamespace))";

/// Returns the query that describes every table for which `condition` holds; `c` is its row in `pg_class`, `n` that of
/// its schema. Each row begins with `tag`. The query must run with our own search path.
#[must_use]
pub fn tables_sql(tag: RowTag, condition: &str) -> String {
    format!(
        "{TRUSTED_ROLES} SELECT {tag}, n.nspname, c.relname, \
         (SELECT json_agg(a.attname ORDER BY a.attname) FROM pg_attribute a \
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
         c.relkind = 'r' AND NOT c.relispartition, \
         has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), \
         c.relkind = 'r' AND row_security_active(c.oid), \
         CASE WHEN c.relowner NOT IN (SELECT oid FROM trusted) AND NOT {SAFE_TO_READ} \
         THEN pg_get_userbyid(c.relowner) END, \
         (SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid \
          AND NOT t.tgisinternal AND p.proowner NOT IN (SELECT oid FROM trusted) ORDER BY t.tgname LIMIT 1), \
         (SELECT w.rulename FROM pg_rewrite w WHERE w.ev_class = c.oid AND c.relkind = 'r' ORDER BY w.rulename LIMIT 1) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND ({condition}) ORDER BY n.nspname, c.relname"
    )
}

/// Returns the SQL condition that the table for which `condition` holds exists, and that nothing speaks against using it.
/// It must run with our own search path.
#[must_use]
pub fn is_trusted_sql(tag: RowTag, condition: &str) -> String {
    format!(
        "EXISTS (SELECT FROM ({}) t(tag, schema, name, columns, is_table, is_readable, hides_rows, owner, trigger, rule) \
         WHERE t.is_table AND t.is_readable AND NOT t.hides_rows AND t.owner IS NULL AND t.trigger IS NULL AND t.rule IS NULL)",
        tables_sql(tag, condition)
    )
}

/// Returns the query for the name of our role.
pub(super) fn role_sql() -> String {
    format!("SELECT {}, current_user", RowTag::Role)
}

/// Reads the response to [`role_sql`].
pub(super) fn parse_role(rows: &Rows) -> String {
    rows.texts_tagged(RowTag::Role).next().unwrap_or_default()
}

/// Returns the query for those of these schemas that exist, with their owner if we don't trust it.
pub(super) fn schemas_sql(schemas: &str) -> String {
    schemas_where_sql(&format!("n.nspname IN ({schemas})"))
}

/// Returns the query for all schemas that are not the system's, as [`schemas_sql`] does.
pub(super) fn all_schemas_sql() -> String {
    schemas_where_sql("n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'")
}

fn schemas_where_sql(condition: &str) -> String {
    format!(
        "{TRUSTED_ROLES} SELECT {}, n.nspname, \
         CASE WHEN n.nspowner NOT IN (SELECT oid FROM trusted) THEN pg_get_userbyid(n.nspowner) END \
         FROM pg_namespace n WHERE {condition}",
        RowTag::LedgerSchema
    )
}

/// Reads the response to [`tables_sql`].
#[must_use]
pub fn parse_tables(rows: &Rows, tag: RowTag) -> Vec<CatalogTable> {
    rows.tagged(tag).filter_map(CatalogTable::from_row).collect()
}

/// Reads the response to [`schemas_sql`].
pub(super) fn parse_schemas(rows: &Rows) -> Vec<(String, Option<String>)> {
    let schema = |row: Row<'_>| {
        let [name, untrusted_owner] = row.columns();
        (name.unwrap_or_default().to_owned(), untrusted_owner.map(str::to_owned))
    };
    rows.tagged(RowTag::LedgerSchema).map(schema).collect()
}

impl CatalogTable {
    fn from_row(row: Row<'_>) -> Option<Self> {
        let [schema, name, columns, is_table, is_readable, hides_rows, owner, trigger, rule] = row.columns();
        let owned = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let issues = [
            (is_table != Some("t")).then_some(TrustIssue::NotATable),
            (is_readable != Some("t")).then_some(TrustIssue::Unreadable),
            (hides_rows == Some("t")).then_some(TrustIssue::RowSecurity),
            owned(owner).map(TrustIssue::Owner),
            owned(trigger).map(TrustIssue::Trigger),
            owned(rule).map(TrustIssue::Rule),
        ];
        Some(Self {
            table: Table { schema: owned(schema)?, name: owned(name)? },
            columns: serde_json::from_str(columns.unwrap_or("[]")).ok()?,
            issues: issues.into_iter().flatten().collect(),
        })
    }

    /// Reports whether it has all these columns.
    #[must_use]
    pub fn has_columns(&self, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.columns.iter().any(|own_column| own_column == column))
    }

    /// Reports whether it has these columns and no others.
    #[must_use]
    pub fn has_only_columns(&self, columns: &[&str]) -> bool {
        self.columns.len() == columns.len() && self.has_columns(columns)
    }

    /// Reports whether it may be used.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.issues.is_empty()
    }

    /// Returns the table and the reason why it is ignored, for a message.
    #[must_use]
    pub fn describe_issue(&self) -> String {
        let issue = match self.issues.first() {
            Some(TrustIssue::NotATable) => "is not an ordinary table".to_owned(),
            Some(TrustIssue::Unreadable) => "may not be read".to_owned(),
            Some(TrustIssue::RowSecurity) => "hides rows by row-level security".to_owned(),
            Some(TrustIssue::Owner(owner)) => format!("belongs to `{owner}`"),
            Some(TrustIssue::Trigger(name)) => format!("has the trigger `{name}` of another role"),
            Some(TrustIssue::Rule(name)) => format!("has the rule `{name}`"),
            None => "is trusted".to_owned(),
        };
        format!("`{}` {issue}", self.table)
    }

    /// Refuses a ledger that this run needs and must not use; `role` is our own.
    ///
    /// # Errors
    /// `ledger-hidden` if rows may be hidden, else `ledger-untrusted`.
    pub fn refuse_untrusted(&self, role: &str) -> Result<(), Fault> {
        let Some(first) = self.issues.first() else { return Ok(()) };
        let table = &self.table;
        let hidden = self.issues.contains(&TrustIssue::RowSecurity);
        let cause = match first {
            _ if hidden => {
                format!(
                    "row-level security hides rows of the ledger `{table}` from the role `{role}`: migrations that seem to be missing may be applied"
                )
            }
            TrustIssue::NotATable => {
                format!("the ledger `{table}` is not an ordinary table: the code behind it would run as `{role}`")
            }
            TrustIssue::Unreadable | TrustIssue::RowSecurity => {
                format!("the role `{role}` may not read the ledger `{table}`")
            }
            TrustIssue::Owner(owner) => {
                format!("the ledger `{table}` belongs to `{owner}`, whose code could run in a session of `{role}`")
            }
            TrustIssue::Trigger(name) => {
                format!(
                    "the ledger `{table}` has the trigger `{name}`, whose function belongs to a role of which `{role}` is not a member"
                )
            }
            TrustIssue::Rule(name) => {
                format!("the ledger `{table}` has the rule `{name}`, which would run as `{role}`")
            }
        };
        let code = if hidden { Code::LedgerHidden } else { Code::LedgerUntrusted };
        let fixes: Vec<String> = self.issues.iter().map(|issue| self.fix_for(issue, role)).collect();
        Err(Fault::new(code, cause).fix(fixes.join("; and ")))
    }

    fn fix_for(&self, issue: &TrustIssue, role: &str) -> String {
        let (table, role) = (self.table.to_sql(), quote_identifier(role));
        match issue {
            TrustIssue::NotATable => {
                "put an ordinary table in its place, or with SQL files name another one in `ledger-table`".to_owned()
            }
            TrustIssue::Unreadable => {
                let schema = quote_identifier(&self.table.schema);
                format!(
                    "let its owner run `GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT, INSERT, DELETE ON {table} TO {role};`"
                )
            }
            TrustIssue::RowSecurity => format!("let its owner run `ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;`"),
            TrustIssue::Owner(owner) => format!(
                "if `{owner}` may do all that {role} may, let a superuser run `GRANT {} TO {role};`; if not, find out why that table is there",
                quote_identifier(owner)
            ),
            TrustIssue::Trigger(name) => {
                format!("let its owner run `DROP TRIGGER {} ON {table};`", quote_identifier(name))
            }
            TrustIssue::Rule(name) => format!("let its owner run `DROP RULE {} ON {table};`", quote_identifier(name)),
        }
    }
}
