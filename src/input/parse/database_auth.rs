//! Parses the way of logging in to the database: a word, or a mapping.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    program::{PROGRAM_KEYS, ParsedProgram, read_program},
    value::{self, InvalidValue},
};
use crate::fault::{Code, Fault};
use serde_yaml::Value;

const KEYS: [&str; 11] =
    ["method", "role", "region", "provider", "tenant", "client-id", "file", "command", "image", "env", "pass-env"];

const COMMAND_FORM: &str =
    "write it as `database-auth: { command: [print-token, --role, migrator], image: …, pass-env: [TOKEN_KEY] }`";

/// The ways of logging in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseAuthMethod {
    Password,
    AwsRdsIam,
    GcpIam,
    AzureAd,
    File,
    Command,
}

const METHODS: [(&str, DatabaseAuthMethod); 6] = [
    ("password", DatabaseAuthMethod::Password),
    ("aws-rds-iam", DatabaseAuthMethod::AwsRdsIam),
    ("gcp-iam", DatabaseAuthMethod::GcpIam),
    ("azure-ad", DatabaseAuthMethod::AzureAd),
    ("file", DatabaseAuthMethod::File),
    ("command", DatabaseAuthMethod::Command),
];

/// The parsed input `database-auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedAuth {
    pub(crate) method: DatabaseAuthMethod,
    /// A role of AWS, or a service account of Google.
    pub(crate) role: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) program: Option<ParsedProgram>,
}

impl DatabaseAuthMethod {
    /// Returns its name in the input.
    pub(crate) fn name(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    /// Returns the keys that say more about it.
    fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Password => &[],
            Self::AwsRdsIam => &["role", "region"],
            Self::GcpIam => &["provider", "role"],
            Self::AzureAd => &["tenant", "client-id"],
            Self::File => &["file"],
            Self::Command => &PROGRAM_KEYS,
        }
    }
}

impl From<DatabaseAuthMethod> for ParsedAuth {
    fn from(method: DatabaseAuthMethod) -> Self {
        Self {
            method,
            role: None,
            region: None,
            provider: None,
            tenant: None,
            client_id: None,
            file: None,
            program: None,
        }
    }
}

