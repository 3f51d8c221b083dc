//! `notify`: who is told what, when, and in which form; and that no webhook changes the result of a run.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        certificate::{Certificate, Expired},
        http_proxy::HttpProxy,
        poll,
        postgres::PASSWORD,
        server::{Server, from_the_server},
        session::Session,
        webhook::{CANARY, LOOPBACK, Reply, Service, Webhook},
    },
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// A name that would notify a whole channel, in three services.
const LOUD: &str = "<!channel> @everyone [x](https://evil.example)";

/// The time after which a wait is told, and some more.
const LONG: Duration = Duration::from_secs(90);

fn users(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", "create table users (id int);\n")
}

/// Returns a step whose only file fails with a loud name.
fn failing(lab: &Lab) -> Action<'_> {
    Action::new(lab)
        .file("migrations/0001_loud.sql", format!("select * from \"{LOUD}\";\n"))
        .input("environment", "prod")
}

/// Adds the webhook as a mapping with these settings.
fn telling<'a>(step: Action<'a>, webhook: &Webhook, settings: &str) -> Action<'a> {
    let url = webhook.url();
    step.hides(&url).hides(CANARY).input("notify", format!("url: {url}\n{settings}"))
}

fn told(step: Action<'_>, webhook: &Webhook) -> Finished {
    telling(step, webhook, "").run()
}

fn only_message(webhook: &Webhook) -> Value {
    let [message] = webhook.messages().try_into().unwrap_or_else(|all| panic!("not one message: {all:#?}"));
    message
}

fn events(webhook: &Webhook) -> Vec<String> {
    let event = |message: &Value| message["event"].as_str().expect("each has an event").to_owned();
    webhook.messages().iter().map(event).collect()
}

#[test]
fn a_failure_is_told_with_its_cause_its_place_and_the_run() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    let finished = told(failing(&lab), &webhook).fails("statement-failed", 6).pending(["0001_loud"]);
    finished.annotation("migrations/0001_loud.sql", 1, "does not exist").done();
    let message = only_message(&webhook);
    let expected = [
        ("version", json!(1)),
        ("event", json!("failed")),
        ("outcome", json!("failed")),
        ("command", json!("migrate")),
        ("repository", json!("octo/app")),
        ("environment", json!("prod")),
        ("done-count", json!(0)),
        ("pending-count", json!(1)),
        ("wait", Value::Null),
        ("run-url", json!("https://github.com/octo/app/actions/runs/4711/attempts/1")),
    ];
    for (key, value) in expected {
        assert_eq!(message[key], value, "{key}: {message:#}");
    }
    assert_eq!(message["database"]["name"], lab.database.name());
    assert_eq!(
        (&message["fault"]["code"], &message["fault"]["stage"]),
        (&json!("statement-failed"), &json!("migrate"))
    );
    assert!(message["fault"]["cause"].as_str().expect("a cause").contains(LOUD), "{message:#}");
    let text = message["text"].as_str().expect("a text");
    assert!(text.starts_with("❌ bastion-migrate · octo/app · prod · Failed: "), "{text}");
}

