//! What a tool lists of its migrations, and what its ledger says of that list.

use super::Pattern;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a tool's listing is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listing {
    /// A line for a migration that is not applied. Its groups, joined by blanks, are the name that the ledger has; the group
    /// `parents` names those that it builds on, `batch` the run that applied it, `title` is
    /// what it says of it beside, for people.
    pub pending: Pattern,
    /// Likewise for one that is applied; absent: the tool lists none.
    pub applied: Option<Pattern>,
    /// The lines between these two alone; absent: every line.
    pub between: Option<Between>,
    /// In which order they stand.
    #[serde(default)]
    pub order: Order,
    /// With what, besides 0, the tool ends when something is pending.
    #[serde(default)]
    pub exits: Vec<i64>,
    /// What it says, in place of a list, when there is no ledger yet.
    pub no_ledger: Option<Pattern>,
}

/// Where the list is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The line before it.
    pub from: Pattern,
    /// The line after it.
    pub to: Pattern,
}

/// Which migration stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// That which is applied first.
    #[default]
    OldestFirst,
    /// That which is applied last.
    NewestFirst,
}

/// One migration in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// As the ledger names it.
    pub name: String,
    /// Whether the tool takes it for applied.
    pub applied: bool,
    /// What it builds on, if the tool says so.
    pub parents: Vec<String>,
    /// The number of the run that applied it, if the tool says so.
    pub batch: Option<u64>,
    /// What it says of it beside, for people; else empty. Hostile text.
    pub title: String,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These, in the order of application.
    Listed(Vec<Listed>),
    /// The tool can't list before there is a ledger: everything that it has is pending.
    NoLedger,
    /// It failed.
    Failed,
}

impl Listing {
    /// Reads the lines that the tool said; others may be among them. In the order of application.
    pub fn read<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Vec<Listed> {
        let mut inside = self.between.is_none();
        let mut listed = Vec::new();
        for line in lines.map(str::trim_end) {
            match &self.between {
                Some(between) if inside && between.to.fits(line) => inside = false,
                Some(between) if !inside => inside = between.from.fits(line),
                _ => listed.extend(self.migration(line)),
            }
        }
        if self.order == Order::NewestFirst {
            listed.reverse();
        }
        once(listed)
    }

    /// Whether this line is one of the list.
    #[must_use]
    pub fn has_line(&self, line: &str) -> bool {
        self.migration(line.trim_end()).is_some()
    }

    /// Whether it has what is applied, too: then an empty one is none.
    pub(super) fn has_applied(&self) -> bool {
        self.applied.is_some()
    }

    /// What a call of the tool that ended with this code came to, from all that it said.
    pub fn answer<'a>(&self, code: i64, lines: impl Iterator<Item = &'a str> + Clone) -> Answer {
        let listed = self.read(lines.clone());
        let has_pending = listed.iter().any(|one| !one.applied);
        if code == 0 || (self.exits.contains(&code) && has_pending) {
            return Answer::Listed(listed);
        }
        match &self.no_ledger {
            Some(says) if { lines }.any(|line| says.fits(line)) => Answer::NoLedger,
            _ => Answer::Failed,
        }
    }

    fn migration(&self, line: &str) -> Option<Listed> {
        let applied = self.applied.as_ref().and_then(|pattern| pattern.find(line));
        let (hit, applied) = match applied {
            Some(hit) => (hit, true),
            None => (self.pending.find(line)?, false),
        };
        let parents = hit.parents.unwrap_or_default();
        // `<base>` is how Alembic says that there is none.
        let parents = parents.split([' ', ',', '(', ')']).filter(|parent| !parent.is_empty() && *parent != "<base>");
        let parents = parents.map(ToOwned::to_owned).collect();
        Some(Listed { name: hit.name, applied, parents, batch: hit.batch, title: hit.title })
    }
}

/// Each migration once, where it stands first; what is called pending anywhere is that.
fn once(listed: Vec<Listed>) -> Vec<Listed> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut each: Vec<Listed> = Vec::with_capacity(listed.len());
    for one in listed {
        match places.get(&one.name).and_then(|place| each.get_mut(*place)) {
            Some(first) => first.applied &= one.applied,
            None => {
                places.insert(one.name.clone(), each.len());
                each.push(one);
            }
        }
    }
    each
}

