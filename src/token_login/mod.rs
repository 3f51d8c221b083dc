//! Log-ins to a database by tokens that last minutes: signed here, obtained from a cloud, or printed by a command. Knows
//! nothing of PostgreSQL.

mod aws;
mod aws_keys;
mod azure;
mod cloud_request;
mod expiry;
mod github_oidc;
mod google;
mod sigv4;
mod token_command;
mod token_file;

pub use aws::{AwsCredentials, AwsRole, RdsLogin};
pub use aws_keys::AwsKeys;
pub use azure::{AzureApplication, AzureLogin};
pub use github_oidc::OidcEndpoint;
pub use google::{GoogleLogin, GoogleProvider};
pub use token_command::TokenCommand;
pub use token_file::TokenFile;

use crate::{
    fault::{Code, Fault},
    https::NetworkSettings,
    run::event::Events,
    secret::{Redactor, Secret},
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Mutex;

/// A source of tokens. Clones share what they have obtained.
#[derive(Clone)]
pub struct TokenLogin(Arc<SharedLogin>);

struct SharedLogin {
    method: TokenMethod,
    network: NetworkSettings,
    /// The last credentials of the cloud, from which tokens are made, or the last token.
    obtained: Mutex<Option<Obtained>>,
}

/// The way to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenMethod {
    /// Signed here, for an instance of Amazon RDS or Aurora.
    AwsRdsIam(RdsLogin),
    /// An access token of Google, for Cloud SQL.
    GcpIam(GoogleLogin),
    /// An access token of Microsoft Entra ID, for Azure Database for PostgreSQL.
    AzureAd(AzureLogin),
    /// A file that something else keeps up to date.
    File(TokenFile),
    /// A command that prints one.
    Command(TokenCommand),
}

/// Something that a cloud has issued.
#[derive(Debug, Clone)]
pub(crate) struct Obtained {
    value: ObtainedValue,
    expires: SystemTime,
}

#[derive(Debug, Clone)]
enum ObtainedValue {
    Keys(AwsKeys),
    Token(Secret),
}

/// The rest of a token's life at which the next one is requested: a log-in that waits for its database must not meet the
/// end of it.
const TOKEN_RESERVE: Duration = Duration::from_mins(5);

/// Time for which the token of a command is used again: a job opens many connections at once, and a command may take
/// seconds. As for RDS, whose tokens of one minute are the same.
const COMMAND_TOKEN_USE: Duration = Duration::from_mins(1);

/// As [`TOKEN_RESERVE`], for keys: a token that is signed with them is valid for 15 minutes, but not longer than they are.
const KEY_RESERVE: Duration = Duration::from_mins(16);

