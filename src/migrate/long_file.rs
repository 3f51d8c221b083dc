//! A file that is too long to be held in memory: it is parsed part by part, and read again when it is sent.

use super::{
    blank::blank_text,
    blocks::{Block, BlockReader, unreadable},
    surroundings::Surroundings,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    sql::{FilePlaces, Span, TextStart},
};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// A long file whose content is known block by block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongFile {
    path: PathBuf,
    /// The path as the user wrote it.
    file: String,
    blocks: Vec<Block>,
    /// The length in bytes of the byte order mark, which is no part of the text.
    mark: usize,
    /// Overwritten with spaces.
    blanks: Vec<Span>,
}

impl LongFile {
    pub(super) fn new(path: &Path, file: &str) -> Self {
        Self { path: path.to_owned(), file: file.to_owned(), blocks: Vec::new(), mark: 0, blanks: Vec::new() }
    }

    /// Appends the next block of the file. Returns its text; `None` at the end.
    pub(super) fn append_block(
        &mut self,
        reader: &mut BlockReader<'_>,
        see_bytes: impl FnOnce(&[u8]),
    ) -> Result<Option<String>, Fault> {
        let Some((block, text)) = reader.next_block(see_bytes)? else { return Ok(None) };
        self.mark = reader.mark;
        self.blocks.push(block);
        Ok(Some(text))
    }

    /// Sets the parts that are overwritten with spaces.
    pub(super) fn set_blanks(&mut self, blanks: Vec<Span>) {
        self.blanks = blanks;
    }

    /// Returns the length of the text in bytes.
    pub(super) fn length(&self) -> usize {
        self.blocks.last().map_or(0, |last| last.start + last.length)
    }

    /// Returns this part of the text.
    ///
    /// # Errors
    ///
    /// `file-changed` if it is not what it was, `file-unreadable`.
    pub(super) fn read(&self, span: Span) -> Result<String, Fault> {
        let Some((start, mut text)) = self.read_blocks(self.blocks_around(span))? else { return Ok(String::new()) };
        text.truncate(span.end.saturating_sub(start));
        text.drain(..span.start.saturating_sub(start).min(text.len()));
        Ok(text)
    }

    /// Divides a part of the text at the ends of blocks.
    pub(super) fn pieces(&self, span: Span) -> Vec<Span> {
        let blocks = self.blocks_around(span).iter();
        let piece =
            |block: &Block| Span { start: span.start.max(block.start), end: span.end.min(block.start + block.length) };
        blocks.map(piece).filter(|piece| piece.start < piece.end).collect()
    }

    /// Returns this part of the text, with the block before it and the block after it: a line is rarely longer.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(super) fn surroundings(&self, span: Span) -> Result<Surroundings<'static>, Fault> {
        let first = self.index_of_block(span.start).saturating_sub(1);
        let last = self.index_of_block(span.end) + 1;
        let blocks = self.blocks.get(first..=last.min(self.blocks.len().saturating_sub(1))).unwrap_or_default();
        let (start, text) = self.read_blocks(blocks)?.unwrap_or_default();
        let place = blocks.first().map_or(TextStart::OF_FILE, |block| block.place);
        Ok(Surroundings::new(text, start, place))
    }

    /// Returns the place of the line with this 1-based number in a part of the text.
    pub(super) fn place_of_line(&self, part: Span, line: usize) -> FilePosition {
        let mut lines_before = line.saturating_sub(1);
        for piece in self.pieces(part) {
            let Ok(text) = self.read(piece) else { break };
            let ends = text.match_indices('\n').map(|(byte, _)| piece.start + byte + 1);
            let starts: Vec<usize> =
                std::iter::once(part.start).filter(|_| piece.start == part.start).chain(ends).collect();
            match starts.get(lines_before) {
                Some(byte) => return self.place_at_byte(*byte),
                None => lines_before -= starts.len(),
            }
        }
        FilePosition::of_file(&self.file)
    }

    fn index_of_block(&self, byte: usize) -> usize {
        self.blocks.partition_point(|block| block.start <= byte).saturating_sub(1)
    }

    fn blocks_around(&self, span: Span) -> &[Block] {
        let first = self.index_of_block(span.start);
        let last = self.index_of_block(span.end.saturating_sub(1).max(span.start));
        self.blocks.get(first..=last).unwrap_or_default()
    }

    /// Reads these blocks, which follow each other, and returns the byte at which they begin; `None` without blocks.
    fn read_blocks(&self, blocks: &[Block]) -> Result<Option<(usize, String)>, Fault> {
        let Some(first) = blocks.first() else { return Ok(None) };
        let bytes = self.read_bytes(first.start, blocks.iter().map(|block| block.length).sum());
        let bytes = bytes.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => unreadable(&self.file, &error),
        })?;
        let mut rest = bytes.as_slice();
        for block in blocks {
            let (content, after) = rest.split_at_checked(block.length).ok_or_else(|| self.changed())?;
            if !block.is(content) {
                return Err(self.changed());
            }
            rest = after;
        }
        let text = String::from_utf8(bytes).ok().ok_or_else(|| self.changed())?;
        let inside = |blank: &Span| Span {
            start: blank.start.saturating_sub(first.start),
            end: blank.end.saturating_sub(first.start).min(text.len()),
        };
        let blanks: Vec<Span> = self.blanks.iter().map(inside).filter(|blank| blank.start < blank.end).collect();
        Ok(Some((first.start, blank_text(text, &blanks))))
    }

    fn read_bytes(&self, start: usize, length: usize) -> io::Result<Vec<u8>> {
        let mut input = File::open(&self.path)?;
        let offset = u64::try_from(self.mark + start).map_err(io::Error::other)?;
        input.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn changed(&self) -> Fault {
        let cause = format!("`{}` was changed while the run was under way", self.file);
        Fault::new(Code::FileChanged, cause)
            .fix("run again, and let nothing write to the migrations meanwhile")
            .in_file(FilePosition::of_file(&self.file))
    }
}

impl FilePlaces for LongFile {
    fn file(&self) -> &str {
        &self.file
    }

    fn line_number(&self, byte: usize) -> usize {
        let place = self.place_at_byte(byte);
        place.line.unwrap_or_else(|| self.blocks.get(self.index_of_block(byte)).map_or(1, |block| block.place.line))
    }

    fn place_at_byte(&self, byte: usize) -> FilePosition {
        let around = Span { start: byte, end: byte };
        match self.surroundings(around) {
            Ok(text) => text.source(&self.file).place_at_byte(text.span(around).start),
            Err(_) => FilePosition::of_file(&self.file),
        }
    }
}
