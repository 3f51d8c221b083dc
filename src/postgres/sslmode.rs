//! The `sslmode` that a user can write, and the TLS mode that results from it.

use super::target::SslMode;
use crate::transport::is_loopback;

/// The requested TLS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslRequest {
    /// libpq's `prefer` and `allow`. libpq then falls back to plain text silently, which an attacker on the network can
    /// force; here they mean `require`, except for a loopback address.
    Prefer,
    /// Exactly this mode.
    Mode(SslMode),
}

impl SslRequest {
    /// The accepted values, for messages.
    pub const ACCEPTED: &'static str = "disable, prefer, require, verify-ca or verify-full";

    /// Parses libpq's values.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disable" => Some(Self::Mode(SslMode::Disable)),
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Mode(SslMode::Require)),
            "verify-ca" => Some(Self::Mode(SslMode::VerifyCa)),
            "verify-full" => Some(Self::Mode(SslMode::VerifyFull)),
            _ => None,
        }
    }

    /// Returns the TLS mode for this host.
    #[must_use]
    pub fn mode_for_host(self, host: &str) -> SslMode {
        match self {
            Self::Mode(mode) => mode,
            Self::Prefer if is_loopback(host) => SslMode::Disable,
            Self::Prefer => SslMode::Require,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefer_does_not_fall_back_to_plain_text_over_a_network() {
        for text in ["prefer", "allow"] {
            let request = SslRequest::parse(text).unwrap();
            assert_eq!(request.mode_for_host("db.internal"), SslMode::Require);
            assert_eq!(request.mode_for_host("localhost.example.com"), SslMode::Require);
            for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
                assert_eq!(request.mode_for_host(host), SslMode::Disable, "{host}");
            }
        }
    }

    #[test]
    fn every_other_mode_is_the_same_for_every_host() {
        for mode in [SslMode::Disable, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            let request = SslRequest::parse(mode.name()).unwrap();
            assert_eq!((request.mode_for_host("localhost"), request.mode_for_host("db")), (mode, mode));
        }
        assert_eq!(SslRequest::parse("Require"), None);
    }
}
