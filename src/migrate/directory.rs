//! Reads the migrations directory. Nothing else in `migrate` touches the disk.

use super::{
    detection::Detection,
    files::MigrationFiles,
    listing::{DirectoryListing, is_sql, written_path},
    named_file::{FilePlace, LeftOutFile, NameReading, NamedFile},
};
use crate::{
    fault::{Code, Fault, FilePosition},
    layout::{Depth, FileRole, Layout},
    run::{FILES_OF_DIRECTORIES, MigrationId},
    settings::{Policy, SqlSettings},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// Reads every migration of the directory. Ignores hidden files, and files that are no migrations of the layout, but
/// warns about SQL files among them.
///
/// # Errors
///
/// Every fault of the directory, the names and the files.
pub fn read_directory(settings: &SqlSettings) -> Result<MigrationFiles, Vec<Fault>> {
    let Detection { reading, candidates, application, listing } =
        Detection::of(settings).map_err(|fault| vec![fault])?;
    let NameReading { layout, mut entries, left_out, unreadable: _, mut faults } = reading;
    let unused = candidates.iter().map(|layout| unused_inputs(settings, *layout)).min_by_key(Vec::len);
    if let Some(unused) = unused.filter(|unused| !unused.is_empty()) {
        return Err(unused);
    }
    if let Some(fault) = wrong_directory(settings, &listing).filter(|_| entries.is_empty()) {
        return Err(vec![fault]);
    }
    entries.sort_by(|a, b| layout.compare_versions(&a.name.version, &b.name.version).then_with(|| a.file.cmp(&b.file)));
    let (downs, entries): (Vec<NamedFile>, Vec<NamedFile>) =
        entries.into_iter().partition(|entry| entry.name.role == FileRole::Down);
    if entries.is_empty() && faults.is_empty() {
        return Err(vec![no_migrations_fault(settings, &listing.directories)]);
    }
    let ids: Vec<MigrationId> = (1..).zip(&entries).map(|(index, entry)| entry.migration_id(index)).collect();
    faults.extend(duplicate_versions(&ids));
    faults.extend(duplicate_downs(&downs));
    if settings.gaps == Policy::Refuse {
        faults.extend(version_gaps(layout, &ids));
    }
    let warnings =
        left_out_warnings(layout, &left_out).into_iter().chain(text_order_warning(layout, &entries)).collect();
    drop((listing, left_out));
    let downs: HashMap<&str, &NamedFile> = downs.iter().map(|down| (down.name.version.as_str(), down)).collect();
    let (mut files, mut programs) = (Vec::new(), Vec::new());
    for (entry, id) in entries.into_iter().zip(ids) {
        if entry.applies_sql() {
            let down = downs.get(id.version.as_str()).copied();
            files.extend(
                entry
                    .load_file(id, (layout, &settings.placeholders), down)
                    .map_err(|file_faults| faults.extend(file_faults)),
            );
        } else {
            programs.push(id);
        }
    }
    if faults.is_empty() {
        Ok(MigrationFiles { layout, candidates, application, files, programs, warnings })
    } else {
        Err(faults)
    }
}

/// Returns the faults of inputs that have no effect with this layout.
#[must_use]
pub fn unused_inputs(settings: &SqlSettings, layout: Layout) -> Vec<Fault> {
    let (name, mut faults) = (layout.name(), Vec::new());
    if !settings.placeholders.is_empty() && !layout.has_placeholders() {
        let cause = format!("`placeholders` has no effect with the layout {name}, whose files are sent as they are");
        let fix = "remove `placeholders`, or set `layout: flyway` or `layout: goose` if that tool's files these are";
        faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    if !settings.more_locations.is_empty() && !layout.merges_locations() {
        let cause = format!("`migrations` has several directories, and {name} has one: only Flyway merges several");
        let fix = "name one directory, or set `layout: flyway` if these are Flyway's locations";
        faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    faults
}

/// Returns a fault for each pair of files with one version. `ids` are in the order of their versions.
fn duplicate_versions(ids: &[MigrationId]) -> impl Iterator<Item = Fault> {
    let pairs = ids.iter().zip(ids.iter().skip(1));
    pairs.filter(|(first, second)| first.version == second.version).map(|(first, second)| {
        let cause = format!("`{}` and `{}` both have version {}", first.file, second.file, first.version);
        Fault::new(Code::VersionDuplicate, cause).in_file(FilePosition::of_file(&second.file))
    })
}

/// Returns a fault for each pair of files that undo one version. They are in the order of their versions.
fn duplicate_downs(downs: &[NamedFile]) -> impl Iterator<Item = Fault> {
    let pairs = downs.iter().zip(downs.iter().skip(1));
    pairs.filter(|(first, second)| first.name.version == second.name.version).map(|(first, second)| {
        let cause = format!("`{}` and `{}` both undo version {}", first.file, second.file, first.name.version);
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

/// Returns the fault if `migrations` names the parent of such a layout's directory, or a single migration.
fn wrong_directory(settings: &SqlSettings, listing: &DirectoryListing) -> Option<Fault> {
    let fault = |example: &Path, fix: String| {
        let relative_path = example.strip_prefix(&settings.directory).unwrap_or(example).to_string_lossy();
        let cause = format!("the directory `{}` has no migration in it", settings.migrations);
        let detail = format!("each migration is a directory, as in `{}`", written_path(settings, &relative_path));
        Some(Fault::new(Code::FilesEmpty, cause).detail(detail).fix(fix))
    };
    FILES_OF_DIRECTORIES.into_iter().find_map(|file| {
        if let Some(listed) = listing.files.iter().find(|listed| listed.relative_path.as_deref() == Some(file)) {
            let written = Path::new(settings.migrations.trim_end_matches('/'));
            let parent = written.parent().map_or_else(String::new, |parent| parent.to_string_lossy().into_owned());
            return fault(
                &listed.path,
                format!("set `migrations: {}`", if parent.is_empty() { ".." } else { &parent }),
            );
        }
        listing.directories.iter().find_map(|directory| {
            let example = directories_of(directory).into_iter().find(|below| below.join(file).is_file())?.join(file);
            let path = written_path(settings, &directory.file_name()?.to_string_lossy());
            fault(&example, format!("set `migrations: {path}`"))
        })
    })
}

fn directories_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    directories.sort();
    directories
}

/// Returns a warning for each subdirectory with SQL files that are not read, and for each such file beside the
/// migrations.
fn left_out_warnings(layout: Layout, left_out: &[LeftOutFile]) -> Vec<Fault> {
    let mut by_directory: BTreeMap<(&str, FilePlace), Vec<&str>> = BTreeMap::new();
    for LeftOutFile { file, place } in left_out {
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        by_directory.entry((directory, *place)).or_default().push(file);
    }
    let fault = |((path, place), files): ((&str, FilePlace), Vec<&str>)| {
        let cause = match (place, files.as_slice()) {
            (FilePlace::Beside, [file]) => format!("`{file}` is not read: {} does not read it", layout.name()),
            (FilePlace::Beside, [file, ..]) => format!(
                "`{file}` and {} more SQL files are not read: {} does not read them",
                files.len() - 1,
                layout.name()
            ),
            (_, [_]) => format!("`{path}` has a SQL file in it that is not read"),
            _ => format!("`{path}` has {} SQL files in it that are not read", files.len()),
        };
        Fault::new(Code::FilesLeftOut, cause)
    };
    by_directory.into_iter().map(fault).collect()
}

/// Returns a warning for dates of different lengths, if a tool that sorts names as text would order them differently.
/// `entries` are in the order of their versions.
fn text_order_warning(layout: Layout, entries: &[NamedFile]) -> Option<Fault> {
    if layout.depth() != Depth::Flat {
        return None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout::LayoutChoice, migrate::Migration, settings::Placeholders};
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
            missing: Policy::Refuse,
            tenants: None,
            from: None,
            more_locations: Vec::new(),
            placeholders: Placeholders::default(),
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
        assert_eq!(files.candidates().first(), Some(&layout_named("plain")));
        assert!(files.candidates().contains(&layout_named("sqlx")), "{:?}", files.candidates());
        let migrations = files.into_migrations().0;
        let ids: Vec<_> =
            migrations.iter().map(|m| (m.id.version.as_str(), m.id.name.as_str(), m.id.file.as_str())).collect();
        assert_eq!(ids, [("2", "a_c", "db/migrations/0002_a_c.sql"), ("10", "b", "db/migrations/10_b.sql")]);
        assert_eq!(migrations[0].checksum, layout_named("plain").checksum(b"SELECT 1;"));
    }

    fn migrations(settings: &SqlSettings) -> Vec<Migration> {
        read_directory(settings).unwrap().into_migrations().0
    }

    #[test]
    fn down_files_are_the_ways_back() {
        let (_kept, mut settings) =
            directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "'"), ("2_b.sql", "SELECT 2;")]);
        assert_eq!(read_directory(&settings).unwrap().candidates(), [layout_named("sqlx")]);
        settings.layout = LayoutChoice::Named(layout_named("sqlx"));
        let migrations = migrations(&settings);
        let names: Vec<_> = migrations
            .iter()
            .map(|m| (m.id.name.as_str(), m.way_back.as_ref().map(|way_back| way_back.file.as_str())))
            .collect();
        assert_eq!(names, [("a", Some("db/migrations/1_a.down.sql")), ("b", None)]);
        assert_eq!(migrations[0].checksum, layout_named("sqlx").checksum(b"SELECT 1;"));
        let plain = directory(&[("1_a.sql", "SELECT 1;"), ("1_a.down.sql", "'")]);
        assert_eq!(read_directory(&plain.1).unwrap().candidates().first(), Some(&layout_named("plain")));
    }

    #[test]
    fn never_runs_a_file_with_a_direction_as_a_plain_file() {
        let (_kept, mut settings) = directory(&[("1_a.up.sql", "SELECT 1;"), ("1_a.down.sql", "DROP TABLE t;")]);
        settings.layout = LayoutChoice::Named(layout_named("plain"));
        let expected =
            [(Code::FileName, "`db/migrations/1_a.up.sql` ends in `.up.sql`, which plain files don't".to_owned())];
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
        assert_eq!(migrations(&settings)[0].text(), "SELECT 1;");
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
