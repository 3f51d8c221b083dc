//! The job summary: result, applied migrations, pending migrations, faults, next step, facts.

use super::{
    entries::{MigrationReport, MigrationState},
    facts::facts_table,
    headline::Headline,
    log_lines::{self, format_millis},
    markdown::{code_html, escape_markdown, fenced_block, sentence_with_names},
    run_report::{MAX_NOTICES, RunReport},
    tenant_table::{count_by_tenant, failed_schema},
    tunnel_usage::access_table,
    visible_text::clip_text,
};
use crate::{
    fault::Fault,
    run::event::{StepPhase, StepState},
};

/// Maximum number of bars in the chart; with more it is unreadable.
const MAX_BARS: usize = 60;

/// Maximum number of schema objects and recorded migrations that are listed.
const MAX_LISTED: usize = 500;

/// Maximum length of an untrusted text, in characters, so that one message can't displace everything else.
const MAX_TEXT_LENGTH: usize = 4_000;

// The parts that can be left out, as the note about them names them.
const ACCESS: &str = "how to connect";
const APPLIED: &str = "applied migrations";
const CHART: &str = "the chart";
const PENDING: &str = "pending migrations";
const STEPS: &str = "steps";
const TENANTS: &str = "tenants";
const FAULTS: &str = "faults";
const WARNINGS: &str = "warnings";
const BLOCKED: &str = "lock waits";
const NOTICES: &str = "server messages";
const SCHEMA: &str = "schema changes";
const ENDING: &str = "next steps and facts";

/// Renders the report as Markdown of at most `budget` bytes. The report must be redacted.
#[must_use]
pub fn render_summary(report: &RunReport, budget: usize) -> String {
    let result = Headline::from_report(report);
    let headline = format!("## {}\n\n", sentence_with_names(&result.sentence));
    let everything = left_out_note(&[
        ACCESS, APPLIED, CHART, PENDING, TENANTS, STEPS, FAULTS, WARNINGS, BLOCKED, NOTICES, SCHEMA, ENDING,
    ]);
    let room = budget.saturating_sub(everything.len());
    if headline.len() > room {
        return if headline.len() <= budget { headline } else { String::new() };
    }
    let ending = format!("{}{}", next_section(&result), facts_table(report));
    let ending_fits = headline.len() + ending.len() <= room;
    let room = if ending_fits { room - ending.len() } else { room };
    let mut page = SummaryPage { text: headline, room, left_out: Vec::new() };
    page.add_piece(ACCESS, &access_table(report));
    add_tenants(report, &mut page);
    add_applied(report, &mut page);
    add_recorded(report, &mut page);
    add_chart(report, &mut page);
    add_pending(report, &mut page);
    add_steps(report, &mut page);
    add_problems(report, &mut page);
    add_schema(report, &mut page);
    if ending_fits {
        page.text.push_str(&ending);
    } else {
        page.left_out.push(ENDING);
    }
    let note = if page.left_out.is_empty() { String::new() } else { left_out_note(&page.left_out) };
    page.text + &note
}

fn left_out_note(cut: &[&str]) -> String {
    format!(
        "\n_Left out, or not shown in full, to stay below the size limit: {}. The log has everything._\n",
        cut.join(", ")
    )
}

/// Markdown that grows by whole pieces, so that a cut leaves no fence open and splits no character.
struct SummaryPage {
    text: String,
    room: usize,
    left_out: Vec<&'static str>,
}

impl SummaryPage {
    /// Adds a piece of this part. If it does not fit, the part is noted as left out, and gets no further pieces.
    fn add_piece(&mut self, part: &'static str, piece: &str) {
        let fits = self.text.len() + piece.len() <= self.room;
        match (self.left_out.contains(&part), fits) {
            (true, _) => {}
            (false, true) => self.text.push_str(piece),
            (false, false) => self.left_out.push(part),
        }
    }
}

/// Adds the state of each tenant's schema.
fn add_tenants(report: &RunReport, page: &mut SummaryPage) {
    let tenants = count_by_tenant(report);
    if tenants.is_empty() {
        return;
    }
    page.add_piece(TENANTS, "### Tenants\n\n| Schema | | Applied | Open |\n|---|---|---:|---:|\n");
    let failed = failed_schema(report);
    for (schema, tenant) in tenants {
        let (schema, state) = (escape_markdown(&clip_text(schema, 300)), tenant.describe_state(failed));
        page.add_piece(TENANTS, &format!("| {schema} | {state} | {} | {} |\n", tenant.applied, tenant.open));
    }
    page.add_piece(TENANTS, "\n");
}

