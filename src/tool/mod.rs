//! Migration tools as data: their commands, the patterns of their output and their known failures. A new tool is a new
//! file in `recipes`.

mod command_line;
mod commands;
pub(crate) mod explain;
mod known_failure;
mod list_then_migrate;
mod listing;
mod pattern;
mod recipe;
mod target;

pub use command_line::{Call, Line};
pub use commands::Verb;
pub use explain::explain;
pub use known_failure::Failure;
pub use list_then_migrate::{ByFile, QUESTION, Together, YES};
pub use listing::{Answer, Between, Keeps, Listed, Listing, Order};
pub use pattern::Pattern;
pub use recipe::{Begun, Done, Ledgers, Recipe};
pub use target::{Itself, Says, Target};
