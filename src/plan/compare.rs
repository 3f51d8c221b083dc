//! Compares the files with the ledger: returns the plan, or every reason to refuse it.

use crate::{
    fault::{Code, Fault, FilePosition},
    layout::{Layout, RecordedMigration, Table},
    migrate::Migration,
    run::{MigrationId, PlanAction},
    settings::Policy,
};
use sha2::{Digest as _, Sha256};
use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

/// The rules for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRules {
    /// The layout, to which the order of the versions belongs.
    pub layout: Layout,
    /// The ledger.
    pub ledger: Table,
    /// Migrations that are programs which only the layout's tool can run.
    pub programs: Vec<MigrationId>,
    /// The last version that is applied, as the user wrote it.
    pub target: Option<String>,
    /// The policy for pending files that sort before an applied one.
    pub out_of_order: Policy,
    /// The policy for applied versions without a file.
    pub missing: Policy,
}

impl PlanRules {
    /// Returns the newest version before this one, of a file or of a program.
    pub(super) fn version_before(&self, files: &[Migration], version: &str) -> Option<String> {
        let all = files.iter().map(|file| &file.id.version).chain(self.programs.iter().map(|program| &program.version));
        let before = all.filter(|other| self.layout.compare_versions(other, version) == Ordering::Less);
        before.max_by(|left, right| self.layout.compare_versions(left, right)).cloned()
    }
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The migrations to apply, in the order of their versions.
    pub pending: Vec<&'a Migration>,
    /// Number of migrations in the ledger.
    pub recorded: usize,
}

/// Compares the files with the ledger. The order of neither matters.
///
/// # Errors
///
/// Every reason to refuse.
pub fn compare_with_ledger<'a>(
    files: &'a [Migration],
    recorded: &[RecordedMigration],
    rules: &PlanRules,
) -> Result<Plan<'a>, Vec<Fault>> {
    let layout = rules.layout;
    let by_version: HashMap<&str, &Migration> = files.iter().map(|file| (file.id.version.as_str(), file)).collect();
    let mut ledger: Vec<&RecordedMigration> = recorded.iter().collect();
    ledger.sort_by(|left, right| layout.compare_versions(&left.version, &right.version));
    let needs_rerun = |row: &RecordedMigration| {
        let file = by_version.get(row.version.as_str()).filter(|_| row.success && layout.is_repeatable(&row.version));
        file.is_some_and(|file| !row.has_checksum(&file.checksum))
    };
    let applied: HashSet<&str> =
        ledger.iter().filter(|row| !needs_rerun(row)).map(|row| row.version.as_str()).collect();
    let is_ordered = |version: &str| !layout.is_repeatable(version);
    let newest = ledger.iter().rev().map(|row| row.version.as_str()).find(|version| is_ordered(version));
    let all_versions: Vec<&str> = files.iter().map(|file| file.id.version.as_str()).collect();
    let superseded = layout.superseded_versions(&all_versions, recorded);
    let target =
        rules.target.as_deref().map(|target| layout.canonical_version(target).unwrap_or_else(|| target.to_owned()));
    let is_wanted = |version: &str| {
        target.as_deref().is_none_or(|target| layout.compare_versions(version, target) != Ordering::Greater)
            && superseded.iter().all(|superseded| superseded != version)
    };
    let mut files: Vec<&Migration> = files.iter().collect();
    files.sort_by(|left, right| layout.compare_versions(&left.id.version, &right.id.version));
    let pending: Vec<&Migration> = files
        .iter()
        .filter(|file| is_wanted(&file.id.version) && !applied.contains(file.id.version.as_str()))
        .copied()
        .collect();

    let mut faults: Vec<Fault> = unknown_target(&files, rules, target.as_deref()).into_iter().collect();
    faults.extend(
        ledger.iter().filter_map(|row| row_conflict(rules, row, by_version.get(row.version.as_str()).copied())),
    );
    let is_pending =
        |program: &&MigrationId| is_wanted(&program.version) && !applied.contains(program.version.as_str());
    faults.extend(rules.programs.iter().filter(is_pending).map(|program| program_pending(rules, &pending, program)));
    if rules.out_of_order == Policy::Refuse {
        let ordered = pending.iter().filter(|file| is_ordered(&file.id.version));
        faults.extend(ordered.filter_map(|file| out_of_order(layout, file, newest?)));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Plan { pending, recorded: ledger.len() })
}

