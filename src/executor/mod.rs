//! Where a migration runs.

mod sql;

pub use sql::Sql;
