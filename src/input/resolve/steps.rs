//! Resolves the parsed steps with the defaults that they take from the inputs.

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            ExecutorChoice, ParsedSteps, RunSite, fault_about,
            step::{ParsedStep, ParsedWork},
        },
    },
    settings::{Need, Step, StepSettings, StepWork},
    tool::CommandLine,
};

/// Resolves all steps and completes them with the defaults.
pub(crate) fn resolve_steps(
    parsed_steps: &ParsedSteps,
    defaults: &StepDefaults<'_>,
    findings: &mut Findings,
) -> StepSettings {
    let mut list = |name| {
        parsed_steps.steps_of(name).flatten().filter_map(|parsed| defaults.resolve_step(parsed, findings)).collect()
    };
    let steps = StepSettings {
        before: list(InputName::Before),
        migrate: list(InputName::Steps),
        after: list(InputName::After),
        health: None,
    };
    if parsed_steps.has_steps(InputName::Steps) && defaults.run_site.executor == Some(ExecutorChoice::Sql) {
        let cause = "`steps` replace a tool's migration command, and `executor: sql` has no tool";
        let fix = "move them to `before` or `after`, or set `executor` to `image` or `server`";
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    steps
}

/// Defaults of steps that come from the inputs.
#[derive(Debug)]
pub(crate) struct StepDefaults<'a> {
    pub(crate) run_site: RunSite<'a>,
    pub(crate) retries: u32,
    pub(crate) runner: &'a Runner,
}

impl StepDefaults<'_> {
    fn resolve_step(&self, parsed: &ParsedStep, findings: &mut Findings) -> Option<Step> {
        let work = match &parsed.work {
            ParsedWork::Command { line, site_override } => {
                let site = site_override
                    .resolve_site(self.run_site)
                    .map_err(|invalid| step_fault(parsed, &format!("it {}", invalid.cause)).fix(invalid.fix));
                findings.warnings.extend(hidden_failure_warning(parsed, line));
                StepWork::Command { line: line.clone(), site: findings.ok_or_record(site)?? }
            }
            ParsedWork::Sql(path) => findings.ok_or_record(self.resolve_sql_file(parsed, path))?,
        };
        let ParsedStep { name, timeout, need, when, .. } = parsed;
        let retries = parsed.retries.unwrap_or(self.retries);
        Some(Step { name: name.clone(), work, timeout: *timeout, retries, need: *need, when: *when })
    }

    fn resolve_sql_file(&self, parsed: &ParsedStep, given_path: &str) -> Result<StepWork, Fault> {
        let path = self.runner.resolve_path(given_path);
        if path.is_file() {
            return Ok(StepWork::Sql { shown: self.runner.display_path(&path), path });
        }
        if path.is_dir() {
            return Err(step_fault(parsed, &format!("`{given_path}` is a directory, and a step runs one SQL file"))
                .fix("name a file in it; for several, write a step for each"));
        }
        Err(step_fault(parsed, &format!("there is no file `{given_path}`")).fix(
            "check the path, which is relative to the top of the repository, and that actions/checkout ran before this step",
        ))
    }
}

fn step_fault(parsed: &ParsedStep, cause: &str) -> Fault {
    fault_about(Code::InputInvalid, &parsed.title, parsed.position.as_ref(), cause)
}

/// Returns a warning for a command whose shell text hides its failure; the failure of an optional step is in the
/// summary.
fn hidden_failure_warning(parsed: &ParsedStep, line: &CommandLine) -> Option<Fault> {
    let CommandLine::Shell(text) = line else { return None };
    let forgets = |line: &str| line.trim_end().strip_suffix("true").is_some_and(|rest| rest.trim_end().ends_with("||"));
    let cause = "`|| true` hides failures";
    let fix = match parsed.need {
        Need::Required => "remove it and set `optional: true`: the run goes on, and the summary shows the failure",
        Need::Optional => "remove it: with `optional: true` the run goes on, and the summary shows the failure",
    };
    text.lines().any(forgets).then(|| step_fault(parsed, cause).fix(fix))
}
