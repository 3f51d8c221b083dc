//! Separates the messages of our script on the server from other output in the same stream.

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptFrame<'a> {
    /// A message of our script.
    Control(&'a str),
    /// Any other output.
    Raw(&'a [u8]),
}

/// First byte of our messages, before the token (`say` in `prelude.sh`).
const FRAME_START: u8 = 1;

/// Parses one stream.
#[derive(Debug)]
pub(super) struct FrameParser {
    prefix: Vec<u8>,
    /// Bytes that may be the beginning of a message.
    partial: Vec<u8>,
}

impl FrameParser {
    /// Creates a parser. No other program knows the token, so none can forge a message.
    pub(super) fn new(token: &str) -> Self {
        let prefix = [&[FRAME_START], token.as_bytes(), b" "].concat();
        Self { prefix, partial: Vec::new() }
    }

    /// Parses a chunk; an empty one is the end.
    pub(super) fn parse_chunk(&mut self, chunk: &[u8], mut on_frame: impl FnMut(ScriptFrame<'_>)) {
        let bytes = [std::mem::take(&mut self.partial).as_slice(), chunk].concat();
        let mut rest = bytes.as_slice();
        loop {
            let (before, frame) = self.split_at_frame(rest);
            if !before.is_empty() {
                on_frame(ScriptFrame::Raw(before));
            }
            let line = frame.get(self.prefix.len()..).and_then(|line| {
                let end = line.iter().position(|byte| *byte == b'\n')?;
                Some((line.get(..end)?, line.get(end + 1..)?))
            });
            match line {
                Some((message, after)) => {
                    on_frame(ScriptFrame::Control(&String::from_utf8_lossy(message)));
                    rest = after;
                }
                None if chunk.is_empty() => {
                    if !frame.is_empty() {
                        on_frame(ScriptFrame::Raw(frame));
                    }
                    return;
                }
                None => {
                    self.partial = frame.to_vec();
                    return;
                }
            }
        }
    }

    /// Splits the bytes where a message begins, or may begin.
    fn split_at_frame<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            rest.starts_with(&self.prefix) || self.prefix.starts_with(rest)
        };
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == FRAME_START).map(|(at, _)| at);
        bytes.split_at(starts.into_iter().find(begins).unwrap_or(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = FrameParser::new("abc");
        let mut all = Vec::new();
        for chunk in chunks.iter().chain([&b"".as_slice()]) {
            parser.parse_chunk(chunk, |frame| match frame {
                ScriptFrame::Control(message) => all.push(format!("word {message}")),
                ScriptFrame::Raw(raw) => all.push(String::from_utf8_lossy(raw).into_owned()),
            });
        }
        all
    }

    #[test]
    fn separates_messages_from_other_output() {
        assert_eq!(parse_all(&[b"hello\x01abc ended 0\n"]), ["hello", "word ended 0"]);
        assert_eq!(parse_all(&[b"\x01abc a\n\x01abc b\nx"]), ["word a", "word b", "x"]);
        assert_eq!(parse_all(&[b"x\x01ab", b"c go", b"\ny"]), ["x", "word go", "y"]);
    }

    #[test]
    fn ignores_messages_without_the_token() {
        assert_eq!(parse_all(&[b"\x01abd ended 0\n"]), ["\x01abd ended 0\n"]);
        assert_eq!(parse_all(&[b"abc ended 0\n\x01\x01ab"]), ["abc ended 0\n\x01", "\x01ab"]);
        assert_eq!(parse_all(&[b"\x01abc never finished"]), ["\x01abc never finished"]);
    }

    #[test]
    fn holds_back_no_more_than_it_must() {
        let mut parser = FrameParser::new("abc");
        let mut all = Vec::new();
        parser.parse_chunk(b"Are you sure? ", |frame| all.push(format!("{frame:?}")));
        assert_eq!(all.len(), 1);
    }
}
