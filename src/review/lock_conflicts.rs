//! The lock modes that exclude each other.

use super::effect::LockMode::{
    self, AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive,
    ShareUpdateExclusive,
};

/// Each mode with its name in `pg_locks` and the modes that it conflicts with (PostgreSQL manual, table 13.2).
const MODES: [(LockMode, &str, &[LockMode]); 8] = [
    (AccessShare, "AccessShareLock", &[AccessExclusive]),
    (RowShare, "RowShareLock", &[Exclusive, AccessExclusive]),
    (RowExclusive, "RowExclusiveLock", &[Share, ShareRowExclusive, Exclusive, AccessExclusive]),
    (
        ShareUpdateExclusive,
        "ShareUpdateExclusiveLock",
        &[ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (Share, "ShareLock", &[RowExclusive, ShareUpdateExclusive, ShareRowExclusive, Exclusive, AccessExclusive]),
    (
        ShareRowExclusive,
        "ShareRowExclusiveLock",
        &[RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (
        Exclusive,
        "ExclusiveLock",
        &[RowShare, RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive],
    ),
    (
        AccessExclusive,
        "AccessExclusiveLock",
        &[
            AccessShare,
            RowShare,
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
    ),
];

impl LockMode {
    /// Returns the mode with this name in `pg_locks`.
    pub(super) fn from_catalog_name(name: &str) -> Option<Self> {
        MODES.iter().find(|(_, known, _)| *known == name).map(|(mode, ..)| *mode)
    }

    /// Returns whether two sessions can't hold these modes on the same table.
    #[must_use]
    pub fn conflicts_with(self, other: Self) -> bool {
        MODES.iter().any(|(mode, _, others)| *mode == self && others.contains(&other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_mutual() {
        for (one, ..) in MODES {
            for (other, ..) in MODES {
                assert_eq!(one.conflicts_with(other), other.conflicts_with(one), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_reader_waits_only_for_the_strongest_lock() {
        assert!(AccessShare.conflicts_with(AccessExclusive) && !AccessShare.conflicts_with(Exclusive));
        assert_eq!(LockMode::from_catalog_name("ShareLock"), Some(Share));
        assert_eq!(LockMode::from_catalog_name("SIReadLock"), None);
    }
}