#[test]
fn each_service_gets_its_form_in_which_a_name_notifies_nobody() {
    let lab = Lab::new();
    for (service, format) in [(Service::Slack, "slack"), (Service::Teams, "teams"), (Service::Discord, "discord")] {
        let webhook = Webhook::start(service);
        let finished = telling(failing(&lab), &webhook, &format!("format: {format}")).run();
        let finished = finished.fails("statement-failed", 6).pending(["0001_loud"]);
        finished.annotation("migrations/0001_loud.sql", 1, "does not exist").done();
        let message = only_message(&webhook);
        let text = message.to_string();
        assert!(text.contains("statement") && text.contains("actions/runs/4711"), "{message:#}");
        match service {
            Service::Slack => {
                assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{message:#}");
            }
            Service::Teams => {
                let facts = &message["attachments"][0]["content"]["body"];
                assert!(facts[1]["inlines"][1]["text"].as_str().expect("plain text").contains(LOUD), "{message:#}");
            }
            Service::Discord => {
                let content = message["content"].as_str().expect("a content");
                assert!(content.contains(r"\@everyone \[x\]\(https\:"), "{message:#}");
            }
            Service::Json => {}
        }
    }
}

#[test]
fn the_host_of_the_webhook_tells_its_form_and_the_proxy_of_the_environment_is_used() {
    let lab = Lab::new();
    let certificate = Certificate::named("hooks.slack.com", Expired::Nothing);
    let webhook = Webhook::with_tls(LOOPBACK, Service::Slack, &certificate);
    let proxy = HttpProxy::start(webhook.port());
    let url = format!("https://hooks.slack.com/services/{CANARY}");
    let step = || {
        let step = failing(&lab).file("ca.pem", &certificate.ca);
        let ca = step.workspace().join("ca.pem").display().to_string();
        let step = step.hides(CANARY).secret("notify", &url).env("SSL_CERT_FILE", ca);
        step.env("HTTPS_PROXY", proxy.url()).hides("proxy-password")
    };
    let failed = |step: Action<'_>| {
        let finished = step.run().fails("statement-failed", 6).pending(["0001_loud"]);
        finished.annotation("migrations/0001_loud.sql", 1, "does not exist")
    };
    failed(step()).done();
    assert!(only_message(&webhook)["text"].as_str().expect("a text").contains("Failed"), "{:#?}", webhook.messages());
    let first = proxy.requests().concat();
    assert!(first.starts_with("CONNECT hooks.slack.com:443 HTTP/1.1\r\n"), "{first}");
    let untrusted = failed(step().env("SSL_CERT_FILE", "/nonexistent.pem"));
    untrusted.warning("can't send the notification: `https://hooks.slack.com` can't be reached").done();
    let excluded = failed(step().env("NO_PROXY", ".slack.com"));
    excluded.warning("can't send the notification: `https://hooks.slack.com` can't be reached").done();
    assert_eq!((proxy.requests().len(), webhook.messages().len()), (2, 1));
}

#[test]
fn only_those_occasions_are_told_that_were_chosen() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    told(users(&lab), &webhook).succeeds().applied(["0001_users"]).done();
    assert_eq!(events(&webhook), [""; 0], "a success is told only on request");
    let all = "on: [blocked, failed, in-doubt, succeeded]";
    telling(users(&lab), &webhook, all).run().nothing_to_do().done();
    assert_eq!(events(&webhook), [""; 0], "nothing was done");
    let more = || users(&lab).file("migrations/0002_more.sql", "create table more (id int);\n");
    telling(more(), &webhook, all).input("command", "plan").run().has_pending().pending(["0002_more"]).done();
    let verified = telling(more(), &webhook, all).input("command", "verify").run().fails("verify-pending", 7);
    verified.pending(["0002_more"]).done();
    assert_eq!(events(&webhook), [""; 0], "neither writes anything");
    telling(more(), &webhook, "on: succeeded").run().succeeds().applied(["0002_more"]).done();
    assert_eq!(events(&webhook), ["succeeded"]);
    let message = only_message(&webhook);
    assert_eq!((&message["done-count"], &message["pending-count"]), (&json!(1), &json!(0)));
    let broken = || more().file("migrations/0003_bad.sql", "select nothing;\n");
    let finished = telling(broken(), &webhook, "on: [in-doubt, succeeded]").run().fails("statement-failed", 6);
    finished.pending(["0003_bad"]).annotation("migrations/0003_bad.sql", 1, "nothing").done();
    assert_eq!(events(&webhook), ["succeeded"]);
}

#[test]
fn rollback_and_baseline_are_told_in_their_own_words() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    let step = |command: &str| {
        let step = Action::new(&lab)
            .file("migrations/0001_a.up.sql", "create table a ();\n")
            .file("migrations/0001_a.down.sql", "drop table a;\n")
            .file("migrations/0002_b.up.sql", "create table b ();\n")
            .file("migrations/0002_b.down.sql", "drop table b;\n");
        telling(step, &webhook, "on: [succeeded]").input("layout", "golang-migrate").input("command", command)
    };
    step("baseline").input("target", "1").run().succeeds().applied(["0001_a.up"]).done();
    step("migrate").run().succeeds().applied(["0002_b.up"]).done();
    step("rollback").input("target", "1").run().succeeds().pending(["0002_b.up"]).done();
    let commands: Vec<Value> = webhook.messages().iter().map(|message| message["command"].clone()).collect();
    assert_eq!(commands, ["baseline", "migrate", "rollback"]);
    assert!(webhook.messages().iter().all(|message| message["done-count"] == 1), "{:#?}", webhook.messages());
}

