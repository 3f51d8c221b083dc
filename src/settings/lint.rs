//! Settings of the lint of a plan's SQL.

use squawk_linter::Rule;

/// The consequence of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LintLevel {
    /// There is no lint.
    Off,
    /// A finding is reported.
    Warn,
    /// A finding ends the run before it applies anything.
    Error,
}

/// Settings of the lint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintSettings {
    /// The consequence of a finding.
    pub level: LintLevel,
    /// Rules that count although they don't by default.
    pub also: Vec<Rule>,
    /// Rules that don't count.
    pub except: Vec<Rule>,
    /// The number of rows below which a table is small: work on all of its rows takes no time worth a finding.
    pub small_table: u64,
}

impl LintSettings {
    /// The number of rows below which a table is small, if the user names none. A table of this size is read or rewritten
    /// in a few milliseconds.
    pub const SMALL_TABLE: u64 = 10_000;
}

impl Default for LintSettings {
    fn default() -> Self {
        Self { level: LintLevel::Warn, also: Vec::new(), except: Vec::new(), small_table: Self::SMALL_TABLE }
    }
}
