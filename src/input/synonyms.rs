//! Names that other actions, and people, use for inputs of this one. The runner only warns about an unknown input, and
//! the run would continue without it.

use super::{
    names::{Name, listed},
    source::Variables,
};
use crate::fault::{Code, Fault};

/// Inputs of actions that run commands over SSH, and common names for hosts and keys.
const NAMES: [(&str, Name); 33] = [
    ("host", Name::SshHost),
    ("server", Name::SshHost),
    ("remote-host", Name::SshHost),
    ("bastion", Name::SshHost),
    ("bastion-host", Name::SshHost),
    ("ssh-server", Name::SshHost),
    ("port", Name::SshPort),
    ("user", Name::SshUser),
    ("username", Name::SshUser),
    ("remote-user", Name::SshUser),
    ("ssh-username", Name::SshUser),
    ("key", Name::SshPrivateKey),
    ("private-key", Name::SshPrivateKey),
    ("ssh-key", Name::SshPrivateKey),
    ("passphrase", Name::SshPassphrase),
    ("password", Name::SshPassword),
    ("known-hosts", Name::SshKnownHosts),
    ("known-host", Name::SshKnownHosts),
    ("fingerprint", Name::SshFingerprint),
    ("proxy-host", Name::SshJump),
    ("jump-host", Name::SshJump),
    ("script", Name::Run),
    ("commands", Name::Run),
    ("envs", Name::PassEnv),
    ("db-url", Name::DatabaseUrl),
    ("db-host", Name::DatabaseHost),
    ("db-port", Name::DatabasePort),
    ("db-user", Name::DatabaseUser),
    ("db-password", Name::DatabasePassword),
    ("db-name", Name::DatabaseName),
    ("sslmode", Name::DatabaseSslmode),
    ("migrations-dir", Name::Migrations),
    ("migrations-path", Name::Migrations),
];

/// Returns the variables in which a workflow's `with:` may hold a value of this input under another or a misspelt name.
pub(super) fn variables(name: Name, variables: &Variables) -> Vec<String> {
    let meant = |word: &str| borrowed(word).or_else(|| Name::misspelt(word)).filter(|_| Name::of(word).is_none());
    variables.inputs().filter(|(word, _)| meant(word) == Some(name)).map(|(_, variable)| variable.to_owned()).collect()
}

/// Returns the faults of unknown names in `with:`: one for each misspelt name, because `expect-plna` would apply a plan
/// that was not approved, and one for all names of other actions. Any other unknown name may belong to another program.
pub(super) fn faults(variables: &Variables) -> Vec<Fault> {
    let words: Vec<String> = variables.inputs().map(|(word, _)| word).filter(|word| Name::of(word).is_none()).collect();
    let (others, own): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| borrowed(word).is_some());
    let misspelt = own.into_iter().filter_map(|word| {
        let name = Name::misspelt(word)?;
        let cause = format!("there is no input `{word}`");
        Some(Fault::new(Code::InputUnknown, cause).fix(format!("did you mean `{name}`?")))
    });
    all_of_another(&others).into_iter().chain(misspelt).collect()
}

fn all_of_another(words: &[&String]) -> Option<Fault> {
    if words.is_empty() {
        return None;
    }
    let cause = match words {
        [one] => format!("there is no input `{one}`"),
        several => format!("there are no inputs {}", listed(several)),
    };
    let meant = words.iter().filter_map(|word| Some((word, borrowed(word)?)));
    let pairs: Vec<String> = meant.clone().map(|(word, name)| format!("`{name}` for `{word}`")).collect();
    let run = if meant.clone().any(|(_, name)| name == Name::Run) {
        "; `run` is run on the server with `executor: server`, in the app's image with `executor: image` and `image`"
    } else {
        ""
    };
    let fix = format!("write {}{run}", pairs.join(", "));
    Some(Fault::new(Code::InputUnknown, cause).fix(fix))
}

fn borrowed(word: &str) -> Option<Name> {
    NAMES.iter().find(|(other, _)| *other == word).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_synonym_is_an_input() {
        for (word, _) in NAMES {
            assert_eq!(Name::of(word), None, "{word}");
        }
    }
}
