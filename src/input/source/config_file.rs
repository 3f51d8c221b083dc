//! The configuration file: inputs for all environments, and for each of them.

use super::yaml_location::locate_item;
use crate::{
    fault::{Code, Fault, FilePosition},
    github::runner::Runner,
    input::{
        inline_secrets::secrets_of,
        names::{InputName, list_quoted, nearest_candidate},
        parse::{NotScalar, ParsedSteps, YamlOrigin, key_text, parse_error_lines, scalar_text},
    },
    secret::Secret,
};
use serde_yaml::{Mapping, Value};
use std::{collections::BTreeMap, io};

/// Default path of the file.
const DEFAULT_PATH: &str = ".github/bastion-migrate.yml";

const DEFAULTS: &str = "defaults";
const ENVIRONMENTS: &str = "environments";

/// Keys at the top level. The last four are inputs, which may be there instead of under `defaults`: they are the main
/// reason for the file, and long.
const SECTIONS: [&str; 6] = [DEFAULTS, ENVIRONMENTS, "before", "steps", "after", "health"];

/// The values for the chosen environment; empty if there is no file.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The path, as the user wrote it.
    pub(crate) path: String,
    pub(crate) values: BTreeMap<InputName, String>,
    /// The inputs that are written in YAML.
    pub(crate) steps: ParsedSteps,
    /// Secrets that are in the file although they must not be.
    pub(crate) exposed: Vec<Secret>,
    /// Inputs that already have a fault: they are not reported as missing, too.
    pub(crate) invalid: Vec<InputName>,
    pub(crate) faults: Vec<Fault>,
    /// The names under `environments`.
    pub(crate) environments: Vec<String>,
    /// The text of the file, for finding positions.
    text: String,
}

/// The values of one section.
#[derive(Debug, Default)]
struct Section {
    values: BTreeMap<InputName, String>,
    parsed_steps: ParsedSteps,
}

impl Config {
    /// Reads the file. A file that was named must exist, the default one may be absent.
    pub(crate) fn read_file(runner: &Runner, given_path: Option<&str>, environment: Option<&str>) -> Self {
        let path = given_path.unwrap_or(DEFAULT_PATH).to_owned();
        match std::fs::read_to_string(runner.resolve_path(&path)) {
            Ok(text) => Self::parse(&text, path, environment),
            Err(error) if error.kind() == io::ErrorKind::NotFound && given_path.is_none() => Self::default(),
            Err(error) => {
                let fault = Fault::new(Code::ConfigInvalid, format!("the configuration file `{path}` can't be read"))
                    .fix("check `config`, and that actions/checkout ran before this step")
                    .with_causes(&error);
                Self { path, faults: vec![fault], ..Self::default() }
            }
        }
    }

    /// Returns a fault if the file has environments and none was chosen: an empty `environment` is more likely a value
    /// that did not arrive.
    pub(crate) fn unchosen_environment_fault(&mut self, environment: Option<&str>) -> Option<Fault> {
        if environment.is_some() || self.environments.is_empty() {
            return None;
        }
        // Any input may be in the section that was not chosen.
        self.invalid.extend(InputName::ALL);
        let names = list_quoted(&self.environments);
        let noun = if self.environments.len() == 1 { "environment" } else { "environments" };
        let cause =
            format!("`environment` has no value, but the configuration file `{}` has the {noun} {names}", self.path);
        let fix = "set `environment` to a name in the file; for a run that belongs to none of them, add an empty section, as in \
            `local: {}`, and set `environment` to its name";
        Some(Fault::new(Code::InputMissing, cause).fix(fix).in_file(self.file_position(None)))
    }

