//! What going back to a target undoes, and what recording up to it records, from the tool's own listing: the expectation
//! that the ledger is held against afterwards.

use super::{
    plan::{in_every_schema, numbered},
    snapshot::Witness,
};
use crate::{
    fault::{Code, Fault},
    run::event::MigrationId,
    tool::{Listed, Recipe, Says},
};

/// How tools call the place before their first migration (Django, Alembic, Rails).
const BEGINNING: [&str; 3] = ["zero", "base", "0"];

/// What is applied and will not be when the tool has gone back to the target.
///
/// # Errors
/// `target-unknown`.
pub(crate) fn undone(
    recipe: &Recipe,
    listed: &[Listed],
    before: &Witness,
    target: Option<&str>,
) -> Result<Vec<MigrationId>, Fault> {
    let steps = match says(recipe) {
        Says::Count => target.and_then(|count| count.parse().ok()),
        Says::Place | Says::Only => None,
    };
    let beyond = match steps {
        Some(_) => listed.iter().collect(),
        None => beyond(recipe, listed, target)?,
    };
    let mut ids: Vec<MigrationId> = in_every_schema(recipe, beyond.iter().copied(), before).map(|(_, id)| id).collect();
    ids.retain(|id| before.has(id));
    // Backwards, as the tool does it.
    Ok(numbered(ids.into_iter().rev().take(steps.unwrap_or(usize::MAX))))
}

/// The same as the tool itself plans it: a migration of another app that builds on one of these goes, too.
///
/// # Errors
/// `tool-list`: it plans nothing although there is something to undo.
pub(crate) fn as_planned(
    recipe: &Recipe,
    named: &[Listed],
    before: &Witness,
    pending: &[MigrationId],
) -> Result<Vec<MigrationId>, Fault> {
    let ids = in_every_schema(recipe, named.iter(), before).map(|(_, id)| id);
    let planned = numbered(ids.filter(|id| before.has(id)));
    match pending.first() {
        Some(first) if planned.is_empty() => {
            let cause = format!("the tool's own plan to go back undoes nothing, and `{}` is applied", first.title());
            Err(Fault::new(Code::ToolList, cause))
        }
        _ => Ok(planned),
    }
}

/// What is not applied and will be recorded as if it were, up to the target.
///
/// # Errors
/// `target-unknown`.
pub(crate) fn taken(
    recipe: &Recipe,
    listed: &[Listed],
    before: &Witness,
    target: Option<&str>,
) -> Result<Vec<MigrationId>, Fault> {
    let beyond = beyond(recipe, listed, target)?;
    let group = target.map(|target| of_group(recipe, listed, target));
    let alone = says(recipe) == Says::Only;
    let meant = |one: &&Listed| match (target, &group) {
        (Some(target), _) if alone => is_named(&words(recipe, one), target),
        (Some(_), Some(group)) => {
            group.iter().any(|member| member.name == one.name) && !beyond.iter().any(|later| later.name == one.name)
        }
        _ => true,
    };
    let upto: Vec<&Listed> = listed.iter().filter(meant).collect();
    let ids = in_every_schema(recipe, upto.iter().copied(), before).map(|(_, id)| id);
    Ok(numbered(ids.filter(|id| !before.has(id))))
}

fn says(recipe: &Recipe) -> Says {
    recipe.target.as_ref().map(|target| target.says).unwrap_or_default()
}

/// The migrations of the target's group that come after it.
fn beyond<'l>(recipe: &Recipe, listed: &'l [Listed], target: Option<&str>) -> Result<Vec<&'l Listed>, Fault> {
    let Some(target) = target else { return Ok(Vec::new()) };
    let group = of_group(recipe, listed, target);
    let (_, last) = split(target);
    let place = group.iter().position(|one| is_named(&words(recipe, one), target));
    match place {
        Some(place) => Ok(group.into_iter().skip(place + 1).collect()),
        None if BEGINNING.contains(&last) && !group.is_empty() => Ok(group),
        // What could not be listed can't be looked up.
        None if listed.is_empty() => Ok(Vec::new()),
        None => Err(unknown(recipe, listed, target)),
    }
}

/// The migrations that share all words of the target but the last one: with Django, those of the app.
fn of_group<'l>(recipe: &Recipe, listed: &'l [Listed], target: &str) -> Vec<&'l Listed> {
    let (group, _) = split(target);
    listed.iter().filter(|one| split(&words(recipe, one)).0 == group).collect()
}

