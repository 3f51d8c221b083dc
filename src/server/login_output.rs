//! The output of a login before that of our script: start-up files may print anything.

/// Most bytes before the script that are looked through.
const MAX_BYTES: usize = 64 << 10;

/// The output until the first message of a script.
#[derive(Debug)]
pub(super) struct LoginOutput {
    mark: Vec<u8>,
    begun: Vec<u8>,
    state: LoginState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginState {
    Open,
    Ended,
}

impl LoginOutput {
    /// Expects the message that `say stream` sends with this token.
    pub(super) fn new(token: &str) -> Self {
        Self { mark: format!("\u{1}{token} stream\n").into_bytes(), begun: Vec::new(), state: LoginState::Open }
    }

    /// Returns the bytes behind the message; `None` as long as it has not come.
    pub(super) fn skip<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        if self.state == LoginState::Ended {
            return Some(bytes);
        }
        let before = self.begun.len();
        let room = MAX_BYTES.saturating_sub(before);
        self.begun.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        let end = self.begun.windows(self.mark.len()).position(|part| part == self.mark)? + self.mark.len();
        self.state = LoginState::Ended;
        // The message ends within these bytes: before them it was not complete.
        bytes.get(end.saturating_sub(before)..)
    }

    /// Returns whether the message has come.
    pub(super) fn has_ended(&self) -> bool {
        self.state == LoginState::Ended
    }

    /// Returns the output of a login whose script never began.
    pub(super) fn text(&self) -> &[u8] {
        &self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_begins_behind_the_message_wherever_it_is_split() {
        let all = b"welcome\n\x014711 stream\nPGDMP\x014711 stream\n";
        for split in 0..all.len() {
            let mut login = LoginOutput::new("4711");
            let (first, second) = all.split_at(split);
            let parts = [login.skip(first), login.skip(second)];
            let out: Vec<u8> = parts.into_iter().flatten().flatten().copied().collect();
            assert_eq!(out, b"PGDMP\x014711 stream\n", "{split}");
            assert!(login.has_ended());
        }
    }

    #[test]
    fn a_login_without_our_shell_has_only_output() {
        let mut login = LoginOutput::new("4711");
        assert_eq!(login.skip(b"This account is currently not available.\n"), None);
        assert_eq!((login.has_ended(), login.text().starts_with(b"This account")), (false, true));
    }
}
