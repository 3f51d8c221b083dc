//! The authentication methods and the result of each. Pure functions.

use super::{
    route::{Hop, Login},
    user_certificate::UserCertificate,
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use std::fmt;

/// One authentication method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthMethod<'a> {
    /// The key with its certificate.
    Certificate(&'a Secret, &'a UserCertificate),
    Key(&'a Secret),
    Password(&'a Secret),
    /// The password as the answer to every prompt, as PAM requires.
    KeyboardInteractive(&'a Secret),
}

impl AuthMethod<'_> {
    /// Returns the name that SSH gives the method (RFC 4252, RFC 4256).
    fn ssh_name(self) -> &'static str {
        match self {
            Self::Certificate(..) | Self::Key(_) => "publickey",
            Self::Password(_) => "password",
            Self::KeyboardInteractive(_) => "keyboard-interactive",
        }
    }
}

impl<'a> AuthMethod<'a> {
    fn certificate(self) -> Option<&'a UserCertificate> {
        match self {
            Self::Certificate(_, certificate) => Some(certificate),
            Self::Key(_) | Self::Password(_) | Self::KeyboardInteractive(_) => None,
        }
    }
}

/// A log-in that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoginSuccess {
    /// The methods that it took, as in `password and key`.
    pub(super) methods: String,
    /// The facts of the certificate, if it was one of them.
    pub(super) certificate: Option<String>,
}

impl fmt::Display for AuthMethod<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Certificate(..) => "certificate",
            Self::Key(_) => "key",
            Self::Password(_) => "password",
            Self::KeyboardInteractive(_) => "keyboard-interactive",
        })
    }
}

/// Returns the available methods, in order.
pub(super) fn plan_methods(login: &Login) -> Vec<AuthMethod<'_>> {
    // As in OpenSSH's client, a server that does not know the CA may have the key itself in authorized_keys.
    let certificate = login.key.iter().zip(&login.certificate).map(|(key, of)| AuthMethod::Certificate(key, of));
    let key = certificate.chain(login.key.iter().map(AuthMethod::Key));
    let password = login
        .password
        .iter()
        .flat_map(|secret| [AuthMethod::Password(secret), AuthMethod::KeyboardInteractive(secret)]);
    key.chain(password).collect()
}

/// The progress of a log-in.
#[derive(Debug, Default)]
pub(super) struct LoginProgress<'a> {
    /// The methods that the server accepts next; `None` until it was asked.
    pub(super) wanted: Option<Vec<String>>,
    /// The server's messages and prompts.
    pub(super) server_messages: Vec<String>,
    accepted: Vec<AuthMethod<'a>>,
    /// Refused since the last accepted method: a method that came too early may be accepted later.
    refused: Vec<AuthMethod<'a>>,
    tried: Vec<AuthMethod<'a>>,
}

