//! Output and exit status of a process that runs elsewhere.

use crate::secret::Redactor;

/// A piece of a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// A line on standard output.
    Out(&'a str),
    /// A line on standard error.
    Err(&'a str),
    /// The beginning of a line on standard output; the complete line follows.
    Begun(&'a str),
}

/// Exit status of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(i64),
    /// It was killed by this signal.
    Signalled(i64),
    /// The kernel killed it because it used too much memory.
    OutOfMemory,
}

/// Offset of the exit code that a shell or an engine reports for a process killed by a signal: 128 plus the signal
/// (docker run(1), "Exit Status"; POSIX, 2.8.2).
const SIGNALLED: i64 = 128;

/// The highest signal of Linux (signal(7)).
const LAST_SIGNAL: i64 = 64;

impl Status {
    /// Interprets an exit code that was reported by a shell or an engine.
    #[must_use]
    pub fn of_code(code: i64) -> Self {
        match code - SIGNALLED {
            signal @ 1..=LAST_SIGNAL => Self::Signalled(signal),
            _ => Self::Exited(code),
        }
    }
}

/// Longest part of a line, in bytes: longer lines are returned in parts, so that no output fills the memory.
const LONGEST: usize = 16 << 10;

/// Splits one stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    redactor: Redactor,
}

impl Lines {
    /// Creates a buffer for output that may contain these secrets. They are hidden when a line is split into parts,
    /// because they could not be found in the parts.
    #[must_use]
    pub fn hiding(redactor: Redactor) -> Self {
        Self { begun: Vec::new(), redactor }
    }

    /// Adds bytes and returns the lines that they complete. Text that a progress bar overwrites (`\r`) counts as a
    /// line.
    pub fn take(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let most = LONGEST + self.redactor.longest_encoded();
        for part in piece.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, is_ended) = match part.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                Some(_) | None => (part, false),
            };
            for text in text.chunks(LONGEST) {
                self.begun.extend_from_slice(text);
                if self.begun.len() >= most {
                    lines.push(self.part());
                }
            }
            if is_ended {
                lines.extend(self.end());
            }
        }
        lines
    }

    /// Returns the beginning of the unfinished line, if there is one.
    #[must_use]
    pub fn begun(&self) -> Option<String> {
        (!self.begun.is_empty()).then(|| String::from_utf8_lossy(&self.begun).into_owned())
    }

    /// Returns and clears the unfinished line, in parts if it is long.
    pub fn end(&mut self) -> Vec<String> {
        let mut parts = Vec::new();
        while self.begun.len() > LONGEST {
            parts.push(self.part());
        }
        let rest = std::mem::take(&mut self.begun);
        parts.extend((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
        parts
    }

    /// Removes and returns the beginning of a long line, cut so that no secret is split.
    fn part(&mut self) -> String {
        let (part, length) = self.redactor.redact_prefix(&self.begun, LONGEST);
        self.begun.drain(..length);
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    #[test]
    fn splits_chunks_into_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\n10%\r20%\rth"), ["two", "10%", "20%"]);
        assert_eq!(lines.begun().as_deref(), Some("th"));
        assert_eq!(lines.end(), ["th"]);
        assert_eq!(lines.end(), [""; 0]);
        assert_eq!(lines.take(&vec![b'x'; LONGEST + 1]).len(), 1);
    }

    /// Returns the redacted parts of a line that arrives in chunks of this size.
    fn told(line: &str, pieces: usize, redactor: &Redactor) -> Vec<String> {
        let mut lines = Lines::hiding(redactor.clone());
        let mut told: Vec<String> = line.as_bytes().chunks(pieces).flat_map(|piece| lines.take(piece)).collect();
        told.extend(lines.end());
        told.iter().map(|line| redactor.redact(line)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_partial_secret_is_returned_wherever_a_long_line_is_split(
            at in LONGEST - 80..LONGEST + 20, rest in 0..3 * LONGEST, pieces in 1_000..40_000_usize, escaped in any::<bool>(),
        ) {
            let secret = "Zq%ä\"Xw'jK+Vb@7Qz";
            let written = if escaped { format!("{secret:?}").replace('%', "%25") } else { secret.to_owned() };
            let line = format!("{}{written}{}", "-".repeat(at), "=".repeat(rest));
            let told = told(&line, pieces, &Redactor::new([&Secret::new(secret)]));
            prop_assert!(told.iter().all(|line| !line.contains(|letter: char| letter.is_alphanumeric())), "{told:?}");
            let length = told.concat().replace("***", "").trim_matches('"').len();
            prop_assert!(length == at + rest || (escaped && length <= at + rest + 2), "{length}");
        }
    }
}
