//! Reads a file block by block and describes each block, so that it can be read again and compared.

use super::decode;
use crate::{
    fault::{Code, Fault, FilePosition},
    sql::TextStart,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Its first byte in the text.
    pub(super) start: usize,
    /// Its length in bytes.
    pub(super) length: usize,
    /// The place in the file where it begins.
    pub(super) place: TextStart,
    sha256: [u8; 32],
}

impl Block {
    fn of(text: &str, start: usize, place: TextStart) -> Self {
        Self { start, length: text.len(), place, sha256: Sha256::digest(text).into() }
    }

    /// Reports whether the bytes are those that the block had.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.sha256 == <[u8; 32]>::from(Sha256::digest(bytes))
    }
}

/// The length of a block in bytes.
const BLOCK_BYTES: u64 = 1 << 20;

/// The blocks of a file that is being read.
pub(super) struct BlockReader<'a> {
    input: File,
    file: &'a str,
    /// The beginning of a character whose end is in the next block.
    rest: Vec<u8>,
    /// The length of the text so far.
    length: usize,
    place: TextStart,
    /// The length in bytes of the byte order mark.
    pub(super) mark: usize,
}

impl<'a> BlockReader<'a> {
    pub(super) fn open(path: &Path, file: &'a str) -> Result<Self, Fault> {
        let input = File::open(path).map_err(|error| unreadable(file, &error))?;
        Ok(Self { input, file, rest: Vec::new(), length: 0, place: TextStart::OF_FILE, mark: 0 })
    }

    /// Reads the next block; `None` at the end of the file. `see_bytes` is called with its bytes.
    pub(super) fn next_block(&mut self, see_bytes: impl FnOnce(&[u8])) -> Result<Option<(Block, String)>, Fault> {
        let mut bytes = std::mem::take(&mut self.rest);
        let known = bytes.len();
        let read = self.input.by_ref().take(BLOCK_BYTES).read_to_end(&mut bytes);
        let read = read.map_err(|error| unreadable(self.file, &error))?;
        see_bytes(bytes.get(known..).unwrap_or_default());
        if bytes.is_empty() {
            return Ok(None);
        }
        let part = decode::BytesOfFile { file: self.file, line: self.place.line, offset: self.length + self.mark };
        let is_first = part.offset == 0;
        if read > 0 {
            self.rest = decode::split_incomplete_character(&mut bytes);
        }
        let text = part.decode(bytes)?;
        let text = match text.strip_prefix(decode::BYTE_ORDER_MARK).filter(|_| is_first) {
            Some(text) => {
                self.mark = decode::BYTE_ORDER_MARK.len_utf8();
                text.to_owned()
            }
            None => text,
        };
        let block = Block::of(&text, self.length, self.place);
        self.length += text.len();
        self.place = self.place.after(&text);
        Ok(Some((block, text)))
    }
}

/// Returns the fault of a file that can't be read.
pub(super) fn unreadable(file: &str, error: &io::Error) -> Fault {
    let fault = Fault::new(Code::FileUnreadable, format!("`{file}` can't be read")).with_causes(error);
    fault.in_file(FilePosition::of_file(file))
}
