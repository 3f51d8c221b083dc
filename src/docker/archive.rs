//! Minimal archives for the engine: a few small files in directories of ours, in the format of POSIX tar (ustar; IEEE
//! Std 1003.1, pax).

use std::collections::BTreeSet;

/// Size to which headers and contents are padded.
const BLOCK_SIZE: usize = 512;

/// Returns an archive of these files, given as (absolute path, content): read-only for everybody, owned by root. Their
/// directories are in it, too, readable by everybody, because the image may run as any user.
pub(crate) fn tar_archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let relative = |path: &str| path.trim_start_matches('/').to_owned();
    let directories = files.iter().filter_map(|(path, _)| Some(relative(path).rsplit_once('/')?.0.to_owned()));
    let mut archive = Vec::new();
    for directory in directories.collect::<BTreeSet<String>>() {
        archive.extend_from_slice(&tar_header(&Entry {
            path: &format!("{directory}/"),
            mode: "0000755",
            kind: "5",
            size: 0,
        }));
    }
    for (path, content) in files {
        archive.extend_from_slice(&tar_header(&Entry {
            path: &relative(path),
            mode: "0000444",
            kind: "0",
            size: content.len(),
        }));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK_SIZE), 0);
    }
    // Two empty blocks mark the end.
    archive.resize(archive.len() + 2 * BLOCK_SIZE, 0);
    archive
}

/// What a header says.
struct Entry<'e> {
    path: &'e str,
    /// Seven octal digits.
    mode: &'static str,
    /// `0` for a file, `5` for a directory.
    kind: &'static str,
    size: usize,
}

fn tar_header(entry: &Entry<'_>) -> [u8; BLOCK_SIZE] {
    let mut header = [0; BLOCK_SIZE];
    let mut put = |at: usize, text: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
            *to = from;
        }
    };
    put(0, entry.path);
    put(100, entry.mode);
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", entry.size));
    put(136, "00000000000\0");
    // The checksum field counts as blanks.
    put(148, "        ");
    put(156, entry.kind);
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_whole_number_of_blocks_with_headers_that_add_up() {
        let archive =
            tar_archive(&[("/run/x/ca.pem".to_owned(), b"hello".to_vec()), ("/run/x/b".to_owned(), Vec::new())]);
        assert_eq!(archive.len(), 6 * BLOCK_SIZE);
        for (at, path, mode, kind) in [
            (0, "run/x/\0", "0000755\0", b'5'),
            (1, "run/x/ca.pem\0", "0000444\0", b'0'),
            (3, "run/x/b\0", "0000444\0", b'0'),
        ] {
            let header = &archive[at * BLOCK_SIZE..(at + 1) * BLOCK_SIZE];
            assert!(header.starts_with(path.as_bytes()), "{path}");
            assert_eq!((&header[100..108], header[156]), (mode.as_bytes(), kind), "{path}");
            let blank = |at: usize| (148..156).contains(&at);
            let sum: u32 =
                header.iter().enumerate().map(|(at, byte)| if blank(at) { 32 } else { u32::from(*byte) }).sum();
            assert_eq!(&header[148..154], format!("{sum:06o}").as_bytes(), "{path}");
        }
        assert_eq!(&archive[2 * BLOCK_SIZE..2 * BLOCK_SIZE + 5], b"hello");
    }
}
