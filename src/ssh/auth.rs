//! Logging in: tries the methods in order, as long as the server still accepts them. A server may require several
//! (`AuthenticationMethods`): then a changed list of methods shows which one it has accepted, because libssh2 drops the
//! server's own report of that.
#![expect(clippy::disallowed_types, reason = "logging in is a conversation of libssh2's session")]

use super::{
    key_text::normalised,
    libssh2::{Deadline, Failure, NOT_VERIFIED, PASSWORD_EXPIRED, REFUSED, TIMED_OUT, TOO_LONG, code_of},
    login::{Method, Progress, plan},
    private_key::{check_key, public_half},
    route::{Hop, Login},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Number of the server's lines that are shown.
const SHOWN: usize = 12;

/// Length of the longest line that is shown, in characters. A longer one is replaced as a whole: a part of it could be
/// a part of a secret.
const LONGEST_LINE: usize = 300;

/// Logs in and returns the methods that it took.
pub(super) fn log_in(session: &ssh2::Session, hop: &Hop, login: &Login, until: Deadline) -> Result<String, Failure> {
    let plan = plan(login);
    let mut progress = Progress::default();
    // A key is tried without asking for the methods first: asking costs a round trip, and libssh2 reports an accepted
    // key. An accepted password shows only in the comparison of the lists.
    if let Some(Method::Password(_)) = plan.first() {
        until.arm(session);
        let wanted = session.auth_methods(&hop.user);
        if session.authenticated() {
            return Ok("nothing at all".to_owned());
        }
        progress.wanted =
            Some(methods(wanted.map_err(|error| Failure::Final(explain(session, hop, login, None, &error)))?));
    }
    while let Some(method) = progress.next(&plan) {
        until.arm(session);
        let mut asked = Asked::default();
        let error = match attempt(session, &hop.user, method, login.passphrase.as_ref(), &mut asked) {
            Ok(()) => return Ok(progress.with(method)),
            Err(error) => error,
        };
        progress.heard.extend(asked.shown());
        if !is_answer(&error) {
            return Err(Failure::Final(explain(session, hop, login, Some(method), &error)));
        }
        if code_of(&error) == PASSWORD_EXPIRED {
            progress.heard.push("the password has expired: log in once by hand and change it".to_owned());
        }
        until.arm(session);
        // The server may have closed the connection meanwhile.
        let wanted = session.auth_methods(&hop.user).ok().map(methods);
        let is_over = wanted.is_none();
        progress.answered(method, code_of(&error) == NOT_VERIFIED, wanted);
        if is_over {
            break;
        }
    }
    progress.heard.extend(words(session));
    Err(Failure::Final(progress.refusal(hop, login, login.key.as_ref().and_then(public_half))))
}

fn methods(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

fn attempt(
    session: &ssh2::Session,
    user: &str,
    method: Method<'_>,
    passphrase: Option<&Secret>,
    asked: &mut Asked,
) -> Result<(), ssh2::Error> {
    match method {
        Method::Key(key) => {
            let key = normalised(key);
            session.userauth_pubkey_memory(user, None, key.expose(), passphrase.map(Secret::expose))
        }
        Method::Password(password) => session.userauth_password(user, password.expose()),
        Method::KeyboardInteractive(password) => {
            session.userauth_keyboard_interactive(user, &mut Answers { password, asked })
        }
    }
}

/// The prompts that the server has shown.
#[derive(Debug, Default)]
struct Asked(Vec<String>);

impl Asked {
    fn shown(&self) -> Option<String> {
        let questions: Vec<String> = self.0.iter().flat_map(|text| readable(text)).collect();
        (!questions.is_empty()).then(|| format!("the server asked: {}", questions.join(" | ")))
    }
}

struct Answers<'a> {
    password: &'a Secret,
    asked: &'a mut Asked,
}

impl ssh2::KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        self.asked.0.extend(prompts.iter().map(|prompt| prompt.text.to_string()));
        prompts.iter().map(|_| self.password.expose().to_owned()).collect()
    }
}

/// Returns the lines that the server shows at a log-in (`Banner`, PAM).
fn words(session: &ssh2::Session) -> Vec<String> {
    let lines = session.userauth_banner().ok().flatten().map(readable).unwrap_or_default();
    let more = lines.len().saturating_sub(SHOWN);
    let shown = lines.into_iter().take(SHOWN).map(|line| format!("the server says: {line}"));
    shown.chain((more > 0).then(|| format!("the server says {more} more lines"))).collect()
}

/// Returns the printable lines of a text.
fn readable(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.replace(char::is_control, " ").trim().to_owned());
    let short = |line: String| match line.chars().count() {
        ..=LONGEST_LINE => line,
        letters => format!("(a line of {letters} letters)"),
    };
    lines.filter(|line| !line.is_empty()).map(short).collect()
}

/// Returns whether the error is the server's reply: libssh2 uses the same codes for a connection that is lost while it
/// waits for one.
fn is_answer(error: &ssh2::Error) -> bool {
    matches!(code_of(error), REFUSED | PASSWORD_EXPIRED)
        || (code_of(error) == NOT_VERIFIED && !error.message().starts_with("Waiting"))
}

/// Explains a failure that is not a refusal: the key can't be read after all, or the connection was lost.
fn explain(
    session: &ssh2::Session,
    hop: &Hop,
    login: &Login,
    method: Option<Method<'_>>,
    error: &ssh2::Error,
) -> Fault {
    if let Some(Method::Key(key)) = method
        && let Err(fault) = check_key(key, login.passphrase.as_ref())
    {
        return fault;
    }
    let user = &hop.user;
    let by = method.map(|method| format!(" by {method}")).unwrap_or_default();
    if code_of(error) == TIMED_OUT {
        return Fault::new(Code::BastionTimeout, format!("`{hop}` did not answer the log-in of `{user}`{by}"));
    }
    // The methods drop the reason why nothing was read; the next read gets it again.
    if code_of(error) == TOO_LONG || session.auth_methods(user).is_err_and(|error| code_of(&error) == TOO_LONG) {
        let cause = format!("`{hop}` answers the log-in of `{user}`{by} with a longer packet than SSH allows");
        let fix = "shorten the file that `Banner` in its sshd_config names to less than 32 kB, or set `Banner none`";
        return Fault::new(Code::BastionLogin, cause).fix(fix);
    }
    let cause = format!("`{hop}` broke off the log-in of `{user}`{by}: {}", error.message());
    words(session).into_iter().fold(Fault::new(Code::BastionLogin, cause), Fault::detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_servers_text_line_by_line() {
        assert_eq!(readable("\r\n Go\x1b[1m away\n\nnow\t\n"), ["Go [1m away", "now"]);
        assert_eq!(readable(&"x".repeat(301)), ["(a line of 301 letters)"]);
    }
}
