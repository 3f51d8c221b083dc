//! The end of a token's life, as far as the token itself contains it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::NaiveDateTime;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the end of a token of RDS (AWS Signature Version 4, `X-Amz-Date` and `X-Amz-Expires`) or of a JSON Web Token
/// (RFC 7519, 4.1.4); none of an opaque one.
pub(super) fn expiry_of(token: &str) -> Option<SystemTime> {
    presigned_expiry(token).or_else(|| jwt_expiry(token))
}

fn presigned_expiry(token: &str) -> Option<SystemTime> {
    let (_, query) = token.split_once('?')?;
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let signed = NaiveDateTime::parse_from_str(parameter("X-Amz-Date")?, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    let lifetime = Duration::from_secs(parameter("X-Amz-Expires")?.parse().ok()?);
    Some(SystemTime::from(signed) + lifetime)
}

fn jwt_expiry(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: u64,
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_end_in_both_kinds_of_tokens() {
        let rds = "db:5432/?Action=connect&X-Amz-Date=20231114T221320Z&X-Amz-Expires=900&X-Amz-Signature=00";
        assert_eq!(expiry_of(rds), Some(UNIX_EPOCH + Duration::from_secs(1_700_000_900)));
        let payload = URL_SAFE_NO_PAD.encode(r#"{"aud":"x","exp":1700000000}"#);
        assert_eq!(expiry_of(&format!("e30.{payload}.sig")), Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    }

    #[test]
    fn another_text_has_no_end() {
        for text in ["", "ya29.a0AfB.opaque", "a?X-Amz-Date=yesterday&X-Amz-Expires=900", "password"] {
            assert_eq!(expiry_of(text), None, "{text}");
        }
    }
}
