//! Resolves the inputs for containers.

use super::{database::ResolvedDatabase, registry::resolve_credentials};
use crate::{
    docker::PullPolicy,
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            split_words,
            value::{self, InvalidValue},
        },
        source::Inputs,
    },
    settings::{CopyImage, ImageSettings, Workspace},
};

const PULLS: [(&str, PullPolicy); 3] =
    [("missing", PullPolicy::Missing), ("always", PullPolicy::Always), ("never", PullPolicy::Never)];
const WORKSPACES: [(&str, Workspace); 3] =
    [("false", Workspace::Hidden), ("read-only", Workspace::ReadOnly), ("read-write", Workspace::ReadWrite)];

/// Least memory that the engine accepts (moby, `daemon/daemon_unix.go`).
const MIN_MEMORY: i64 = 6 << 20;

/// Resolves the settings common to all containers, except the tool's working directory.
pub(crate) fn resolve_image_settings(
    inputs: &Inputs,
    database: Option<&ResolvedDatabase>,
    findings: &mut Findings,
) -> Option<ImageSettings> {
    let pull = findings.ok_or_record(inputs.required(InputName::Pull, |text| value::parse_choice(text, &PULLS)));
    let credentials = findings.ok_or_record(resolve_credentials(inputs));
    let workspace = findings
        .ok_or_record(inputs.required(InputName::MountWorkspace, |text| value::parse_choice(text, &WORKSPACES)));
    let memory = findings.ok_or_record(inputs.optional(InputName::Memory, parse_memory));
    let entrypoint = findings.ok_or_record(inputs.optional(InputName::ImageEntrypoint, parse_entrypoint));
    Some(ImageSettings {
        pull: pull?,
        credentials: credentials?,
        workspace: workspace?,
        entrypoint: entrypoint?,
        working_directory: None,
        memory: memory?,
        database_url: database.map(|database| database.url.clone()),
    })
}

/// Resolves the image of the server that is started for a rehearsal.
pub(crate) fn resolve_copy_image(
    inputs: &Inputs,
    reference: Option<String>,
    findings: &mut Findings,
) -> Option<CopyImage> {
    let pull = findings.ok_or_record(inputs.required(InputName::Pull, |text| value::parse_choice(text, &PULLS)));
    let credentials = findings.ok_or_record(resolve_credentials(inputs));
    Some(CopyImage { reference, pull: pull?, credentials: credentials? })
}

/// Word for "no entrypoint": an empty input counts as not given.
const NO_ENTRYPOINT: &str = "none";

fn parse_entrypoint(text: &str) -> Result<Vec<String>, InvalidValue> {
    if text == NO_ENTRYPOINT { Ok(Vec::new()) } else { split_words(text) }
}

/// Parses a directory of an image: there is no base for a relative one.
pub(crate) fn parse_image_directory(text: &str) -> Result<String, InvalidValue> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let example = format!("the absolute path in the image, as in `/app/{}`", text.trim_start_matches("./"));
    Err(InvalidValue::new("is not an absolute path, as a directory in an image has to be", example))
}

/// Parses an amount of memory: `512m`, `2g`; a plain number counts as bytes, as for `docker run`.
fn parse_memory(text: &str) -> Result<i64, InvalidValue> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let units = [("k", 1_i64 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    let unit = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    let bytes = number.parse::<i64>().ok().filter(|number| *number > 0).and_then(|number| number.checked_mul(size));
    match bytes {
        Some(bytes) if bytes >= MIN_MEMORY => Ok(bytes),
        Some(_) => Err(InvalidValue::new("is too little for any container", "6m or more")),
        None => Err(InvalidValue::new("is not an amount of memory", "a number and a unit, as in 512m or 2g")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_amounts_of_memory_as_docker_does() {
        assert_eq!(parse_memory("512m"), Ok(512 << 20));
        assert_eq!(parse_memory("2G"), Ok(2 << 30));
        assert_eq!(parse_memory("8388608"), Ok(8 << 20));
        for invalid in ["", "m", "-1g", "1m", "lots", "1.5g"] {
            assert!(parse_memory(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn an_entrypoint_is_words_or_none() {
        assert_eq!(parse_entrypoint("none"), Ok(Vec::new()));
        let argv = ["tini", "--", "a b"].map(str::to_owned).to_vec();
        assert_eq!(parse_entrypoint("tini -- 'a b'"), Ok(argv));
        assert!(parse_entrypoint("tini 'a").is_err());
    }
}
