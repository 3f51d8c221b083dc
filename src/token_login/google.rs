//! Access tokens of Google for Cloud SQL: from the metadata server of a machine of Google's, or by Workload Identity
//! Federation with GitHub's token.

use super::{
    cloud_request::{AccessToken, CloudRequest, unavailable},
    github_oidc::{OidcEndpoint, request_id_token},
};
use crate::{
    fault::Fault,
    https::NetworkSettings,
    secret::{Redactor, Secret},
};
use chrono::DateTime;
use serde_json::json;
use std::time::SystemTime;

/// The scope of a log-in (Google, "Cloud SQL: IAM authentication", "Log in with IAM database authentication").
const LOGIN_SCOPE: &str = "https://www.googleapis.com/auth/sqlservice.login";

/// The scope of the token that may impersonate a service account.
const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The type of a JSON body.
const JSON: &str = "application/json";

/// The log-in to Cloud SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleLogin {
    /// The federation; without it, the metadata server.
    pub provider: Option<GoogleProvider>,
    /// `GCE_METADATA_HOST`, else Google's own name.
    pub metadata_host: String,
}

/// Workload Identity Federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleProvider {
    /// The full name of the provider, as in `projects/1/locations/global/workloadIdentityPools/p/providers/github`.
    pub name: String,
    /// The service account to impersonate, if the pool itself may not log in.
    pub service_account: Option<String>,
    /// The source of GitHub's token.
    pub oidc: Option<OidcEndpoint>,
    /// The endpoint of the Security Token Service: `CLOUDSDK_API_ENDPOINT_OVERRIDES_STS`, else Google's.
    pub sts_endpoint: String,
    /// The endpoint for service accounts: `CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS`, else Google's.
    pub credentials_endpoint: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImpersonatedToken {
    access_token: String,
    expire_time: String,
}

impl GoogleLogin {
    /// Requests a token, and returns it with the time of its end.
    pub(super) async fn request_token(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        let Some(provider) = &self.provider else { return self.ask_metadata_server(network, redactor).await };
        let federated = provider.exchange_token(network, redactor).await?;
        match &provider.service_account {
            None => Ok(federated),
            Some(account) => provider.impersonate(account, &federated.0, network, redactor).await,
        }
    }

    /// Asks the metadata server (Google, "Access tokens from the metadata server").
    async fn ask_metadata_server(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        let path = "computeMetadata/v1/instance/service-accounts/default/token";
        let request = CloudRequest {
            purpose: "for an access token of the machine's service account".to_owned(),
            url: format!("http://{}/{path}?scopes={LOGIN_SCOPE}", self.metadata_host),
            headers: vec![("metadata-flavor", Secret::new("Google"))],
            body: None,
            refused_fix: "attach a service account with the scope `cloud-platform` to the machine of the runner, or set \
                `provider` in `database-auth`",
        };
        Ok(request.send_for_json::<AccessToken>(network, redactor).await?.into_token())
    }
}

impl GoogleProvider {
    /// Exchanges GitHub's token (Google, "Security Token Service API", `v1.token`).
    async fn exchange_token(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        // The audience that a provider accepts by default, as google-github-actions/auth requests it.
        let audience = format!("https://iam.googleapis.com/{}", self.name);
        let subject = request_id_token(self.oidc.as_ref(), &audience, network, redactor).await?;
        let scope = if self.service_account.is_some() { CLOUD_SCOPE } else { LOGIN_SCOPE };
        let body = json!({
            "audience": format!("//iam.googleapis.com/{}", self.name),
            "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "scope": scope,
            "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
            "subjectToken": subject.expose(),
        });
        let request = CloudRequest {
            purpose: format!("to exchange GitHub's token at `{}`", self.name),
            url: format!("{}/v1/token", self.sts_endpoint.trim_end_matches('/')),
            headers: Vec::new(),
            body: Some((JSON, Secret::new(body.to_string()))),
            refused_fix: "check `provider` in `database-auth`, and that its attribute condition accepts this repository",
        };
        let (token, expires) = request.send_for_json::<AccessToken>(network, redactor).await?.into_token();
        redactor.hide(&token);
        Ok((token, expires))
    }

    /// Obtains a token of a service account (Google, "IAM Service Account Credentials API", `generateAccessToken`).
    async fn impersonate(
        &self,
        account: &str,
        federated: &Secret,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        let endpoint = self.credentials_endpoint.trim_end_matches('/');
        let request = CloudRequest {
            purpose: format!("for an access token of `{account}`"),
            url: format!("{endpoint}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"),
            headers: vec![("authorization", Secret::new(format!("Bearer {}", federated.expose())))],
            body: Some((JSON, Secret::new(json!({ "scope": [LOGIN_SCOPE] }).to_string()))),
            refused_fix: "grant `roles/iam.workloadIdentityUser` on the service account in `role` of `database-auth` to the \
                pool's principal for this repository",
        };
        let answer: ImpersonatedToken = request.send_for_json(network, redactor).await?;
        let token = Secret::new(answer.access_token);
        let expires = DateTime::parse_from_rfc3339(&answer.expire_time);
        let expires = expires.map_err(|error| {
            unavailable("the answer of Google contains no time of expiry that can be read").with_causes(&error)
        })?;
        Ok((token, expires.into()))
    }
}

/// Returns the fix for a server that refuses the token.
pub(super) fn refusal_fix(role: &str) -> String {
    format!(
        "set the flag `cloudsql.iam_authentication` of the instance; add `{role}` as an IAM user of it (a service account \
         without `.gserviceaccount.com`); grant it `roles/cloudsql.instanceUser` and `roles/cloudsql.client`"
    )
}
