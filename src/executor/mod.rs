//! Where a migration runs.

mod aftermath;
mod sql;

pub use sql::Sql;
