//! The files compared with the ledger: refused differences, exceptions on request, and the ledger's location.

use crate::{action::Action, judge::Finished, lab::Lab};

/// A step with these files; each creates a table of the same name.
fn step<'l>(lab: &'l Lab, names: &[&str]) -> Action<'l> {
    names.iter().fold(Action::new(lab), |step, name| {
        let table = name.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_');
        step.file(&format!("migrations/{name}.sql"), format!("create table {table} ();\n"))
    })
}

/// Returns a lab in which these files are applied.
fn applied(names: &[&str]) -> Lab {
    let lab = Lab::new();
    step(&lab, names).run().succeeds().applied(names.iter().copied()).done();
    lab
}

const LEDGER: &str = "select version, name, checksum, applied_at, run from bastion_migrate.ledger order by version";

/// Runs a step that must change nothing.
fn changes_nothing(lab: &Lab, step: Action<'_>, judge: impl FnOnce(Finished) -> Finished) {
    let state = || (lab.database.contents(), lab.database.sql(LEDGER));
    let before = state();
    judge(step.run()).done();
    assert_eq!(state(), before);
}

#[test]
fn a_file_that_changed_after_it_was_applied_is_refused() {
    let lab = applied(&["0001_a", "0002_b"]);
    let changed = step(&lab, &["0002_b", "0003_c"]).file("migrations/0001_a.sql", "create table a (id int);\n");
    changes_nothing(&lab, changed, |done| {
        done.fails("file-changed", 5)
            .error_in("migrations/0001_a.sql", "`migrations/0001_a.sql` is not what was applied as version 1")
            .summary("restore the file as it was applied, and put the change into a new file")
    });
}

#[test]
fn a_missing_file_of_a_recorded_version_is_refused() {
    let lab = applied(&["0001_a", "0002_b"]);
    changes_nothing(&lab, step(&lab, &["0001_a", "0003_c"]), |done| {
        done.fails("file-missing", 5)
            .error("version 2 (`b`) is applied, but there is no file for it")
            .logs("fix: restore the file, or check out the branch that has it")
    });
}

#[test]
fn a_new_file_before_an_applied_one_is_refused_unless_allowed() {
    let lab = applied(&["0001_a", "0003_c"]);
    let late = || step(&lab, &["0001_a", "0002_b", "0003_c"]);
    changes_nothing(&lab, late(), |done| {
        done.fails("out-of-order", 5)
            .error_in(
                "migrations/0002_b.sql",
                "`migrations/0002_b.sql` has version 2, but version 3 is already applied",
            )
            .logs("or set `out-of-order: allow`")
    });
    late().input("out-of-order", "allow").run().succeeds().applied(["0002_b"]).done();
    late().run().nothing_to_do().done();
}

#[test]
fn a_run_stops_at_its_target() {
    let lab = Lab::new();
    let names = ["0001_a", "0002_b", "0003_c"];
    let to = |target: &str| step(&lab, &names).input("target", target);
    to("2").run().succeeds().applied(["0001_a", "0002_b"]).done();
    to("0002").run().nothing_to_do().done();
    changes_nothing(&lab, to("7"), |done| {
        done.fails("target-unknown", 2)
            .error("no file has the version 7 that `target` names")
            .logs("the last version of a file is 3")
    });
    step(&lab, &names).run().succeeds().applied(["0003_c"]).done();
}

#[test]
fn all_refusals_are_reported_at_once() {
    let lab = applied(&["0001_a", "0002_b", "0004_d"]);
    let wrong = step(&lab, &["0003_c", "0004_d"]).file("migrations/0001_a.sql", "select 1;").input("target", "9");
    changes_nothing(&lab, wrong, |done| {
        done.fails("target-unknown", 2)
            .error("target-unknown")
            .error_in("migrations/0001_a.sql", "file-changed")
            .error("file-missing")
            .error_in("migrations/0003_c.sql", "out-of-order")
    });
}

#[test]
fn only_the_approved_plan_is_applied() {
    let lab = applied(&["0001_a"]);
    let two = || step(&lab, &["0001_a", "0002_b"]);
    let planned = two().input("command", "plan").run();
    let digest = planned.outputs["plan-digest"].clone();
    planned.has_pending().pending(["0002_b"]).logs(&digest).summary(&digest).done();

    let more = || step(&lab, &["0001_a", "0002_b", "0003_c"]);
    let replanned = more().input("command", "plan").run();
    let new = replanned.outputs["plan-digest"].clone();
    replanned.has_pending().pending(["0002_b", "0003_c"]).done();
    assert_ne!(digest, new);
    changes_nothing(&lab, more().input("expect-plan", &digest), |done| {
        done.fails("plan-changed", 5)
            .error(&format!("the plan is {new}, and `expect-plan` is {digest}"))
            .pending(["0002_b", "0003_c"])
            .output("plan-digest", &new)
    });
    two().input("expect-plan", digest.to_uppercase()).run().succeeds().applied(["0002_b"]).done();
    // A repeated job finds nothing to do.
    two().input("expect-plan", &digest).run().nothing_to_do().done();
}

