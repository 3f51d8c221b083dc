//! Resolves the parsed steps with the defaults that they take from the inputs.

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::Name,
        parse::{
            Drafts, Executor, Own, about,
            step::{Draft, Task},
        },
    },
    settings::{Need, Step, StepSettings, Work},
    tool::CommandLine,
};
/// Resolves all steps and completes them with the defaults.
pub(crate) fn resolve_steps(drafts: &Drafts, around: &Around<'_>, findings: &mut Findings) -> StepSettings {
    let mut list = |name| drafts.list(name).flatten().filter_map(|draft| around.step(draft, findings)).collect();
    let steps =
        StepSettings { before: list(Name::Before), migrate: list(Name::Steps), after: list(Name::After), health: None };
    if drafts.has(Name::Steps) && around.own.executor == Some(Executor::Sql) {
        let cause = "`steps` replace a tool's migration command, and `executor: sql` has no tool";
        let fix = "move them to `before` or `after`, or set `executor` to `image` or `server`";
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    steps
}

/// Defaults of steps that come from the inputs.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub(crate) own: Own<'a>,
    pub(crate) retries: u32,
    pub(crate) runner: &'a Runner,
}

impl Around<'_> {
    fn step(&self, draft: &Draft, findings: &mut Findings) -> Option<Step> {
        let work = match &draft.work {
            Task::Command { line, wish } => {
                let site =
                    wish.site(self.own).map_err(|misfit| wrong(draft, &format!("it {}", misfit.cause)).fix(misfit.fix));
                findings.warnings.extend(swallowed(draft, line));
                Work::Command { line: line.clone(), site: findings.keep(site)?? }
            }
            Task::Sql(written) => findings.keep(self.file(draft, written))?,
        };
        let Draft { name, timeout, need, when, .. } = draft;
        let retries = draft.retries.unwrap_or(self.retries);
        Some(Step { name: name.clone(), work, timeout: *timeout, retries, need: *need, when: *when })
    }

    fn file(&self, draft: &Draft, written: &str) -> Result<Work, Fault> {
        let path = self.runner.path(written);
        if path.is_file() {
            return Ok(Work::Sql { shown: self.runner.shown(&path), path });
        }
        if path.is_dir() {
            return Err(wrong(draft, &format!("`{written}` is a directory, and a step runs one file of SQL"))
                .fix("name a file in it; for several, write a step for each"));
        }
        Err(wrong(draft, &format!("there is no file `{written}`")).fix(
            "check the path, which begins at the top of the repository, and that actions/checkout ran before this step",
        ))
    }
}

fn wrong(draft: &Draft, cause: &str) -> Fault {
    about(Code::InputInvalid, &draft.title, draft.place.as_ref(), cause)
}

/// Returns a warning for a command whose shell text hides its failure; the failure of an optional step is in the
/// summary.
fn swallowed(draft: &Draft, line: &CommandLine) -> Option<Fault> {
    let CommandLine::Shell(text) = line else { return None };
    let forgets = |line: &str| line.trim_end().strip_suffix("true").is_some_and(|rest| rest.trim_end().ends_with("||"));
    let cause = "`|| true` hides failures";
    let fix = match draft.need {
        Need::Required => "remove it and set `optional: true`: the run goes on, and the summary shows the failure",
        Need::Optional => "remove it: with `optional: true` the run goes on, and the summary shows the failure",
    };
    text.lines().any(forgets).then(|| wrong(draft, cause).fix(fix))
}
