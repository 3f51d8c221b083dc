//! Reads a tool's list of migrations, and combines it with the tool's ledger.

use super::pattern::Pattern;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The format of a tool's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListingFormat {
    /// The line of a pending migration. Its groups, joined by blanks, are the name in the ledger; the group `parents`
    /// names the migrations that it builds on, `batch` the run that applied it, and `title` is a description for people.
    pub pending: Pattern,
    /// The line of an applied migration. Absent: the tool lists no applied ones.
    pub applied: Option<Pattern>,
    /// The bounds of the list. Absent: every line belongs to it.
    pub between: Option<ListBounds>,
    /// The order of the list.
    #[serde(default)]
    pub order: ListOrder,
    /// Exit codes besides 0 with which the tool ends when a migration is pending.
    #[serde(default)]
    pub exits: Vec<i64>,
    /// The line that the tool prints in place of a list when there is no ledger yet.
    pub no_ledger: Option<Pattern>,
}

/// The bounds of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBounds {
    /// The line before it.
    pub from: Pattern,
    /// The line after it.
    pub to: Pattern,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOrder {
    /// The migration that is applied first comes first.
    #[default]
    OldestFirst,
    /// The migration that is applied last comes first.
    NewestFirst,
}

/// A migration in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedMigration {
    /// Its name in the ledger.
    pub name: String,
    /// Set if the tool lists it as applied.
    pub applied: bool,
    /// The migrations that it builds on, if the tool lists them.
    pub parents: Vec<String>,
    /// The number of the run that applied it, if the tool prints it.
    pub batch: Option<u64>,
    /// Its description for people, if the tool prints one. Untrusted text.
    pub title: String,
}

/// The outcome of a listing command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingOutcome {
    /// The listed migrations, in the order of application.
    Listed(Vec<ListedMigration>),
    /// The tool can't list migrations before there is a ledger: all of them are pending.
    NoLedger,
    /// The command failed.
    Failed,
}

impl ListingFormat {
    /// Reads the list from the tool's output, which may contain other lines. Returns the migrations in the order of
    /// application.
    pub fn read_migrations<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Vec<ListedMigration> {
        let mut inside = self.between.is_none();
        let mut listed = Vec::new();
        for line in lines.map(str::trim_end) {
            match &self.between {
                Some(bounds) if inside && bounds.to.is_match(line) => inside = false,
                Some(bounds) if !inside => inside = bounds.from.is_match(line),
                _ => listed.extend(self.parse_line(line)),
            }
        }
        if self.order == ListOrder::NewestFirst {
            listed.reverse();
        }
        without_duplicates(listed)
    }

    /// Reports whether this line lists a migration.
    #[must_use]
    pub fn matches_line(&self, line: &str) -> bool {
        self.parse_line(line.trim_end()).is_some()
    }

    /// Reports whether the list also contains applied migrations; an empty one then is no list at all.
    pub(super) fn lists_applied(&self) -> bool {
        self.applied.is_some()
    }

    /// Returns the outcome of a listing command from its exit code and its output.
    pub fn read_outcome<'a>(&self, code: i64, lines: impl Iterator<Item = &'a str> + Clone) -> ListingOutcome {
        let listed = self.read_migrations(lines.clone());
        let has_pending = listed.iter().any(|migration| !migration.applied);
        if code == 0 || (self.exits.contains(&code) && has_pending) {
            return ListingOutcome::Listed(listed);
        }
        match &self.no_ledger {
            Some(no_ledger) if { lines }.any(|line| no_ledger.is_match(line)) => ListingOutcome::NoLedger,
            _ => ListingOutcome::Failed,
        }
    }

    fn parse_line(&self, line: &str) -> Option<ListedMigration> {
        let applied = self.applied.as_ref().and_then(|pattern| pattern.find_match(line));
        let (matched, applied) = match applied {
            Some(matched) => (matched, true),
            None => (self.pending.find_match(line)?, false),
        };
        let parents = matched.parents.unwrap_or_default();
        // Alembic writes `<base>` for no parent.
        let parents = parents.split([' ', ',', '(', ')']).filter(|parent| !parent.is_empty() && *parent != "<base>");
        let parents = parents.map(ToOwned::to_owned).collect();
        Some(ListedMigration { name: matched.name, applied, parents, batch: matched.batch, title: matched.title })
    }
}

/// Returns each migration once, at its first position; it counts as applied only if every occurrence is.
fn without_duplicates(listed: Vec<ListedMigration>) -> Vec<ListedMigration> {
    let mut index_by_name: BTreeMap<String, usize> = BTreeMap::new();
    let mut unique: Vec<ListedMigration> = Vec::with_capacity(listed.len());
    for migration in listed {
        match index_by_name.get(&migration.name).and_then(|index| unique.get_mut(*index)) {
            Some(first) => first.applied &= migration.applied,
            None => {
                index_by_name.insert(migration.name.clone(), unique.len());
                unique.push(migration);
            }
        }
    }
    unique
}

