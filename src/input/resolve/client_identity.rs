//! Resolves the log-in to the database by a certificate, or by tokens.

use super::{
    program::{program_secrets, resolve_program},
    registry::resolve_credentials,
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::{InputName, list_quoted},
        parse::{DatabaseAuthMethod, ExecutorChoice, ParsedAuth, ParsedProgram, parse_image_reference},
        source::{Inputs, Variable, Variables},
    },
    postgres::{CertificateTexts, ClientCertificate, ParsedUrl},
    program::ProgramImage,
    secret::Secret,
    settings::Command,
    token_login::{
        AwsCredentials, AwsKeys, AwsRole, AzureApplication, AzureLogin, GoogleLogin, GoogleProvider, OidcEndpoint,
        RdsLogin, TokenCommand, TokenFile, TokenLogin, TokenMethod,
    },
};

/// Variables of the environment from which tokens are made, with those of the way to the clouds.
pub(crate) const AUTH_VARIABLES: [&str; 21] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_STS",
    "GCE_METADATA_HOST",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "https_proxy",
    "no_proxy",
];

/// Those of them that are secret.
const SECRET_VARIABLES: [&str; 3] = ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The server and the role that a token is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoginPlace<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
}

/// The surroundings in which the identity is resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdentityContext<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) runner: &'a Runner,
    pub(super) variables: &'a Variables,
    pub(super) command: Option<Command>,
    pub(super) executor: Option<ExecutorChoice>,
}

/// Returns the secrets in the environment from which tokens are made, and those of a command.
pub(crate) fn auth_secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let Some(auth) = parsed_token_auth(inputs) else { return Vec::new() };
    let of_environment = SECRET_VARIABLES.iter().filter_map(|name| text_of(variables, name)).map(Secret::new);
    let of_command = auth.program.iter().flat_map(|program| program_secrets(inputs, program, variables));
    of_environment.chain(of_command).collect()
}

/// Returns the parsed log-in by a token, if the input asks for one.
pub(super) fn parsed_token_auth(inputs: &Inputs) -> Option<&ParsedAuth> {
    inputs.parsed_steps().database_auth.as_ref().filter(|auth| auth.method != DatabaseAuthMethod::Password)
}

