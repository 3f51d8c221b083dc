//! Parsed steps: their form is valid, and values that they leave to the inputs are still open.

use super::{
    image_reference,
    mapping::{MappingReader, YamlOrigin, fault_about},
    site::{SITES, SiteOverride},
    value,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    input::names::InputName,
    settings::{Need, When},
    tool::CommandLine,
};
use serde_yaml::Value;
use std::time::Duration;

const KEYS: [&str; 9] = ["name", "run", "sql", "executor", "image", "timeout", "retries", "optional", "when"];
const NEEDS: [(&str, Need); 2] = [("true", Need::Optional), ("false", Need::Required)];
const WHENS: [(&str, When); 3] = [("always", When::Always), ("pending", When::Pending), ("failure", When::Failure)];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedStep {
    /// Title for messages, as in "`before`, step 2 (`Fixtures`)".
    pub(crate) title: String,
    pub(crate) position: Option<FilePosition>,
    pub(crate) name: String,
    pub(crate) work: ParsedWork,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) need: Need,
    pub(crate) when: When,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedWork {
    Command {
        line: CommandLine,
        site_override: SiteOverride,
    },
    /// The path as written.
    Sql(String),
}

/// Parses the list of steps under this input; `None` marks an invalid step.
pub(crate) fn parse_step_list(
    name: InputName,
    value: &Value,
    origin: &YamlOrigin,
    faults: &mut Vec<Fault>,
) -> Vec<Option<ParsedStep>> {
    let Value::Sequence(steps) = value else {
        let fault =
            fault_about(Code::InputInvalid, &origin.title, origin.positions.first(), "it is not a list of steps");
        faults.push(fault.fix("write each step as `- run: …` or `- sql: …`"));
        return vec![None];
    };
    let parse = |(index, value): (usize, &Value)| {
        let title = format!("{}, step {}", origin.title, index + 1);
        parse_step(name, value, (title, origin.positions.get(index).cloned()), faults)
    };
    steps.iter().enumerate().map(parse).collect()
}

/// Returns the step if it has no fault.
fn parse_step(
    list: InputName,
    value: &Value,
    (title, position): (String, Option<FilePosition>),
    faults: &mut Vec<Fault>,
) -> Option<ParsedStep> {
    let Value::Mapping(mapping) = value else {
        let fault = fault_about(Code::InputInvalid, &title, position.as_ref(), "it is not a mapping");
        faults.push(fault.fix("write it as `- run: …` or `- sql: …`, with its other keys below"));
        return None;
    };
    let mut fields = MappingReader::new(mapping, title, position);
    let given_name = fields.read_text("name").map(|name| first_line(&name));
    add_name_to_title(&mut fields, given_name.as_deref());
    let line = fields.read_command_line("run");
    let sql = fields.read_text("sql");
    let name = given_name
        .clone()
        .or_else(|| line.as_ref().map(CommandLine::display_text).or_else(|| sql.clone()).map(|text| first_line(&text)));
    if given_name.is_none() {
        add_name_to_title(&mut fields, name.as_deref());
    }
    let name = name.unwrap_or_default();
    fields.reject_unknown_keys(&KEYS);
    let work = parse_work(&mut fields, line, sql);
    let timeout = fields.read_value("timeout", value::parse_positive_duration);
    let retries = fields.read_value("retries", value::parse_retries);
    let need = fields.read_value("optional", |text| value::parse_choice(text, &NEEDS)).unwrap_or(Need::Required);
    // Steps that replace the migration run when the migration would.
    let default_when = if list == InputName::Steps { When::Pending } else { When::Always };
    let when = fields.read_value("when", |text| value::parse_choice(text, &WHENS)).unwrap_or(default_when);
    if when == When::Failure && list != InputName::After {
        fields.add_invalid("`when: failure` never applies here: nothing has failed yet", "move the step to `after`");
    }
    let MappingReader { title, position, faults: step_faults, .. } = fields;
    let is_valid = step_faults.is_empty();
    faults.extend(step_faults);
    work.filter(|_| is_valid).map(|work| ParsedStep { title, position, name, work, timeout, retries, need, when })
}

/// Adds the step's name to the title of later faults.
fn add_name_to_title(fields: &mut MappingReader<'_>, name: Option<&str>) {
    if let Some(name) = name {
        fields.title = format!("{} (`{name}`)", fields.title);
    }
}

fn parse_work(fields: &mut MappingReader<'_>, line: Option<CommandLine>, sql: Option<String>) -> Option<ParsedWork> {
    let site_override = SiteOverride {
        executor: fields.read_value("executor", |text| value::parse_choice(text, &SITES)),
        image: fields.read_value("image", image_reference::parse_image_reference),
    };
    match (fields.has_value("run"), fields.has_value("sql")) {
        (true, false) => line.map(|line| ParsedWork::Command { line, site_override }),
        (false, true) if site_override.is_empty() => sql.map(ParsedWork::Sql),
        (false, true) => {
            let fix = "remove its `executor` and `image`";
            fields.add_invalid("SQL goes over the run's own connection, not to an executor", fix);
            None
        }
        (true, true) => {
            fields.add_invalid("it has `run` and `sql`", "make two steps of it");
            None
        }
        // The unknown key may be the misspelt one.
        (false, false) if fields.faults.iter().any(|fault| fault.code == Code::InputUnknown) => None,
        (false, false) => {
            let fix = "add a command as `run`, or the path of a file of SQL as `sql`";
            fields.add_invalid("it has neither `run` nor `sql`", fix);
            None
        }
    }
}

