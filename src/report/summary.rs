//! The job summary: did it work, what was applied, what is pending, what was in the way, what to do next, the facts.

use super::{
    entries::{Fate, MigrationReport},
    facts::facts,
    headline::Verdict,
    log_lines::{self, took},
    markdown::{block, clipped, code, escape, prose},
    run_report::{NOTICES_KEPT, Report},
    tenant_table::{blame, tenants},
    tunnel_usage::way,
};
use crate::{
    fault::Fault,
    run::event::{StepPhase, StepState},
};

/// Bars in the chart; with more nobody can read it.
const BARS: usize = 60;

/// Parts of the schema that are listed.
const LISTED: usize = 500;

/// How much of one foreign text is shown, in characters, so that one message can't push everything else out.
const SHOWN: usize = 4_000;

/// What can be left out, as the reader is told.
const WAY: &str = "how to reach the database";
const APPLIED: &str = "applied migrations";
const CHART: &str = "the chart";
const PENDING: &str = "pending migrations";
const STEPS: &str = "steps";
const TENANTS: &str = "tenants";
const FAULTS: &str = "faults";
const WARNINGS: &str = "warnings";
const BLOCKED: &str = "who waited for whom";
const NOTICES: &str = "messages of the server";
const SCHEMA: &str = "what is new in the schema";
const ENDING: &str = "what to do next and the facts";

/// The report as Markdown of at most `budget` bytes. The report must be redacted.
#[must_use]
pub fn summary(report: &Report, budget: usize) -> String {
    let verdict = Verdict::of(report);
    let headline = format!("## {}\n\n", prose(&verdict.what));
    let everything =
        cut_note(&[WAY, APPLIED, CHART, PENDING, TENANTS, STEPS, FAULTS, WARNINGS, BLOCKED, NOTICES, SCHEMA, ENDING]);
    let room = budget.saturating_sub(everything.len());
    if headline.len() > room {
        return if headline.len() <= budget { headline } else { String::new() };
    }
    let ending = format!("{}{}", next(&verdict), facts(report));
    let ending_fits = headline.len() + ending.len() <= room;
    let room = if ending_fits { room - ending.len() } else { room };
    let mut page = Page { text: headline, room, cut: Vec::new() };
    page.add(WAY, &way(report));
    by_tenant(report, &mut page);
    applied(report, &mut page);
    standing(report, &mut page);
    chart(report, &mut page);
    pending(report, &mut page);
    steps(report, &mut page);
    in_the_way(report, &mut page);
    schema(report, &mut page);
    if ending_fits {
        page.text.push_str(&ending);
    } else {
        page.cut.push(ENDING);
    }
    let note = if page.cut.is_empty() { String::new() } else { cut_note(&page.cut) };
    page.text + &note
}

fn cut_note(cut: &[&str]) -> String {
    format!(
        "\n_Left out, or not shown in full, to stay below the size limit: {}. The log has everything._\n",
        cut.join(", ")
    )
}

/// Markdown that grows by whole pieces, so that a cut never opens a fence or splits a character.
struct Page {
    text: String,
    room: usize,
    cut: Vec<&'static str>,
}

impl Page {
    /// Adds the piece, or remembers that some of `what` is missing; then no later piece of it is added either.
    fn add(&mut self, what: &'static str, piece: &str) {
        let fits = self.text.len() + piece.len() <= self.room;
        match (self.cut.contains(&what), fits) {
            (true, _) => {}
            (false, true) => self.text.push_str(piece),
            (false, false) => self.cut.push(what),
        }
    }
}

/// Of many schemas, how each of them stands.
fn by_tenant(report: &Report, page: &mut Page) {
    let tenants = tenants(report);
    if tenants.is_empty() {
        return;
    }
    page.add(TENANTS, "### Tenants\n\n| Schema | | Applied | Open |\n|---|---|---:|---:|\n");
    let blame = blame(report);
    for (schema, tenant) in tenants {
        let (schema, state) = (escape(&clipped(schema, 300)), tenant.state(blame));
        page.add(TENANTS, &format!("| {schema} | {state} | {} | {} |\n", tenant.applied, tenant.open));
    }
    page.add(TENANTS, "\n");
}

