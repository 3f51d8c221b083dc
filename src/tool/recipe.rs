//! Recipes: one YAML file for each tool. Those in `recipes` are embedded; a user may bring another.

use super::{
    Call, Failure, Keeps, Line, Listing, Pattern, Target, Together,
    target::{is_placed, is_required},
    together::Starts,
    verb::{Lines, Verb},
};
use crate::fault::{Code, Fault};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Every file in `recipes`, as the build script found them.
const RECIPES: &[&str] = &include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// A tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// As written in the input `tool`.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// The shape of the ledger that it keeps (`ledger::shape`); absent: whatever is found.
    pub ledger: Option<String>,
    /// How many of them.
    #[serde(default)]
    pub ledgers: Ledgers,
    /// Where there is one in each schema: the column of the application's table of tenants that names a tenant's schema.
    pub tenants: Option<String>,
    /// What their rows are.
    #[serde(default)]
    pub keeps: Keeps,
    /// How its listing is read; absent: it has none that can be.
    pub listing: Option<Listing>,
    /// How the answer to `rollback-plan` is read, of a tool that names in it what it would undo, in that order.
    pub undoing: Option<Listing>,
    /// How it is asked which migrations stand for several of before.
    squashed: Option<Squashed>,
    /// What it says when it begins to apply or to undo a migration: its groups, joined by blanks, are the name that the ledger
    /// has; the group `schema` says where.
    pub applying: Option<Pattern>,
    /// What the line looks like that says why it failed; absent, or never said: the last line.
    pub error: Option<Pattern>,
    /// How a migration is named to it.
    pub target: Option<Target>,
    /// The first words of its command lines, where a project may have others in their place.
    #[serde(default)]
    pub manage: Vec<String>,
    /// What to call.
    verbs: BTreeMap<Verb, Lines>,
    /// `status` and, once it is answered, `migrate` in one start of the tool, as [`Together`] says.
    together: Option<Starts>,
    /// What it is known to fail at; the first that fits counts.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// The embedded recipe whose failures are its own, too.
    pub fails_like: Option<String>,
}

/// How a tool is asked which migrations stand for several of before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Squashed {
    /// The words of the command line.
    line: Vec<String>,
    /// A line of its answer: the groups are a migration of before, the group `parents` the one that stands for it.
    part: Pattern,
}

/// How many ledgers a tool keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ledgers {
    /// One.
    #[default]
    One,
    /// One in each schema, and every migration that is listed belongs into each of them.
    EachSchema,
}

/// A migration that a tool begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// As the ledger names it.
    pub name: String,
    /// In which schema, if the tool says so.
    pub schema: Option<String>,
}

