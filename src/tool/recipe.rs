//! Recipes: one YAML file per tool. Those in `recipes` are embedded; a user may supply another.

use super::{
    command_line::{CommandLine, NamedCommand},
    commands::{Verb, VerbCommands},
    known_failure::KnownFailure,
    list_then_migrate::{CombinedCommands, CombinedStart, ListThenMigrate},
    listing::{LedgerMoment, LedgerRows, ListingFormat},
    pattern::Pattern,
    sql_listing::{ListingRequest, ScriptSource},
    target::{TargetSyntax, has_target_slot, requires_target},
};
use crate::fault::{Code, Fault};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// The text of every file in `recipes`, as listed by the build script.
const EMBEDDED_RECIPES: &[&str] = &include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The description of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// Its name in the input `tool`.
    pub name: String,
    /// A description for people.
    pub about: String,
    /// The tool whose ledger shape it has (`ledger::known_tools`). Absent: any known ledger counts.
    pub ledger: Option<String>,
    /// The number of ledgers.
    #[serde(default)]
    pub ledgers: LedgerCount,
    /// The column of the application's table of tenants that names a tenant's schema, if there is a ledger in each
    /// schema.
    pub tenants: Option<String>,
    /// The tables whose rows the tool writes after a migration if they are missing.
    #[serde(default)]
    pub reference: Vec<String>,
    /// The migrations for which a ledger has rows.
    #[serde(default)]
    pub keeps: LedgerRows,
    /// The moment at which a migration gets its row.
    #[serde(default)]
    pub records_at: LedgerMoment,
    /// The format of its list. Absent: it has no list that can be parsed.
    pub listing: Option<ListingFormat>,
    /// The format of the output of `rollback-plan`, if it names the migrations that it would undo, in that order.
    pub undoing: Option<ListingFormat>,
    /// The query for squashed migrations.
    squashed: Option<SquashQuery>,
    /// The line that it prints when it starts to apply or to undo a migration. The groups, joined by blanks, are the
    /// name in the ledger; the group `schema` is the schema.
    pub applying: Option<Pattern>,
    /// The line that it prints when it has applied or undone a migration, and only then. The groups are those of
    /// `applying`; a line without them means the current migration. The group `took` is its duration.
    pub done: Option<Pattern>,
    /// The line that states why it failed. Absent, or not found: the last line.
    pub error: Option<Pattern>,
    /// The form of its targets.
    pub target: Option<TargetSyntax>,
    /// The first words of its command lines that a project may replace by others.
    #[serde(default)]
    pub manage: Vec<String>,
    /// The command lines of each verb.
    verbs: BTreeMap<Verb, VerbCommands>,
    /// A command that runs `status` and, once confirmed, `migrate` or a rollback in one start of the tool; see
    /// [`ListThenMigrate`].
    together: Option<CombinedStart>,
    /// Its way to get the SQL of the pending migrations. Absent: it has none.
    sql: Option<ScriptSource>,
    /// Its known failures; the first match counts.
    #[serde(default)]
    pub failures: Vec<KnownFailure>,
    /// The embedded recipe whose failures it shares.
    pub fails_like: Option<String>,
}

/// A query for squashed migrations: those that replace several older ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SquashQuery {
    /// The command line.
    line: Vec<String>,
    /// A line of its output: the groups are a replaced migration, the group `parents` is the one that replaces it.
    part: Pattern,
}

/// The number of ledgers of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerCount {
    /// A single one.
    #[default]
    One,
    /// One in each schema; every listed migration belongs in each of them.
    EachSchema,
}

/// A migration that a tool has started to apply or to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStarted {
    /// Its name in the ledger.
    pub name: String,
    /// Its schema, if the tool prints it.
    pub schema: Option<String>,
}

/// A migration that a tool reports as finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its name in the ledger; empty for the running migration.
    pub name: String,
    /// Its schema, if the tool prints it.
    pub schema: Option<String>,
    /// Its duration, if the tool prints it.
    pub took: Option<Duration>,
}