impl<'a> LoginProgress<'a> {
    /// Returns the method to try next.
    pub(super) fn next_method(&self, plan: &[AuthMethod<'a>]) -> Option<AuthMethod<'a>> {
        let is_wanted = |method: &AuthMethod<'_>| {
            self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| name == method.ssh_name()))
        };
        let is_over = |method: &AuthMethod<'a>| self.accepted.contains(method) || self.refused.contains(method);
        plan.iter().copied().find(|method| is_wanted(method) && !is_over(method))
    }

    /// Records an attempt that did not complete the log-in, and the methods that the server accepts next. If these
    /// differ from before, the server has accepted the method; so it has if it verified the key's signature.
    pub(super) fn record_attempt(&mut self, method: AuthMethod<'a>, is_verified: bool, wanted: Option<Vec<String>>) {
        let is_other = self.wanted.is_some() && wanted.is_some() && self.wanted != wanted;
        if !self.tried.contains(&method) {
            self.tried.push(method);
        }
        if is_verified || is_other {
            self.accepted.push(method);
            self.refused.clear();
        } else {
            self.refused.push(method);
        }
        self.wanted = wanted;
    }

    /// Returns the methods that completed the log-in, `method` last, and the certificate if it is one of them.
    pub(super) fn complete(&self, method: AuthMethod<'a>) -> LoginSuccess {
        let mut methods = join_methods(self.accepted.iter().chain([&method]), " and ");
        if self.refused.iter().any(|refused| refused.certificate().is_some()) {
            methods.push_str(" (the certificate was refused)");
        }
        let certificate = self.accepted.iter().chain([&method]).find_map(|method| method.certificate());
        LoginSuccess { methods, certificate: certificate.map(UserCertificate::describe) }
    }

    /// Returns the certificate if its refusal ended the log-in: nothing was accepted, and no password is wrong or
    /// missing.
    fn refused_certificate(&self, login: &Login) -> Option<&'a UserCertificate> {
        let only_key = self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| name == "publickey"));
        let refused = self.refused.iter().find_map(|method| method.certificate());
        refused.filter(|_| self.accepted.is_empty() && only_key && login.password.is_none())
    }

    /// Returns the fault of a refused log-in, with its fix. `now` is in seconds since 1970.
    pub(super) fn refusal_fault(self, hop: &Hop, login: &Login, key: Option<String>, now: u64) -> Fault {
        if let Some(certificate) = self.refused_certificate(login) {
            let fault = certificate.refusal_fault(&hop.to_string(), &hop.user, now);
            return self.server_messages.into_iter().fold(fault, Fault::detail);
        }
        let user = &hop.user;
        let wanted = self.wanted.as_ref().map(|wanted| wanted.join(", "));
        let cause = if self.accepted.is_empty() {
            let tried = if self.tried.is_empty() { "nothing".to_owned() } else { join_methods(&self.tried, ", ") };
            let offers = wanted.map(|wanted| format!("; the server offers: {wanted}")).unwrap_or_default();
            format!("`{hop}` refused user `{user}`; tried: {tried}{offers}")
        } else {
            let accepted = join_methods(&self.accepted, ", ");
            let wanted = wanted.map(|wanted| format!("; the server still wants: {wanted}")).unwrap_or_default();
            let refused = Some(join_methods(&self.refused, ", ")).filter(|refused| !refused.is_empty());
            let refused = refused.map(|refused| format!("; refused: {refused}")).unwrap_or_default();
            format!("`{hop}` has not let user `{user}` in; accepted: {accepted}{wanted}{refused}")
        };
        let fault = Fault::new(Code::BastionLogin, cause).fix(self.suggested_fix(login));
        let key = key.map(|key| format!("the key is {key}"));
        let certificate = login.certificate.as_ref().map(|of| format!("the certificate is {}", of.describe()));
        key.into_iter().chain(certificate).chain(self.server_messages).fold(fault, Fault::detail)
    }

    fn suggested_fix(&self, login: &Login) -> String {
        let is_refused = |name: &str| self.refused.iter().any(|method| method.ssh_name() == name);
        let is_wanted = |name: &str| self.wanted.iter().flatten().any(|wanted| wanted == name);
        let is_accepted = |name: &str| self.accepted.iter().any(|method| method.ssh_name() == name);
        let wants_password = is_wanted("password") || is_wanted("keyboard-interactive");
        let mut advice = Vec::new();
        if self.accepted.is_empty() {
            advice.push("check `ssh-user`");
        }
        if is_refused("publickey") && (is_wanted("publickey") || self.wanted.is_none() || !wants_password) {
            advice.push("see that the public half of `ssh-private-key` is in that user's authorized_keys");
        }
        if is_refused("password") || is_refused("keyboard-interactive") {
            advice.push("check `ssh-password`: see that the password is right");
        } else if wants_password && login.password.is_none() {
            advice.push("set `ssh-password`, which the server asks for");
        }
        if is_wanted("publickey") && login.key.is_none() && !is_refused("password") {
            advice.push("set `ssh-private-key` to a key whose public half is in that user's authorized_keys");
        }
        if is_wanted("publickey") && is_accepted("publickey") {
            advice.push(
                "let `AuthenticationMethods` in the server's sshd_config require one key only: a second is not supported",
            );
        }
        if !wants_password && !is_wanted("publickey") && self.wanted.is_some() {
            advice.push("allow publickey or password in the server's sshd_config: no other method is supported here");
        }
        advice.join("; ")
    }
}