/// The migrations for which a tool's ledger has rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerRows {
    /// All applied migrations.
    #[default]
    #[serde(rename = "migrations")]
    All,
    /// Only the applied migrations on which no other applied one builds.
    Heads,
}

/// The moment at which a tool writes the row of a migration into its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerMoment {
    /// Before the migration's statements.
    Start,
    /// After them.
    #[default]
    End,
}

impl LedgerRows {
    /// Returns the migrations that a ledger with these rows records as applied.
    pub fn applied_names<'a>(
        self,
        listed: &[ListedMigration],
        rows: impl Iterator<Item = &'a str>,
    ) -> BTreeSet<String> {
        let mut recorded: BTreeSet<String> = rows.map(ToOwned::to_owned).collect();
        let mut unvisited: Vec<String> = match self {
            Self::All => Vec::new(),
            Self::Heads => recorded.iter().cloned().collect(),
        };
        while let Some(name) = unvisited.pop() {
            let parents =
                listed.iter().filter(|migration| migration.name == name).flat_map(|migration| &migration.parents);
            unvisited.extend(parents.filter(|parent| recorded.insert((*parent).clone())).cloned().collect::<Vec<_>>());
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Recipe;
    use super::*;

    fn names(listed: &[ListedMigration]) -> Vec<(&str, bool)> {
        listed.iter().map(|migration| (migration.name.as_str(), migration.applied)).collect()
    }

    #[test]
    fn reads_only_the_list_from_the_output_of_django() {
        let output = "Loading .env\n  Applying auth.0001_initial...[X]  auth.0001_initial\n[ ]  orders.0002_backfill ... (orders.0001_initial)\n[?] x\n[ ]\n";
        let listing = Recipe::by_name("django").unwrap().listing.unwrap();
        assert_eq!(
            names(&listing.read_migrations(output.lines())),
            [("auth.0001_initial", true), ("orders.0002_backfill", false)]
        );
    }

    #[test]
    fn a_migration_listed_twice_is_pending_if_either_line_is() {
        let listing = Recipe::by_name("django").unwrap().listing.unwrap();
        let output = "[X]  a.1\n[X]  a.2\n[X]  a.1\n[ ]  a.2\n";
        assert_eq!(names(&listing.read_migrations(output.lines())), [("a.1", true), ("a.2", false)]);
    }

    #[test]
    fn a_list_with_pending_migrations_may_exit_with_a_failure() {
        let prisma = Recipe::by_name("prisma").unwrap().listing.unwrap();
        let output =
            "2 migrations found\nFollowing migrations have not yet been applied:\n01_a\n02_b\n\nTo apply …\n03_c";
        let ListingOutcome::Listed(listed) = prisma.read_outcome(1, output.lines()) else { panic!() };
        assert_eq!(names(&listed), [("01_a", false), ("02_b", false)]);
        assert_eq!(prisma.read_outcome(1, "Error: P1001".lines()), ListingOutcome::Failed);
        assert_eq!(prisma.read_outcome(2, output.lines()), ListingOutcome::Failed);
        assert_eq!(
            prisma.read_outcome(0, "Database schema is up to date!".lines()),
            ListingOutcome::Listed(Vec::new())
        );
        let laravel = Recipe::by_name("laravel").unwrap().listing.unwrap();
        assert_eq!(laravel.read_outcome(1, "   ERROR  Migration table not found.".lines()), ListingOutcome::NoLedger);
    }

    #[test]
    fn heads_imply_everything_they_build_on() {
        let alembic = Recipe::by_name("alembic").unwrap();
        // The last one has no message, and the end of its line is blank.
        let history = "d4, c3 -> e5 (head) (mergepoint), merge -> all\nb2 (x1) -> d4, needs another branch\nb2 -> c3, c\n\
                       a1 -> b2 (branchpoint), b\n<base> -> a1, a\n<base> -> x1 (other) (effective head),";
        let listed = alembic.listing.as_ref().unwrap().read_migrations(history.lines());
        assert_eq!(
            listed.iter().map(|migration| migration.name.as_str()).collect::<Vec<_>>(),
            ["x1", "a1", "b2", "c3", "d4", "e5"]
        );
        let recorded = |heads: &[&str]| {
            let recorded = alembic.keeps.applied_names(&listed, heads.iter().copied());
            listed
                .iter()
                .map(|migration| migration.name.as_str())
                .filter(|name| recorded.contains(*name))
                .collect::<String>()
        };
        assert_eq!(recorded(&[]), "");
        assert_eq!(recorded(&["b2"]), "a1b2");
        assert_eq!(recorded(&["c3", "d4"]), "x1a1b2c3d4");
        assert_eq!(recorded(&["e5"]), "x1a1b2c3d4e5");
        assert_eq!(recorded(&["gone"]), "");
        let rows = LedgerRows::All.applied_names(&listed, ["b2"].into_iter());
        assert_eq!(rows.into_iter().collect::<Vec<_>>(), ["b2"]);
    }
}
