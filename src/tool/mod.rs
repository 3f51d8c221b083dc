//! Tools that apply migrations themselves, as data: what to call, how to read what they say, what they are known to fail at.
//! A new tool is a new file in `recipes`.

mod failure;
mod line;
mod listing;
mod pattern;
mod recipe;
mod target;
mod together;
mod verb;

pub use failure::{Failure, explain};
pub use line::{Call, Line};
pub use listing::{Answer, Between, Keeps, Listed, Listing, Order};
pub use pattern::Pattern;
pub use recipe::{Begun, Ledgers, Recipe};
pub use target::{Says, Target};
pub use together::{ByFile, QUESTION, Together, YES};
pub use verb::Verb;
