//! The settings that the proxy adds to its clients' sessions.

use super::{
    error_response,
    lock_timeout::LockTimeoutSwitch,
    startup_packet::{self, InjectedOptions},
};
use crate::{
    fault::Fault,
    postgres::{SessionSettings, SettingsDelivery, set_for_session_sql},
};
use std::{io, time::Duration};

/// The settings as they are added to start-up packets.
#[derive(Debug, Clone)]
pub(crate) struct EncodedSettings {
    pub(crate) application_name: String,
    pub(crate) options: InjectedOptions,
    /// The lock timeout among them, for the statements for which it is disabled.
    pub(crate) lock_timeout: Duration,
    /// The settings that statements set instead, behind a pooler.
    statements: Option<SessionSettings>,
}

/// A client's session before it begins: its start-up packet, and the treatment of its statements.
pub(crate) struct PreparedSession {
    pub(crate) packet: Vec<u8>,
    pub(crate) switch: LockTimeoutSwitch,
}

impl EncodedSettings {
    /// Encodes the settings.
    ///
    /// # Errors
    /// If a setting contains a NUL, which the protocol can't transmit.
    pub(crate) fn encode(settings: SessionSettings) -> io::Result<Self> {
        let mut options = InjectedOptions { before: settings.default_options(), after: settings.enforced_options() };
        if [&settings.application_name, &options.before, &options.after].iter().any(|text| text.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a setting contains a NUL"));
        }
        let (lock_timeout, application_name) = (settings.lock_timeout(), settings.application_name.clone());
        let statements = (settings.delivery() == SettingsDelivery::Statements).then_some(settings);
        if statements.is_some() {
            options = InjectedOptions::default();
        }
        Ok(Self { application_name, options, lock_timeout, statements })
    }

    /// Adds the settings to a client's session. Behind a pooler, statements before its first one set them, together with
    /// the client's own `options`, which the pooler would refuse.
    ///
    /// # Errors
    /// The last message to a client whose settings can't be added.
    pub(crate) fn prepare_session(&self, packet: &[u8]) -> Result<PreparedSession, Vec<u8>> {
        let with_ours = |packet: &[u8]| {
            startup_packet::with_injected_options(packet, &self.application_name, &self.options)
                .ok_or_else(error_response::protocol_violation)
        };
        let switch = LockTimeoutSwitch::new(self.lock_timeout);
        let Some(settings) = &self.statements else {
            return Ok(PreparedSession { packet: with_ours(packet)?, switch });
        };
        let (rest, client_options) =
            startup_packet::take_options(packet).ok_or_else(error_response::protocol_violation)?;
        let opening = opening_statements(settings, &client_options);
        let opening = opening.map_err(|fault| error_response::connection_failure(&fault))?;
        Ok(PreparedSession { packet: with_ours(&rest)?, switch: switch.with_opening(opening) })
    }
}

/// Returns the statements that set these settings. The enforced ones have a statement of their own: another setting may
/// be refused.
fn opening_statements(settings: &SessionSettings, client_options: &str) -> Result<Vec<String>, Fault> {
    let all = settings.for_statements(Some(client_options))?;
    let enforced = settings.enforced_settings();
    let statements = [all.as_slice(), enforced].into_iter().filter(|settings| !settings.is_empty());
    Ok(statements.map(set_for_session_sql).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::wire_format::encode_packet;

    fn prepared(delivery: SettingsDelivery, options: &str) -> Result<(String, String), Vec<u8>> {
        let settings = SessionSettings::named("we").with_default("a", "1").read_only().delivered(delivery);
        let text = format!("user\0me\0options\0{options}\0\0");
        let packet = encode_packet(&[&(3_u32 << 16).to_be_bytes(), text.as_bytes()].concat());
        let prepared = EncodedSettings::encode(settings).unwrap().prepare_session(&packet)?;
        let packet = String::from_utf8(prepared.packet[8..].to_vec()).unwrap();
        Ok((packet, format!("{:?}", prepared.switch)))
    }

    #[test]
    fn behind_a_pooler_statements_set_the_clients_options_as_well() {
        let (packet, switch) = prepared(SettingsDelivery::Statements, "-c b=2").unwrap();
        assert_eq!(packet, "user\0me\0application_name\0we\0\0");
        let at = |text: &str| switch.find(text).unwrap_or_else(|| panic!("{text} is missing in {switch}"));
        assert!(at("('a', '1', false)") < at("('b', '2', false)"), "{switch}");
        assert!(at("('b', '2', false)") < at("default_transaction_read_only"), "{switch}");
        let (packet, switch) = prepared(SettingsDelivery::StartupPacket, "-c b=2").unwrap();
        assert!(packet.contains("options\0-c a=1 -c b=2"), "{packet}");
        assert!(!switch.contains("set_config"), "{switch}");
    }

    #[test]
    fn an_option_that_no_statement_can_set_is_an_error_for_the_client() {
        let error = prepared(SettingsDelivery::Statements, "-B 16").unwrap_err();
        assert!(String::from_utf8_lossy(&error).contains("`-B` in `options`"));
    }
}
