//! Lock timeout of each attempt of a piece of work, and the pause after it.
//!
//! All sessions that come after one that waits for a strong lock queue behind it, readers included. The first attempts
//! therefore give up soon, and only the last one waits as long as the user allows; the pauses, in which no session
//! queues, grow instead.

use std::time::Duration;

/// Longest lock timeouts of the first attempts.
const FIRST_TIMEOUTS: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// The first pause; each following one is ten times as long, up to [`LONGEST_PAUSE`]. With the default of four
/// attempts, the pauses outlast a lock that is held for a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The attempts of one piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRetries {
    /// Lock timeout of the last attempt (input `lock-timeout`); zero means no limit.
    pub lock_timeout: Duration,
    /// Number of attempts after the first.
    pub retries: u32,
}

impl LockRetries {
    /// Returns the lock timeout of a statement in this attempt, counted from 0; zero means no limit.
    #[must_use]
    pub fn timeout_for(&self, attempt: u32) -> Duration {
        let first_timeout = usize::try_from(attempt).ok().and_then(|attempt| FIRST_TIMEOUTS.get(attempt));
        match first_timeout {
            Some(first_timeout) if attempt < self.retries => self.lock_timeout.min(*first_timeout),
            _ => self.lock_timeout,
        }
    }

    /// Returns the pause after this failed attempt; `None` after the last one.
    #[must_use]
    pub fn pause_after(&self, attempt: u32) -> Option<Duration> {
        let grown = PAUSE_FACTOR.checked_pow(attempt).and_then(|times| FIRST_PAUSE.checked_mul(times));
        (attempt < self.retries).then(|| grown.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(top: Duration, retries: u32) -> Vec<u128> {
        let lock_retries = LockRetries { lock_timeout: top, retries };
        (0..=retries).map(|attempt| lock_retries.timeout_for(attempt).as_millis()).collect()
    }

    #[test]
    fn the_last_attempt_has_the_whole_lock_timeout_and_none_exceeds_it() {
        assert_eq!(limits(Duration::from_secs(5), 3), [100, 500, 2_000, 5_000]);
        assert_eq!(limits(Duration::from_secs(5), 5), [100, 500, 2_000, 5_000, 5_000, 5_000]);
        assert_eq!(limits(Duration::from_secs(5), 1), [100, 5_000]);
        assert_eq!(limits(Duration::from_secs(5), 0), [5_000]);
        assert_eq!(limits(Duration::from_millis(300), 3), [100, 300, 300, 300]);
        assert_eq!(limits(Duration::ZERO, 2), [0, 0, 0], "without a limit nothing is tried again");
    }

    #[test]
    fn the_pauses_grow_to_a_minute_and_the_default_ones_outlast_a_minute() {
        let pauses = |retries| {
            let lock_retries = LockRetries { lock_timeout: Duration::from_secs(5), retries };
            (0..=retries)
                .map(|attempt| lock_retries.pause_after(attempt).map(|pause| pause.as_secs()))
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), [Some(1), Some(10), Some(60), None]);
        assert_eq!(pauses(0), [None]);
        let hundred_retries = LockRetries { lock_timeout: Duration::ZERO, retries: 100 };
        assert_eq!(hundred_retries.pause_after(99), Some(LONGEST_PAUSE));
        assert!((0..3).filter_map(|attempt| hundred_retries.pause_after(attempt)).sum::<Duration>() > LONGEST_PAUSE);
    }
}
