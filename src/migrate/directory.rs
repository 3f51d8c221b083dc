//! The migrations directory: the only place here that touches the disk.

use super::{
    checksum::Checksum,
    file::Content,
    layout::{Direction, FileName, Files, Found, duplicates, gaps, layout_of},
};
use crate::{
    fault::{Code, Fault, Place},
    input::SqlSettings,
    ledger::Layout,
    run::event::MigrationId,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Reads every migration of the directory. Subdirectories, hidden files and other endings than `.sql` are left alone.
///
/// # Errors
///
/// All that is wrong with the directory, the names and the files.
pub fn read(settings: &SqlSettings) -> Result<Files, Vec<Fault>> {
    let listing = list(settings).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for path in listing.files {
        entries.extend(Entry::named(settings, path).map_err(|fault| faults.push(fault)));
    }
    let names: Vec<&FileName> = entries.iter().map(|entry| &entry.name).collect();
    let layout = layout_of(settings.layout, &names);
    if layout == Some(Layout::Plain) {
        faults.extend(entries.iter().filter_map(Entry::two_way));
    }
    entries.retain(|entry| entry.name.direction != Direction::Down);
    if entries.is_empty() && faults.is_empty() {
        return Err(vec![empty(settings, &listing.directories)]);
    }
    entries.sort_by(|a, b| (a.name.version, &a.file).cmp(&(b.name.version, &b.file)));
    let ids: Vec<MigrationId> = entries.iter().map(Entry::id).collect();
    faults.extend(duplicates(&ids));
    faults.extend(gaps(&ids, settings.gaps));
    let mut found = Vec::new();
    for (entry, id) in entries.iter().zip(ids) {
        found.extend(entry.read(id).map_err(|more| faults.extend(more)));
    }
    if faults.is_empty() { Ok(Files { layout, found }) } else { Err(faults) }
}

/// What the directory holds, sorted.
#[derive(Debug, Default)]
struct Listing {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

fn list(settings: &SqlSettings) -> Result<Listing, Fault> {
    let written = &settings.migrations;
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(Code::FilesMissing, format!("the directory `{written}` named by `migrations` does not exist"))
        }
        io::ErrorKind::NotADirectory => {
            Fault::new(Code::FilesMissing, format!("`{written}` named by `migrations` is not a directory"))
        }
        _ => Fault::new(Code::FileUnreadable, format!("the directory `{written}` can't be read")).because(&error),
    };
    let mut listing = Listing::default();
    for entry in fs::read_dir(&settings.directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        match (is_hidden(&path), path.is_dir()) {
            (false, true) => listing.directories.push(path),
            (false, false) if is_sql(&path) => listing.files.push(path),
            _ => {}
        }
    }
    listing.files.sort();
    listing.directories.sort();
    Ok(listing)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql"))
}

/// No migration; one in a subdirectory is the usual reason.
fn empty(settings: &SqlSettings, directories: &[PathBuf]) -> Fault {
    let fault = Fault::new(Code::FilesEmpty, format!("the directory `{}` has no migration in it", settings.migrations));
    let holds_sql = |directory: &&PathBuf| {
        fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(|entry| is_sql(&entry.path())))
    };
    match directories.iter().find(holds_sql).and_then(|directory| directory.file_name()) {
        Some(name) => {
            let path = written_path(settings, &name.to_string_lossy());
            fault
                .detail(format!("`{path}` has SQL files, but subdirectories are not read"))
                .fix(format!("set `migrations: {path}`, or move the files up"))
        }
        None => fault,
    }
}

