//! Archives for the engine: a few small files in directories of ours.

use std::{collections::BTreeSet, io};
use tar::{Builder, EntryType, Header};

/// Permissions of a directory and of a file: readable by everybody, because the image may run as any user.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;

/// The use of the files in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileUse {
    /// They are read.
    Read,
    /// They are programs.
    Run,
}

/// Returns an archive of these files, given as (absolute path, content), and of their directories: owned by root,
/// readable by everybody, and executable if they are programs.
///
/// # Errors
///
/// A path that is too long for an archive, or not valid in one.
pub(crate) fn tar_archive(files: &[(String, Vec<u8>)], usage: FileUse) -> io::Result<Vec<u8>> {
    let relative = |path: &str| path.trim_start_matches('/').to_owned();
    let directories = files.iter().filter_map(|(path, _)| Some(relative(path).rsplit_once('/')?.0.to_owned()));
    let mut archive = Builder::new(Vec::new());
    for directory in directories.collect::<BTreeSet<String>>() {
        let mut header = header_of(EntryType::Directory, DIRECTORY_MODE, 0);
        archive.append_data(&mut header, format!("{directory}/"), io::empty())?;
    }
    let mode = match usage {
        FileUse::Read => FILE_MODE,
        FileUse::Run => PROGRAM_MODE,
    };
    for (path, content) in files {
        let mut header = header_of(EntryType::Regular, mode, content.len() as u64);
        archive.append_data(&mut header, relative(path), content.as_slice())?;
    }
    archive.into_inner()
}

fn header_of(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use tar::Archive;

    #[test]
    fn contains_the_files_and_their_directories_for_every_user_to_read() {
        let files = [("/run/x/ca.pem".to_owned(), b"hello".to_vec()), ("/run/x/b".to_owned(), Vec::new())];
        let archive = tar_archive(&files, FileUse::Read).unwrap();
        let mut entries = Vec::new();
        for entry in Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            entries.push((path, header.mode().unwrap(), header.entry_type(), content));
        }
        let expected = [
            ("run/x/", DIRECTORY_MODE, EntryType::Directory, ""),
            ("run/x/ca.pem", FILE_MODE, EntryType::Regular, "hello"),
            ("run/x/b", FILE_MODE, EntryType::Regular, ""),
        ];
        assert_eq!(entries, expected.map(|(path, mode, kind, text)| (path.to_owned(), mode, kind, text.to_owned())));
        let program = tar_archive(&[("/relay".to_owned(), b"x".to_vec())], FileUse::Run).unwrap();
        let mut program = Archive::new(program.as_slice());
        let modes = program.entries().unwrap().map(|entry| entry.unwrap().header().mode().unwrap());
        assert_eq!(modes.collect::<Vec<_>>(), [PROGRAM_MODE]);
    }

    #[test]
    fn a_path_of_any_length_arrives_whole_or_not_at_all() {
        let long = format!("/run/{}", "x".repeat(300));
        match tar_archive(&[(long.clone(), b"a".to_vec())], FileUse::Run) {
            Err(_) => {}
            Ok(archive) => {
                let mut archive = Archive::new(archive.as_slice());
                let paths = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
                assert!(paths.into_iter().any(|path| path.to_string_lossy() == long.trim_start_matches('/')));
            }
        }
    }
}
