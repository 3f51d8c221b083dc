//! The chart of the summary: when each migration ran. It is shown only if there is a time to see.

use super::{
    entries::MigrationReport,
    run_report::RunReport,
    summary_page::{CHART, SummaryPage},
};

/// Maximum number of bars in the chart; with more it is unreadable.
const MAX_BARS: usize = 60;

/// Duration in milliseconds up to which a bar is too short to be worth a chart.
const SHORT_BAR: u64 = 100;

/// Adds a Gantt chart for Mermaid, in milliseconds since the start of the run.
pub(super) fn add_chart(report: &RunReport, page: &mut SummaryPage) {
    let bars: Vec<String> = report.migrations.iter().filter_map(chart_bar).collect();
    let is_long = |entry: &MigrationReport| entry.started_ms.and(entry.took_ms).is_some_and(|took| took > SHORT_BAR);
    if bars.len() < 2 || !report.migrations.iter().any(is_long) {
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

#[cfg(test)]
mod tests {
    use super::{
        super::{entries::MigrationState, sample},
        *,
    };

    fn chart(took: &[u64]) -> String {
        let migrations = took.iter().enumerate().map(|(index, took)| MigrationReport {
            id: sample::migration_id(index, "a:b;c#d, e%%f"),
            fate: MigrationState::Applied,
            started_ms: Some(1),
            took_ms: Some(*took),
            statements: None,
        });
        let report = RunReport { migrations: migrations.collect(), ..RunReport::default() };
        let mut page = SummaryPage { text: String::new(), room: 1_000_000, left_out: Vec::new() };
        add_chart(&report, &mut page);
        page.text
    }

    #[test]
    fn a_chart_of_many_migrations_names_the_number_of_omitted_ones() {
        let text = chart(&[101; 100]);
        assert_eq!(text.matches(" :1, 102\n").count(), MAX_BARS);
        assert!(text.contains("    7 a_b_c_d_ e__f :1, 102\n") && text.contains("40 more ran"), "{text}");
    }

    #[test]
    fn the_chart_of_a_long_run_counts_seconds() {
        assert!(chart(&[10_000, 1]).contains("    axisFormat %s s\n"));
        assert!(chart(&[9_000, 1]).contains("    axisFormat %Q ms\n"));
    }

    #[test]
    fn there_is_no_chart_without_a_bar_of_more_than_100_ms() {
        assert_eq!(chart(&[100, 0, 12]), "");
        assert!(chart(&[101, 0]).contains("0 a_b_c_d_ e__f :1, 102\n"));
        assert_eq!(chart(&[5_000]), "", "one bar compares with none");
    }
}
