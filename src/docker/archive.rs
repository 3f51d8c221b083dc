//! Minimal archives for the engine: a few small files, in the format of POSIX tar (ustar; IEEE Std 1003.1, pax).

/// Size to which headers and contents are padded.
const BLOCK: usize = 512;

/// Returns an archive of these files, given as (absolute path, content): read-only for everybody, owned by root.
pub(crate) fn of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        archive.extend_from_slice(&header(path.trim_start_matches('/'), content.len()));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks mark the end.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(path: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
            *to = from;
        }
    };
    put(0, path);
    put(100, "0000444\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    // The checksum field counts as blanks.
    put(148, "        ");
    put(156, "0");
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
    fn consists_of_whole_blocks_with_a_correct_checksum() {
        let archive = of(&[("/run/x/ca.pem".to_owned(), b"hello".to_vec())]);
        assert_eq!(archive.len(), 4 * BLOCK);
        assert!(archive.starts_with(b"run/x/ca.pem\0"));
        let blanks: u32 = archive[..BLOCK]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(&archive[148..154], format!("{blanks:06o}").as_bytes());
        assert_eq!(&archive[BLOCK..BLOCK + 5], b"hello");
    }
}
