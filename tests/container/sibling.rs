//! The container in which a foreign tool runs: what it is given, what it is not, and how it may end.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS},
    bystander::{BYSTANDER, Bystander},
    engine::{docker, image, inspect, label},
    leak,
    network::{DATABASE, Database, MACHINE, PASSWORD, ROLE, shared},
    registry,
    running::Running,
    step::{Step, TOKEN},
};
use serde_json::Value;
use std::fs;

/// Programs and nothing else, from `tests/container/bare/Dockerfile`.
const BARE: &str = "bastion-migrate-bare:bookworm";

/// The only container that the step has made, while its program sleeps.
fn sibling(running: &Running<'_>) -> Value {
    let there = || running.siblings().pop().map(|id| inspect(&id)).filter(|known| known["State"]["Running"] == true);
    running.wait_until("a container of the step", there)
}

/// Its environment by name.
fn variables(sibling: &Value) -> Vec<(String, String)> {
    let pairs = sibling.pointer("/Config/Env").and_then(Value::as_array).expect("a container has an environment");
    let pair = |pair: &Value| pair.as_str()?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.iter().filter_map(pair).collect()
}

fn sleeping<'a>(database: &'a Database, run: &str) -> Step<'a> {
    Step::in_image(database, image(MACHINE), run)
}

/// Whoever may ask the engine, and whoever is in the sibling: neither learns what is the action's own.
#[test]
fn nothing_of_ours_is_in_a_sibling() {
    let database = shared().database();
    let network = database.network();
    let step = sleeping(&database, "sleep 600").env("STEP_SECRET", "not passed on").hands_over("GIVEN=a=b c");
    let step = step.secret("registry-username", registry::ROBOT).secret("registry-password", registry::PASSWORD);
    let step = step.env("PASSED", "passed-on").input("pass-env", "PASSED");
    let running = step.start();
    let sibling = sibling(&running);

    let of_ours = [network.key(), TOKEN.to_owned(), registry::PASSWORD.to_owned()];
    let pid = sibling["State"]["Pid"].as_u64().expect("it runs");
    let process = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
    let places = [sibling.to_string(), process("environ"), process("cmdline"), docker(&["top", running.container()])];
    for (place, secret) in places.iter().flat_map(|place| of_ours.iter().map(move |secret| (place, secret))) {
        assert_eq!(leak::found(place, secret), None, "{place}");
    }

    let mut named: Vec<String> = variables(&sibling).into_iter().map(|(name, _)| name).collect();
    named.retain(|name| !["PATH", "TEST_STEP"].contains(&name.as_str()));
    named.sort();
    let expected = [
        "DATABASE_URL",
        "GIVEN",
        "PASSED",
        "PGAPPNAME",
        "PGDATABASE",
        "PGHOST",
        "PGOPTIONS",
        "PGPASSWORD",
        "PGPORT",
        "PGSSLMODE",
        "PGUSER",
    ];
    assert_eq!(named, expected);
    assert!(variables(&sibling).contains(&("GIVEN".to_owned(), "a=b c".to_owned())));

    let mut without = sibling.clone();
    without.pointer_mut("/Config/Env").expect("it was there a moment ago").take();
    assert_eq!(leak::found(&without.to_string(), PASSWORD), None, "{without}");
    assert_eq!(without.pointer("/HostConfig/Binds").and_then(Value::as_array).map_or(0, Vec::len), 0, "{without}");
    assert_eq!(without["Mounts"], serde_json::json!([]));
    assert_eq!(without.pointer("/HostConfig/Privileged"), Some(&Value::Bool(false)));
    running.cancel().finished.fails("cancelled", 130).done();
}

