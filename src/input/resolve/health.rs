//! Resolves the health check.

use crate::{
    fault::Code,
    input::{
        findings::Findings,
        parse::{ExecutorChoice, ParsedHealth, ParsedHealthCheck, RunSite, fault_about},
    },
    settings::{HealthCheck, ToolSettings},
    tool::Verb,
};

/// Resolves the health check with the tool's own check as its default.
pub(crate) fn resolve_health(
    draft: Option<&ParsedHealth>,
    own: RunSite<'_>,
    tool: Option<&ToolSettings>,
    findings: &mut Findings,
) -> Option<HealthCheck> {
    let Some(ParsedHealth::Check(question)) = draft else { return None };
    let about = |cause: &str| fault_about(Code::InputInvalid, &question.title, question.place.as_ref(), cause);
    let (line, site) = match (&question.line, tool) {
        (Some(line), _) => {
            let site = question
                .wish
                .resolve_site(own)
                .map_err(|misfit| about(&format!("it {}", misfit.cause)).fix(misfit.fix));
            (line.clone(), findings.ok_or_record(site)??)
        }
        (None, Some(tool)) => {
            let check = tool.recipe.single_command(Verb::Check).map(|line| tool.with_prefix(line));
            let none = || {
                let cause = format!("`tool: {}` has no check of its own", tool.recipe.name);
                about(&cause).fix("add `run`, a command that checks whether the migration can begin")
            };
            (findings.ok_or_record(check.ok_or_else(none))?, tool.site.clone())
        }
        (None, None) => {
            if own.executor == Some(ExecutorChoice::Sql) {
                let fault = about("it has no `run`, and SQL files have no check of their own");
                findings.faults.push(fault.fix(
                    "add `run` and `executor` to it, or remove `health`: the run waits for the database in any case",
                ));
            }
            return None;
        }
    };
    let ParsedHealthCheck { interval, timeout, retries, .. } = **question;
    Some(HealthCheck { line, site, interval, timeout, retries })
}
