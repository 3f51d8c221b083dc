//! First mistakes of users, the whole report of each, and the result of following its advice. The table of cases is
//! `tests/cases/first-tries.yaml`.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{PASSWORD, ROLE},
        server::Server,
        sshd::fingerprint,
    },
    runner::Annotation,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_yaml::{Mapping, Value};
use std::{fs, path::Path, process::Command};

const TABLE: &str = "tests/cases/first-tries.yaml";

/// Number of mistakes that real users have made.
const FEWEST: usize = 60;

/// Placeholders whose values may also be ordinary words of a sentence.
const AMBIGUOUS: [&str; 3] = ["{user}", "{role}", "{server-user}"];

const FILE: (&str, &str) = ("migrations/0001_users.sql", "create table if not exists users (id int);\n");

fn table() -> Vec<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE)).expect("the table is there");
    serde_yaml::from_str(&text).expect("the table is YAML")
}

/// Placeholders of the table and their values in this lab.
struct Names(Vec<(&'static str, String)>);

impl Names {
    fn of(lab: &Lab, server: &Server) -> Self {
        let (url, line) = (lab.database.url(), lab.bastion.known_hosts_line());
        let host_key = line.split_once(' ').map(|(_, key)| key.to_owned()).unwrap_or_default();
        Self(vec![
            ("{url}", url),
            ("{known_hosts}", line),
            ("{print}", fingerprint(&host_key)),
            ("{host-key}", host_key),
            ("{key}", lab.bastion.key().expose().to_owned()),
            ("{password}", PASSWORD.to_owned()),
            ("{role}", ROLE.to_owned()),
            ("{database}", lab.database.name().to_owned()),
            ("{database-port}", lab.database.server().port().to_string()),
            ("{port}", lab.bastion.port.to_string()),
            ("{user}", lab.bastion.user()),
            ("{password-encoded}", utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string()),
            ("{ca}", lab.database.server().ca().to_owned()),
            ("{server-user}", server.login().name().to_owned()),
            ("{server-key}", server.sshd().key().expose().to_owned()),
        ])
    }

    fn expand(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    /// Replaces values by their placeholders, if they are unambiguous.
    fn collapse(&self, text: &str) -> String {
        let long = self.0.iter().filter(|(word, value)| value.len() > 4 && !AMBIGUOUS.contains(word));
        long.fold(text.to_owned(), |text, (word, value)| text.replace(value.as_str(), word))
    }
}

fn pairs<'v>(case: &'v Value, key: &str) -> Vec<(&'v str, String)> {
    let scalar = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => panic!("{other:?} is no text"),
    };
    let mapping = case[key].as_mapping().into_iter().flat_map(Mapping::iter);
    mapping.map(|(name, value)| (name.as_str().expect("a name"), scalar(value))).collect()
}

fn with_case<'l>(step: Action<'l>, case: &Value, names: &Names) -> Action<'l> {
    let step = pairs(case, "with").into_iter().fold(step, |step, (name, value)| step.input(name, names.expand(&value)));
    let step = pairs(case, "env").into_iter().fold(step, |step, (name, value)| step.env(name, names.expand(&value)));
    pairs(case, "files").into_iter().fold(step, |step, (path, text)| step.file(path, names.expand(&text)))
}

/// Creates the step without the mistake: all of its inputs are right.
fn step<'l>(case: &Value, lab: &'l Lab, server: &'l Server) -> Action<'l> {
    let step = match way(case) {
        "bastion" => Action::new(lab),
        "direct" => Action::direct(lab),
        "no secrets" => Action::direct(lab).input("database-url", ""),
        "server" => Action::on_server(lab, server).input("tool", "custom").input("run", "echo hi"),
        "image" => Action::new(lab)
            .input("executor", "image")
            .input("image", "app")
            .input("pull", "never")
            .input("tool", "django"),
        other => panic!("unknown `way`: {other}"),
    };
    step.file(FILE.0, FILE.1)
}

/// Returns the lines about errors and warnings in a terminal's log.
fn reports_in(log: &str) -> String {
    let (mut reports, mut inside) = (String::new(), false);
    for line in log.lines() {
        inside |= line.starts_with("error[") || line.starts_with("warning[");
        if line.trim_start().starts_with("see https://") {
            inside = false;
        }
        if inside {
            reports.push_str(line.trim_end());
            reports.push('\n');
        }
    }
    reports
}

/// Returns the same lines for a step in Actions, from its annotations.
fn reports_of(finished: &Finished) -> String {
    reports_in(&finished.annotations.iter().map(|annotation| terminal_line(annotation) + "\n").collect::<String>())
}

fn terminal_line(annotation: &Annotation) -> String {
    let headline = annotation.message.split_once(" in ").and_then(|(code, rest)| Some((code, rest.split_once(": ")?)));
    let (code, (stage, rest)) = headline.unwrap_or_else(|| panic!("no headline: {annotation:?}"));
    format!("{}[{code}] {stage}: {rest}", annotation.level)
}

