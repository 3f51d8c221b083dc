//! The pending migrations by the tool's listing and by the ledger, and the digest of that plan.

use super::snapshot::LedgerSnapshot;
use crate::{
    review::{HiddenPart, MigrationScript, ScriptTransaction},
    run::{ImageFacts, MigrationId},
    settings::Command,
    tool::{LedgerCount, ListedMigration, Recipe},
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Returns the migrations that are not applied, numbered in the tool's order; if each schema has a ledger, for each of
/// them. A migration that the tool calls pending counts as pending; one that it calls applied has to be in the ledger,
/// too.
pub(crate) fn pending_migrations(
    recipe: &Recipe,
    listed: &[ListedMigration],
    before: &LedgerSnapshot,
) -> Vec<MigrationId> {
    let shows_applied = recipe.listing.as_ref().is_some_and(|listing| listing.applied.is_some());
    let candidates = in_every_schema(recipe, listed.iter(), before);
    // The listing describes one schema.
    let unapplied = candidates.filter(|(migration, id)| {
        !before.has_migration(id) || (shows_applied && id.schema.is_empty() && !migration.applied)
    });
    with_indexes(unapplied.map(|(_, id)| id))
}

/// Returns these migrations for every schema in which they can be.
pub(crate) fn in_every_schema<'l>(
    recipe: &Recipe,
    listed: impl Iterator<Item = &'l ListedMigration> + Clone,
    before: &LedgerSnapshot,
) -> impl Iterator<Item = (&'l ListedMigration, MigrationId)> {
    let schemas = match recipe.ledgers {
        LedgerCount::EachSchema if !before.ledgers.is_empty() => before.ledger_schemas(),
        LedgerCount::EachSchema | LedgerCount::One => vec![""],
    };
    let schemas: Vec<String> = schemas.into_iter().map(ToOwned::to_owned).collect();
    schemas.into_iter().flat_map(move |schema| {
        listed.clone().map(move |migration| {
            let (name, schema) = (migration.name.clone(), schema.clone());
            (migration, MigrationId { name, schema, ..MigrationId::default() })
        })
    })
}

/// Adds the titles in the listing to the migrations.
pub(super) fn with_titles(mut ids: Vec<MigrationId>, listed: &[ListedMigration]) -> Vec<MigrationId> {
    let titles: BTreeMap<&str, &str> = listed
        .iter()
        .map(|migration| (migration.name.as_str(), migration.title.as_str()))
        .filter(|(_, title)| !title.is_empty())
        .collect();
    for id in &mut ids {
        id.title = titles.get(id.name.as_str()).copied().unwrap_or_default().to_owned();
    }
    ids
}

/// Numbers the migrations by their position.
pub(crate) fn with_indexes(ids: impl Iterator<Item = MigrationId>) -> Vec<MigrationId> {
    (1..).zip(ids).map(|(index, id)| MigrationId { index, ..id }).collect()
}

/// Returns the digest of the plan: of the tool, the image, the pending migrations and their SQL. A plan to roll back
/// differs from one to migrate. The reason why something is not shown does not count: it may contain an address in memory.
pub(crate) fn tool_plan_digest(
    command: Command,
    recipe: &Recipe,
    image: Option<&ImageFacts>,
    pending: &[MigrationId],
    scripts: &[MigrationScript],
) -> String {
    let mut hash = Sha256::new();
    let mut hash_text = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    hash_text(&recipe.name);
    if matches!(command, Command::Rollback | Command::Baseline | Command::Resolve(_)) {
        hash_text(command.name());
    }
    hash_text(image.map_or("", |image| &image.id));
    pending.iter().for_each(|id| hash_text(&id.label()));
    for script in scripts {
        hash_text(&script.id.label());
        hash_text(&script.sql);
        hash_text(match script.transaction {
            ScriptTransaction::Whole => "whole",
            ScriptTransaction::AsWritten => "as written",
        });
        for hidden in &script.hidden {
            match hidden {
                HiddenPart::Code(code) => hash_text(&format!("code: {code}")),
                HiddenPart::Everything(_) => hash_text("everything"),
            }
        }
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_plan_depends_on_the_image() {
        let django = Recipe::by_name("django").unwrap();
        let image = |id: &str| ImageFacts { reference: "app".to_owned(), id: id.to_owned(), digest: None };
        let listed = [ListedMigration { name: "a.1".to_owned(), ..ListedMigration::default() }];
        let pending = pending_migrations(&django, &listed, &LedgerSnapshot::default());
        let digest = tool_plan_digest(Command::Migrate, &django, Some(&image("sha256:1")), &pending, &[]);
        assert!(
            digest.len() == 71
                && digest == tool_plan_digest(Command::Migrate, &django, Some(&image("sha256:1")), &pending, &[])
        );
        assert_ne!(digest, tool_plan_digest(Command::Migrate, &django, Some(&image("sha256:2")), &pending, &[]));
        assert_ne!(digest, tool_plan_digest(Command::Migrate, &django, Some(&image("sha256:1")), &[], &[]));
        let listed = [ListedMigration { title: "add b".to_owned(), ..listed[0].clone() }];
        let pending = with_titles(pending, &listed);
        assert_eq!(pending[0].entitled(), "a.1 (add b)");
        assert_eq!(
            digest,
            tool_plan_digest(Command::Migrate, &django, Some(&image("sha256:1")), &pending, &[]),
            "a title does not change the digest"
        );
    }
}
