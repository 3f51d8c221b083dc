//! A program that runs somewhere else: what it says, line by line, and how it ends.

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
}

impl Lines {
    /// Takes a piece in and returns the lines that it completes. What a progress bar overwrites (`\r`) is a line, too.
    pub fn take(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in piece {
            match byte {
                b'\n' | b'\r' => lines.extend(self.end()),
                _ => self.begun.push(*byte),
            }
            if self.begun.len() == LONGEST {
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

    /// What has begun and was not ended.
    pub fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.begun);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_lines_of_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\n10%\r20%\rth"), ["two", "10%", "20%"]);
        assert_eq!(lines.begun().as_deref(), Some("th"));
        assert_eq!(lines.end().as_deref(), Some("th"));
        assert_eq!(lines.end(), None);
        assert_eq!(lines.take(&vec![b'x'; LONGEST + 1]).len(), 1);
    }
}
