//! Resolves the rehearsal.

use super::{container::resolve_copy_image, database::ResolvedDatabase};
use crate::{
    fault::{Code, Fault},
    input::{
        findings::Findings,
        names::InputName,
        parse::{ParsedCopyPlace, ParsedRehearsal, parse_rehearse},
        source::Inputs,
    },
    postgres::DatabaseTarget,
    settings::{Command, CopyPlace, RehearsalSettings},
};

/// Resolves the rehearsal of `command: rehearse`; `None` for other commands, or if it has faults, which are recorded.
pub(super) fn resolve_rehearsal(
    inputs: &Inputs,
    command: Option<Command>,
    database: Option<&ResolvedDatabase>,
    findings: &mut Findings,
) -> Option<RehearsalSettings> {
    command.filter(|command| *command == Command::Rehearse)?;
    let label = inputs.label(InputName::Rehearse);
    let text = inputs.secret(InputName::Rehearse);
    let parsed = text.map_or_else(|| Ok(ParsedRehearsal::usual()), |text| parse_rehearse(text.expose(), &label));
    let ParsedRehearsal { place, content, max_age } = match parsed {
        Ok(parsed) => parsed,
        Err(faults) => {
            findings.faults.extend(faults);
            return None;
        }
    };
    let place = match place {
        ParsedCopyPlace::Server(server) => CopyPlace::Server(other_server(&label, server, database, findings)?),
        ParsedCopyPlace::Container(image) => CopyPlace::Container(resolve_copy_image(inputs, image, findings)?),
    };
    Some(RehearsalSettings { place, content, max_age })
}

/// Returns the server, unless it is obviously that of the database. A server by another name is recognised when it is
/// connected.
fn other_server(
    label: &str,
    server: Box<DatabaseTarget>,
    database: Option<&ResolvedDatabase>,
    findings: &mut Findings,
) -> Option<Box<DatabaseTarget>> {
    let is_same = |database: &ResolvedDatabase| {
        let target = &database.target;
        (server.host.as_str(), server.port, server.name.as_str())
            == (target.host.as_str(), target.port, target.name.as_str())
    };
    if !database.is_some_and(is_same) {
        return Some(server);
    }
    let cause = format!("{label} names the database to migrate itself");
    let fix = "name another server, whose databases nobody needs: the copies are made and dropped there";
    findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
    None
}
