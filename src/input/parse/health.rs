//! Parses the health check.

use super::{
    mapping::{Fields, Origin, about},
    site::{Executor, SITES, Wish},
    value,
};
use crate::{
    fault::{Code, Fault, Place},
    tool::CommandLine,
};
use serde_yaml::Value;
use std::time::Duration;
const KEYS: [&str; 6] = ["run", "executor", "image", "interval", "timeout", "retries"];

pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

const RETRIES: u32 = 3;

/// The parsed input `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Draft {
    /// `false`: no health check, whatever the defaults are.
    Off,
    Asked(Box<Question>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) title: String,
    pub(crate) place: Option<Place>,
    pub(crate) line: Option<CommandLine>,
    pub(crate) wish: Wish,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

impl Draft {
    /// Returns the executor that the check is meant for.
    pub(crate) fn meant(&self, own: Executor) -> Option<Executor> {
        match self {
            Self::Off => None,
            Self::Asked(question) => Some(question.wish.meant(own)),
        }
    }
}

/// Parses the mapping under `health`, or `false`.
pub(crate) fn read(value: &Value, origin: &Origin) -> (Option<Draft>, Vec<Fault>) {
    let (title, place) = (origin.title.clone(), origin.places.first().cloned());
    let mapping = match value {
        Value::Mapping(mapping) => mapping,
        Value::Bool(false) => return (Some(Draft::Off), Vec::new()),
        _ => {
            let fault = about(Code::InputInvalid, &title, place.as_ref(), "it is neither a mapping nor `false`");
            return (
                None,
                vec![fault.fix("write it as `health: { run: … }`, or as `health: {}` for the tool's own check")],
            );
        }
    };
    let mut fields = Fields::new(mapping, title, place);
    fields.only(&KEYS);
    let line = fields.line("run");
    let wish = Wish {
        executor: fields.value("executor", |text| value::choice(text, &SITES)),
        image: fields.value("image", super::image_reference::reference),
    };
    let interval = fields.value("interval", value::positive_duration).unwrap_or(INTERVAL);
    let timeout = fields.value("timeout", value::positive_duration).unwrap_or(TIMEOUT);
    let retries = fields.value("retries", value::retries).unwrap_or(RETRIES);
    if !fields.has("run") && !wish.is_empty() {
        let fix = "add `run`, or remove `executor` and `image`";
        fields.invalid("the tool's own check runs where the tool does", fix);
    }
    let Fields { title, place, faults, .. } = fields;
    let question = Question { title, place, line, wish, interval, timeout, retries };
    (faults.is_empty().then(|| Draft::Asked(Box::new(question))), faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> (Option<Draft>, Vec<Fault>) {
        let origin = Origin { title: "`health`".to_owned(), places: Vec::new() };
        read(&serde_yaml::from_str(text).unwrap(), &origin)
    }

    #[test]
    fn a_health_check_has_an_interval_a_timeout_and_retries() {
        let (Some(Draft::Asked(question)), _) = draft("{ run: ./ready, interval: 30s, timeout: 1m, retries: 9 }")
        else {
            panic!("no question")
        };
        assert_eq!(
            (question.interval, question.timeout, question.retries),
            (Duration::from_secs(30), Duration::from_secs(60), 9)
        );
        let (Some(Draft::Asked(question)), _) = draft("{}") else { panic!("no question") };
        assert_eq!((question.interval, question.timeout, question.retries), (INTERVAL, TIMEOUT, 3));
        assert_eq!(draft("false"), (Some(Draft::Off), Vec::new()));
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
            let (draft, faults) = draft(text);
            assert!(draft.is_none() && faults.len() == 1 && faults[0].cause.contains(cause), "{text}: {faults:#?}");
        }
    }
}
