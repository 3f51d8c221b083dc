//! The plan of a takeover: the files that the ledger of another tool has as applied, checked one by one.

use super::compare::{PlanRules, row_conflict};
use crate::{
    fault::{Code, Fault},
    layout::{RecordedMigration, is_same_name},
    ledger::SourceLedger,
    migrate::{FormerRecord, Migration},
    settings::Policy,
};
use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

/// Number of versions that a fault names.
const SHOWN: usize = 10;

/// Returns the files that the other ledger has and ours has not, the newest first: should the run be interrupted, the
/// next `migrate` finds files before an applied one, and refuses them.
///
/// # Errors
///
/// Every reason to refuse; each kind names all versions that it is about.
pub fn find_taken_over(
    files: Vec<Migration>,
    (source, rows): (&SourceLedger, &[RecordedMigration]),
    recorded: &[RecordedMigration],
    rules: &PlanRules,
) -> Result<Vec<Migration>, Vec<Fault>> {
    let takeover = Takeover { source, rows, recorded, rules };
    let by_version: HashMap<&str, &Migration> = files.iter().map(|file| (file.id.version.as_str(), file)).collect();
    let own = recorded.iter().filter_map(|row| row_conflict(rules, row, by_version.get(row.version.as_str()).copied()));
    let faults: Vec<Fault> = own
        .chain(takeover.is_empty_fault())
        .chain(takeover.dirty_faults())
        .chain(takeover.in_use_fault())
        .chain(takeover.missing_files_fault(&by_version))
        .chain(takeover.other_names_fault(&by_version))
        .chain(takeover.in_between_fault(&files))
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let of_source: HashSet<&str> = rows.iter().map(|row| row.version.as_str()).collect();
    let is_recorded = |file: &Migration| recorded.iter().any(|row| row.version == file.id.version);
    let taken_over =
        files.into_iter().filter(|file| of_source.contains(file.id.version.as_str()) && !is_recorded(file));
    let mut taken_over: Vec<Migration> = taken_over.map(|file| file.into_recorded(FormerRecord::default())).collect();
    taken_over.sort_by(|left, right| rules.layout.compare_versions(&right.id.version, &left.id.version));
    Ok(taken_over)
}

/// Reports whether the takeover of these rows was interrupted: our ledger has some of them and nothing else, and a file
/// of another one is not recorded. `versions` are those of all files.
#[must_use]
pub fn is_unfinished_takeover(source: &[RecordedMigration], recorded: &[RecordedMigration], versions: &[&str]) -> bool {
    let of_source: HashSet<&str> = source.iter().map(|row| row.version.as_str()).collect();
    let own: HashSet<&str> = recorded.iter().map(|row| row.version.as_str()).collect();
    !own.is_empty()
        && own.is_subset(&of_source)
        && versions.iter().any(|version| of_source.contains(version) && !own.contains(version))
}

struct Takeover<'a> {
    source: &'a SourceLedger,
    rows: &'a [RecordedMigration],
    recorded: &'a [RecordedMigration],
    rules: &'a PlanRules,
}

