//! The job summary: result, cause of a failure, applied migrations, pending migrations, steps, chart, details.

use super::{
    aftercare_section::aftercare_section,
    aftermath::Aftermath,
    backup_section::add_backup,
    chart::add_chart,
    doctor_table::add_findings,
    facts::facts_table,
    fault_section::fault_section,
    first_run::awaits_pin,
    folded_details::add_folded_details,
    headline::Headline,
    history_table::add_history,
    host_key_pin::pin_section,
    ledger_tables::add_ledger,
    log_lines::format_tenths,
    markdown::{escape_markdown, sentence_with_names},
    migration_tables::{add_applied, add_pending},
    rehearsal_section::add_rehearsal,
    review_section::{add_review, add_sql},
    run_report::RunReport,
    summary_page::{
        ACCESS, AFTERCARE, APPLIED, BACKUP, BLOCKED, CHART, ENDING, FAULTS, FINDINGS, HALF_DONE, HISTORY, LINT,
        NOTICES, PENDING, REHEARSAL, REVIEW, SCHEMA, SQL, STEPS, SummaryPage, TENANTS, WARNINGS,
    },
    tenant_table::add_tenants,
    tunnel_usage::access_table,
    visible_text::clip_text,
};
use crate::run::event::{StepPhase, StepState};

/// Maximum length of the next step, in characters.
const MAX_NEXT_LENGTH: usize = 4_000;

/// Renders the report as Markdown of at most `budget` bytes. The report must be redacted.
#[must_use]
pub fn render_summary(report: &RunReport, budget: usize) -> String {
    let result = Headline::from_report(report);
    let headline = summary_heading(report, &result);
    let everything = left_out_note(&[
        ACCESS, FINDINGS, APPLIED, HALF_DONE, HISTORY, CHART, PENDING, BACKUP, REHEARSAL, REVIEW, LINT, TENANTS, STEPS,
        AFTERCARE, FAULTS, WARNINGS, SQL, BLOCKED, NOTICES, SCHEMA, ENDING,
    ]);
    let room = budget.saturating_sub(everything.len());
    if headline.len() > room {
        return if headline.len() <= budget { headline } else { String::new() };
    }
    let (next, facts) = (next_section(report, &result), facts_table(report, &result));
    let ending_fits = headline.len() + next.len() + facts.len() <= room;
    let room = if ending_fits { room - next.len() - facts.len() } else { room };
    let mut page = SummaryPage { text: headline, room, left_out: Vec::new() };
    add_visible_parts(report, &mut page);
    if ending_fits {
        page.room += next.len();
        page.text.push_str(&next);
    }
    add_sql(report, &mut page);
    add_folded_details(report, &mut page);
    if ending_fits {
        page.text.push_str(&facts);
    } else {
        page.left_out.push(ENDING);
    }
    let note = if page.left_out.is_empty() { String::new() } else { left_out_note(&page.left_out) };
    page.text + &note
}

/// Adds what readers see without unfolding anything, in the order of their questions.
fn add_visible_parts(report: &RunReport, page: &mut SummaryPage) {
    page.add_piece(ACCESS, &access_table(report));
    add_faults(report, page);
    add_findings(report, page);
    add_tenants(report, page);
    add_applied(report, page);
    add_ledger(report, page);
    add_history(report, page);
    add_pending(report, page);
    add_backup(report, page);
    add_rehearsal(report, page);
    add_review(report, page);
    add_steps(report, page);
    for piece in aftercare_section(report) {
        page.add_piece(AFTERCARE, &piece);
    }
    for (at, warning) in report.warnings.iter().enumerate() {
        let heading = if at == 0 { "### Warnings\n\n" } else { "" };
        page.add_piece(WARNINGS, &format!("{heading}{}", fault_section(report, warning)));
    }
    add_chart(report, page);
}

/// Returns the heading: product, environment, and the run in one sentence. A page of a job has summaries of many steps.
fn summary_heading(report: &RunReport, result: &Headline) -> String {
    let environment =
        report.environment.as_deref().map(|name| format!(" · {}", escape_markdown(&clip_text(name, 100))));
    let environment = environment.unwrap_or_default();
    format!("## {} bastion-migrate{environment} · {}\n\n", result.sign, sentence_with_names(&result.sentence))
}

fn left_out_note(cut: &[&str]) -> String {
    format!(
        "\n_Left out, or not shown in full, to stay below the size limit: {}. The log has everything._\n",
        cut.join(", ")
    )
}

/// Adds the cause of a failure, and its aftermath.
fn add_faults(report: &RunReport, page: &mut SummaryPage) {
    for (at, fault) in report.faults.iter().enumerate() {
        let section = match at == 0 && awaits_pin(report) {
            true => pin_section(report, fault),
            // The table of the checks has it.
            false if report.findings.iter().any(|finding| finding.fault() == Some(fault)) => continue,
            false => fault_section(report, fault),
        };
        page.add_piece(FAULTS, &section);
    }
    if let Some(aftermath) = Aftermath::of(report) {
        let Aftermath { state, deploy, next } = aftermath;
        let line = |word: &str, text: &str| {
            format!("- **{word}:** {}\n", sentence_with_names(&clip_text(text, MAX_NEXT_LENGTH)))
        };
        let lines = [line("Now", &state), line("Deploy", &deploy), line("Then", &next)].concat();
        page.add_piece(FAULTS, &format!("{lines}\n"));
    }
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
            (escape_markdown(&clip_text(&step.id.name, 300)), step.took_ms.map(format_tenths).unwrap_or_default());
        page.add_piece(STEPS, &format!("| {} | {name} | {fate} | {time} |\n", step.id.phase.name()));
    }
    page.add_piece(STEPS, "\n");
}

