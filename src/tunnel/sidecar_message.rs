//! Messages from the process that keeps a tunnel open to the step that started it: one line each, behind a token that
//! no other process knows.

use crate::{
    fault::Fault,
    run::{BastionFacts, DatabaseFacts, event::Event},
};
use serde_json::{Value, json};

/// A message of that process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarMessage {
    /// The bastion that the tunnel uses.
    Bastion(BastionFacts),
    /// The database that responded.
    Database(DatabaseFacts),
    /// The tunnel accepts clients.
    Ready,
    /// The fault that ended the tunnel.
    Fault(Fault),
}

impl SidecarMessage {
    /// Returns the message for an event; most events are only lines of a log.
    #[must_use]
    pub fn from_event(event: &Event) -> Option<Self> {
        match event {
            Event::Bastion(facts) => Some(Self::Bastion(facts.clone())),
            Event::Database(facts) => Some(Self::Database(facts.clone())),
            Event::Fault(fault) => Some(Self::Fault(fault.clone())),
            _ => None,
        }
    }

    /// Returns the message as a line.
    #[must_use]
    pub fn to_line(&self, token: &str) -> String {
        let (keyword, value) = match self {
            Self::Bastion(facts) => ("bastion", serde_json::to_value(facts)),
            Self::Database(facts) => ("database", serde_json::to_value(facts)),
            Self::Fault(fault) => ("fault", serde_json::to_value(fault)),
            Self::Ready => ("ready", Ok(json!(null))),
        };
        format!("{token} {keyword} {}", value.unwrap_or_default())
    }

    /// Parses such a line, without its token; returns `None` for one that is damaged.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (keyword, value) = line.trim_start().split_once(' ')?;
        let value: Value = serde_json::from_str(value).ok()?;
        match keyword {
            "bastion" => serde_json::from_value(value).ok().map(Self::Bastion),
            "database" => serde_json::from_value(value).ok().map(Self::Database),
            "ready" => Some(Self::Ready),
            "fault" => serde_json::from_value(value).ok().map(Self::Fault),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Code, Stage};

    fn bastion() -> BastionFacts {
        let [host, user, host_key, login] = ["bastion", "deploy", "ssh-ed25519 SHA256:abc", "key"].map(str::to_owned);
        let [host_certificate, certificate] = ["id of a host", "id of a user"].map(|id| Some(id.to_owned()));
        BastionFacts { host, port: 22, user, banner: String::new(), host_key, host_certificate, login, certificate }
    }

    fn database() -> DatabaseFacts {
        let [host, name, role, version, tls] = ["db", "shop", "app", "16.4", "require"].map(str::to_owned);
        DatabaseFacts { host, port: 5432, name, role, acting_role: None, version, tls, pooler: None }
    }

    #[test]
    fn every_message_survives_the_round_trip() {
        let fault = Fault::new(Code::DatabaseLogin, "no").fix("try").detail("server: x").in_stage(Stage::Verify);
        for message in [
            SidecarMessage::Ready,
            SidecarMessage::Fault(fault),
            SidecarMessage::Bastion(bastion()),
            SidecarMessage::Database(database()),
        ] {
            let line = message.to_line("token");
            assert_eq!(line.strip_prefix("token").and_then(SidecarMessage::parse), Some(message), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_no_message_is_ignored() {
        for line in ["", " ready", " fault {}", " database {\"port\": ***}", " other null"] {
            assert_eq!(SidecarMessage::parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_event_without_a_message_stays_a_log_line() {
        assert_eq!(SidecarMessage::from_event(&Event::Note("x".to_owned())), None);
        assert_eq!(
            SidecarMessage::from_event(&Event::Database(database())),
            Some(SidecarMessage::Database(database()))
        );
    }
}
