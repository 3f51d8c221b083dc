//! The recipe of Alembic, each command of it with the real Alembic against a real server.

use crate::{
    action::Action,
    lab::{
        Lab,
        alembic::Project,
        server::{Server, from_the_server},
    },
};
use bastion_migrate::{
    fault::{Code, Fault},
    ledger::known_tools,
    postgres::Rows,
    tool::{ListedMigration, ListingOutcome, NamedCommand, Recipe, Verb, explain_failure},
};

const READ_ONLY: &str = "-c default_transaction_read_only=on";

struct Shop {
    lab: Lab,
    project: Project,
    recipe: Recipe,
}

/// Exit code and output of a command.
struct CommandOutput {
    code: i64,
    out: Vec<String>,
    err: Vec<String>,
}

impl Shop {
    fn new() -> Self {
        let lab = Lab::new();
        let project = Project::new(&lab.database);
        Self { lab, project, recipe: Recipe::by_name("alembic").unwrap() }
    }

    /// Creates a shop with three migrations in a row.
    fn with_three() -> Self {
        let shop = Self::new();
        shop.project.migration("a1", "", "create table users (id int)", "drop table users");
        shop.project.migration("b2", "\"a1\"", "create table orders (id int)", "drop table orders");
        shop.project.migration("c3", "\"b2\"", "create table items (id int)", "drop table items");
        shop
    }

    fn run(&self, commands: &[NamedCommand], options: &str) -> CommandOutput {
        let [one] = commands else { panic!("not exactly one command: {commands:?}") };
        let output = self.project.sh(&one.line.display_text(), options);
        let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect();
        CommandOutput {
            code: output.status.code().unwrap().into(),
            out: lines(&output.stdout),
            err: lines(&output.stderr),
        }
    }

    fn succeeds_with(&self, verb: Verb, target: Option<&str>) -> CommandOutput {
        let output = self.run(&self.recipe.commands_with_target(verb, target).unwrap(), "");
        assert_eq!(output.code, 0, "{:?}", output.err);
        output
    }

    fn fails_with(&self, verb: Verb, target: Option<&str>) -> Fault {
        let output = self.run(&self.recipe.commands_with_target(verb, target).unwrap(), "");
        assert_ne!(output.code, 0, "{:?}", output.out);
        let started = output.started_migrations(&self.recipe).pop();
        explain_failure(&self.recipe, "it failed", &output.err, started.as_deref())
    }

    /// Returns the migrations in their order.
    fn listed(&self) -> Vec<ListedMigration> {
        let output = self.run(&self.recipe.commands_for(Verb::Status), READ_ONLY);
        let listing = self.recipe.listing.as_ref().unwrap();
        match listing.read_outcome(output.code, output.out.iter().map(String::as_str)) {
            ListingOutcome::Listed(listed) => listed,
            other => panic!("{other:?}: {:?}", output.err),
        }
    }

    /// Returns the migrations that the ledger records.
    fn recorded(&self) -> Vec<String> {
        let rows_of = |text: String| -> Rows {
            text.lines().map(|line| line.split('|').map(|field| Some(field.to_owned())).collect()).collect()
        };
        let found = known_tools::parse_ledgers(
            &rows_of(self.lab.database.sql(&format!("set role app; {}", known_tools::find_sql()))),
            self.recipe.ledger.as_deref(),
        );
        let found = found.unwrap().ledgers;
        if found.is_empty() {
            return vec!["no ledger".to_owned()];
        }
        let rows = known_tools::parse_rows(&rows_of(self.lab.database.sql(&known_tools::read_sql(&found))));
        let listed = self.listed();
        let recorded = self.recipe.keeps.applied_names(&listed, rows.iter().map(|row| row.name.as_str()));
        listed.into_iter().map(|one| one.name).filter(|name| recorded.contains(name)).collect()
    }
}