#[test]
fn a_sibling_is_labelled_and_shares_the_network_of_the_action_alone() {
    let database = shared().database();
    let running = sleeping(&database, "sleep 600").start();
    let (sibling, action) = (sibling(&running), inspect(running.container()));
    let label =
        |name: &str| sibling["Config"]["Labels"][format!("dev.bastion-migrate.{name}")].as_str().map(str::to_owned);
    assert!(label("run").is_some_and(|run| !run.is_empty()));
    let expires: u64 = label("expires").and_then(|expires| expires.parse().ok()).expect("it may be removed some day");
    let now: u64 =
        docker(&["run", "--rm", "--label", &crate::engine::label(), MACHINE, "date", "+%s"]).parse().unwrap();
    assert!(expires > now && expires < now + 24 * 3600, "{expires} at {now}");
    let network = format!("container:{}", action["Id"].as_str().expect("it has an id"));
    assert_eq!(sibling.pointer("/HostConfig/NetworkMode").and_then(Value::as_str), Some(network.as_str()));
    running.cancel().finished.fails("cancelled", 130).done();
}

/// As every tool finds the database: by its URL, or by the variables of libpq.
#[test]
fn the_database_has_its_own_name_and_port_in_a_sibling() {
    let database = shared().database();
    let running = sleeping(&database, "getent hosts db.private.internal; sleep 600").start();
    let variables = variables(&sibling(&running));
    let value = |name: &str| variables.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    assert_eq!(value("DATABASE_URL"), database.url());
    let libpq = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"].map(value);
    assert_eq!(libpq, [DATABASE, "5432", ROLE, PASSWORD, database.name()]);
    running.wait_for_line("127.0.0.1");
    running.cancel().finished.fails("cancelled", 130).done();
}

/// An address can't be given another meaning, so the tool is given another address.
#[test]
fn a_database_that_is_known_by_its_address_is_reached_at_the_tunnels_end() {
    let database = shared().database();
    let address = database.network().postgres().address(database.network().private());
    let step =
        sleeping(&database, "psql -XAt -c 'select current_database()'; psql -XAt \"$DATABASE_URL\" -c 'select 6 * 7'");
    let told = step.secret("database-url", database.url_at(&address)).run().unrecorded();
    told.says(&format!("| {}\n", database.name())).says("| 42\n").done();
}

#[test]
fn psql_in_a_sibling_needs_no_arguments() {
    let database = shared().database();
    let run = "psql -XAt -c 'show lock_timeout' -c 'select current_database()'";
    let told = sleeping(&database, run).input("lock-timeout", "4321ms").input("retries", "0").run().unrecorded();
    told.says("4321ms").says(database.name()).done();
}

#[test]
fn the_workspace_is_there_if_it_is_asked_for() {
    let database = shared().database();
    let look = "pwd; cat /github/workspace/a/note || true; touch /github/workspace/a/made || true";
    let step = || sleeping(&database, look).file("a/note", "a note of the checkout\n");
    step().run().unrecorded().never_says("a note of the checkout").done();
    let mounted = |how: &str| step().input("mount-workspace", how).input("working-directory", "/github/workspace/a");
    let told = mounted("read-only").run().unrecorded().says("a note of the checkout").says("/github/workspace/a\n");
    told.says("Read-only file system").done();
}

#[test]
fn the_workspace_may_be_written_to_if_that_is_asked_for() {
    let database = shared().database();
    let run = "printf 'the tool was here' > /github/workspace/note; printf 'x\\n'; sleep 600";
    // As long as what is written: the harness sees to it that the workspace stays as it is.
    let step = sleeping(&database, run).file("note", "the tool is away.").input("mount-workspace", "read-write");
    let note = step.layout.workspace().join("note");
    let running = step.start();
    running.wait_for_line("| x");
    assert_eq!(fs::read_to_string(note).expect("it is there"), "the tool was here");
    running.cancel().finished.fails("cancelled", 130).done();
}

