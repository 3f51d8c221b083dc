//! The runner's commands that mask a secret.

use crate::{github::workflow_command::mask_command, secret::Secret};

/// Minimum length of a masked line of a multi-line secret. The runner itself has no minimum, and would hide every `=`
/// in the log of the job.
const MIN_MASK_LENGTH: usize = 4;

/// Returns the commands that mask a secret.
pub(super) fn mask_lines(secret: &Secret) -> Vec<String> {
    mask_values(secret).into_iter().map(mask_command).collect()
}

/// Returns the values that the runner has to mask: each line of the secret, because it masks line by line.
fn mask_values(secret: &Secret) -> Vec<&str> {
    let whole = secret.expose().trim();
    let lines: Vec<&str> = whole.lines().map(str::trim).filter(|line| line.len() >= MIN_MASK_LENGTH).collect();
    match (secret.can_be_hidden(), lines.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => vec![whole],
        (true, false) => lines,
    }
}
