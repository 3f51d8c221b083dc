//! The table of facts at the end of the summary: bastion, database, image, plan, times.

use super::{
    headline::Headline,
    log_lines::{self, count_of, format_millis},
    markdown::code_html,
    run_report::RunReport,
    visible_text::clip_text,
};

/// Returns the table, folded unless it is the main content; empty if no fact is known. It repeats nothing of the
/// headline and of the next step.
pub(super) fn facts_table(report: &RunReport, headline: &Headline) -> String {
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.extend(report.command.map(|command| ("Command", command.name().to_owned())));
    if let Some(found) = &report.bastion {
        facts.push(("Bastion", format!("{}@{}:{}", found.user, found.host, found.port)));
        facts.push(("Host key", found.host_key.clone()));
        facts.extend(found.host_certificate.clone().map(|of| ("Host certificate", of)));
        facts.extend(found.certificate.clone().map(|of| ("Certificate", of)));
    }
    if let Some(found) = &report.database {
        let role = log_lines::describe_role(found);
        facts.push(("Database", format!("{} at {}:{} as {role}", found.name, found.host, found.port)));
        facts.push(("PostgreSQL", found.version.clone()));
        facts.push(("TLS", found.tls.clone()));
        facts.extend(found.pooler.as_ref().map(|mode| ("Pooler", format!("in {mode} mode"))));
    }
    if let Some(image) = &report.image {
        facts.push(("Image", image.reference.clone()));
        facts.push(("Digest", image.digest.clone().unwrap_or_else(|| image.id.clone())));
    }
    facts.extend(report.usage.iter().map(|used| ("Used", log_lines::describe_usage(&used.command, used.usage))));
    facts.extend(report.settings.clone().map(|way| ("Settings", way)));
    if let Some(plan) = &report.plan {
        let is_shown = headline.next_step.as_ref().is_some_and(|next| next.contains(&plan.digest));
        facts.extend((!is_shown).then(|| ("Plan", plan.digest.clone())));
        facts.extend(plan.reason.clone().map(|reason| ("Reason", reason)));
        facts.push((
            "Ledger",
            format!("{} ({}), {} recorded before", plan.ledger, plan.layout, count_of(plan.recorded, "migration")),
        ));
    }
    let stages =
        report.stages.iter().filter_map(|stage| Some(format!("{} {}", stage.stage, format_millis(stage.took_ms?))));
    facts.push(("Stages", stages.collect::<Vec<_>>().join(", ")));
    let rows = facts.iter().filter(|(_, value)| !value.is_empty());
    let rows: String =
        rows.map(|(name, value)| format!("| {name} | {} |\n", code_html(&clip_text(value, 300)))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let table = format!("| | |\n|---|---|\n{rows}\n");
    // The summary of a tunnel has little else to show.
    match report.tunnel {
        Some(_) => format!("### Facts\n\n{table}"),
        None => format!("<details><summary>Facts</summary>\n\n{table}</details>\n"),
    }
}