fn applied(report: &Report, page: &mut Page) {
    let rows: Vec<&MigrationReport> = report.with_fate(Fate::Applied).collect();
    if rows.is_empty() {
        return;
    }
    page.add(APPLIED, &format!("### Applied\n\n{}", head_of(&rows, " Time", "---:")));
    for row in rows {
        let time = row.took_ms.map(took).unwrap_or_default();
        page.add(APPLIED, &format!("{} {time} |\n", cells(row)));
    }
    page.add(APPLIED, "\n");
}

/// Of `status`, what the ledger has.
fn standing(report: &Report, page: &mut Page) {
    if report.recorded.is_empty() {
        return;
    }
    let rows: Vec<MigrationReport> = report.recorded.iter().map(MigrationReport::pending).collect();
    let rows: Vec<&MigrationReport> = rows.iter().collect();
    page.add(APPLIED, &format!("### Applied\n\n{}", head_of(&rows, "", "---")));
    for row in rows.iter().take(LISTED) {
        page.add(APPLIED, &format!("{} |\n", cells(row)));
    }
    if let more @ 1.. = rows.len().saturating_sub(LISTED) {
        page.add(APPLIED, &format!("\nand {more} more\n"));
    }
    page.add(APPLIED, "\n");
}

/// The head of a table of migrations. Only files have a version and a path.
fn head_of(rows: &[&MigrationReport], last: &str, align: &str) -> String {
    if rows.iter().all(|row| row.id.file.is_empty()) {
        return format!("| Migration |{last} |\n|---|{align}|\n");
    }
    format!("| Version | Migration | File |{last} |\n|---:|---|---|{align}|\n")
}

fn cells(row: &MigrationReport) -> String {
    let name = escape(&clipped(&row.id.name, SHOWN));
    if row.id.file.is_empty() {
        return format!("| {} |", escape(&clipped(&row.id.entitled(), SHOWN)));
    }
    format!("| {} | {name} | {} |", escape(&clipped(&row.id.version, SHOWN)), code(&clipped(&row.id.file, SHOWN)))
}

/// Mermaid's gantt, in milliseconds since the run began.
fn chart(report: &Report, page: &mut Page) {
    let bars: Vec<String> = report.migrations.iter().filter_map(bar).collect();
    if bars.len() < 2 {
        return;
    }
    let shown: String = bars.iter().take(BARS).cloned().collect();
    let more = match bars.len().saturating_sub(BARS) {
        0 => String::new(),
        more => format!("The chart shows the first {BARS} migrations; {more} more ran.\n\n"),
    };
    let axis = axis(report);
    let head = format!("gantt\n    dateFormat x\n    axisFormat {axis}\n    todayMarker off\n    section Migrations\n");
    page.add(CHART, &format!("```mermaid\n{head}{shown}```\n\n{more}"));
}

/// Counted since the run began: hours and minutes would be those of the reader's time zone, and some are off by 30 minutes.
fn axis(report: &Report) -> &'static str {
    let end = |entry: &MigrationReport| Some(entry.started_ms?.saturating_add(entry.took_ms?));
    match report.migrations.iter().filter_map(end).max() {
        Some(end) if end >= 10_000 => "%s s",
        _ => "%Q ms",
    }
}

/// The index comes first, so that no name is taken for a keyword of Mermaid.
fn bar(entry: &MigrationReport) -> Option<String> {
    let (start, took) = (entry.started_ms?, entry.took_ms?);
    let plain = |letter: char| if letter.is_alphanumeric() || "_-. ".contains(letter) { letter } else { '_' };
    let name: String = entry.id.name.chars().take(60).map(plain).collect();
    Some(format!("    {} {name} :{start}, {}\n", entry.id.index, start.saturating_add(took.max(1))))
}

fn pending(report: &Report, page: &mut Page) {
    let rows: Vec<&MigrationReport> = report.migrations.iter().filter(|entry| entry.fate != Fate::Applied).collect();
    if rows.is_empty() {
        return;
    }
    page.add(PENDING, &format!("### Pending\n\n{}", head_of(&rows, "", "---")));
    for row in rows {
        let note = match row.fate {
            Fate::Pending | Fate::Applied => "",
            Fate::RolledBack => "rolled back",
            Fate::Running => "interrupted",
            Fate::Cancelled => "cancelled",
            Fate::Failed => "failed",
            Fate::InDoubt => "in doubt",
        };
        page.add(PENDING, &format!("{} {note} |\n", cells(row)));
    }
    page.add(PENDING, "\n");
}

