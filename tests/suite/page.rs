//! The tools page is generated from the recipes by `WRITE_TOOLS=1 cargo test --test suite page::`.

use bastion_migrate::{
    fault::Code,
    tool::{KnownFailure, LedgerCount, LedgerRows, Recipe, Verb, explain_failure},
};
use std::{env, fmt::Write as _, fs, path::PathBuf};

/// Marks the start of the generated part of the page.
const MARK: &str = "<!-- Written out of the recipes. -->\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md")
}

fn page() -> String {
    fs::read_to_string(path()).expect("there is a page of tools")
}

/// Escapes bars, which end a table cell even inside code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", cell(text))
}

fn about(recipe: &Recipe) -> String {
    let ledger = match (&recipe.ledger, recipe.ledgers, recipe.keeps) {
        (None, ..) => "The format of its ledger is detected by the columns.".to_owned(),
        (Some(ledger), LedgerCount::One, LedgerRows::All) => format!("Ledger format: `{ledger}`."),
        (Some(ledger), LedgerCount::EachSchema, _) => {
            format!("Ledger format: `{ledger}`, with one ledger in each schema.")
        }
        (Some(ledger), LedgerCount::One, LedgerRows::Heads) => {
            format!(
                "Ledger format: `{ledger}`. The ledger contains only the newest migrations; the others follow from the list."
            )
        }
    };
    let target = recipe.target.as_ref().map(|target| format!(" A `target` is {}.", target.is)).unwrap_or_default();
    let together = match recipe.combines_list_and_migrate() {
        true => " A run takes [one start](#one-start).",
        false => "",
    };
    format!("{}. {ledger}{together}{target}", recipe.about)
}

fn failures(failures: &[KnownFailure]) -> String {
    let row = |failure: &KnownFailure| format!("| {} | {} |\n", code(failure.pattern.as_str()), cell(&failure.fix));
    format!("\n| output | fix |\n|---|---|\n{}", failures.iter().map(row).collect::<String>())
}

fn section(recipe: &Recipe) -> String {
    let mut text = format!("\n## {}\n\n{}\n", recipe.name, about(recipe));
    let calls = |verb| {
        let calls = recipe.commands_for_docs(verb);
        let shown = calls.iter().map(|call| match &call.name {
            Some(name) => format!("{name}: {}", code(&call.line.display_text())),
            None => code(&call.line.display_text()),
        });
        shown.collect::<Vec<_>>().join(", then ")
    };
    let rows: Vec<String> = Verb::ALL
        .into_iter()
        .map(|verb| (verb, calls(verb)))
        .filter(|(_, calls)| !calls.is_empty())
        .map(|(verb, calls)| format!("| {} | {calls} |\n", verb.name()))
        .collect();
    if !rows.is_empty() {
        write!(text, "\n| verb | command |\n|---|---|\n{}", rows.concat()).unwrap();
    }
    if !recipe.failures.is_empty() {
        text += &failures(&recipe.failures);
    }
    if let Some(like) = &recipe.fails_like {
        write!(text, "\nThe failures of {like} apply as well.\n").unwrap();
    }
    text
}

fn written() -> String {
    let sections: String = Recipe::load_all().iter().map(section).collect();
    let common = "\n## All tools\n\nThese patterns are tried in this order, after the tool's own.\n";
    format!("{sections}{common}{}", failures(&KnownFailure::load_common()))
}

#[test]
fn the_tools_page_matches_the_recipes() {
    let text = page();
    let (head, tail) = text.split_once(MARK).expect("the page has the mark");
    let written = written();
    #[expect(clippy::disallowed_methods, reason = "set by a developer who runs the test")]
    if env::var("WRITE_TOOLS").is_ok() {
        fs::write(path(), format!("{head}{MARK}{written}")).unwrap();
    }
    let text = page();
    let tail = text.split_once(MARK).map_or(tail, |(_, tail)| tail);
    let only_in = |one: &str, other: &str| {
        let missing: Vec<&str> = one.lines().filter(|line| !other.lines().any(|present| present == *line)).collect();
        missing.join("\n")
    };
    let (missing, superfluous) = (only_in(&written, tail), only_in(tail, &written));
    assert!(
        tail == written,
        "docs/tools.md is out of date (WRITE_TOOLS=1 writes it); missing lines:\n{missing}\n\nsuperfluous lines:\n{superfluous}"
    );
}

#[test]
fn the_example_recipe_on_the_tools_page_works() {
    let text = page();
    let block = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let recipes: Vec<Recipe> = block.filter_map(|block| Recipe::from_yaml(block).ok()).collect();
    let [recipe] = recipes.as_slice() else { panic!("not one recipe on the page: {recipes:?}") };
    let lines = |verb| recipe.commands_for(verb).iter().map(|call| call.line.display_text()).collect::<Vec<_>>();
    assert_eq!(lines(Verb::Migrate), ["./shopmig up"]);
    assert_eq!(lines(Verb::Status), ["./shopmig list"]);
    let back = recipe.commands_with_target(Verb::Rollback, Some("7")).unwrap();
    assert_eq!(back[0].line.display_text(), "./shopmig down --to=7");
    assert_eq!(recipe.commands_with_target(Verb::Rollback, Some("seven")).unwrap_err().code, Code::InputInvalid);
    let listed = recipe.listing.as_ref().unwrap().read_migrations("done 1\ndone 2\nopen 3 orders\nbye".lines());
    let shown: Vec<(&str, bool)> = listed.iter().map(|one| (one.name.as_str(), one.applied)).collect();
    assert_eq!(shown, [("1", true), ("2", true), ("3", false)]);
    assert_eq!(recipe.started_migration("up 3 orders").unwrap().name, "3");
    let output = ["up 3 orders".to_owned(), "shopmig: file 3 has no end".to_owned()];
    let fault = explain_failure(recipe, "", &output, Some("3"));
    assert_eq!((fault.code, fault.cause.as_str()), (Code::ToolFailed, "shopmig: file 3 has no end"));
    assert_eq!(fault.fix, "put `-- end` on the last line of file 3");
}
