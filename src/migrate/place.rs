//! The place where a migration is applied: a ledger, and for a tenant its schema.

use crate::{
    ledger::Ledger,
    postgres::{own_query::raise_unless, quote_identifier, quote_literal},
};

/// The SQLSTATE raised if the schema of a tenant is gone. Class BM is unused (PostgreSQL manual, appendix A).
pub(super) const TENANT_GONE: &str = "BM004";

/// The SQLSTATE of a lock that is not free; another attempt may succeed (PostgreSQL manual, appendix A).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The place of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The ledger in which they are recorded.
    pub ledger: Ledger,
    /// The tenant, if each has its own schema.
    pub tenant: Option<Tenant>,
}

/// A tenant: its unqualified names are those of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The schema.
    pub schema: String,
    /// The value of `search_path` for its migrations.
    pub search_path: String,
    /// The keys of the locks that the layout's own tool takes. They are held shared and for one transaction: other
    /// tenants of this run may have the same ones.
    pub lock_keys: Vec<i64>,
}

impl Tenant {
    /// Creates the tenant with this schema; `session_path` is the search path that a session begins with.
    #[must_use]
    pub fn new(schema: String, session_path: &str, lock_keys: Vec<i64>) -> Self {
        let own = quote_identifier(&schema);
        let search_path = if session_path.is_empty() { own } else { format!("{own}, {session_path}") };
        Self { schema, search_path, lock_keys }
    }
}

impl Place {
    /// Creates the place of a run without tenants.
    #[must_use]
    pub fn without_tenant(ledger: Ledger) -> Self {
        Self { ledger, tenant: None }
    }

    /// Returns the tenant's schema; empty without tenants.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.tenant.as_ref().map_or("", |tenant| tenant.schema.as_str())
    }

    /// Returns PL/pgSQL that raises an error if the schema is gone, or if the layout's tool is at work there: what the
    /// file creates would go to the next schema of the search path.
    pub(super) fn guard_sql(&self) -> String {
        let Some(Tenant { schema, lock_keys, .. }) = &self.tenant else { return String::new() };
        let exists = format!("pg_catalog.to_regnamespace({}) IS NOT NULL", quote_literal(&quote_identifier(schema)));
        let gone =
            raise_unless(&format!("({exists})"), TENANT_GONE, &format!("the schema \"{schema}\" does not exist"));
        let tool = self.ledger.layout.name();
        let locks = lock_keys.iter().map(|key| {
            let is_free = format!("pg_catalog.pg_try_advisory_xact_lock_shared({key})");
            raise_unless(&is_free, LOCK_NOT_AVAILABLE, &format!("another session holds {tool}'s own lock"))
        });
        [gone].into_iter().chain(locks).collect()
    }

    /// Returns SQL that gives the transaction the search path of files; none if it is that of the session.
    pub(super) fn transaction_path_sql(&self) -> Option<String> {
        self.tenant.as_ref().map(|tenant| tenant.path_sql("true"))
    }

    /// Returns SQL that gives the session the search path of files; none if it begins with it.
    pub(super) fn session_path_sql(&self) -> Option<String> {
        self.tenant.as_ref().map(|tenant| tenant.path_sql("false"))
    }
}

impl Tenant {
    /// Returns SQL that sets the search path; `is_local` is the SQL literal for the rest of the transaction only.
    fn path_sql(&self, is_local: &str) -> String {
        format!("SELECT pg_catalog.set_config('search_path', {}, {is_local})", quote_literal(&self.search_path))
    }
}
