//! Words that nobody can guess: whoever could guess them could end a fence or an output from inside.

/// 128 random bits in hex.
pub(crate) fn unguessable() -> String {
    let half = || getrandom::u64().expect("Linux always has random bytes for a running process");
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::unguessable;

    #[test]
    fn is_another_one_each_time() {
        assert_eq!(unguessable().len(), 32);
        assert_ne!(unguessable(), unguessable());
    }
}
