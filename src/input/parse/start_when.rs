//! Parses the input `start-when`: conditions, separated by commas.

use super::value::{self, InvalidValue};
use crate::postgres::{StartConditions, TimeWindow};
use std::time::Duration;

const FORM: &str = "conditions separated by commas, as in `no-transaction-older-than 30s, lag < 10s, window 01:00-05:00 \
                    Europe/Berlin`";

/// Parses the conditions.
///
/// # Errors
///
/// The first that is not one, or that is there twice.
pub(crate) fn parse_start_when(text: &str) -> Result<StartConditions, InvalidValue> {
    let mut conditions = StartConditions::default();
    for condition in text.split([',', '\n']).map(str::trim).filter(|condition| !condition.is_empty()) {
        let words: Vec<&str> = condition.split_whitespace().collect();
        let is_new = match words.as_slice() {
            ["no-transaction-older-than", limit] => set(&mut conditions.oldest_transaction, parse_limit(limit)?),
            ["lag", "<", limit] => set(&mut conditions.replication_lag, parse_limit(limit)?),
            ["lag", limit] if limit.starts_with('<') => {
                set(&mut conditions.replication_lag, parse_limit(limit.trim_start_matches('<'))?)
            }
            ["window", times, zone] => set(&mut conditions.window, parse_window(times, zone)?),
            _ => return Err(InvalidValue::new(format!("has `{condition}`, which is no condition"), FORM)),
        };
        if !is_new {
            let name = words.first().copied().unwrap_or_default();
            return Err(InvalidValue::new(format!("has `{name}` twice"), FORM));
        }
    }
    Ok(conditions)
}

/// Sets a condition. Returns false if it was set before.
fn set<T>(condition: &mut Option<T>, value: T) -> bool {
    condition.replace(value).is_none()
}

fn parse_limit(text: &str) -> Result<Duration, InvalidValue> {
    value::parse_positive_duration(text)
        .map_err(|InvalidValue { cause, .. }| InvalidValue::new(format!("has `{text}`, which {cause}"), FORM))
}

fn parse_window(times: &str, zone: &str) -> Result<TimeWindow, InvalidValue> {
    let invalid = |part: &str| InvalidValue::new(format!("has the window `{times}`: {part}"), FORM);
    let (from, to) = times.split_once('-').ok_or_else(|| invalid("it has no end"))?;
    for time in [from, to] {
        if !is_time(time) {
            return Err(invalid(&format!("`{time}` is not a time of day")));
        }
    }
    if from == to {
        return Err(invalid("it is never open"));
    }
    Ok(TimeWindow { from: from.to_owned(), to: to.to_owned(), zone: zone.to_owned() })
}

/// Reports whether the text is a time of day, `00:00` to `24:00`.
fn is_time(text: &str) -> bool {
    let number = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() == 2 && !text.starts_with('+'));
    let parts = text.split_once(':').and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)));
    parts.is_some_and(|(hours, minutes)| (hours < 24 && minutes < 60) || (hours, minutes) == (24, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_separated_by_commas() {
        let window = |from: &str, to: &str| {
            Some(TimeWindow { from: from.to_owned(), to: to.to_owned(), zone: "Europe/Berlin".to_owned() })
        };
        assert_eq!(
            parse_start_when("no-transaction-older-than 30s, lag < 10s, window 01:00-05:00 Europe/Berlin"),
            Ok(StartConditions {
                oldest_transaction: Some(Duration::from_secs(30)),
                replication_lag: Some(Duration::from_secs(10)),
                window: window("01:00", "05:00"),
            })
        );
        let night = StartConditions { window: window("22:00", "24:00"), ..StartConditions::default() };
        assert_eq!(parse_start_when("window 22:00-24:00 Europe/Berlin,\n"), Ok(night));
        let lag = StartConditions { replication_lag: Some(Duration::from_millis(500)), ..StartConditions::default() };
        assert_eq!(parse_start_when("lag <500ms"), Ok(lag));
    }

    #[test]
    fn reports_what_is_no_condition() {
        for (text, cause) in [
            ("at night", "has `at night`, which is no condition"),
            ("lag > 10s", "has `lag > 10s`"),
            ("lag < soon", "has `soon`, which is not a duration"),
            ("no-transaction-older-than 0s", "leaves no time"),
            ("lag < 1s, lag < 2s", "has `lag` twice"),
            ("window 01:00-05:00", "is no condition"),
            ("window 1-5 UTC", "`1` is not a time of day"),
            ("window 01:00-25:00 UTC", "`25:00` is not a time of day"),
            ("window 01:00 UTC", "it has no end"),
            ("window 01:00-01:00 UTC", "it is never open"),
            ("window 00:00-'x UTC", "`'x` is not a time of day"),
        ] {
            let invalid = parse_start_when(text).unwrap_err();
            assert!(invalid.cause.contains(cause) && invalid.fix == FORM, "{text}: {invalid:?}");
        }
    }
}
