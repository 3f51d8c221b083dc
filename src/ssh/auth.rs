//! Logging in: tries the methods in order, as long as the server still accepts them. A server may require several
//! (`AuthenticationMethods`): then a changed list of methods shows which one it has accepted, because libssh2 drops the
//! server's own report of that.
#![expect(clippy::disallowed_types, reason = "a log-in uses libssh2's session")]

use super::{
    clock::seconds_since_1970,
    key_text::normalise_key,
    libssh2::{
        ConnectDeadline, ConnectError, NOT_VERIFIED, PASSWORD_EXPIRED, REFUSED, TIMED_OUT, TOO_LONG, error_code,
    },
    login::{AuthMethod, LoginProgress, LoginSuccess, plan_methods},
    private_key::{check_private_key, describe_public_half},
    route::{Hop, Login},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Number of the server's lines that are shown.
const MAX_BANNER_LINES: usize = 12;

/// Length of the longest line that is shown, in characters. A longer one is replaced as a whole: a part of it could be
/// a part of a secret.
const LONGEST_LINE: usize = 300;

/// Logs in and returns the methods that it took.
pub(super) fn log_in(
    session: &ssh2::Session,
    hop: &Hop,
    login: &Login,
    deadline: ConnectDeadline,
) -> Result<LoginSuccess, ConnectError> {
    let plan = plan_methods(login);
    let mut progress = LoginProgress::default();
    // A key is tried without asking for the methods first: asking costs a round trip, and libssh2 reports an accepted
    // key. An accepted password shows only in the comparison of the lists.
    if let Some(AuthMethod::Password(_)) = plan.first() {
        deadline.arm(session);
        let methods = session.auth_methods(&hop.user);
        if session.authenticated() {
            return Ok(LoginSuccess { methods: "nothing at all".to_owned(), certificate: None });
        }
        progress.wanted = Some(split_method_list(
            methods.map_err(|error| ConnectError::Permanent(broken_login_fault(session, hop, login, None, &error)))?,
        ));
    }
    while let Some(method) = progress.next_method(&plan) {
        deadline.arm(session);
        let mut prompts = PromptLog::default();
        let error = match try_method(session, &hop.user, method, login.passphrase.as_ref(), &mut prompts) {
            Ok(()) => return Ok(progress.complete(method)),
            Err(error) => error,
        };
        progress.server_messages.extend(prompts.summary());
        if !is_server_reply(&error) {
            return Err(ConnectError::Permanent(broken_login_fault(session, hop, login, Some(method), &error)));
        }
        if error_code(&error) == PASSWORD_EXPIRED {
            progress.server_messages.push("the password has expired: log in once by hand and change it".to_owned());
        }
        deadline.arm(session);
        // The server may have closed the connection meanwhile.
        let methods = session.auth_methods(&hop.user).ok().map(split_method_list);
        let is_over = methods.is_none();
        progress.record_attempt(method, error_code(&error) == NOT_VERIFIED, methods);
        if is_over {
            break;
        }
    }
    progress.server_messages.extend(banner_lines(session));
    let key = login.key.as_ref().and_then(describe_public_half);
    Err(ConnectError::Permanent(progress.refusal_fault(hop, login, key, seconds_since_1970())))
}

fn split_method_list(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

fn try_method(
    session: &ssh2::Session,
    user: &str,
    method: AuthMethod<'_>,
    passphrase: Option<&Secret>,
    prompts: &mut PromptLog,
) -> Result<(), ssh2::Error> {
    match method {
        AuthMethod::Certificate(key, certificate) => {
            let (key, line) = (normalise_key(key), certificate.line());
            session.userauth_pubkey_memory(user, Some(line), key.expose(), passphrase.map(Secret::expose))
        }
        AuthMethod::Key(key) => {
            let key = normalise_key(key);
            session.userauth_pubkey_memory(user, None, key.expose(), passphrase.map(Secret::expose))
        }
        AuthMethod::Password(password) => session.userauth_password(user, password.expose()),
        AuthMethod::KeyboardInteractive(password) => {
            session.userauth_keyboard_interactive(user, &mut PasswordPrompter { password, prompts })
        }
    }
}

/// The prompts that the server has shown.
#[derive(Debug, Default)]
struct PromptLog(Vec<String>);

impl PromptLog {
    fn summary(&self) -> Option<String> {
        let prompts: Vec<String> = self.0.iter().flat_map(|text| printable_lines(text)).collect();
        (!prompts.is_empty()).then(|| format!("the server asked: {}", prompts.join(" | ")))
    }
}

struct PasswordPrompter<'a> {
    password: &'a Secret,
    prompts: &'a mut PromptLog,
}

impl ssh2::KeyboardInteractivePrompt for PasswordPrompter<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        self.prompts.0.extend(prompts.iter().map(|prompt| prompt.text.to_string()));
        prompts.iter().map(|_| self.password.expose().to_owned()).collect()
    }
}