impl CommandOutput {
    fn started_migrations(&self, recipe: &Recipe) -> Vec<String> {
        self.err.iter().filter_map(|line| recipe.started_migration(line)).map(|started| started.name).collect()
    }
}

#[test]
fn alembic_is_called_read_and_verified_by_its_recipe() {
    let shop = Shop::with_three();
    let names: Vec<String> = shop.listed().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["a1", "b2", "c3"]);
    let check = shop.run(&shop.recipe.commands_for(Verb::Check), READ_ONLY);
    assert_eq!(
        (check.code, shop.recorded()),
        (0, vec!["no ledger".to_owned()]),
        "a read-only command creates no ledger"
    );
    let output = shop.succeeds_with(Verb::Migrate, None);
    assert_eq!(output.started_migrations(&shop.recipe), ["a1", "b2", "c3"]);
    assert_eq!(shop.recorded(), ["a1", "b2", "c3"]);
    let output = shop.succeeds_with(Verb::Rollback, Some("a1"));
    assert_eq!(output.started_migrations(&shop.recipe), ["c3", "b2"]);
    assert_eq!(
        (shop.recorded(), shop.lab.database.contents()),
        (vec!["a1".to_owned()], "alembic_version\nusers".to_owned())
    );
    shop.succeeds_with(Verb::Baseline, Some("b2"));
    assert_eq!(shop.recorded(), ["a1", "b2"]);
    shop.succeeds_with(Verb::Baseline, None);
    assert_eq!(shop.recorded(), ["a1", "b2", "c3"]);
    assert_eq!(shop.lab.database.contents(), "alembic_version\nusers", "the migration was only recorded");
}

#[test]
fn a_merge_of_branches_records_all_its_ancestors() {
    let shop = Shop::with_three();
    shop.project.migration("d4", "\"b2\"", "create table parcels (id int)", "drop table parcels");
    let fault = shop.fails_with(Verb::Migrate, None);
    assert!(fault.cause.contains("Multiple head revisions") && fault.fix.contains("alembic merge heads"), "{fault:?}");
    shop.project.migration("e5", "\"c3\", \"d4\"", "create table ships (id int)", "drop table ships");
    shop.succeeds_with(Verb::Migrate, None);
    let recorded = shop.recorded();
    assert_eq!((recorded.len(), recorded.last().map(String::as_str)), (5, Some("e5")));
    shop.succeeds_with(Verb::Rollback, Some("d4"));
    assert!(!shop.recorded().contains(&"e5".to_owned()));
}

#[test]
fn failures_of_alembic_are_explained() {
    let shop = Shop::with_three();
    shop.lab.database.sql("create table orders (id int)");
    let fault = shop.fails_with(Verb::Migrate, None);
    assert!(fault.cause.contains("relation \"orders\" already exists"), "{fault:?}");
    assert!(fault.fix.ends_with("`alembic stamp b2`"), "{fault:?}");
    assert_eq!(shop.recorded(), ["no ledger"], "everything is in one transaction");
    shop.lab.database.sql("drop table orders");
    shop.project.migration("c3", "\"b2\"", "alter table nosuch add x int", "");
    let fault = shop.fails_with(Verb::Migrate, None);
    assert!(
        fault.cause.contains("\"nosuch\" does not exist") && fault.fix.contains("has created nosuch here"),
        "{fault:?}"
    );
    shop.project.migration("c3", "\"b2\"", "create table items (id int)", "drop table items");
    shop.succeeds_with(Verb::Migrate, None);
    shop.project.remove_migration("c3");
    let fault = shop.fails_with(Verb::Check, None);
    assert!(fault.cause.contains("Can't locate revision") && fault.fix.contains("the revision c3"), "{fault:?}");
    let fault = shop.fails_with(Verb::Rollback, Some("nosuch"));
    assert!(fault.code == Code::ToolFailed && fault.fix.contains("the revision"), "{fault:?}");
}

