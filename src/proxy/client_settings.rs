//! The settings that the proxy adds to its clients' sessions.

use super::startup_packet::{self, InjectedOptions};
use std::{io, time::Duration};

/// The settings added to a client's start-up packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSessionSettings {
    /// The server keeps 63 bytes at most; see [`crate::postgres::run_lock::application_name`].
    pub application_name: String,
    /// Names and values, as in `lock_timeout` and `5000`. The client's own settings win over them.
    pub defaults: Vec<(String, String)>,
    /// Settings behind the client's own ones, so that its start-up packet can't override them.
    pub enforced: Vec<(String, String)>,
}

impl ClientSessionSettings {
    /// Returns all settings as the value of libpq's PGOPTIONS.
    #[must_use]
    pub fn as_pgoptions(&self) -> String {
        let all = self.defaults.iter().chain(&self.enforced);
        all.map(|(name, value)| format!("-c {name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// Encodes the settings for start-up packets.
    ///
    /// # Errors
    /// If a setting contains a NUL, which the protocol can't transmit.
    pub(crate) fn encode_settings(self) -> io::Result<EncodedSettings> {
        let lock_timeout = self.defaults.iter().find(|(name, _)| name == "lock_timeout");
        let lock_timeout = lock_timeout.and_then(|(_, millis)| millis.parse().ok()).map(Duration::from_millis);
        let options = InjectedOptions {
            before: startup_packet::encode_options(&self.defaults),
            after: startup_packet::encode_options(&self.enforced),
        };
        if [&self.application_name, &options.before, &options.after].iter().any(|text| text.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a setting contains a NUL"));
        }
        Ok(EncodedSettings {
            application_name: self.application_name,
            options,
            lock_timeout: lock_timeout.unwrap_or_default(),
        })
    }
}

/// The settings as they are added to start-up packets.
#[derive(Debug, Clone)]
pub(crate) struct EncodedSettings {
    pub(crate) application_name: String,
    pub(crate) options: InjectedOptions,
    /// The lock timeout among them, for the statements for which it is disabled.
    pub(crate) lock_timeout: Duration,
}
