//! A program that runs somewhere else: what it says, line by line, and how it ends.

use crate::secret::Redactor;

/// What a program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// A line on standard output.
    Out(&'a str),
    /// A line on standard error.
    Err(&'a str),
    /// The beginning of a line on standard output; the whole of it follows.
    Begun(&'a str),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(i64),
    /// By this signal.
    Signalled(i64),
    /// The kernel killed it for the memory that it wanted.
    OutOfMemory,
}

/// The code that a shell or an engine gives a program that was killed: 128 and the signal (docker run(1), "Exit Status"; POSIX,
/// 2.8.2).
const SIGNALLED: i64 = 128;

/// The highest signal of Linux (signal(7)).
const LAST_SIGNAL: i64 = 64;

impl Status {
    /// What a code says of it that came through a shell or an engine.
    #[must_use]
    pub fn of_code(code: i64) -> Self {
        match code - SIGNALLED {
            signal @ 1..=LAST_SIGNAL => Self::Signalled(signal),
            _ => Self::Exited(code),
        }
    }
}

/// A line that is longer is told in parts, so that no output fills our memory.
const LONGEST: usize = 16 << 10;

/// The lines of one stream.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    redactor: Redactor,
}

impl Lines {
    /// Lines in which these secrets may stand: they are hidden in a line that is told in parts, as nobody finds them in those.
    #[must_use]
    pub fn hiding(redactor: Redactor) -> Self {
        Self { begun: Vec::new(), redactor }
    }

    /// Takes a piece in and returns the lines that it completes. What a progress bar overwrites (`\r`) is a line, too.
    pub fn take(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let most = LONGEST + self.redactor.reach();
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

    /// The beginning of the next line, as far as it is there.
    #[must_use]
    pub fn begun(&self) -> Option<String> {
        (!self.begun.is_empty()).then(|| String::from_utf8_lossy(&self.begun).into_owned())
    }

    /// What has begun and was not ended: a line, in parts if it is long.
    pub fn end(&mut self) -> Vec<String> {
        let mut parts = Vec::new();
        while self.begun.len() > LONGEST {
            parts.push(self.part());
        }
        let rest = std::mem::take(&mut self.begun);
        parts.extend((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
        parts
    }

    /// The beginning of a long line, which does not end within a secret.
    fn part(&mut self) -> String {
        let (part, length) = self.redactor.beginning(&self.begun, LONGEST);
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
    fn makes_lines_of_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\n10%\r20%\rth"), ["two", "10%", "20%"]);
        assert_eq!(lines.begun().as_deref(), Some("th"));
        assert_eq!(lines.end(), ["th"]);
        assert_eq!(lines.end(), [""; 0]);
        assert_eq!(lines.take(&vec![b'x'; LONGEST + 1]).len(), 1);
    }

    /// All that a line in these pieces is told as.
    fn told(line: &str, pieces: usize, redactor: &Redactor) -> Vec<String> {
        let mut lines = Lines::hiding(redactor.clone());
        let mut told: Vec<String> = line.as_bytes().chunks(pieces).flat_map(|piece| lines.take(piece)).collect();
        told.extend(lines.end());
        told.iter().map(|line| redactor.redact(line)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_half_of_a_secret_is_told_wherever_a_long_line_is_parted(
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