impl TokenLogin {
    /// Prepares the source; requests nothing yet.
    #[must_use]
    pub fn new(method: TokenMethod, network: NetworkSettings) -> Self {
        Self(Arc::new(SharedLogin { method, network, obtained: Mutex::new(None) }))
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &TokenMethod {
        &self.0.method
    }

    /// Returns whether a run in the action's container needs the Docker engine for it.
    #[must_use]
    pub fn needs_engine(&self) -> bool {
        match &self.0.method {
            TokenMethod::Command(command) => command.program.image.is_some(),
            TokenMethod::AwsRdsIam(_) | TokenMethod::GcpIam(_) | TokenMethod::AzureAd(_) | TokenMethod::File(_) => {
                false
            }
        }
    }

    /// Returns a token that is valid now, for one connection. It and everything secret that leads to it is given to the
    /// redactor of the events first.
    ///
    /// # Errors
    /// `oidc-unavailable`, `token-unavailable`, `token-expired`; the fault of the engine or of the image in which a command
    /// runs.
    pub async fn fresh_token(&self, events: &Events) -> Result<Secret, Fault> {
        let redactor = events.redactor();
        let token = match &self.0.method {
            TokenMethod::AwsRdsIam(login) => {
                let keys = self.aws_keys(login, redactor).await?;
                login.sign_token(&keys, SystemTime::now())
            }
            TokenMethod::GcpIam(login) => {
                self.kept_token(redactor, login.request_token(&self.0.network, redactor)).await?
            }
            TokenMethod::AzureAd(login) => {
                self.kept_token(redactor, login.request_token(&self.0.network, redactor)).await?
            }
            TokenMethod::File(file) => file.read_token()?,
            TokenMethod::Command(command) => self.command_token(command, events).await?,
        };
        redactor.hide(&token);
        match expiry::expiry_of(token.expose()).map(|expires| SystemTime::now().duration_since(expires)) {
            Some(Ok(ago)) => Err(self.expired_fault(ago)),
            Some(Err(_)) | None => Ok(token),
        }
    }

    /// Returns the keys of a role, new ones if the last ones end soon; or those that the job has.
    async fn aws_keys(&self, login: &RdsLogin, redactor: &Redactor) -> Result<AwsKeys, Fault> {
        let AwsCredentials::Role(role) = &login.credentials else { return login.own_keys() };
        let mut obtained = self.0.obtained.lock().await;
        if let Some(Obtained { value: ObtainedValue::Keys(keys), expires }) = &*obtained
            && is_far(*expires, KEY_RESERVE)
        {
            return Ok(keys.clone());
        }
        let (keys, expires) = role.assume(&login.region, &self.0.network, redactor).await?;
        *obtained = Some(Obtained { value: ObtainedValue::Keys(keys.clone()), expires });
        Ok(keys)
    }

    /// Returns the last token, or the one that `request` obtains if that one ends soon.
    async fn kept_token(
        &self,
        redactor: &Redactor,
        request: impl Future<Output = Result<(Secret, SystemTime), Fault>>,
    ) -> Result<Secret, Fault> {
        let mut obtained = self.0.obtained.lock().await;
        if let Some(Obtained { value: ObtainedValue::Token(token), expires }) = &*obtained
            && is_far(*expires, TOKEN_RESERVE)
        {
            return Ok(token.clone());
        }
        let (token, expires) = Box::pin(request).await?;
        redactor.hide(&token);
        *obtained = Some(Obtained { value: ObtainedValue::Token(token.clone()), expires });
        Ok(token)
    }

    /// Returns the last token of the command, or runs it again.
    async fn command_token(&self, command: &TokenCommand, events: &Events) -> Result<Secret, Fault> {
        let mut obtained = self.0.obtained.lock().await;
        if let Some(Obtained { value: ObtainedValue::Token(token), expires }) = &*obtained
            && is_far(*expires, Duration::ZERO)
        {
            return Ok(token.clone());
        }
        let token = Box::pin(command.obtain_token(events)).await?;
        events.redactor().hide(&token);
        let use_ends = SystemTime::now() + COMMAND_TOKEN_USE;
        let expires = expiry::expiry_of(token.expose()).map_or(use_ends, |end| end.min(use_ends));
        *obtained = Some(Obtained { value: ObtainedValue::Token(token.clone()), expires });
        Ok(token)
    }

    /// Returns the fault for a server that does not accept the token.
    #[must_use]
    pub fn refusal_fault(&self, role: &str) -> Fault {
        let (kind, fix) = match &self.0.method {
            TokenMethod::AwsRdsIam(login) => ("an RDS token", login.refusal_fix(role)),
            TokenMethod::GcpIam(_) => ("an access token of Google", google::refusal_fix(role)),
            TokenMethod::AzureAd(_) => ("an access token of Microsoft Entra ID", azure::refusal_fix(role)),
            TokenMethod::File(file) => return file.refusal_fault(role),
            TokenMethod::Command(command) => return command.refusal_fault(role),
        };
        Fault::new(Code::TokenRefused, format!("the server does not let the role `{role}` log in by {kind}")).fix(fix)
    }

    fn expired_fault(&self, ago: Duration) -> Fault {
        let minutes = ago.as_secs() / 60;
        match &self.0.method {
            TokenMethod::File(file) => file.expired_fault(minutes),
            TokenMethod::Command(command) => command.expired_fault(minutes),
            TokenMethod::AwsRdsIam(_) | TokenMethod::GcpIam(_) | TokenMethod::AzureAd(_) => Fault::new(
                Code::TokenExpired,
                format!("the token for the log-in expired {minutes} minutes ago, right after it was obtained"),
            )
            .fix("correct the clock of the runner"),
        }
    }
}

fn is_far(expires: SystemTime, reserve: Duration) -> bool {
    expires.duration_since(SystemTime::now()).is_ok_and(|left| left > reserve)
}

impl PartialEq for TokenLogin {
    fn eq(&self, other: &Self) -> bool {
        self.0.method == other.0.method
    }
}

impl Eq for TokenLogin {}

impl fmt::Debug for TokenLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TokenLogin").field(&self.0.method).finish()
    }
}
