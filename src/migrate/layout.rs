//! How a directory's files are named, and whose ledger goes with it.

use super::{
    checksum::Checksum,
    file::{Content, Migration},
};
use crate::{
    fault::{Code, Fault, Place},
    input::{LayoutChoice, Policy},
    ledger::Layout,
    run::event::MigrationId,
};

/// The layout of files with these names. With `auto`, names of the plain form fit both: nothing, until a ledger in the
/// database decides.
pub(super) fn layout_of(choice: LayoutChoice, names: &[&FileName]) -> Option<Layout> {
    match choice {
        LayoutChoice::Plain => Some(Layout::Plain),
        LayoutChoice::Sqlx => Some(Layout::Sqlx),
        LayoutChoice::Auto => names.iter().any(|name| name.direction != Direction::Only).then_some(Layout::Sqlx),
    }
}

/// The migrations of a directory.
#[derive(Debug)]
pub struct Files {
    pub(super) layout: Option<Layout>,
    pub(super) sqlx_project: Option<String>,
    /// In the order of their versions.
    pub(super) found: Vec<Found>,
    pub(super) doubts: Vec<Fault>,
}

/// A migration file that has been read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: MigrationId,
    pub(super) content: Content,
    pub(super) plain: Checksum,
    pub(super) sqlx: Checksum,
}

impl Files {
    /// The layout, unless only a ledger can tell.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The file that says that an application applies these files with sqlx by itself, as the user would write its path.
    #[must_use]
    pub fn sqlx_project(&self) -> Option<&str> {
        self.sqlx_project.as_deref()
    }

    /// What may not be meant as it is read; each is a warning.
    #[must_use]
    pub fn doubts(&self) -> &[Fault] {
        &self.doubts
    }

    /// The migrations, in the order of their versions, with the checksums of this layout.
    #[must_use]
    pub fn into_migrations(self, layout: Layout) -> Vec<Migration> {
        let migration = |found: Found| Migration {
            id: found.id,
            body: found.content.body,
            work: found.content.work,
            modes: found.content.modes,
            remark: found.content.remark,
            leaves_traces: found.content.leaves_traces,
            checksum: match layout {
                Layout::Plain => found.plain,
                Layout::Sqlx => found.sqlx,
            },
        };
        self.found.into_iter().map(migration).collect()
    }
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// There is no way back.
    Only,
    /// `.up.sql`
    Up,
    /// `.down.sql`; never run here.
    Down,
}

/// A file's name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) version: i64,
    pub(super) name: String,
    pub(super) direction: Direction,
}

impl FileName {
    /// Reads `<number>_<name>.sql`, `.up.sql` or `.down.sql`.
    ///
    /// # Errors
    ///
    /// Why it can't be read, to follow the file's name in a sentence.
    pub(super) fn read(file_name: &str) -> Result<Self, &'static str> {
        let stem = file_name.strip_suffix(".sql").ok_or("does not end in `.sql` in lower case")?;
        let (stem, direction) = match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
            (Some(up), _) => (up, Direction::Up),
            (None, Some(down)) => (down, Direction::Down),
            (None, None) => (stem, Direction::Only),
        };
        let (number, name) = stem.split_once('_').ok_or("has no `_` after its number")?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("does not begin with a number and `_`");
        }
        if name.is_empty() {
            return Err("has no name after its number");
        }
        let version = number.parse().map_err(|_too_large| "has a number above 9223372036854775807")?;
        Ok(Self { version, name: name.to_owned(), direction })
    }
}

/// From here on a number is a date or a timestamp, and those leave gaps: 19700101 is the smallest of the form `YYYYMMDD`.
const FIRST_DATE: i64 = 19_700_101;

/// The numbers that are left out of a consecutive numbering. `ids` are in the order of their versions; what is missing
/// before the first of them was perhaps squashed.
pub(super) fn gaps(ids: &[MigrationId], policy: Policy) -> Vec<Fault> {
    if policy == Policy::Allow {
        return Vec::new();
    }
    let neighbours = ids.iter().zip(ids.iter().skip(1));
    let gaps = neighbours.filter(|(before, after)| after.version < FIRST_DATE && after.version - before.version > 1);
    gaps.map(|(before, after)| {
        let missing = before.version + 1;
        Fault::new(
            Code::VersionGap,
            format!("version {missing} is missing between `{}` and `{}`", before.file, after.file),
        )
        .in_file(Place::whole(&after.file))
    })
    .collect()
}

