//! Parses the health check.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about},
    site::{ExecutorChoice, SITES, SiteOverride},
    value,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    tool::CommandLine,
};
use serde_yaml::Value;
use std::time::Duration;

const KEYS: [&str; 6] = ["run", "executor", "image", "interval", "timeout", "retries"];

pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_RETRIES: u32 = 3;

/// The parsed input `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedHealth {
    /// `false`: no health check, regardless of the defaults.
    Off,
    Check(Box<ParsedHealthCheck>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedHealthCheck {
    pub(crate) title: String,
    pub(crate) position: Option<FilePosition>,
    pub(crate) line: Option<CommandLine>,
    pub(crate) site_override: SiteOverride,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

impl ParsedHealth {
    /// Returns the executor that the check is meant for.
    pub(crate) fn executor_in_use(&self, default_executor: ExecutorChoice) -> Option<ExecutorChoice> {
        match self {
            Self::Off => None,
            Self::Check(check) => Some(check.site_override.intended_executor(default_executor)),
        }
    }
}

/// Parses the mapping under `health`, or `false`.
pub(crate) fn parse_health(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedHealth> {
    let (title, position) = (origin.title.clone(), origin.positions.first().cloned());
    let mapping = match value {
        Value::Mapping(mapping) => mapping,
        Value::Bool(false) => return Some(ParsedHealth::Off),
        _ => {
            let fault =
                fault_about(Code::InputInvalid, &title, position.as_ref(), "it is neither a mapping nor `false`");
            faults.push(fault.fix("write it as `health: { run: … }`, or as `health: {}` for the tool's own check"));
            return None;
        }
    };
    let mut fields = MappingReader::new(mapping, title, position);
    fields.reject_unknown_keys(&KEYS);
    let line = fields.read_command_line("run");
    let site_override = SiteOverride {
        executor: fields.read_value("executor", |text| value::parse_choice(text, &SITES)),
        image: fields.read_value("image", crate::input::parse::image_reference::parse_image_reference),
    };
    let interval = fields.read_value("interval", value::parse_positive_duration).unwrap_or(DEFAULT_INTERVAL);
    let timeout = fields.read_value("timeout", value::parse_positive_duration).unwrap_or(DEFAULT_TIMEOUT);
    let retries = fields.read_value("retries", value::parse_retries).unwrap_or(DEFAULT_RETRIES);
    if !fields.has_value("run") && !site_override.is_empty() {
        let fix = "add `run`, or remove `executor` and `image`";
        fields.add_invalid("the tool's own check runs where the tool does", fix);
    }
    let MappingReader { title, position, faults: check_faults, .. } = fields;
    let is_valid = check_faults.is_empty();
    faults.extend(check_faults);
    let check = ParsedHealthCheck { title, position, line, site_override, interval, timeout, retries };
    is_valid.then(|| ParsedHealth::Check(Box::new(check)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Option<ParsedHealth>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`health`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_health(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    #[test]
    fn a_health_check_has_an_interval_a_timeout_and_retries() {
        let (Some(ParsedHealth::Check(check)), _) =
            parse_text("{ run: ./ready, interval: 30s, timeout: 1m, retries: 9 }")
        else {
            panic!("no question")
        };
        assert_eq!(
            (check.interval, check.timeout, check.retries),
            (Duration::from_secs(30), Duration::from_secs(60), 9)
        );
        let (Some(ParsedHealth::Check(check)), _) = parse_text("{}") else { panic!("no question") };
        assert_eq!((check.interval, check.timeout, check.retries), (DEFAULT_INTERVAL, DEFAULT_TIMEOUT, 3));
        assert_eq!(parse_text("false"), (Some(ParsedHealth::Off), Vec::new()));
    }

    #[test]
    fn reports_faults_of_the_mapping() {
        for (text, cause) in [
            ("[]", "`health`: it is neither a mapping nor `false`"),
            ("true", "`health`: it is neither a mapping nor `false`"),
            ("{ cmd: x }", "`health`: there is no key `cmd`"),
            ("{ run: x, interval: 0 }", "`interval` is `0`: it leaves no time"),
            ("{ executor: server }", "the tool's own check runs where the tool does"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert!(parsed.is_none() && faults.len() == 1 && faults[0].cause.contains(cause), "{text}: {faults:#?}");
        }
    }
}