impl Recipe {
    /// Returns the embedded recipe with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load_all().into_iter().find(|recipe| recipe.name == name)
    }

    /// Returns every embedded recipe, sorted by name; `custom`, which has no commands, comes last.
    #[must_use]
    pub fn load_all() -> Vec<Self> {
        // A test parses them all, so none is dropped here.
        let mut recipes: Vec<Self> =
            EMBEDDED_RECIPES.iter().filter_map(|text| serde_yaml::from_str(text).ok()).collect();
        recipes.sort_by(|left, right| (left.verbs.is_empty(), &left.name).cmp(&(right.verbs.is_empty(), &right.name)));
        recipes
    }

    /// Reads a recipe from the text of its file.
    ///
    /// # Errors
    /// `input-invalid`, for the first mistake in it.
    pub fn from_yaml(text: &str) -> Result<Self, Fault> {
        let invalid = |mistake: String| {
            Fault::new(Code::InputInvalid, format!("the recipe can't be read: {mistake}"))
                .fix("correct the file; the documentation page on tools has a complete recipe to compare with")
        };
        let recipe: Self = serde_yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        recipe.find_mistake().map_or(Ok(recipe.clone()), |mistake| Err(invalid(mistake)))
    }

    /// Returns the first mistake that the YAML parser can't find.
    fn find_mistake(&self) -> Option<String> {
        let nameless = |pattern: Option<&Pattern>| pattern.is_some_and(|pattern| !pattern.has_name_group());
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
            return Some("`listing` is the format of the output of `verbs.status`: give both or neither".to_owned());
        }
        if self.undoing.is_some() && !self.verbs.contains_key(&Verb::RollbackPlan) {
            return Some("`undoing` is the format of the output of `verbs.rollback-plan`, which is missing".to_owned());
        }
        for (verb, lines) in &self.verbs {
            if lines.is_empty() {
                return Some(format!("`verbs.{}` has no program to start", verb.name()));
            }
            if self.target.is_none() && lines.all_words().any(|word| has_target_slot(word)) {
                return Some(format!("`verbs.{}` contains `{{target}}`, but `target` is missing", verb.name()));
            }
        }
        if self.together.as_ref().is_some_and(|starts| !starts.is_complete()) {
            return Some("`together` has no command to start, or no place for its program: `{program}`".to_owned());
        }
        if self.together.is_some() && !self.combines_list_and_migrate() {
            return Some(
                "`together` replaces `verbs.status` and `verbs.migrate`, which must have one command line each"
                    .to_owned(),
            );
        }
        if self.sql.is_some() && !self.verbs.contains_key(&Verb::Status) {
            return Some("`sql` replaces `verbs.status`, which is missing".to_owned());
        }
        if let Some(mistake) = self.sql.as_ref().and_then(ScriptSource::find_mistake) {
            return Some(mistake);
        }
        if let Some(other_recipe) =
            self.fails_like.as_deref().filter(|other_recipe| Self::by_name(other_recipe).is_none())
        {
            return Some(format!("`fails-like` names `{other_recipe}`, but there is no such recipe"));
        }
        let unknown = self.failures.iter().find_map(|failure| failure.unknown_code());
        unknown.map(|code| format!("`{code}` is not the code of a failure"))
    }

    /// Replaces the words `manage` of all command lines by others. The command of `together` is dropped unless its program
    /// can start the tool by them.
    #[must_use]
    pub fn with_program(mut self, words: &[String]) -> Self {
        let default_program = std::mem::take(&mut self.manage);
        let instead = |line: &mut Vec<String>| {
            if line.starts_with(&default_program) {
                line.splice(..default_program.len(), words.iter().cloned());
            }
        };
        self.verbs.values_mut().flat_map(VerbCommands::lines_mut).for_each(instead);
        self.squashed.iter_mut().map(|squashed| &mut squashed.line).for_each(instead);
        self.sql.iter_mut().filter_map(ScriptSource::line_mut).for_each(instead);
        self.together = self.together.and_then(|together| together.with_program_words(words));
        Self { manage: words.to_vec(), ..self }
    }

    /// Returns the command line of this verb, if it has exactly one and needs no target.
    #[must_use]
    pub fn single_command(&self, verb: Verb) -> Option<CommandLine> {
        match self.commands_for(verb).as_slice() {
            [command] => Some(command.line.clone()),
            _ => None,
        }
    }

    /// Returns the commands of this verb, in order; none if the tool doesn't have the verb, or needs a target for it.
    #[must_use]
    pub fn commands_for(&self, verb: Verb) -> Vec<NamedCommand> {
        if self.needs_target(verb) {
            return Vec::new();
        }
        self.verbs.get(&verb).map(|lines| lines.to_commands(None)).unwrap_or_default()
    }

    /// Returns whether the tool has this verb.
    #[must_use]
    pub fn has_verb(&self, verb: Verb) -> bool {
        self.verbs.contains_key(&verb)
    }

    /// Returns the commands of this verb with the user's target.
    ///
    /// # Errors
    /// `input-invalid` for an invalid target, or if the tool doesn't have the verb; `input-missing` if a target is
    /// needed and not given.
    pub fn commands_with_target(&self, verb: Verb, target: Option<&str>) -> Result<Vec<NamedCommand>, Fault> {
        let Self { name, target: syntax, .. } = self;
        let Some(lines) = self.verbs.get(&verb) else {
            return Err(Fault::new(Code::InputInvalid, format!("`tool: {name}` has no way to {}", verb.name()))
                .fix("leave it to the tool's own means, or give the command lines yourself"));
        };
        let Some(syntax) = syntax else { return Ok(lines.to_commands(None)) };
        let advice = format!("write {}", syntax.is);
        match target {
            Some(text) if !syntax.accepts_words(text) => {
                let cause = format!("`target` is `{text}`, which is not a target of `tool: {name}`");
                Err(Fault::new(Code::InputInvalid, cause).fix(advice))
            }
            None if self.needs_target(verb) => {
                let cause = format!("`target` has no value, and `tool: {name}` needs one for {}", verb.name());
                Err(Fault::new(Code::InputMissing, cause).fix(advice))
            }
            Some(_) | None => Ok(lines.to_commands(target)),
        }
    }

    /// Returns the commands of a verb for the documentation, with a placeholder for the target; an optional one is in
    /// brackets.
    #[must_use]
    pub fn commands_for_docs(&self, verb: Verb) -> Vec<NamedCommand> {
        let target_text = self.target.as_ref().map(|target| match self.needs_target(verb) {
            true => target.words.clone(),
            false => format!("[{}]", target.words),
        });
        self.verbs.get(&verb).map(|lines| lines.to_commands(target_text.as_deref())).unwrap_or_default()
    }

    /// Returns the command that does the work of the request and then, once confirmed, that of `verb` in one start, if the
    /// tool has one.
    #[must_use]
    pub fn list_then_migrate(&self, request: &ListingRequest, verb: Verb) -> Option<ListThenMigrate> {
        let (together, list_command) = (self.together.as_ref()?, self.single_command(Verb::Status)?);
        let commands = self.commands_with_target(verb, request.target.as_deref()).ok()?;
        if !together.runs_any_command() && (verb != Verb::Migrate || commands.len() != 1) {
            return None;
        }
        let also = self.words_of(&self.also_commands(request));
        Some(together.for_commands(&CombinedCommands {
            list_command: CommandLine::Program(list_command.to_argv()),
            shown_list: self.shown_listing(request)?,
            manage: self.manage.clone(),
            commands: commands.iter().map(|command| self.words_behind_program(&command.line)).collect(),
            listing_program: self.sql.as_ref().and_then(|sql| sql.program_text(request, &also)),
            applied: request.applied.clone(),
        }))
    }

    /// Returns whether one start can list and migrate.
    #[must_use]
    pub fn combines_list_and_migrate(&self) -> bool {
        let lists = self.single_command(Verb::Status).is_some();
        let is_single = || self.single_command(Verb::Migrate).is_some();
        self.together.as_ref().is_some_and(|together| lists && (together.runs_any_command() || is_single()))
    }

    /// Returns the command that replaces the one for `status` and does the other work of the request as well, if the tool
    /// has one.
    #[must_use]
    pub fn list_with_sql(&self, request: &ListingRequest) -> Option<CommandLine> {
        let also = self.words_of(&self.also_commands(request));
        self.sql.as_ref()?.command(request, &also, self.shown_listing(request)?)
    }

    /// Returns whether the start for the list can run the commands of other verbs as well.
    #[must_use]
    pub fn lists_with_others(&self) -> bool {
        self.sql.as_ref().is_some_and(ScriptSource::runs_more)
    }

    /// Returns the commands that run after the list in the same start, each with its verb; none if the tool can't run any.
    #[must_use]
    pub fn also_commands(&self, request: &ListingRequest) -> Vec<(Verb, CommandLine)> {
        let commands = |verb: &Verb| {
            let commands = self.commands_with_target(*verb, request.target.as_deref()).unwrap_or_default();
            let verb = *verb;
            commands.into_iter().map(move |command| (verb, command.line))
        };
        if self.lists_with_others() { request.also.iter().flat_map(commands).collect() } else { Vec::new() }
    }

    /// Returns the commands of such a start as a person would type them.
    fn shown_listing(&self, request: &ListingRequest) -> Option<String> {
        let others = self.also_commands(request).into_iter().map(|(_, line)| line.display_text());
        let list = self.single_command(Verb::Status)?.display_text();
        Some([list].into_iter().chain(others).collect::<Vec<_>>().join("; "))
    }

    fn words_of(&self, commands: &[(Verb, CommandLine)]) -> Vec<Vec<String>> {
        commands.iter().map(|(_, line)| self.words_behind_program(line)).collect()
    }

    /// Returns the words of a command line behind those that start the tool.
    fn words_behind_program(&self, line: &CommandLine) -> Vec<String> {
        let argv = line.to_argv();
        let count = if argv.starts_with(&self.manage) { self.manage.len().max(1) } else { 1 };
        argv.into_iter().skip(count).collect()
    }

    /// Returns the reason why the tool shows no SQL, as a sentence without its full stop.
    #[must_use]
    pub fn hidden_sql_reason(&self) -> Option<String> {
        match &self.sql {
            Some(sql) => sql.hidden_reason().map(ToOwned::to_owned),
            None => Some(format!("`tool: {}` has no way to show the SQL of a migration", self.name)),
        }
    }

    /// Reports whether the tool lists all of its migrations, applied ones included; an empty list then is no list at
    /// all.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        self.keeps == LedgerRows::Heads || self.listing.as_ref().is_some_and(ListingFormat::lists_applied)
    }

    /// Returns the command that lists squashed migrations, if the tool has one.
    #[must_use]
    pub fn squash_command(&self) -> Option<CommandLine> {
        self.squashed.as_ref().map(|squashed| CommandLine::Program(squashed.line.clone()))
    }

    /// Reads the output of that command: replaced migrations, each with the one that replaces it.
    #[must_use]
    pub fn parse_squashed<'a>(&self, lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let Some(squashed) = &self.squashed else { return BTreeMap::new() };
        let parse_part =
            |line| squashed.part.find_match(line).and_then(|matched| Some((matched.name, matched.parents?)));
        lines.filter_map(parse_part).collect()
    }

    fn needs_target(&self, verb: Verb) -> bool {
        self.verbs.get(&verb).is_some_and(|lines| lines.all_words().any(|word| requires_target(word)))
    }

    /// Returns the migration that starts with this line of output, if one does.
    #[must_use]
    pub fn started_migration(&self, line: &str) -> Option<MigrationStarted> {
        let matched = self.applying.as_ref()?.find_match(line)?;
        Some(MigrationStarted { name: matched.name, schema: matched.schema })
    }

    /// Returns the migration that ends with this line of output, if one does.
    #[must_use]
    pub fn ends(&self, line: &str) -> Option<Done> {
        let matched = self.done.as_ref()?.find_unnamed(line.trim_end())?;
        Some(Done { name: matched.name, schema: matched.schema, took: matched.took })
    }
}

