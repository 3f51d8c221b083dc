//! Properties of every output of a tool.

use crate::tool::{LedgerRows, ListedMigration, ListingOutcome, Recipe, explain::explain_failure};

/// Parses the output as each tool's listing: it never yields more migrations than lines, nor a name that the output
/// lacks, and the ledger's meaning contains only names that are in the ledger or listed.
pub(super) fn check_listings(code: i64, output: &str, rows: &str) {
    for recipe in Recipe::load_all() {
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        let fault = explain_failure(&recipe, "it ended", &lines, lines.first().map(String::as_str));
        assert!(!fault.cause.is_empty() && !fault.fix.is_empty(), "{}: {fault:?}", recipe.name);
        let Some(listing) = &recipe.listing else { continue };
        let listed = listing.read_migrations(output.lines());
        assert!(listed.len() <= output.lines().count(), "{}: more migrations than lines", recipe.name);
        listed.iter().for_each(|one| assert_in_output(one, output));
        match listing.read_outcome(code, output.lines()) {
            ListingOutcome::Listed(answer) => assert_eq!(answer, listed, "{}", recipe.name),
            ListingOutcome::NoLedger | ListingOutcome::Failed => assert_ne!(code, 0, "{}", recipe.name),
        }
        for keeps in [LedgerRows::All, LedgerRows::Heads] {
            let recorded = keeps.applied_names(&listed, rows.lines());
            let is_known = |name: &String| {
                rows.lines().any(|row| row == name) || listed.iter().any(|one| one.parents.contains(name))
            };
            assert!(rows.lines().all(|row| recorded.contains(row)) && recorded.iter().all(is_known), "{recorded:?}");
        }
    }
}

fn assert_in_output(one: &ListedMigration, output: &str) {
    let words = || one.name.split_whitespace().chain(one.parents.iter().map(String::as_str));
    assert!(!one.name.is_empty() && words().all(|word| output.contains(word)), "{one:?} is not in the output");
}

/// Parses a recipe, and the output with it.
pub(super) fn check_recipe(text: &str, output: &str) {
    if let Ok(recipe) = Recipe::from_yaml(text)
        && let Some(listing) = recipe.listing
    {
        assert!(listing.read_migrations(output.lines()).len() <= output.lines().count());
    }
}