fn add_applied(report: &RunReport, page: &mut SummaryPage) {
    let rows: Vec<&MigrationReport> = report.in_state(MigrationState::Applied).collect();
    if rows.is_empty() {
        return;
    }
    page.add_piece(APPLIED, &format!("### Applied\n\n{}", table_head(&rows, " Time", "---:")));
    for row in rows {
        let time = row.took_ms.map(format_millis).unwrap_or_default();
        page.add_piece(APPLIED, &format!("{} {time} |\n", table_cells(row)));
    }
    page.add_piece(APPLIED, "\n");
}

/// Adds the content of the ledger, for `command: status`.
fn add_recorded(report: &RunReport, page: &mut SummaryPage) {
    if report.recorded.is_empty() {
        return;
    }
    let rows: Vec<MigrationReport> = report.recorded.iter().map(MigrationReport::new_pending).collect();
    let rows: Vec<&MigrationReport> = rows.iter().collect();
    page.add_piece(APPLIED, &format!("### Applied\n\n{}", table_head(&rows, "", "---")));
    for row in rows.iter().take(MAX_LISTED) {
        page.add_piece(APPLIED, &format!("{} |\n", table_cells(row)));
    }
    if let more @ 1.. = rows.len().saturating_sub(MAX_LISTED) {
        page.add_piece(APPLIED, &format!("\nand {more} more\n"));
    }
    page.add_piece(APPLIED, "\n");
}

/// Returns the head of a table of migrations. Only files have a version and a path.
fn table_head(rows: &[&MigrationReport], last: &str, align: &str) -> String {
    if rows.iter().all(|row| row.id.file.is_empty()) {
        return format!("| Migration |{last} |\n|---|{align}|\n");
    }
    format!("| Version | Migration | File |{last} |\n|---:|---|---|{align}|\n")
}

fn table_cells(row: &MigrationReport) -> String {
    let name = escape_markdown(&clip_text(&row.id.name, MAX_TEXT_LENGTH));
    if row.id.file.is_empty() {
        return format!("| {} |", escape_markdown(&clip_text(&row.id.entitled(), MAX_TEXT_LENGTH)));
    }
    format!(
        "| {} | {name} | {} |",
        escape_markdown(&clip_text(&row.id.version, MAX_TEXT_LENGTH)),
        code_html(&clip_text(&row.id.file, MAX_TEXT_LENGTH))
    )
}

/// Adds a Gantt chart for Mermaid, in milliseconds since the start of the run.
fn add_chart(report: &RunReport, page: &mut SummaryPage) {
    let bars: Vec<String> = report.migrations.iter().filter_map(chart_bar).collect();
    if bars.len() < 2 {
        return;
    }
    let shown: String = bars.iter().take(MAX_BARS).cloned().collect();
    let more = match bars.len().saturating_sub(MAX_BARS) {
        0 => String::new(),
        more => format!("The chart shows the first {MAX_BARS} migrations; {more} more ran.\n\n"),
    };
    let axis = axis_format(report);
    let head = format!("gantt\n    dateFormat x\n    axisFormat {axis}\n    todayMarker off\n    section Migrations\n");
    page.add_piece(CHART, &format!("```mermaid\n{head}{shown}```\n\n{more}"));
}

/// Returns the format of the time axis, which counts from the start of the run. It has no hours and minutes: Mermaid
/// shows them in the reader's time zone, and some time zones are off by 30 minutes.
fn axis_format(report: &RunReport) -> &'static str {
    let end = |entry: &MigrationReport| Some(entry.started_ms?.saturating_add(entry.took_ms?));
    match report.migrations.iter().filter_map(end).max() {
        Some(end) if end >= 10_000 => "%s s",
        _ => "%Q ms",
    }
}

/// Returns a bar of the chart. The index comes first, so that no name is parsed as a keyword of Mermaid.
fn chart_bar(entry: &MigrationReport) -> Option<String> {
    let (start, took) = (entry.started_ms?, entry.took_ms?);
    let plain = |letter: char| if letter.is_alphanumeric() || "_-. ".contains(letter) { letter } else { '_' };
    let name: String = entry.id.name.chars().take(60).map(plain).collect();
    Some(format!("    {} {name} :{start}, {}\n", entry.id.index, start.saturating_add(took.max(1))))
}

fn add_pending(report: &RunReport, page: &mut SummaryPage) {
    let rows: Vec<&MigrationReport> =
        report.migrations.iter().filter(|entry| entry.fate != MigrationState::Applied).collect();
    if rows.is_empty() {
        return;
    }
    page.add_piece(PENDING, &format!("### Pending\n\n{}", table_head(&rows, "", "---")));
    for row in rows {
        let note = match row.fate {
            MigrationState::Pending | MigrationState::Applied => "",
            MigrationState::RolledBack => "rolled back",
            MigrationState::Running => "interrupted",
            MigrationState::Cancelled => "cancelled",
            MigrationState::Failed => "failed",
            MigrationState::InDoubt => "in doubt",
        };
        page.add_piece(PENDING, &format!("{} {note} |\n", table_cells(row)));
    }
    page.add_piece(PENDING, "\n");
}

