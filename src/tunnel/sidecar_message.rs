//! What the process that keeps a tunnel tells the step that has started it: a line each, behind a token that nobody else knows.

use crate::{
    fault::{Code, Fault},
    run::{BastionFacts, DatabaseFacts, event::Event},
};
use serde_json::{Value, json};

/// One thing that it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tiding {
    /// The bastion that it goes through.
    Bastion(BastionFacts),
    /// The database that has answered.
    Database(DatabaseFacts),
    /// Clients can come.
    Ready,
    /// Why there is no way, or none any more.
    Fault(Fault),
}

impl Tiding {
    /// What an event is to the other side; most are nothing but lines of a log.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Bastion(facts) => Some(Self::Bastion(facts.clone())),
            Event::Database(facts) => Some(Self::Database(facts.clone())),
            Event::Fault(fault) => Some(Self::Fault(fault.clone())),
            _ => None,
        }
    }

    /// As a line.
    #[must_use]
    pub fn written(&self, token: &str) -> String {
        let (word, value) = match self {
            Self::Bastion(facts) => ("bastion", serde_json::to_value(facts)),
            Self::Database(facts) => ("database", serde_json::to_value(facts)),
            Self::Fault(fault) => ("fault", serde_json::to_value(fault)),
            Self::Ready => ("ready", Ok(json!(null))),
        };
        format!("{token} {word} {}", value.unwrap_or_default())
    }

    /// Reads such a line back, without its token; nothing comes of one that has lost a part on its way.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (word, value) = line.trim_start().split_once(' ')?;
        let value: Value = serde_json::from_str(value).ok()?;
        match word {
            "bastion" => serde_json::from_value(value).ok().map(Self::Bastion),
            "database" => serde_json::from_value(value).ok().map(Self::Database),
            "ready" => Some(Self::Ready),
            "fault" => fault(&value).map(Self::Fault),
            _ => None,
        }
    }
}

fn fault(told: &Value) -> Option<Fault> {
    let field = |name: &str| told.get(name)?.as_str().map(str::to_owned);
    let code = field("code")?;
    let code = Code::ALL.iter().find(|known| known.name() == code)?;
    let details = told.get("detail")?.as_array()?.iter().filter_map(Value::as_str);
    let known = Fault::new(*code, field("cause")?).fix(field("fix")?);
    Some(details.fold(known, Fault::detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bastion() -> BastionFacts {
        let [host, user, host_key, login] = ["bastion", "deploy", "ssh-ed25519 SHA256:abc", "key"].map(str::to_owned);
        BastionFacts { host, port: 22, user, host_key, login }
    }

    fn database() -> DatabaseFacts {
        let [host, name, role, version, tls] = ["db", "shop", "app", "16.4", "require"].map(str::to_owned);
        DatabaseFacts { host, port: 5432, name, role, version, tls }
    }

    #[test]
    fn everything_survives_its_way_to_the_other_side() {
        let fault = Fault::new(Code::DatabaseLogin, "no").fix("try").detail("server: x");
        for tiding in [Tiding::Ready, Tiding::Fault(fault), Tiding::Bastion(bastion()), Tiding::Database(database())] {
            let line = tiding.written("token");
            assert_eq!(line.strip_prefix("token").and_then(Tiding::read), Some(tiding), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_nothing() {
        for line in ["", " ready", " fault {}", " database {\"port\": ***}", " other null"] {
            assert_eq!(Tiding::read(line), None, "{line}");
        }
    }

    #[test]
    fn an_event_that_the_other_side_has_no_use_for_stays_a_line() {
        assert_eq!(Tiding::of(&Event::Note("x".to_owned())), None);
        assert_eq!(Tiding::of(&Event::Database(database())), Some(Tiding::Database(database())));
    }
}
