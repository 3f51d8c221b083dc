//! What is claimed for all layouts holds for each of them: one suite over all.

use crate::{
    action::Action,
    flights::Flights,
    lab::{Lab, gate::Gate},
    layout_forms::{FORMS, Form, Reach},
};
use bastion_migrate::layout::{self, OwnTransactionTreatment};
use rustix::process::Signal;
use std::time::Duration;

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);

fn step<'a>(form: &Form, lab: &'a Lab) -> Action<'a> {
    form.golden_files(form.step(Action::new(lab)))
}

/// Names the layout in the output of a test that fails.
fn forms() -> impl Iterator<Item = &'static Form> {
    FORMS.iter().inspect(|form| eprintln!("layout {}", form.layout))
}

fn labels(form: &Form) -> [String; 2] {
    [form.label(1, "one"), form.label(2, "two")]
}

#[test]
fn every_layout_has_a_form() {
    let mut forms: Vec<&str> = FORMS.iter().map(|form| form.layout).collect();
    let mut layouts: Vec<&str> = layout::ALL.iter().map(|layout| layout.name()).collect();
    forms.sort_unstable();
    layouts.sort_unstable();
    assert_eq!(forms, layouts);
}

#[test]
fn a_fresh_database_gets_the_ledger_of_the_tool_and_the_next_run_has_nothing_to_do() {
    for form in forms() {
        let lab = Lab::new();
        let [one, two] = labels(form);
        let labels = [one.as_str(), two.as_str()];
        step(form, &lab).input("command", "plan").run().has_pending().pending(labels).done();
        assert_eq!(lab.database.contents(), "", "{}", form.layout);
        step(form, &lab).run().succeeds().applied(labels).output("pending-count", "0").done();
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
        for command in ["migrate", "plan"] {
            step(form, &lab).input("command", command).run().nothing_to_do().done();
        }
        step(form, &lab).input("command", "verify").run().succeeds().done();
        // Nothing of ours is among the application's tables.
        let contents = lab.database.contents();
        let expected = ["one", "two", form.table, form.table.split('.').next().unwrap_or_default()];
        let is_of_ledger = |name: &str| name.strip_prefix(form.table).is_some_and(|rest| rest.starts_with('_'));
        let foreign: Vec<&str> =
            contents.lines().filter(|name| !expected.contains(name) && !is_of_ledger(name)).collect();
        assert_eq!(foreign, [""; 0], "{}: {contents}", form.layout);
    }
}