#[test]
fn an_image_without_a_shell_runs_programs() {
    let database = shared().database();
    let step = |run| Step::in_image(&database, image(BARE), run).hands_over("GIVEN=x y");
    step(r#"["/echo", "one  argument", "$HOME", ";"]"#).run().unrecorded().says("one  argument $HOME ;\n").done();
    let told = step(r#"["/env"]"#).run().unrecorded().says("GIVEN=x y\n").says("PGHOST=db.private.internal\n");
    told.never_says("INPUT_").never_says("GITHUB_").never_says("RUNNER_").done();
    step("/echo hello").run().fails("tool-missing", 6).done();
    step(r#"["/nowhere"]"#).run().fails("tool-missing", 6).done();
}

#[test]
fn lines_are_run_one_after_another_until_one_fails() {
    let database = shared().database();
    let told = sleeping(&database, "echo \"one $((1 + 1))\"\nfalse\necho three\n").run().fails("tool-failed", 6);
    told.says("one 2\n").never_says("\nthree\n").done();
}

#[test]
fn a_build_of_an_index_waits_for_who_is_in_its_way_and_names_them() {
    let database = shared().database();
    database.sql("create table busy (id int); insert into busy values (1); alter table busy owner to app");
    let bystander = Bystander::with(&database, "update busy set id = id");
    let run = "psql -Xqc 'create index concurrently busy_id on busy (id)'";
    let running = sleeping(&database, run).input("lock-timeout", "500ms").start();
    running.wait_for_line("CREATE INDEX CONCURRENTLY, pid ");
    running.wait_for_line(BYSTANDER);
    let waits = "select count(*) from pg_locks where not granted and clock_timestamp() - waitstart > '1500 ms'";
    running.wait_until("more than any limit", || (database.sql(waits) == "1").then_some(()));
    drop(bystander);
    running.finish().finished.unrecorded().never_says("another try").done();
    assert_eq!(database.sql("select indisvalid from pg_index where indexrelid = 'busy_id'::regclass"), "t");
}

/// The server's words may be in any language, and a tool may keep them to itself.
#[test]
fn a_lock_timeout_is_known_by_its_code_whatever_the_tool_says() {
    let database = shared().database();
    database.sql("create table busy (); alter table busy owner to app");
    let _bystander = Bystander::with(&database, "lock table busy in access share mode");
    let run = "psql -Xqc 'alter table busy add x int' > /dev/null 2>&1 || { echo 'es ging nicht'; exit 1; }";
    let step = sleeping(&database, run).input("lock-timeout", "500ms").input("retries", "1");
    step.run().fails("lock-timeout", 6).says("another try of the tool (1 of 1").error("es ging nicht").done();
}

/// What it says is not the action's word: neither commands nor secrets get out of it.
#[test]
fn what_a_tool_says_is_fenced_and_hidden() {
    let database = shared().database();
    let run = "echo '::error::not an annotation'; echo '::add-mask::e'; echo '##[group]not a group'; echo \"$PGPASSWORD\"; \
        printenv DATABASE_URL; echo to standard error >&2; printf 'without an end'";
    let ended = sleeping(&database, run).start().finish();
    assert!(ended.shown.contains("not an annotation") && ended.shown.contains("to standard error"), "{}", ended.shown);
    assert!(!ended.masks.contains(&"e".to_owned()), "{:?}", ended.masks);
    ended.finished.unrecorded().says("without an end").done();
}

/// Many lines at once, long ones among them: nothing is lost and the order stays.
#[test]
fn a_tool_may_say_much() {
    let database = shared().database();
    let told =
        sleeping(&database, "seq -f 'line %.0f' 20000; head -c 100000 /dev/zero | tr '\\0' x; echo; echo end").run();
    let numbers: Vec<u32> = told.log.lines().filter_map(|line| line.strip_prefix("  | line ")?.parse().ok()).collect();
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());
    told.unrecorded().says("end").done();
}

#[test]
fn a_tool_that_takes_too_much_memory_is_told_as_that() {
    let database = shared().database();
    let told = Step::of_app(&database, DJANGO_5_2).trouble("memory").input("memory", "160m").run();
    told.fails("out-of-memory", 6).applied(MIGRATIONS).pending([crate::app::TROUBLE]).error("`memory`").done();
}

#[test]
fn a_tool_that_is_killed_is_told_with_the_signal() {
    let database = shared().database();
    let running = sleeping(&database, "sleep 600").start();
    sibling(&running);
    docker(&["kill", "--signal", "KILL", &running.siblings().concat()]);
    running.finish().finished.fails("tool-killed", 6).says("signal 9").done();
}

/// An image with another entrypoint.
struct Entered(String);

impl Entered {
    /// It says what it was given.
    fn new() -> Self {
        Self::by(MACHINE, "echoed", r#"["/bin/echo", "entered with"]"#)
    }

    fn by(base: &'static str, tag: &str, entrypoint: &str) -> Self {
        let made = docker(&["create", "--label", &label(), image(base), "true"]);
        let change = format!("ENTRYPOINT {entrypoint}");
        let name = format!("bastion-migrate-entered:{tag}-{}", std::process::id());
        docker(&["commit", "--change", &change, made.trim(), &name]);
        docker(&["rm", made.trim()]);
        Self(name)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        docker(&["image", "rm", &self.0]);
    }
}

#[test]
fn an_entrypoint_is_handed_a_list_and_gives_way_to_a_steps_own_lines() {
    let (database, entered) = (shared().database(), Entered::new());
    let steps = format!(
        "before:\n  - {{ name: List, image: '{0}', run: [one, 'two words'] }}\n  - {{ name: Lines, image: '{0}', run: 'echo lines for a shell' }}\n",
        entered.0
    );
    let step = Step::of_app(&database, DJANGO_5_2).file(".github/bastion-migrate.yml", steps);
    let told = step.run().succeeds().applied(MIGRATIONS);
    told.says("  | entered with one two words\n").says("  | lines for a shell\n").done();
    let tool = Step::in_image(&database, &entered.0, "echo lines").run();
    tool.succeeds().warning("nothing new in the ledger").says("  | entered with sh -euc echo lines\n").done();
}

#[test]
fn an_entrypoint_that_is_a_program_is_named_and_left_out_on_request() {
    let database = shared().database();
    let entered = Entered::by(DJANGO_5_2, "manage", r#"["python", "manage.py"]"#);
    let step = || Step::of_app(&database, DJANGO_5_2).input("image", entered.0.clone());
    let told = step().run().fails("tool-missing", 6).pending([""; 0]);
    told.error("the image's entrypoint is a program, `python manage.py`").says("`image-entrypoint: none`").done();
    step().input("image-entrypoint", "none").run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_app_that_waits_for_its_database_elsewhere_is_told_as_that() {
    let database = shared().database();
    let run = "echo waiting for postgres; sleep 600";
    let told = Step::in_image(&database, image(MACHINE), run).input("timeout", "10s").run().fails("timed-out", 130);
    told.error("has opened no connection through the tunnel").says("waiting for postgres").done();
    let run = "echo 'ERROR: no such host: postgres'";
    let told = Step::in_image(&database, image(MACHINE), run).run().succeeds();
    told.warning("printed `ERROR: no such host: postgres`").says("opened no connection through the tunnel").done();
}

/// Files of SQL are applied by the action itself; a step beside them finds the database where a tool would.
#[test]
fn a_step_in_an_image_beside_files_of_sql_finds_the_database_through_the_tunnel() {
    let database = shared().database();
    let steps = format!(
        "before:\n  - {{ name: Look, executor: image, image: '{MACHINE}', run: 'psql -XAtc \"select 41 + 1\"' }}\n"
    );
    let step = Step::new(&database).file(".github/bastion-migrate.yml", steps);
    let told = step.file("migrations/0001_shop.sql", "create table shop ();\n").run();
    told.succeeds().applied(["0001_shop"]).says("  | 42\n").done();
}
