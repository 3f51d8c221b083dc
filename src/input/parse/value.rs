//! Parsers for single values.

use crate::{
    layout,
    settings::{ApprovedPlan, ApprovedRehearsal},
};
use std::time::Duration;

/// The reason why a text is not a valid value. Reads after the input's name: "it `cause`"; "set the input to `fix`".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidValue {
    pub(crate) cause: String,
    pub(crate) fix: String,
}

impl InvalidValue {
    pub(crate) fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }
}

/// Longest timeout of PostgreSQL: a signed 32-bit number of milliseconds.
const MAX_DURATION_MS: u64 = i32::MAX.unsigned_abs() as u64;

/// Parses a duration: `30s`, `5m`, `1h30m`, `500ms`; a plain number counts as seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    let milliseconds = parse_milliseconds(text).ok_or_else(|| {
        InvalidValue::new(
            "is not a duration",
            "a number and a unit, as in 30s, 5m, 1h30m or 500ms; a plain number counts as seconds",
        )
    })?;
    if milliseconds > MAX_DURATION_MS {
        return Err(InvalidValue::new("is too long", "24d or less"));
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Parses a duration greater than zero.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, InvalidValue> {
    let duration = parse_duration(text)?;
    if duration.is_zero() {
        return Err(InvalidValue::new("leaves no time at all", "a duration longer than 0"));
    }
    Ok(duration)
}

/// Parses an interval of at least one second: SSH counts keepalives in seconds, and zero would turn them off.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, InvalidValue> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err(InvalidValue::new("is too short", "1s or more"));
    }
    Ok(duration)
}

fn parse_milliseconds(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let (mut rest, mut total, mut last_unit) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let (unit, after) = split_unit(after)?;
        if unit >= last_unit {
            return None;
        }
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        (rest, last_unit) = (after, unit);
    }
    (last_unit != u64::MAX).then_some(total)
}

/// Splits off the unit at the start, and returns its milliseconds and the rest.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    UNITS.iter().find_map(|(name, size)| Some((*size, text.strip_prefix(name)?)))
}

/// Parses a port, 1 to 65535.
pub(crate) fn parse_port(text: &str) -> Result<u16, InvalidValue> {
    match parse_unsigned(text).and_then(|number| u16::try_from(number).ok()) {
        Some(port) if port > 0 => Ok(port),
        _ => Err(InvalidValue::new("is not a port number", "a number from 1 to 65535")),
    }
}

/// Parses a number of retries.
pub(crate) fn parse_retries(text: &str) -> Result<u32, InvalidValue> {
    match parse_unsigned(text).and_then(|number| u32::try_from(number).ok()) {
        Some(number) if number <= 100 => Ok(number),
        _ => Err(InvalidValue::new("is not a number of retries", "a number from 0 to 100")),
    }
}

/// Parses a migration's version, in the notation of any layout.
pub(crate) fn parse_version(text: &str) -> Result<String, InvalidValue> {
    let is_version = layout::ALL.iter().any(|layout| layout.canonical_version(text).is_some());
    is_version
        .then(|| text.to_owned())
        .ok_or_else(|| InvalidValue::new("is not a version", "the number at the start of a file's name, as in 0007"))
}

/// Parses a number without a sign: `u64::from_str` would accept `+5`.
fn parse_unsigned(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses `table` or `schema.table`, identifiers that need no quotes.
pub(crate) fn parse_table(text: &str) -> Result<String, InvalidValue> {
    let is_plain = |name: &str| {
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let rest = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        first && rest && name.len() <= MAX_IDENTIFIER_LENGTH
    };
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() <= 2 && parts.into_iter().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(InvalidValue::new(
        "is not the name of a table",
        "`table` or `schema.table`, in lower-case letters, digits and underscores",
    ))
}

/// PostgreSQL's NAMEDATALEN less its terminating zero.
const MAX_IDENTIFIER_LENGTH: usize = 63;

/// Parses the approved plan, as in the output `plan-digest`. `sha256:` may be left out, but no digits: another plan could
/// be crafted to match the first few.
pub(crate) fn parse_approved_plan(text: &str) -> Result<ApprovedPlan, InvalidValue> {
    ApprovedPlan::from_text(text).ok_or_else(|| {
        InvalidValue::new("is not a plan's digest", "the output `plan-digest` of a run with `command: plan`")
    })
}

/// Parses the digest of a rehearsal.
pub(crate) fn parse_approved_rehearsal(text: &str) -> Result<ApprovedRehearsal, InvalidValue> {
    ApprovedRehearsal::from_text(text).ok_or_else(|| {
        InvalidValue::new(
            "is not a rehearsal's digest",
            "the output `rehearsal-digest` of a run with `command: rehearse`, as it is",
        )
    })
}

/// Parses one of these words.
pub(crate) fn parse_choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, InvalidValue> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let rest_length = names.len().saturating_sub(2);
        let (others, last_two) = names.split_at(rest_length);
        let list = others.iter().cloned().chain([last_two.join(" or ")]).collect::<Vec<_>>();
        InvalidValue::new("is not one of the accepted values", list.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formatted(duration: Duration) -> String {
        let total = duration.as_millis();
        let parts = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let mut rest = total;
        let text: String = parts
            .into_iter()
            .filter_map(|(unit, size)| {
                let count = rest / size;
                rest %= size;
                (count > 0).then(|| format!("{count}{unit}"))
            })
            .collect();
        if text.is_empty() { "0s".to_owned() } else { text }
    }

    proptest! {
        #[test]
        fn parses_every_formatted_duration(milliseconds in 0..=MAX_DURATION_MS) {
            let expected = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&formatted(expected)), Ok(expected));
        }

        #[test]
        fn never_panics_on_a_duration(text in ".*") {
            drop(parse_duration(&text));
        }
    }

    #[test]
    fn parses_durations() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("45", 45_000),
            ("0", 0),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_durations() {
        for text in
            ["", "s", "5 m", "5x", "m5", "30m1h", "1s1s", "-5s", "1.5s", "5ms3", "99999999999999999999s", "25d", "٣s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_positive_duration("0s").is_err() && parse_positive_duration("1ms").is_ok());
        assert!(parse_interval("999ms").is_err() && parse_interval("1s").is_ok());
    }

    #[test]
    fn parses_ports_from_1_to_65535() {
        assert_eq!((parse_port("1"), parse_port("65535")), (Ok(1), Ok(65_535)));
        for text in ["0", "65536", "-1", "+22", "ssh", ""] {
            assert!(parse_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_versions_with_leading_zeros() {
        assert_eq!(
            (parse_version("0007"), parse_version("20240101120000")),
            (Ok("0007".to_owned()), Ok("20240101120000".to_owned()))
        );
        for text in ["", "V7", "-7", "abc"] {
            assert!(parse_version(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parses_tables_that_need_no_quotes() {
        assert_eq!(parse_table("ops.schema_migrations"), Ok("ops.schema_migrations".to_owned()));
        for text in ["", "a.b.c", ".a", "a.", "Ledger", "a b", "a;drop", "1a", "\"a\""] {
            assert!(parse_table(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_the_choices() {
        let invalid = parse_choice("maybe", &[("refuse", 1), ("allow", 2)]).unwrap_err();
        assert_eq!(invalid.fix, "`refuse` or `allow`");
        assert_eq!(parse_choice("d", &[("a", 1), ("b", 2), ("c", 3)]).unwrap_err().fix, "`a`, `b` or `c`");
    }
}