#[test]
fn a_ledger_that_the_tool_has_written_decides_the_layout_and_is_continued() {
    for form in forms() {
        let lab = Lab::new();
        let first =
            form.reversible(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE, "drop table one;\n");
        first.run().succeeds().applied([form.label(1, "one").as_str()]).done();
        let auto = || form.golden_files(Action::new(&lab));
        let layout = format!("the layout is {}: `", form.layout);
        auto().run().succeeds().applied([form.label(2, "two").as_str()]).logs(&layout).logs("is its ledger").done();
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn a_changed_file_is_refused_where_the_ledger_has_checksums() {
    for form in forms() {
        let lab = Lab::new();
        step(form, &lab).run().succeeds().applied(labels(form).each_ref().map(String::as_str)).done();
        let changed = form.migration(form.step(Action::new(&lab)), 1, "one", "create table one (id bigint);\n");
        let changed = form.migration(changed, 2, "two", crate::layout_forms::TWO).run();
        if form.has_checksums {
            let (file, message) = (form.path(1, "one"), "is not what was applied as version");
            changed.fails("file-changed", 5).error_in(&file, message).done();
        } else {
            changed.nothing_to_do().done();
        }
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn a_version_without_its_file_is_refused_unless_missing_files_are_ignored() {
    for form in forms() {
        let lab = Lab::new();
        step(form, &lab).run().succeeds().applied(labels(form).each_ref().map(String::as_str)).done();
        let step = || form.migration(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE);
        step().run().fails("file-missing", 5).error("is applied, but there is no file for it").done();
        step().input("missing", "ignore").run().nothing_to_do().done();
    }
}

#[test]
fn a_failed_file_is_rolled_back_with_its_row_and_stops_all_later_files() {
    for form in forms() {
        let lab = Lab::new();
        let step = |second: &str| {
            let step = form.migration(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE);
            let step = form.migration(step, 2, "two", second);
            form.migration(step, 3, "three", "create table three ();\n")
        };
        let (one, two, three) = (form.label(1, "one"), form.label(2, "two"), form.label(3, "three"));
        let failed = step("create table two (id int);\n\nselect 1/0;\n").run().fails("statement-failed", 6);
        failed.applied([one.as_str()]).pending([two.as_str(), three.as_str()]).logs("division by zero").done();
        assert_eq!(lab.database.sql("select to_regclass('two'), to_regclass('three')"), "|", "{}", form.layout);
        let rest = [two.as_str(), three.as_str()];
        step(crate::layout_forms::TWO).run().succeeds().applied(rest).done();
        step(crate::layout_forms::TWO).input("command", "verify").run().succeeds().done();
    }
}

#[test]
fn a_killed_run_leaves_ledger_and_schema_in_agreement() {
    for form in forms() {
        let lab = Lab::new();
        let step = || {
            let step = form.migration(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE);
            let step = form.migration(step, 2, "two", &format!("create table two (id int);\n{}", Gate::sql(7)));
            form.migration(step.input("lock-timeout", "0"), 3, "three", "create table three ();\n")
        };
        let (one, two, three) = (form.label(1, "one"), form.label(2, "two"), form.label(3, "three"));
        let gate = Gate::close(&lab.database, 7);
        let running = step().start();
        gate.wait_until_reached();
        running.kill();
        // Everything is already sent: the file at the gate would go on to its commit if the server did not notice.
        assert_eq!(lab.left_behind(), "", "{}", form.layout);
        gate.open();
        assert_eq!(lab.database.sql("select to_regclass('one') is null, to_regclass('two')"), "f|", "{}", form.layout);
        step().input("command", "plan").run().has_pending().pending([two.as_str(), three.as_str()]).done();
        step().run().succeeds().applied([two.as_str(), three.as_str()]).done();
        step().run().nothing_to_do().done();
        assert_ne!(one, two);
    }
}

#[test]
fn a_stopped_run_reports_what_its_ledger_has() {
    for form in forms() {
        let lab = Lab::new();
        let step = || {
            let step = form.migration(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE);
            form.migration(step, 2, "two", "create table two (id int);\nselect pg_sleep(60);\n")
        };
        let running = step().start();
        let sleeping = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
                        and query ilike '%pg_sleep%' and wait_event = 'PgSleep'";
        lab.database.wait_for(sleeping, "1");
        running.signal(Signal::INT);
        let finished = running.finish().fails("cancelled", 130).applied([form.label(1, "one").as_str()]);
        finished.pending([form.label(2, "two").as_str()]).within(BUDGET).done();
        assert_eq!(lab.database.sql("select to_regclass('one') is null, to_regclass('two')"), "f|", "{}", form.layout);
        step().input("command", "plan").run().has_pending().pending([form.label(2, "two").as_str()]).done();
    }
}

#[test]
fn a_half_done_file_without_a_transaction_resumes_and_leaves_nothing_of_ours_behind() {
    for form in forms() {
        let lab = Lab::new();
        let step = |last: &str| {
            let step = form.migration(form.step(Action::new(&lab)), 1, "one", crate::layout_forms::ONE);
            let text = format!("create index concurrently one_id on one (id);\n{last}");
            form.without_transaction(step, 2, "two", &text)
        };
        let (one, two) = (form.label(1, "one"), form.label(2, "two"));
        let failed = step("create table no.two (id int);\n").run().fails("statement-failed", 6);
        failed.applied([one.as_str()]).pending([two.as_str()]).logs("the next run resumes with it").done();
        let own = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where relkind = 'r' \
                   and (relname ~ 'progress') and nspname <> 'bastion_migrate'";
        assert_eq!(lab.database.sql(own), "0", "{}", form.layout);
        step("create table two (id int);\n").run().succeeds().applied([two.as_str()]).done();
        step("create table two (id int);\n").run().nothing_to_do().done();
        if form.layout != "plain" {
            let kept = "select relname from pg_class where relnamespace = to_regnamespace('bastion_migrate') and relkind = 'r'";
            assert_eq!(lab.database.sql(kept), "runs", "{}", form.layout);
        }
        assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 'one_id'::regclass"), "t");
    }
}

#[test]
fn status_lists_what_each_ledger_has_about_its_rows() {
    for form in forms() {
        let lab = Lab::new();
        // Times without a zone are those of the zone that the database has set.
        lab.database.sql(&format!("alter database {} set timezone = 'Asia/Kolkata'", lab.database.name()));
        step(form, &lab).run().succeeds().applied(labels(form).each_ref().map(String::as_str)).done();
        let status = step(form, &lab).input("command", "status").run().nothing_to_do();
        let report: serde_json::Value = serde_json::from_str(&status.outputs["report"]).unwrap();
        let rows = report["recorded"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{}", form.layout);
        for row in rows {
            let found: Vec<&str> =
                ["recorded_at", "role", "run"].into_iter().filter(|key| !row[key].is_null()).collect();
            assert_eq!(found, form.has_of_rows, "{}", form.layout);
            assert!(!row["version"].as_str().unwrap().is_empty() && !row["file"].as_str().unwrap().is_empty());
            if let Some(time) = row["recorded_at"].as_str() {
                let is_now = format!("select now() - '{time}'::timestamptz between '0' and '2 min', length('{time}')");
                assert_eq!(lab.database.sql(&is_now), "t|20", "{} {time}", form.layout);
            }
            assert!(row["role"].as_str().is_none_or(|role| role == "app"), "{row}");
        }
        let columns = form.has_of_rows.iter().map(|key| match *key {
            "recorded_at" => " When |",
            "role" => " Role |",
            _ => " Run |",
        });
        status.summary(&format!("### Applied\n\n| Migration |{}\n", columns.collect::<String>())).done();
    }
}

#[test]
fn an_approved_plan_is_applied_and_another_one_is_not() {
    for form in forms() {
        let lab = Lab::new();
        let [one, two] = labels(form);
        let labels = [one.as_str(), two.as_str()];
        let planned = step(form, &lab).input("command", "plan").run().has_pending().pending(labels);
        let digest = planned.outputs["plan-digest"].clone();
        planned.done();
        let other = form.migration(form.step(Action::new(&lab)), 1, "one", "create table one (id bigint);\n");
        let other = form.migration(other, 2, "two", crate::layout_forms::TWO).input("expect-plan", &digest);
        other.run().fails("plan-changed", 5).pending(labels).done();
        step(form, &lab).input("expect-plan", &digest).run().succeeds().applied(labels).done();
    }
}

/// Returns how many rows of the ledger have this version.
fn rows_of(form: &Form, number: u32, name: &str) -> String {
    let version = form.recorded_version(number, name);
    format!("select count(*) from ({}) rows (version, complete) where version::text = '{version}'", form.versions)
}

#[test]
fn a_commit_with_a_lost_response_is_settled_by_the_ledger() {
    for form in forms() {
        let lab = Lab::new();
        let network = Flights::to(lab.database.server().port());
        let names = ["one", "two", "three"];
        let step = || {
            let url = lab.database.url_at("localhost", network.port());
            let step = form.step(Action::new(&lab)).secret("database-url", url).input("lock-timeout", "0");
            (1..).zip(names).fold(step, |step, (number, name)| {
                // The sleep keeps it from being a quick file, whose commit is in doubt until a later one is flushed.
                let gate = Gate::sql(number);
                let text = format!("create table {name} (id int);\nselect pg_sleep(0.02);\n{gate}");
                form.migration(step, number, name, &text)
            })
        };
        let labels = [form.label(1, "one"), form.label(2, "two"), form.label(3, "three")];
        let gate = Gate::close(&lab.database, 3);
        let running = step().start();
        gate.wait_until_reached();
        network.freeze();
        gate.open();
        lab.database.wait_for(&rows_of(form, 3, "three"), "1");
        network.cut();
        network.thaw();
        let resolved = running.finish().succeeds().applied(labels.each_ref().map(String::as_str));
        resolved.logs("to see what was committed").logs(": committed\n").logs("the ledger confirms it").done();
        step().run().nothing_to_do().done();
    }
}

/// Four files, which are sent at once where the second one lets them.
fn four_files<'a>(form: &Form, lab: &'a Lab, second: &str) -> Action<'a> {
    let step = form.migration(form.step(Action::new(lab)), 1, "one", crate::layout_forms::ONE);
    let step = form.migration(step, 2, "two", second);
    let step = form.migration(step, 3, "three", "create table three ();\n");
    form.migration(step, 4, "four", "create table four ();\n")
}

fn existing_tables(lab: &Lab) -> String {
    lab.database.sql(
        "select string_agg(relname, ' ' order by relname) from pg_class \
         where relname in ('one', 'two', 'behind', 'three', 'four')",
    )
}

#[test]
fn a_file_with_a_lone_commit_is_refused() {
    for form in forms() {
        let lab = Lab::new();
        let run = four_files(form, &lab, "create table two (id int);\ncommit;\ncreate table behind (id int);\n").run();
        run.fails("own-transaction", 2).logs("`COMMIT` on line ").done();
        assert_eq!(existing_tables(&lab), "", "{}", form.layout);
    }
}

#[test]
fn a_file_that_fails_behind_its_own_transaction_is_refused_or_stops_all_later_files() {
    for form in forms() {
        let lab = Lab::new();
        let second = "begin;\ncreate table two (id int);\ncommit;\nselect 1/0;\ncreate table behind (id int);\n";
        let run = four_files(form, &lab, second).run();
        let treatment = layout::Layout::by_name(form.layout).unwrap().own_transactions();
        if treatment == OwnTransactionTreatment::Refused {
            let mut run = run.logs("`COMMIT` on line ");
            assert_eq!(run.take_problems(), [""; 0], "{}", form.layout);
            assert_eq!(run.outputs["fault-code"], "own-transaction", "{}", form.layout);
            assert_eq!(existing_tables(&lab), "", "{}", form.layout);
            continue;
        }
        let [one, two] = labels(form);
        let (three, four) = (form.label(3, "three"), form.label(4, "four"));
        // As the tool of the layout sends it: what is before the COMMIT stays.
        let failed = run.fails("statement-failed", 6).applied([one.as_str()]).logs("division by zero");
        failed.pending([two.as_str(), three.as_str(), four.as_str()]).done();
        assert_eq!(existing_tables(&lab), "one two", "{}", form.layout);
        assert_eq!(lab.database.sql(&rows_of(form, 2, "two")), "0", "{}", form.layout);
    }
}

/// Without `standard_conforming_strings` the server reads `\'` as a quote inside the string, so that the COMMIT is
/// outside. The user's `options` take precedence over the setting of our start-up message.
#[test]
fn a_commit_that_only_the_server_sees_stops_all_later_files() {
    for form in forms() {
        let lab = Lab::new();
        let second = "create table two (id int);\nselect 'a\\', ' b; commit; -- ';\n";
        let url = lab.database.url() + "?options=-c%20standard_conforming_strings%3Doff";
        let run = four_files(form, &lab, second).secret("database-url", url).run();
        let [one, two] = labels(form);
        let (three, four) = (form.label(3, "three"), form.label(4, "four"));
        let failed = run.fails("transaction-ended", 6).applied([one.as_str()]);
        let failed = failed.pending([two.as_str(), three.as_str(), four.as_str()]);
        failed.logs("part of the file may be committed").done();
        assert_eq!(existing_tables(&lab), "one two", "{}", form.layout);
        assert_eq!(lab.database.sql(&rows_of(form, 2, "two")), "0", "{}", form.layout);
    }
}

#[test]
fn a_file_that_hits_a_lock_is_tried_again_and_nothing_is_repeated() {
    for form in forms() {
        let lab = Lab::new();
        lab.database.sql("create table busy (id int); alter table busy owner to app");
        let holder = lab.database.session();
        holder.sql("begin; lock table busy");
        let step = || {
            let step = form.step(Action::new(&lab)).input("lock-timeout", "300ms");
            let step = form.migration(step, 1, "one", "create table one (id int);\ninsert into one values (1);\n");
            let second = "insert into one values (2);\nalter table busy add name text;\n";
            let step = form.migration(step, 2, "two", second);
            form.migration(step, 3, "three", "insert into one values (3);\n")
        };
        let running = step().start();
        running.wait_for_line(&format!("another try of {}", form.path(2, "two")), Duration::from_secs(20));
        holder.sql("rollback");
        let [one, two] = labels(form);
        let labels = [one, two, form.label(3, "three")];
        let finished = running.finish().succeeds().applied(labels.each_ref().map(String::as_str));
        finished.logs("canceling statement due to lock timeout").done();
        assert_eq!(lab.database.sql("select string_agg(id::text, ' ' order by id) from one"), "1 2 3");
        let expected = if form.reach == Reach::UpTo { "1" } else { "3" };
        let rows = format!("select count(*) from ({}) rows", form.versions);
        assert_eq!(lab.database.sql(&rows), expected, "{}", form.layout);
        step().run().nothing_to_do().done();
    }
}
