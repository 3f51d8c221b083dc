//! The place of a run without tenants: its ledger, by the layouts that the files fit.

use super::{
    comparison,
    connected::{ChosenPlaces, ConnectedSql},
};
use crate::{
    fault::Fault,
    layout::{Layout, RecordedMigration},
    ledger::{LedgerChoice, LedgerState, refuse_foreign, two_ledgers_fault},
    migrate::Place,
    postgres::{Rows, query_rows, wait::answer_within},
};
use std::sync::Arc;

impl ConnectedSql<'_> {
    /// Chooses the ledger of a run without tenants, and reads it.
    ///
    /// # Errors
    /// The reason why no ledger can be used.
    pub(super) async fn choose_single_place(&mut self) -> Result<ChosenPlaces, Fault> {
        let (choice, rows) = match self.setup.settings.sql.from {
            Some(_) => self.read_own_ledger().await?,
            None => self.read_chosen_ledger().await?,
        };
        let LedgerChoice { ledger, reason, other_ledgers, ignored, .. } = choice;
        let layout = ledger.layout;
        let places = vec![Arc::new(Place::without_tenant(ledger))];
        Ok(ChosenPlaces { layout, reason, places, other_ledgers, ignored, rows })
    }

    /// Refuses a ledger that decided the layout among these, and has no row for any of the files.
    pub(super) fn refuse_unfit(
        &self,
        candidates: &[Layout],
        chosen: &ChosenPlaces,
        versions: &[&str],
    ) -> Result<(), Vec<Fault>> {
        let (layout, Some(rows), [place]) = (chosen.layout, &chosen.rows, chosen.places.as_slice()) else {
            return Ok(());
        };
        let Some(other) = candidates.iter().find(|other| **other != layout && layout != Layout::default()) else {
            return Ok(());
        };
        let recorded = LedgerState::from_rows(rows).recorded;
        let is_of_file = |row: &RecordedMigration| {
            let version = layout.canonical_version(&row.version).unwrap_or_else(|| row.version.clone());
            versions.contains(&version.as_str())
        };
        if recorded.is_empty() || recorded.iter().any(is_of_file) {
            return Ok(());
        }
        let choice = self.survey.choose_ledger_of(*other, &self.hints(), String::new()).map_err(|fault| vec![fault])?;
        Err(vec![refuse_foreign(&choice.ledger, layout.name(), &place.ledger.table)])
    }

    /// Reads the ledger that was chosen; no rows if there is none. Where it is empty and the only other one with rows
    /// belongs to a layout that the files fit, too, that one is taken.
    async fn read_chosen_ledger(&mut self) -> Result<(LedgerChoice, Option<Rows>), Fault> {
        let choice = self.choose_ledger()?;
        let Some(rows) = self.read_ledger_of(&choice).await? else {
            return choice.ambiguity.clone().map_or(Ok((choice, None)), Err);
        };
        let state = LedgerState::from_rows(&rows);
        let rival = state.other_ledgers.iter().find_map(|(tool, table)| {
            let layout = Layout::by_name(tool).filter(|layout| self.files.candidates().contains(layout))?;
            Some((layout, table.clone()))
        });
        match (state.recorded.is_empty(), rival, state.other_ledgers.as_slice()) {
            (true, Some((layout, table)), [_]) => {
                let reason = format!("`{table}` is its ledger, and `{}` has no rows", choice.ledger.table);
                let taken = self.survey.choose_ledger_of(layout, &self.hints(), reason)?;
                let rows = self.read_ledger_of(&taken).await?;
                Ok((taken, rows))
            }
            (true, _, [(tool, table), ..]) => Err(refuse_foreign(&choice.ledger, tool, table)),
            // Our own ledger was certainly written by this action.
            (false, Some((layout, table)), _) if choice.ledger.layout != Layout::default() => {
                Err(two_ledgers_fault(&choice.ledger, layout, &table))
            }
            _ => choice.ambiguity.clone().map_or(Ok((choice, Some(rows))), Err),
        }
    }

    pub(super) async fn read_ledger_of(&mut self, choice: &LedgerChoice) -> Result<Option<Rows>, Fault> {
        let LedgerChoice { ledger, other_ledgers, .. } = choice;
        if let Some((_, rows)) = self.early_read.take().filter(|(read, _)| read == ledger) {
            return Ok(Some(rows));
        }
        if !ledger.exists && !ledger.progress_exists && other_ledgers.is_empty() {
            return Ok(None);
        }
        let detail = comparison::detail_for(self.setup.settings.command);
        let query = ledger.detailed_query(other_ledgers, detail).requiring_lock(self.lock_requirement());
        answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await.map(Some)
    }
}