/// Parses the input: a method, or a mapping.
pub(crate) fn parse_database_auth(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedAuth> {
    let Value::Mapping(mapping) = value else { return parse_word(value, origin, faults) };
    let mut fields = MappingReader::new(mapping, origin.title.clone(), origin.positions.first().cloned());
    fields.reject_unknown_keys(&KEYS);
    let parsed = read_fields(&mut fields);
    let MappingReader { faults: found, .. } = fields;
    let is_valid = found.is_empty();
    faults.extend(found);
    parsed.filter(|_| is_valid)
}

/// Parses the short form.
fn parse_word(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedAuth> {
    let text = scalar_text(value).ok().flatten().unwrap_or_default();
    let mut refuse = |cause: &str, fix: &str| {
        faults.push(fault_about(Code::InputInvalid, &origin.title, origin.positions.first(), cause).fix(fix));
        None
    };
    match value::parse_choice(text.trim(), &METHODS) {
        Ok(DatabaseAuthMethod::File) => refuse(
            "`file` alone does not name the file",
            "write it as `database-auth: { method: file, file: token }`, with the path of the file",
        ),
        Ok(DatabaseAuthMethod::Command) => refuse("`command` alone does not name the command", COMMAND_FORM),
        Ok(method) => Some(method.into()),
        Err(_) => refuse(
            "it is neither `password`, `aws-rds-iam`, `gcp-iam` nor `azure-ad`, nor a mapping",
            "write it as `database-auth: aws-rds-iam`, or as \
             `database-auth: { method: aws-rds-iam, role: 'arn:aws:iam::123456789012:role/migrate' }`",
        ),
    }
}

fn read_fields(fields: &mut MappingReader<'_>) -> Option<ParsedAuth> {
    let method = match fields.has_key("method") {
        true => fields.read_value("method", |text| value::parse_choice(text, &METHODS))?,
        false if fields.has_key("command") => DatabaseAuthMethod::Command,
        false => {
            let fix = "set `method` to `aws-rds-iam`, `gcp-iam`, `azure-ad` or `file`, or give a `command`";
            fields.add_invalid("there is no `method`", fix);
            return None;
        }
    };
    for key in KEYS.into_iter().filter(|key| *key != "method" && !method.own_keys().contains(key)) {
        if fields.has_key(key) {
            let cause = format!("`{key}` has no meaning for `method: {}`", method.name());
            fields.add_invalid(&cause, format!("remove `{key}`"));
        }
    }
    let parsed = ParsedAuth {
        method,
        role: match method {
            DatabaseAuthMethod::AwsRdsIam => fields.read_value("role", parse_role_arn),
            DatabaseAuthMethod::GcpIam => fields.read_value("role", parse_service_account),
            DatabaseAuthMethod::Password
            | DatabaseAuthMethod::AzureAd
            | DatabaseAuthMethod::File
            | DatabaseAuthMethod::Command => None,
        },
        region: fields.read_value("region", parse_region),
        provider: fields.read_value("provider", parse_provider),
        tenant: fields.read_value("tenant", parse_id),
        client_id: fields.read_value("client-id", parse_id),
        file: fields.read_text("file"),
        program: match method {
            DatabaseAuthMethod::Command => read_program(fields, COMMAND_FORM),
            _ => None,
        },
    };
    if method == DatabaseAuthMethod::File && parsed.file.is_none() {
        fields.add_invalid("`method: file` needs a `file`", "set `file` to the path of the file with the token");
    }
    if method == DatabaseAuthMethod::GcpIam && parsed.role.is_some() && !fields.has_key("provider") {
        let fix = "set `provider` to the pool's provider; a machine of Google's logs in as its own service account";
        fields.add_invalid("`role` is impersonated by way of a `provider`, and none is given", fix);
    }
    Some(parsed)
}

/// Parses the ARN of a role (AWS, "IAM identifiers").
fn parse_role_arn(text: &str) -> Result<String, InvalidValue> {
    let mut parts = text.splitn(6, ':');
    let is_arn = parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("iam")
        && parts.next() == Some("")
        && parts.next().is_some_and(|account| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_some_and(|resource| resource.starts_with("role/"));
    let invalid = || InvalidValue::new("is not the ARN of a role", "`arn:aws:iam::ACCOUNT:role/NAME`");
    is_arn.then(|| text.to_owned()).ok_or_else(invalid)
}

fn parse_service_account(text: &str) -> Result<String, InvalidValue> {
    let invalid = || InvalidValue::new("is not a service account", "`NAME@PROJECT.iam.gserviceaccount.com`");
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_:".contains(&byte));
    (is_plain && text.contains('@')).then(|| text.to_owned()).ok_or_else(invalid)
}

fn parse_region(text: &str) -> Result<String, InvalidValue> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = text.contains('-') && text.bytes().all(is_plain);
    is_region
        .then(|| text.to_owned())
        .ok_or_else(|| InvalidValue::new("is not a region", "a region such as `eu-west-1`"))
}

/// Parses a provider's name; its URL has the same name behind the host.
fn parse_provider(text: &str) -> Result<String, InvalidValue> {
    let name = text.strip_prefix("https:").unwrap_or(text);
    let name = name.strip_prefix("//iam.googleapis.com/").unwrap_or(name);
    let is_name = name.starts_with("projects/")
        && name.contains("/workloadIdentityPools/")
        && name.contains("/providers/")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    let fix = "`projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`";
    is_name.then(|| name.to_owned()).ok_or_else(|| InvalidValue::new("is not the full name of a provider", fix))
}

fn parse_id(text: &str) -> Result<String, InvalidValue> {
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    let fix = "an id such as `00000000-0000-0000-0000-000000000000`";
    is_id.then(|| text.to_owned()).ok_or_else(|| InvalidValue::new("is not an id", fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> Result<ParsedAuth, String> {
        let origin = YamlOrigin { title: "`database-auth`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        let parsed = parse_database_auth(&serde_yaml::from_str(yaml).unwrap(), &origin, &mut faults);
        let causes: Vec<String> = faults.into_iter().map(|fault| fault.cause).collect();
        parsed.ok_or_else(|| causes.join("; "))
    }

    #[test]
    fn reads_a_word_and_a_mapping() {
        assert_eq!(parsed("gcp-iam"), Ok(DatabaseAuthMethod::GcpIam.into()));
        let role = "arn:aws:iam::123456789012:role/path/migrate";
        let expected = ParsedAuth {
            role: Some(role.to_owned()),
            region: Some("eu-west-1".to_owned()),
            ..DatabaseAuthMethod::AwsRdsIam.into()
        };
        assert_eq!(parsed(&format!("{{ method: aws-rds-iam, role: '{role}', region: eu-west-1 }}")), Ok(expected));
        let name = "projects/1/locations/global/workloadIdentityPools/p/providers/github";
        for provider in
            [name.to_owned(), format!("//iam.googleapis.com/{name}"), format!("https://iam.googleapis.com/{name}")]
        {
            let found = parsed(&format!("{{ method: gcp-iam, provider: '{provider}' }}")).unwrap();
            assert_eq!(found.provider.as_deref(), Some(name));
        }
    }

    #[test]
    fn a_command_needs_no_method() {
        let program =
            parsed("{ command: \"print-token --for 'the role'\", image: 'alpine:3', pass-env: KEY }").unwrap();
        assert_eq!(program.method, DatabaseAuthMethod::Command);
        assert_eq!(
            parsed("{ method: command, command: [print-token, --for, the role], image: 'alpine:3', pass-env: KEY }"),
            Ok(program.clone())
        );
        let program = program.program.unwrap();
        assert_eq!(
            (program.argv, program.pass_env),
            (vec!["print-token".to_owned(), "--for".to_owned(), "the role".to_owned()], vec!["KEY".to_owned()])
        );
    }

    #[test]
    fn refuses_each_mistake_by_its_name() {
        for (yaml, cause) in [
            ("iam", "neither `password`"),
            ("{ role: x }", "there is no `method`"),
            ("{ method: kerberos }", "`method` is `kerberos`"),
            ("{ method: aws-rds-iam, role: migrate }", "`role` is `migrate`: it is not the ARN of a role"),
            ("{ method: aws-rds-iam, tenant: x }", "`tenant` has no meaning for `method: aws-rds-iam`"),
            ("{ method: aws-rds-iam, region: Europe }", "`region` is `Europe`: it is not a region"),
            ("{ method: gcp-iam, role: a@b }", "`role` is impersonated by way of a `provider`"),
            ("{ method: gcp-iam, provider: github }", "it is not the full name of a provider"),
            ("{ method: file }", "`method: file` needs a `file`"),
            ("{ method: azure-ad, client-id: 'a b' }", "it is not an id"),
            ("{ method: azure-ad, mode: x }", "there is no key `mode`"),
            ("command", "`command` alone does not name the command"),
            ("file", "`file` alone does not name the file"),
            ("{ method: command }", "it has no `command`"),
            ("{ command: [] }", "`command` is a list, but not of a program"),
            ("{ command: print-token, region: eu-west-1 }", "`region` has no meaning for `method: command`"),
            ("{ method: file, file: x, image: y }", "`image` has no meaning for `method: file`"),
            ("{ command: x, pass-env: [KEY=hunter2] }", "`pass-env` has a word that is not the name of a variable"),
        ] {
            let fault = parsed(yaml).unwrap_err();
            assert!(fault.contains(cause) && !fault.contains("hunter2"), "{yaml}: {fault}");
        }
    }
}
