//! Tools that apply migrations themselves, as data: what to call, how to read what they say, what they are known to fail at.
//! A new tool is a new file in `recipes`.

mod failure;
mod line;
mod listing;
mod recipe;

pub use failure::explain;
pub use line::Line;
pub use listing::{Listed, Listing};
pub use recipe::{Failure, Recipe, Verb};
