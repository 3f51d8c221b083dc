//! What a user can write as `sslmode`, and what comes of it.

use super::target::SslMode;
use crate::transport::is_loopback;

/// How much TLS was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslWish {
    /// Nothing in particular: libpq's `prefer` and `allow`. There it falls back to plain text without a word, which an
    /// attacker on the way can bring about; here it is `require`, except to a loopback address.
    Usual,
    /// Exactly this.
    Mode(SslMode),
}

impl SslWish {
    /// The words that exist, for messages.
    pub const WORDS: &'static str = "disable, prefer, require, verify-ca or verify-full";

    /// Reads libpq's words.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "disable" => Some(Self::Mode(SslMode::Disable)),
            "allow" | "prefer" => Some(Self::Usual),
            "require" => Some(Self::Mode(SslMode::Require)),
            "verify-ca" => Some(Self::Mode(SslMode::VerifyCa)),
            "verify-full" => Some(Self::Mode(SslMode::VerifyFull)),
            _ => None,
        }
    }

    /// What it means for this host.
    #[must_use]
    pub fn for_host(self, host: &str) -> SslMode {
        match self {
            Self::Mode(mode) => mode,
            Self::Usual if is_loopback(host) => SslMode::Disable,
            Self::Usual => SslMode::Require,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_falls_back_to_plain_text_over_a_network() {
        for word in ["prefer", "allow"] {
            let wish = SslWish::parse(word).unwrap();
            assert_eq!(wish.for_host("db.internal"), SslMode::Require);
            assert_eq!(wish.for_host("localhost.example.com"), SslMode::Require);
            for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
                assert_eq!(wish.for_host(host), SslMode::Disable, "{host}");
            }
        }
    }

    #[test]
    fn a_mode_means_itself_everywhere() {
        for mode in [SslMode::Disable, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            let wish = SslWish::parse(mode.name()).unwrap();
            assert_eq!((wish.for_host("localhost"), wish.for_host("db")), (mode, mode));
        }
        assert_eq!(SslWish::parse("Require"), None);
    }
}
