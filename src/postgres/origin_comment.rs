//! A comment in a message that names its migration: files are sent ahead of the responses, so nothing else shows which
//! one caused a notice. A comment costs no round trip, and it appears in the server's own log, too.

use std::str;

const PREFIX: &[u8] = b"/* bastion-migrate: ";
const END_MARKER: &[u8] = b" ends";
const SUFFIX: &[u8] = b" */";

/// Bytes of a message that contain the comment.
pub(super) const MAX_LENGTH: usize = 64;

/// The content of a comment: the position of a migration in the plan, and whether it begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OriginComment {
    /// This message and the following ones belong to this migration.
    Begins(usize),
    /// This is the last message of this migration.
    Ends(usize),
}

/// Returns the comment for the first message of a migration.
pub(crate) fn first_message_comment(index: usize) -> String {
    format!("/* bastion-migrate: {index} */")
}

/// Returns the comment for the last message of a migration.
pub(crate) fn last_message_comment(index: usize) -> String {
    format!("/* bastion-migrate: {index} ends */")
}

/// Parses the comment at the beginning of a message.
pub(super) fn parse_comment(text: &[u8]) -> Option<OriginComment> {
    let rest = text.strip_prefix(PREFIX)?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let (digits, rest) = rest.split_at(length);
    let index = str::from_utf8(digits).ok()?.parse().ok()?;
    match rest.strip_prefix(END_MARKER) {
        Some(rest) => rest.starts_with(SUFFIX).then_some(OriginComment::Ends(index)),
        None => rest.starts_with(SUFFIX).then_some(OriginComment::Begins(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_comment_as_it_was_written() {
        for index in [0, 7, 20_261_129_120_000, usize::MAX] {
            assert_eq!(
                parse_comment(format!("{} BEGIN", first_message_comment(index)).as_bytes()),
                Some(OriginComment::Begins(index))
            );
            assert_eq!(parse_comment(last_message_comment(index).as_bytes()), Some(OriginComment::Ends(index)));
            assert!(last_message_comment(index).len() <= MAX_LENGTH);
        }
        for text in ["", "BEGIN", "/* bastion-migrate: x */", "/* bastion-migrate: 1", " /* bastion-migrate: 1 */"] {
            assert_eq!(parse_comment(text.as_bytes()), None, "{text}");
        }
    }
}
