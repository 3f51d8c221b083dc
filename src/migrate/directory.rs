//! Reads the migrations directory. Nothing else in `migrate` touches the disk.

use super::{
    blocks::unreadable,
    files::{LoadedFile, MigrationFiles},
    parsed_file::ParsedFile,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    layout::{self, Application, ChecksumDigest, Direction, FileName, Fit, Layout, LayoutChoice},
    run::MigrationId,
    settings::{Policy, SqlSettings},
};
use std::{
    cmp::Ordering,
    fs, io,
    path::{Path, PathBuf},
};

/// Reads every migration of the directory. Ignores hidden files, endings other than `.sql`, and subdirectories, but
/// warns about a subdirectory with SQL files.
///
/// # Errors
///
/// Every fault of the directory, the names and the files.
pub fn read_directory(settings: &SqlSettings) -> Result<MigrationFiles, Vec<Fault>> {
    let listing = list_directory(settings).map_err(|fault| vec![fault])?;
    if let Some(layout_fault) = refuse_directory_layout(settings, &listing) {
        return Err(vec![layout_fault]);
    }
    let NameReading { layouts, first, mut entries, mut faults } = read_names(settings, &listing.files);
    entries.retain(|entry| entry.name.direction != Direction::Down);
    if entries.is_empty() && faults.is_empty() {
        return Err(vec![no_migrations_fault(settings, &listing.directories)]);
    }
    entries.sort_by(|a, b| first.compare_versions(&a.name.version, &b.name.version).then_with(|| a.file.cmp(&b.file)));
    let ids: Vec<MigrationId> = (1..).zip(&entries).map(|(index, entry)| entry.migration_id(index)).collect();
    faults.extend(duplicate_versions(&ids));
    if settings.gaps == Policy::Refuse {
        faults.extend(version_gaps(first, &ids));
    }
    let warnings =
        unread_subdirectories(settings, &listing.directories).into_iter().chain(text_order_warning(&entries)).collect();
    let mut found = Vec::new();
    for (entry, id) in entries.iter().zip(ids) {
        found.extend(entry.load_file(id, &layouts).map_err(|file_faults| faults.extend(file_faults)));
    }
    let application = layouts.iter().find_map(|layout| {
        let file = layout.find_application(Path::new(&settings.migrations), &settings.directory)?;
        Some(Application { layout: *layout, file })
    });
    if faults.is_empty() { Ok(MigrationFiles { layouts, application, files: found, warnings }) } else { Err(faults) }
}

/// The file names, parsed by the layouts that they fit.
struct NameReading {
    layouts: Vec<Layout>,
    /// The preferred one of them, which parsed the names.
    first: Layout,
    entries: Vec<NamedFile>,
    faults: Vec<Fault>,
}

/// Parses the names by the layout that is set. With `auto` every layout is tried, and those that fit best are kept.
fn read_names(settings: &SqlSettings, files: &[PathBuf]) -> NameReading {
    let [preferred, others @ ..] = layout::ALL;
    let (first, others) = match settings.layout {
        LayoutChoice::Named(layout) => (layout, &[][..]),
        LayoutChoice::Auto => (preferred, &others[..]),
    };
    let mut best = NameReading::of(first, settings, files);
    for layout in others {
        let reading = NameReading::of(*layout, settings, files);
        match reading.rank().cmp(&best.rank()) {
            Ordering::Greater => best = reading,
            Ordering::Equal => best.layouts.push(*layout),
            Ordering::Less => {}
        }
    }
    best
}

impl NameReading {
    fn of(layout: Layout, settings: &SqlSettings, files: &[PathBuf]) -> Self {
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for path in files {
            entries.extend(NamedFile::from_path(layout, settings, path).map_err(|fault| faults.push(fault)));
        }
        faults.extend(entries.iter().filter_map(|entry: &NamedFile| entry.refusal_fault(layout)));
        Self { layouts: vec![layout], first: layout, entries, faults }
    }

    /// Returns the rank of the layout: names that only this layout has count most, then whether it can parse all of
    /// them.
    fn rank(&self) -> (bool, bool) {
        let names: Vec<&FileName> = self.entries.iter().map(|entry| &entry.name).collect();
        (self.first.fit_names(&names) == Fit::Certain, self.faults.is_empty())
    }
}

/// Returns a fault for each pair of files with one version. `ids` are in the order of their versions.
fn duplicate_versions(ids: &[MigrationId]) -> impl Iterator<Item = Fault> {
    let pairs = ids.iter().zip(ids.iter().skip(1));
    pairs.filter(|(first, second)| first.version == second.version).map(|(first, second)| {
        let cause = format!("`{}` and `{}` both have version {}", first.file, second.file, first.version);
        Fault::new(Code::VersionDuplicate, cause).in_file(FilePosition::of_file(&second.file))
    })
}