/// A migration that is one step and nothing else has been told.
fn steps(report: &Report, page: &mut Page) {
    if report.steps.len() < 2 && report.steps.iter().all(|step| step.id.phase == StepPhase::Migrate) {
        return;
    }
    page.add(STEPS, "### Steps\n\n| | Step | | Time |\n|---|---|---|---:|\n");
    for step in &report.steps {
        let fate = match step.fate {
            StepState::NotRun => "not run",
            StepState::Running => "interrupted",
            StepState::Done => "done",
            StepState::Failed => "**failed**",
        };
        let (name, time) = (escape(&clipped(&step.id.name, 300)), step.took_ms.map(took).unwrap_or_default());
        page.add(STEPS, &format!("| {} | {name} | {fate} | {time} |\n", step.id.phase.name()));
    }
    page.add(STEPS, "\n");
}

fn in_the_way(report: &Report, page: &mut Page) {
    let sections = [(FAULTS, "### In the way\n\n", &report.faults), (WARNINGS, "### Warnings\n\n", &report.warnings)];
    for (what, heading, faults) in sections {
        for (at, found) in faults.iter().enumerate() {
            let heading = if at == 0 { heading } else { "" };
            page.add(what, &format!("{heading}{}", fault(found)));
        }
    }
    for (at, who) in report.blocked.iter().enumerate() {
        let heading = if at == 0 { "### Locks\n\n" } else { "" };
        page.add(BLOCKED, &format!("{heading}- {}\n", escape(&clipped(who, SHOWN))));
    }
    page.add(BLOCKED, if report.blocked.is_empty() { "" } else { "\n" });
    for (at, notice) in report.notices.iter().enumerate() {
        let heading = match (at, report.notices.len()) {
            (0, NOTICES_KEPT) => {
                let log = match report.skipped {
                    0 => "the log has all".to_owned(),
                    skipped => format!("there was no time to show {} more", log_lines::grouped(skipped)),
                };
                format!("### Messages of the server\n\nThe newest {NOTICES_KEPT}; {log}.\n\n")
            }
            (0, _) => "### Messages of the server\n\n".to_owned(),
            _ => String::new(),
        };
        let text = escape(&clipped(notice.text.trim(), SHOWN));
        let file = notice.file.as_ref().map(|file| format!("{} ", code(&clipped(file, 300)))).unwrap_or_default();
        page.add(NOTICES, &format!("{heading}- {file}{}: {text}\n", escape(&notice.severity)));
    }
    page.add(NOTICES, if report.notices.is_empty() { "" } else { "\n" });
}

fn schema(report: &Report, page: &mut Page) {
    if report.schema.is_empty() {
        return;
    }
    let rows: String =
        report.schema.iter().take(LISTED).map(|what| format!("- {}\n", code(&clipped(what, 300)))).collect();
    let more = match report.schema.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("- and {more} more\n"),
    };
    let head = format!("<details><summary>New in the schema: {}</summary>\n\n", report.schema.len());
    // One piece: a fold that is open has to be closed.
    page.add(SCHEMA, &format!("{head}{rows}{more}\n</details>\n\n"));
}

