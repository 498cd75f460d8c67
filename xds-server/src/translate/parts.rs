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
    pub(super) problems: Box<[Problem]>,
    pub(super) notes: Box<[Problem]>,
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
        Self { value, problems: problems.into(), notes: notes.into(), sources: view.noted() }
    }

    pub(super) fn is_stale(&self, changed: &Sources) -> bool {
        changed.meet(&self.sources)
    }
}

/// All parts of one kind, by name.
#[derive(Debug)]
pub(super) struct Parts<K, T> {
    parts: BTreeMap<Arc<K>, Part<T>>,
    /// Those that looked at a source, behind its hash with nobody. So a change costs what it concerns.
    readers: BTreeSet<(u64, Option<Arc<K>>)>,
    /// Those of which there is something to say.
    told: BTreeSet<Arc<K>>,
}

impl<K: Ord + Clone, T> Parts<K, T> {
    /// Reads what is new and what is stale again; `read` gives nothing for what is gone. Gives the names of all that,
    /// with what was there before.
    pub(super) fn update<'k>(
        &mut self,
        new_or_gone: impl IntoIterator<Item = &'k K>,
        changed: &Sources,
        mut read: impl FnMut(&Arc<K>) -> Option<Part<T>>,
    ) -> Vec<(Arc<K>, Option<Arc<T>>)>
    where
        K: 'k,
    {
        let known = |name: &K| self.parts.get_key_value(name).map(|(name, _)| Arc::clone(name));
        let new_or_gone = new_or_gone.into_iter().map(|name| known(name).unwrap_or_else(|| Arc::new(name.clone())));
        let names: BTreeSet<Arc<K>> =
            new_or_gone.chain(changed.iter().flat_map(|source| self.readers(source))).collect();
        let update = |name: Arc<K>| {
            let next = read(&name);
            (Arc::clone(&name), self.put(name, next).map(|last| last.value))
        };
        names.into_iter().map(update).collect()
    }

    fn readers(&self, source: u64) -> impl Iterator<Item = Arc<K>> {
        let from = self.readers.range((source, None)..);
        from.take_while(move |(other, _)| *other == source).filter_map(|(_, name)| name.clone())
    }

    /// Gives the part that was there before.
    fn put(&mut self, name: Arc<K>, next: Option<Part<T>>) -> Option<Part<T>> {
        let last = self.parts.remove(&name);
        let sources = |part: &Part<T>| part.sources.iter().map(|source| (*source, Some(Arc::clone(&name)))).collect();
        let last_sources: Vec<_> = last.as_ref().map(sources).unwrap_or_default();
        let sources: Vec<_> = next.as_ref().map(sources).unwrap_or_default();
        if last_sources != sources {
            for reader in &last_sources {
                self.readers.remove(reader);
            }
            self.readers.extend(sources);
        }
        match &next {
            Some(part) if !part.problems.is_empty() || !part.notes.is_empty() => self.told.insert(Arc::clone(&name)),
            _ => self.told.remove(&name),
        };
        self.parts.extend(next.map(|next| (name, next)));
        last
    }

    pub(super) fn get(&self, name: &K) -> Option<&Arc<T>> {
        self.parts.get(name).map(|part| &part.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<T>)> {
        self.parts.iter().map(|(name, part)| (&**name, &part.value))
    }

    /// The same with names that can be shared.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<K>, &Arc<T>)> {
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
        Self { parts: BTreeMap::new(), readers: BTreeSet::new(), told: BTreeSet::new() }
    }
}
