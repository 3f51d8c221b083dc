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
    parsed: Option<&ParsedHealth>,
    run_site: RunSite<'_>,
    tool: Option<&ToolSettings>,
    findings: &mut Findings,
) -> Option<HealthCheck> {
    let Some(ParsedHealth::Check(health_check)) = parsed else { return None };
    let invalid_fault =
        |cause: &str| fault_about(Code::InputInvalid, &health_check.title, health_check.position.as_ref(), cause);
    let (line, site) = match (&health_check.line, tool) {
        (Some(line), _) => {
            let site = health_check
                .site_override
                .resolve_site(run_site)
                .map_err(|invalid| invalid_fault(&format!("it {}", invalid.cause)).fix(invalid.fix));
            (line.clone(), findings.ok_or_record(site)??)
        }
        (None, Some(tool)) => {
            let check = tool.recipe.single_command(Verb::Check).map(|line| tool.with_prefix(line));
            let none = || {
                let cause = format!("`tool: {}` has no check of its own", tool.recipe.name);
                invalid_fault(&cause).fix("add `run`, a command that checks whether the migration can begin")
            };
            (findings.ok_or_record(check.ok_or_else(none))?, tool.site.clone())
        }
        (None, None) => {
            if run_site.executor == Some(ExecutorChoice::Sql) {
                let fault = invalid_fault("it has no `run`, and SQL files have no check of their own");
                findings.faults.push(fault.fix(
                    "add `run` and `executor` to it, or remove `health`: the run waits for the database in any case",
                ));
            }
            return None;
        }
    };
    let ParsedHealthCheck { interval, timeout, retries, .. } = **health_check;
    Some(HealthCheck { line, site, interval, timeout, retries })
}