#[test]
fn no_answer_of_the_webhook_changes_the_result() {
    let lab = Lab::new();
    users(&lab).run().succeeds().applied(["0001_users"]).done();
    let elsewhere = Webhook::start(Service::Json);
    let status = |status, text: &str| Reply::Status(status, text.to_owned());
    let refused = format!("no_service {CANARY} {}", "x".repeat(500));
    let replies = [
        (status(404, &refused), "answered 404 no_service *** xxx"),
        (status(400, "{\"message\": \"Cannot send an empty message\"}"), "answered 400"),
        (status(429, "slow down"), "answered 429 slow down"),
        (status(503, "<html>"), "answered 503"),
        (Reply::Redirect(elsewhere.url()), "and a redirect is not followed"),
        (Reply::Redirect("/elsewhere".to_owned()), "redirects to another address"),
    ];
    for (number, (reply, warning)) in (2..).zip(replies) {
        let webhook = Webhook::replying(Service::Json, reply);
        let name = format!("000{number}_x");
        let step = Action::new(&lab).file(&format!("migrations/{name}.sql"), "select 1;\n").input("missing", "ignore");
        let finished = telling(step, &webhook, "on: succeeded").run().succeeds().applied([name.as_str()]);
        finished.warning("can't send the notification: `http://127.0.0.1:").logs(warning).done();
        assert_eq!(webhook.messages().len(), 1, "it is sent once");
    }
    assert_eq!(elsewhere.messages(), Vec::<Value>::new());
}

#[test]
fn a_webhook_that_is_not_there_or_does_not_answer_costs_five_seconds_at_most() {
    let lab = Lab::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port").local_addr().expect("it is bound");
    let refused =
        users(&lab).hides(CANARY).input("notify", format!("{{ url: http://{free}/{CANARY}, on: [succeeded] }}"));
    let finished = refused.run().succeeds().applied(["0001_users"]).within(Duration::from_secs(4));
    finished.warning(&format!("can't send the notification: `http://{free}` can't be reached")).done();

    let webhook = Webhook::replying(Service::Json, Reply::Silence);
    let more = users(&lab).file("migrations/0002_more.sql", "create table more (id int);\n");
    let started = Instant::now();
    let finished = telling(more, &webhook, "on: succeeded").run().succeeds().applied(["0002_more"]);
    finished.warning("did not answer within 5.0 s").within(Duration::from_secs(10)).done();
    assert!(started.elapsed() >= Duration::from_secs(5));
}

#[test]
fn no_secret_is_in_a_message() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    let text = format!(
        "concat('password ', $q${PASSWORD}$q$, ', in base64 ', encode(convert_to($q${PASSWORD}$q$, 'utf8'), 'base64'))"
    );
    let cause = format!("do $body$ begin raise exception using message = {text}; end $body$;\n");
    let finished = told(Action::new(&lab).file("migrations/0001_a.sql", cause), &webhook).fails("statement-failed", 6);
    finished.pending(["0001_a"]).annotation("migrations/0001_a.sql", 1, "password ***").done();
    let text = only_message(&webhook).to_string();
    assert!(text.contains("password ***, in base64 ***"), "{text}");
    for secret in [PASSWORD, CANARY] {
        assert_eq!(crate::leak::find_secret(&text, secret), None, "{text}");
    }
}

#[test]
fn a_cancelled_run_is_told_in_the_time_that_is_left() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    let step = Action::new(&lab).file("migrations/0001_one.sql", "select pg_sleep(60);\n");
    let running = telling(step, &webhook, "").start();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(waiting, "1");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).pending(["0001_one"]).within(Duration::from_secs(7)).done();
    let message = only_message(&webhook);
    assert_eq!((&message["event"], &message["outcome"]), (&json!("failed"), &json!("cancelled")));

    let silent = Webhook::replying(Service::Json, Reply::Silence);
    let step = Action::new(&lab).file("migrations/0001_one.sql", "select pg_sleep(60);\n");
    let running = telling(step, &silent, "").start();
    lab.database.wait_for(waiting, "1");
    running.signal(Signal::INT);
    let finished = running.finish().fails("cancelled", 130).pending(["0001_one"]).within(Duration::from_secs(7));
    finished.warning("can't send the notification: ").done();
}

