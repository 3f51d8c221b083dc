//! Output and exit status of a process that runs elsewhere.

use crate::secret::Redactor;

/// A piece of a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// A line on standard output.
    Stdout(&'a str),
    /// A line on standard error.
    Stderr(&'a str),
    /// The beginning of a line on standard output; the complete line follows.
    PartialLine(&'a str),
}

/// A chunk of a process's output, as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputChunk<'a> {
    /// Standard output.
    Stdout(&'a [u8]),
    /// Standard error.
    Stderr(&'a [u8]),
}

/// The decision after a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowOutput {
    /// Continue reading.
    Continue,
    /// Stop reading.
    Stop,
}

/// Exit status of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(i64),
    /// It was killed by this signal.
    Signalled(i64),
    /// The kernel killed it because it used too much memory.
    OutOfMemory,
}

/// Offset of the exit code that a shell or an engine reports for a process killed by a signal: 128 plus the signal
/// (docker run(1), "Exit Status"; POSIX, 2.8.2).
const SIGNAL_BASE: i64 = 128;

/// The highest signal of Linux (signal(7)).
const LAST_SIGNAL: i64 = 64;

impl ExitStatus {
    /// Interprets an exit code that was reported by a shell or an engine.
    #[must_use]
    pub fn from_code(code: i64) -> Self {
        match code - SIGNAL_BASE {
            signal @ 1..=LAST_SIGNAL => Self::Signalled(signal),
            _ => Self::Exited(code),
        }
    }
}

/// Longest part of a line, in bytes: longer lines are returned in parts, so that no output fills the memory.
const MAX_PART_LENGTH: usize = 16 << 10;

/// Splits one stream into lines.
#[derive(Debug, Default)]
pub struct LineBuffer {
    begun: Vec<u8>,
    redactor: Redactor,
}

impl LineBuffer {
    /// Creates a buffer for output that may contain these secrets. They are hidden when a line is split into parts,
    /// because they could not be found in the parts.
    #[must_use]
    pub fn with_redactor(redactor: Redactor) -> Self {
        Self { begun: Vec::new(), redactor }
    }

    /// Adds bytes and returns the lines that they complete. Text that a progress bar overwrites (`\r`) counts as a
    /// line.
    pub fn push_bytes(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let most = MAX_PART_LENGTH + self.redactor.longest_encoded();
        for part in chunk.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, is_ended) = match part.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                Some(_) | None => (part, false),
            };
            for text in text.chunks(MAX_PART_LENGTH) {
                self.begun.extend_from_slice(text);
                if self.begun.len() >= most {
                    lines.push(self.take_part());
                }
            }
            if is_ended {
                lines.extend(self.take_rest());
            }
        }
        lines
    }

    /// Returns the beginning of the unfinished line, if there is one.
    #[must_use]
    pub fn partial_line(&self) -> Option<String> {
        (!self.begun.is_empty()).then(|| String::from_utf8_lossy(&self.begun).into_owned())
    }

    /// Returns and clears the unfinished line, in parts if it is long.
    pub fn take_rest(&mut self) -> Vec<String> {
        let mut parts = Vec::new();
        while self.begun.len() > MAX_PART_LENGTH {
            parts.push(self.take_part());
        }
        let rest = std::mem::take(&mut self.begun);
        parts.extend((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
        parts
    }

    /// Removes and returns the beginning of a long line, cut so that no secret is split.
    fn take_part(&mut self) -> String {
        let (part, length) = self.redactor.redact_prefix(&self.begun, MAX_PART_LENGTH);
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
        let mut lines = LineBuffer::default();
        assert_eq!(lines.push_bytes(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.push_bytes(b"o\n\n10%\r20%\rth"), ["two", "10%", "20%"]);
        assert_eq!(lines.partial_line().as_deref(), Some("th"));
        assert_eq!(lines.take_rest(), ["th"]);
        assert_eq!(lines.take_rest(), [""; 0]);
        assert_eq!(lines.push_bytes(&vec![b'x'; MAX_PART_LENGTH + 1]).len(), 1);
    }

    /// Returns the redacted parts of a line that arrives in chunks of this size.
    fn read_lines(line: &str, chunk_size: usize, redactor: &Redactor) -> Vec<String> {
        let mut lines = LineBuffer::with_redactor(redactor.clone());
        let mut lines_read: Vec<String> =
            line.as_bytes().chunks(chunk_size).flat_map(|chunk| lines.push_bytes(chunk)).collect();
        lines_read.extend(lines.take_rest());
        lines_read.iter().map(|line| redactor.redact(line).into_owned()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_partial_secret_is_returned_wherever_a_long_line_is_split(
            prefix_length in MAX_PART_LENGTH - 80..MAX_PART_LENGTH + 20, rest in 0..3 * MAX_PART_LENGTH, chunk_size in 1_000..40_000_usize, escaped in any::<bool>(),
        ) {
            let secret = "Zq%ä\"Xw'jK+Vb@7Qz";
            let encoded = if escaped { format!("{secret:?}").replace('%', "%25") } else { secret.to_owned() };
            let line = format!("{}{encoded}{}", "-".repeat(prefix_length), "=".repeat(rest));
            let parts = read_lines(&line, chunk_size, &Redactor::new([&Secret::new(secret)]));
            prop_assert!(parts.iter().all(|line| !line.contains(|character: char| character.is_alphanumeric())), "{parts:?}");
            let length = parts.concat().replace("***", "").trim_matches('"').len();
            prop_assert!(length == prefix_length + rest || (escaped && length <= prefix_length + rest + 2), "{length}");
        }
    }
}
