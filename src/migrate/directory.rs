//! The migrations directory: the only place here that touches the disk.

use super::{
    checksum::Checksum,
    file::Content,
    layout::{Direction, FileName, Files, Found, duplicates, gaps, layout_of},
    sqlx_project,
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

/// Reads every migration of the directory. Hidden files and other endings than `.sql` are left alone, and so are
/// subdirectories; if one has SQL files in it, that is among the doubts.
///
/// # Errors
///
/// All that is wrong with the directory, the names and the files.
pub fn read(settings: &SqlSettings) -> Result<Files, Vec<Fault>> {
    let listing = list(settings).map_err(|fault| vec![fault])?;
    if let Some(foreign) = foreign(settings, &listing) {
        return Err(vec![foreign]);
    }
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
    let doubts = left_out(settings, &listing.directories).into_iter().chain(other_by_text(&entries)).collect();
    let mut found = Vec::new();
    for (entry, id) in entries.iter().zip(ids) {
        found.extend(entry.read(id).map_err(|more| faults.extend(more)));
    }
    let sqlx_project = sqlx_project::find(settings);
    if faults.is_empty() { Ok(Files { layout, sqlx_project, found, doubts }) } else { Err(faults) }
}

/// A migration that is a directory: what the file in it is called, who lays it out so, and what applies it.
const FOREIGN: [(&str, &str, &str); 2] = [
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

/// The fault for a layout in which each migration is a directory: `migrations` may name the whole, what it is in, or one
/// migration of it. To read its files one by one would begin a second ledger beside the tool's own.
fn foreign(settings: &SqlSettings, listing: &Listing) -> Option<Fault> {
    let has = |directory: &Path, file: &str| directory.join(file).is_file();
    let below = |directory: &PathBuf| directories_of(directory).unwrap_or_default();
    FOREIGN.into_iter().find_map(|(file, whose, fix)| {
        let hit = |directories: &[PathBuf]| directories.iter().find(|directory| has(directory, file)).cloned();
        let alone = || has(&settings.directory, file).then(|| settings.directory.join(file));
        let inside = || listing.directories.iter().find_map(|directory| hit(&below(directory)));
        let example = if listing.files.is_empty() {
            hit(&listing.directories).or_else(inside).map(|directory| directory.join(file))
        } else {
            alone()
        }?;
        let shown = example.strip_prefix(&settings.directory).unwrap_or(&example).to_string_lossy().into_owned();
        let cause = format!(
            "the layout of `{}` is {whose}: each migration is a directory with `{file}` in it, and that layout is not read",
            settings.migrations
        );
        Some(Fault::new(Code::FilesEmpty, cause).detail(format!("as in `{}`", written_path(settings, &shown))).fix(fix))
    })
}

/// A warning for each subdirectory with SQL files in it.
fn left_out(settings: &SqlSettings, directories: &[PathBuf]) -> Vec<Fault> {
    let fault = |directory: &PathBuf| {
        let files = fs::read_dir(directory).ok()?.flatten().filter(|entry| is_sql(&entry.path())).count();
        let path = written_path(settings, &directory.file_name()?.to_string_lossy());
        let cause = match files {
            0 => return None,
            1 => format!("`{path}` has a SQL file in it that is not read"),
            several => format!("`{path}` has {several} SQL files in it that are not read"),
        };
        Some(Fault::new(Code::FilesLeftOut, cause))
    };
    directories.iter().filter_map(fault).collect()
}

/// A warning for dates of several lengths: a tool that sorts names by text has them in another order. `entries` are in the
/// order of their numbers.
fn other_by_text(entries: &[Entry]) -> Option<Fault> {
    let dated: Vec<(&str, &str)> =
        entries.iter().filter_map(|entry| Some((entry.date()?, entry.file_name()))).collect();
    let mut by_text = dated.clone();
    by_text.sort_by_key(|(_, name)| *name);
    let ((number, name), (other_number, other)) = dated.iter().zip(&by_text).find(|(one, other)| one != other)?;
    let order = |dated: &[(&str, &str)]| {
        let names: Vec<String> = dated.iter().take(SHOWN).map(|(_, name)| format!("`{name}`")).collect();
        format!("{}{}", names.join(", "), if dated.len() > SHOWN { ", …" } else { "" })
    };
    let cause = format!(
        "`{name}` has a number of {} digits and `{other}` one of {}: sorted by number `{name}` comes first, and sorted by text, \
         as Prisma, dbmate and Rails do, `{other}`",
        number.len(),
        other_number.len()
    );
    let fault = Fault::new(Code::VersionOrder, cause).detail(format!("by number, as here: {}", order(&dated)));
    Some(fault.detail(format!("by text: {}", order(&by_text))))
}

/// Names of an order that are shown.
const SHOWN: usize = 6;

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

    fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The number as it is written, if it is a date: with the day alone it has 8 digits, with seconds 14.
    fn date(&self) -> Option<&str> {
        let number = self.file_name().split('_').next()?;
        let is_date = (8..=17).contains(&number.len()) && (number.starts_with("19") || number.starts_with("20"));
        Some(number).filter(|_| is_date)
    }

    fn id(&self) -> MigrationId {
        MigrationId {
            version: self.name.version,
            name: self.name.name.clone(),
            file: self.file.clone(),
            ..MigrationId::default()
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
    fn names_the_layout_in_which_each_migration_is_a_directory() {
        for (files, whose, tool) in [
            (["0001_a/up.sql", "0001_a/down.sql"], "Diesel's", "`run: diesel migration run`"),
            (["20230518191501_init/migration.sql", "migration_lock.toml"], "Prisma's", "`tool: prisma`"),
            (["migrations/20230518191501_init/migration.sql", "schema.prisma"], "Prisma's", "`tool: prisma`"),
            (["migration.sql", "notes.md"], "Prisma's", "`tool: prisma`"),
            (["up.sql", "down.sql"], "Diesel's", "`run: diesel migration run`"),
        ] {
            let (_kept, settings) = directory(&files.map(|file| (file, "select 1;")));
            let faults = read(&settings).unwrap_err();
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!(fault.code, Code::FilesEmpty);
            assert!(fault.cause.contains(whose) && fault.fix.contains(tool), "{fault:?}");
            assert!(!fault.fix.contains("migrations:"), "{}", fault.fix);
        }
    }

    fn doubts(files: &[&str]) -> Vec<Fault> {
        let files: Vec<(&str, &str)> = files.iter().map(|file| (*file, "select 1;")).collect();
        let (_kept, settings) = directory(&files);
        read(&settings).unwrap().doubts().to_vec()
    }

    #[test]
    fn sql_in_a_subdirectory_is_not_left_out_without_a_word() {
        let said = doubts(&["1_a.sql", "old/2_b.sql", "old/3_c.SQL", "one/4_d.sql", "notes/x.md", ".git/5_e.sql"]);
        let causes: Vec<_> = said.iter().map(|fault| (fault.code, fault.cause.as_str())).collect();
        let expected = [
            (Code::FilesLeftOut, "`db/migrations/old` has 2 SQL files in it that are not read"),
            (Code::FilesLeftOut, "`db/migrations/one` has a SQL file in it that is not read"),
        ];
        assert_eq!(causes, expected);
    }

    #[test]
    fn dates_of_several_lengths_are_doubted_where_text_sorts_them_otherwise() {
        let said = doubts(&["20250624000000_a.sql", "20250625_b.sql", "20250626000000_c.sql"]);
        let [fault] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(fault.code, Code::VersionOrder);
        let both = ["`20250625_b.sql` has a number of 8 digits", "`20250624000000_a.sql` one of 14"];
        assert!(both.iter().all(|words| fault.cause.contains(words)), "{}", fault.cause);
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
            assert_eq!(doubts(&fine), [], "{fine:?}");
        }
    }

    #[test]
    fn points_to_the_subdirectory_that_has_the_files() {
        let (_kept, settings) = directory(&[("README.md", ""), ("a/notes.txt", ""), ("postgres/1_a.sql", "")]);
        let fault = read(&settings).unwrap_err().remove(0);
        assert_eq!(fault.code, Code::FilesEmpty);
        assert!(fault.fix.contains("`migrations: db/migrations/postgres`"), "{}", fault.fix);
    }
}
