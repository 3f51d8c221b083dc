//! The embedded `action.yml`: the only list of names, descriptions and defaults.
//!
//! The runner passes a default on as if the workflow had set it: `INPUT_TIMEOUT` is `30m` in either case. If that
//! counted as given, the configuration file could never override it. Therefore an `INPUT_` variable that equals the
//! default counts as not given. A user who wants the default although the file sets another value changes the file, or
//! writes the value differently (`1800s`). A flag always counts.

use super::names::InputName;
use serde::Deserialize;
use std::collections::BTreeMap;

const ACTION: &str = include_str!("../../action.yml");

/// The parts of `action.yml` that the program uses.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    description: String,
    inputs: BTreeMap<String, InputDeclaration>,
}

#[derive(Debug, Deserialize)]
struct InputDeclaration {
    description: String,
    default: Option<String>,
}

impl Manifest {
    /// Parses the embedded file.
    pub(super) fn parse_embedded() -> Self {
        serde_yaml::from_str(ACTION).expect("the embedded action.yml is read by a test")
    }

    /// Returns the description of the program.
    pub(super) fn program_description(&self) -> &str {
        &self.description
    }

    /// Returns the description of an input.
    pub(super) fn input_description(&self, name: InputName) -> &str {
        self.inputs.get(name.name()).map_or("", |input| &input.description)
    }

    /// Returns the default value of an input. An expression (`${{ github.token }}`) is evaluated only by the runner, so
    /// it is not a default here.
    pub(super) fn default_value(&self, name: InputName) -> Option<&str> {
        self.inputs.get(name.name())?.default.as_deref().filter(|default| !is_expression(default))
    }
}

/// Returns whether a value is an expression that no runner has evaluated.
pub(super) fn is_expression(value: &str) -> bool {
    value.trim_start().starts_with("${{")
}

#[cfg(test)]
mod tests {
    use super::{
        super::inputs_page::{INPUTS_PAGE, input_rows},
        *,
    };

    #[derive(Deserialize)]
    struct ActionFile {
        inputs: serde_yaml::Mapping,
        outputs: serde_yaml::Mapping,
    }

    const OUTPUTS_PAGE: &str = include_str!("../../docs/outputs.md");

    fn action_file() -> ActionFile {
        serde_yaml::from_str(ACTION).unwrap()
    }

    fn keys(mapping: &serde_yaml::Mapping) -> Vec<&str> {
        mapping.keys().map(|key| key.as_str().unwrap()).collect()
    }

    #[test]
    fn names_and_action_yml_are_the_same_list_in_the_same_order() {
        let names: Vec<&str> = InputName::ALL.iter().map(|name| name.name()).collect();
        assert_eq!(keys(&action_file().inputs), names);
    }

    #[test]
    fn every_input_is_described_in_a_sentence_without_a_full_stop() {
        let manifest = Manifest::parse_embedded();
        for name in InputName::ALL {
            let text = manifest.input_description(*name);
            assert!(text.len() > 10 && !text.ends_with('.'), "{name}: {text}");
        }
    }

    #[test]
    fn an_expression_is_no_default() {
        let manifest = Manifest::parse_embedded();
        assert_eq!(manifest.default_value(InputName::GithubToken), None);
        assert_eq!(manifest.default_value(InputName::Timeout), Some("30m"));
        assert_eq!(manifest.default_value(InputName::SshHost), None);
    }

    #[test]
    fn a_secret_has_no_default() {
        let manifest = Manifest::parse_embedded();
        assert!(InputName::ALL.iter().all(|name| !name.is_secret() || manifest.default_value(*name).is_none()));
    }

    #[test]
    fn the_documentation_lists_every_input_with_its_type_and_its_default_and_no_other() {
        let manifest: Manifest = serde_yaml::from_str(ACTION).unwrap();
        let declared: Vec<[String; 3]> = InputName::ALL
            .iter()
            .map(|name| {
                let default = manifest.inputs[name.name()].default.clone().unwrap_or_default();
                [name.name().to_owned(), name.kind().placeholder().to_lowercase(), default]
            })
            .collect();
        let documented: Vec<[String; 3]> =
            input_rows().into_iter().map(|row| [row.name, row.kind, row.default].map(ToOwned::to_owned)).collect();
        assert_eq!(documented, declared);
    }

    #[test]
    fn every_tool_is_named() {
        let row = INPUTS_PAGE.lines().find(|line| line.starts_with("| `tool` |")).unwrap();
        for recipe in crate::tool::Recipe::load_all() {
            let name = format!("`{}`", recipe.name);
            assert!(
                Manifest::parse_embedded().input_description(InputName::Tool).contains(&name) && row.contains(&name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_documentation_lists_every_output_and_no_other() {
        let (table, _) = OUTPUTS_PAGE.split_once("\n## ").unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(documented, keys(&action_file().outputs));
    }

    /// The page has the variable of each input below its name, and the shorter names behind a prefix in the text.
    #[test]
    fn the_documentation_lists_every_environment_variable() {
        for (name, row) in InputName::ALL.iter().zip(input_rows()) {
            assert_eq!(row.variables, name.variables(), "{name}");
            for variable in name.prefixed_variables().iter().filter(|variable| !name.variables().contains(variable)) {
                assert!(INPUTS_PAGE.contains(&format!("`DEV_{variable}`")), "DEV_{variable}");
            }
            let without_prefix =
                name.variables().iter().filter(|variable| !name.prefixed_variables().contains(variable));
            assert!(without_prefix.into_iter().all(|variable| *variable == "GITHUB_TOKEN"), "{name}");
        }
    }

    #[test]
    fn the_documentation_has_a_heading_for_every_group() {
        for name in InputName::ALL {
            let heading = format!("\n### {}\n", name.group().title());
            assert!(INPUTS_PAGE.contains(&heading), "{heading}");
        }
    }
}
