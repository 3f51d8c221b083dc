//! Tools that apply migrations themselves, as data: what to call, how to read what they say, what they are known to fail at.
//! A new tool is a new file in `recipes`.

mod failure;
mod line;
mod listing;
mod pattern;
mod recipe;
mod target;
mod verb;

pub use failure::{Failure, explain};
pub use line::{Call, Line, QUESTION, Together, YES};
pub use listing::{Answer, Between, Keeps, Listed, Listing, Order};
pub use pattern::Pattern;
pub use recipe::{Begun, Done, Ledgers, Recipe};
pub use target::{Itself, Says, Target};
pub use verb::Verb;
