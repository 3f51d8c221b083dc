//! The lines of `allow` in the digest of a plan: an approval covers what it accepts.

use crate::settings::Allowance;
use sha2::{Digest as _, Sha256};

/// Returns the digest of a plan together with what is accepted; without anything, the digest itself.
#[must_use]
pub fn with_allowances(digest: String, allowances: &[Allowance]) -> String {
    if allowances.is_empty() {
        return digest;
    }
    let mut parts: Vec<String> =
        allowances.iter().map(|allowance| format!("{}: {}", allowance.line(), allowance.reason)).collect();
    parts.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(b"bastion-migrate allow 1");
    for part in [digest].iter().chain(&parts) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AllowedSubject, DestructiveVerb};

    #[test]
    fn a_digest_covers_what_is_accepted_in_any_order() {
        let allow = |name: &str, reason: &str| Allowance {
            subject: AllowedSubject::Destruction { verb: DestructiveVerb::Drop, name: name.to_owned() },
            reason: reason.to_owned(),
        };
        let digest = |allowances: &[Allowance]| with_allowances("sha256:1".to_owned(), allowances);
        assert_eq!(digest(&[]), "sha256:1");
        assert_eq!(digest(&[allow("a", "x"), allow("b", "y")]), digest(&[allow("b", "y"), allow("a", "x")]));
        assert_ne!(digest(&[allow("a", "x")]), digest(&[allow("a", "y")]));
        assert_ne!(digest(&[allow("a", "x")]), digest(&[]));
    }
}
