//! Parts of the world, each with what it was read from. One is read again when something of that has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::problem::Problem;

use super::problems::Problems;
use super::view::{Sources, View};

/// What was made of a part of the world.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) value: Arc<T>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
    sources: Box<[u64]>,
}

impl<T> Part<T> {
    /// Reads a part.
    pub(super) fn read(
        view: View<'_>,
        mut problems: Problems<'_>,
        read: impl FnOnce(&View<'_>, &mut Problems<'_>) -> T,
    ) -> Self {
        let value = Arc::new(read(&view, &mut problems));
        let (notes, problems) = (problems.notes(), problems.into_sorted());
        Self { value, problems, notes, sources: view.noted() }
    }

    pub(super) fn is_stale(&self, changed: &Sources) -> bool {
        changed.meet(&self.sources)
    }
}

/// All parts of one kind, by name.
#[derive(Debug)]
pub(super) struct Parts<K, T> {
    parts: BTreeMap<K, Part<T>>,
    /// Those of which there is something to say.
    told: BTreeSet<K>,
}

impl<K: Ord + Clone, T> Parts<K, T> {
    /// Reads what is new and what is stale again; `read` gives nothing for what is gone. Gives the names of all that,
    /// with what was there before.
    pub(super) fn update<'k>(
        &mut self,
        new_or_gone: impl Iterator<Item = &'k K>,
        changed: &Sources,
        mut read: impl FnMut(&K) -> Option<Part<T>>,
    ) -> Vec<(K, Option<Arc<T>>)>
    where
        K: 'k,
    {
        let mut names: BTreeSet<K> = new_or_gone.cloned().collect();
        if !changed.is_empty() {
            names.extend(self.parts.iter().filter(|(_, part)| part.is_stale(changed)).map(|(name, _)| name.clone()));
        }
        let update = |name: K| {
            self.told.remove(&name);
            let last = match read(&name) {
                Some(part) => {
                    if !part.problems.is_empty() || !part.notes.is_empty() {
                        self.told.insert(name.clone());
                    }
                    self.parts.insert(name.clone(), part)
                }
                None => self.parts.remove(&name),
            };
            (name, last.map(|part| part.value))
        };
        names.into_iter().map(update).collect()
    }

    pub(super) fn get(&self, name: &K) -> Option<&Arc<T>> {
        self.parts.get(name).map(|part| &part.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<T>)> {
        self.parts.iter().map(|(name, part)| (name, &part.value))
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.told().flat_map(|part| &part.problems)
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &Problem> {
        self.told().flat_map(|part| &part.notes)
    }

    fn told(&self) -> impl Iterator<Item = &Part<T>> {
        self.told.iter().filter_map(|name| self.parts.get(name))
    }
}

impl<K, T> Default for Parts<K, T> {
    fn default() -> Self {
        Self { parts: BTreeMap::new(), told: BTreeSet::new() }
    }
}