/// Returns the fault of a pending program. The files before it can be applied up to their last version.
fn program_pending(rules: &PlanRules, pending: &[&Migration], program: &MigrationId) -> Fault {
    let tool = rules.layout.name();
    let cause = format!("`{}` is not applied, and only {tool} can run it: it is a program", program.file);
    let before = pending
        .iter()
        .rev()
        .find(|file| rules.layout.compare_versions(&file.id.version, &program.version) == Ordering::Less);
    let fix = match before {
        Some(file) => format!(
            "set `target: {}` to apply the files before it; then run it with {tool}, and run again without `target`",
            file.id.version
        ),
        None => format!("run it with {tool}, and run again"),
    };
    Fault::new(Code::ProgramPending, cause).fix(fix).in_file(FilePosition::of_file(&program.file))
}

fn unknown_target(files: &[&Migration], rules: &PlanRules, target: Option<&str>) -> Option<Fault> {
    let is_program = |target: &str| rules.programs.iter().any(|program| program.version == target);
    let target = target.filter(|target| files.iter().all(|file| file.id.version != *target) && !is_program(target))?;
    let fault = Fault::new(Code::TargetUnknown, format!("no file has the version {target} that `target` names"));
    Some(match files.last() {
        Some(last) => fault.detail(format!("the last version of a file is {}", last.id.version)),
        None => fault,
    })
}

/// Returns the fault of a ledger row that does not match its file. Rows beyond `target` are checked, too, because they
/// are applied.
pub(super) fn row_conflict(rules: &PlanRules, row: &RecordedMigration, file: Option<&Migration>) -> Option<Fault> {
    let RecordedMigration { version, name, checksum, success, took_ms: _, origin: _ } = row;
    let named = if name.is_empty() { format!("version {version}") } else { format!("version {version} (`{name}`)") };
    if !success {
        let cause = format!("according to the ledger, {named} was started and not finished");
        let fault = Fault::new(Code::LedgerDirty, cause).fix(format!(
            "see which of its statements took effect; complete them by hand and run `command: resolve` with `target: {version}`, \
             `resolve: applied` and the reason in `allow`; or undo them, and run it with `resolve: not-applied`"
        ));
        return Some(match file {
            Some(file) => fault.in_file(file.whole_file()),
            None => fault,
        });
    }
    if rules.layout.is_repeatable(version) {
        return None;
    }
    let Some(file) = file else {
        let is_program = rules.programs.iter().any(|program| program.version == *version);
        let cause = format!("{named} is applied, but there is no file for it");
        let is_fault = !is_program && rules.missing == Policy::Refuse;
        return is_fault.then(|| Fault::new(Code::FileMissing, cause));
    };
    let checksum = checksum.as_deref().filter(|checksum| !file.checksum.matches(checksum))?;
    let cause = format!(
        "`{}` is not what was applied as version {version}: its checksum is {}…, but the ledger has {}…",
        file.id.file,
        short_checksum(file.checksum.as_bytes()),
        short_checksum(checksum)
    );
    Some(Fault::new(Code::FileChanged, cause).in_file(file.whole_file()))
}

fn out_of_order(layout: Layout, file: &Migration, newest: &str) -> Option<Fault> {
    if layout.compare_versions(&file.id.version, newest) == Ordering::Greater {
        return None;
    }
    let cause = format!("`{}` has version {}, but version {newest} is already applied", file.id.file, file.id.version);
    Some(Fault::new(Code::OutOfOrder, cause).in_file(file.whole_file()))
}

/// Returns the first twelve characters, which are enough for people to compare. Some ledgers have checksums as text.
fn short_checksum(checksum: &[u8]) -> String {
    match std::str::from_utf8(checksum) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => text.chars().take(12).collect(),
        _ => hex::encode(checksum.get(..6).unwrap_or(checksum)),
    }
}

