//! Output that arrives in pieces, as lines.

/// A line that is longer is told in parts, so that no output fills our memory.
const LONGEST: usize = 16 << 10;

/// The lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece in and returns the lines that it completes. What a progress bar overwrites (`\r`) is a line, too.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<String> {
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
    pub(super) fn begun(&self) -> Option<String> {
        (!self.begun.is_empty()).then(|| String::from_utf8_lossy(&self.begun).into_owned())
    }

    /// What has begun and was not ended.
    pub(super) fn end(&mut self) -> Option<String> {
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
