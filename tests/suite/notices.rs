//! Messages of the server are shown and have no other effect.

use crate::{action::Action, lab::Lab};

#[test]
fn many_messages_keep_the_summary_small() {
    let lab = Lab::new();
    let done = Action::new(&lab)
        .file("migrations/0001_a.sql", "do $$ begin for i in 1..1000 loop raise notice 'row %', i; end loop; end $$;")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs("  0001_a: notice: row 1\n")
        .logs("  0001_a: notice: row 1000\n")
        .summary("NOTICE: row 1000")
        .summary("The newest 50; the log has all.");
    assert_eq!(done.summary.matches("NOTICE: row").count(), 50);
    assert!(done.summary.len() < 8 << 10, "{} bytes", done.summary.len());
    done.done();
}

/// All files are sent before the first response.
#[test]
fn each_message_is_logged_under_its_own_file() {
    let lab = Lab::new();
    let name = |number: usize| format!("000{number}_n");
    let files = (1..=5).fold(Action::new(&lab), |step, number| {
        let text = format!("do $$ begin raise notice 'I am file {number}'; end $$;");
        step.file(&format!("migrations/{}.sql", name(number)), text)
    });
    let in_pieces = "do $$ begin raise notice 'I copy'; end $$; create table t (a int);\ncopy t from stdin;\n1\n\\.\n";
    let alone = "-- no-transaction\ndo $$ begin raise notice 'I am alone'; end $$;\n";
    let step = files.file("migrations/0006_n.sql", in_pieces).file("migrations/0007_n.sql", alone);
    let step = step.file("migrations/0008_n.sql", "do $$ begin raise notice 'I am the last'; end $$;");
    let step = step.file("db/after.sql", "do $$ begin raise notice 'I come after'; end $$;");
    let finished = step.file(".github/bastion-migrate.yml", "after: [{ sql: db/after.sql }]").run().succeeds();
    let all: Vec<String> = (1..=8).map(name).collect();
    let mut finished = finished.applied(all.iter().map(String::as_str));
    let messages = ["I am file 1", "I am file 2", "I am file 3", "I am file 4", "I am file 5", "I copy", "I am alone"];
    for (name, text) in all.iter().zip(messages.into_iter().chain(["I am the last"])) {
        let within = finished.log.split(&format!("  applying {name}\n")).nth(1).unwrap_or_default();
        let within = within.split(&format!("  applied {name} (")).next().unwrap_or_default().to_owned();
        assert!(within.contains(&format!("  {name}: notice: {text}\n")), "{name}: {}", finished.log);
        assert_eq!(finished.log.matches(text).count(), 1, "{text}: {}", finished.log);
        let escaped = name.replace('_', "\\_");
        finished = finished.summary(&format!("- <code>migrations/{escaped}.sql</code> NOTICE: {text}\n"));
    }
    let report: serde_json::Value = serde_json::from_str(&finished.outputs["report"]).unwrap();
    let files: Vec<&str> =
        report["notices"].as_array().unwrap().iter().map(|one| one["file"].as_str().unwrap()).collect();
    assert_eq!((files.len(), files[4], files[8]), (9, "migrations/0005_n.sql", "db/after.sql"));
    finished.logs("  db/after.sql: notice: I come after\n").done();
}

#[test]
fn hostile_text_becomes_neither_a_command_nor_markup() {
    let lab = Lab::new();
    // Failed statements are shown, too.
    let text = r"do $$ begin
        raise notice E'\n::error::x\n##[error]x\r::add-mask::row\n::set-output name=a::b';
        raise notice E'::stop-commands::x\n\x1b[2J\x1b]0;title\x07 | <img src=x onerror=alert(1)> [a](http://b) `c` **d**';
        raise exception '%', E'\n::warning::y\n##[warning]y <scr' || E'ipt>alert(2)</script> \x1b[31m | ```\n## z';
        end $$;";
    let done = Action::new(&lab)
        .file("migrations/0001_a.sql", text)
        .run()
        .fails("statement-failed", 6)
        .annotation("migrations/0001_a.sql", 4, "::warning::y")
        .pending(["0001_a"])
        .logs("    ::error::x\n")
        .never_logs("##[")
        .never_logs("\u{1b}")
        .summary(r"&lt;img src=x onerror=alert(1)&gt; \[a\](http<!-- -->://b) \`c\` \*\*d\*\*");
    // The SQL of the plan is shown as it is, in a fence.
    let (before, rest) =
        done.summary.split_once("<details><summary>SQL of 1 migration</summary>").expect("it has the SQL");
    let (sql, after) = rest.split_once("</details>").expect("it is folded");
    assert!(sql.trim_end().ends_with("````") && sql.contains("````sql"), "{}", done.summary);
    let outside = format!("{before}{after}");
    assert!(!outside.contains("<img") && !outside.contains("<script"), "{}", done.summary);
    assert!(!done.summary.contains('\u{1b}') && !done.summary.contains('\u{7}'), "{}", done.summary);
    assert!(done.summary.lines().all(|line| !line.starts_with("## z")), "{}", done.summary);
    done.done();
}

/// A role that can write to a table which a migration reads must not reach people or pages through its content.
#[test]
fn server_messages_can_neither_mention_users_nor_create_links() {
    let lab = Lab::new();
    let text = "@octocat @org/team #12 octo/app#34 GH-56 https://evil.example www.evil.example me@evil.example";
    let done = Action::new(&lab)
        .file("migrations/0001_a.sql", format!("do $$ begin raise warning '{text}'; raise exception '{text}'; end $$;"))
        .run()
        .fails("statement-failed", 6)
        .annotation("migrations/0001_a.sql", 1, "@octocat")
        .pending(["0001_a"])
        .logs(text)
        .summary("WARNING: @<!-- -->octocat @<!-- -->org/team")
        .summary("me@<!-- -->evil.example");
    // Fenced text is literal; outside of fences there must be no live mention or link.
    let outside: String = done.summary.split("\n```").step_by(2).collect();
    for live in ["@octocat", "@org", "#12", "app#", "GH-5", "https://evil", "www.evil", "@evil"] {
        assert!(!outside.contains(live), "{live}: {outside}");
    }
    done.done();
}
