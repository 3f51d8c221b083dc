//! The schema of a database as DDL text: the question that reads it, its order, its comparison with another one or with a
//! file. What a file or a database has in it is data here; nothing of it is run.

mod change;
mod column_change;
mod creation_order;
mod description;
mod difference;
mod file;
mod parts;
mod question;
mod statement;

pub use change::SchemaChange;
pub use description::SchemaDescription;
pub use difference::{changes_of_run, differences_of_copy};
pub use file::{SchemaFile, parse_schema_file};
pub use question::{
    description_function, description_query, description_query_by_function, description_query_with_own_schema,
};