/// A step that runs the real Alembic on a server.
fn step_on<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "alembic");
    step.input("working-directory", "shop")
        .input("setup", format!("export DATABASE_URL='{}'", from_the_server(&lab.database)))
}

#[test]
fn a_rollback_plan_lists_what_alembic_undoes_branch_by_branch() {
    let shop = Shop::with_three();
    shop.project.migration("d4", "\"b2\"", "create table parcels (id int)", "drop table parcels");
    shop.project.migration("e5", "\"c3\", \"d4\"", "create table ships (id int)", "drop table ships");
    let server = shop.project.install_on(Server::start());
    shop.succeeds_with(Verb::Migrate, None);
    let back =
        |target| step_on(&shop.lab, &server).input("command", "rollback").input("target", target).run().succeeds();
    let finished = back("c3").pending(["e5"]).logs("  1 migration to roll back").logs("  to roll back e5");
    finished.never_logs("to roll back c3").done();
    assert_eq!(shop.recorded().len(), 4, "both branches stay");
    let finished = back("b2").logs("  2 migrations to roll back");
    // The order of the two branches is undefined.
    let pending = &finished.outputs["pending"];
    let names = if pending.find("c3") < pending.find("d4") { ["c3", "d4"] } else { ["d4", "c3"] };
    let finished = finished.pending(names);
    finished.never_logs("to roll back b2").done();
    assert_eq!(shop.recorded(), ["a1", "b2"]);
}

#[test]
fn no_migration_has_failed_if_alembic_can_not_connect() {
    let shop = Shop::with_three();
    let server = shop.project.install_on(Server::start());
    let unreachable = step_on(&shop.lab, &server).input("setup", "export DATABASE_URL=postgres://app@127.0.0.1:1/shop");
    let finished = unreachable.run().fails("tool-failed", 6).pending(["a1", "b2", "c3"]);
    finished.error("Connection refused").never_logs("failed a1").done();
    shop.project.migration("c3", "\"b2\"", "alter table nosuch add x int", "");
    let server = shop.project.install_on(server);
    let finished = step_on(&shop.lab, &server).run().fails("tool-failed", 6).pending(["a1", "b2", "c3"]);
    finished.error("does not exist").logs("failed c3").never_logs("failed a1").done();
}

/// The author of a migration controls its title.
#[test]
fn a_title_is_shown_beside_the_id_as_untrusted_text() {
    let shop = Shop::with_three();
    let hostile = format!("add <b>users</b> | ::error::no {}", "x".repeat(200));
    let project = shop.project.set_docstring("a1", &hostile);
    let server = project.install_on(Server::start());
    let plan = step_on(&shop.lab, &server).input("command", "plan").run().has_pending().pending(["a1", "b2", "c3"]);
    let plan = plan.logs("  pending a1 (add <b>users</b> | ::error::no xxx").logs("  pending b2 (about b2)\n");
    assert!(plan.summary.contains("a1 (add &lt;b&gt;users&lt;/b&gt; \\| ::error::no xxx"), "{}", plan.summary);
    let pending: serde_json::Value = serde_json::from_str(&plan.outputs["pending"]).unwrap();
    assert_eq!(pending[1], serde_json::json!({"name": "b2", "title": "about b2"}));
    assert!(pending[0]["title"].as_str().unwrap().chars().count() <= 121, "{pending}");
    assert!(plan.outputs["report"].contains(r#""name":"c3","title":"about c3""#), "{}", plan.outputs["report"]);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let server = shop.project.set_docstring("a1", "something else").install_on(server);
    let plan = step_on(&shop.lab, &server).input("command", "plan").run().has_pending().pending(["a1", "b2", "c3"]);
    assert_eq!(plan.outputs["plan-digest"], digest, "the title is not part of the plan");
    plan.done();
    step_on(&shop.lab, &server).run().succeeds().applied(["a1", "b2", "c3"]).done();
    let status = step_on(&shop.lab, &server).input("command", "status").run().nothing_to_do();
    status.summary("| a1 (something else) |").done();
}
