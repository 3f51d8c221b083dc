//! The settings that the proxy adds to its clients' sessions.

use super::startup_packet::InjectedOptions;
use crate::postgres::SessionSettings;
use std::{io, time::Duration};

/// The settings as they are added to start-up packets.
#[derive(Debug, Clone)]
pub(crate) struct EncodedSettings {
    pub(crate) application_name: String,
    pub(crate) options: InjectedOptions,
    /// The lock timeout among them, for the statements for which it is disabled.
    pub(crate) lock_timeout: Duration,
}

impl EncodedSettings {
    /// Encodes the settings.
    ///
    /// # Errors
    /// If a setting contains a NUL, which the protocol can't transmit.
    pub(crate) fn encode(settings: SessionSettings) -> io::Result<Self> {
        let options = InjectedOptions { before: settings.default_options(), after: settings.enforced_options() };
        if [&settings.application_name, &options.before, &options.after].iter().any(|text| text.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a setting contains a NUL"));
        }
        let lock_timeout = settings.lock_timeout();
        Ok(Self { application_name: settings.application_name, options, lock_timeout })
    }
}