impl Recipe {
    /// The recipe of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|recipe| recipe.name == name)
    }

    /// Every recipe that is embedded, by name; `custom`, which has nothing to call, comes last.
    #[must_use]
    pub fn all() -> Vec<Self> {
        // A test reads them all, so none is left out here.
        let mut all: Vec<Self> = RECIPES.iter().filter_map(|text| serde_yaml::from_str(text).ok()).collect();
        all.sort_by(|one, other| (one.verbs.is_empty(), &one.name).cmp(&(other.verbs.is_empty(), &other.name)));
        all
    }

    /// Reads a recipe from the text of its file.
    ///
    /// # Errors
    /// `input-invalid`: the first thing in it that is wrong, with its place.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let invalid = |why: String| {
            Fault::new(Code::InputInvalid, format!("the recipe can't be read: {why}"))
                .fix("correct the file; the page of tools has a whole recipe to compare with")
        };
        let recipe: Self = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        recipe.mistake().map_or(Ok(recipe.clone()), |why| Err(invalid(why)))
    }

    /// What the file says that can't be.
    fn mistake(&self) -> Option<String> {
        let nameless = |pattern: Option<&Pattern>| pattern.is_some_and(|pattern| !pattern.names());
        let listing = self.listing.as_ref();
        let patterns = [
            ("applying", self.applying.as_ref()),
            ("listing.pending", listing.map(|listing| &listing.pending)),
            ("listing.applied", listing.and_then(|listing| listing.applied.as_ref())),
            ("undoing.pending", self.undoing.as_ref().map(|undoing| &undoing.pending)),
            ("squashed.part", self.squashed.as_ref().map(|squashed| &squashed.part)),
            ("target.of", self.target.as_ref().and_then(|target| target.of.as_ref())),
        ];
        if let Some((key, _)) = patterns.into_iter().find(|(_, pattern)| nameless(*pattern)) {
            return Some(format!("`{key}` has no group that finds the migration's name"));
        }
        if self.listing.is_some() != self.verbs.contains_key(&Verb::Status) {
            return Some(
                "`listing` says how the answer to `verbs.status` is read: there can't be one of them".to_owned(),
            );
        }
        if self.undoing.is_some() && !self.verbs.contains_key(&Verb::RollbackPlan) {
            return Some(
                "`undoing` says how the answer to `verbs.rollback-plan` is read, and there is none".to_owned(),
            );
        }
        for (verb, lines) in &self.verbs {
            if lines.is_empty() {
                return Some(format!("`verbs.{}` has no program to start", verb.name()));
            }
            if self.target.is_none() && lines.words().any(|word| is_placed(word)) {
                return Some(format!("`verbs.{}` has a place for a target, and there is no `target`", verb.name()));
            }
        }
        if self.together.as_ref().is_some_and(|starts| !starts.is_whole()) {
            return Some("`together` has no command to start, or no place for its program: `{program}`".to_owned());
        }
        if self.together.is_some() && self.together().is_none() {
            return Some("`together` stands for `verbs.status` and `verbs.migrate`, a line each".to_owned());
        }
        if let Some(like) = self.fails_like.as_deref().filter(|like| Self::named(like).is_none()) {
            return Some(format!("`fails-like` names `{like}`, and there is no such recipe"));
        }
        let unknown = self.failures.iter().find_map(|failure| failure.unknown_code());
        unknown.map(|code| format!("`{code}` is no code of a failure"))
    }

    /// The same for a project that is called by other words than `manage`. What does for a list and a migration in one start knows
    /// its own words alone.
    #[must_use]
    pub fn called_by(mut self, words: &[String]) -> Self {
        let own = std::mem::take(&mut self.manage);
        let instead = |line: &mut Vec<String>| {
            if line.starts_with(&own) {
                line.splice(..own.len(), words.iter().cloned());
            }
        };
        self.verbs.values_mut().flat_map(Lines::lines_mut).for_each(instead);
        self.squashed.iter_mut().map(|squashed| &mut squashed.line).for_each(instead);
        self.together = None;
        Self { manage: words.to_vec(), ..self }
    }

    /// What to call for this, if it takes one command line and no target.
    #[must_use]
    pub fn line(&self, verb: Verb) -> Option<Line> {
        match self.lines(verb).as_slice() {
            [one] => Some(one.line.clone()),
            _ => None,
        }
    }

    /// What to call for this, in order; nothing if the tool has no way, or needs a target.
    #[must_use]
    pub fn lines(&self, verb: Verb) -> Vec<Call> {
        if self.needs_target(verb) {
            return Vec::new();
        }
        self.verbs.get(&verb).map(|lines| lines.calls(None)).unwrap_or_default()
    }

    /// The same with the user's target.
    ///
    /// # Errors
    /// `input-invalid` for a target that the tool does not take, or for a tool that has no way to do it; `input-missing` where
    /// there has to be one.
    pub fn with_target(&self, verb: Verb, target: Option<&str>) -> Result<Vec<Call>, Fault> {
        let Self { name, target: takes, .. } = self;
        let Some(lines) = self.verbs.get(&verb) else {
            return Err(Fault::new(Code::InputInvalid, format!("`tool: {name}` has no way to {}", verb.name()))
                .fix("leave it to the tool's own means, or give the command lines yourself"));
        };
        let Some(takes) = takes else { return Ok(lines.calls(None)) };
        let like = format!("write {}", takes.is);
        match target {
            Some(words) if !takes.takes(words) => {
                let cause = format!("`target` is `{words}`, which is no target of `tool: {name}`");
                Err(Fault::new(Code::InputInvalid, cause).fix(like))
            }
            None if self.needs_target(verb) => {
                let cause = format!("`target` has no value, and `tool: {name}` needs one for {}", verb.name());
                Err(Fault::new(Code::InputMissing, cause).fix(like))
            }
            Some(_) | None => Ok(lines.calls(target)),
        }
    }

    /// What a page shows of a verb: the target by its words, in brackets where it may be left out.
    #[must_use]
    pub fn shown(&self, verb: Verb) -> Vec<Call> {
        let words = self.target.as_ref().map(|target| match self.needs_target(verb) {
            true => target.words.clone(),
            false => format!("[{}]", target.words),
        });
        self.verbs.get(&verb).map(|lines| lines.calls(words.as_deref())).unwrap_or_default()
    }

    /// What lists and migrates in one start, if the tool has such a way.
    #[must_use]
    pub fn together(&self) -> Option<Together> {
        let (status, migrate) = (self.line(Verb::Status)?, self.line(Verb::Migrate)?);
        Some(self.together.as_ref()?.stands_for(status, migrate))
    }

    /// Whether it lists everything that it has, so that a list without anything is none.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        self.keeps == Keeps::Heads || self.listing.as_ref().is_some_and(Listing::has_applied)
    }

    /// How it is asked which migrations stand for several of before, if it can be.
    #[must_use]
    pub fn squashed(&self) -> Option<Line> {
        self.squashed.as_ref().map(|squashed| Line::Program(squashed.line.clone()))
    }

    /// Reads the answer: migrations of before, and which one stands for each.
    #[must_use]
    pub fn parts<'a>(&self, lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let Some(squashed) = &self.squashed else { return BTreeMap::new() };
        let part = |line| squashed.part.find(line).and_then(|hit| Some((hit.name, hit.parents?)));
        lines.filter_map(part).collect()
    }

    fn needs_target(&self, verb: Verb) -> bool {
        self.verbs.get(&verb).is_some_and(|lines| lines.words().any(|word| is_required(word)))
    }

    /// The migration whose beginning this line tells.
    #[must_use]
    pub fn begins(&self, line: &str) -> Option<Begun> {
        let hit = self.applying.as_ref()?.find(line)?;
        Some(Begun { name: hit.name, schema: hit.schema })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_read_and_says_what_it_has_to() {
        for text in RECIPES {
            let recipe = Recipe::read(text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            assert!(!recipe.about.ends_with('.') && recipe.about.len() > 10, "{}", recipe.name);
            for failure in recipe.failures.iter().chain(&Failure::common()) {
                assert!(failure.fix.len() > 20 && !failure.fix.ends_with('.'), "{failure:?}");
                assert_eq!(failure.unknown_code(), None, "{failure:?}");
            }
        }
        assert_eq!(Recipe::all().len(), RECIPES.len());
    }

    #[test]
    fn a_recipe_that_is_wrong_is_told_in_one_sentence() {
        let whole = "name: x\nabout: y\nverbs: {migrate: [x]}\n";
        assert!(Recipe::read(whole).is_ok());
        for (text, says) in [
            ("name: [x]\nabout: y\nverbs: {}\n", "name: invalid type: sequence"),
            ("name: x\nabout: y", "missing field `verbs`"),
            ("name: x\nabout: y\nverbs: {}\nledgre: z\n", "unknown field `ledgre`"),
            ("name: x\nabout: y\nverbs: {undo: [x]}\n", "unknown variant `undo`"),
            ("name: x\nabout: y\nverbs: {migrate: x}\n", "expected a command line as in [tool, migrate], or a list"),
            ("name: x\nabout: y\nverbs: {migrate: []}\n", "`verbs.migrate` has no program"),
            ("name: x\nabout: y\nverbs: {status: [x]}\n", "`listing` says how"),
            ("name: x\nabout: y\nverbs: {rollback: [x, '{target}']}\n", "`verbs.rollback` has a place for a target"),
            ("name: x\nabout: y\ntogether: [x]\nverbs: {migrate: [x]}\n", "`together` stands for"),
            ("name: x\nabout: y\nverbs: {}\nerror: '('\n", "the pattern `(` can't be read"),
            ("name: x\nabout: y\nverbs: {}\napplying: 'Applying'\n", "`applying` has no group"),
            ("name: x\nabout: y\nverbs: {}\nfailures: [{pattern: z, fix: f, code: c}]\n", "`c` is no code"),
        ] {
            let fault = Recipe::read(text).unwrap_err();
            assert!(fault.code == Code::InputInvalid && fault.cause.contains(says), "{}: {says}", fault.cause);
        }
    }

    fn words(calls: Vec<Call>) -> Vec<String> {
        calls.into_iter().map(|call| call.line.shown()).collect()
    }

    #[test]
    fn a_target_is_checked_before_anything_is_called() {
        let django = Recipe::named("django").unwrap();
        let back = |target| django.with_target(Verb::Rollback, target).map(words);
        assert_eq!(back(Some("settings 0016")).unwrap(), ["python manage.py migrate settings 0016 --noinput"]);
        assert_eq!(back(Some("settings zero")).unwrap(), ["python manage.py migrate settings zero --noinput"]);
        for wrong in ["settings", "settings --fake", "-x 0001", "a b c", "a\nb", "settings  0016", ""] {
            assert_eq!(back(Some(wrong)).unwrap_err().code, Code::InputInvalid, "{wrong}");
        }
        assert_eq!(back(None).unwrap_err().code, Code::InputMissing);
        assert!(django.lines(Verb::Rollback).is_empty());
        let fake = |target| django.with_target(Verb::Fake, target).map(words).unwrap();
        assert_eq!(fake(None), ["python manage.py migrate --fake --noinput"]);
        assert_eq!(fake(Some("a 0001")), ["python manage.py migrate a 0001 --fake --noinput"]);
        let prisma = Recipe::named("prisma").unwrap();
        assert_eq!(prisma.with_target(Verb::Rollback, Some("x")).unwrap_err().code, Code::InputInvalid);
    }

    #[test]
    fn a_project_may_be_called_by_other_words() {
        let words = ["python", "-m", "pretix"].map(str::to_owned);
        for name in ["django", "django-tenants"] {
            let recipe = Recipe::named(name).unwrap().called_by(&words);
            assert_eq!(recipe.line(Verb::Status).unwrap().shown(), "python -m pretix showmigrations --plan");
            assert!(recipe.lines(Verb::Migrate).iter().all(|call| call.line.shown().starts_with("python -m pretix ")));
            assert!(recipe.squashed().unwrap().shown().starts_with("python -m pretix shell -c "));
            assert_eq!(recipe.together(), None);
        }
    }

    #[test]
    fn several_lines_have_names_and_an_order() {
        let tenants = Recipe::named("django-tenants").unwrap();
        let calls = tenants.lines(Verb::Migrate);
        let names: Vec<Option<&str>> = calls.iter().map(|call| call.name.as_deref()).collect();
        assert_eq!(names, [Some("shared schema"), Some("tenant schemas")]);
        assert_eq!(tenants.line(Verb::Migrate), None);
    }

    #[test]
    fn sees_a_migration_begin() {
        let django = Recipe::named("django").unwrap();
        let name = |line: &str| django.begins(line).map(|begun| begun.name);
        assert_eq!(name("  Applying orders.0002_backfill...").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("  Applying orders.0002_backfill... OK").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("  Unapplying orders.0002_backfill... OK").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("Running migrations:"), None);
    }
}
