//! The rehearsal in the summary: the rounds, the worst statements, and what was not as forecast.

use super::{
    markdown::{code_html, escape_markdown},
    rehearsal_lines::{
        SHOWN_CHANGES, differences, measured, rehearsal_result, rehearsed_effect, schema_changes, shown_statements,
        temporary_files,
    },
    run_report::RunReport,
    summary_page::{REHEARSAL, SummaryPage},
    verdict::statement_details,
    visible_text::clip_text,
};
use crate::run::MigrationChanges;

/// Maximum length of a text, in characters.
const MAX_TEXT_LENGTH: usize = 600;

/// Adds the rehearsal to the summary.
pub(super) fn add_rehearsal(report: &RunReport, page: &mut SummaryPage) {
    let Some(facts) = &report.rehearsal else { return };
    let text = |text: &str| escape_markdown(&clip_text(text, MAX_TEXT_LENGTH));
    page.add_piece(REHEARSAL, &format!("### Rehearsal\n\nRehearsal {}.\n\n", text(&rehearsal_result(facts))));
    let files = temporary_files(facts);
    let rounds = facts.rounds.iter().chain(&files).map(|round| format!("- {}\n", text(round)));
    let of_run = if facts.migrations.is_empty() { schema_changes(facts) } else { Vec::new() };
    let changes = of_run.iter().map(|line| format!("- {}\n", code_html(&clip_text(line, MAX_TEXT_LENGTH))));
    page.add_piece(REHEARSAL, &rounds.chain(changes).chain(["\n".to_owned()]).collect::<String>());
    for changes in &facts.migrations {
        page.add_piece(REHEARSAL, &changes_of_migration(changes));
    }
    for statement in shown_statements(facts) {
        let effect = text(&rehearsed_effect(statement));
        let (label, verdict) = (code_html(&statement.seen.migration.label()), statement.verdict.name());
        let details = [differences(statement), statement_details(&statement.seen), vec![measured(statement)]].concat();
        let details: String = details.iter().map(|line| format!("  - {}\n", text(line))).collect();
        page.add_piece(
            REHEARSAL,
            &format!("- **{}**, {verdict}: {label}: {effect}\n{details}", statement.seen.risk.name()),
        );
    }
    let unobserved = facts.unobserved.iter().map(|what| format!("- not observed: {}\n", text(what)));
    let lacks = facts.lacks.iter().map(|what| format!("- the copy: {}\n", text(what)));
    page.add_piece(REHEARSAL, &unobserved.chain(lacks).collect::<String>());
    let digest =
        (!facts.digest.is_empty()).then(|| format!("\nFor `expect-rehearsal`: {}\n", code_html(&facts.digest)));
    page.add_piece(REHEARSAL, &format!("{}\n", digest.unwrap_or_default()));
}

/// Returns the changes of the schema by a migration, as an item with the lines below it.
fn changes_of_migration(changes: &MigrationChanges) -> String {
    let labels: Vec<String> = changes.migrations.iter().map(|id| code_html(&id.label())).collect();
    let names = match labels.as_slice() {
        [first, _, .., last] => format!("{first} to {last}"),
        few => few.join(" and "),
    };
    let shown = changes.lines.iter().take(SHOWN_CHANGES);
    let lines = shown.map(|line| format!("  - {}\n", code_html(&clip_text(line, MAX_TEXT_LENGTH))));
    let more = changes.lines.len().saturating_sub(SHOWN_CHANGES) + changes.omitted;
    let more = (more > 0).then(|| format!("  - and {more} more lines\n"));
    format!("- {names} changes the schema:\n{}", lines.chain(more).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{super::rehearsal_lines::tests::sample, *};
    use std::sync::Arc;

    #[test]
    fn the_section_has_the_worst_statements_and_the_digest() {
        let mut page = SummaryPage { text: String::new(), room: 10_000, left_out: Vec::new() };
        let report = RunReport { rehearsal: Some(Arc::new(sample())), ..RunReport::default() };
        add_rehearsal(&report, &mut page);
        for part in [
            "### Rehearsal\n\nRehearsal of 2 statements on a copy at copies:5432: 1 contradicted, 1 confirmed.\n",
            "\n- a second run had nothing to do\n",
            "- **high**, contradicted: ",
            "  - it builds an index on public.orders\n",
            "- the copy: it has none of the 2 casts of the database\n",
            "\nFor `expect-rehearsal`: <code>sha256:1/2-3/2026-11-30T20:00:00Z</code>\n",
        ] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        let [name, line] = ["add_total", "+ public.orders: total int"].map(code_html);
        let changes = format!("\n- {name} changes the schema:\n  - {line}\n  - and 2 more lines\n");
        assert!(page.text.contains(&changes), "{}", page.text);
        assert!(!page.text.contains("COMMENT ON TABLE") && page.left_out.is_empty(), "{}", page.text);
    }
}
