//! The Markdown of a summary within its size limit.

/// Number of rows of a table from which on it is folded.
pub(super) const MAX_OPEN_ROWS: usize = 15;

// The parts that can be left out, as the note about them names them.
pub(super) const AFTERCARE: &str = "after-care";
pub(super) const ACCESS: &str = "how to connect";
pub(super) const FINDINGS: &str = "checks";
pub(super) const APPLIED: &str = "applied migrations";
pub(super) const HALF_DONE: &str = "half-done migrations";
pub(super) const HISTORY: &str = "runs of the past";
pub(super) const CHART: &str = "the chart";
pub(super) const PENDING: &str = "pending migrations";
pub(super) const REVIEW: &str = "the review of the plan";
pub(super) const REHEARSAL: &str = "the rehearsal";
pub(super) const LINT: &str = "findings of the lint";
pub(super) const SQL: &str = "the SQL of the plan";
pub(super) const STEPS: &str = "steps";
pub(super) const TENANTS: &str = "tenants";
pub(super) const FAULTS: &str = "faults";
pub(super) const WARNINGS: &str = "warnings";
pub(super) const BACKUP: &str = "the backup";
pub(super) const BLOCKED: &str = "lock waits";
pub(super) const NOTICES: &str = "server messages";
pub(super) const SCHEMA: &str = "schema changes";
pub(super) const ENDING: &str = "next steps and facts";

/// Markdown that grows by whole pieces, so that a cut leaves no fence and no folded part open and splits no character.
pub(super) struct SummaryPage {
    pub(super) text: String,
    pub(super) room: usize,
    pub(super) left_out: Vec<&'static str>,
}

/// A part that readers unfold, made of rows.
pub(super) struct FoldedPart<'a> {
    /// The name of the part in the note about what was left out.
    pub(super) part: &'static str,
    /// The line that is always visible, as HTML.
    pub(super) summary: &'a str,
    /// Markdown before the first row.
    pub(super) head: &'a str,
}

impl SummaryPage {
    /// Adds a piece of this part. If it does not fit, the part is noted as left out, and gets no further pieces.
    pub(super) fn add_piece(&mut self, part: &'static str, piece: &str) {
        if self.left_out.contains(&part) {
            return;
        }
        match piece.len() <= self.remaining_room() {
            true => self.text.push_str(piece),
            false => self.left_out.push(part),
        }
    }

    /// Adds rows that are shown when the reader unfolds them, as many as fit.
    pub(super) fn add_folded(&mut self, folded: &FoldedPart<'_>, rows: impl IntoIterator<Item = String>) {
        const END: &str = "\n</details>\n\n";
        let FoldedPart { part, summary, head } = folded;
        let start = format!("<details><summary>{summary}</summary>\n\n{head}");
        if self.left_out.contains(part) {
            return;
        }
        if start.len() + END.len() > self.remaining_room() {
            self.left_out.push(part);
            return;
        }
        self.text.push_str(&start);
        for row in rows {
            if row.len() + END.len() > self.remaining_room() {
                self.left_out.push(part);
                break;
            }
            self.text.push_str(&row);
        }
        self.text.push_str(END);
    }

    /// Returns the number of bytes that still fit.
    pub(super) fn remaining_room(&self) -> usize {
        self.room.saturating_sub(self.text.len())
    }
}
