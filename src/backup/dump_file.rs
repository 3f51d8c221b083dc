//! The file of a backup. It has its final name only when it is complete: until then it is written under another one, and
//! removed unless it is kept.

use age::{stream::StreamWriter, x25519::Recipient};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

/// The encryption of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cipher {
    /// None.
    Plain,
    /// age, for this recipient (C2SP.org/age).
    Age(Recipient),
}

/// The end of the name of an incomplete file.
const INCOMPLETE: &str = ".incomplete";

/// An incomplete file. Dropping it removes it.
pub(super) struct DumpFile {
    incomplete: PathBuf,
    path: PathBuf,
    /// The directories that were created for it, from the top.
    created_directories: Vec<PathBuf>,
    /// `None` only while it is finished.
    writer: Option<DumpWriter>,
}

enum DumpWriter {
    Plain(HashedFile),
    Encrypted(Box<StreamWriter<HashedFile>>),
}

/// The bytes that are in a complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) bytes: u64,
    /// SHA-256 in hexadecimal.
    pub(super) sha256: String,
}

/// A file with the digest of its content.
struct HashedFile {
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.bytes += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DumpFile {
    /// Creates the incomplete file, and its directory if there is none.
    pub(super) fn create(path: &Path, cipher: &Cipher) -> io::Result<Self> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut created_directories = Vec::new();
        let owner = create_directory(directory_of(path), &mut created_directories)?;
        let mut name = path.as_os_str().to_owned();
        name.push(INCOMPLETE);
        let incomplete = PathBuf::from(name);
        // One that a killed run left behind.
        if let Err(error) = fs::remove_file(&incomplete)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&incomplete)?;
        owner.take_over(&incomplete)?;
        let mut created = Self { incomplete, path: path.to_owned(), created_directories, writer: None };
        let hashed = HashedFile { file, digest: Sha256::new(), bytes: 0 };
        created.writer = Some(match cipher {
            Cipher::Plain => DumpWriter::Plain(hashed),
            Cipher::Age(recipient) => DumpWriter::Encrypted(Box::new(encrypted(hashed, recipient)?)),
        });
        Ok(created)
    }

    /// Writes the next bytes of the dump.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            Some(DumpWriter::Plain(file)) => file.write_all(bytes),
            Some(DumpWriter::Encrypted(stream)) => stream.write_all(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Completes the file, and gives it its final name once it is on the disk.
    pub(super) fn keep(mut self) -> io::Result<FileFacts> {
        let HashedFile { file, digest, bytes } = match self.writer.take() {
            Some(DumpWriter::Plain(file)) => file,
            Some(DumpWriter::Encrypted(stream)) => stream.finish()?,
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        file.sync_all()?;
        // A hard link, unlike a renaming, never replaces a file that has appeared meanwhile.
        match fs::hard_link(&self.incomplete, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => fs::rename(&self.incomplete, &self.path)?,
            linked => linked?,
        }
        File::open(directory_of(&self.path))?.sync_all()?;
        Ok(FileFacts { bytes, sha256: hex::encode(digest.finalize()) })
    }
}

impl Drop for DumpFile {
    fn drop(&mut self) {
        // There may be none: then there is nothing to remove.
        fs::remove_file(&self.incomplete).unwrap_or_default();
        // One with a complete file stays.
        for directory in self.created_directories.iter().rev() {
            fs::remove_dir(directory).unwrap_or_default();
        }
    }
}

impl fmt::Debug for DumpFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DumpFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The owner of a directory. An action in a container runs as root, and the other steps of its job do not: they could
/// neither read nor remove what is root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirectoryOwner {
    user: u32,
    group: u32,
}

impl DirectoryOwner {
    fn of(directory: &Path) -> io::Result<Self> {
        let found = fs::metadata(directory)?;
        Ok(Self { user: found.uid(), group: found.gid() })
    }

    /// Makes a new file or directory its own.
    fn take_over(self, path: &Path) -> io::Result<()> {
        match Self::of(path)? == self {
            true => Ok(()),
            false => chown(path, Some(self.user), Some(self.group)),
        }
    }
}

/// Creates the directory, with those above it that are missing, for the owner of the first that is there.
fn create_directory(directory: &Path, created: &mut Vec<PathBuf>) -> io::Result<DirectoryOwner> {
    match DirectoryOwner::of(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let owner = create_directory(directory_of(directory), created)?;
            fs::create_dir(directory)?;
            created.push(directory.to_owned());
            owner.take_over(directory)?;
            Ok(owner)
        }
        found => found,
    }
}

fn encrypted(file: HashedFile, recipient: &Recipient) -> io::Result<StreamWriter<HashedFile>> {
    let recipients = [recipient as &dyn age::Recipient];
    let encryptor = age::Encryptor::with_recipients(recipients.into_iter());
    encryptor.map_err(|error| io::Error::other(error.to_string()))?.wrap_output(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read as _, os::unix::fs::PermissionsExt as _};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_complete() {
        let home = tempfile::tempdir().unwrap();
        let (directory, path) = (home.path().join("new"), home.path().join("new/a.dump"));
        let mut file = DumpFile::create(&path, &Cipher::Plain).unwrap();
        file.write(b"PGDMP").unwrap();
        assert_eq!(names(&directory), ["a.dump.incomplete"]);
        drop(file);
        assert!(!directory.exists(), "it was made for the file");
        let mut file = DumpFile::create(&path, &Cipher::Plain).unwrap();
        file.write(b"PGDMP").unwrap();
        let facts = file.keep().unwrap();
        assert_eq!((names(&directory), facts.bytes), (vec!["a.dump".to_owned()], 5));
        assert_eq!(facts.sha256, hex::encode(Sha256::digest(b"PGDMP")));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = DumpFile::create(&path, &Cipher::Plain).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn an_encrypted_file_is_read_with_the_key_alone() {
        let home = tempfile::tempdir().unwrap();
        let (path, key) = (home.path().join("a.dump.age"), age::x25519::Identity::generate());
        let content = vec![7_u8; 200_000];
        let mut file = DumpFile::create(&path, &Cipher::Age(key.to_public())).unwrap();
        content.chunks(9_000).for_each(|chunk| file.write(chunk).unwrap());
        let facts = file.keep().unwrap();
        let stored = fs::read(&path).unwrap();
        assert_eq!(facts.sha256, hex::encode(Sha256::digest(&stored)));
        let open = |identity: &age::x25519::Identity| {
            let decryptor = age::Decryptor::new(&stored[..]).unwrap();
            decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map(|mut stream| {
                let mut text = Vec::new();
                stream.read_to_end(&mut text).unwrap();
                text
            })
        };
        assert_eq!(open(&key).unwrap(), content);
        assert!(open(&age::x25519::Identity::generate()).is_err());
    }
}
