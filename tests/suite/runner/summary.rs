//! The job summary. Source: `CreateStepSummaryCommand` in `FileCommandManager.cs`.

use super::{log::lines, mask::Masker};

/// Maximum size of the file in bytes, before masking.
const LIMIT: usize = 1_048_576;

/// Result of a summary file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Summary {
    /// The file was empty.
    Nothing,
    /// The file was too long, and none of it is shown; the step's result is not affected.
    Aborted(String),
    /// The summary, masked line by line.
    Shown(String),
}

impl Summary {
    /// Processes a file with this content.
    pub(crate) fn of(text: &str, masker: &Masker) -> Self {
        match text.len() {
            0 => Self::Nothing,
            length if length > LIMIT => Self::Aborted(format!(
                "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got {}k.",
                length / 1024
            )),
            _ => Self::Shown(lines(text).map(|line| masker.mask(line) + "\n").collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_shown_up_to_its_limit() {
        let masker = Masker::default();
        assert!(matches!(Summary::of(&"x".repeat(LIMIT), &masker), Summary::Shown(_)));
        let Summary::Aborted(why) = Summary::of(&"x".repeat(LIMIT + 1), &masker) else { panic!("it is too long") };
        assert!(why.ends_with("got 1024k."), "{why}");
        assert_eq!(Summary::of("", &masker), Summary::Nothing);
    }

    #[test]
    fn a_summary_is_masked_line_by_line() {
        let masker = Masker::with_secrets(["secret"]);
        assert_eq!(Summary::of("a secret\r\nsec\nret", &masker), Summary::Shown("a ***\nsec\nret\n".to_owned()));
    }
}
