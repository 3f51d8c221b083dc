//! What the server says on the way is shown, and does nothing else.

use crate::{action::Action, lab::Lab};

#[test]
fn many_messages_keep_the_summary_small() {
    let lab = Lab::new();
    let done = Action::new(&lab)
        .file("migrations/0001_a.sql", "do $$ begin for i in 1..1000 loop raise notice 'row %', i; end loop; end $$;")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .says("notice: row 1\n")
        .says("notice: row 1000\n")
        .summary("NOTICE: row 1000")
        .summary("The newest 50; the log has all.");
    assert_eq!(done.summary.matches("NOTICE: row").count(), 50);
    assert!(done.summary.len() < 8 << 10, "{} bytes", done.summary.len());
    done.done();
}

#[test]
fn hostile_text_is_no_command_and_no_markup() {
    let lab = Lab::new();
    // Statements, too, are shown when they fail.
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
        .says("    ::error::x\n")
        .never_says("##[")
        .never_says("\u{1b}")
        .summary(r"&lt;img src=x onerror=alert(1)&gt; \[a\](http<!-- -->://b) \`c\` \*\*d\*\*");
    assert!(!done.summary.contains("<img") && !done.summary.contains("<script"), "{}", done.summary);
    assert!(!done.summary.contains('\u{1b}') && !done.summary.contains('\u{7}'), "{}", done.summary);
    assert!(done.summary.lines().all(|line| !line.starts_with("## z")), "{}", done.summary);
    done.done();
}

/// Whoever writes into a table that a migration reads must not reach people and pages by it.
#[test]
fn nobody_is_mentioned_and_nothing_is_linked_by_what_the_server_says() {
    let lab = Lab::new();
    let text = "@octocat @org/team #12 octo/app#34 GH-56 https://evil.example www.evil.example me@evil.example";
    let done = Action::new(&lab)
        .file("migrations/0001_a.sql", format!("do $$ begin raise warning '{text}'; raise exception '{text}'; end $$;"))
        .run()
        .fails("statement-failed", 6)
        .annotation("migrations/0001_a.sql", 1, "@octocat")
        .pending(["0001_a"])
        .says(text)
        .summary("WARNING: @<!-- -->octocat @<!-- -->org/team")
        .summary("me@<!-- -->evil.example");
    // A fence shows what is in it as it is; outside of one nothing is live.
    let outside: String = done.summary.split("\n```").step_by(2).collect();
    for live in ["@octocat", "@org", "#12", "app#", "GH-5", "https://evil", "www.evil", "@evil"] {
        assert!(!outside.contains(live), "{live}: {outside}");
    }
    done.done();
}
