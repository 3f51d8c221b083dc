//! The backup in log and summary: what it contains, where it is, and how it is restored.

use super::{
    log_lines::indent_further_lines,
    markdown::{code_html, fenced_block},
    run_report::RunReport,
    summary_page::{BACKUP, SummaryPage},
    visible_text::clip_text,
};
use crate::run::{BackupFacts, MadeBackup, format_bytes};

/// Maximum length of a text in the table, in characters.
const MAX_TEXT_LENGTH: usize = 300;

/// Returns the lines of the log.
pub(super) fn backup_text(facts: &BackupFacts) -> String {
    let destination = indent_further_lines(&facts.destination);
    let Some(made) = &facts.made else {
        let estimate = facts.estimate_bytes.map(|bytes| format!(", {} with their indexes", format_bytes(bytes)));
        return format!("  backup    {}{}, to {destination}", facts.content, estimate.unwrap_or_default());
    };
    let MadeBackup { bytes, sha256, proof, restore, .. } = made;
    let size = bytes.map(|bytes| format!(", {}", format_bytes(bytes))).unwrap_or_default();
    let mut text =
        format!("  backup    {} in {destination}{size}\n  proof     {}", facts.content, indent_further_lines(proof));
    for (title, value) in [("sha256    ", sha256), ("restore   ", restore)] {
        if let Some(value) = value {
            text = format!("{text}\n  {title}{}", indent_further_lines(value));
        }
    }
    text
}

/// Adds the backup to the summary.
pub(super) fn add_backup(report: &RunReport, page: &mut SummaryPage) {
    let Some(facts) = &report.backup else { return };
    let estimate = facts.estimate_bytes.map(|bytes| format!("{} with their indexes", format_bytes(bytes)));
    let made = facts.made.as_ref();
    let rows = [
        ("Content", Some(facts.content.clone())),
        ("Tables", estimate),
        (if made.is_some() { "Stored in" } else { "Would go to" }, Some(facts.destination.clone())),
        ("Size", made.and_then(|made| Some(format_bytes(made.bytes?)))),
        ("SHA-256", made.and_then(|made| made.sha256.clone())),
        ("Proof", made.map(|made| made.proof.clone())),
    ];
    let rows = rows.into_iter().filter_map(|(title, value)| Some((title, value?)));
    let rows: String = rows
        .map(|(title, value)| format!("| {title} | {} |\n", code_html(&clip_text(&value, MAX_TEXT_LENGTH))))
        .collect();
    page.add_piece(BACKUP, &format!("### Backup\n\n| | |\n|---|---|\n{rows}\n"));
    if let Some(restore) = made.and_then(|made| made.restore.as_ref()) {
        let fence = fenced_block(restore);
        page.add_piece(BACKUP, &format!("Restore it into the empty database at `RESTORE_URL`:\n\n{fence}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(made: Option<MadeBackup>) -> BackupFacts {
        let destination = "backups/shop.dump".to_owned();
        BackupFacts { content: "the data of 3 tables".to_owned(), estimate_bytes: Some(5_767_168), destination, made }
    }

    #[test]
    fn a_planned_backup_has_its_estimate_and_a_made_one_its_proof() {
        assert_eq!(
            backup_text(&facts(None)),
            "  backup    the data of 3 tables, 5.5 MB with their indexes, to backups/shop.dump"
        );
        let made = MadeBackup {
            path: Some("backups/shop.dump".to_owned()),
            bytes: Some(1_024),
            sha256: Some("ab12".to_owned()),
            proof: "pg_restore has read all of it".to_owned(),
            restore: Some("pg_restore backups/shop.dump".to_owned()),
        };
        insta::assert_snapshot!(backup_text(&facts(Some(made.clone()))), @r"
          backup    the data of 3 tables in backups/shop.dump, 1.0 kB
          proof     pg_restore has read all of it
          sha256    ab12
          restore   pg_restore backups/shop.dump
        ");
        let mut page = SummaryPage { text: String::new(), room: 10_000, left_out: Vec::new() };
        add_backup(&RunReport { backup: Some(facts(Some(made))), ..RunReport::default() }, &mut page);
        insta::assert_snapshot!(page.text, @r"
        ### Backup

        | | |
        |---|---|
        | Content | <code>the data of 3 tables</code> |
        | Tables | <code>5.5 MB with their indexes</code> |
        | Stored in | <code>backups/shop.dump</code> |
        | Size | <code>1.0 kB</code> |
        | SHA-256 | <code>ab12</code> |
        | Proof | <code>pg\_restore has read all of it</code> |

        Restore it into the empty database at `RESTORE_URL`:

        ```text
        pg_restore backups/shop.dump
        ```
        ");
    }
}
