//! Logging in: an ordered plan of methods, then its execution. No `none` request goes first: it would cost a round trip.
#![expect(clippy::disallowed_types, reason = "logging in is a conversation of libssh2's session")]

use super::{
    Hop, Login,
    key::{check_key, normalised, public_half},
    session::{Deadline, Failure, NOT_VERIFIED, PASSWORD_EXPIRED, REFUSED, TIMED_OUT, code_of},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use std::fmt;

/// One way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method<'a> {
    Key(&'a Secret),
    Password(&'a Secret),
    /// The password as the answer to every question: PAM asks like this.
    KeyboardInteractive(&'a Secret),
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Key(_) => "key",
            Self::Password(_) => "password",
            Self::KeyboardInteractive(_) => "keyboard-interactive",
        })
    }
}

fn plan(login: &Login) -> Vec<Method<'_>> {
    let key = login.key.iter().map(Method::Key);
    let password =
        login.password.iter().flat_map(|secret| [Method::Password(secret), Method::KeyboardInteractive(secret)]);
    key.chain(password).collect()
}

/// Logs in and says by which method.
pub(super) fn log_in(session: &ssh2::Session, hop: &Hop, login: &Login, until: Deadline) -> Result<String, Failure> {
    let methods = plan(login);
    for method in &methods {
        until.arm(session);
        match attempt(session, &hop.user, *method, login.passphrase.as_ref()) {
            Ok(()) => return Ok(method.to_string()),
            Err(error) if is_answer(&error) => {}
            Err(error) => return Err(Failure::Final(explain(hop, login, *method, &error))),
        }
    }
    until.arm(session);
    Err(Failure::Final(refused(session, hop, login, &methods)))
}

fn attempt(
    session: &ssh2::Session,
    user: &str,
    method: Method<'_>,
    passphrase: Option<&Secret>,
) -> Result<(), ssh2::Error> {
    match method {
        Method::Key(key) => {
            let key = normalised(key);
            session.userauth_pubkey_memory(user, None, key.expose(), passphrase.map(Secret::expose))
        }
        Method::Password(password) => session.userauth_password(user, password.expose()),
        Method::KeyboardInteractive(password) => session.userauth_keyboard_interactive(user, &mut Answers(password)),
    }
}

struct Answers<'a>(&'a Secret);

impl ssh2::KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.expose().to_owned()).collect()
    }
}

/// Whether it was an answer: libssh2 reports a connection cut while it waits for one with the same numbers.
fn is_answer(error: &ssh2::Error) -> bool {
    matches!(code_of(error), REFUSED | PASSWORD_EXPIRED)
        || (code_of(error) == NOT_VERIFIED && !error.message().starts_with("Waiting"))
}

/// A failure that is no refusal: the key can't be read after all, or the connection broke.
fn explain(hop: &Hop, login: &Login, method: Method<'_>, error: &ssh2::Error) -> Fault {
    if let Method::Key(key) = method
        && let Err(fault) = check_key(key, login.passphrase.as_ref())
    {
        return fault;
    }
    let user = &hop.user;
    if code_of(error) == TIMED_OUT {
        return Fault::new(Code::BastionTimeout, format!("`{hop}` did not answer the log-in of `{user}` by {method}"));
    }
    let cause = format!("`{hop}` broke off the log-in of `{user}` by {method}: {}", error.message());
    Fault::new(Code::BastionLogin, cause)
}

fn refused(session: &ssh2::Session, hop: &Hop, login: &Login, methods: &[Method<'_>]) -> Fault {
    let user = &hop.user;
    if methods.is_empty() {
        return Fault::new(
            Code::BastionLogin,
            format!("there is neither a key nor a password to log in to `{hop}` with"),
        )
        .fix("set `ssh-private-key` or `ssh-password`");
    }
    let tried = methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut cause = format!("`{hop}` refused user `{user}`; tried: {tried}");
    // Asked after the failure, where a round trip more does not matter. The server may have hung up meanwhile.
    if let Ok(offered) = session.auth_methods(user) {
        cause.push_str("; the server offers: ");
        cause.push_str(&offered.replace(',', ", "));
    }
    let fault = Fault::new(Code::BastionLogin, cause);
    match login.key.as_ref().and_then(public_half) {
        Some(public) => fault.detail(format!("the key is {public}")),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_the_key_before_the_password_and_asks_nothing_first() {
        let (key, password) = (Secret::new("key"), Secret::new("password"));
        let login = Login { key: Some(key.clone()), passphrase: None, password: Some(password.clone()) };
        let expected = [Method::Key(&key), Method::Password(&password), Method::KeyboardInteractive(&password)];
        assert_eq!(plan(&login), expected);
        assert_eq!(plan(&Login::default()), []);
    }
}