/// Adds the steps, unless the migration is the only one.
fn add_steps(report: &RunReport, page: &mut SummaryPage) {
    if report.steps.len() < 2 && report.steps.iter().all(|step| step.id.phase == StepPhase::Migrate) {
        return;
    }
    page.add_piece(STEPS, "### Steps\n\n| | Step | | Time |\n|---|---|---|---:|\n");
    for step in &report.steps {
        let fate = match step.fate {
            StepState::NotRun => "not run",
            StepState::Running => "interrupted",
            StepState::Done => "done",
            StepState::Failed => "**failed**",
        };
        let (name, time) =
            (escape_markdown(&clip_text(&step.id.name, 300)), step.took_ms.map(format_millis).unwrap_or_default());
        page.add_piece(STEPS, &format!("| {} | {name} | {fate} | {time} |\n", step.id.phase.name()));
    }
    page.add_piece(STEPS, "\n");
}

fn add_problems(report: &RunReport, page: &mut SummaryPage) {
    let sections =
        [(FAULTS, "### What went wrong\n\n", &report.faults), (WARNINGS, "### Warnings\n\n", &report.warnings)];
    for (part, heading, faults) in sections {
        for (at, fault) in faults.iter().enumerate() {
            let heading = if at == 0 { heading } else { "" };
            page.add_piece(part, &format!("{heading}{}", fault_section(fault)));
        }
    }
    for (at, sessions) in report.blocked.iter().enumerate() {
        let heading = if at == 0 { "### Locks\n\n" } else { "" };
        page.add_piece(BLOCKED, &format!("{heading}- {}\n", escape_markdown(&clip_text(sessions, MAX_TEXT_LENGTH))));
    }
    page.add_piece(BLOCKED, if report.blocked.is_empty() { "" } else { "\n" });
    for (at, notice) in report.notices.iter().enumerate() {
        let heading = match (at, report.notices.len()) {
            (0, MAX_NOTICES) => {
                let log = match report.skipped {
                    0 => "the log has all".to_owned(),
                    skipped => format!("{} more were omitted for lack of time", log_lines::group_digits(skipped)),
                };
                format!("### Server messages\n\nThe newest {MAX_NOTICES}; {log}.\n\n")
            }
            (0, _) => "### Server messages\n\n".to_owned(),
            _ => String::new(),
        };
        let text = escape_markdown(&clip_text(notice.text.trim(), MAX_TEXT_LENGTH));
        let file =
            notice.file.as_ref().map(|file| format!("{} ", code_html(&clip_text(file, 300)))).unwrap_or_default();
        page.add_piece(NOTICES, &format!("{heading}- {file}{}: {text}\n", escape_markdown(&notice.severity)));
    }
    page.add_piece(NOTICES, if report.notices.is_empty() { "" } else { "\n" });
}

fn add_schema(report: &RunReport, page: &mut SummaryPage) {
    if report.schema.is_empty() {
        return;
    }
    let rows: String = report
        .schema
        .iter()
        .take(MAX_LISTED)
        .map(|object| format!("- {}\n", code_html(&clip_text(object, 300))))
        .collect();
    let more = match report.schema.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        more => format!("- and {more} more\n"),
    };
    let head = format!("<details><summary>New in the schema: {}</summary>\n\n", report.schema.len());
    // One piece, so that `<details>` is always closed.
    page.add_piece(SCHEMA, &format!("{head}{rows}{more}\n</details>\n\n"));
}

