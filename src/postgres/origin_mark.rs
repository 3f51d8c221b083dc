//! Whose text a message is, said in the message itself: files are sent ahead of their answers, so nothing else tells which of them
//! makes the server say something. A comment costs no round trip, and a server's own log has it, too.

use std::str;

const BEGINNING: &[u8] = b"/* bastion-migrate: ";
const ENDING: &[u8] = b" ends";
const AFTER: &[u8] = b" */";

/// So much of a message is enough to read its mark.
pub(super) const LONGEST: usize = 64;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// This message and those that follow are of this migration.
    Begins(i64),
    /// This message is the last one of this migration.
    Ends(i64),
}

/// Marks the first message of a migration.
pub(crate) fn begins(version: i64) -> String {
    format!("/* bastion-migrate: {version} */")
}

/// Marks the last one.
pub(crate) fn ends(version: i64) -> String {
    format!("/* bastion-migrate: {version} ends */")
}

/// Reads the mark with which a message begins.
pub(super) fn read(text: &[u8]) -> Option<Mark> {
    let rest = text.strip_prefix(BEGINNING)?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let (digits, rest) = rest.split_at(length);
    let version = str::from_utf8(digits).ok()?.parse().ok()?;
    match rest.strip_prefix(ENDING) {
        Some(rest) => rest.starts_with(AFTER).then_some(Mark::Ends(version)),
        None => rest.starts_with(AFTER).then_some(Mark::Begins(version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for version in [0, 7, 20_261_129_120_000, i64::MAX, i64::MIN] {
            assert_eq!(read(format!("{} BEGIN", begins(version)).as_bytes()), Some(Mark::Begins(version)));
            assert_eq!(read(ends(version).as_bytes()), Some(Mark::Ends(version)));
            assert!(ends(version).len() <= LONGEST);
        }
        for other in ["", "BEGIN", "/* bastion-migrate: x */", "/* bastion-migrate: 1", " /* bastion-migrate: 1 */"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
