//! Formats the causes of errors, for the whole crate.

use std::error::Error;

/// Returns the error and its sources, outermost first, one line each. A source that its parent has already printed is
/// left out (tokio-postgres prints its cause and then returns it as the source again).
pub(super) fn cause_lines(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let line = error.to_string();
        if !lines.iter().any(|printed| printed.contains(&line)) {
            lines.push(line);
        }
        next = error.source();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::cause_lines;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: inner")]
    struct Repeats(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn prints_a_repeated_cause_once() {
        assert_eq!(cause_lines(&Repeats(Inner)), ["outer: inner"]);
    }
}