/// Returns what to do now. A failure has its fix.
fn next_section(report: &RunReport, headline: &Headline) -> String {
    let next = headline.next_step.iter().filter(|_| report.faults.is_empty());
    next.map(|next| format!("### Next\n\n{}\n\n", sentence_with_names(&clip_text(next, MAX_NEXT_LENGTH)))).collect()
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
        ## ✅ bastion-migrate · prod · Applied 2 migrations to shop, and the ledger confirms it (1.6 s)

        ### Applied

        | Migration | Time |
        |---|---:|
        | [<code>migrations/0003\_add\_email.sql</code>](https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567/migrations/0003_add_email.sql) | 12 ms |
        | [<code>migrations/0004\_drop\_name.sql</code>](https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567/migrations/0004_drop_name.sql) | 1.1 s |

        ```mermaid
        gantt
            dateFormat x
            axisFormat %Q ms
            todayMarker off
            section Migrations
            3 add_email :300, 312
            4 drop_name :320, 1420
        ```

        <details><summary>Server messages: 1</summary>

        - <code>migrations/0004\_drop\_name.sql</code> NOTICE: table "x" \| skipping ::error::no

        </details>

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |
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
        ## ❌ bastion-migrate · prod · Failed: 1 of 2 migrations applied to shop (330 ms)

        **[statement-failed](https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed)** in stage migrate: relation "userz" does not exist

        [<code>migrations/0004\_drop\_name.sql:2:13</code>](https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567/migrations/0004_drop_name.sql#L2) · SQLSTATE <code>42P01</code>

        ```text
        ALTER TABLE userz DROP name;
                    ^
        ```

        ```text
        HINT: ##[error]look at `users`
        ```

        **Fix:** correct the file and run again; the file was rolled back and files before it stay applied

        - **Now:** 1 of 2 migrations are applied and stay so; <code>migrations/0004\_drop\_name.sql</code> is not applied
        - **Deploy:** no code that needs <code>migrations/0004\_drop\_name.sql</code> or what follows it
        - **Then:** when the cause is mended, run again with the same inputs: it begins with <code>migrations/0004\_drop\_name.sql</code>

        ### Applied

        | Migration | Time |
        |---|---:|
        | [<code>migrations/0003\_add\_email.sql</code>](https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567/migrations/0003_add_email.sql) | 12 ms |

        ### Pending

        | Migration | |
        |---|---|
        | [<code>migrations/0004\_drop\_name.sql</code>](https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567/migrations/0004_drop_name.sql) | failed |

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |
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
        ## ⏸️ bastion-migrate · prod · Pin the host key to continue (50 ms)

        **[host-key-unpinned](https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned)**: no key is pinned for <code>bastion.example.org</code>. Nothing was changed.

        1. Compare the fingerprint with the server's own: <code>ssh-keygen -lf /etc/ssh/ssh\_host\_ed25519\_key.pub</code> there prints it.
        2. If they are the same, store this line:

           ```text
           bastion.example.org ssh-ed25519 AAAA
           ```

           This command asks for the value; if lines are stored already, enter them as well:

           ```text
           gh variable set SSH_KNOWN_HOSTS --env prod
           ```

           Use the name and the environment that the workflow reads; for <code>secrets.SSH\_KNOWN\_HOSTS</code>, write <code>gh secret set</code>.
        3. Run the job again.

        <details><summary>Facts</summary>

        | | |
        |---|---|
        | Command | <code>migrate</code> |

        </details>
        ");
    }

    #[test]
    fn summarises_a_tunnel_with_its_database_and_how_to_connect() {
        insta::assert_snapshot!(render_summary(&sample::tunnel_report(), WIDE), @r#"
        ## ✅ bastion-migrate · prod · shop at db.internal:5432 is open at 127.0.0.1:49153 for the following steps (300 ms)

        ### How to connect

        | A step | |
        |---|---|
        | on the runner | <code>psql "host=127.0.0.1 port=49153 user=owner dbname=shop"</code> |
        | in the job's network | <code>psql "host=bastion-migrate-tunnel-4f2c port=5432 user=owner dbname=shop"</code> |

        ### Facts

        | | |
        |---|---|
        | Command | <code>tunnel</code> |
        | Bastion | <code>deploy@<!-- -->bastion.example.org:22</code> |
        | Host key | <code>ssh-ed25519 SHA256:abc</code> |
        | Database | <code>shop at db.internal:5432 as owner</code> |
        | PostgreSQL | <code>16.4</code> |
        | TLS | <code>verify-full</code> |
        "#);
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
        assert!(text.starts_with("## ❌ bastion-migrate · prod · Failed: 1 of 2"), "{text}");
        assert!(text.contains("**Fix:** correct the file") && text.contains("<summary>Facts</summary>"), "{text}");
        assert!(text.ends_with("size limit: server messages. The log has everything._\n"), "{text}");
    }
}
