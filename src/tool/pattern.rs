//! Patterns of recipes, and the migrations that they find in a line.

use regex_lite::{Captures, Regex};
use serde::Deserialize;
use std::time::Duration;

/// Names of the groups that are not part of a migration's name.
const SPECIAL_GROUPS: [&str; 5] = ["schema", "parents", "batch", "title", "took"];

/// A regular expression in the syntax of the crate regex-lite, compared by its text.
#[derive(Debug, Clone)]
pub struct Pattern(pub(super) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text)
            .map(Self)
            .map_err(|error| serde::de::Error::custom(format!("the pattern `{text}` can't be read: {error}")))
    }
}

/// A match of a pattern: a migration in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PatternMatch {
    /// The matched groups joined by blanks: the migration's name in the ledger.
    pub(super) name: String,
    /// The group `schema`.
    pub(super) schema: Option<String>,
    /// The group `parents`.
    pub(super) parents: Option<String>,
    /// The group `batch`, if it is a number.
    pub(super) batch: Option<u64>,
    /// The group `title`.
    pub(super) title: String,
    /// The group `took`.
    pub(super) took: Option<Duration>,
}

impl Pattern {
    /// Returns the pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Reports whether the pattern has a group for the migration's name.
    pub(super) fn has_name_group(&self) -> bool {
        self.0.capture_names().skip(1).any(|group| !group.is_some_and(|name| SPECIAL_GROUPS.contains(&name)))
    }

    /// Reports whether the pattern matches in this line.
    #[must_use]
    pub fn is_match(&self, line: &str) -> bool {
        self.0.is_match(line)
    }

    pub(super) fn find_match(&self, line: &str) -> Option<PatternMatch> {
        self.find_unnamed(line).filter(|matched| !matched.name.is_empty())
    }

    /// The same where the name may be missing.
    pub(super) fn find_unnamed(&self, line: &str) -> Option<PatternMatch> {
        let groups = self.0.captures(line)?;
        let group_text = |name: &str| groups.name(name).map(|group| group.as_str().to_owned());
        Some(PatternMatch {
            name: self.join_name_groups(&groups),
            schema: group_text("schema"),
            parents: group_text("parents"),
            batch: group_text("batch").and_then(|batch| batch.parse().ok()),
            title: group_text("title").unwrap_or_default().trim().to_owned(),
            took: group_text("took").and_then(|duration_text| duration(&duration_text)),
        })
    }

    fn join_name_groups(&self, groups: &Captures<'_>) -> String {
        let all = self.0.capture_names().zip(groups.iter()).skip(1);
        let name_groups = all.filter(|(name, _)| !name.is_some_and(|name| SPECIAL_GROUPS.contains(&name)));
        let texts = name_groups.filter_map(|(_, group)| group).map(|group| group.as_str().trim());
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// A time as tools write it: `0.0026s`, `1,234.5ms`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.replace(',', "");
    let (number, units_per_second) = match text.strip_suffix("ms") {
        Some(number) => (number, 1_000.0),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? / units_per_second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_tools_write_it() {
        let millis = |text| duration(text).map(|took| took.as_micros());
        assert_eq!(
            ["0.0026s", "32.45ms", "1,234ms", "2s"].map(millis),
            [2_600, 32_450, 1_234_000, 2_000_000].map(Some)
        );
        assert_eq!(["", "s", "-1s", "1 week", "infs", "1e300s"].map(millis), [None; 6]);
    }

    fn pattern(text: &str) -> Pattern {
        Pattern(Regex::new(text).unwrap())
    }

    #[test]
    fn the_matched_groups_are_the_name() {
        let flyway = pattern("^(?P<schema>\\w+): version (\\S+) - (.+)$|^repeatable (.+)$");
        let matched = flyway.find_match("public: version 1.1 - Add people").unwrap();
        assert_eq!(
            (matched.name.as_str(), matched.schema.as_deref(), matched.parents),
            ("1.1 Add people", Some("public"), None)
        );
        assert_eq!(flyway.find_match("repeatable view").unwrap().name, "view");
        assert_eq!(flyway.find_match("something else"), None);
        assert_eq!(pattern("^(x?)").find_match("y"), None, "an empty name is none");
    }
}