/// Files that have one version. `ids` are in the order of their versions.
pub(super) fn duplicates(ids: &[MigrationId]) -> Vec<Fault> {
    let neighbours = ids.iter().zip(ids.iter().skip(1));
    let same = neighbours.filter(|(first, second)| first.version == second.version);
    same.map(|(first, second)| {
        Fault::new(
            Code::VersionDuplicate,
            format!("`{}` and `{}` both have version {}", first.file, second.file, first.version),
        )
        .in_file(Place::whole(&second.file))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::MigrationId;

    fn read(name: &str) -> (i64, String, Direction) {
        let read = FileName::read(name).unwrap();
        (read.version, read.name, read.direction)
    }

    fn id(version: i64) -> MigrationId {
        MigrationId { version, name: "a".to_owned(), file: format!("{version}_a.sql"), ..MigrationId::default() }
    }

    #[test]
    fn reads_names_with_any_number() {
        assert_eq!(read("0001_create_users.sql"), (1, "create_users".to_owned(), Direction::Only));
        assert_eq!(read("20240131120000_x.up.sql"), (20_240_131_120_000, "x".to_owned(), Direction::Up));
        assert_eq!(read("2_x.down.sql"), (2, "x".to_owned(), Direction::Down));
        assert_eq!(read("0_größe v1.2.sql"), (0, "größe v1.2".to_owned(), Direction::Only));
        assert_eq!(read("9223372036854775807_x.sql").0, i64::MAX);
    }

    #[test]
    fn says_what_is_wrong_with_a_name() {
        for (name, why) in [
            ("V1__x.sql", "does not begin"),
            ("create.sql", "has no `_`"),
            ("0001-x.sql", "has no `_`"),
            ("0001_.sql", "has no name"),
            ("0001_.up.sql", "has no name"),
            ("+1_x.sql", "does not begin"),
            ("_x.sql", "does not begin"),
            ("0001_x.SQL", "lower case"),
            ("9223372036854775808_x.sql", "above"),
        ] {
            assert!(FileName::read(name).unwrap_err().contains(why), "{name}");
        }
    }

    #[test]
    fn auto_decides_only_by_names_that_one_layout_has() {
        let plain = FileName::read("1_a.sql").unwrap();
        let up = FileName::read("2_a.up.sql").unwrap();
        let down = FileName::read("2_a.down.sql").unwrap();
        assert_eq!(layout_of(LayoutChoice::Auto, &[&plain]), None);
        assert_eq!(layout_of(LayoutChoice::Auto, &[&plain, &up]), Some(Layout::Sqlx));
        assert_eq!(layout_of(LayoutChoice::Auto, &[&plain, &down]), Some(Layout::Sqlx));
        assert_eq!(layout_of(LayoutChoice::Plain, &[&plain]), Some(Layout::Plain));
        assert_eq!(layout_of(LayoutChoice::Sqlx, &[&plain]), Some(Layout::Sqlx));
    }

    #[test]
    fn names_every_gap_of_a_consecutive_numbering() {
        let ids = [id(3), id(4), id(6), id(9), id(20_240_101), id(20_240_301)];
        let causes: Vec<_> = gaps(&ids, Policy::Refuse).into_iter().map(|fault| fault.cause).collect();
        assert_eq!(
            causes,
            [
                "version 5 is missing between `4_a.sql` and `6_a.sql`",
                "version 7 is missing between `6_a.sql` and `9_a.sql`"
            ]
        );
        assert!(gaps(&ids, Policy::Allow).is_empty());
    }

    #[test]
    fn names_both_files_of_one_version() {
        let ids = [id(1), id(2), MigrationId { file: "0002_b.sql".to_owned(), ..id(2) }];
        let faults = duplicates(&ids);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].cause, "`2_a.sql` and `0002_b.sql` both have version 2");
    }
}
