//! A migration with the place where it is applied.

use super::{migration::Migration, place::Place};
use crate::run::MigrationId;
use std::{ops::Deref, sync::Arc};

/// A migration of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMigration {
    migration: Migration,
    /// The place where it is applied.
    pub place: Arc<Place>,
}

impl PlannedMigration {
    /// Plans a migration for this place. `index` is its position among all migrations that the run knows.
    #[must_use]
    pub fn new(migration: Migration, place: &Arc<Place>, index: usize) -> Self {
        let id = MigrationId { index, schema: place.schema().to_owned(), ..migration.id };
        Self { migration: Migration { id, ..migration }, place: Arc::clone(place) }
    }

    /// Reports whether the two belong to the same tenant, or to a run without tenants.
    #[must_use]
    pub fn shares_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.place, &other.place)
    }
}

impl Deref for PlannedMigration {
    type Target = Migration;

    fn deref(&self) -> &Migration {
        &self.migration
    }
}