fn fault_section(fault: &Fault) -> String {
    let cause = sentence_with_names(&clip_text(&fault.cause, MAX_TEXT_LENGTH));
    let mut parts = vec![format!(
        "**[{0}]({1}{0})** in stage {2}: {cause}\n\n",
        fault.code,
        log_lines::ERROR_DOCS_URL,
        fault.stage
    )];
    if let Some(place) = &fault.place {
        parts.push(format!("{}\n\n", code_html(&log_lines::format_place(place))));
        parts.extend(place.excerpt.iter().map(|excerpt| format!("{}\n", fenced_block(&excerpt.render()))));
    }
    parts.extend(fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {}\n\n", code_html(sqlstate))));
    if !fault.detail.is_empty() {
        parts.push(format!("{}\n", fenced_block(&clip_text(&fault.detail.join("\n"), MAX_TEXT_LENGTH))));
    }
    parts.push(format!("Fix: {}\n\n", sentence_with_names(&clip_text(&fault.fix, MAX_TEXT_LENGTH))));
    parts.concat()
}

fn next_section(headline: &Headline) -> String {
    let next = headline
        .next_step
        .iter()
        .map(|next| format!("### Next\n\n{}\n\n", sentence_with_names(&clip_text(next, MAX_TEXT_LENGTH))));
    next.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use proptest::prelude::*;

    const WIDE: usize = 1_048_576;

    fn summary_of(events: &sample::SampleEvents) -> String {
        render_summary(&sample::report_of(events), WIDE)
    }

    #[test]
    fn summarises_a_successful_run() {
        insta::assert_snapshot!(summary_of(&sample::successful_events()), @r#"
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

        ### Server messages

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
    fn summarises_a_failed_run() {
        insta::assert_snapshot!(summary_of(&sample::failed_events()), @r#"
        ## Failed in stage migrate with statement-failed: 1 of 2 migrations applied (330 ms)

        ### Applied

        | Version | Migration | File | Time |
        |---:|---|---|---:|
        | 3 | add\_email | <code>migrations/0003\_add\_email.sql</code> | 12 ms |

        ### Pending

        | Version | Migration | File | |
        |---:|---|---|---|
        | 4 | drop\_name | <code>migrations/0004\_drop\_name.sql</code> | failed |

        ### What went wrong

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
    fn summarises_a_run_that_never_reached_the_database() {
        insta::assert_snapshot!(summary_of(&sample::unpinned_events()), @r"
        ## Failed in stage bastion with host-key-unpinned: nothing was changed (50 ms)

        ### What went wrong

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
    fn summarises_a_tunnel_with_its_database_and_how_to_connect() {
        insta::assert_snapshot!(render_summary(&sample::tunnel_report(), WIDE), @r#"
        ## shop at db.internal:5432 is open at 127.0.0.1:49153 for the following steps (300 ms)

        ### How to connect

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
    fn a_chart_of_many_migrations_names_the_number_of_omitted_ones() {
        let mut report = sample::report_of(&sample::successful_events());
        report.migrations = (0..100)
            .map(|index| MigrationReport {
                id: sample::migration_id(index, "a:b;c#d, e%%f"),
                fate: MigrationState::Applied,
                started_ms: Some(1),
                took_ms: Some(0),
            })
            .collect();
        let text = render_summary(&report, WIDE);
        assert_eq!(text.matches(" :1, 2\n").count(), MAX_BARS);
        assert!(text.contains("    7 a_b_c_d_ e__f :1, 2\n") && text.contains("40 more ran"), "{text}");
    }

    #[test]
    fn the_chart_of_a_long_run_counts_seconds() {
        let mut report = sample::report_of(&sample::successful_events());
        report.migrations.iter_mut().for_each(|entry| entry.took_ms = Some(10_000));
        assert!(render_summary(&report, WIDE).contains("    axisFormat %s s\n"));
    }

    /// Returns whether every opened fence and every opened `<details>` is closed.
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
        fn stays_within_its_budget_and_leaves_nothing_open(budget in 0usize..6_000, many in 0usize..40, text in "(```|[üé<|`\n ]|[a-z]){0,300}") {
            let mut report = sample::report_of(&sample::failed_events());
            report.migrations.extend(vec![report.migrations[0].clone(); many]);
            report.notices = vec![super::super::NoticeReport { severity: "NOTICE".to_owned(), text: text.clone(), file: None }; many];
            report.faults[0].detail.push(text.clone());
            report.faults[0].place.iter_mut().for_each(|place| place.excerpt = Some(crate::fault::Excerpt::new(&text, 2)));
            let cut = render_summary(&report, budget);
            prop_assert!(cut.len() <= budget);
            prop_assert!(balanced(&cut), "{}", cut);
            let whole = render_summary(&report, WIDE);
            prop_assert!(cut == whole || cut.contains("Left out") || !cut.contains("\n### "), "{}", cut);
        }
    }

    #[test]
    fn a_cut_summary_keeps_headline_and_fix() {
        let mut report = sample::report_of(&sample::failed_events());
        report.notices =
            vec![super::super::NoticeReport { severity: "NOTICE".to_owned(), text: "x".repeat(3_000), file: None }; 50];
        let text = render_summary(&report, 8_000);
        assert!(text.starts_with("## Failed in stage migrate"), "{text}");
        assert!(text.contains("Fix: correct the file") && text.contains("<summary>Facts</summary>"), "{text}");
        assert!(text.ends_with("size limit: server messages. The log has everything._\n"), "{text}");
    }
}
