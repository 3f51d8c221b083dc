//! The sibling container of a foreign tool: what it receives, what it does not receive, and how it may end.

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

/// An image with programs and nothing else, from `tests/container/bare/Dockerfile`.
const BARE: &str = "bastion-migrate-bare:bookworm";

/// Describes the step's only sibling container, once it runs.
fn sibling(running: &Running<'_>) -> Value {
    let running_sibling =
        || running.siblings().pop().map(|id| inspect(&id)).filter(|known| known["State"]["Running"] == true);
    running.wait_until("a container of the step", running_sibling)
}

/// Returns the sibling's environment variables.
fn variables(sibling: &Value) -> Vec<(String, String)> {
    let pairs = sibling.pointer("/Config/Env").and_then(Value::as_array).expect("a container has an environment");
    let pair = |pair: &Value| pair.as_str()?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.iter().filter_map(pair).collect()
}

/// A step that runs this script in the lab's image.
fn in_machine<'a>(database: &'a Database, run: &str) -> Step<'a> {
    Step::in_image(database, image(MACHINE), run)
}

/// Neither the engine's records nor the sibling's processes contain the action's own secrets.
#[test]
fn a_sibling_gets_none_of_the_actions_own_secrets() {
    let database = shared().database();
    let network = database.network();
    let step = in_machine(&database, "sleep 600").env("STEP_SECRET", "not passed on").pass_variable("GIVEN=a=b c");
    let step = step.secret("registry-username", registry::ROBOT).secret("registry-password", registry::PASSWORD);
    let step = step.env("PASSED", "passed-on").input("pass-env", "PASSED");
    let running = step.start();
    let sibling = sibling(&running);

    let own_secrets = [network.key(), TOKEN.to_owned(), registry::PASSWORD.to_owned()];
    let pid = sibling["State"]["Pid"].as_u64().expect("it runs");
    let process = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
    let places = [sibling.to_string(), process("environ"), process("cmdline"), docker(&["top", running.container()])];
    for (place, secret) in places.iter().flat_map(|place| own_secrets.iter().map(move |secret| (place, secret))) {
        assert_eq!(leak::find_secret(place, secret), None, "{place}");
    }

    let mut names: Vec<String> = variables(&sibling).into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !["PATH", "TEST_STEP"].contains(&name.as_str()));
    names.sort();
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
    assert_eq!(names, expected);
    assert!(variables(&sibling).contains(&("GIVEN".to_owned(), "a=b c".to_owned())));

    let mut without_environment = sibling.clone();
    without_environment.pointer_mut("/Config/Env").expect("it was there a moment ago").take();
    assert_eq!(leak::find_secret(&without_environment.to_string(), PASSWORD), None, "{without_environment}");
    assert_eq!(
        without_environment.pointer("/HostConfig/Binds").and_then(Value::as_array).map_or(0, Vec::len),
        0,
        "{without_environment}"
    );
    assert_eq!(without_environment["Mounts"], serde_json::json!([]));
    assert_eq!(without_environment.pointer("/HostConfig/Privileged"), Some(&Value::Bool(false)));
    running.cancel().finished.fails("cancelled", 130).done();
}

