//! The recipe of Alembic, line by line with the real Alembic against a real server.

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
    tool::{ListedMigration, ListingOutcome, NamedCommand, Recipe, Verb, explain_failure},
};

const LOOKING: &str = "-c default_transaction_read_only=on";

struct Shop {
    lab: Lab,
    project: Project,
    recipe: Recipe,
}

/// What a call said.
struct Said {
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

    /// Three migrations, one on the other.
    fn with_three() -> Self {
        let shop = Self::new();
        shop.project.migration("a1", "", "create table users (id int)", "drop table users");
        shop.project.migration("b2", "\"a1\"", "create table orders (id int)", "drop table orders");
        shop.project.migration("c3", "\"b2\"", "create table items (id int)", "drop table items");
        shop
    }

    fn call(&self, calls: &[NamedCommand], options: &str) -> Said {
        let [one] = calls else { panic!("not one call: {calls:?}") };
        let output = self.project.sh(&one.line.display_text(), options);
        let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect();
        Said { code: output.status.code().unwrap().into(), out: lines(&output.stdout), err: lines(&output.stderr) }
    }

    fn works(&self, verb: Verb, target: Option<&str>) -> Said {
        let said = self.call(&self.recipe.commands_with_target(verb, target).unwrap(), "");
        assert_eq!(said.code, 0, "{:?}", said.err);
        said
    }

    fn fails(&self, verb: Verb, target: Option<&str>) -> Fault {
        let said = self.call(&self.recipe.commands_with_target(verb, target).unwrap(), "");
        assert_ne!(said.code, 0, "{:?}", said.out);
        let begun = said.begun(&self.recipe).pop();
        explain_failure(&self.recipe, "it failed", &said.err, begun.as_deref())
    }

    /// The migrations in their order.
    fn listed(&self) -> Vec<ListedMigration> {
        let said = self.call(&self.recipe.commands_for(Verb::Status), LOOKING);
        let listing = self.recipe.listing.as_ref().unwrap();
        match listing.read_outcome(said.code, said.out.iter().map(String::as_str)) {
            ListingOutcome::Listed(listed) => listed,
            other => panic!("{other:?}: {:?}", said.err),
        }
    }

    /// Those of them that the ledger records.
    fn recorded(&self) -> Vec<String> {
        let answer = |text: String| -> Vec<Vec<Option<String>>> {
            text.lines().map(|line| line.split('|').map(|field| Some(field.to_owned())).collect()).collect()
        };
        let found = known_tools::parse_ledgers(
            &answer(self.lab.database.sql(&format!("set role app; {}", known_tools::find_sql()))),
            self.recipe.ledger.as_deref(),
        );
        let found = found.unwrap().ledgers;
        if found.is_empty() {
            return vec!["no ledger".to_owned()];
        }
        let rows = known_tools::parse_rows(&answer(self.lab.database.sql(&known_tools::read_sql(&found))));
        let listed = self.listed();
        let recorded = self.recipe.keeps.applied_names(&listed, rows.iter().map(|row| row.name.as_str()));
        listed.into_iter().map(|one| one.name).filter(|name| recorded.contains(name)).collect()
    }
}

impl Said {
    fn begun(&self, recipe: &Recipe) -> Vec<String> {
        self.err.iter().filter_map(|line| recipe.started_migration(line)).map(|begun| begun.name).collect()
    }
}

#[test]
fn alembic_is_called_read_and_proven_by_its_recipe() {
    let shop = Shop::with_three();
    let names: Vec<String> = shop.listed().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["a1", "b2", "c3"]);
    let check = shop.call(&shop.recipe.commands_for(Verb::Check), LOOKING);
    assert_eq!((check.code, shop.recorded()), (0, vec!["no ledger".to_owned()]), "a look leaves nothing");
    let said = shop.works(Verb::Migrate, None);
    assert_eq!(said.begun(&shop.recipe), ["a1", "b2", "c3"]);
    assert_eq!(shop.recorded(), ["a1", "b2", "c3"]);
    let said = shop.works(Verb::Rollback, Some("a1"));
    assert_eq!(said.begun(&shop.recipe), ["c3", "b2"]);
    assert_eq!(
        (shop.recorded(), shop.lab.database.contents()),
        (vec!["a1".to_owned()], "alembic_version\nusers".to_owned())
    );
    shop.works(Verb::Baseline, Some("b2"));
    assert_eq!(shop.recorded(), ["a1", "b2"]);
    shop.works(Verb::Baseline, None);
    assert_eq!(shop.recorded(), ["a1", "b2", "c3"]);
    assert_eq!(shop.lab.database.contents(), "alembic_version\nusers", "it was recorded and not done");
}

#[test]
fn a_merge_of_branches_records_everything_below_it() {
    let shop = Shop::with_three();
    shop.project.migration("d4", "\"b2\"", "create table parcels (id int)", "drop table parcels");
    let fault = shop.fails(Verb::Migrate, None);
    assert!(fault.cause.contains("Multiple head revisions") && fault.fix.contains("alembic merge heads"), "{fault:?}");
    shop.project.migration("e5", "\"c3\", \"d4\"", "create table ships (id int)", "drop table ships");
    shop.works(Verb::Migrate, None);
    let recorded = shop.recorded();
    assert_eq!((recorded.len(), recorded.last().map(String::as_str)), (5, Some("e5")));
    shop.works(Verb::Rollback, Some("d4"));
    assert!(!shop.recorded().contains(&"e5".to_owned()));
}

