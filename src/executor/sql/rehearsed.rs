//! The part of a plan of SQL files that a rehearsal needs.

use super::SqlExecutor;
use crate::{executor::rehearsal::RehearsalSubject, layout::Table};

impl SqlExecutor<'_> {
    /// Returns the subject of a rehearsal, once the plan is made.
    pub(in crate::executor) fn rehearsal_subject(&self) -> Option<RehearsalSubject<'_>> {
        let Self::Planned(planned) = self else { return None };
        let plan = &planned.plan;
        let tables = plan.places.iter().flat_map(|place| {
            let ledger = &place.ledger;
            let table = ledger.exists.then(|| ledger.table.clone());
            table.into_iter().chain(ledger.progress_exists.then(|| ledger.progress_table()))
        });
        let mut ledger_tables: Vec<Table> = tables.collect();
        ledger_tables.sort();
        ledger_tables.dedup();
        let ways_back = match plan.places.as_slice() {
            [place] if place.tenant.is_none() => {
                let recorded = &plan.before.ledger_of(place.schema()).recorded;
                Ok(vec![recorded.last().map_or_else(|| "0".to_owned(), |row| row.version.clone())])
            }
            // Tenants have one each.
            _ => Err(String::new()),
        };
        Some(RehearsalSubject {
            session: &planned.main.session,
            digest: &plan.digest,
            scripts: &planned.scripts,
            places: &planned.places_of_statements,
            path: &planned.backup_subject.tables.path,
            ledger_tables,
            ledger_names: plan.places.iter().map(|place| place.ledger.table.to_string()).collect(),
            pending: &[],
            ways_back,
            image: None,
            ledger: None,
        })
    }
}
