//! The input `target`: the migration to which a rollback goes back, or that is recorded without being run. It is
//! checked before any command is started.
//!
//! In a recipe's command lines `{target}` stands for it. As a word of its own it expands to as many words as the user
//! wrote; within a word (`VERSION={target}`) it is inserted in place. `{target?}` is optional: without a target the
//! whole word is left out. `{target?heads}` becomes `heads` then.

use super::pattern::Pattern;
use serde::Deserialize;

const TARGET_START: &str = "{target";

/// The form of a tool's targets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TargetSyntax {
    /// The placeholder in the documentation, as in `APP MIGRATION`.
    pub words: String,
    /// The pattern that a target must match.
    pub pattern: Pattern,
    /// A description of such a target for people.
    pub is: String,
    /// The pattern that turns a migration's name into a target: its groups, joined by blanks. Absent: the name is the
    /// target.
    pub of: Option<Pattern>,
    /// The migrations that it selects.
    #[serde(default)]
    pub says: TargetMeaning,
    /// The handling of the named migration itself in a rollback to it.
    #[serde(default)]
    pub itself: Itself,
}

/// The handling of the target itself in a rollback to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Itself {
    /// It stays applied: the tool undoes the migrations after it.
    #[default]
    Kept,
    /// It is undone, too.
    Undone,
}

/// The migrations that a target selects from the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetMeaning {
    /// The named migration and those before it.
    #[default]
    #[serde(rename = "place")]
    UpTo,
    /// The named migration alone.
    #[serde(rename = "only")]
    Single,
    /// The given number of migrations, counted back from the last applied one.
    Count,
}

impl TargetSyntax {
    /// Reports whether these words are a valid target, and can't be read as an option.
    #[must_use]
    pub fn accepts_words(&self, text: &str) -> bool {
        self.pattern.is_match(text)
            && !text.chars().any(char::is_control)
            && !text.split(' ').any(|word| word.starts_with('-'))
    }

    /// Returns the target that names this migration, if there is a valid one.
    #[must_use]
    pub fn target_for(&self, migration: &str) -> Option<String> {
        let text = match &self.of {
            Some(pattern) => pattern.find_match(migration)?.name,
            None => migration.to_owned(),
        };
        Some(text).filter(|text| self.accepts_words(text))
    }
}

/// Reports whether a word of a command line needs a target.
pub(super) fn requires_target(word: &str) -> bool {
    word.contains("{target}")
}

/// Reports whether a word of a command line can contain a target.
pub(super) fn has_target_slot(word: &str) -> bool {
    split_at_target(word).is_some()
}

/// Returns the word with the target filled in.
pub(super) fn fill_target(word: &str, target: Option<&str>) -> Vec<String> {
    let Some((before, default, after)) = split_at_target(word) else { return vec![word.to_owned()] };
    let default = Some(default.trim_start_matches('?')).filter(|text| !text.is_empty());
    match target.or(default) {
        Some(text) if before.is_empty() && after.is_empty() => text.split_whitespace().map(ToOwned::to_owned).collect(),
        Some(text) => vec![format!("{before}{text}{after}")],
        None => Vec::new(),
    }
}

fn split_at_target(word: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = word.split_once(TARGET_START)?;
    let (default, after) = rest.split_once('}')?;
    (default.is_empty() || default.starts_with('?')).then_some((before, default, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_can_never_be_an_option_even_if_its_pattern_allows_it() {
        let permissive = r"{words: X, is: anything, pattern: '(?s)^.+$'}";
        let target: TargetSyntax = serde_yaml::from_str(permissive).unwrap();
        assert!(target.accepts_words("a 0001") && target.accepts_words("a-b"));
        for option in ["--fake", "a --fake", "a\t--fake", "-1", "a\n-b"] {
            assert!(!target.accepts_words(option), "{option}");
        }
        assert_eq!(target.target_for("-x"), None);
    }

    #[test]
    fn fills_in_the_target() {
        assert_eq!(fill_target("{target}", Some("settings 0016")), ["settings", "0016"]);
        assert_eq!(fill_target("VERSION={target}", Some("2024")), ["VERSION=2024"]);
        assert_eq!(fill_target("{target?}", None), Vec::<String>::new());
        assert_eq!(fill_target("-target={target?}", None), Vec::<String>::new());
        assert_eq!(fill_target("{target?heads}", None), ["heads"]);
        assert_eq!(fill_target("{target?heads}", Some("ae10")), ["ae10"]);
        for word in ["migrate", "{targets}", "{target"] {
            assert_eq!((fill_target(word, Some("x")), has_target_slot(word)), (vec![word.to_owned()], false));
        }
    }
}