fn join_methods<'m, 'a: 'm>(methods: impl IntoIterator<Item = &'m AuthMethod<'a>>, between: &str) -> String {
    methods.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(key: Option<&str>, password: Option<&str>) -> Login {
        Login { key: key.map(Secret::new), password: password.map(Secret::new), ..Login::default() }
    }

    fn hop() -> Hop {
        Hop { host: "b".to_owned(), port: 22, user: "u".to_owned() }
    }

    fn names(list: &str) -> Option<Vec<String>> {
        Some(list.split(',').map(ToOwned::to_owned).collect())
    }

    /// Simulates a server from the methods that it accepts after each attempt, and whether it verified a signature.
    /// Returns the methods tried, and the final fault.
    fn simulate_login(login: &Login, wanted: Option<&str>, responses: &[(&str, bool)]) -> (String, Fault) {
        let plan = plan_methods(login);
        let mut progress = LoginProgress { wanted: wanted.and_then(names), ..LoginProgress::default() };
        let mut tried = Vec::new();
        for (list, verified) in responses {
            let method = progress.next_method(&plan).expect("there is a way left");
            tried.push(method.to_string());
            progress.record_attempt(method, *verified, names(list));
        }
        tried.extend(progress.next_method(&plan).map(|next| format!("then {next}")));
        (tried.join(", "), progress.refusal_fault(&hop(), login, None, 0))
    }

    #[test]
    fn tries_the_key_before_the_password() {
        let login = login(Some("key"), Some("password"));
        let [key, password] = [&login.key, &login.password].map(|secret| secret.as_ref().unwrap());
        let expected =
            [AuthMethod::Key(key), AuthMethod::Password(password), AuthMethod::KeyboardInteractive(password)];
        assert_eq!(plan_methods(&login), expected);
        assert_eq!(plan_methods(&Login::default()), []);
    }

    #[test]
    fn continues_with_the_methods_that_the_server_still_wants() {
        let both = login(Some("k"), Some("p"));
        assert_eq!(simulate_login(&both, None, &[("password", false)]).0, "key, then password");
        assert_eq!(
            simulate_login(&both, None, &[("password", false), ("publickey", false)]).0,
            "key, password, then key"
        );
        assert_eq!(simulate_login(&both, None, &[("keyboard-interactive", true)]).0, "key, then keyboard-interactive");
        let (tried, _) = simulate_login(&both, None, &[("password", true), ("keyboard-interactive", false)]);
        assert_eq!(tried, "key, password, then keyboard-interactive");
    }

    #[test]
    fn tries_no_method_twice_and_none_that_the_server_does_not_accept() {
        let both = login(Some("k"), Some("p"));
        assert_eq!(simulate_login(&both, None, &[("publickey", false)]).0, "key");
        assert_eq!(simulate_login(&both, None, &[("publickey", true)]).0, "key");
        assert_eq!(simulate_login(&login(None, Some("p")), Some("publickey"), &[]).0, "");
        let twice = [("password", false), ("password", false)];
        assert_eq!(simulate_login(&both, None, &twice).0, "key, password");
    }

    #[test]
    fn a_refusal_names_the_accepted_and_the_still_wanted_methods() {
        let key = login(Some("k"), None);
        let both = login(Some("k"), Some("p"));
        let password = login(None, Some("p"));
        for (login, wanted, responses, cause, fix) in [
            (
                &key,
                None,
                vec![("publickey", false)],
                "refused user `u`; tried: key; the server offers: publickey",
                "check `ssh-user`; see that the public half of `ssh-private-key` is in that user's authorized_keys",
            ),
            (
                &key,
                None,
                vec![("password", true)],
                "has not let user `u` in; accepted: key; the server still wants: password",
                "set `ssh-password`, which the server asks for",
            ),
            (
                &key,
                None,
                vec![("password", false)],
                "refused user `u`; tried: key; the server offers: password",
                "check `ssh-user`; set `ssh-password`, which the server asks for",
            ),
            (
                &both,
                None,
                vec![("password", true), ("password", false)],
                "accepted: key; the server still wants: password; refused: password",
                "check `ssh-password`: see that the password is right",
            ),
            (
                &both,
                None,
                vec![("password", false), ("publickey", false), ("publickey", false)],
                "accepted: password; the server still wants: publickey; refused: key",
                "see that the public half of `ssh-private-key` is in that user's authorized_keys",
            ),
            (
                &password,
                Some("password"),
                vec![("password", false)],
                "refused user `u`; tried: password; the server offers: password",
                "check `ssh-user`; check `ssh-password`: see that the password is right",
            ),
            (
                &password,
                Some("publickey"),
                vec![],
                "refused user `u`; tried: nothing; the server offers: publickey",
                "check `ssh-user`; set `ssh-private-key` to a key whose public half is in that user's authorized_keys",
            ),
            (
                &password,
                Some("password"),
                vec![("publickey", false)],
                "accepted: password; the server still wants: publickey",
                "set `ssh-private-key` to a key whose public half is in that user's authorized_keys",
            ),
            (
                &key,
                None,
                vec![("publickey", true)],
                "accepted: key; the server still wants: publickey",
                "let `AuthenticationMethods` in the server's sshd_config require one key only: a second is not supported",
            ),
            (
                &key,
                None,
                vec![("gssapi-with-mic", true)],
                "accepted: key; the server still wants: gssapi-with-mic",
                "allow publickey or password in the server's sshd_config: no other method is supported here",
            ),
        ] {
            let (_, fault) = simulate_login(login, wanted, &responses);
            assert!(fault.cause.ends_with(cause), "{}", fault.cause);
            assert_eq!(fault.fix, fix, "{cause}");
        }
    }
}