    fn parse(text: &str, path: String, environment: Option<&str>) -> Self {
        let mut config = Self { path, text: text.to_owned(), ..Self::default() };
        let parsed = serde_yaml::from_str(text).and_then(|mut value: Value| value.apply_merge().map(|()| value));
        match parsed {
            Ok(Value::Null) => {}
            Ok(Value::Mapping(top)) => config.read_sections(&top, environment),
            Ok(_) => config.add_fault(Code::ConfigInvalid, "it is not a mapping with `defaults` and `environments`"),
            Err(error) => {
                let cause = format!("the configuration file `{}` is not valid YAML", config.path);
                let fault = Fault::new(Code::ConfigInvalid, cause)
                    .fix("correct the YAML at this place; indent with spaces, not with tabs")
                    .in_file(config.file_position(None));
                let fault = parse_error_lines(&error).into_iter().fold(fault, Fault::detail);
                let position =
                    error.location().map(|location| config.file_position(Some((location.line(), location.column()))));
                config.faults.push(position.into_iter().fold(fault, Fault::in_file));
            }
        }
        config
    }

    fn read_sections(&mut self, top: &Mapping, environment: Option<&str>) {
        for key in top.keys().map(key_text).filter(|key| !SECTIONS.contains(&key.as_str())) {
            let fault = self.fault_about(Code::InputUnknown, &format!("there is no section `{key}`"));
            let fix = match nearest_candidate(&key, SECTIONS.into_iter()) {
                Some(section) => format!("did you mean `{section}`?"),
                None => "put inputs under `defaults` or under `environments` and the environment's name".to_owned(),
            };
            self.faults.push(fault.fix(fix));
        }
        let tops = self.read_top_level(top);
        self.apply_section(tops);
        if let Some(defaults) = self.expect_mapping(DEFAULTS, top.get(DEFAULTS)) {
            self.reject_duplicates(top, &defaults);
            let section = self.read_section(&[DEFAULTS], &defaults);
            self.apply_section(section);
        }
        if let Some(environments) = self.expect_mapping(ENVIRONMENTS, top.get(ENVIRONMENTS)) {
            self.read_environments(&environments, environment);
        }
    }

    fn read_top_level(&mut self, top: &Mapping) -> Section {
        let inputs = top.iter().filter(|(key, _)| InputName::from_name(&key_text(key)).is_some_and(InputName::is_yaml));
        let inputs: Mapping = inputs.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.read_section(&[], &inputs)
    }

    fn reject_duplicates(&mut self, top: &Mapping, defaults: &Mapping) {
        let is_set = |section: &Mapping, name: &str| section.get(name).is_some_and(|value| !value.is_null());
        for name in SECTIONS.into_iter().filter(|name| is_set(top, name) && is_set(defaults, name)) {
            let fault =
                self.fault_about(Code::ConfigInvalid, &format!("`{name}` is both at the top and under `{DEFAULTS}`"));
            self.faults.push(fault.fix("remove one of them: they mean the same"));
        }
    }

    fn apply_section(&mut self, section: Section) {
        self.values.extend(section.values);
        self.steps.extend(section.parsed_steps);
    }

    /// Checks all sections, whichever is chosen: the run for `dev` should find a typo in `prod`.
    fn read_environments(&mut self, environments: &Mapping, chosen: Option<&str>) {
        let names: Vec<String> = environments.keys().map(key_text).collect();
        self.environments.clone_from(&names);
        for (name, section) in names.iter().zip(environments.values()) {
            let Some(section) = self.expect_mapping(&format!("{ENVIRONMENTS}.{name}"), Some(section)) else { continue };
            let section = self.read_section(&[ENVIRONMENTS, name], &section);
            if chosen == Some(name) {
                self.apply_section(section);
            }
        }
        let Some(chosen) = chosen.filter(|chosen| !names.iter().any(|name| name == chosen)) else { return };
        let cause = format!("there is no environment `{chosen}`, only {}", list_quoted(&names));
        let fault = self
            .fault_about(Code::InputInvalid, &cause)
            .fix(format!("correct `environment`, or add `{chosen}` to the file (an empty section will do)"));
        self.faults.push(fault);
        self.invalid.extend(InputName::ALL);
    }

