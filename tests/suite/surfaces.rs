//! The surfaces of a report: one that can't be written does not change the result, and none contains a secret.

use crate::{
    action::Action,
    lab::{Lab, gate::Gate, postgres::PASSWORD},
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
    let finished = users(&lab).env("GITHUB_OUTPUT", "/dev/full").run().succeeds().applied(["0001_users"]);
    let finished =
        finished.without_outputs().warning("can't write the outputs (`GITHUB_OUTPUT`): No space left on device");
    finished.logs("Applied 1 migration").summary("Applied 1 migration").done();
}

#[test]
fn a_full_disk_under_the_summary_is_a_warning() {
    let lab = Lab::new();
    let finished = users(&lab).env("GITHUB_STEP_SUMMARY", "/dev/full").run().succeeds().applied(["0001_users"]);
    finished.warning("can't write the job summary (`GITHUB_STEP_SUMMARY`): No space left on device").done();
}

/// A laptop has no command files, and `act` names files that do not exist.
#[test]
fn command_files_may_be_absent() {
    let lab = Lab::new();
    let unset = users(&lab).env("GITHUB_OUTPUT", "").env("GITHUB_STEP_SUMMARY", "").run();
    unset.succeeds().applied(["0001_users"]).without_outputs().logs("Applied 1 migration").done();
    let nowhere =
        users(&lab).env("GITHUB_OUTPUT", "/nowhere/output").env("GITHUB_STEP_SUMMARY", "/nowhere/summary").run();
    let finished = nowhere.nothing_to_do().without_outputs().warning("can't write the outputs (`GITHUB_OUTPUT`)");
    finished.warning("can't write the job summary (`GITHUB_STEP_SUMMARY`)").done();
}

#[test]
fn a_summary_that_is_too_long_is_cut_with_a_note() {
    let lab = Lab::new();
    let long = "x".repeat(200);
    let action = (1..=3000).fold(Action::new(&lab), |action, number| {
        action.file(&format!("migrations/{number:04}_{long}.sql"), "select 1;\n")
    });
    let names: Vec<String> = (1..=3000).map(|number| format!("{number:04}_{long}")).collect();
    let finished = action.input("command", "plan").run().has_pending().pending(names.iter().map(String::as_str));
    assert!(finished.summary.len() <= 1 << 20, "{} bytes", finished.summary.len());
    let lists = finished.outputs["applied"].len() + finished.outputs["pending"].len();
    assert!(lists <= 192 * 1024, "{lists} bytes");
    let finished =
        finished.logs("`pending` has the first ").logs(" of 3000 migrations: the outputs of a job may have 1 MB");
    finished.summary("Left out, or not shown in full, to stay below the size limit: ").done();
}

#[test]
fn a_run_continues_after_its_log_is_closed() {
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

/// The harness searches every surface for every secret; this test provokes leaks on all of them.
#[test]
fn no_secret_is_on_any_surface() {
    let lab = Lab::new();
    let quoted = PASSWORD.replace('\'', "''");
    let percent = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let (base64, inside) = (STANDARD.encode(PASSWORD), STANDARD.encode(format!("app:{PASSWORD}@host")));
    let notice = |text: &str| format!("do $$ begin raise notice '%', $x${text}$x$; end $$;\n");
    let finished = Action::new(&lab)
        .env("RUNNER_DEBUG", "1")
        .file("migrations/0001_notices.sql", [PASSWORD, &percent, &base64, &inside].map(notice).concat())
        .file(
            "migrations/0002_error.sql",
            format!("do $$ begin raise exception 'no: %', '{quoted}' using detail = '{quoted}', hint = '{percent}'; end $$;\n"),
        )
        .run();
    assert!(finished.log.matches("***").count() >= 6, "{}", finished.log);
    let finished = finished.fails("statement-failed", 6).applied(["0001_notices"]).pending(["0002_error"]);
    finished.logs("no: ***").logs("::debug::").done();
}

/// Notations of programs that a migration or a tool may use. None of them is on a list in the redactor.
#[test]
fn a_secret_is_redacted_in_the_notation_of_every_language() {
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
    let notice =
        |(name, form): &(&str, String)| format!("do $do$ begin raise notice '%', $x$by {name}: {form}$x$; end $do$;\n");
    let notices: String = forms.iter().map(notice).collect();
    let finished = Action::new(&lab).env("RUNNER_DEBUG", "1").file("migrations/0001_notices.sql", notices).run();
    for (name, form) in &forms {
        let line = finished
            .log
            .lines()
            .find(|line| line.starts_with(&format!("  0001_notices: notice: by {name}: ")))
            .expect("the notice is logged");
        let visible = line.split(": ").nth(3).expect("the value follows its name").replace("***", "");
        assert!(visible.len() * 3 < form.len(), "{name}: {line}");
    }
    finished.succeeds().applied(["0001_notices"]).done();
}

/// An error is shown with an excerpt of 120 characters of its line.
#[test]
fn an_excerpt_that_ends_within_a_secret_shows_no_part_of_it() {
    let lab = Lab::new();
    for gap in [48, 52, 56, 60] {
        let text = format!(
            "select $x${PASSWORD}$x$, {}'', oops, {}$x${PASSWORD}$x$;",
            " ".repeat(gap - 10),
            " ".repeat(gap - 8)
        );
        let finished = Action::new(&lab).file("migrations/0001_places.sql", text).run();
        let log: String = finished.log.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
        for (at, _) in PASSWORD.char_indices() {
            let Some(part) = PASSWORD.get(at..at + 5) else { continue };
            let surfaces = [&log, &finished.summary, &finished.outputs["report"]];
            assert!(surfaces.iter().all(|text| !text.contains(part)), "{part}: {log}\n{}", finished.summary);
        }
        let finished = finished.fails("statement-failed", 6).pending(["0001_places"]);
        finished.annotation("migrations/0001_places.sql", 1, "oops").logs("oops").done();
    }
}

#[test]
fn a_secret_with_markup_is_redacted_in_every_escaped_form() {
    let secret = r#"<b>|`*_"\{}&amp;%0A::error::]"#;
    let lab = Lab::new();
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC);
    lab.database.sql(
        &format!("alter role app_markup password $x${secret}$x$")
            .replace("alter role app_markup", "drop role if exists app_markup; create role app_markup login"),
    );
    lab.database.sql(&format!("grant create on database {} to app_markup", lab.database.name()));
    let port = lab.database.server().port();
    let finished = Action::new(&lab)
        .secret("database-url", format!("postgres://app_markup:{percent}@localhost:{port}/{}", lab.database.name()))
        .secret("database-password", secret)
        .file(
            "migrations/0001_error.sql",
            format!("do $$ begin raise notice '%', $x${secret}$x$; end $$;\nselect $x${secret}$x$::int;\n"),
        )
        .run();
    let finished =
        finished.fails("statement-failed", 6).pending(["0001_error"]).annotation("migrations/0001_error.sql", 2, "***");
    finished.summary("***").done();
    lab.database.sql(&format!(
        "drop schema bastion_migrate cascade; revoke all on database {} from app_markup; drop role app_markup",
        lab.database.name()
    ));
}

#[test]
fn a_secret_in_the_name_of_the_lock_holder_is_redacted() {
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
fn no_secret_is_in_the_process_list_and_no_child_process_is_started() {
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