/// Returns a fault for each version that is left out. `ids` are in the order of their versions; files before the first
/// of them were perhaps squashed.
fn version_gaps(layout: Layout, ids: &[MigrationId]) -> impl Iterator<Item = Fault> {
    ids.iter().zip(ids.iter().skip(1)).filter_map(move |(before, after)| {
        let missing = layout.first_gap(&before.version, &after.version)?;
        let cause = format!("version {missing} is missing between `{}` and `{}`", before.file, after.file);
        Some(Fault::new(Code::VersionGap, cause).in_file(FilePosition::of_file(&after.file)))
    })
}

/// Layouts in which each migration is a directory: the file in it, the owner of the layout, and the fix.
const DIRECTORY_LAYOUTS: [(&str, &str, &str); 2] = [
    (
        "migration.sql",
        "Prisma's",
        "have Prisma apply them: set `tool: prisma` and `executor: image` with `image`, or `executor: server`",
    ),
    (
        "up.sql",
        "Diesel's",
        "have Diesel apply them: set `tool: custom`, `run: diesel migration run` and `executor: image` with `image`, or \
         `executor: server`",
    ),
];

/// Returns the fault for a layout in which each migration is a directory. `migrations` may name the directory of all
/// migrations, its parent, or a single migration. Reading the files one by one would start a second ledger besides the
/// tool's own.
fn refuse_directory_layout(settings: &SqlSettings, listing: &DirectoryListing) -> Option<Fault> {
    let has_file = |directory: &Path, file: &str| directory.join(file).is_file();
    let subdirectories = |directory: &PathBuf| directories_of(directory).unwrap_or_default();
    DIRECTORY_LAYOUTS.into_iter().find_map(|(file, tool, fix)| {
        let find_in = |directories: &[PathBuf]| directories.iter().find(|directory| has_file(directory, file)).cloned();
        let in_directory = || has_file(&settings.directory, file).then(|| settings.directory.join(file));
        let in_subdirectory = || listing.directories.iter().find_map(|directory| find_in(&subdirectories(directory)));
        let example = if listing.files.is_empty() {
            find_in(&listing.directories).or_else(in_subdirectory).map(|directory| directory.join(file))
        } else {
            in_directory()
        }?;
        let relative_path = example.strip_prefix(&settings.directory).unwrap_or(&example).to_string_lossy().into_owned();
        let cause = format!(
            "the layout of `{}` is {tool}: each migration is a directory with a file `{file}`, and this layout is not supported",
            settings.migrations
        );
        Some(Fault::new(Code::FilesEmpty, cause).detail(format!("as in `{}`", written_path(settings, &relative_path))).fix(fix))
    })
}

/// Returns a warning for each subdirectory with SQL files.
fn unread_subdirectories(settings: &SqlSettings, directories: &[PathBuf]) -> Vec<Fault> {
    let fault = |directory: &PathBuf| {
        let files = fs::read_dir(directory).ok()?.flatten().filter(|entry| is_sql(&entry.path())).count();
        let path = written_path(settings, &directory.file_name()?.to_string_lossy());
        let cause = match files {
            0 => return None,
            1 => format!("`{path}` has a SQL file in it that is not read"),
            count => format!("`{path}` has {count} SQL files in it that are not read"),
        };
        Some(Fault::new(Code::FilesLeftOut, cause))
    };
    directories.iter().filter_map(fault).collect()
}

/// Returns a warning for dates of different lengths, which a tool that sorts names as text would order differently.
/// `entries` are in the order of their numbers.
fn text_order_warning(entries: &[NamedFile]) -> Option<Fault> {
    let dated: Vec<(&str, &str)> =
        entries.iter().filter_map(|entry| Some((entry.date_digits()?, entry.file_name()))).collect();
    let mut by_text = dated.clone();
    by_text.sort_by_key(|(_, name)| *name);
    let ((number, name), (other_number, other_name)) =
        dated.iter().zip(&by_text).find(|(by_number, by_text)| by_number != by_text)?;
    let join_names = |dated: &[(&str, &str)]| {
        let names: Vec<String> = dated.iter().take(SHOWN_NAMES).map(|(_, name)| format!("`{name}`")).collect();
        format!("{}{}", names.join(", "), if dated.len() > SHOWN_NAMES { ", …" } else { "" })
    };
    let cause = format!(
        "`{name}` has a number of {} digits and `{other_name}` one of {}: sorted by number `{name}` comes first, and sorted by text, \
         as Prisma, dbmate and Rails do, `{other_name}`",
        number.len(),
        other_number.len()
    );
    let fault = Fault::new(Code::VersionOrder, cause).detail(format!("by number, as here: {}", join_names(&dated)));
    Some(fault.detail(format!("by text: {}", join_names(&by_text))))
}

