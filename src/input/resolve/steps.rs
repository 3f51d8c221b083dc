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
pub(crate) fn resolve_steps(drafts: &ParsedSteps, around: &StepDefaults<'_>, findings: &mut Findings) -> StepSettings {
    let mut list = |name| drafts.steps_of(name).flatten().filter_map(|draft| around.step(draft, findings)).collect();
    let steps = StepSettings {
        before: list(InputName::Before),
        migrate: list(InputName::Steps),
        after: list(InputName::After),
        health: None,
    };
    if drafts.has_steps(InputName::Steps) && around.run_site.executor == Some(ExecutorChoice::Sql) {
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
    fn step(&self, draft: &ParsedStep, findings: &mut Findings) -> Option<Step> {
        let work = match &draft.work {
            ParsedWork::Command { line, wish } => {
                let site = wish
                    .resolve_site(self.run_site)
                    .map_err(|misfit| wrong(draft, &format!("it {}", misfit.cause)).fix(misfit.fix));
                findings.warnings.extend(hidden_failure_warning(draft, line));
                StepWork::Command { line: line.clone(), site: findings.ok_or_record(site)?? }
            }
            ParsedWork::Sql(written) => findings.ok_or_record(self.file(draft, written))?,
        };
        let ParsedStep { name, timeout, need, when, .. } = draft;
        let retries = draft.retries.unwrap_or(self.retries);
        Some(Step { name: name.clone(), work, timeout: *timeout, retries, need: *need, when: *when })
    }

    fn file(&self, draft: &ParsedStep, written: &str) -> Result<StepWork, Fault> {
        let path = self.runner.resolve_path(written);
        if path.is_file() {
            return Ok(StepWork::Sql { shown: self.runner.display_path(&path), path });
        }
        if path.is_dir() {
            return Err(wrong(draft, &format!("`{written}` is a directory, and a step runs one SQL file"))
                .fix("name a file in it; for several, write a step for each"));
        }
        Err(wrong(draft, &format!("there is no file `{written}`")).fix(
            "check the path, which is relative to the top of the repository, and that actions/checkout ran before this step",
        ))
    }
}

fn wrong(draft: &ParsedStep, cause: &str) -> Fault {
    fault_about(Code::InputInvalid, &draft.title, draft.place.as_ref(), cause)
}

/// Returns a warning for a command whose shell text hides its failure; the failure of an optional step is in the
/// summary.
fn hidden_failure_warning(draft: &ParsedStep, line: &CommandLine) -> Option<Fault> {
    let CommandLine::Shell(text) = line else { return None };
    let forgets = |line: &str| line.trim_end().strip_suffix("true").is_some_and(|rest| rest.trim_end().ends_with("||"));
    let cause = "`|| true` hides failures";
    let fix = match draft.need {
        Need::Required => "remove it and set `optional: true`: the run goes on, and the summary shows the failure",
        Need::Optional => "remove it: with `optional: true` the run goes on, and the summary shows the failure",
    };
    text.lines().any(forgets).then(|| wrong(draft, cause).fix(fix))
}
