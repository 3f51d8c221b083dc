//! Where a run tells its story: what can't be written changes nothing, and no secret is on any surface.

use crate::{
    action::Action,
    lab::{
        Lab,
        gate::Gate,
        github::{Github, WriteAccess},
        postgres::PASSWORD,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fs, io, time::Duration};

const USERS: &str = "create table users (id int);\n";

fn users(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS)
}

#[test]
fn a_full_disk_under_the_outputs_is_a_warning() {
    let lab = Lab::new();
    let told = users(&lab).env("GITHUB_OUTPUT", "/dev/full").run().succeeds().applied(["0001_users"]);
    let told = told.without_outputs().warning("can't write the outputs (`GITHUB_OUTPUT`): No space left on device");
    told.logs("Applied 1 migration").summary("Applied 1 migration").done();
}

#[test]
fn a_full_disk_under_the_summary_is_a_warning() {
    let lab = Lab::new();
    let told = users(&lab).env("GITHUB_STEP_SUMMARY", "/dev/full").run().succeeds().applied(["0001_users"]);
    told.warning("can't write the job summary (`GITHUB_STEP_SUMMARY`): No space left on device").done();
}

/// A laptop has no command files, and `act` names some that it has not made.
#[test]
fn command_files_may_be_absent() {
    let lab = Lab::new();
    let unset = users(&lab).env("GITHUB_OUTPUT", "").env("GITHUB_STEP_SUMMARY", "").run();
    unset.succeeds().applied(["0001_users"]).without_outputs().logs("Applied 1 migration").done();
    let nowhere =
        users(&lab).env("GITHUB_OUTPUT", "/nowhere/output").env("GITHUB_STEP_SUMMARY", "/nowhere/summary").run();
    let told = nowhere.nothing_to_do().without_outputs().warning("can't write the outputs (`GITHUB_OUTPUT`)");
    told.warning("can't write the job summary (`GITHUB_STEP_SUMMARY`)").done();
}

#[test]
fn a_summary_that_is_too_long_is_cut_and_says_so() {
    let lab = Lab::new();
    let long = "x".repeat(200);
    let action = (1..=3000).fold(Action::new(&lab), |action, number| {
        action.file(&format!("migrations/{number:04}_{long}.sql"), "select 1;\n")
    });
    let names: Vec<String> = (1..=3000).map(|number| format!("{number:04}_{long}")).collect();
    let told = action.input("command", "plan").run().has_pending().pending(names.iter().map(String::as_str));
    assert!(told.summary.len() <= 1 << 20, "{} bytes", told.summary.len());
    told.summary("Left out, or not shown in full, to stay below the size limit: ").done();
}

#[test]
fn nobody_reads_the_log_and_the_run_goes_on() {
    let lab = Lab::new();
    let gate = Gate::close(&lab.database, 1);
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    let action = Action::new(&lab).file("migrations/0001_users.sql", format!("{USERS}{}", Gate::sql(1)));
    let running = action.input("lock-timeout", "0").start_on(writer.into());
    gate.wait_until_reached();
    drop(reader);
    gate.open();
    running.finish().succeeds().applied(["0001_users"]).summary("Applied 1 migration").done();
}

/// The harness looks for every secret of the step on every surface; here they are all provoked.
#[test]
fn no_secret_is_on_any_surface() {
    let lab = Lab::new();
    let quoted = PASSWORD.replace('\'', "''");
    let percent = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let (base64, inside) = (STANDARD.encode(PASSWORD), STANDARD.encode(format!("app:{PASSWORD}@host")));
    let says = |text: &str| format!("do $$ begin raise notice '%', $x${text}$x$; end $$;\n");
    let told = Action::new(&lab)
        .env("RUNNER_DEBUG", "1")
        .file("migrations/0001_notices.sql", [PASSWORD, &percent, &base64, &inside].map(says).concat())
        .file(
            "migrations/0002_error.sql",
            format!("do $$ begin raise exception 'no: %', '{quoted}' using detail = '{quoted}', hint = '{percent}'; end $$;\n"),
        )
        .run();
    assert!(told.log.matches("***").count() >= 6, "{}", told.log);
    let told = told.fails("statement-failed", 6).applied(["0001_notices"]).pending(["0002_error"]);
    told.logs("no: ***").logs("::debug::").done();
}