#[test]
fn what_alembic_fails_at_is_explained() {
    let shop = Shop::with_three();
    shop.lab.database.sql("create table orders (id int)");
    let fault = shop.fails(Verb::Migrate, None);
    assert!(fault.cause.contains("relation \"orders\" already exists"), "{fault:?}");
    assert!(fault.fix.ends_with("`alembic stamp b2`"), "{fault:?}");
    assert_eq!(shop.recorded(), ["no ledger"], "everything is in one transaction");
    shop.lab.database.sql("drop table orders");
    shop.project.migration("c3", "\"b2\"", "alter table nosuch add x int", "");
    let fault = shop.fails(Verb::Migrate, None);
    assert!(
        fault.cause.contains("\"nosuch\" does not exist") && fault.fix.contains("has made nosuch here"),
        "{fault:?}"
    );
    shop.project.migration("c3", "\"b2\"", "create table items (id int)", "drop table items");
    shop.works(Verb::Migrate, None);
    shop.project.forget("c3");
    let fault = shop.fails(Verb::Check, None);
    assert!(fault.cause.contains("Can't locate revision") && fault.fix.contains("the revision c3"), "{fault:?}");
    let fault = shop.fails(Verb::Rollback, Some("nosuch"));
    assert!(fault.code == Code::ToolFailed && fault.fix.contains("the revision"), "{fault:?}");
}

/// A step that calls the real Alembic on a server.
fn on<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "alembic");
    step.input("working-directory", "shop")
        .input("setup", format!("export DATABASE_URL='{}'", from_the_server(&lab.database)))
}

#[test]
fn the_plan_to_go_back_is_what_alembic_undoes_branch_by_branch() {
    let shop = Shop::with_three();
    shop.project.migration("d4", "\"b2\"", "create table parcels (id int)", "drop table parcels");
    shop.project.migration("e5", "\"c3\", \"d4\"", "create table ships (id int)", "drop table ships");
    let server = shop.project.put_on(Server::start());
    shop.works(Verb::Migrate, None);
    let back = |target| on(&shop.lab, &server).input("command", "rollback").input("target", target).run().succeeds();
    let told = back("c3").pending(["e5"]).says("  1 migration to roll back").says("  to roll back e5");
    told.never_says("to roll back c3").done();
    assert_eq!(shop.recorded().len(), 4, "both branches stay");
    let told = back("b2").says("  2 migrations to roll back");
    // Neither of the two is above the other.
    let pending = &told.outputs["pending"];
    let names = if pending.find("c3") < pending.find("d4") { ["c3", "d4"] } else { ["d4", "c3"] };
    let told = told.pending(names);
    told.never_says("to roll back b2").done();
    assert_eq!(shop.recorded(), ["a1", "b2"]);
}

#[test]
fn where_alembic_can_not_even_connect_no_migration_has_failed() {
    let shop = Shop::with_three();
    let server = shop.project.put_on(Server::start());
    let nowhere = on(&shop.lab, &server).input("setup", "export DATABASE_URL=postgres://app@127.0.0.1:1/shop");
    let told = nowhere.run().fails("tool-failed", 6).pending(["a1", "b2", "c3"]);
    told.error("Connection refused").never_says("failed a1").done();
    shop.project.migration("c3", "\"b2\"", "alter table nosuch add x int", "");
    let server = shop.project.put_on(server);
    let told = on(&shop.lab, &server).run().fails("tool-failed", 6).pending(["a1", "b2", "c3"]);
    told.error("does not exist").says("failed c3").never_says("failed a1").done();
}

/// Whoever writes a migration writes its title.
#[test]
fn a_title_stands_beside_the_id_and_is_text_of_a_stranger() {
    let shop = Shop::with_three();
    let hostile = format!("add <b>users</b> | ::error::no {}", "x".repeat(200));
    let about = shop.project.about("a1", &hostile);
    let server = about.put_on(Server::start());
    let plan = on(&shop.lab, &server).input("command", "plan").run().pends().pending(["a1", "b2", "c3"]);
    let plan = plan.says("  pending a1 (add <b>users</b> | ::error::no xxx").says("  pending b2 (about b2)\n");
    assert!(plan.summary.contains("a1 (add &lt;b&gt;users&lt;/b&gt; \\| ::error::no xxx"), "{}", plan.summary);
    let pending: serde_json::Value = serde_json::from_str(&plan.outputs["pending"]).unwrap();
    assert_eq!(pending[1], serde_json::json!({"name": "b2", "title": "about b2"}));
    assert!(pending[0]["title"].as_str().unwrap().chars().count() <= 121, "{pending}");
    assert!(plan.outputs["report"].contains(r#""name":"c3","title":"about c3""#), "{}", plan.outputs["report"]);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let server = shop.project.about("a1", "something else").put_on(server);
    let plan = on(&shop.lab, &server).input("command", "plan").run().pends().pending(["a1", "b2", "c3"]);
    assert_eq!(plan.outputs["plan-digest"], digest, "it names nothing");
    plan.done();
    on(&shop.lab, &server).run().succeeds().applied(["a1", "b2", "c3"]).done();
    let status = on(&shop.lab, &server).input("command", "status").run().nothing_to_do();
    status.summary("| a1 (something else) |").done();
}