    fn read_section(&mut self, keys: &[&str], section: &Mapping) -> Section {
        let (title, mut found) = (keys.join("."), Section::default());
        for (key, value) in section {
            let key = key_text(key);
            match (InputName::from_name(&key), scalar_text(value)) {
                (None, _) => self.reject_unknown(&title, &key),
                (Some(InputName::Environment | InputName::Config), _) => {
                    self.add_fault(Code::ConfigInvalid, &format!("`{title}.{key}` can't be set in the file itself"));
                }
                (Some(name), Ok(Some(text))) if text.contains("${{") => {
                    self.reject_expression(keys, name, value, &text);
                }
                (Some(name), text) if name.is_secret() => {
                    self.invalid.push(name);
                    let text = text.unwrap_or_else(|NotScalar| serde_yaml::to_string(value).ok());
                    self.exposed.extend(text.iter().flat_map(|text| secrets_of(name, text)));
                    self.reject_secret(&title, name);
                }
                (Some(name), _) if name.is_yaml() => {
                    if !value.is_null() {
                        let origin = self.yaml_origin(&[keys, &[name.name()]].concat(), value);
                        found.parsed_steps.replace_list(name, value, &origin, &mut self.faults);
                    }
                }
                (Some(name), Ok(text)) => found.values.extend(text.map(|text| (name, text))),
                (Some(name), Err(NotScalar)) => {
                    let fault = format!("`{title}.{key}` must be text, a number, true or false");
                    let fault = self.fault_about(Code::ConfigInvalid, &fault).fix(text_form_hint(name));
                    self.invalid.push(name);
                    self.faults.push(fault.in_file(self.file_position(locate_item(
                        &self.text,
                        &[keys, &[name.name()]].concat(),
                        None,
                    ))));
                }
            }
        }
        found
    }

    /// Returns the position of a piece of YAML, and of each item if it is a list.
    fn yaml_origin(&self, keys: &[&str], value: &Value) -> YamlOrigin {
        let position = |item| self.file_position(locate_item(&self.text, keys, item));
        let positions = match value.as_sequence() {
            Some(list) if !list.is_empty() => (0..list.len()).map(|item| position(Some(item))).collect(),
            Some(_) | None => vec![position(None)],
        };
        YamlOrigin { title: format!("`{}` (from `{}`)", keys.join("."), self.path), positions }
    }

    /// Records the fault for an expression: expressions are evaluated only in a workflow.
    fn reject_expression(&mut self, keys: &[&str], name: InputName, value: &Value, text: &str) {
        let YamlOrigin { title, positions } = self.yaml_origin(&[keys, &[name.name()]].concat(), value);
        let cause = format!("{title} has an expression (`${{{{ … }}}}`), which is not evaluated here");
        let is_short = text.len() <= MAX_SHOWN_LENGTH && !text.contains('\n');
        let displayed = if is_short { text.trim() } else { "${{ … }}" };
        let fix = format!("remove it here, and write `{name}: {displayed}` into the workflow's `with:`");
        let fault = Fault::new(Code::ConfigInvalid, cause).fix(fix);
        self.invalid.push(name);
        self.faults.push(positions.into_iter().take(1).fold(fault, Fault::in_file));
    }

    fn reject_unknown(&mut self, title: &str, key: &str) {
        let fault = self.fault_about(Code::InputUnknown, &format!("`{title}.{key}` is not an input"));
        self.faults.push(match InputName::nearest_name(key) {
            Some(name) => fault.fix(format!("did you mean `{name}`?")),
            None => fault,
        });
    }

    fn reject_secret(&mut self, title: &str, name: InputName) {
        let fault = self
            .fault_about(
                Code::ConfigInvalid,
                &format!("`{title}.{name}` is a secret, and the file is in the repository"),
            )
            .fix(format!("remove it, replace the secret, and pass the new one as `{name}: ${{{{ secrets.… }}}}`"));
        self.faults.push(fault);
    }

    /// Returns the mapping; an empty section is `None` and not a fault.
    fn expect_mapping(&mut self, title: &str, value: Option<&Value>) -> Option<Mapping> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Mapping(mapping)) => Some(mapping.clone()),
            Some(_) => {
                self.add_fault(Code::ConfigInvalid, &format!("`{title}` is not a mapping of names to values"));
                None
            }
        }
    }

    fn add_fault(&mut self, code: Code, cause: &str) {
        let fault = self.fault_about(code, cause);
        self.faults.push(fault);
    }

    fn fault_about(&self, code: Code, cause: &str) -> Fault {
        Fault::new(code, format!("in the configuration file `{}`: {cause}", self.path))
            .in_file(self.file_position(None))
    }

    fn file_position(&self, position: Option<(usize, usize)>) -> FilePosition {
        let (line, column) = position.unzip();
        FilePosition { file: self.path.clone(), line, column, excerpt: None }
    }
}

