//! Events → fold → report; all surfaces are pure functions of it.

mod annotate;
mod changed;
mod comment;
mod early;
mod entry;
mod facts;
mod log;
mod markdown;
mod outcome;
mod outlet;
mod outputs;
mod publish;
mod redact;
#[cfg(test)]
mod sample;
mod sink;
mod summary;
mod teller;
mod tenants;
mod verdict;
mod way;
mod words;

pub use comment::{comment, marker};
pub use entry::{Fate, MigrationReport, NoticeReport, StageTime};
pub use log::{Log, Surface};
pub use outcome::{NOTICES_KEPT, Outcome, Report};
pub use outputs::outputs;
pub use publish::publish;
pub use summary::summary;
pub use teller::Teller;
pub use verdict::Verdict;