#[cfg(test)]
mod tests {
    use super::super::printed_sql::OutputMark;
    use super::*;

    #[test]
    fn every_recipe_is_valid_and_complete() {
        for text in EMBEDDED_RECIPES {
            let recipe = Recipe::from_yaml(text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            assert!(!recipe.about.ends_with('.') && recipe.about.len() > 10, "{}", recipe.name);
            for failure in recipe.failures.iter().chain(&KnownFailure::load_common()) {
                assert!(failure.fix.len() > 20 && !failure.fix.ends_with('.'), "{failure:?}");
                assert_eq!(failure.unknown_code(), None, "{failure:?}");
            }
        }
        assert_eq!(Recipe::load_all().len(), EMBEDDED_RECIPES.len());
    }

    #[test]
    fn a_mistake_in_a_recipe_is_reported_in_one_sentence() {
        let complete = "name: x\nabout: y\nverbs: {migrate: [x]}\n";
        assert!(Recipe::from_yaml(complete).is_ok());
        for (text, expected) in [
            ("name: [x]\nabout: y\nverbs: {}\n", "name: invalid type: sequence"),
            ("name: x\nabout: y", "missing field `verbs`"),
            ("name: x\nabout: y\nverbs: {}\nledgre: z\n", "unknown field `ledgre`"),
            ("name: x\nabout: y\nverbs: {undo: [x]}\n", "unknown variant `undo`"),
            ("name: x\nabout: y\nverbs: {migrate: x}\n", "expected a command line as in [tool, migrate], or a list"),
            ("name: x\nabout: y\nverbs: {migrate: []}\n", "`verbs.migrate` has no program"),
            ("name: x\nabout: y\nverbs: {status: [x]}\n", "`listing` is the format"),
            ("name: x\nabout: y\nverbs: {rollback: [x, '{target}']}\n", "`verbs.rollback` contains `{target}`"),
            ("name: x\nabout: y\ntogether: [x]\nverbs: {migrate: [x]}\n", "`together` replaces"),
            ("name: x\nabout: y\nsql: {hidden: z}\nverbs: {migrate: [x]}\n", "`sql` replaces `verbs.status`"),
            ("name: x\nabout: y\nsql: z\nverbs: {}\n", "expected `hidden` with the reason"),
            ("name: x\nabout: y\nverbs: {}\nerror: '('\n", "the pattern `(` can't be read"),
            ("name: x\nabout: y\nverbs: {}\napplying: 'Applying'\n", "`applying` has no group"),
            ("name: x\nabout: y\nverbs: {}\nfailures: [{pattern: z, fix: f, code: c}]\n", "`c` is not the code"),
        ] {
            let fault = Recipe::from_yaml(text).unwrap_err();
            assert!(fault.code == Code::InputInvalid && fault.cause.contains(expected), "{}: {expected}", fault.cause);
        }
    }

    fn display_texts(commands: Vec<NamedCommand>) -> Vec<String> {
        commands.into_iter().map(|command| command.line.display_text()).collect()
    }

    #[test]
    fn a_target_is_checked_before_any_command_is_built() {
        let django = Recipe::by_name("django").unwrap();
        let rollback = |target| django.commands_with_target(Verb::Rollback, target).map(display_texts);
        assert_eq!(rollback(Some("settings 0016")).unwrap(), ["python manage.py migrate settings 0016 --noinput"]);
        assert_eq!(rollback(Some("settings zero")).unwrap(), ["python manage.py migrate settings zero --noinput"]);
        for invalid in ["settings", "settings --fake", "-x 0001", "a b c", "a\nb", "settings  0016", ""] {
            assert_eq!(rollback(Some(invalid)).unwrap_err().code, Code::InputInvalid, "{invalid}");
        }
        assert_eq!(rollback(None).unwrap_err().code, Code::InputMissing);
        assert!(django.commands_for(Verb::Rollback).is_empty());
        let baseline = |target| django.commands_with_target(Verb::Baseline, target).map(display_texts).unwrap();
        assert_eq!(baseline(None), ["python manage.py migrate --fake --noinput"]);
        assert_eq!(baseline(Some("a 0001")), ["python manage.py migrate a 0001 --fake --noinput"]);
        let prisma = Recipe::by_name("prisma").unwrap();
        assert_eq!(prisma.commands_with_target(Verb::Rollback, Some("x")).unwrap_err().code, Code::InputInvalid);
    }

    #[test]
    fn a_project_may_replace_the_first_words() {
        let words = ["python", "-m", "pretix"].map(str::to_owned);
        for name in ["django", "django-tenants"] {
            let recipe = Recipe::by_name(name).unwrap().with_program(&words);
            assert_eq!(
                recipe.single_command(Verb::Status).unwrap().display_text(),
                "python -m pretix showmigrations --plan"
            );
            assert!(
                recipe
                    .commands_for(Verb::Migrate)
                    .iter()
                    .all(|command| command.line.display_text().starts_with("python -m pretix "))
            );
            assert!(recipe.squash_command().unwrap().display_text().starts_with("python -m pretix shell -c "));
            let request = ListingRequest::for_scripts(OutputMark::new("abcd"), Vec::new());
            let combined = recipe.list_then_migrate(&request, Verb::Migrate).unwrap();
            assert!(combined.inline_command().to_argv()[2].contains(r#"manage = ["python","-m","pretix"]"#));
            let other = Recipe::by_name(name).unwrap().with_program(&["bin/manage".to_owned()]);
            assert!(!other.combines_list_and_migrate() && recipe.combines_list_and_migrate());
            let line = recipe.list_with_sql(&request).unwrap();
            assert_eq!(line.to_argv()[..6], ["python", "-m", "pretix", "shell", "-v", "0"]);
            assert_eq!(line.display_text(), "python -m pretix showmigrations --plan");
        }
    }

    #[test]
    fn several_lines_have_names_and_an_order() {
        let tenants = Recipe::by_name("django-tenants").unwrap();
        let commands = tenants.commands_for(Verb::Migrate);
        let names: Vec<Option<&str>> = commands.iter().map(|command| command.name.as_deref()).collect();
        assert_eq!(names, [Some("shared schema"), Some("tenant schemas")]);
        assert_eq!(tenants.single_command(Verb::Migrate), None);
    }

    #[test]
    fn recognises_the_start_of_a_migration() {
        let django = Recipe::by_name("django").unwrap();
        let name = |line: &str| django.started_migration(line).map(|started| started.name);
        assert_eq!(name("  Applying orders.0002_backfill...").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("  Applying orders.0002_backfill... OK").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("  Unapplying orders.0002_backfill... OK").as_deref(), Some("orders.0002_backfill"));
        assert_eq!(name("Running migrations:"), None);
    }
}