/// As programs write it that a migration may call, or a tool: none of these forms is on a list of the redactor's.
#[test]
fn a_secret_is_hidden_whatever_language_wrote_it() {
    let lab = Lab::new();
    let percent = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let json = serde_json::to_string(PASSWORD).expect("a text is JSON");
    let each = |form: fn(u8) -> String| PASSWORD.bytes().map(form).collect::<String>();
    let forms = [
        ("python", PASSWORD.replace('\\', "\\\\").replace('\'', "\\'")),
        ("javascript", each(|byte| format!("\\x{byte:02x}"))),
        ("json", PASSWORD.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()),
        ("json in json", serde_json::to_string(&json).expect("a text is JSON")),
        ("html", PASSWORD.chars().map(|letter| format!("&#x{:x};", u32::from(letter))).collect()),
        ("shell", PASSWORD.replace('\'', r"'\''")),
        ("quote_plus", percent.replace("%20", "+")),
        ("percent twice", percent.replace('%', "%25")),
        ("a url in html", percent.replace('%', "&#37;")),
        ("hexadecimal", each(|byte| format!("{byte:02X}"))),
        ("octal", each(|byte| format!("\\{byte:03o}"))),
        ("base64url", URL_SAFE_NO_PAD.encode(format!("user:{PASSWORD}"))),
        ("a url in base64", STANDARD.encode(format!("pg:{percent}@db"))),
    ];
    let says =
        |(name, form): &(&str, String)| format!("do $do$ begin raise notice '%', $x$by {name}: {form}$x$; end $do$;\n");
    let notices: String = forms.iter().map(says).collect();
    let told = Action::new(&lab).env("RUNNER_DEBUG", "1").file("migrations/0001_notices.sql", notices).run();
    for (name, form) in &forms {
        let line = told
            .log
            .lines()
            .find(|line| line.starts_with(&format!("  0001_notices: notice: by {name}: ")))
            .expect("it is told");
        let left = line.split(": ").nth(3).expect("it is behind its name").replace("***", "");
        assert!(left.len() * 3 < form.len(), "{name}: {line}");
    }
    told.succeeds().applied(["0001_notices"]).done();
}

/// The place of an error is shown with 120 letters of its line.
#[test]
fn no_half_of_a_secret_is_in_an_excerpt_that_ends_within_it() {
    let lab = Lab::new();
    for gap in [48, 52, 56, 60] {
        let text = format!(
            "select $x${PASSWORD}$x$, {}'', oops, {}$x${PASSWORD}$x$;",
            " ".repeat(gap - 10),
            " ".repeat(gap - 8)
        );
        let told = Action::new(&lab).file("migrations/0001_places.sql", text).run();
        let log: String = told.log.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
        for (at, _) in PASSWORD.char_indices() {
            let Some(piece) = PASSWORD.get(at..at + 5) else { continue };
            let surfaces = [&log, &told.summary, &told.outputs["report"]];
            assert!(surfaces.iter().all(|text| !text.contains(piece)), "{piece}: {log}\n{}", told.summary);
        }
        let told = told.fails("statement-failed", 6).pending(["0001_places"]);
        told.annotation("migrations/0001_places.sql", 1, "oops").logs("oops").done();
    }
}

#[test]
fn a_secret_that_holds_markup_is_hidden_wherever_it_is_escaped() {
    let secret = r#"<b>|`*_"\{}&amp;%0A::error::]"#;
    let lab = Lab::new();
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC);
    lab.database.sql(
        &format!("alter role app_markup password $x${secret}$x$")
            .replace("alter role app_markup", "drop role if exists app_markup; create role app_markup login"),
    );
    lab.database.sql(&format!("grant create on database {} to app_markup", lab.database.name()));
    let port = lab.database.server().port();
    let told = Action::new(&lab)
        .secret("database-url", format!("postgres://app_markup:{percent}@localhost:{port}/{}", lab.database.name()))
        .secret("database-password", secret)
        .file(
            "migrations/0001_error.sql",
            format!("do $$ begin raise notice '%', $x${secret}$x$; end $$;\nselect $x${secret}$x$::int;\n"),
        )
        .run();
    let told =
        told.fails("statement-failed", 6).pending(["0001_error"]).annotation("migrations/0001_error.sql", 2, "***");
    told.summary("***").done();
    lab.database.sql(&format!(
        "drop schema bastion_migrate cascade; revoke all on database {} from app_markup; drop role app_markup",
        lab.database.name()
    ));
}