/// Returns how to write an input that must be a text.
fn text_form_hint(name: InputName) -> String {
    match name {
        InputName::Env => format!("write `{name}: |` and, indented below it, one line `NAME=value` for each variable"),
        InputName::PassEnv => format!("write the names after `{name}:` on one line, separated by spaces"),
        _ => format!("write a single value after `{name}:`, or a text of several lines below `{name}: |`"),
    }
}

/// Longest expression that is shown, in bytes.
const MAX_SHOWN_LENGTH: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: Option<&str>) -> Config {
        Config::parse(text, "c.yml".to_owned(), environment)
    }

    #[test]
    fn the_environment_wins_over_the_defaults() {
        let text = "
            defaults: { timeout: 1h, retries: 0, summary: false, target: 0007, gaps: null }
            environments:
              dev: { timeout: 5m }
              prod: { timeout: 2h }";
        let config = parse(text, Some("dev"));
        assert_eq!(config.faults, []);
        let value = |name| config.values.get(&name).map(String::as_str);
        assert_eq!(value(InputName::Timeout), Some("5m"));
        assert_eq!(value(InputName::Retries), Some("0"));
        assert_eq!(value(InputName::Summary), Some("false"));
        assert_eq!(value(InputName::Target), Some("0007"));
        assert_eq!(value(InputName::Gaps), None);
    }

    #[test]
    fn finds_a_typo_in_every_section_at_once() {
        let text = "
            defaults: { time-out: 1h }
            enviroments: {}
            environments: { dev: {}, prod: { lock_timeout: 5s } }";
        let fixes: Vec<String> = parse(text, Some("dev")).faults.into_iter().map(|fault| fault.fix).collect();
        assert_eq!(fixes, ["did you mean `environments`?", "did you mean `timeout`?", "did you mean `lock-timeout`?"]);
    }

    #[test]
    fn refuses_and_masks_a_secret() {
        let config = parse("defaults: { ssh-password: hunter2 }", None);
        assert_eq!(config.exposed, [Secret::new("hunter2")]);
        assert!(config.values.is_empty());
        assert!(!format!("{:?}", config.faults).contains("hunter2"));
        assert!(config.faults[0].fix.contains("ssh-password: ${{ secrets.… }}"), "{:?}", config.faults);
    }

    #[test]
    fn refuses_an_environment_that_the_file_does_not_have() {
        let fault = parse("environments: { dev: , prod: {} }", Some("uat")).faults.remove(0);
        assert!(fault.cause.contains("`uat`, only `dev` and `prod`"), "{}", fault.cause);
        assert!(parse("environments: { dev: }", Some("dev")).faults.is_empty());
        assert!(parse("defaults: {}", Some("uat")).faults.is_empty());
        assert!(parse("environments: { dev: }", None).faults.is_empty());
    }

    #[test]
    fn reports_the_position_of_invalid_yaml() {
        let fault = parse("defaults:\n  a: [\n", None).faults.remove(0);
        assert!(fault.place.unwrap().line.is_some());
        assert_eq!(fault.code, Code::ConfigInvalid);
    }

    #[test]
    fn rejects_non_scalar_values_and_inputs_that_choose_the_file_or_section() {
        for text in [
            "defaults: { target: [1] }",
            "defaults: 5",
            "[]",
            "defaults: { config: x }",
            "defaults: { environment: x }",
        ] {
            assert_eq!(parse(text, None).faults.len(), 1, "{text}");
        }
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert!(parse("", Some("dev")).faults.is_empty());
        assert!(parse("# nothing\n", None).faults.is_empty());
    }

    #[test]
    fn anchors_may_be_merged() {
        let config = parse("defaults: &d { timeout: 1h }\nenvironments: { dev: { <<: *d, retries: 1 } }", Some("dev"));
        assert_eq!(config.faults, []);
        assert_eq!(config.values[&InputName::Retries], "1");
    }

    #[test]
    fn a_named_file_must_exist() {
        let workspace = tempfile::tempdir().unwrap();
        let runner = Runner { workspace: Some(workspace.path().to_owned()), ..Runner::default() };
        assert!(Config::read_file(&runner, None, None).faults.is_empty());
        assert_eq!(Config::read_file(&runner, Some("x.yml"), None).faults[0].code, Code::ConfigInvalid);
        std::fs::create_dir(workspace.path().join(".github")).unwrap();
        std::fs::write(workspace.path().join(DEFAULT_PATH), "defaults: { retries: 9 }").unwrap();
        assert_eq!(Config::read_file(&runner, None, None).values[&InputName::Retries], "9");
    }

    /// Returns the names of the steps of a list.
    fn steps(config: &Config, name: InputName) -> Vec<&str> {
        config.steps.steps_of(name).flatten().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn an_environments_list_replaces_the_default_list_as_a_whole() {
        let text = "
            before: [ { run: one } ]
            defaults: { steps: [ { run: two } ], after: [ { run: three } ], health: { run: four } }
            environments:
              dev: { before: [ { run: five }, { run: six } ], after: [], health: false }
              prod: { before: , steps: [ { run: seven } ] }";
        let names = |environment| {
            let config = parse(text, environment);
            assert_eq!(config.faults, []);
            [InputName::Before, InputName::Steps, InputName::After].map(|name| steps(&config, name).join(" "))
        };
        assert_eq!(names(None), ["one", "two", "three"]);
        assert_eq!(names(Some("dev")), ["five six", "two", ""]);
        assert_eq!(names(Some("prod")), ["one", "seven", "three"]);
        let health = |environment| parse(text, environment).steps.health;
        assert_eq!(health(Some("dev")), Some(crate::input::parse::ParsedHealth::Off));
        assert_eq!(health(None), health(Some("prod")));
    }

    #[test]
    fn a_list_may_be_at_the_top_or_under_the_defaults_but_not_both() {
        let fault = parse("after: [ { run: x } ]\ndefaults: { after: [ { run: y } ] }", None).faults.remove(0);
        assert!(fault.cause.contains("`after` is both at the top and under `defaults`"), "{}", fault.cause);
        assert_eq!(parse("after: [ { run: x } ]\ndefaults: { after: }", None).faults, []);
    }

    #[test]
    fn an_invalid_step_is_reported_with_its_line_in_every_section() {
        let text = "\
before:
  - run: x
  - run: y
    tiemout: 5s
environments:
  dev: {}
  prod:
    after:

      - name: Fixtures
        sql: [x]
    health: [x]
";
        let faults = parse(text, Some("dev")).faults;
        let causes: Vec<_> = faults
            .iter()
            .map(|fault| (fault.cause.as_str(), fault.place.as_ref().and_then(|place| place.line)))
            .collect();
        let expected = [
            ("`before` (from `c.yml`), step 2 (`y`): there is no key `tiemout`", Some(3)),
            (
                "`environments.prod.after` (from `c.yml`), step 1 (`Fixtures`): `sql` must be text, a number, true or false",
                Some(10),
            ),
            ("`environments.prod.health` (from `c.yml`): it is neither a mapping nor `false`", Some(12)),
        ];
        assert_eq!(causes, expected);
        assert_eq!(faults[0].fix, "did you mean `timeout`?");
    }

    #[test]
    fn the_examples_are_valid() {
        for text in [
            include_str!("../../../examples/config/bastion-migrate.yml"),
            include_str!("../../../examples/config/steps.yml"),
        ] {
            for environment in ["dev", "prod"] {
                assert_eq!(parse(text, Some(environment)).faults, []);
            }
        }
    }

    #[test]
    fn every_list_on_the_page_of_steps_is_valid() {
        let page = include_str!("../../../docs/steps.md");
        let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let files: Vec<&&str> = blocks.iter().filter(|block| !block.starts_with("- uses:")).collect();
        assert!(files.len() > 3 && files.len() < blocks.len());
        for text in files {
            assert_eq!(parse(text, None).faults, [], "{text}");
        }
    }
}
