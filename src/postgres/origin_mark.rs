//! A comment in a message that names its migration: files are sent ahead of the responses, so nothing else shows which
//! one caused a notice. A comment costs no round trip, and it appears in the server's own log, too.

use std::str;

const BEGINNING: &[u8] = b"/* bastion-migrate: ";
const ENDING: &[u8] = b" ends";
const AFTER: &[u8] = b" */";

/// Bytes of a message that contain the comment.
pub(super) const LONGEST: usize = 64;

/// The content of a comment: the position of a migration in the plan, and whether it begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// This message and the following ones belong to this migration.
    Begins(usize),
    /// This is the last message of this migration.
    Ends(usize),
}

/// Returns the comment for the first message of a migration.
pub(crate) fn begins(index: usize) -> String {
    format!("/* bastion-migrate: {index} */")
}

/// Returns the comment for the last message of a migration.
pub(crate) fn ends(index: usize) -> String {
    format!("/* bastion-migrate: {index} ends */")
}

/// Parses the comment at the beginning of a message.
pub(super) fn read(text: &[u8]) -> Option<Mark> {
    let rest = text.strip_prefix(BEGINNING)?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let (digits, rest) = rest.split_at(length);
    let index = str::from_utf8(digits).ok()?.parse().ok()?;
    match rest.strip_prefix(ENDING) {
        Some(rest) => rest.starts_with(AFTER).then_some(Mark::Ends(index)),
        None => rest.starts_with(AFTER).then_some(Mark::Begins(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_comment_as_it_was_written() {
        for index in [0, 7, 20_261_129_120_000, usize::MAX] {
            assert_eq!(read(format!("{} BEGIN", begins(index)).as_bytes()), Some(Mark::Begins(index)));
            assert_eq!(read(ends(index).as_bytes()), Some(Mark::Ends(index)));
            assert!(ends(index).len() <= LONGEST);
        }
        for other in ["", "BEGIN", "/* bastion-migrate: x */", "/* bastion-migrate: 1", " /* bastion-migrate: 1 */"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
