//! Resolves the rehearsal.

use super::database::ResolvedDatabase;
use crate::{
    fault::{Code, Fault},
    input::{findings::Findings, names::InputName, parse::parse_rehearse, source::Inputs},
    settings::{Command, RehearsalSettings},
};

/// Resolves the rehearsal of `command: rehearse`; `None` for other commands, or if it has faults, which are recorded.
pub(super) fn resolve_rehearsal(
    inputs: &Inputs,
    command: Option<Command>,
    database: Option<&ResolvedDatabase>,
    findings: &mut Findings,
) -> Option<RehearsalSettings> {
    command.filter(|command| *command == Command::Rehearse)?;
    let Some(text) = inputs.secret(InputName::Rehearse) else {
        let cause = "`rehearse` has no value, and `command: rehearse` needs a server for the copy";
        findings.faults.push(inputs.missing_fault(cause, &[InputName::Rehearse]));
        return None;
    };
    let settings = match parse_rehearse(text.expose(), &inputs.label(InputName::Rehearse)) {
        Ok(settings) => settings,
        Err(faults) => {
            findings.faults.extend(faults);
            return None;
        }
    };
    let is_same = |database: &ResolvedDatabase| {
        let (copy, target) = (&settings.server, &database.target);
        (copy.host.as_str(), copy.port, copy.name.as_str()) == (target.host.as_str(), target.port, target.name.as_str())
    };
    if database.is_some_and(is_same) {
        let cause = format!("{} names the database to migrate itself", inputs.label(InputName::Rehearse));
        let fix = "name another server, whose databases nobody needs: the copies are made and dropped there";
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
        return None;
    }
    Some(settings)
}