/// Returns the lines that the server shows at a log-in (`Banner`, PAM).
fn banner_lines(session: &ssh2::Session) -> Vec<String> {
    let lines = session.userauth_banner().ok().flatten().map(printable_lines).unwrap_or_default();
    let omitted = lines.len().saturating_sub(MAX_BANNER_LINES);
    let shown = lines.into_iter().take(MAX_BANNER_LINES).map(|line| format!("the server says: {line}"));
    shown.chain((omitted > 0).then(|| format!("the server says {omitted} more lines"))).collect()
}

/// Returns the printable lines of a text.
fn printable_lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.replace(char::is_control, " ").trim().to_owned());
    let short = |line: String| match line.chars().count() {
        ..=LONGEST_LINE => line,
        letters => format!("(a line of {letters} letters)"),
    };
    lines.filter(|line| !line.is_empty()).map(short).collect()
}

/// Returns whether the error is the server's reply: libssh2 uses the same codes for a connection that is lost while it
/// waits for one.
fn is_server_reply(error: &ssh2::Error) -> bool {
    matches!(error_code(error), REFUSED | PASSWORD_EXPIRED)
        || (error_code(error) == NOT_VERIFIED && !error.message().starts_with("Waiting"))
}

/// Explains a failure that is not a refusal: the key can't be read after all, or the connection was lost.
fn broken_login_fault(
    session: &ssh2::Session,
    hop: &Hop,
    login: &Login,
    method: Option<AuthMethod<'_>>,
    error: &ssh2::Error,
) -> Fault {
    if let Some(AuthMethod::Key(key) | AuthMethod::Certificate(key, _)) = method
        && let Err(fault) = check_private_key(key, login.passphrase.as_ref())
    {
        return fault;
    }
    let user = &hop.user;
    let by = method.map(|method| format!(" by {method}")).unwrap_or_default();
    if error_code(error) == TIMED_OUT {
        return Fault::new(Code::BastionTimeout, format!("`{hop}` did not answer the log-in of `{user}`{by}"));
    }
    // The methods drop the reason why nothing was read; the next read gets it again.
    if error_code(error) == TOO_LONG || session.auth_methods(user).is_err_and(|error| error_code(&error) == TOO_LONG) {
        let cause = format!("`{hop}` answers the log-in of `{user}`{by} with a longer packet than SSH allows");
        let fix = "shorten the file that `Banner` in its sshd_config names to less than 32 kB, or set `Banner none`";
        return Fault::new(Code::BastionLogin, cause).fix(fix);
    }
    let cause = format!("`{hop}` broke off the log-in of `{user}`{by}: {}", error.message());
    banner_lines(session).into_iter().fold(Fault::new(Code::BastionLogin, cause), Fault::detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_servers_text_line_by_line() {
        assert_eq!(printable_lines("\r\n Go\x1b[1m away\n\nnow\t\n"), ["Go [1m away", "now"]);
        assert_eq!(printable_lines(&"x".repeat(301)), ["(a line of 301 letters)"]);
    }
}
