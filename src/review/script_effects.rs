//! The effects of one migration.

use super::{effect::StatementEffect, script::ScriptTransaction};
use crate::run::MigrationId;

/// The effects of one migration.
#[derive(Debug, Clone, Copy)]
pub struct ScriptEffects<'a> {
    /// The migration.
    pub migration: &'a MigrationId,
    /// The transaction in which it runs.
    pub transaction: ScriptTransaction,
    /// The effects of its statements, in order.
    pub effects: &'a [StatementEffect],
}
