//! Tokens for Amazon RDS: signed with keys that the job has, or with those of a role that it assumes.

use super::{
    aws_keys::AwsKeys,
    cloud_request::{CloudRequest, FORM, unavailable},
    github_oidc::{OidcEndpoint, request_id_token},
    sigv4::{SignedLogin, presigned_token},
};
use crate::{
    fault::{Code, Fault},
    https::NetworkSettings,
    secret::{Redactor, Secret},
};
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The audience that AWS expects in GitHub's token (GitHub, "Configuring `OpenID` Connect in Amazon Web Services").
const AUDIENCE: &str = "sts.amazonaws.com";

/// A minute in seconds: tokens of the same minute are the same, so that a job with many connections masks few of them.
const MINUTE: u64 = 60;

/// The log-in to one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdsLogin {
    /// The instance's own host name, for which the token is signed.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role in the database.
    pub user: String,
    /// Its region, as in `eu-west-1`.
    pub region: String,
    /// The keys that sign.
    pub credentials: AwsCredentials,
}

/// The source of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsCredentials {
    /// Those that an earlier step, or the workflow, has put into the environment.
    Keys(AwsKeys),
    /// Those of a role that the job assumes.
    Role(AwsRole),
}

/// A role that trusts GitHub's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsRole {
    /// Its ARN.
    pub arn: String,
    /// The name of the session, for `CloudTrail`.
    pub session_name: String,
    /// The source of GitHub's token.
    pub oidc: Option<OidcEndpoint>,
    /// `AWS_ENDPOINT_URL_STS` or `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
}

impl RdsLogin {
    /// Returns the token of the minute.
    pub(super) fn sign_token(&self, keys: &AwsKeys, now: SystemTime) -> Secret {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let at = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(seconds - seconds % MINUTE));
        let login = SignedLogin { host: &self.host, port: self.port, user: &self.user, region: &self.region };
        presigned_token(login, keys, at)
    }

    /// Returns the keys that the job has.
    pub(super) fn own_keys(&self) -> Result<AwsKeys, Fault> {
        match &self.credentials {
            AwsCredentials::Keys(keys) => Ok(keys.clone()),
            AwsCredentials::Role(_) => Err(Fault::new(Code::Bug, "a role has no keys of its own")),
        }
    }

    /// Returns the fix for a server that refuses the token.
    pub(super) fn refusal_fix(&self, role: &str) -> String {
        let keys = match &self.credentials {
            AwsCredentials::Keys(AwsKeys { session_token: Some(_), .. }) => {
                "; the temporary keys in `AWS_SESSION_TOKEN` may have expired"
            }
            AwsCredentials::Keys(_) | AwsCredentials::Role(_) => "",
        };
        format!(
            "run `GRANT rds_iam TO \"{role}\"` on the server; allow `rds-db:connect` on \
             `arn:aws:rds-db:{}:ACCOUNT:dbuser:RESOURCE/{role}` in AWS; use the instance's own host name, here `{}`, and its \
             region{keys}",
            self.region, self.host
        )
    }
}

impl AwsRole {
    /// Assumes the role with a token of GitHub, and returns keys and the time of their end (AWS STS API,
    /// `AssumeRoleWithWebIdentity`, which is not signed).
    pub(super) async fn assume(
        &self,
        region: &str,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(AwsKeys, SystemTime), Fault> {
        let token = request_id_token(self.oidc.as_ref(), AUDIENCE, network, redactor).await?;
        let request = CloudRequest {
            purpose: format!("to assume the role `{}`", self.arn),
            url: self.endpoint.clone().unwrap_or_else(|| sts_endpoint(region)),
            headers: Vec::new(),
            body: Some((FORM, self.form(&token))),
            refused_fix: "let the role's trust policy allow `sts:AssumeRoleWithWebIdentity` for \
                `token.actions.githubusercontent.com`, the audience `sts.amazonaws.com`, and the `sub` of this repository and \
                environment",
        };
        let answer = Secret::new(request.send(network, redactor).await?);
        let field = |name: &str| xml_text(answer.expose(), name);
        let keys = || {
            let expires = DateTime::parse_from_rfc3339(&field("Expiration")?).ok()?;
            let secret_access_key = Secret::new(field("SecretAccessKey")?);
            let session_token = Secret::new(field("SessionToken")?);
            redactor.hide(&secret_access_key);
            redactor.hide(&session_token);
            let access_key_id = field("AccessKeyId")?;
            Some((AwsKeys { access_key_id, secret_access_key, session_token: Some(session_token) }, expires.into()))
        };
        keys().ok_or_else(|| unavailable(&format!("the answer of AWS contains no keys of the role `{}`", self.arn)))
    }

    fn form(&self, token: &Secret) -> Secret {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.arn),
            ("RoleSessionName", &self.session_name),
            ("WebIdentityToken", token.expose()),
        ];
        let pair = |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        Secret::new(fields.map(pair).join("&"))
    }
}

/// Returns the endpoint of STS in this region (AWS, "AWS STS Regions and endpoints"); China has a partition of its own.
fn sts_endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{suffix}/")
}

/// Returns the text in the first element of this name, which has no attributes in an answer of STS.
fn xml_text(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim().replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> RdsLogin {
        let keys = AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        };
        RdsLogin {
            host: "db".to_owned(),
            port: 5432,
            user: "app".to_owned(),
            region: "eu-west-1".to_owned(),
            credentials: AwsCredentials::Keys(keys),
        }
    }

    #[test]
    fn a_token_changes_with_the_minute() {
        let (login, begin) = (login(), UNIX_EPOCH + Duration::from_secs(1_700_000_040));
        let token = |seconds| login.sign_token(&login.own_keys().unwrap(), begin + Duration::from_secs(seconds));
        assert_eq!(token(0), token(59));
        assert_ne!(token(0), token(60));
        assert!(token(59).expose().contains("X-Amz-Date=20231114T221400Z"), "{}", token(59).expose());
    }

    #[test]
    fn reads_the_answer_of_sts() {
        let answer = "<A><Credentials><SessionToken>a&amp;b</SessionToken><SecretAccessKey/></Credentials></A>";
        assert_eq!(xml_text(answer, "SessionToken").as_deref(), Some("a&b"));
        assert_eq!((xml_text(answer, "SecretAccessKey"), xml_text(answer, "Expiration")), (None, None));
    }

    #[test]
    fn sts_is_asked_in_the_region_of_the_database() {
        assert_eq!(sts_endpoint("eu-west-1"), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(sts_endpoint("cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn/");
    }
}