#[test]
fn a_run_with_wrong_inputs_is_told_and_one_with_a_wrong_webhook_is_refused() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    told(users(&lab).input("timeout", "soon"), &webhook).fails("input-invalid", 2).error("`timeout`").done();
    let message = only_message(&webhook);
    assert_eq!((&message["fault"]["code"], &message["database"]), (&json!("input-invalid"), &Value::Null));

    let plain = users(&lab).hides(CANARY).secret("notify", format!("http://chat.example.com/{CANARY}"));
    plain.run().fails("input-invalid", 2).error("begins with `http://`").done();
    let word = users(&lab).secret("notify", CANARY).run().fails("input-invalid", 2);
    word.error("is not a URL").done();
    let filed = users(&lab).hides(CANARY).file(
        ".github/bastion-migrate.yml",
        format!("defaults:\n  notify: {{ url: \"https://chat.example.com/{CANARY}\" }}\n"),
    );
    let filed = filed.run().fails("config-invalid", 2);
    filed.error_in(".github/bastion-migrate.yml", "is a secret, and the file is in the repository").done();
    let tunnel = telling(Action::new(&lab), &webhook, "").input("command", "tunnel").run();
    tunnel.fails("input-invalid", 2).error("`notify`").done();
    assert_eq!(webhook.messages().len(), 1);
}

#[test]
fn a_tool_on_the_server_is_told_of_with_and_without_a_database() {
    let (lab, webhook, server) = (Lab::new(), Webhook::start(Service::Json), Server::start());
    let tool = Action::on_server(&lab, &server).input("run", "echo broken >&2; exit 3");
    told(tool, &webhook).fails("tool-failed", 6).done();
    let command = format!("psql -Xq '{}' -c 'create table a ()'", from_the_server(&lab.database));
    let tool = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("run", &command);
    let finished = telling(tool, &webhook, "on: succeeded").run().succeeds();
    finished.warning("no ledger was found in the database").done();
    let [failed, succeeded] = webhook.messages().try_into().expect("two messages");
    assert_eq!((&failed["event"], &failed["database"]), (&json!("failed"), &Value::Null));
    assert_eq!(
        (&succeeded["event"], &succeeded["database"]["name"]),
        (&json!("succeeded"), &json!(lab.database.name()))
    );
}

/// A session that holds a lock on a table of the app until it is told to let go.
fn holder_of_users(lab: &Lab) -> Session {
    let session = Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
    session.sql("begin; lock table users in access exclusive mode; select 1");
    session
}

/// Waits for the first message, and returns the wait in it.
fn wait_told(webhook: &Webhook) -> Value {
    let first = poll(LONG, || webhook.messages().first().cloned()).expect("the wait is told while it lasts");
    assert_eq!((&first["event"], &first["outcome"]), (&json!("blocked"), &Value::Null), "{first:#}");
    assert!(first["wait"]["seconds"].as_u64().is_some_and(|seconds| (60..75).contains(&seconds)), "{first:#}");
    first["wait"].clone()
}

#[test]
fn a_wait_for_a_lock_on_a_table_is_told_once_while_it_lasts_with_the_session_in_the_way() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    users(&lab).run().succeeds().applied(["0001_users"]).done();
    let session = holder_of_users(&lab);
    let pid = session.sql("select pg_backend_pid()");
    let step = users(&lab).file("migrations/0002_more.sql", "alter table users add more int;\n");
    let running = telling(step, &webhook, "on: [blocked, succeeded]").start();
    let wait = wait_told(&webhook);
    let why = wait["why"].as_str().expect("a reason");
    assert!(why.contains(&format!("held up by pid {pid}")) && why.contains("role `app`"), "{why}");
    assert!(wait["what"].as_str().expect("a lock").contains("users"), "{wait:#}");
    session.sql("rollback");
    running.finish().succeeds().applied(["0002_more"]).logs("still waiting for ").done();
    assert_eq!(events(&webhook), ["blocked", "succeeded"]);
}

#[test]
fn a_wait_for_the_run_lock_is_told_with_the_page_of_its_holder() {
    let (lab, webhook) = (Lab::new(), Webhook::start(Service::Json));
    let slow = Action::new(&lab).file("migrations/0001_slow.sql", "select pg_sleep(120);\n").start();
    let sleeping =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(sleeping, "1");
    let running = telling(users(&lab), &webhook, "").start();
    let wait = wait_told(&webhook);
    assert_eq!(wait["what"], "the run lock");
    let page = "https://github.com/octo/app/actions/runs/4711/attempts/1";
    assert!(wait["why"].as_str().expect("a reason").contains(&format!("held by the run {page}")), "{wait:#}");
    lab.database.sql("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()");
    let failed = slow.finish().fails("statement-failed", 6).pending(["0001_slow"]);
    failed.annotation("migrations/0001_slow.sql", 1, "canceling statement").done();
    running.finish().succeeds().applied(["0001_users"]).done();
    assert_eq!(events(&webhook), ["blocked"]);
}