/// What the rows of a tool's ledger are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeps {
    /// The migrations that are applied.
    #[default]
    Migrations,
    /// Those of them that no other applied one builds on.
    Heads,
}

impl Keeps {
    /// The migrations that a ledger with these rows records as applied.
    pub fn recorded<'a>(self, listed: &[Listed], rows: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let mut recorded: BTreeSet<String> = rows.map(ToOwned::to_owned).collect();
        let mut open: Vec<String> = match self {
            Self::Migrations => Vec::new(),
            Self::Heads => recorded.iter().cloned().collect(),
        };
        while let Some(name) = open.pop() {
            let parents = listed.iter().filter(|one| one.name == name).flat_map(|one| &one.parents);
            open.extend(parents.filter(|parent| recorded.insert((*parent).clone())).cloned().collect::<Vec<_>>());
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Recipe;

    fn names(listed: &[Listed]) -> Vec<(&str, bool)> {
        listed.iter().map(|one| (one.name.as_str(), one.applied)).collect()
    }

    #[test]
    fn reads_what_django_lists_and_nothing_around_it() {
        let said = "Loading .env\n  Applying auth.0001_initial...[X]  auth.0001_initial\n[ ]  orders.0002_backfill ... (orders.0001_initial)\n[?] x\n[ ]\n";
        let listing = Recipe::named("django").unwrap().listing.unwrap();
        assert_eq!(names(&listing.read(said.lines())), [("auth.0001_initial", true), ("orders.0002_backfill", false)]);
    }

    #[test]
    fn a_migration_that_is_listed_twice_is_one_and_pending_if_either_says_so() {
        let listing = Recipe::named("django").unwrap().listing.unwrap();
        let said = "[X]  a.1\n[X]  a.2\n[X]  a.1\n[ ]  a.2\n";
        assert_eq!(names(&listing.read(said.lines())), [("a.1", true), ("a.2", false)]);
    }

    #[test]
    fn a_list_may_end_with_a_failure_if_something_is_in_it() {
        let prisma = Recipe::named("prisma").unwrap().listing.unwrap();
        let said =
            "2 migrations found\nFollowing migrations have not yet been applied:\n01_a\n02_b\n\nTo apply …\n03_c";
        let Answer::Listed(listed) = prisma.answer(1, said.lines()) else { panic!() };
        assert_eq!(names(&listed), [("01_a", false), ("02_b", false)]);
        assert_eq!(prisma.answer(1, "Error: P1001".lines()), Answer::Failed);
        assert_eq!(prisma.answer(2, said.lines()), Answer::Failed);
        assert_eq!(prisma.answer(0, "Database schema is up to date!".lines()), Answer::Listed(Vec::new()));
        let laravel = Recipe::named("laravel").unwrap().listing.unwrap();
        assert_eq!(laravel.answer(1, "   ERROR  Migration table not found.".lines()), Answer::NoLedger);
    }

    #[test]
    fn heads_stand_for_everything_that_they_build_on() {
        let alembic = Recipe::named("alembic").unwrap();
        let history = "d4, c3 -> e5 (head) (mergepoint), merge -> all\nb2 (x1) -> d4, needs another branch\nb2 -> c3, c\n\
                       a1 -> b2 (branchpoint), b\n<base> -> a1, a\n<base> -> x1 (other) (effective head), x";
        let listed = alembic.listing.as_ref().unwrap().read(history.lines());
        assert_eq!(
            listed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
            ["x1", "a1", "b2", "c3", "d4", "e5"]
        );
        let recorded = |heads: &[&str]| {
            let recorded = alembic.keeps.recorded(&listed, heads.iter().copied());
            listed.iter().map(|one| one.name.as_str()).filter(|name| recorded.contains(*name)).collect::<String>()
        };
        assert_eq!(recorded(&[]), "");
        assert_eq!(recorded(&["b2"]), "a1b2");
        assert_eq!(recorded(&["c3", "d4"]), "x1a1b2c3d4");
        assert_eq!(recorded(&["e5"]), "x1a1b2c3d4e5");
        assert_eq!(recorded(&["gone"]), "");
        let rows = Keeps::Migrations.recorded(&listed, ["b2"].into_iter());
        assert_eq!(rows.into_iter().collect::<Vec<_>>(), ["b2"]);
    }
}