/// The path of a file in the directory, as the user would write it.
fn written_path(settings: &SqlSettings, name: &str) -> String {
    match settings.migrations.trim_end_matches('/') {
        "." => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// A file of the directory whose name can be read.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    /// The path as the user would write it.
    file: String,
    name: FileName,
}

impl Entry {
    fn named(settings: &SqlSettings, path: PathBuf) -> Result<Self, Fault> {
        let file_name = path.file_name().unwrap_or_default();
        let file = written_path(settings, &file_name.to_string_lossy());
        let read = file_name.to_str().ok_or("is not UTF-8").and_then(FileName::read);
        match read {
            Ok(name) => Ok(Self { path, file, name }),
            Err(why) => {
                let fault = Fault::new(Code::FileName, format!("the name of `{file}` {why}"));
                Err(fault.in_file(Place::whole(&file)))
            }
        }
    }

    fn id(&self) -> MigrationId {
        MigrationId {
            version: self.name.version,
            name: self.name.name.clone(),
            file: self.file.clone(),
            schema: String::new(),
        }
    }

    /// A plain file has no way back: `.down.sql` would be run like any other.
    fn two_way(&self) -> Option<Fault> {
        let ending = match self.name.direction {
            Direction::Only => return None,
            Direction::Up => ".up.sql",
            Direction::Down => ".down.sql",
        };
        let fault = Fault::new(Code::FileName, format!("`{}` ends in `{ending}`, which plain files don't", self.file));
        Some(
            fault
                .fix("set `layout: sqlx` if sqlx keeps the ledger; else drop the `.up` and move the `.down.sql` files away")
                .in_file(Place::whole(&self.file)),
        )
    }

    fn read(&self, id: MigrationId) -> Result<Found, Vec<Fault>> {
        let bytes = fs::read(&self.path).map_err(|error| {
            let fault = Fault::new(Code::FileUnreadable, format!("`{}` can't be read", self.file)).because(&error);
            vec![fault.in_file(Place::whole(&self.file))]
        })?;
        let (plain, sqlx) = (Checksum::plain(&bytes), Checksum::sqlx(&bytes));
        // The bytes become the text: a second copy would be as long as the file.
        Ok(Found { id, content: Content::read(&self.file, bytes)?, plain, sqlx })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{LayoutChoice, Policy};
    use tempfile::TempDir;

    fn directory(files: &[(&str, &str)]) -> (TempDir, SqlSettings) {
        let directory = TempDir::new().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let settings = SqlSettings {
            migrations: "db/migrations/".to_owned(),
            directory: directory.path().to_owned(),
            layout: LayoutChoice::Auto,
            ledger_table: None,
            target: None,
            out_of_order: Policy::Refuse,
            gaps: Policy::Allow,
        };
        (directory, settings)
    }

    fn causes(settings: &SqlSettings) -> Vec<(Code, String)> {
        read(settings).unwrap_err().into_iter().map(|fault| (fault.code, fault.cause)).collect()
    }

    #[test]
    fn reads_what_is_a_migration_and_nothing_else() {
        let (_kept, settings) = directory(&[
            ("10_b.sql", "SELECT 2;"),
            ("0002_a_c.sql", "SELECT 1;"),
            ("README.md", "hello"),
            (".hidden.sql", "?"),
            ("old/1_x.sql", "?"),
        ]);
        let files = read(&settings).unwrap();
        assert_eq!(files.layout(), None);
        let migrations = files.into_migrations(Layout::Plain);
        let ids: Vec<_> = migrations.iter().map(|m| (m.id.version, m.id.name.as_str(), m.id.file.as_str())).collect();
        assert_eq!(ids, [(2, "a_c", "db/migrations/0002_a_c.sql"), (10, "b", "db/migrations/10_b.sql")]);
        assert_eq!(migrations[0].checksum, Checksum::plain(b"SELECT 1;"));
        assert_eq!(migrations[0].description(), "a c");
    }

    #[test]
    fn reads_the_files_of_sqlx_without_the_way_back() {
        let (_kept, settings) =
            directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "'"), ("2_b.sql", "SELECT 2;")]);
        let files = read(&settings).unwrap();
        assert_eq!(files.layout(), Some(Layout::Sqlx));
        let migrations = files.into_migrations(Layout::Sqlx);
        let names: Vec<_> = migrations.iter().map(|m| m.id.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(migrations[0].checksum, Checksum::sqlx(b"SELECT 1;"));
    }

    #[test]
    fn never_runs_the_way_back_as_a_plain_file() {
        let (_kept, mut settings) = directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "DROP TABLE t;")]);
        settings.layout = LayoutChoice::Plain;
        let expected = [
            (Code::FileName, "`db/migrations/1_a.down.sql` ends in `.down.sql`, which plain files don't".to_owned()),
            (Code::FileName, "`db/migrations/1_a.up.sql` ends in `.up.sql`, which plain files don't".to_owned()),
        ];
        assert_eq!(causes(&settings), expected);
    }

    #[test]
    fn a_directory_with_only_ways_back_is_empty() {
        let (_kept, settings) = directory(&[("1_a.down.sql", "DROP TABLE t;")]);
        assert_eq!(causes(&settings)[0].0, Code::FilesEmpty);
    }

    #[test]
    fn tells_all_that_is_wrong_at_once() {
        let (kept, mut settings) =
            directory(&[("V1__x.sql", ""), ("1_a.sql", "COMMIT;"), ("01_b.sql", "SELECT '"), ("4_c.sql", "\\i x")]);
        settings.gaps = Policy::Refuse;
        fs::write(kept.path().join("5_d.sql"), b"\xff").unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", kept.path().join("6_e.sql")).unwrap();
        let codes: Vec<_> = causes(&settings).into_iter().map(|(code, _)| code).collect();
        let expected = [
            Code::FileName,
            Code::VersionDuplicate,
            Code::VersionGap,
            Code::FileSyntax,
            Code::OwnTransaction,
            Code::PsqlCommand,
            Code::FileNotUtf8,
            Code::FileUnreadable,
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn reads_a_file_behind_a_link() {
        let (kept, settings) = directory(&[]);
        let elsewhere = TempDir::new().unwrap();
        fs::write(elsewhere.path().join("x"), "SELECT 1;").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("x"), kept.path().join("1_a.sql")).unwrap();
        assert_eq!(read(&settings).unwrap().into_migrations(Layout::Plain)[0].body, "SELECT 1;");
    }

    #[test]
    fn says_when_the_directory_is_not_there() {
        let (kept, mut settings) = directory(&[("file", "")]);
        settings.directory = kept.path().join("missing");
        assert_eq!(causes(&settings)[0].0, Code::FilesMissing);
        settings.directory = kept.path().join("file");
        let (code, cause) = causes(&settings).remove(0);
        assert_eq!(code, Code::FilesMissing);
        assert!(cause.contains("not a directory"), "{cause}");
    }

    #[test]
    fn points_to_the_subdirectory_that_has_the_files() {
        let (_kept, settings) = directory(&[("README.md", ""), ("a/notes.txt", ""), ("postgres/1_a.sql", "")]);
        let fault = read(&settings).unwrap_err().remove(0);
        assert_eq!(fault.code, Code::FilesEmpty);
        assert!(fault.fix.contains("`migrations: db/migrations/postgres`"), "{}", fault.fix);
    }
}
