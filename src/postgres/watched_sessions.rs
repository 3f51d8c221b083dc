//! The sessions that the activity monitor watches.

/// The sessions to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedSessions {
    /// Their `application_name`, if it could be set; empty if they are known only by their pids.
    pub application_name: String,
    /// The pids of their backends, as far as they are known.
    pub pids: Vec<i32>,
    /// The owner of the work.
    pub owner: WorkOwner,
}

/// The owner of the watched work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WorkOwner {
    /// A tool, which does not report its statements.
    #[default]
    Tool,
    /// This run: the end of each statement is reported, so only long statements need a sign of life.
    Run,
}