#[test]
fn a_secret_in_the_name_of_a_session_that_holds_the_lock_is_hidden() {
    let lab = Lab::new();
    let holder = lab.database.session();
    let quoted = PASSWORD.replace('\'', "''");
    let key = bastion_migrate::postgres::bastion_migrate_key();
    holder.sql(&format!("set application_name = 'psql {quoted}'; select pg_advisory_lock({key})"));
    let running = users(&lab).input("lock-wait", "0").start();
    running.wait_for_line("lock-held", Duration::from_secs(10));
    holder.sql("set application_name = 'lab'");
    running.finish().fails("lock-held", 4).logs("held by `psql ***`").done();
}

#[test]
fn nothing_secret_is_in_the_process_list_and_no_process_is_started() {
    let lab = Lab::new();
    let gate = Gate::close(&lab.database, 1);
    let running = Action::new(&lab).file("migrations/0001_gate.sql", Gate::sql(1)).input("lock-timeout", "0").start();
    gate.wait_until_reached();
    let process = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", running.pid())).expect("the step runs");
    let arguments = process("cmdline");
    assert!(arguments.trim_end_matches('\0').ends_with("bastion-migrate"), "{arguments}");
    assert_eq!(process(&format!("task/{}/children", running.pid())), "");
    gate.open();
    running.finish().succeeds().applied(["0001_gate"]).done();
}

fn on_pull_request<'a>(lab: &'a Lab, github: &Github) -> Action<'a> {
    let action = users(lab)
        .input("comment", "always")
        .file("event.json", r#"{"pull_request":{"number":3}}"#)
        .env("GITHUB_API_URL", github.url());
    let event = action.workspace().join("event.json").display().to_string();
    action.env("GITHUB_EVENT_PATH", event)
}

#[test]
fn the_comment_is_written_once_and_then_updated_in_place() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    on_pull_request(&lab, &github)
        .input("command", "plan")
        .input("comment", "plan")
        .run()
        .has_pending()
        .pending(["0001_users"])
        .done();
    let [planned] = github.comments().try_into().expect("one comment");
    assert!(planned.contains("1 migration pending"), "{planned}");

    on_pull_request(&lab, &github).run().succeeds().applied(["0001_users"]).done();
    let [applied] = github.comments().try_into().expect("still one comment");
    assert!(applied.contains("Applied 1 migration"), "{applied}");

    on_pull_request(&lab, &github).input("comment", "plan").run().nothing_to_do().done();
    assert_eq!(github.comments(), [applied], "`comment: plan` is about plans alone");
    let token = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";
    assert!(github.requests().iter().all(|head| head.contains(&format!("Bearer {token}"))), "{:?}", github.requests());
    assert!(github.requests().iter().all(|head| head.contains(" /api/v3/repos/octo/app/issues/")));
}

#[test]
fn a_comment_that_may_not_be_written_is_a_warning() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Forbidden));
    let told = on_pull_request(&lab, &github).run().succeeds().applied(["0001_users"]);
    told.warning("can't write the comment: GitHub answered 403").logs("permissions: pull-requests: write").done();
    assert_eq!(github.comments(), Vec::<String>::new());
}

#[test]
fn the_token_goes_nowhere_without_a_comment_to_write() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    on_pull_request(&lab, &github).input("comment", "never").run().succeeds().applied(["0001_users"]).done();
    users(&lab).input("comment", "always").env("GITHUB_API_URL", github.url()).run().nothing_to_do().done();
    assert_eq!(github.requests(), Vec::<String>::new());
}
