//! Lists of names in messages: the first few, and the number of the others.

/// Number of names that are shown.
const MAX_NAMED: usize = 5;

/// Joins the first few names, as in `a, b and 3 more`.
pub(super) fn join_first_names(names: impl ExactSizeIterator<Item = String>) -> String {
    let rest_count = names.len().saturating_sub(MAX_NAMED);
    let first = names.take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    if rest_count == 0 { first } else { format!("{first} and {rest_count} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_fifth_are_counted() {
        let joined = |count: usize| {
            join_first_names((1..=count).map(|number| number.to_string()).collect::<Vec<_>>().into_iter())
        };
        assert_eq!((joined(0).as_str(), joined(1).as_str()), ("", "1"));
        assert_eq!((joined(5).as_str(), joined(7).as_str()), ("1, 2, 3, 4, 5", "1, 2, 3, 4, 5 and 2 more"));
    }
}
