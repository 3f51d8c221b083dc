//! The process's environment variables.

use std::{collections::BTreeMap, ffi::OsString};

/// The environment variables with UTF-8 names. A value that is not UTF-8 is kept as `None`: it is a fault only if it is
/// used.
#[derive(Debug)]
pub(crate) struct Variables(BTreeMap<String, Option<String>>);

/// The value of a variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Variable<'a> {
    Absent,
    NotUtf8,
    Text(&'a str),
}

impl Variables {
    /// Creates the variables from the process's environment.
    pub(crate) fn new(env: Vec<(OsString, OsString)>) -> Self {
        let text_pair =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()));
        Self(env.into_iter().filter_map(text_pair).collect())
    }

    /// Returns the value; an empty one is absent, because the runner passes an unset secret as the empty string.
    pub(crate) fn get(&self, name: &str) -> Variable<'_> {
        match self.0.get(name) {
            None => Variable::Absent,
            Some(None) => Variable::NotUtf8,
            Some(Some(value)) if value.trim().is_empty() => Variable::Absent,
            Some(Some(value)) => Variable::Text(value),
        }
    }

    /// Returns whether the variable is there, also if its value is empty: then the workflow names it.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the inputs in the workflow's `with:`, written with dashes, each with its variable; variables of other
    /// steps and jobs that begin with `INPUT_` are among them.
    pub(crate) fn workflow_inputs(&self) -> impl Iterator<Item = (String, &str)> {
        self.names_with_value()
            .filter_map(|name| Some((name.strip_prefix("INPUT_")?.to_lowercase().replace('_', "-"), name)))
    }

    /// Returns the names of all variables that have a value.
    pub(crate) fn names_with_value(&self) -> impl Iterator<Item = &str> {
        let is_filled = |value: &Option<String>| value.as_ref().is_none_or(|value| !value.trim().is_empty());
        self.0.iter().filter(move |(_, value)| is_filled(value)).map(|(name, _)| name.as_str())
    }
}

/// Returns the prefixes of an environment's variables, in order of precedence: `dev-backend` has `DEV_BACKEND_` and
/// `DEV_`. Numbered environments of one kind may share their secrets: `uat2-backend` also has `UAT_BACKEND_` and
/// `UAT_`.
pub(crate) fn environment_prefixes(environment: &str) -> Vec<String> {
    let upper = environment.to_uppercase();
    let words: Vec<&str> =
        upper.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let Some((first, others)) = words.split_first() else { return Vec::new() };
    let without_number = first.trim_end_matches(|character: char| character.is_ascii_digit());
    let first_words = [*first, without_number]
        .into_iter()
        .take(if without_number == *first || without_number.is_empty() { 1 } else { 2 });
    let prefixes_from = |first: &str| {
        let prefix =
            |count| [&[first], others.split_at(count).0].concat().iter().map(|word| format!("{word}_")).collect();
        (0..=others.len()).rev().map(prefix).collect::<Vec<String>>()
    };
    first_words.flat_map(prefixes_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn tries_the_whole_name_before_its_first_word() {
        assert_eq!(environment_prefixes("dev-backend"), ["DEV_BACKEND_", "DEV_"]);
        assert_eq!(environment_prefixes("prod"), ["PROD_"]);
        assert_eq!(environment_prefixes("a/b c"), ["A_B_C_", "A_B_", "A_"]);
        assert!(environment_prefixes("--").is_empty());
    }

    #[test]
    fn tries_a_numbered_environment_without_its_number_last() {
        assert_eq!(environment_prefixes("uat2-backend"), ["UAT2_BACKEND_", "UAT2_", "UAT_BACKEND_", "UAT_"]);
        assert_eq!(environment_prefixes("prod2"), ["PROD2_", "PROD_"]);
        assert_eq!(environment_prefixes("web-2"), ["WEB_2_", "WEB_"]);
        assert_eq!(environment_prefixes("2"), ["2_"]);
    }

    #[test]
    fn an_empty_value_is_absent_and_bytes_are_not_text() {
        let env = vec![
            ("EMPTY".into(), "".into()),
            ("BLANK".into(), " \n".into()),
            ("BYTES".into(), OsString::from_vec(vec![0xff])),
            ("TEXT".into(), "x".into()),
            (OsString::from_vec(vec![0xfe]), "x".into()),
        ];
        let variables = Variables::new(env);
        assert_eq!(variables.get("EMPTY"), Variable::Absent);
        assert_eq!(variables.get("BLANK"), Variable::Absent);
        assert_eq!(variables.get("BYTES"), Variable::NotUtf8);
        assert_eq!(variables.get("TEXT"), Variable::Text("x"));
    }
}
