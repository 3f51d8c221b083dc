//! Variants of runners: the image works under each of them.

use crate::{
    github::{Github, WriteAccess},
    layout::Owner,
    network::shared,
    runner::{event::Event, paths::Temp},
    running::Conclusion,
    step::{Socket, Sources, Step},
};

const USERS: &str = "create table users (id int);\n";

fn users(step: Step<'_>) -> Step<'_> {
    step.file("migrations/0001_users.sql", USERS)
}

#[test]
fn a_step_of_a_job_with_services_migrates() {
    let database = shared().database();
    let ended = users(Step::new(&database)).start().finish();
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    assert_eq!(ended.state, []);
    ended.finished.succeeds().applied(["0001_users"]).logs("db.private.internal:5432").done();
    assert_eq!(database.sql("select count(*) from users"), "0");
}

#[test]
fn a_step_on_the_default_network_migrates() {
    let database = shared().database();
    let step = users(Step::new(&database)).on_the_default_network();
    let step = step.input("ssh-host", database.network().bastion_address());
    step.run().succeeds().applied(["0001_users"]).done();
}

/// A post stage is a new container with the same inputs and the state of the first.
#[test]
fn a_second_stage_with_the_same_inputs_leaves_nothing_behind() {
    let database = shared().database();
    let ended = users(Step::new(&database)).start().finish();
    let again = users(Step::new(&database)).with_state(ended.state.clone()).start().finish();
    ended.finished.succeeds().applied(["0001_users"]).done();
    assert_eq!((again.conclusion, again.state.len()), (Conclusion::Succeeded, 0));
    again.finished.nothing_to_do().done();
}

#[test]
fn the_command_files_may_belong_to_root() {
    let database = shared().database();
    users(Step::new(&database)).command_files_of(Owner::Root).run().succeeds().applied(["0001_users"]).done();
}

/// `RUNNER_TEMP` then names a directory that does not exist in the container.
#[test]
fn a_step_migrates_without_a_mounted_temporary_directory() {
    let database = shared().database();
    users(Step::new(&database)).temp(Temp::Absent).run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn the_engines_socket_is_not_needed() {
    for socket in [Socket::Directory, Socket::Absent] {
        let database = shared().database();
        users(Step::new(&database)).socket(socket).run().succeeds().applied(["0001_users"]).done();
    }
}

/// A runner in a container that shares no directories with the engine's host.
#[test]
fn directories_that_the_engine_cannot_see_are_reported() {
    let database = shared().database();
    let finished = users(Step::new(&database)).sources(Sources::Invisible).run();
    let finished = finished.fails("files-missing", 2).without_outputs();
    let finished = finished.error("the directory `migrations` named by `migrations` does not exist");
    let finished = finished.warning("can't write the outputs (`GITHUB_OUTPUT`)").warning("can't write the job summary");
    finished.logs("the runner's files are not in this container").done();
}

#[test]
fn paths_may_be_those_of_the_host_or_of_the_jobs_container() {
    let database = shared().database();
    let step = || Step::new(&database).file("db/0001_users.sql", USERS);
    let on_host = step();
    let written = on_host.layout.workspace().join("db").display().to_string();
    on_host.input("migrations", written).run().succeeds().applied(["0001_users"]).done();
    for written in ["/__w/app/app/db", "/github/workspace/db", "./db/", "/home/runner/work/app/app/db"] {
        step().input("migrations", written).run().nothing_to_do().done();
    }
}

#[test]
fn a_step_migrates_on_every_event() {
    for event in [Event::Push, Event::PullRequest, Event::WorkflowDispatch, Event::Schedule, Event::WorkflowCall] {
        let database = shared().database();
        users(Step::new(&database)).on(event).run().succeeds().applied(["0001_users"]).done();
    }
}

#[test]
fn links_lead_to_the_server_that_runs_the_job() {
    let database = shared().database();
    let step = users(Step::new(&database)).of_server("https://ghe.example", "https://ghe.example/api/v3");
    let finished = step.run().succeeds().applied(["0001_users"]);
    let report: serde_json::Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    assert_eq!(report["run_url"], "https://ghe.example/octo/app/actions/runs/4711/attempts/1");
    assert_eq!(database.sql("select distinct run from bastion_migrate.ledger"), report["run_url"]);
    finished.done();
}

#[test]
fn debug_logging_shows_traces_on_request() {
    let database = shared().database();
    let ended = users(Step::new(&database)).with_debug_logging().start().finish();
    assert!(ended.shown.contains("\n##[debug]"), "{}", ended.shown);
    ended.finished.succeeds().applied(["0001_users"]).done();
    let ended = users(Step::new(&database)).start().finish();
    assert!(!ended.shown.contains("##[debug]"), "{}", ended.shown);
    ended.finished.nothing_to_do().never_logs("::debug::").done();
}

/// The runner warns about it (`Unexpected input(s)`) and passes it on.
#[test]
fn an_unknown_input_is_refused_if_it_resembles_a_known_one() {
    let database = shared().database();
    let digest = format!("sha256:{}", "0".repeat(64));
    let finished = users(Step::new(&database)).input("expect-plna", digest).run();
    finished.fails("input-unknown", 2).error("there is no input `expect-plna`").done();
    let step = users(Step::new(&database)).input("entrypoint", "").input("args", "").input("Zq xyz", "1");
    step.run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn an_input_may_be_as_long_as_a_variable_can_be() {
    let database = shared().database();
    let other = "other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzjlPYaPFvFvVCoRRNPgQZJoGuYdMmVvnjTjiv3gAmW\n";
    let long = other.repeat(100 * 1024 / other.len()) + &database.network().known_hosts();
    users(Step::new(&database)).input("ssh-known-hosts", long).run().succeeds().applied(["0001_users"]).done();
    let long = "-- a comment between certificates\n".repeat(3_000) + database.network().ca();
    users(Step::new(&database)).input("database-ca", long).run().nothing_to_do().done();
}

/// In a pull request from a fork every secret is empty.
#[test]
fn missing_secrets_of_a_forks_pull_request_are_explained() {
    let database = shared().database();
    let step = users(Step::new(&database)).on(Event::PullRequest);
    let finished = step.input("ssh-private-key", "").input("database-url", "").run().fails("input-missing", 2);
    let finished =
        finished.error("neither `ssh-private-key` nor `ssh-password` has a value; `database-url` has no value");
    finished.logs("the event is not a pull request from a fork").done();
}

/// The API is called at `GITHUB_API_URL`.
#[test]
fn a_comment_refused_for_a_read_only_token_is_a_warning() {
    let database = shared().database();
    let github = Github::start_at(&database.network().gateway(), WriteAccess::Forbidden);
    let step = users(Step::new(&database)).on(Event::PullRequest).input("comment", "always");
    let finished = step.of_server("https://ghe.example", &github.url()).run().succeeds().applied(["0001_users"]);
    finished.warning("can't write the comment: GitHub answered 403").done();
    assert!(github.lines().contains(&"POST /repos/octo/app/issues/3/comments".to_owned()));
}