/// Returns the problems of a case: a wrong report, or a failure after its advice was followed.
fn problems_of(case: &Value, lab: &Lab, server: &Server) -> Vec<String> {
    let names = Names::of(lab, server);
    let mut mistaken = with_case(step(case, lab, server), case, &names).run();
    let mut wrong = mistaken.take_problems();
    let (expected, got) = (case["says"].as_str().unwrap_or_default(), reports_of(&mistaken));
    if got != names.expand(expected) {
        wrong.push(format!("reports:\n{}\ninstead of:\n{expected}", names.collapse(&got)));
    }
    if case["follow"].is_mapping() {
        let followed = with_case(with_case(step(case, lab, server), case, &names), &case["follow"], &names);
        wrong.extend(problems_after_advice(followed.run(), case));
    }
    wrong
}

/// Returns the problems after the advice was followed: the step must succeed, or fail at its image if it needs one.
fn problems_after_advice(mut followed: Finished, case: &Value) -> Vec<String> {
    let mut wrong = followed.take_problems();
    let stops_at_inputs = reports_of(&followed).contains("] inputs:");
    let is_well = match case["ends"].as_str().unwrap_or("well") {
        "well" => followed.status.success(),
        "at its image" => !followed.status.success() && !stops_at_inputs && reports_of(&followed).contains("] image:"),
        other => panic!("unknown `ends`: {other}"),
    };
    if !is_well {
        wrong.push(format!("after following the advice:\n{}", followed.log));
    }
    wrong
}

/// Checks every case of these ways: its report is complete, and following its advice succeeds.
fn check(ways: &[&str]) {
    let (lab, server) = (Lab::new(), Server::start());
    let cases = table();
    let cases: Vec<&Value> = cases.iter().filter(|case| ways.contains(&way(case))).collect();
    let mut wrong = String::new();
    for case in &cases {
        let problems = problems_of(case, &lab, &server);
        if !problems.is_empty() {
            wrong.extend([title(case), problems.join("\n"), "\n".to_owned()]);
        }
    }
    assert!(wrong.is_empty() && cases.len() > 5, "{wrong}");
}

fn title(case: &Value) -> String {
    format!("=== {}\n", case["mistake"].as_str().unwrap_or_default())
}

fn way(case: &Value) -> &str {
    case["way"].as_str().unwrap_or_default()
}

#[test]
fn a_first_mistake_about_the_bastion_is_reported_completely_and_its_advice_works() {
    check(&["bastion"]);
}

#[test]
fn a_first_mistake_about_the_database_is_reported_completely_and_its_advice_works() {
    check(&["direct", "no secrets"]);
}

#[test]
fn a_first_mistake_about_a_server_is_reported_completely_and_its_advice_works() {
    check(&["server"]);
}

#[test]
fn a_first_mistake_about_an_image_is_reported_completely_and_its_advice_works() {
    check(&["image"]);
}

/// Runs the program outside GitHub Actions, and returns its output.
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn at_home(arguments: &str) -> String {
    let home = tempfile::tempdir().expect("there is room");
    let mut program = Command::new(env!("CARGO_BIN_EXE_bastion-migrate"));
    let database = ("DATABASE_URL", "postgres://me@127.0.0.1:1/app");
    program.env_clear().envs([database]).current_dir(home.path()).args(arguments.split_whitespace());
    let output = program.output().expect("the program is built");
    assert!(!output.status.success() && output.stderr.is_empty(), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_mistake_on_the_command_line_is_one_fault() {
    let cases: Vec<Value> = table().into_iter().filter(|case| case["at-home"].is_string()).collect();
    let mut wrong = String::new();
    for case in &cases {
        let got = reports_in(&at_home(case["at-home"].as_str().unwrap_or_default()));
        if got != case["says"].as_str().unwrap_or_default() || got.matches("error[").count() != 1 {
            wrong.extend([title(case), "reports:\n".to_owned(), got]);
        }
    }
    assert!(wrong.is_empty() && cases.len() > 5, "{wrong}");
}

#[test]
fn the_table_has_enough_cases_and_each_has_its_test() {
    let table = table();
    assert!(table.len() >= FEWEST, "{}", table.len());
    let followed = table.iter().filter(|case| case["follow"].is_mapping()).count();
    assert!(followed * 3 > table.len() * 2, "{followed} of {} are followed", table.len());
    let ways = ["bastion", "direct", "no secrets", "server", "image"];
    let is_checked = |case: &&Value| ways.contains(&way(case)) != case["at-home"].is_string();
    assert_eq!(table.iter().filter(is_checked).count(), table.len(), "each is checked by one test");
}

#[test]
fn the_bare_program_shows_its_help_and_does_nothing() {
    let output = at_home("");
    assert!(output.contains("--ssh-host") && output.contains("Nothing was done."), "{output}");
    assert!(!output.contains("error["), "{output}");
}
