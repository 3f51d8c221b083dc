//! The order in which objects can be created: by kind and name, and each after the objects that it needs.

use std::collections::{BTreeMap, BTreeSet};

/// An object, for its place in the order.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrderedObject<'a> {
    pub(super) address: &'a str,
    /// The object that it belongs to.
    pub(super) parent: Option<&'a str>,
}

/// An object that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) dependent: String,
    pub(super) referenced: String,
    /// The column whose default needs it; a default can be added later.
    pub(super) default_of: Option<String>,
}

/// A column of an object, by address and name.
pub(super) type ColumnOf = (String, String);

/// Returns the positions of the objects in the order of their creation, and the columns that can have their defaults
/// only after all tables and functions: those of a cycle. `objects` come in the order that they would have without
/// dependencies. Where even that leaves a cycle, the order is the given one.
pub(super) fn creation_order(
    objects: &[OrderedObject<'_>],
    dependencies: &[Dependency],
) -> (Vec<usize>, BTreeSet<ColumnOf>) {
    let positions: BTreeMap<&str, usize> =
        objects.iter().enumerate().map(|(position, object)| (object.address, position)).collect();
    let needs = |is_counted: &dyn Fn(&Dependency) -> bool| {
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); objects.len()];
        for dependency in dependencies.iter().filter(|dependency| is_counted(dependency)) {
            let (dependent, referenced) = (dependency.dependent.as_str(), dependency.referenced.as_str());
            if let (Some(dependent), Some(referenced)) = (positions.get(dependent), positions.get(referenced))
                && let Some(needs) = needs.get_mut(*dependent)
            {
                needs.push(*referenced);
            }
        }
        for (object, needs) in objects.iter().zip(&mut needs) {
            needs.extend(object.parent.and_then(|parent| positions.get(parent)));
            needs.sort_unstable();
        }
        needs
    };
    let all_needs = needs(&|_| true);
    let is_late = |dependency: &Dependency| {
        dependency.default_of.is_some()
            && positions
                .get(dependency.dependent.as_str())
                .zip(positions.get(dependency.referenced.as_str()))
                .is_some_and(|(dependent, referenced)| reach(&all_needs, *referenced).contains(dependent))
    };
    let late: BTreeSet<ColumnOf> = dependencies
        .iter()
        .filter(|dependency| is_late(dependency))
        .filter_map(|dependency| Some((dependency.dependent.clone(), dependency.default_of.clone()?)))
        .collect();
    let is_early = |dependency: &Dependency| match &dependency.default_of {
        Some(column) => late.is_empty() || !late.contains(&(dependency.dependent.clone(), column.clone())),
        None => true,
    };
    (visit_in_order(&needs(&is_early)), late)
}

/// Returns everything that can be reached from an object, itself included.
fn reach(needs: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let (mut open, mut reached) = (vec![from], BTreeSet::from([from]));
    while let Some(next) = open.pop() {
        let new = needs.get(next).into_iter().flatten().filter(|need| reached.insert(**need));
        open.extend(new.copied().collect::<Vec<_>>());
    }
    reached
}

/// The step at which the visit of an object is.
#[derive(Clone, Copy)]
enum Visit {
    Enter(usize),
    Leave(usize),
}

/// Returns all positions, each behind those that it needs. The stack is a list, because a chain of views can be long.
fn visit_in_order(needs: &[Vec<usize>]) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::with_capacity(needs.len()), vec![false; needs.len()]);
    for start in 0..needs.len() {
        let mut open = vec![Visit::Enter(start)];
        while let Some(step) = open.pop() {
            match step {
                Visit::Leave(position) => order.push(position),
                Visit::Enter(position) => {
                    let Some(seen) = seen.get_mut(position).filter(|seen| !**seen) else { continue };
                    *seen = true;
                    open.push(Visit::Leave(position));
                    open.extend(needs.get(position).into_iter().flatten().rev().map(|need| Visit::Enter(*need)));
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(objects: &[&str], needs: &[(&str, &str, Option<&str>)]) -> (String, Vec<ColumnOf>) {
        let all: Vec<OrderedObject<'_>> =
            objects.iter().map(|address| OrderedObject { address, parent: None }).collect();
        let dependencies: Vec<Dependency> = needs
            .iter()
            .map(|(dependent, referenced, column)| Dependency {
                dependent: (*dependent).to_owned(),
                referenced: (*referenced).to_owned(),
                default_of: column.map(str::to_owned),
            })
            .collect();
        let (order, late) = creation_order(&all, &dependencies);
        (order.iter().map(|position| objects[*position]).collect::<Vec<_>>().join(" "), late.into_iter().collect())
    }

    #[test]
    fn what_an_object_needs_comes_before_it_and_the_rest_keeps_its_order() {
        assert_eq!(order(&["a", "b", "c", "d"], &[]).0, "a b c d");
        assert_eq!(order(&["a", "b", "c", "d"], &[("a", "d", None), ("d", "c", None)]).0, "c d a b");
        assert_eq!(order(&["a", "b"], &[("a", "gone", None), ("gone", "b", None)]).0, "a b");
    }

    #[test]
    fn a_default_in_a_cycle_comes_later_and_no_other() {
        let (text, late) = order(&["f", "g", "t"], &[("f", "t", None), ("t", "f", Some("x")), ("t", "g", Some("y"))]);
        assert_eq!((text.as_str(), late), ("g t f", vec![("t".to_owned(), "x".to_owned())]));
    }

    #[test]
    fn a_cycle_that_nothing_breaks_ends_as_well() {
        assert_eq!(order(&["a", "b"], &[("a", "b", None), ("b", "a", None)]).0, "b a");
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let names: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
        let objects: Vec<&str> = names.iter().map(String::as_str).collect();
        let needs: Vec<_> = objects.windows(2).map(|pair| (pair[0], pair[1], None)).collect();
        assert!(order(&objects, &needs).0.starts_with("99999 99998 "));
    }
}