impl Takeover<'_> {
    fn describe_source(&self) -> String {
        format!("`{}`, the ledger of {}", self.source.table, self.source.tool.name())
    }

    fn is_empty_fault(&self) -> Option<Fault> {
        self.rows.is_empty().then(|| {
            Fault::new(Code::TakeoverRefused, format!("{} has no rows", self.describe_source()))
                .fix("run `command: migrate` without `from`: according to that ledger nothing is applied")
        })
    }

    fn dirty_faults(&self) -> impl Iterator<Item = Fault> {
        self.rows.iter().filter(|row| !row.success).map(|row| {
            let (version, tool) = (&row.version, self.source.tool.name());
            let cause =
                format!("according to {}, version {version} was started and not finished", self.describe_source());
            let fix = format!("finish it with {tool}, or undo it there, and run again");
            Fault::new(Code::LedgerDirty, cause).fix(fix)
        })
    }

    /// Returns the fault of our own ledger that has more than the other one: the takeover was done before.
    fn in_use_fault(&self) -> Option<Fault> {
        let is_of_source = |row: &&RecordedMigration| self.rows.iter().any(|other| other.version == row.version);
        let own: Vec<String> = self.recorded.iter().filter(|row| !is_of_source(row)).map(describe_row).collect();
        (!own.is_empty()).then(|| {
            let cause = format!(
                "our ledger `{}` is in use already: it has {}, and {} has not",
                self.rules.ledger,
                list_versions(&own),
                self.describe_source()
            );
            Fault::new(Code::TakeoverRefused, cause)
                .fix("run `command: migrate` without `from`: our own ledger is continued, and the other one is not read any more")
        })
    }

    fn missing_files_fault(&self, by_version: &HashMap<&str, &Migration>) -> Option<Fault> {
        let gone = self.rows.iter().filter(|row| !by_version.contains_key(row.version.as_str()));
        let gone: Vec<String> = gone.map(describe_row).collect();
        (!gone.is_empty() && self.rules.missing == Policy::Refuse).then(|| {
            let cause =
                format!("{} has {} as applied, and there is no file for it", self.describe_source(), list_versions(&gone));
            Fault::new(Code::FileMissing, cause).fix(
                "give each migration that was applied a file with its version, as in `0007_name.sql`; if some were squashed, or have no \
                 place among plain files, set `missing: ignore`, which records only those that have a file",
            )
        })
    }

    fn other_names_fault(&self, by_version: &HashMap<&str, &Migration>) -> Option<Fault> {
        let differing = self.rows.iter().filter_map(|row| {
            let file = by_version.get(row.version.as_str())?;
            let differs = !is_same_name(&row.name, &file.id.name) && !self.is_implied(row);
            differs.then(|| format!("version {} is `{}` there, and here `{}`", row.version, row.name, file.id.file))
        });
        let differing: Vec<String> = differing.collect();
        (!differing.is_empty()).then(|| {
            let shown = differing.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            let cause = format!("{} has other names than the files: {shown}{}", self.describe_source(), and_more(&differing));
            Fault::new(Code::TakeoverRefused, cause).fix(
                "if these are the same migrations, rename the files to the names that the ledger has; if not, check that `migrations` and \
                 `database-url` belong together",
            )
        })
    }

    /// Reports whether a row has the name of a baseline, which several versions share.
    fn is_implied(&self, row: &RecordedMigration) -> bool {
        self.rows.iter().filter(|other| other.name == row.name).count() > 1
    }

    fn in_between_fault(&self, files: &[Migration]) -> Option<Fault> {
        let layout = self.rules.layout;
        let versions = self.rows.iter().map(|row| row.version.as_str());
        let newest = versions.max_by(|left, right| layout.compare_versions(left, right))?;
        let has_version = |version: &str| self.rows.iter().any(|row| row.version == version);
        let between = files.iter().filter(|file| {
            layout.compare_versions(&file.id.version, newest) == Ordering::Less && !has_version(&file.id.version)
        });
        let between: Vec<String> = between.map(|file| format!("`{}`", file.id.file)).collect();
        (!between.is_empty() && self.rules.out_of_order == Policy::Refuse).then(|| {
            let cause = format!(
                "{} come before version {newest}, the newest in {}, which does not have them",
                list_versions(&between),
                self.describe_source()
            );
            Fault::new(Code::OutOfOrder, cause).fix(format!(
                "give what is not applied a version after {newest}; record what is applied with {} first; or set `out-of-order: allow`, \
                 which leaves it pending",
                self.source.tool.name()
            ))
        })
    }
}

fn describe_row(row: &RecordedMigration) -> String {
    match row.name.as_str() {
        "" => format!("version {}", row.version),
        name => format!("version {} (`{name}`)", row.version),
    }
}

fn list_versions(names: &[String]) -> String {
    format!("{}{}", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "), and_more(names))
}

fn and_more(names: &[String]) -> String {
    match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(versions: &[&str]) -> Vec<RecordedMigration> {
        let row = |version: &&str| RecordedMigration {
            version: (*version).to_owned(),
            name: String::new(),
            checksum: None,
            success: true,
            took_ms: 0,
            origin: None,
        };
        versions.iter().map(row).collect()
    }

    #[test]
    fn a_takeover_is_unfinished_while_our_ledger_has_only_a_part_of_the_other_one() {
        for (source, own, files, unfinished) in [
            (&["1", "2"][..], &["2"][..], &["1", "2", "3"][..], true),
            (&["1", "2"], &["1", "2"], &["1", "2"], false),
            // It has not begun.
            (&["1", "2"], &[], &["1", "2"], false),
            // Our own ledger has been continued.
            (&["1", "2"], &["2", "3"], &["1", "2", "3"], false),
            // What is missing is not in the other ledger.
            (&["2"], &["2"], &["1", "2"], false),
            // What is missing has no file.
            (&["1", "2"], &["2"], &["2"], false),
        ] {
            let found = is_unfinished_takeover(&rows(source), &rows(own), files);
            assert_eq!(found, unfinished, "{source:?} {own:?} {files:?}");
        }
    }
}
