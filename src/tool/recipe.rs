//! Recipes: one YAML file for each tool, embedded.

use super::{Line, Listing};
use regex_lite::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

const RECIPES: [&str; 2] = [include_str!("recipes/django.yaml"), include_str!("recipes/custom.yaml")];

/// What a tool can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Whether it could work at all.
    Check,
    /// What it would do, for people.
    Plan,
    /// Which migrations there are and which of them are applied.
    Status,
    /// Apply.
    Migrate,
    /// Fail if something is not applied.
    Verify,
}

/// A tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// As written in the input `tool`.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// The shape of the ledger that it keeps; absent: whatever is found.
    pub ledger: Option<String>,
    /// How its listing is read; absent: it has none that can be.
    pub listing: Option<Listing>,
    /// What it says when it begins a migration, with the migration's name as the first group.
    #[serde(default, deserialize_with = "pattern")]
    pub applying: Option<Pattern>,
    /// What the line looks like that says why it failed; absent, or never said: the last line.
    #[serde(default, deserialize_with = "pattern")]
    pub error: Option<Pattern>,
    /// What to call.
    verbs: BTreeMap<Verb, Vec<String>>,
    /// What it is known to fail at; the first that fits counts.
    #[serde(default)]
    pub failures: Vec<Failure>,
}

/// A known failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failure {
    /// Searched for in each line that the tool said.
    #[serde(deserialize_with = "required")]
    pub pattern: Pattern,
    /// Which code it gets, if not the usual one.
    pub code: Option<String>,
    /// In place of the tool's own words; `$1` is the pattern's first group.
    pub cause: Option<String>,
    /// What to do, likewise.
    pub fix: String,
}

/// A regular expression that can be compared as its text.
#[derive(Debug, Clone)]
pub struct Pattern(pub(super) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Recipe {
    /// The recipe of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|recipe| recipe.name == name)
    }

    /// Every recipe.
    #[must_use]
    pub fn all() -> Vec<Self> {
        // A test reads them all, so none is left out here.
        RECIPES.iter().filter_map(|text| serde_yaml::from_str(text).ok()).collect()
    }

    /// What to call for this.
    #[must_use]
    pub fn line(&self, verb: Verb) -> Option<Line> {
        self.verbs.get(&verb).cloned().map(Line::Program)
    }

    /// The migration whose beginning this line tells.
    #[must_use]
    pub fn begins<'l>(&self, line: &'l str) -> Option<&'l str> {
        Some(self.applying.as_ref()?.0.captures(line)?.get(1)?.as_str())
    }
}

fn required<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map(Pattern).map_err(serde::de::Error::custom)
}

fn pattern<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Pattern>, D::Error> {
    required(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    #[test]
    fn every_recipe_can_be_read_and_says_what_it_has_to() {
        for text in RECIPES {
            let recipe: Recipe = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!(!recipe.about.ends_with('.') && recipe.about.len() > 10, "{}", recipe.name);
            assert_eq!(recipe.listing.is_some(), recipe.line(Verb::Status).is_some(), "{}", recipe.name);
            for failure in &recipe.failures {
                let known = failure.code.as_ref().is_none_or(|code| Code::ALL.iter().any(|known| known.name() == code));
                assert!(known && failure.fix.len() > 20 && !failure.fix.ends_with('.'), "{failure:?}");
            }
        }
        assert_eq!(Recipe::all().len(), RECIPES.len());
    }

    #[test]
    fn sees_a_migration_begin() {
        let django = Recipe::named("django").unwrap();
        assert_eq!(django.begins("  Applying orders.0002_backfill..."), Some("orders.0002_backfill"));
        assert_eq!(django.begins("  Applying orders.0002_backfill... OK"), Some("orders.0002_backfill"));
        assert_eq!(django.begins("Running migrations:"), None);
    }
}