fn fault(fault: &Fault) -> String {
    let cause = prose(&clipped(&fault.cause, SHOWN));
    let mut parts =
        vec![format!("**[{0}]({1}{0})** in stage {2}: {cause}\n\n", fault.code, log_lines::ERRORS, fault.stage)];
    if let Some(place) = &fault.place {
        parts.push(format!("{}\n\n", code(&log_lines::place(place))));
        parts.extend(place.excerpt.iter().map(|excerpt| format!("{}\n", block(&excerpt.render()))));
    }
    parts.extend(fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {}\n\n", code(sqlstate))));
    if !fault.detail.is_empty() {
        parts.push(format!("{}\n", block(&clipped(&fault.detail.join("\n"), SHOWN))));
    }
    parts.push(format!("Fix: {}\n\n", prose(&clipped(&fault.fix, SHOWN))));
    parts.concat()
}

fn next(verdict: &Verdict) -> String {
    let next = verdict.next.iter().map(|next| format!("### Next\n\n{}\n\n", prose(&clipped(next, SHOWN))));
    next.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use proptest::prelude::*;

    const WIDE: usize = 1_048_576;

    fn told(told: &sample::Told) -> String {
        summary(&sample::report(told), WIDE)
    }

    #[test]
    fn tells_a_good_run() {
        insta::assert_snapshot!(told(&sample::success()), @r#"
        ## Applied 2 migrations to shop, and the ledger confirms it (1.6 s)

        ### Applied

        | Version | Migration | File | Time |
        |---:|---|---|---:|
        | 3 | add\_email | <code>migrations/0003\_add\_email.sql</code> | 12 ms |
        | 4 | drop\_name | <code>migrations/0004\_drop\_name.sql</code> | 1.1 s |

        ```mermaid
        gantt
            dateFormat x
            axisFormat %Q ms
            todayMarker off
            section Migrations
            3 add_email :300, 312
            4 drop_name :320, 1420
        ```

        ### Messages of the server

        - <code>migrations/0004\_drop\_name.sql</code> NOTICE: table "x" \| skipping ::error::no

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |
        | Environment | <code>prod</code> |
        | Bastion | <code>deploy@<!-- -->bastion.example.org:22</code> |
        | Host key | <code>ssh-ed25519 SHA256:abc</code> |
        | Database | <code>shop at db.internal:5432 as owner</code> |
        | PostgreSQL | <code>16.4</code> |
        | TLS | <code>verify-full</code> |
        | Plan | <code>sha256:4f2c</code> |
        | Ledger | <code>bastion\_migrate.ledger (plain), 2 migrations recorded before</code> |
        | Stages | <code>bastion 100 ms, database 100 ms, plan 50 ms, migrate 1.2 s</code> |

        </details>
        "#);
    }

    #[test]
    fn tells_a_failed_run() {
        insta::assert_snapshot!(told(&sample::failed()), @r#"
        ## Failed in stage migrate with statement-failed: 1 of 2 migrations applied (330 ms)

        ### Applied

        | Version | Migration | File | Time |
        |---:|---|---|---:|
        | 3 | add\_email | <code>migrations/0003\_add\_email.sql</code> | 12 ms |

        ### Pending

        | Version | Migration | File | |
        |---:|---|---|---|
        | 4 | drop\_name | <code>migrations/0004\_drop\_name.sql</code> | failed |

        ### In the way

        **[statement-failed](https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed)** in stage migrate: relation "userz" does not exist

        <code>migrations/0004\_drop\_name.sql:2:13</code>

        ```text
        ALTER TABLE userz DROP name;
                    ^
        ```

        SQLSTATE <code>42P01</code>

        ```text
        HINT: ##[error]look at `users`
        ```

        Fix: correct the file and run again; the file was rolled back and files before it stay applied

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |
        | Environment | <code>prod</code> |
        | Bastion | <code>deploy@<!-- -->bastion.example.org:22</code> |
        | Host key | <code>ssh-ed25519 SHA256:abc</code> |
        | Database | <code>shop at db.internal:5432 as owner</code> |
        | PostgreSQL | <code>16.4</code> |
        | TLS | <code>verify-full</code> |
        | Plan | <code>sha256:4f2c</code> |
        | Ledger | <code>bastion\_migrate.ledger (plain), 2 migrations recorded before</code> |
        | Stages | <code>bastion 100 ms, database 100 ms, plan 50 ms</code> |

        </details>
        "#);
    }

    #[test]
    fn tells_a_run_that_never_reached_the_database() {
        insta::assert_snapshot!(told(&sample::unpinned()), @r"
        ## Failed in stage bastion with host-key-unpinned: nothing was changed (50 ms)

        ### In the way

        **[host-key-unpinned](https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned)** in stage bastion: no key is pinned for <code>bastion.example.org</code>

        ```text
        bastion.example.org ssh-ed25519 AAAA
        ```

        Fix: compare the fingerprint with the server's own (<code>ssh-keygen -lf /etc/ssh/ssh\_host\_ed25519\_key.pub</code> there), then put the line shown into <code>ssh-known-hosts</code>

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |
        | Environment | <code>prod</code> |

        </details>
        ");
    }

    #[test]
    fn tells_a_tunnel_by_what_it_leads_to_and_how_to_get_there() {
        insta::assert_snapshot!(summary(&sample::tunnel(), WIDE), @r#"
        ## shop at db.internal:5432 is open at 127.0.0.1:49153 for the following steps (300 ms)

        ### How to reach it

        | A step | |
        |---|---|
        | on the runner | <code>psql "host=127.0.0.1 port=49153 user=owner dbname=shop"</code> |
        | in the job's network | <code>psql "host=bastion-migrate-tunnel-4f2c port=5432 user=owner dbname=shop"</code> |

        ### Facts

        | | |
        |---|---|
        | Command | <code>tunnel</code> |
        | Environment | <code>prod</code> |
        | Bastion | <code>deploy@<!-- -->bastion.example.org:22</code> |
        | Host key | <code>ssh-ed25519 SHA256:abc</code> |
        | Database | <code>shop at db.internal:5432 as owner</code> |
        | PostgreSQL | <code>16.4</code> |
        | TLS | <code>verify-full</code> |
        "#);
    }

    #[test]
    fn a_chart_of_many_migrations_says_what_it_leaves_out() {
        let mut report = sample::report(&sample::success());
        report.migrations = (0..100)
            .map(|index| MigrationReport {
                id: sample::migration(index, "a:b;c#d, e%%f"),
                fate: Fate::Applied,
                started_ms: Some(1),
                took_ms: Some(0),
            })
            .collect();
        let text = summary(&report, WIDE);
        assert_eq!(text.matches(" :1, 2\n").count(), BARS);
        assert!(text.contains("    7 a_b_c_d_ e__f :1, 2\n") && text.contains("40 more ran"), "{text}");
    }

    #[test]
    fn the_chart_of_a_long_run_counts_seconds() {
        let mut report = sample::report(&sample::success());
        report.migrations.iter_mut().for_each(|entry| entry.took_ms = Some(10_000));
        assert!(summary(&report, WIDE).contains("    axisFormat %s s\n"));
    }

    /// Whether every fence and every `<details>` that was opened is closed again.
    fn balanced(text: &str) -> bool {
        let mut open: Option<&str> = None;
        for line in text.lines().filter(|line| line.starts_with("```")) {
            let fence = line.trim_end_matches(|letter| letter != '`');
            match open {
                None => open = Some(fence),
                Some(opened) if line == opened => open = None,
                Some(_) => {}
            }
        }
        open.is_none() && text.matches("<details>").count() == text.matches("</details>").count()
    }

    proptest! {
        #[test]
        fn keeps_its_budget_and_never_cuts_inside(budget in 0usize..6_000, many in 0usize..40, text in "(```|[üé<|`\n ]|[a-z]){0,300}") {
            let mut report = sample::report(&sample::failed());
            report.migrations.extend(vec![report.migrations[0].clone(); many]);
            report.notices = vec![super::super::NoticeReport { severity: "NOTICE".to_owned(), text: text.clone(), file: None }; many];
            report.faults[0].detail.push(text.clone());
            report.faults[0].place.iter_mut().for_each(|place| place.excerpt = Some(crate::fault::Excerpt::new(&text, 2)));
            let cut = summary(&report, budget);
            prop_assert!(cut.len() <= budget);
            prop_assert!(balanced(&cut), "{}", cut);
            let whole = summary(&report, WIDE);
            prop_assert!(cut == whole || cut.contains("Left out") || !cut.contains("\n### "), "{}", cut);
        }
    }

    #[test]
    fn a_cut_summary_keeps_the_verdict_and_what_to_do() {
        let mut report = sample::report(&sample::failed());
        report.notices =
            vec![super::super::NoticeReport { severity: "NOTICE".to_owned(), text: "x".repeat(3_000), file: None }; 50];
        let text = summary(&report, 8_000);
        assert!(text.starts_with("## Failed in stage migrate"), "{text}");
        assert!(text.contains("Fix: correct the file") && text.contains("<summary>Facts</summary>"), "{text}");
        assert!(text.ends_with("size limit: messages of the server. The log has everything._\n"), "{text}");
    }
}
