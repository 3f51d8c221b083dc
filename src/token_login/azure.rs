//! Access tokens of Microsoft Entra ID for Azure Database for PostgreSQL: by GitHub's token, or from the managed identity
//! of a machine of Azure's.

use super::{
    cloud_request::{AccessToken, CloudRequest, FORM},
    github_oidc::{OidcEndpoint, request_id_token},
};
use crate::{
    fault::Fault,
    https::NetworkSettings,
    secret::{Redactor, Secret},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::SystemTime;

/// The resource of a log-in (Microsoft, "Use Microsoft Entra ID for authentication with Azure Database for PostgreSQL").
const RESOURCE: &str = "https://ossrdbms-aad.database.windows.net";

/// The audience that Entra ID expects in GitHub's token (Microsoft, "Workload identity federation").
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// The log-in to Azure Database for PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureLogin {
    /// The application with a federated credential; without it, the machine's managed identity.
    pub application: Option<AzureApplication>,
    /// The client id of one of several managed identities.
    pub managed_client_id: Option<String>,
    /// The server of managed identities: `AZURE_POD_IDENTITY_AUTHORITY_HOST`, else Azure's address.
    pub metadata_endpoint: String,
}

/// An application, or a user-assigned identity, that trusts GitHub's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureApplication {
    /// The tenant's id.
    pub tenant: String,
    /// The client id.
    pub client_id: String,
    /// The source of GitHub's token.
    pub oidc: Option<OidcEndpoint>,
    /// `AZURE_AUTHORITY_HOST`, else Microsoft's.
    pub authority: String,
}

impl AzureLogin {
    /// Requests a token, and returns it with the time of its end.
    pub(super) async fn request_token(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        match &self.application {
            Some(application) => application.request_token(network, redactor).await,
            None => self.ask_metadata_server(network, redactor).await,
        }
    }

    /// Asks the metadata server (Microsoft, "How to use managed identities on a VM to acquire an access token").
    async fn ask_metadata_server(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let identity = self.managed_client_id.as_deref().map(|id| format!("&client_id={}", encoded(id)));
        let request = CloudRequest {
            purpose: "for an access token of the machine's managed identity".to_owned(),
            url: format!(
                "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}{}",
                self.metadata_endpoint.trim_end_matches('/'),
                encoded(RESOURCE),
                identity.unwrap_or_default()
            ),
            headers: vec![("metadata", Secret::new("true"))],
            body: None,
            refused_fix: "assign a managed identity to the machine of the runner, or set `tenant` and `client-id` in \
                `database-auth`",
        };
        Ok(request.send_for_json::<AccessToken>(network, redactor).await?.into_token())
    }
}

impl AzureApplication {
    /// Exchanges GitHub's token (Microsoft, "OAuth 2.0 client credentials flow", third case: a federated credential).
    async fn request_token(
        &self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<(Secret, SystemTime), Fault> {
        let assertion = request_id_token(self.oidc.as_ref(), AUDIENCE, network, redactor).await?;
        let scope = format!("{RESOURCE}/.default");
        let fields = [
            ("client_id", self.client_id.as_str()),
            ("scope", &scope),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.expose()),
        ];
        let pair = |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let request = CloudRequest {
            purpose: format!("for an access token of the application `{}`", self.client_id),
            url: format!("{}/{}/oauth2/v2.0/token", self.authority.trim_end_matches('/'), self.tenant),
            headers: Vec::new(),
            body: Some((FORM, Secret::new(fields.map(pair).join("&")))),
            refused_fix: "check `tenant` and `client-id` in `database-auth`, and that the application has a federated \
                credential for the `sub` of this repository and environment",
        };
        Ok(request.send_for_json::<AccessToken>(network, redactor).await?.into_token())
    }
}

/// Returns the fix for a server that refuses the token.
pub(super) fn refusal_fix(role: &str) -> String {
    format!(
        "turn on Microsoft Entra authentication on the server, and create the role as its administrator: `select * from \
         pgaadauth_create_principal('{role}', false, false)`, with the name of the identity as the role"
    )
}
