//! The migration that a rollback goes back to, or that is recorded without being done: the user's words, checked before
//! anything is called.
//!
//! In a recipe's command lines `{target}` stands for them: alone in a word it becomes as many words as the user wrote, inside
//! of one (`VERSION={target}`) it stays there. `{target?}` may be left out, and the word with it; `{target?heads}` then says
//! `heads`.

use super::Pattern;
use serde::Deserialize;

const OPEN: &str = "{target";

/// What a tool takes for a target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    /// Its words as a page shows them, as in `APP MIGRATION`.
    pub words: String,
    /// What it has to look like.
    pub pattern: Pattern,
    /// The same for people.
    pub is: String,
    /// How the name of a migration becomes one: the groups, joined by blanks; absent: as it is.
    pub of: Option<Pattern>,
    /// What it says.
    #[serde(default)]
    pub says: Says,
    /// What becomes of the migration that it names, when the tool goes back to it.
    #[serde(default)]
    pub itself: Itself,
}

/// What becomes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Itself {
    /// It stays: the tool undoes what came after it.
    #[default]
    Kept,
    /// It goes, too.
    Undone,
}

/// What a target says of the migrations in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// To which of them to go: it and those before it are meant.
    #[default]
    Place,
    /// Which one of them alone is meant.
    Only,
    /// How many of them are meant, counted from the last that is applied.
    Count,
}

impl Target {
    /// Whether these words may be given to the tool.
    #[must_use]
    pub fn takes(&self, words: &str) -> bool {
        self.pattern.fits(words)
            && !words.chars().any(char::is_control)
            && !words.split(' ').any(|word| word.starts_with('-'))
    }

    /// The target that names this migration, if it can be written down as one.
    #[must_use]
    pub fn of(&self, migration: &str) -> Option<String> {
        let words = match &self.of {
            Some(pattern) => pattern.find(migration)?.name,
            None => migration.to_owned(),
        };
        Some(words).filter(|words| self.takes(words))
    }
}

/// Whether a word of a command line can't do without a target.
pub(super) fn is_required(word: &str) -> bool {
    word.contains("{target}")
}

/// Whether a word of a command line has a place for a target.
pub(super) fn is_placed(word: &str) -> bool {
    split(word).is_some()
}

/// The word with the target in its place.
pub(super) fn fill(word: &str, target: Option<&str>) -> Vec<String> {
    let Some((before, otherwise, after)) = split(word) else { return vec![word.to_owned()] };
    let otherwise = Some(otherwise.trim_start_matches('?')).filter(|words| !words.is_empty());
    match target.or(otherwise) {
        Some(words) if before.is_empty() && after.is_empty() => {
            words.split_whitespace().map(ToOwned::to_owned).collect()
        }
        Some(words) => vec![format!("{before}{words}{after}")],
        None => Vec::new(),
    }
}

fn split(word: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = word.split_once(OPEN)?;
    let (otherwise, after) = rest.split_once('}')?;
    (otherwise.is_empty() || otherwise.starts_with('?')).then_some((before, otherwise, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_gets_in_by_way_of_a_target_whatever_its_pattern_lets_through() {
        let any = r"{words: X, is: anything, pattern: '(?s)^.+$'}";
        let target: Target = serde_yaml::from_str(any).unwrap();
        assert!(target.takes("a 0001") && target.takes("a-b"));
        for wrong in ["--fake", "a --fake", "a\t--fake", "-1", "a\n-b"] {
            assert!(!target.takes(wrong), "{wrong}");
        }
        assert_eq!(target.of("-x"), None);
    }

    #[test]
    fn a_target_takes_its_place() {
        assert_eq!(fill("{target}", Some("settings 0016")), ["settings", "0016"]);
        assert_eq!(fill("VERSION={target}", Some("2024")), ["VERSION=2024"]);
        assert_eq!(fill("{target?}", None), Vec::<String>::new());
        assert_eq!(fill("-target={target?}", None), Vec::<String>::new());
        assert_eq!(fill("{target?heads}", None), ["heads"]);
        assert_eq!(fill("{target?heads}", Some("ae10")), ["ae10"]);
        for word in ["migrate", "{targets}", "{target"] {
            assert_eq!((fill(word, Some("x")), is_placed(word)), (vec![word.to_owned()], false));
        }
    }
}