/// Returns the complete first line: a part of a secret would not be recognised by the redactor. The caller may cut it
/// for display.
fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::site::ExecutorChoice, *};

    fn read(name: InputName, text: &str) -> (Vec<Option<ParsedStep>>, Vec<Fault>) {
        let origin = YamlOrigin { title: format!("`{name}`"), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_step_list(name, &serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    fn only_step(text: &str) -> ParsedStep {
        let (mut parsed, faults) = read(InputName::After, text);
        assert_eq!(faults, [], "{text}");
        parsed.remove(0).unwrap()
    }

    fn step_fault(text: &str) -> (String, String) {
        let (parsed, mut faults) = read(InputName::Before, text);
        assert_eq!((faults.len(), &parsed[..]), (1, &[None][..]), "{text}: {faults:#?}");
        let fault = faults.remove(0);
        (fault.cause, fault.fix)
    }

    #[test]
    fn a_step_needs_only_a_command_or_a_file() {
        let shell = only_step("[ { run: 'make \n  fixtures' } ]");
        assert_eq!(shell.name, "make fixtures");
        let ParsedWork::Command { line, site_override } = shell.work else { panic!("no command") };
        assert!(line == CommandLine::Shell("make fixtures".to_owned()) && site_override.is_empty());
        assert_eq!((shell.need, shell.when, shell.timeout, shell.retries), (Need::Required, When::Always, None, None));
        let sql = only_step("[ { sql: db/grants.sql } ]");
        assert_eq!((sql.name.as_str(), sql.work), ("db/grants.sql", ParsedWork::Sql("db/grants.sql".to_owned())));
    }

    #[test]
    fn reads_all_keys_of_a_step() {
        let step = only_step(
            "[ { name: Snapshot, run: [aws, rds, --wait, 300, ''], executor: image, image: amazon/aws-cli, timeout: 5m, \
             retries: 0, optional: true, when: failure } ]",
        );
        let line = CommandLine::Program(["aws", "rds", "--wait", "300", ""].map(str::to_owned).to_vec());
        let site_override =
            SiteOverride { executor: Some(ExecutorChoice::Image), image: Some("amazon/aws-cli".to_owned()) };
        assert_eq!(step.work, ParsedWork::Command { line, site_override });
        assert_eq!((step.name.as_str(), step.timeout), ("Snapshot", Some(Duration::from_secs(300))));
        assert_eq!((step.retries, step.need, step.when), (Some(0), Need::Optional, When::Failure));
        assert_eq!(only_step("[ { run: x, timeout: 300 } ]").timeout, Some(Duration::from_secs(300)));
    }

    #[test]
    fn the_default_name_of_a_step_is_the_first_line_of_its_command() {
        assert_eq!(only_step("- run: |\n\n    ./one\n    ./two\n").name, "./one");
        assert_eq!(only_step("- run: [./one, --all]").name, "./one --all");
        assert_eq!(only_step(&format!("- run: {}", "ä".repeat(100))).name, "ä".repeat(100));
    }

    #[test]
    fn a_fault_names_the_list_the_number_and_the_name_of_the_step() {
        for (text, cause, fix) in [
            ("[ { name: A, run: x, retires: 1 } ]", "`before`, step 1 (`A`): there is no key `retires`", "`retries`?"),
            ("[ { run: x, env: 1 } ]", "step 1 (`x`): there is no key `env`", "`name`, `run`"),
            ("[ { name: A, rnu: x } ]", "step 1 (`A`): there is no key `rnu`", "`run`?"),
            ("[ ./x ]", "step 1: it is not a mapping", "- run: "),
            ("[ { name: A } ]", "step 1 (`A`): it has neither `run` nor `sql`", "`run`"),
            ("[ { name: A, run: ' ' } ]", "step 1 (`A`): it has neither `run` nor `sql`", "`run`"),
            ("[ { run: x, sql: y } ]", "step 1 (`x`): it has `run` and `sql`", "two steps"),
            ("[ { sql: y, executor: server } ]", "over the run's own connection", "remove its `executor`"),
            ("[ { run: x, executor: sql } ]", "`executor` is `sql`: it is not one of", "`image` or `server`"),
            ("[ { run: x, image: A B } ]", "`image` is `A B`", "ghcr.io"),
            ("[ { run: x, timeout: soon } ]", "`timeout` is `soon`: it is not a duration", "30s"),
            ("[ { run: x, timeout: [5] } ]", "`timeout` must be text, a number", "single value"),
            ("[ { run: x, retries: -1 } ]", "`retries` is `-1`", "0 to 100"),
            ("[ { run: x, optional: maybe } ]", "`optional` is `maybe`", "`true` or `false`"),
            ("[ { run: x, when: never } ]", "`when` is `never`", "`always`, `pending` or `failure`"),
            ("[ { run: x, when: failure } ]", "never applies", "`after`"),
            ("[ { run: [] } ]", "not of a program and its arguments", "[python"),
            ("[ { run: [x, [y]] } ]", "not of a program and its arguments", "[python"),
            ("[ { run: { x: y } } ]", "`run` must be text", "single value"),
            ("[ { run: 'echo ${{ secrets.X }}' } ]", "is not evaluated", "`pass-env`"),
            ("{ run: x }", "`before`: it is not a list", "- run: "),
            ("5", "`before`: it is not a list", "- run: "),
        ] {
            let (found, advice) = step_fault(text);
            assert!(found.contains(cause) && advice.contains(fix), "{text}: {found}; {advice}");
        }
    }

    #[test]
    fn all_faults_of_a_list_are_reported_and_the_valid_steps_are_read() {
        let (parsed, faults) = read(InputName::Steps, "[ { run: x, tiemout: 1s, when: failure }, { run: y }, 7 ]");
        let are_valid: Vec<bool> = parsed.iter().map(Option::is_some).collect();
        assert_eq!((are_valid, faults.len()), (vec![false, true, false], 3), "{faults:#?}");
    }
}