#[test]
fn an_approval_may_omit_the_prefix_of_the_digest_and_nothing_else() {
    let lab = Lab::new();
    let planned = step(&lab, &["0001_a"]).input("command", "plan").run();
    let digest = planned.outputs["plan-digest"].clone();
    planned.has_pending().pending(["0001_a"]).done();
    let bare = digest.strip_prefix("sha256:").expect("the digest has a prefix");
    step(&lab, &["0001_a"])
        .input("expect-plan", bare.chars().take(12).collect::<String>())
        .run()
        .fails("input-invalid", 2)
        .error("`expect-plan`")
        .done();
    step(&lab, &["0001_a"]).input("expect-plan", bare).run().succeeds().applied(["0001_a"]).done();
}

#[test]
fn the_ledger_may_be_a_table_of_another_name() {
    let lab = Lab::new();
    for table in ["public.versions", "ops.versions", "versions_too"] {
        let step_with_table =
            || Action::new(&lab).file("migrations/0001_a.sql", "select 1;").input("ledger-table", table);
        step_with_table().run().succeeds().applied(["0001_a"]).done();
        step_with_table().run().nothing_to_do().done();
    }
    assert_eq!(lab.database.contents(), "ops\nops.versions\nversions\nversions_too");
}

#[test]
fn a_table_with_other_columns_is_refused_as_a_ledger() {
    let lab = Lab::new();
    lab.database.sql("create table versions (id int, what text)");
    let wrong = step(&lab, &["0001_a"]).input("ledger-table", "public.versions");
    wrong
        .run()
        .fails("ledger-shape", 5)
        .error("the table `public.versions` is not a ledger of the layout `plain`: it has the columns id, what")
        .done();
    assert_eq!(lab.database.contents(), "versions");
}

#[test]
fn a_role_that_may_not_create_a_schema_gets_advice_that_works() {
    let lab = Lab::new();
    let role = format!("guest_{}", lab.database.name());
    let secret = "a-guest's-own-password";
    lab.database.sql(&format!(
        "create role {role} login password '{}'; grant create on schema public to {role}",
        secret.replace('\'', "''")
    ));
    let url = lab.database.url();
    let (_, address) = url.rsplit_once('@').unwrap();
    let guest = || {
        let url = format!("postgres://{role}:a-guest%27s-own-password@{address}");
        step(&lab, &["0001_a"]).secret("database-url", url)
    };
    guest()
        .run()
        .fails("permission-denied", 6)
        .error("permission denied for database")
        .pending(["0001_a"])
        .logs("the ledger `bastion_migrate.ledger` could not be created")
        .logs("`ledger-table: public.ledger`")
        .warning("this run is not recorded in the database: permission denied")
        .done();
    assert_eq!(lab.database.contents(), "");
    let own_ledger = guest().input("ledger-table", "public.ledger").input("audit", "false");
    own_ledger.run().succeeds().applied(["0001_a"]).done();
    assert_eq!(lab.database.sql("select applied_by = '' from ledger"), "f");
    assert_eq!(lab.database.contents(), "a\nledger");
}

#[test]
fn an_approval_expires() {
    let lab = applied(&["0001_a"]);
    let with_max_age = |age: &str| step(&lab, &["0001_a", "0002_b"]).input("risk", format!("plan-max-age: {age}"));
    let planned = with_max_age("2h").input("command", "plan").run();
    let stamped = planned.outputs["plan-digest"].clone();
    planned.has_pending().pending(["0002_b"]).logs(&stamped).summary(&stamped).done();
    let (digest, time) = stamped.split_once('/').expect("the digest has the time of the plan");

    changes_nothing(&lab, with_max_age("2h").input("expect-plan", format!("{digest}/2026-11-30T08:00:00Z")), |done| {
        done.fails("plan-too-old", 5)
            .error("ago, at 2026-11-30 08:00:00 UTC, and `plan-max-age` of `risk` is 120 min")
            .pending(["0002_b"])
            .output("plan-digest", digest)
    });
    changes_nothing(&lab, with_max_age("2h").input("expect-plan", digest), |done| {
        done.fails("input-invalid", 2).error("has no time").logs("set the same `risk` in the run with `command: plan`")
    });
    changes_nothing(
        &lab,
        with_max_age("2h").input("expect-plan", format!("sha256:{}/{time}", "0".repeat(64))),
        |done| done.fails("plan-changed", 5).error(digest).pending(["0002_b"]),
    );
    with_max_age("2h").input("expect-plan", &stamped).run().succeeds().applied(["0002_b"]).done();
}
