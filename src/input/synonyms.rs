//! Names that other actions, and people, use for inputs of this one. The runner only warns about an unknown input, and
//! the run would continue without it.

use super::{
    names::{InputName, list_quoted},
    source::Variables,
};
use crate::fault::{Code, Fault};

/// Inputs of actions that run commands over SSH, and common names for hosts and keys.
const SYNONYMS: [(&str, InputName); 35] = [
    ("host", InputName::SshHost),
    ("server", InputName::SshHost),
    ("remote-host", InputName::SshHost),
    ("bastion", InputName::SshHost),
    ("bastion-host", InputName::SshHost),
    ("ssh-server", InputName::SshHost),
    ("port", InputName::SshPort),
    ("user", InputName::SshUser),
    ("username", InputName::SshUser),
    ("remote-user", InputName::SshUser),
    ("ssh-username", InputName::SshUser),
    ("key", InputName::SshPrivateKey),
    ("private-key", InputName::SshPrivateKey),
    ("ssh-key", InputName::SshPrivateKey),
    ("certificate", InputName::SshCertificate),
    ("ssh-cert", InputName::SshCertificate),
    ("passphrase", InputName::SshPassphrase),
    ("password", InputName::SshPassword),
    ("known-hosts", InputName::SshKnownHosts),
    ("known-host", InputName::SshKnownHosts),
    ("fingerprint", InputName::SshFingerprint),
    ("proxy-host", InputName::SshJump),
    ("jump-host", InputName::SshJump),
    ("script", InputName::Run),
    ("commands", InputName::Run),
    ("envs", InputName::PassEnv),
    ("db-url", InputName::DatabaseUrl),
    ("db-host", InputName::DatabaseHost),
    ("db-port", InputName::DatabasePort),
    ("db-user", InputName::DatabaseUser),
    ("db-password", InputName::DatabasePassword),
    ("db-name", InputName::DatabaseName),
    ("sslmode", InputName::DatabaseSslmode),
    ("migrations-dir", InputName::Migrations),
    ("migrations-path", InputName::Migrations),
];

/// Returns the variables in which a workflow's `with:` may hold a value of this input under another or a misspelt name.
pub(super) fn synonym_variables(name: InputName, variables: &Variables) -> Vec<String> {
    // First the names that exist, which are nearly all: the distance to each name takes much longer.
    let is_unknown = |input: &str| InputName::from_name(input).is_none();
    let intended_input = |input: &str| input_for_synonym(input).or_else(|| InputName::guess_misspelt(input));
    variables
        .workflow_inputs()
        .filter(|(input, _)| is_unknown(input) && intended_input(input) == Some(name))
        .map(|(_, variable)| variable.to_owned())
        .collect()
}

/// Returns the faults of unknown names in `with:`: one for each misspelt name, because `expect-plna` would apply a plan
/// that was not approved, and one for all names of other actions. Any other unknown name may belong to another program.
pub(super) fn unknown_input_faults(variables: &Variables) -> Vec<Fault> {
    let unknown_names: Vec<String> =
        variables.workflow_inputs().map(|(name, _)| name).filter(|name| InputName::from_name(name).is_none()).collect();
    let (synonyms, not_synonyms): (Vec<&String>, Vec<&String>) =
        unknown_names.iter().partition(|name| input_for_synonym(name).is_some());
    let misspelt = not_synonyms.into_iter().filter_map(|unknown| {
        let name = InputName::guess_misspelt(unknown)?;
        let cause = format!("there is no input `{unknown}`");
        Some(Fault::new(Code::InputUnknown, cause).fix(format!("did you mean `{name}`?")))
    });
    synonym_fault(&synonyms).into_iter().chain(misspelt).collect()
}

fn synonym_fault(names: &[&String]) -> Option<Fault> {
    if names.is_empty() {
        return None;
    }
    let cause = match names {
        [single] => format!("there is no input `{single}`"),
        all => format!("there are no inputs {}", list_quoted(all)),
    };
    let intended = names.iter().filter_map(|synonym| Some((synonym, input_for_synonym(synonym)?)));
    let pairs: Vec<String> =
        intended.clone().map(|(synonym, name)| format!("`{name}` instead of `{synonym}`")).collect();
    let run_hint = if intended.clone().any(|(_, name)| name == InputName::Run) {
        "; `run` needs `executor: server` to run on the server, or `executor: image` and `image` to run in the app's image"
    } else {
        ""
    };
    let fix = format!("write {}{run_hint}", pairs.join(", "));
    Some(Fault::new(Code::InputUnknown, cause).fix(fix))
}

fn input_for_synonym(synonym_name: &str) -> Option<InputName> {
    SYNONYMS.iter().find(|(synonym, _)| *synonym == synonym_name).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_synonym_is_an_input() {
        for (word, _) in SYNONYMS {
            assert_eq!(InputName::from_name(word), None, "{word}");
        }
    }
}
