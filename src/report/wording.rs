//! Counts, times and texts as people read them.

/// Indents all lines after the first one.
pub(super) fn indent_further_lines(text: &str) -> String {
    text.trim_end().replace("\r\n", "\n").replace(['\r', '\n'], "\n    ")
}

/// Formats a count: `1 migration`, `2 migrations`.
pub(super) fn count_of(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Formats milliseconds in a readable unit.
pub(super) fn format_millis(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {:02} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

/// Formats the time of a step. Its end is noticed up to a tenth of a second late.
pub(super) fn format_tenths(millis: u64) -> String {
    match millis {
        0..100 => "under 0.1 s".to_owned(),
        100..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format_millis(millis),
    }
}
