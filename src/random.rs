//! Random tokens that can't be guessed: with a guessed token, a text could end its own fence or output.

/// Returns 128 random bits in hexadecimal.
pub(crate) fn random_token() -> String {
    let half = || getrandom::u64().expect("Linux always has random bytes for a running process");
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::random_token;

    #[test]
    fn differs_each_time() {
        assert_eq!(random_token().len(), 32);
        assert_ne!(random_token(), random_token());
    }
}
