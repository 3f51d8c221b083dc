//! Signature Version 4 of AWS, for the one request that RDS takes as a password: a presigned `connect` (AWS, "Create a
//! signed AWS API request"; botocore, `generate_db_auth_token`, whose bytes are the same).

use super::aws_keys::AwsKeys;
use crate::secret::Secret;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

/// All characters but the unreserved ones (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Lifetime of a token, in seconds: RDS accepts no other (AWS, "IAM database authentication").
const LIFETIME_SECONDS: &str = "900";

const SERVICE: &str = "rds-db";

/// The port that the header `host` does not contain.
const HTTPS_PORT: u16 = 443;

/// The log-in that a token is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedLogin<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) region: &'a str,
}

/// Returns the token: the presigned URL without its scheme.
pub(super) fn presigned_token(login: SignedLogin<'_>, keys: &AwsKeys, at: DateTime<Utc>) -> Secret {
    let (date, timestamp) = (at.format("%Y%m%d").to_string(), at.format("%Y%m%dT%H%M%SZ").to_string());
    let scope = format!("{date}/{}/{SERVICE}/aws4_request", login.region);
    let mut parameters = vec![
        ("Action", "connect".to_owned()),
        ("DBUser", login.user.to_owned()),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("{}/{scope}", keys.access_key_id)),
        ("X-Amz-Date", timestamp.clone()),
        ("X-Amz-Expires", LIFETIME_SECONDS.to_owned()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    if let Some(token) = &keys.session_token {
        parameters.push(("X-Amz-Security-Token", token.expose().to_owned()));
    }
    let query = join_encoded(&parameters);
    // The names are plain ASCII, so their order is that of their encoded forms.
    parameters.sort_by_key(|(name, _)| *name);
    let host = if login.port == HTTPS_PORT { login.host.to_owned() } else { format!("{}:{}", login.host, login.port) };
    let body_digest = hex::encode(Sha256::digest(b""));
    let canonical_query = join_encoded(&parameters);
    let canonical_host = host.to_lowercase();
    let request = format!("GET\n/\n{canonical_query}\nhost:{canonical_host}\n\nhost\n{body_digest}");
    let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex::encode(Sha256::digest(&request)));
    let first_key = Secret::new(format!("AWS4{}", keys.secret_access_key.expose()));
    let key = [date.as_str(), login.region, SERVICE, "aws4_request"]
        .iter()
        .fold(first_key.expose().as_bytes().to_vec(), |key, part| keyed_digest(&key, part));
    let signature = hex::encode(keyed_digest(&key, &to_sign));
    Secret::new(format!("{}:{}/?{query}&X-Amz-Signature={signature}", login.host, login.port))
}

fn join_encoded(parameters: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, ENCODED));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn keyed_digest(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens of botocore; `tests/cases/rds-tokens.py` writes them.
    const VECTORS: &str = include_str!("../../tests/cases/rds-tokens.json");

    #[derive(serde::Deserialize)]
    struct Vector {
        host: String,
        port: u16,
        user: String,
        region: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        seconds: i64,
        token: String,
    }

    #[test]
    fn a_token_has_the_bytes_of_botocore() {
        let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.len(), 10);
        for vector in vectors {
            let keys = AwsKeys {
                access_key_id: vector.access_key_id,
                secret_access_key: Secret::new(vector.secret_access_key),
                session_token: vector.session_token.map(Secret::new),
            };
            let login =
                SignedLogin { host: &vector.host, port: vector.port, user: &vector.user, region: &vector.region };
            let at = DateTime::from_timestamp(vector.seconds, 0).unwrap();
            assert_eq!(presigned_token(login, &keys, at).expose(), vector.token);
        }
    }
}
