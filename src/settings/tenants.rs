//! The tenants of SQL files, each with its own schema.

/// The tenants of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// The source of their schemas.
    pub source: TenantSource,
    /// The schema of the tenant that is migrated first, alone; `None` is the first one.
    pub canary: Option<String>,
    /// The number of sessions that work at the same time; at least 1.
    pub parallel: usize,
    /// What happens to the other tenants when one has failed.
    pub on_failure: OnFailure,
}

/// The source of the schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// The schemas as the user named them.
    Names(Vec<String>),
    /// A query that returns them.
    Query(String),
}

/// What happens to the other tenants when one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// No other tenant is begun.
    Stop,
    /// They are migrated.
    Continue,
}