impl IdentityContext<'_> {
    /// Returns whether a certificate or a token is given, valid or not.
    pub(super) fn is_identity_given(self, url: Option<&ParsedUrl>) -> bool {
        let in_url = url.is_some_and(|url| url.client_cert.is_some() || url.client_key.is_some());
        let by_certificate =
            self.inputs.is_given(InputName::DatabaseCert) || self.inputs.is_given(InputName::DatabaseKey);
        in_url || by_certificate || parsed_token_auth(self.inputs).is_some()
    }

    /// Resolves the certificate.
    ///
    /// # Errors
    /// `client-cert-invalid`, `client-cert-expired`, `input-missing`.
    pub(super) fn resolve_certificate(self, url: Option<&ParsedUrl>) -> Result<Option<ClientCertificate>, Fault> {
        let chain =
            self.input_or_file(InputName::DatabaseCert, "sslcert", url.and_then(|url| url.client_cert.as_deref()))?;
        let key =
            self.input_or_file(InputName::DatabaseKey, "sslkey", url.and_then(|url| url.client_key.as_deref()))?;
        match (chain, key) {
            (None, None) => Ok(None),
            (Some((chain, chain_label)), Some((key, key_label))) => {
                let texts = CertificateTexts { chain: (chain.expose(), &chain_label), key: (&key, &key_label) };
                ClientCertificate::parse(texts).map(Some)
            }
            (Some((_, label)), None) => Err(self.lone_half(&label, InputName::DatabaseKey)),
            (None, Some((_, label))) => Err(self.lone_half(&label, InputName::DatabaseCert)),
        }
    }

    fn lone_half(self, given: &str, missing: InputName) -> Fault {
        self.inputs.missing_fault(format!("{given} is given, and `{missing}` has no value"), &[missing])
    }

    /// Returns a text of the input, or of the file that the URL names, with its name in messages.
    fn input_or_file(
        self,
        name: InputName,
        parameter: &str,
        path: Option<&str>,
    ) -> Result<Option<(Secret, String)>, Fault> {
        if let Some(text) = self.inputs.secret(name).filter(|text| !text.expose().trim().is_empty()) {
            return Ok(Some((text, self.inputs.label(name))));
        }
        let Some(path) = path else { return Ok(None) };
        let label = format!("the file `{path}` (`{parameter}` in `database-url`)");
        let read = std::fs::read_to_string(self.runner.resolve_path(path)).map(Secret::new);
        let text = read.map_err(|error| {
            Fault::new(Code::ClientCertInvalid, format!("{label} can't be read here as text"))
                .fix(format!("put its content in PEM form into `{name}`"))
                .with_causes(&error)
        })?;
        Ok(Some((text, label)))
    }

    /// Resolves the source of tokens; the first is `None` if it has faults, which are recorded.
    pub(super) fn resolve_token(self, place: LoginPlace<'_>, findings: &mut Findings) -> Option<Option<TokenLogin>> {
        let Some(auth) = parsed_token_auth(self.inputs) else { return Some(None) };
        let method = match auth.method {
            DatabaseAuthMethod::Password => return Some(None),
            DatabaseAuthMethod::AwsRdsIam => TokenMethod::AwsRdsIam(self.rds_login(auth, place, findings)?),
            DatabaseAuthMethod::GcpIam => TokenMethod::GcpIam(self.google_login(auth)),
            DatabaseAuthMethod::AzureAd => TokenMethod::AzureAd(findings.ok_or_record(self.azure_login(auth))?),
            DatabaseAuthMethod::File => TokenMethod::File(findings.ok_or_record(self.token_file(auth))?),
            DatabaseAuthMethod::Command => {
                TokenMethod::Command(findings.ok_or_record(self.token_command(auth.program.as_ref()?))?)
            }
        };
        Some(Some(TokenLogin::new(method, self.runner.network.clone())))
    }

    fn rds_login(self, auth: &ParsedAuth, place: LoginPlace<'_>, findings: &mut Findings) -> Option<RdsLogin> {
        let from_environment = || self.text("AWS_REGION").or_else(|| self.text("AWS_DEFAULT_REGION"));
        let region = auth.region.clone().or_else(|| region_in(place.host)).or_else(from_environment);
        let region = findings.ok_or_record(region.ok_or_else(|| {
            let cause = format!(
                "{} signs for a region, and the host `{}` names none",
                self.inputs.label(InputName::DatabaseAuth),
                place.host
            );
            Fault::new(Code::InputMissing, cause).fix("add `region` to `database-auth`, as in `region: eu-west-1`")
        }));
        let credentials = match &auth.role {
            Some(arn) => AwsCredentials::Role(AwsRole {
                arn: arn.clone(),
                session_name: session_name(self.runner),
                oidc: self.oidc_endpoint(),
                endpoint: self.text("AWS_ENDPOINT_URL_STS").or_else(|| self.text("AWS_ENDPOINT_URL")),
            }),
            None => AwsCredentials::Keys(findings.ok_or_record(self.aws_keys())?),
        };
        let (host, user) = (place.host.to_owned(), place.user.to_owned());
        Some(RdsLogin { host, port: place.port, user, region: region?, credentials })
    }

    fn aws_keys(self) -> Result<AwsKeys, Fault> {
        match (self.text("AWS_ACCESS_KEY_ID"), self.text("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret)) => Ok(AwsKeys {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: self.text("AWS_SESSION_TOKEN").map(Secret::new),
            }),
            (id, secret) => {
                let found = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)];
                let missing: Vec<&str> =
                    found.iter().filter(|(_, text)| text.is_none()).map(|(name, _)| *name).collect();
                let label = self.inputs.label(InputName::DatabaseAuth);
                let cause = format!("{label} needs keys of AWS, and the environment lacks {}", list_quoted(&missing));
                Err(Fault::new(Code::InputMissing, cause).fix(
                    "name the role to assume, as in `database-auth: { method: aws-rds-iam, role: 'arn:aws:iam::ACCOUNT:role/NAME' }`, \
                     or let a step before this one set the keys (aws-actions/configure-aws-credentials)",
                ))
            }
        }
    }

    fn google_login(self, auth: &ParsedAuth) -> GoogleLogin {
        let endpoint = |variable: &str, usual: &str| self.text(variable).unwrap_or_else(|| usual.to_owned());
        GoogleLogin {
            provider: auth.provider.clone().map(|name| GoogleProvider {
                name,
                service_account: auth.role.clone(),
                oidc: self.oidc_endpoint(),
                sts_endpoint: endpoint("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", "https://sts.googleapis.com"),
                credentials_endpoint: endpoint(
                    "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
                    "https://iamcredentials.googleapis.com",
                ),
            }),
            metadata_host: endpoint("GCE_METADATA_HOST", "metadata.google.internal"),
        }
    }

    fn azure_login(self, auth: &ParsedAuth) -> Result<AzureLogin, Fault> {
        let tenant = auth.tenant.clone().or_else(|| self.text("AZURE_TENANT_ID"));
        let client_id = auth.client_id.clone().or_else(|| self.text("AZURE_CLIENT_ID"));
        let endpoint = |variable: &str, usual: &str| self.text(variable).unwrap_or_else(|| usual.to_owned());
        let metadata_endpoint = endpoint("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254");
        match (tenant, client_id) {
            (Some(tenant), Some(client_id)) => {
                let (oidc, authority) =
                    (self.oidc_endpoint(), endpoint("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com"));
                let application = Some(AzureApplication { tenant, client_id, oidc, authority });
                Ok(AzureLogin { application, managed_client_id: None, metadata_endpoint })
            }
            (Some(_), None) => {
                let cause = format!("{} has a tenant, and no client id", self.inputs.label(InputName::DatabaseAuth));
                Err(Fault::new(Code::InputMissing, cause)
                    .fix("add `client-id` to `database-auth`, or set `AZURE_CLIENT_ID`"))
            }
            (None, managed_client_id) => Ok(AzureLogin { application: None, managed_client_id, metadata_endpoint }),
        }
    }

    fn token_file(self, auth: &ParsedAuth) -> Result<TokenFile, Fault> {
        let shown = auth.file.clone().unwrap_or_default();
        if self.command == Some(Command::Tunnel) {
            let cause = format!(
                "{}: the tunnel goes on in a container of its own, which does not see the file `{shown}`",
                self.inputs.label(InputName::DatabaseAuth)
            );
            return Err(Fault::new(Code::InputInvalid, cause)
                .fix("let the tunnel obtain tokens itself, with another `method` in `database-auth`"));
        }
        Ok(TokenFile { path: self.runner.resolve_path(&shown), shown })
    }

    /// Returns the command. Where the app's own image is in use, it runs there unless it names another one.
    fn token_command(self, parsed: &ParsedProgram) -> Result<TokenCommand, Fault> {
        let is_in_app = self.executor == Some(ExecutorChoice::Image) && self.command != Some(Command::Tunnel);
        let image = match &parsed.image {
            Some(reference) => Some(ProgramImage { reference: reference.clone(), credentials: None }),
            None if is_in_app => self.app_image(),
            None => None,
        };
        let program = resolve_program(self.inputs, parsed, "database-auth", image, self.variables)?;
        Ok(TokenCommand { program })
    }

    /// Returns the app's image; none if its input has faults, which are recorded elsewhere.
    fn app_image(self) -> Option<ProgramImage> {
        let reference = parse_image_reference(self.inputs.text(InputName::Image)?).ok()?;
        Some(ProgramImage { reference, credentials: resolve_credentials(self.inputs).ok()? })
    }

    fn oidc_endpoint(self) -> Option<OidcEndpoint> {
        let url = self.text("ACTIONS_ID_TOKEN_REQUEST_URL")?;
        Some(OidcEndpoint { url, token: Secret::new(self.text("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?) })
    }

    fn text(self, name: &str) -> Option<String> {
        text_of(self.variables, name)
    }
}

fn text_of(variables: &Variables, name: &str) -> Option<String> {
    match variables.get(name) {
        Variable::Text(text) => Some(text.trim().to_owned()),
        Variable::Absent | Variable::NotUtf8 => None,
    }
}

/// Returns the region in the host name of an instance: `name.id.REGION.rds.amazonaws.com`, and in China
/// `name.id.rds.REGION.amazonaws.com.cn` (AWS, "Finding the connection information").
fn region_in(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let region = match host.strip_suffix(".rds.amazonaws.com") {
        Some(front) => front.rsplit_once('.')?.1,
        None => host.strip_suffix(".amazonaws.com.cn")?.rsplit_once(".rds.")?.1,
    };
    Some(region.to_owned())
}

/// Returns the name of the session of an assumed role: letters, digits and `_=,.@-`, at most 64 (AWS STS API).
fn session_name(runner: &Runner) -> String {
    let run = runner.run_id.as_deref().unwrap_or("local");
    let text = format!("bastion-migrate-{run}");
    text.chars().filter(|letter| letter.is_ascii_alphanumeric() || "_=,.@-".contains(*letter)).take(64).collect()
}

/// Records what the identity and the rest of the database's inputs can't have together.
pub(super) fn check_identity(context: IdentityContext<'_>, password: Option<&Secret>, findings: &mut Findings) {
    let Some(auth) = parsed_token_auth(context.inputs) else { return };
    if password.is_some() {
        let label = context.inputs.label(InputName::DatabaseAuth);
        let cause = format!("a password is given, and {label} is `{}`, which replaces it", auth.method.name());
        findings
            .faults
            .push(Fault::new(Code::InputInvalid, cause).fix(
                "remove `database-password`, or the password in `database-url`; or set `database-auth: password`",
            ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_region_in_the_host_name() {
        for (host, region) in [
            ("shop.abc123.eu-west-1.rds.amazonaws.com", Some("eu-west-1")),
            ("shop.cluster-ro-abc.us-gov-west-1.rds.amazonaws.com", Some("us-gov-west-1")),
            ("p.proxy-abc.us-east-2.RDS.amazonaws.com", Some("us-east-2")),
            ("shop.abc123.rds.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("db.internal", None),
            ("rds.amazonaws.com", None),
        ] {
            assert_eq!(region_in(host).as_deref(), region, "{host}");
        }
    }
}
