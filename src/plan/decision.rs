//! The work of `command: resolve` on SQL files: what a person has decided about one migration.

use super::compare::PlanRules;
use crate::{
    fault::{Code, Fault},
    layout::RecordedMigration,
    ledger::LedgerState,
    migrate::{FormerRecord, Migration},
    run::MigrationId,
    settings::{Policy, Resolution},
};
use std::cmp::Ordering;

/// Returns the migration of `target` with the work that makes the ledger agree with the decision; nothing if it agrees
/// already.
///
/// # Errors
///
/// `target-unknown`, `resolve-refused`.
pub fn find_decided(
    decision: Resolution,
    files: &[Migration],
    ledger: &LedgerState,
    rules: &PlanRules,
) -> Result<Option<Migration>, Fault> {
    let given = rules.target.as_deref().unwrap_or_default();
    let version = rules.layout.canonical_version(given).unwrap_or_else(|| given.to_owned());
    let case = Case { files, ledger, rules, former: FormerRecord::find(&version, ledger), version: &version };
    match decision {
        Resolution::Applied => case.record(),
        Resolution::NotApplied => case.unrecord(),
    }
}

/// The migration, and everything that the decision depends on.
struct Case<'a> {
    files: &'a [Migration],
    ledger: &'a LedgerState,
    rules: &'a PlanRules,
    version: &'a str,
    former: FormerRecord,
}

impl Case<'_> {
    fn file(&self) -> Option<&Migration> {
        self.files.iter().find(|file| file.id.version == self.version)
    }

    fn row(&self) -> Option<&RecordedMigration> {
        self.ledger.recorded.iter().find(|row| row.version == self.version)
    }

    fn program(&self) -> Option<&MigrationId> {
        self.rules.programs.iter().find(|program| program.version == self.version)
    }

    fn record(self) -> Result<Option<Migration>, Fault> {
        let Some(file) = self.file() else {
            return match self.row() {
                Some(row) if row.success => Ok(None),
                _ => Err(self.without_file()),
            };
        };
        let is_recorded = self.row().is_some_and(|row| row.records(self.version, &file.checksum));
        if is_recorded && self.former.progress_key.is_none() {
            return Ok(None);
        }
        if let Some(fault) = self.earlier_pending() {
            return Err(fault);
        }
        Ok(Some(file.clone().into_recorded(self.former)))
    }

    fn unrecord(self) -> Result<Option<Migration>, Fault> {
        if self.former.is_empty() {
            return match self.file().is_some() || self.program().is_some() {
                true => Ok(None),
                false => Err(self.unknown()),
            };
        }
        if let Some(fault) = self.later_applied() {
            return Err(fault);
        }
        // A ledger without names has nothing but the version to show.
        let name = self.row().map(|row| row.name.as_str()).filter(|name| !name.is_empty());
        let name = name.unwrap_or(self.version).to_owned();
        let id = self.program().cloned().unwrap_or_else(|| MigrationId {
            version: self.version.to_owned(),
            name,
            ..MigrationId::default()
        });
        let migration = self.file().cloned().unwrap_or_else(|| Migration::without_file(id, self.rules.layout));
        let previous = self.rules.version_before(self.files, self.version);
        Ok(Some(migration.into_unrecorded(self.former, previous)))
    }

    /// Returns the fault of a version that no file has, and that the ledger does not have as applied.
    fn without_file(&self) -> Fault {
        let (version, tool) = (self.version, self.rules.layout.name());
        match self.program() {
            Some(program) => Fault::new(
                Code::ResolveRefused,
                format!("`{}` is a program, which only {tool} can record as applied", program.file),
            )
            .fix(format!("record it with {tool}")),
            None if self.former.is_empty() => self.unknown(),
            None => {
                let cause = format!("there is no file for version {version}, so it can't be recorded as applied");
                Fault::new(Code::ResolveRefused, cause)
                    .fix("restore its file and run again; or decide with `resolve: not-applied`")
            }
        }
    }

    fn unknown(&self) -> Fault {
        let cause = format!("neither a file nor the ledger has the version {} that `target` names", self.version);
        let last = self.files.last().map(|last| format!("the last version of a file is {}", last.id.version));
        let fault = Fault::new(Code::TargetUnknown, cause).fix("set `target` to the version of one migration");
        last.into_iter().fold(fault, Fault::detail)
    }

    /// Returns the fault of an earlier file that is not applied: the next run would refuse it as out of order, and a
    /// ledger with nothing but the newest version would call it applied.
    fn earlier_pending(&self) -> Option<Fault> {
        let layout = self.rules.layout;
        if layout.is_repeatable(self.version)
            || self.rules.out_of_order == Policy::Allow && !layout.records_newest_only()
        {
            return None;
        }
        let versions: Vec<&str> = self.files.iter().map(|file| file.id.version.as_str()).collect();
        let superseded = layout.superseded_versions(&versions, &self.ledger.recorded);
        let is_applied = |version: &str| {
            superseded.iter().any(|superseded| superseded == version)
                || self.ledger.recorded.iter().any(|row| row.version == version && row.success)
        };
        let is_earlier = |version: &str| {
            !layout.is_repeatable(version) && layout.compare_versions(version, self.version) == Ordering::Less
        };
        let pending = self.files.iter().find(|file| is_earlier(&file.id.version) && !is_applied(&file.id.version))?;
        let (file, earlier) = (&pending.id.file, &pending.id.version);
        let cause = format!("`{file}` comes before version {} and is not applied", self.version);
        let fix = format!(
            "decide about version {earlier} first; or apply it with `command: migrate` and `target: {earlier}`"
        );
        Some(Fault::new(Code::ResolveRefused, cause).fix(fix).in_file(pending.whole_file()))
    }

    /// Returns the fault of a later version in a ledger that has nothing but the newest one.
    fn later_applied(&self) -> Option<Fault> {
        let layout = self.rules.layout;
        let is_later =
            |row: &&RecordedMigration| layout.compare_versions(&row.version, self.version) == Ordering::Greater;
        let later = self.ledger.recorded.iter().rev().find(is_later).filter(|_| layout.records_newest_only())?;
        let (newest, tool) = (&later.version, layout.name());
        let cause = format!(
            "the ledger of {tool} has only its newest version, {newest}, so version {} can't be taken out of it alone",
            self.version
        );
        let fix = format!("decide about version {newest} first, and so on down to version {}", self.version);
        Some(Fault::new(Code::ResolveRefused, cause).fix(fix))
    }
}