/// A migration in the words that name it as a target.
fn words(recipe: &Recipe, one: &Listed) -> String {
    recipe.target.as_ref().and_then(|target| target.of(&one.name)).unwrap_or_else(|| one.name.clone())
}

/// A beginning of the name is enough, as tools take it.
fn is_named(words: &str, target: &str) -> bool {
    let ((group, name), (wanted, beginning)) = (split(words), split(target));
    group == wanted && name.starts_with(beginning)
}

fn split(words: &str) -> (&str, &str) {
    words.rsplit_once(' ').unwrap_or(("", words))
}

fn unknown(recipe: &Recipe, listed: &[Listed], target: &str) -> Fault {
    let group = of_group(recipe, listed, target);
    let fault = Fault::new(Code::TargetUnknown, format!("the tool lists no migration `{target}`"))
        .fix("set `target` to one that the tool lists above");
    match (group.first(), group.last()) {
        (Some(first), Some(last)) => fault.detail(format!(
            "it lists {} there, from `{}` to `{}`",
            group.len(),
            words(recipe, first),
            words(recipe, last)
        )),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        names.iter().map(|name| Listed { name: (*name).to_owned(), ..Listed::default() }).collect()
    }

    fn applied(names: &[&str]) -> Witness {
        let one = |name: &&str| Listed { name: (*name).to_owned(), applied: true, ..Listed::default() };
        Witness::of_listing(&names.iter().map(one).collect::<Vec<_>>())
    }

    const APP: [&str; 5] = ["a.0001_initial", "b.0001_initial", "a.0002_more", "a.0003_last", "b.0002_more"];

    fn names(ids: Vec<MigrationId>) -> Vec<String> {
        ids.into_iter().map(|id| id.name).collect()
    }

    #[test]
    fn going_back_undoes_what_comes_after_the_target_in_its_app_and_the_last_first() {
        let django = Recipe::named("django").unwrap();
        let back = |to| names(undone(&django, &listed(&APP), &applied(&APP[..4]), Some(to)).unwrap());
        assert_eq!(back("a 0001"), ["a.0003_last", "a.0002_more"]);
        assert_eq!(back("a 0003_last"), Vec::<String>::new());
        assert_eq!(back("a zero"), ["a.0003_last", "a.0002_more", "a.0001_initial"]);
        assert_eq!(back("b zero"), ["b.0001_initial"]);
        for wrong in ["a 0009", "c 0001", "c zero"] {
            let fault = undone(&django, &listed(&APP), &applied(&APP), Some(wrong)).unwrap_err();
            assert_eq!(fault.code, Code::TargetUnknown, "{wrong}");
        }
    }

    #[test]
    fn recording_takes_everything_up_to_the_target_or_all_there_is() {
        let django = Recipe::named("django").unwrap();
        let taken = |to| names(taken(&django, &listed(&APP), &applied(&APP[..1]), to).unwrap());
        assert_eq!(taken(Some("a 0002")), ["a.0002_more"]);
        assert_eq!(taken(None), ["b.0001_initial", "a.0002_more", "a.0003_last", "b.0002_more"]);
    }

    #[test]
    fn a_target_may_say_how_many_or_which_one_alone() {
        let all = ["2024_a", "2024_b", "2024_c"];
        let laravel = Recipe::named("laravel").unwrap();
        let back = undone(&laravel, &listed(&all), &applied(&all), Some("2")).unwrap();
        assert_eq!(names(back), ["2024_c", "2024_b"]);
        let prisma = Recipe::named("prisma").unwrap();
        let taken = taken(&prisma, &listed(&all), &applied(&[]), Some("2024_b")).unwrap();
        assert_eq!(names(taken), ["2024_b"]);
        let flyway = Recipe::named("flyway").unwrap();
        let versions = ["1 Add people", "1.1 Add pets", "2 Add homes"];
        let back = undone(&flyway, &listed(&versions), &applied(&versions), Some("1.1")).unwrap();
        assert_eq!(names(back), ["2 Add homes"]);
    }

    #[test]
    fn a_tool_with_one_word_for_a_target_has_one_group() {
        let alembic = Recipe::named("alembic").unwrap();
        let all = ["ae10", "bf20", "c130"];
        let back = |to| names(undone(&alembic, &listed(&all), &applied(&all), Some(to)).unwrap());
        assert_eq!(back("bf"), ["c130"]);
        assert_eq!(back("base"), ["c130", "bf20", "ae10"]);
    }
}