/// Returns the digest of the work on these migrations, and of the ledger's state. Each part is hashed with its length,
/// so that different plans never give the same input: `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn plan_digest<'m>(
    layout: Layout,
    recorded: &[RecordedMigration],
    change: PlanAction,
    pending: impl ExactSizeIterator<Item = &'m Migration>,
) -> String {
    let mut hash = Sha256::new();
    let mut hash_bytes = |bytes: &[u8]| {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    hash_bytes(b"bastion-migrate plan 2");
    hash_bytes(&recorded.len().to_be_bytes());
    if let Some(last_row) = recorded.iter().max_by(|left, right| layout.compare_versions(&left.version, &right.version))
    {
        hash_bytes(last_row.version.as_bytes());
        hash_bytes(last_row.checksum.as_deref().unwrap_or_default());
    }
    hash_bytes(&pending.len().to_be_bytes());
    for migration in pending {
        hash_bytes(migration.id.version.as_bytes());
        hash_bytes(migration.id.name.as_bytes());
        hash_bytes(migration.checksum.as_bytes());
        migration.undo_text().into_iter().for_each(|text| hash_bytes(text.as_bytes()));
        migration.replaced.identity().iter().for_each(|text| hash_bytes(text.as_bytes()));
    }
    match change {
        PlanAction::Apply => {}
        PlanAction::Record => hash_bytes(b"record"),
        PlanAction::RollBack => hash_bytes(b"roll back"),
        PlanAction::Unrecord => hash_bytes(b"unrecord"),
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{self, Layout},
        migrate::Body,
        run::MigrationId,
    };
    use proptest::{prelude::*, sample::subsequence};

    const RULES: PlanRules = PlanRules {
        layout: layout::ALL[0],
        ledger: Table { schema: String::new(), name: String::new() },
        programs: Vec::new(),
        target: None,
        out_of_order: Policy::Refuse,
        missing: Policy::Refuse,
    };

    fn file(version: usize, body: &str) -> Migration {
        let id = MigrationId {
            index: version,
            version: version.to_string(),
            name: format!("m{version}"),
            file: format!("migrations/{version:04}_m.sql"),
            ..MigrationId::default()
        };
        Migration {
            body: Body::InMemory(body.into()),
            checksum: RULES.layout.checksum(body.as_bytes()),
            ..Migration::without_file(id, RULES.layout)
        }
    }

    fn digest_of(plan: &Plan<'_>, recorded: &[RecordedMigration]) -> String {
        plan_digest(RULES.layout, recorded, PlanAction::Apply, plan.pending.iter().copied())
    }

    fn digest_after(files: &[Migration], recorded: &[RecordedMigration], rules: &PlanRules) -> String {
        digest_of(&compare_with_ledger(files, recorded, rules).unwrap(), recorded)
    }

    fn files(versions: &[usize]) -> Vec<Migration> {
        versions.iter().map(|version| file(*version, &format!("SELECT {version};"))).collect()
    }

    fn row(file: &Migration) -> RecordedMigration {
        RecordedMigration {
            version: file.id.version.clone(),
            name: file.id.name.clone(),
            checksum: Some(file.checksum.as_bytes().to_vec()),
            success: true,
            took_ms: 1,
            origin: None,
        }
    }

    fn versions(plan: &Plan<'_>) -> Vec<usize> {
        plan.pending.iter().map(|file| file.id.index).collect()
    }

    fn refusals(files: &[Migration], recorded: &[RecordedMigration], rules: &PlanRules) -> Vec<(Code, String)> {
        compare_with_ledger(files, recorded, rules)
            .unwrap_err()
            .into_iter()
            .map(|fault| (fault.code, fault.cause))
            .collect()
    }

    fn codes(files: &[Migration], recorded: &[RecordedMigration], rules: &PlanRules) -> Vec<Code> {
        refusals(files, recorded, rules).into_iter().map(|(code, _)| code).collect()
    }

    #[test]
    fn applies_everything_to_an_empty_ledger_in_order() {
        let files = files(&[10, 2, 1]);
        let plan = compare_with_ledger(&files, &[], &RULES).unwrap();
        assert_eq!((versions(&plan), plan.recorded), (vec![1, 2, 10], 0));
    }

    #[test]
    fn applies_unrecorded_files() {
        let files = files(&[1, 2, 3]);
        let plan = compare_with_ledger(&files, &[row(&files[0]), row(&files[1])], &RULES).unwrap();
        assert_eq!((versions(&plan), plan.recorded), (vec![3], 2));
    }

    #[test]
    fn stops_at_the_target() {
        let files = files(&[1, 2, 3]);
        let rules = PlanRules { target: Some("2".to_owned()), ..RULES };
        assert_eq!(versions(&compare_with_ledger(&files, &[row(&files[0])], &rules).unwrap()), [2]);
        let all_rows: Vec<_> = files.iter().map(row).collect();
        assert!(
            compare_with_ledger(&files, &all_rows, &rules).unwrap().pending.is_empty(),
            "a target in the past undoes nothing"
        );
    }

    #[test]
    fn refuses_a_target_that_no_file_has() {
        let fault = compare_with_ledger(&files(&[1, 3]), &[], &PlanRules { target: Some("2".to_owned()), ..RULES })
            .unwrap_err()
            .remove(0);
        assert_eq!(
            (fault.code, fault.detail),
            (Code::TargetUnknown, vec!["the last version of a file is 3".to_owned()])
        );
    }

    #[test]
    fn refuses_a_modified_file_and_shows_both_checksums() {
        let applied = row(&file(1, "a"));
        let files = [file(1, "b"), file(2, "c")];
        assert_eq!(
            refusals(&files, &[applied], &RULES),
            [(
                Code::FileChanged,
                "`migrations/0001_m.sql` is not what was applied as version 1: its checksum is 3e23e8160039…, but the \
                 ledger has ca978112ca1b…"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn accepts_other_line_ends_in_the_ledger_of_sqlx() {
        let mut file = file(1, "");
        let sqlx = Layout::by_name("sqlx").unwrap();
        file.checksum = sqlx.checksum(b"a\n");
        let recorded = sqlx.checksum(b"a\r\n").as_bytes().to_vec();
        let recorded = RecordedMigration { checksum: Some(recorded), ..row(&file) };
        assert!(compare_with_ledger(&[file], &[recorded], &RULES).unwrap().pending.is_empty());
    }

    #[test]
    fn refuses_a_recorded_version_without_a_file_even_beyond_the_target() {
        let all = files(&[1, 2, 3]);
        let recorded: Vec<_> = all.iter().map(row).collect();
        for target in [None, Some("1".to_owned())] {
            let found = refusals(&all[..2], &recorded, &PlanRules { target, ..RULES });
            let expected = (Code::FileMissing, "version 3 (`m3`) is applied, but there is no file for it".to_owned());
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn refuses_a_file_that_sorts_before_an_applied_one_unless_allowed() {
        let files = files(&[1, 2, 3]);
        let recorded = [row(&files[1])];
        assert_eq!(
            refusals(&files, &recorded, &RULES),
            [(Code::OutOfOrder, "`migrations/0001_m.sql` has version 1, but version 2 is already applied".to_owned())]
        );
        let allowed = PlanRules { out_of_order: Policy::Allow, ..RULES };
        assert_eq!(versions(&compare_with_ledger(&files, &recorded, &allowed).unwrap()), [1, 3]);
    }

    #[test]
    fn refuses_an_unfinished_migration_with_or_without_its_file() {
        let files = files(&[1]);
        let dirty = RecordedMigration { success: false, checksum: Some(Vec::new()), ..row(&files[0]) };
        let orphan = RecordedMigration { version: "2".to_owned(), ..dirty.clone() };
        assert_eq!(codes(&files, &[dirty, orphan], &RULES), [Code::LedgerDirty, Code::LedgerDirty]);
    }

    #[test]
    fn reports_all_refusals_at_once() {
        let recorded =
            [row(&file(2, "old")), row(&file(3, "gone")), RecordedMigration { success: false, ..row(&file(4, "x")) }];
        let rules = PlanRules { target: Some("9".to_owned()), ..RULES };
        let expected = [Code::TargetUnknown, Code::FileChanged, Code::FileMissing, Code::LedgerDirty, Code::OutOfOrder];
        assert_eq!(codes(&[file(1, "new"), file(2, "new")], &recorded, &rules), expected);
    }

    #[test]
    fn the_digest_reflects_every_difference() {
        let base = files(&[1, 2]);
        let renamed = {
            let mut files = base.clone();
            files[1].id.name = "other".to_owned();
            files
        };
        let edited = vec![base[0].clone(), file(2, "SELECT 0;")];
        let digests: std::collections::BTreeSet<String> = [
            digest_after(&base, &[], &RULES),
            digest_after(&base, &[row(&base[0])], &RULES),
            digest_after(&base, &[], &PlanRules { target: Some("1".to_owned()), ..RULES }),
            digest_after(&renamed, &[], &RULES),
            digest_after(&edited, &[], &RULES),
        ]
        .into();
        assert_eq!(digests.len(), 5);
        assert!(digests.iter().all(|digest| digest.len() == "sha256:".len() + 64));
    }

    /// Versions that are on disk, in any order, and how many of the lowest are recorded.
    fn situation() -> impl Strategy<Value = (Vec<usize>, usize)> {
        subsequence((1..40_usize).collect::<Vec<_>>(), 0..20).prop_shuffle().prop_flat_map(|versions| {
            let count = versions.len();
            (Just(versions), 0..=count)
        })
    }

    fn recorded(files: &[Migration], count: usize) -> Vec<RecordedMigration> {
        let mut rows: Vec<_> = files.iter().map(row).collect();
        rows.sort_by(|left, right| RULES.layout.compare_versions(&left.version, &right.version));
        rows.truncate(count);
        rows
    }

    proptest! {
        #[test]
        fn nothing_is_left_after_everything_is_applied((on_disk, count) in situation()) {
            let files = files(&on_disk);
            let mut ledger = recorded(&files, count);
            let first = compare_with_ledger(&files, &ledger, &RULES).unwrap();
            prop_assert_eq!(first.pending.len() + ledger.len(), files.len());
            ledger.extend(first.pending.iter().map(|file| row(file)));
            prop_assert!(compare_with_ledger(&files, &ledger, &RULES).unwrap().pending.is_empty());
        }

        #[test]
        fn pending_is_in_order_under_every_policy((on_disk, _) in situation(), applied in prop::collection::vec(any::<bool>(), 20)) {
            let files = files(&on_disk);
            let ledger: Vec<_> = files.iter().zip(applied).filter(|(_, applied)| *applied).map(|(file, _)| row(file)).collect();
            let rules = PlanRules { out_of_order: Policy::Allow, ..RULES };
            let plan = compare_with_ledger(&files, &ledger, &rules).unwrap();
            prop_assert!(versions(&plan).is_sorted_by(|a, b| a < b));
            prop_assert!(plan.pending.iter().all(|file| ledger.iter().all(|row| row.version != file.id.version)));
        }

        #[test]
        fn the_order_of_the_input_does_not_matter((on_disk, count) in situation()) {
            let shuffled = files(&on_disk);
            let mut sorted = shuffled.clone();
            sorted.sort_by_key(|file| file.id.index);
            let ledger = recorded(&shuffled, count);
            let reversed: Vec<_> = ledger.iter().rev().cloned().collect();
            let (a, b) = (compare_with_ledger(&shuffled, &ledger, &RULES).unwrap(), compare_with_ledger(&sorted, &reversed, &RULES).unwrap());
            prop_assert_eq!(versions(&a), versions(&b));
            prop_assert_eq!(digest_of(&a, &ledger), digest_of(&b, &reversed));
        }

        #[test]
        fn a_target_is_a_prefix_of_the_whole_plan((on_disk, count) in situation(), pick in any::<prop::sample::Index>()) {
            prop_assume!(!on_disk.is_empty());
            let files = files(&on_disk);
            let ledger = recorded(&files, count);
            let target = *pick.get(&on_disk);
            let all_versions = versions(&compare_with_ledger(&files, &ledger, &RULES).unwrap());
            let up_to_target = versions(&compare_with_ledger(&files, &ledger, &PlanRules { target: Some(target.to_string()), ..RULES }).unwrap());
            prop_assert!(all_versions.starts_with(&up_to_target));
            prop_assert!(up_to_target.iter().all(|version| *version <= target));
        }
    }
}
