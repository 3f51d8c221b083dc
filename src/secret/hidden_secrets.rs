//! The secrets of a redactor: those that the run began with, and those that it obtains.

use super::{secret_search::SecretSearch, value::Secret};
use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Number of obtained secrets that are kept: tokens of some hours, if each minute has one.
const MAX_OBTAINED: usize = 256;

/// The secrets, shared by all clones.
#[derive(Clone, Default)]
pub(super) struct HiddenSecrets(Arc<RwLock<KnownSecrets>>);

#[derive(Default)]
struct KnownSecrets {
    initial: Vec<Secret>,
    obtained: VecDeque<Secret>,
    /// Those of the obtained ones that the runner does not mask yet.
    added: Vec<Secret>,
    search: Option<Arc<SecretSearch>>,
}

impl HiddenSecrets {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let initial: Vec<Secret> = secrets.into_iter().cloned().collect();
        let search = SecretSearch::new(&initial);
        Self(Arc::new(RwLock::new(KnownSecrets { initial, search, ..KnownSecrets::default() })))
    }

    /// Returns the search for all of them; none if there are none.
    pub(super) fn search(&self) -> Option<Arc<SecretSearch>> {
        self.read().search.clone()
    }

    /// Adds a secret, unless it is there already.
    pub(super) fn add(&self, secret: &Secret) {
        if self.read().obtained.contains(secret) {
            return;
        }
        let mut known = self.write();
        known.obtained.push_back(secret.clone());
        if known.obtained.len() > MAX_OBTAINED {
            known.obtained.pop_front();
        }
        known.added.push(secret.clone());
        known.search = SecretSearch::new(known.initial.iter().chain(&known.obtained));
    }

    /// Returns the secrets that were added since the last call.
    pub(super) fn take_added(&self) -> Vec<Secret> {
        if self.read().added.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.write().added)
    }

    fn read(&self) -> RwLockReadGuard<'_, KnownSecrets> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, KnownSecrets> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
