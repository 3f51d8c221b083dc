//! Events → fold → report; all surfaces are pure functions of it.

mod outcome;

pub use outcome::{Fate, MigrationReport, NOTICES_KEPT, NoticeReport, Outcome, Report, StageTime};