#[test]
fn a_sibling_is_labelled_and_shares_only_the_network_of_the_action() {
    let database = shared().database();
    let running = in_machine(&database, "sleep 600").start();
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

/// By its URL, and by libpq's variables.
#[test]
fn a_sibling_reaches_the_database_by_its_own_name_and_port() {
    let database = shared().database();
    let running = in_machine(&database, "getent hosts db.private.internal; sleep 600").start();
    let variables = variables(&sibling(&running));
    let value = |name: &str| variables.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    assert_eq!(value("DATABASE_URL"), database.url());
    let libpq = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"].map(value);
    assert_eq!(libpq, [DATABASE, "5432", ROLE, PASSWORD, database.name()]);
    running.wait_for_line("127.0.0.1");
    running.cancel().finished.fails("cancelled", 130).done();
}

/// An IP address can't be resolved to the tunnel, so the tool gets the tunnel's address instead.
#[test]
fn a_database_given_by_address_is_reached_at_the_tunnels_address() {
    let database = shared().database();
    let address = database.network().postgres().address(database.network().private());
    let step = in_machine(
        &database,
        "psql -XAt -c 'select current_database()'; psql -XAt \"$DATABASE_URL\" -c 'select 6 * 7'",
    );
    let finished = step.secret("database-url", database.url_at(&address)).run().succeeds_without_ledger();
    finished.logs(&format!("| {}\n", database.name())).logs("| 42\n").done();
}

#[test]
fn psql_in_a_sibling_needs_no_arguments() {
    let database = shared().database();
    let run = "psql -XAt -c 'show lock_timeout' -c 'select current_database()'";
    let finished = in_machine(&database, run)
        .input("lock-timeout", "4321ms")
        .input("retries", "0")
        .run()
        .succeeds_without_ledger();
    finished.logs("4321ms").logs(database.name()).done();
}

#[test]
fn the_workspace_is_mounted_on_request() {
    let database = shared().database();
    let inspect_workspace = "pwd; cat /github/workspace/a/note || true; touch /github/workspace/a/made || true";
    let step = || in_machine(&database, inspect_workspace).file("a/note", "a note of the checkout\n");
    step().run().succeeds_without_ledger().never_logs("a note of the checkout").done();
    let mounted = |how: &str| step().input("mount-workspace", how).input("working-directory", "/github/workspace/a");
    let finished = mounted("read-only")
        .run()
        .succeeds_without_ledger()
        .logs("a note of the checkout")
        .logs("/github/workspace/a\n");
    finished.logs("Read-only file system").done();
}

#[test]
fn the_workspace_is_writable_on_request() {
    let database = shared().database();
    let run = "printf 'the tool was here' > /github/workspace/note; printf 'x\\n'; sleep 600";
    // The same length as the new content: the harness checks that the workspace is unchanged.
    let step = in_machine(&database, run).file("note", "the tool is away.").input("mount-workspace", "read-write");
    let note = step.layout.workspace().join("note");
    let running = step.start();
    running.wait_for_line("| x");
    assert_eq!(fs::read_to_string(note).expect("it is there"), "the tool was here");
    running.cancel().finished.fails("cancelled", 130).done();
}

#[test]
fn an_image_without_a_shell_runs_programs() {
    let database = shared().database();
    let step = |run| Step::in_image(&database, image(BARE), run).pass_variable("GIVEN=x y");
    step(r#"["/echo", "one  argument", "$HOME", ";"]"#)
        .run()
        .succeeds_without_ledger()
        .logs("one  argument $HOME ;\n")
        .done();
    let finished =
        step(r#"["/env"]"#).run().succeeds_without_ledger().logs("GIVEN=x y\n").logs("PGHOST=db.private.internal\n");
    finished.never_logs("INPUT_").never_logs("GITHUB_").never_logs("RUNNER_").done();
    step("/echo hello").run().fails("tool-missing", 6).done();
    step(r#"["/nowhere"]"#).run().fails("tool-missing", 6).done();
}

#[test]
fn lines_are_run_one_after_another_until_one_fails() {
    let database = shared().database();
    let finished = in_machine(&database, "echo \"one $((1 + 1))\"\nfalse\necho three\n").run().fails("tool-failed", 6);
    finished.logs("one 2\n").never_logs("\nthree\n").done();
}

#[test]
fn a_concurrent_index_build_waits_for_the_blocking_session_and_names_it() {
    let database = shared().database();
    database.sql("create table busy (id int); insert into busy values (1); alter table busy owner to app");
    let bystander = Bystander::with(&database, "update busy set id = id");
    let run = "psql -Xqc 'create index concurrently busy_id on busy (id)'";
    let running = in_machine(&database, run).input("lock-timeout", "500ms").start();
    running.wait_for_line("CREATE INDEX CONCURRENTLY, pid ");
    running.wait_for_line(BYSTANDER);
    let waits = "select count(*) from pg_locks where not granted and clock_timestamp() - waitstart > '1500 ms'";
    running.wait_until("more than any limit", || (database.sql(waits) == "1").then_some(()));
    drop(bystander);
    running.finish().finished.succeeds_without_ledger().never_logs("another try").done();
    assert_eq!(database.sql("select indisvalid from pg_index where indexrelid = 'busy_id'::regclass"), "t");
}

/// The server's message may be in any language, and a tool may suppress it.
#[test]
fn a_lock_timeout_is_recognised_by_its_code_even_if_the_tool_prints_nothing() {
    let database = shared().database();
    database.sql("create table busy (); alter table busy owner to app");
    let _bystander = Bystander::with(&database, "lock table busy in access share mode");
    let run = "psql -Xqc 'alter table busy add x int' > /dev/null 2>&1 || { echo 'es ging nicht'; exit 1; }";
    let step = in_machine(&database, run).input("lock-timeout", "500ms").input("retries", "1");
    step.run().fails("lock-timeout", 6).logs("another try of the tool (1 of 1").error("es ging nicht").done();
}

/// The tool's output can neither issue workflow commands nor show secrets.
#[test]
fn the_output_of_a_tool_is_fenced_and_redacted() {
    let database = shared().database();
    let run = "echo '::error::not an annotation'; echo '::add-mask::e'; echo '##[group]not a group'; echo \"$PGPASSWORD\"; \
        printenv DATABASE_URL; echo to standard error >&2; printf 'without an end'";
    let ended = in_machine(&database, run).start().finish();
    assert!(ended.shown.contains("not an annotation") && ended.shown.contains("to standard error"), "{}", ended.shown);
    assert!(!ended.masks.contains(&"e".to_owned()), "{:?}", ended.masks);
    ended.finished.succeeds_without_ledger().logs("without an end").done();
}

/// Many lines at once, some of them long: none is lost, and their order is kept.
#[test]
fn long_output_of_a_tool_is_complete_and_in_order() {
    let database = shared().database();
    let finished =
        in_machine(&database, "seq -f 'line %.0f' 20000; head -c 100000 /dev/zero | tr '\\0' x; echo; echo end").run();
    let numbers: Vec<u32> =
        finished.log.lines().filter_map(|line| line.strip_prefix("  | line ")?.parse().ok()).collect();
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());
    finished.succeeds_without_ledger().logs("end").done();
}

#[test]
fn a_tool_that_exceeds_its_memory_is_reported_as_out_of_memory() {
    let database = shared().database();
    let finished = Step::of_app(&database, DJANGO_5_2).trouble("memory").input("memory", "160m").run();
    finished.fails("out-of-memory", 6).applied(MIGRATIONS).pending([crate::app::TROUBLE]).error("`memory`").done();
}

#[test]
fn a_killed_tool_is_reported_with_the_signal() {
    let database = shared().database();
    let running = in_machine(&database, "sleep 600").start();
    sibling(&running);
    docker(&["kill", "--signal", "KILL", &running.siblings().concat()]);
    running.finish().finished.fails("tool-killed", 6).logs("signal 9").done();
}

/// An image with another entrypoint, removed with the value.
struct ImageWithEntrypoint(String);

impl ImageWithEntrypoint {
    /// Creates an image whose entrypoint prints its arguments.
    fn new() -> Self {
        Self::by(MACHINE, "echoed", r#"["/bin/echo", "entered with"]"#)
    }

    fn by(base: &'static str, tag: &str, entrypoint: &str) -> Self {
        let container = docker(&["create", "--label", &label(), image(base), "true"]);
        let change = format!("ENTRYPOINT {entrypoint}");
        let name = format!("bastion-migrate-entered:{tag}-{}", std::process::id());
        docker(&["commit", "--change", &change, container.trim(), &name]);
        docker(&["rm", container.trim()]);
        Self(name)
    }
}

impl Drop for ImageWithEntrypoint {
    fn drop(&mut self) {
        docker(&["image", "rm", &self.0]);
    }
}

#[test]
fn an_entrypoint_receives_a_list_and_is_bypassed_for_a_steps_shell_lines() {
    let (database, entrypoint_image) = (shared().database(), ImageWithEntrypoint::new());
    let steps = format!(
        "before:\n  - {{ name: List, image: '{0}', run: [one, 'two words'] }}\n  - {{ name: Lines, image: '{0}', run: 'echo lines for a shell' }}\n",
        entrypoint_image.0
    );
    let step = Step::of_app(&database, DJANGO_5_2).file(".github/bastion-migrate.yml", steps);
    let finished = step.run().succeeds().applied(MIGRATIONS);
    finished.logs("  | entered with one two words\n").logs("  | lines for a shell\n").done();
    let tool = Step::in_image(&database, &entrypoint_image.0, "echo lines").run();
    tool.succeeds().warning("nothing new in the ledger").logs("  | entered with sh -euc echo lines\n").done();
}

#[test]
fn an_entrypoint_that_is_a_program_is_named_and_can_be_disabled() {
    let database = shared().database();
    let entrypoint_image = ImageWithEntrypoint::by(DJANGO_5_2, "manage", r#"["python", "manage.py"]"#);
    let step = || Step::of_app(&database, DJANGO_5_2).input("image", entrypoint_image.0.clone());
    let finished = step().run().fails("tool-missing", 6).pending([""; 0]);
    finished.error("the image's entrypoint is a program, `python manage.py`").logs("`image-entrypoint: none`").done();
    step().input("image-entrypoint", "none").run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_app_that_waits_for_another_host_is_reported_as_not_connected() {
    let database = shared().database();
    let run = "echo waiting for postgres; sleep 600";
    let finished = Step::in_image(&database, image(MACHINE), run).input("timeout", "10s").run().fails("timed-out", 130);
    finished.error("has opened no connection through the tunnel").logs("waiting for postgres").done();
    let run = "echo 'ERROR: no such host: postgres'";
    let finished = Step::in_image(&database, image(MACHINE), run).run().succeeds();
    finished.warning("printed `ERROR: no such host: postgres`").logs("opened no connection through the tunnel").done();
}

/// The action itself applies SQL files; a step beside them reaches the database like a tool.
#[test]
fn a_step_in_an_image_beside_sql_files_reaches_the_database_through_the_tunnel() {
    let database = shared().database();
    let steps = format!(
        "before:\n  - {{ name: Look, executor: image, image: '{MACHINE}', run: 'psql -XAtc \"select 41 + 1\"' }}\n"
    );
    let step = Step::new(&database).file(".github/bastion-migrate.yml", steps);
    let finished = step.file("migrations/0001_shop.sql", "create table shop ();\n").run();
    finished.succeeds().applied(["0001_shop"]).logs("  | 42\n").done();
}
