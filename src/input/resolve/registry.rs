//! Resolves the login at the registry of the app's image.

use crate::{
    docker::RegistryCredentials,
    fault::{Code, Fault},
    input::{names::InputName, source::Inputs},
};

/// Returns the login; user and password come together.
///
/// # Errors
/// `input-missing` if one of them is absent.
pub(super) fn resolve_credentials(inputs: &Inputs) -> Result<Option<RegistryCredentials>, Fault> {
    let (username, password) = (inputs.text(InputName::RegistryUsername), inputs.secret(InputName::RegistryPassword));
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(RegistryCredentials { username: username.to_owned(), password })),
        (Some(_), None) => {
            Err(Fault::new(Code::InputMissing, "`registry-username` has a value, but `registry-password` has none"))
        }
        (None, Some(_)) => {
            Err(Fault::new(Code::InputMissing, "`registry-password` has a value, but `registry-username` has none")
                .fix("set `registry-username`; if the registry needs only a token, any name will do"))
        }
    }
}