/// Number of names of an order that are shown.
const SHOWN_NAMES: usize = 6;

/// The content of the directory, sorted.
#[derive(Debug, Default)]
struct DirectoryListing {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

fn list_directory(settings: &SqlSettings) -> Result<DirectoryListing, Fault> {
    let given_path = &settings.migrations;
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(Code::FilesMissing, format!("the directory `{given_path}` named by `migrations` does not exist"))
        }
        io::ErrorKind::NotADirectory => {
            Fault::new(Code::FilesMissing, format!("`{given_path}` named by `migrations` is not a directory"))
        }
        _ => {
            Fault::new(Code::FileUnreadable, format!("the directory `{given_path}` can't be read")).with_causes(&error)
        }
    };
    let mut listing = DirectoryListing::default();
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

fn directories_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    directories.retain(|path| path.is_dir() && !is_hidden(path));
    directories.sort();
    Ok(directories)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql"))
}

/// Returns the fault for a directory without migrations; usually they are in a subdirectory.
fn no_migrations_fault(settings: &SqlSettings, directories: &[PathBuf]) -> Fault {
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

/// Returns the path of a file in the directory, as the user would write it.
fn written_path(settings: &SqlSettings, name: &str) -> String {
    match settings.migrations.trim_end_matches('/') {
        "." => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// A file of the directory and its parsed name.
#[derive(Debug)]
struct NamedFile {
    path: PathBuf,
    /// The path as the user would write it.
    file: String,
    name: FileName,
}

impl NamedFile {
    fn from_path(layout: Layout, settings: &SqlSettings, path: &Path) -> Result<Self, Fault> {
        let file_name = path.file_name().unwrap_or_default();
        let file = written_path(settings, &file_name.to_string_lossy());
        let name = file_name.to_str().ok_or_else(|| "is not UTF-8".to_owned());
        match name.and_then(|name| layout.read_file_name(name)) {
            Ok(name) => Ok(Self { path: path.to_owned(), file, name }),
            Err(reason) => {
                let fault = Fault::new(Code::FileName, format!("the name of `{file}` {reason}"));
                Err(fault.in_file(FilePosition::of_file(&file)))
            }
        }
    }

    fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the number as written, if it is a date: 8 digits for a day, 14 with the time of day.
    fn date_digits(&self) -> Option<&str> {
        let number = self.file_name().split('_').next()?;
        let is_date = (8..=17).contains(&number.len()) && (number.starts_with("19") || number.starts_with("20"));
        Some(number).filter(|_| is_date)
    }

    fn migration_id(&self, index: usize) -> MigrationId {
        MigrationId {
            index,
            version: self.name.version.clone(),
            name: self.name.name.clone(),
            file: self.file.clone(),
            ..MigrationId::default()
        }
    }

    fn refusal_fault(&self, layout: Layout) -> Option<Fault> {
        let (cause, fix) = layout.refuse_name(&self.name)?;
        let fault = Fault::new(Code::FileName, format!("`{}` {cause}", self.file));
        Some(fault.fix(fix).in_file(FilePosition::of_file(&self.file)))
    }

    fn load_file(&self, id: MigrationId, layouts: &[Layout]) -> Result<LoadedFile, Vec<Fault>> {
        let mut digests: Vec<(Layout, ChecksumDigest)> =
            layouts.iter().map(|layout| (*layout, layout.start_checksum())).collect();
        let see_bytes = |bytes: &[u8]| digests.iter_mut().for_each(|(_, digest)| digest.update(bytes));
        let content = self.parse(see_bytes)?;
        let checksums = digests.into_iter().map(|(layout, digest)| (layout, digest.finish())).collect();
        Ok(LoadedFile { id, content, checksums })
    }

    fn parse(&self, mut see_bytes: impl FnMut(&[u8])) -> Result<ParsedFile, Vec<Fault>> {
        let fault = |error: io::Error| vec![unreadable(&self.file, &error)];
        if fs::metadata(&self.path).map_err(fault)?.len() > LONG_FILE_BYTES {
            return ParsedFile::from_long_file(&self.path, &self.file, see_bytes);
        }
        let bytes = fs::read(&self.path).map_err(fault)?;
        see_bytes(&bytes);
        ParsedFile::from_bytes(&self.file, bytes)
    }
}

/// The length in bytes above which a file is not held in memory.
const LONG_FILE_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
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

    fn layout_named(layout: &str) -> Layout {
        Layout::by_name(layout).unwrap()
    }

    fn causes(settings: &SqlSettings) -> Vec<(Code, String)> {
        read_directory(settings).unwrap_err().into_iter().map(|fault| (fault.code, fault.cause)).collect()
    }

    #[test]
    fn reads_only_migrations() {
        let (_kept, settings) = directory(&[
            ("10_b.sql", "SELECT 2;"),
            ("0002_a_c.sql", "SELECT 1;"),
            ("README.md", "hello"),
            (".hidden.sql", "?"),
            ("old/1_x.sql", "?"),
        ]);
        let files = read_directory(&settings).unwrap();
        assert_eq!(files.layouts(), layout::ALL);
        let migrations = files.into_migrations(layout_named("plain")).unwrap();
        let ids: Vec<_> =
            migrations.iter().map(|m| (m.id.version.as_str(), m.id.name.as_str(), m.id.file.as_str())).collect();
        assert_eq!(ids, [("2", "a_c", "db/migrations/0002_a_c.sql"), ("10", "b", "db/migrations/10_b.sql")]);
        assert_eq!(migrations[0].checksum, layout_named("plain").checksum(b"SELECT 1;"));
        assert_eq!(migrations[0].sqlx_description(), "a c");
    }

    #[test]
    fn ignores_down_files_of_sqlx() {
        let (_kept, settings) =
            directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "'"), ("2_b.sql", "SELECT 2;")]);
        let files = read_directory(&settings).unwrap();
        assert_eq!(files.layouts(), [layout_named("sqlx")]);
        let migrations = files.into_migrations(layout_named("sqlx")).unwrap();
        let names: Vec<_> = migrations.iter().map(|m| m.id.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(migrations[0].checksum, layout_named("sqlx").checksum(b"SELECT 1;"));
    }

    #[test]
    fn never_runs_a_down_file_as_a_plain_file() {
        let (_kept, mut settings) = directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "DROP TABLE t;")]);
        settings.layout = LayoutChoice::Named(layout_named("plain"));
        let expected = [
            (Code::FileName, "`db/migrations/1_a.down.sql` ends in `.down.sql`, which plain files don't".to_owned()),
            (Code::FileName, "`db/migrations/1_a.up.sql` ends in `.up.sql`, which plain files don't".to_owned()),
        ];
        assert_eq!(causes(&settings), expected);
    }

    #[test]
    fn a_directory_with_only_down_files_is_empty() {
        let (_kept, settings) = directory(&[("1_a.down.sql", "DROP TABLE t;")]);
        assert_eq!(causes(&settings)[0].0, Code::FilesEmpty);
    }

    #[test]
    fn reports_all_faults_at_once() {
        let (temp_dir, mut settings) =
            directory(&[("V1__x.sql", ""), ("1_a.sql", "COMMIT;"), ("01_b.sql", "SELECT '"), ("4_c.sql", "\\i x")]);
        settings.gaps = Policy::Refuse;
        fs::write(temp_dir.path().join("5_d.sql"), b"\xff").unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", temp_dir.path().join("6_e.sql")).unwrap();
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
        let (temp_dir, settings) = directory(&[]);
        let elsewhere = TempDir::new().unwrap();
        fs::write(elsewhere.path().join("x"), "SELECT 1;").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("x"), temp_dir.path().join("1_a.sql")).unwrap();
        assert_eq!(
            read_directory(&settings).unwrap().into_migrations(layout_named("plain")).unwrap()[0].text(),
            "SELECT 1;"
        );
    }

    #[test]
    fn reports_a_missing_directory() {
        let (temp_dir, mut settings) = directory(&[("file", "")]);
        settings.directory = temp_dir.path().join("missing");
        assert_eq!(causes(&settings)[0].0, Code::FilesMissing);
        settings.directory = temp_dir.path().join("file");
        let (code, cause) = causes(&settings).remove(0);
        assert_eq!(code, Code::FilesMissing);
        assert!(cause.contains("not a directory"), "{cause}");
    }

    #[test]
    fn names_the_layout_in_which_each_migration_is_a_directory() {
        for (files, owner, tool) in [
            (["0001_a/up.sql", "0001_a/down.sql"], "Diesel's", "`run: diesel migration run`"),
            (["20230518191501_init/migration.sql", "migration_lock.toml"], "Prisma's", "`tool: prisma`"),
            (["migrations/20230518191501_init/migration.sql", "schema.prisma"], "Prisma's", "`tool: prisma`"),
            (["migration.sql", "notes.md"], "Prisma's", "`tool: prisma`"),
            (["up.sql", "down.sql"], "Diesel's", "`run: diesel migration run`"),
        ] {
            let (_kept, settings) = directory(&files.map(|file| (file, "select 1;")));
            let faults = read_directory(&settings).unwrap_err();
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!(fault.code, Code::FilesEmpty);
            assert!(fault.cause.contains(owner) && fault.fix.contains(tool), "{fault:?}");
            assert!(!fault.fix.contains("migrations:"), "{}", fault.fix);
        }
    }

    fn numbered(versions: &[&str]) -> Vec<MigrationId> {
        let id = |(index, version): (usize, &&str)| MigrationId {
            index,
            version: (*version).to_owned(),
            name: "a".to_owned(),
            file: format!("{version}_a.sql"),
            ..MigrationId::default()
        };
        (1..).zip(versions).map(id).collect()
    }

    #[test]
    fn names_every_gap_of_a_consecutive_numbering() {
        let ids = numbered(&["3", "4", "6", "9", "20240101", "20240301"]);
        let causes: Vec<_> = version_gaps(layout_named("plain"), &ids).map(|fault| fault.cause).collect();
        assert_eq!(
            causes,
            [
                "version 5 is missing between `4_a.sql` and `6_a.sql`",
                "version 7 is missing between `6_a.sql` and `9_a.sql`"
            ]
        );
    }

    #[test]
    fn names_both_files_of_one_version() {
        let mut ids = numbered(&["1", "2", "2"]);
        ids[2].file = "0002_b.sql".to_owned();
        let causes: Vec<_> = duplicate_versions(&ids).map(|fault| fault.cause).collect();
        assert_eq!(causes, ["`2_a.sql` and `0002_b.sql` both have version 2"]);
    }

    fn warnings_of(files: &[&str]) -> Vec<Fault> {
        let files: Vec<(&str, &str)> = files.iter().map(|file| (*file, "select 1;")).collect();
        let (_kept, settings) = directory(&files);
        read_directory(&settings).unwrap().warnings().to_vec()
    }

    #[test]
    fn warns_about_sql_files_in_a_subdirectory() {
        let found_faults =
            warnings_of(&["1_a.sql", "old/2_b.sql", "old/3_c.SQL", "one/4_d.sql", "notes/x.md", ".git/5_e.sql"]);
        let causes: Vec<_> = found_faults.iter().map(|fault| (fault.code, fault.cause.as_str())).collect();
        let expected = [
            (Code::FilesLeftOut, "`db/migrations/old` has 2 SQL files in it that are not read"),
            (Code::FilesLeftOut, "`db/migrations/one` has a SQL file in it that is not read"),
        ];
        assert_eq!(causes, expected);
    }

    #[test]
    fn warns_about_dates_of_different_lengths_that_sort_differently_as_text() {
        let found_faults = warnings_of(&["20250624000000_a.sql", "20250625_b.sql", "20250626000000_c.sql"]);
        let [fault] = found_faults.as_slice() else { panic!("{found_faults:?}") };
        assert_eq!(fault.code, Code::VersionOrder);
        let phrases = ["`20250625_b.sql` has a number of 8 digits", "`20250624000000_a.sql` one of 14"];
        assert!(phrases.iter().all(|phrase| fault.cause.contains(phrase)), "{}", fault.cause);
        let orders = [
            "by number, as here: `20250625_b.sql`, `20250624000000_a.sql`, `20250626000000_c.sql`",
            "by text: `20250624000000_a.sql`, `20250625_b.sql`, `20250626000000_c.sql`",
        ];
        assert_eq!(fault.detail, orders);
        for fine in [
            ["20250624000000_a.sql", "20250625000000_b.sql"],
            ["20250624_a.sql", "20250625000000_b.sql"],
            ["2_a.sql", "10_b.sql"],
            ["0009_a.sql", "20250625_b.sql"],
        ] {
            assert_eq!(warnings_of(&fine), [], "{fine:?}");
        }
    }

    #[test]
    fn names_the_subdirectory_that_has_the_files() {
        let (_kept, settings) = directory(&[("README.md", ""), ("a/notes.txt", ""), ("postgres/1_a.sql", "")]);
        let fault = read_directory(&settings).unwrap_err().remove(0);
        assert_eq!(fault.code, Code::FilesEmpty);
        assert!(fault.fix.contains("`migrations: db/migrations/postgres`"), "{}", fault.fix);
    }
}
