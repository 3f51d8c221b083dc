//! Compares the files with the ledgers: the work of a command, for each tenant.

use crate::{
    fault::Fault,
    layout::{Layout, RecordedMigration, RowDetail, RowOrigin},
    ledger::{DatabaseState, LedgerState},
    migrate::{self, FormerRecord, Migration, Place, PlannedMigration},
    plan::{self, PlanRules},
    run::{HalfDoneMigration, LedgerEntry, MigrationId, blocking::run_blocking, event::Event},
    settings::Command,
};
use std::{collections::HashMap, sync::Arc};

/// The work that is planned.
#[derive(Debug, Default)]
pub(super) struct PlannedWork {
    /// The migrations of each tenant, in the order in which they are worked on; one list without tenants.
    pub(super) pending: Vec<Vec<PlannedMigration>>,
    /// The digest of the plan.
    pub(super) digest: String,
}

/// Plans the work of this command in all places.
///
/// # Errors
/// All faults that forbid it, each file once.
pub(super) async fn plan_work(
    command: Command,
    migrations: &[Migration],
    (places, before): (&[Arc<Place>], &DatabaseState),
    rules: &PlanRules,
) -> Result<PlannedWork, Vec<Fault>> {
    let (mut pending, mut digests, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    // Positions are unique among all tenants.
    let stride = migrations.len() + rules.programs.len() + 1;
    for (number, place) in places.iter().enumerate() {
        let ledger = before.ledger_of(place.schema());
        let planned = match plan_place(command, migrations, (place, ledger), rules).await {
            Ok(planned) => planned,
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| (place.schema().to_owned(), fault)));
                continue;
            }
        };
        let (recorded, action) = (&ledger.recorded, command.plan_action());
        digests.push((place.schema(), plan::plan_digest(rules.layout, recorded, action, planned.iter())));
        let planned = planned.into_iter().map(|migration| {
            let index = number * stride + migration.id.index;
            PlannedMigration::new(migration, place, index)
        });
        pending.push(planned.collect());
    }
    if !faults.is_empty() {
        return Err(plan::merge_faults(faults));
    }
    let digest = match (digests.as_slice(), places) {
        ([(_, digest)], [place]) if place.tenant.is_none() => digest.clone(),
        (digests, _) => plan::combined_digest(digests.iter().map(|(schema, digest)| (*schema, digest.as_str()))),
    };
    Ok(PlannedWork { pending, digest })
}

/// Returns the work in the only place of a run without tenants.
pub(super) fn work_in_place(
    command: Command,
    planned: Vec<Migration>,
    (place, recorded): (&Arc<Place>, &[RecordedMigration]),
    layout: Layout,
) -> PlannedWork {
    let digest = plan::plan_digest(layout, recorded, command.plan_action(), planned.iter());
    let planned = planned.into_iter().map(|migration| {
        let index = migration.id.index;
        PlannedMigration::new(migration, place, index)
    });
    PlannedWork { pending: vec![planned.collect()], digest }
}

/// Plans the work in one place.
async fn plan_place(
    command: Command,
    migrations: &[Migration],
    (place, ledger): (&Place, &LedgerState),
    rules: &PlanRules,
) -> Result<Vec<Migration>, Vec<Fault>> {
    let (layout, recorded) = (rules.layout, &ledger.recorded);
    let rules = &PlanRules { ledger: place.ledger.table.clone(), ..rules.clone() };
    if let Command::Resolve(decision) = command {
        let decided = plan::find_decided(decision, migrations, ledger, rules);
        return decided.map(|decided| decided.into_iter().collect()).map_err(|fault| vec![fault]);
    }
    let half_done = migrate::refuse_other_direction(command.plan_action(), ledger);
    if !half_done.is_empty() {
        return Err(half_done);
    }
    let planned = match command {
        Command::Rollback => {
            let undone = plan::find_applied_after_target(migrations, recorded, rules)?;
            run_blocking(move || migrate::read_ways_back(undone, layout)).await?
        }
        Command::Baseline
        | Command::Resolve(_)
        | Command::Migrate
        | Command::Plan
        | Command::Rehearse
        | Command::Status
        | Command::Verify
        | Command::Doctor
        | Command::History
        | Command::Tunnel => {
            let pending = plan::compare_with_ledger(migrations, recorded, rules)?.pending.into_iter().cloned();
            match command {
                Command::Baseline => {
                    let former = |migration: &Migration| FormerRecord::find(&migration.id.version, ledger);
                    pending.map(|migration| migration.clone().into_recorded(former(&migration))).collect()
                }
                _ => pending.collect::<Vec<Migration>>(),
            }
        }
    };
    let leaving = planned.iter().filter_map(|migration| migration.refuse_path_reset().err());
    let leaving: Vec<Fault> = leaving.filter(|_| place.tenant.is_some()).collect();
    if leaving.is_empty() { Ok(planned) } else { Err(leaving) }
}

/// Returns the part of each row that this command needs.
pub(super) fn detail_for(command: Command) -> RowDetail {
    if command == Command::Status { RowDetail::WithOrigin } else { RowDetail::ForPlan }
}

/// Returns the content of the ledgers, and the migrations that were started and not finished. One whose file is gone has
/// only a version and a name.
pub(super) fn listed_ledgers(places: &[Arc<Place>], before: &DatabaseState, all_migrations: &[MigrationId]) -> Event {
    let files: HashMap<&str, &MigrationId> = all_migrations.iter().map(|id| (id.version.as_str(), id)).collect();
    let (mut recorded, mut half_done) = (Vec::new(), Vec::new());
    for place in places {
        let id_of = |version: &str, name: &str| {
            let id = match files.get(version) {
                Some(id) => (*id).clone(),
                None => MigrationId { version: version.to_owned(), name: name.to_owned(), ..MigrationId::default() },
            };
            MigrationId { schema: place.schema().to_owned(), ..id }
        };
        let entry = |row: &RecordedMigration| {
            let RowOrigin { time, role, run } = row.origin.as_deref().cloned().unwrap_or_default();
            LedgerEntry { id: id_of(&row.version, &row.name), recorded_at: time, role, run }
        };
        let ledger = before.ledger_of(place.schema());
        let (done, unfinished): (Vec<_>, Vec<_>) = ledger.recorded.iter().partition(|row| row.success);
        recorded.extend(done.into_iter().map(entry));
        half_done.extend(
            unfinished.into_iter().map(|row| HalfDoneMigration { entry: entry(row), ..HalfDoneMigration::default() }),
        );
        half_done.extend(ledger.progress.iter().filter(|row| row.started > 0).map(|row| {
            let (version, change) = migrate::split_progress_key(&row.version);
            let entry = LedgerEntry { id: id_of(version, ""), ..LedgerEntry::default() };
            HalfDoneMigration { entry, statements_done: Some(row.done), change }
        }));
    }
    Event::LedgerListed { recorded, half_done }
}
