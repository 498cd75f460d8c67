//! Objects of one kind by name. Copies share them, so that a copy costs nothing, a change costs little, and a comparison of
//! two worlds looks at what differs alone.
//!
//! ```text
//! Objects ─> chunks ─> names ─> object      in order; a copy shares each of these until it is changed
//! ```

use std::slice;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most objects of a chunk: so many names a change copies.
const CHUNK: usize = 64;

/// Objects by name.
#[derive(Debug)]
pub struct Objects<K, T>(Arc<Vec<Chunk<K, T>>>);

/// Some of the objects, in the order of their names; never empty.
#[derive(Debug)]
struct Chunk<K, T>(Arc<Vec<(K, Arc<T>)>>);

impl<K: Ord, T> Objects<K, T> {
    /// An object.
    #[must_use]
    pub fn get(&self, name: &K) -> Option<&Arc<T>> {
        let chunk = self.0.get(self.chunk_of(name))?;
        let place = chunk.find(name).ok()?;
        chunk.0.get(place).map(|(_, object)| object)
    }

    /// Whether there is an object of this name.
    #[must_use]
    pub fn contains_key(&self, name: &K) -> bool {
        self.get(name).is_some()
    }

    /// The objects from this name on.
    pub fn starting_at(&self, name: K) -> impl Iterator<Item = (&K, &Arc<T>)> {
        let chunks = self.0.get(self.chunk_of(&name)..).unwrap_or_default();
        Iter::of(chunks).skip_while(move |(other, _)| **other < name)
    }

    /// Which chunk a name is in, or would be.
    fn chunk_of(&self, name: &K) -> usize {
        self.0.partition_point(|chunk| chunk.0.first().is_some_and(|(first, _)| first <= name)).saturating_sub(1)
    }
}

impl<K, T> Objects<K, T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.0.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of their names.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, T> {
        Iter::of(&self.0)
    }

    /// Their names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(name, _)| name)
    }

    /// All of them, without their names.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.iter().map(|(_, object)| object)
    }

    /// Whether both are copies of one and neither was changed since.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K: Ord + Clone, T> Objects<K, T> {
    /// Puts in an object, in place of the one of this name.
    pub fn insert(&mut self, name: K, object: T) -> Option<Arc<T>> {
        self.share(name, Arc::new(object))
    }

    /// The same with an object that others have as well.
    pub fn share(&mut self, name: K, object: Arc<T>) -> Option<Arc<T>> {
        let index = self.chunk_of(&name);
        let chunks = Arc::make_mut(&mut self.0);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Chunk(Arc::new(vec![(name, object)])));
            return None;
        };
        let place = chunk.find(&name);
        let entries = Arc::make_mut(&mut chunk.0);
        match place {
            Ok(place) => return entries.get_mut(place).map(|(_, last)| std::mem::replace(last, object)),
            Err(place) if entries.len() < CHUNK => entries.insert(place, (name, object)),
            Err(place) => {
                // What comes in order leaves full chunks behind it.
                let at = if place == CHUNK { CHUNK } else { CHUNK / 2 };
                let mut rest = entries.split_off(at);
                match place.checked_sub(at) {
                    Some(place) => rest.insert(place, (name, object)),
                    None => entries.insert(place, (name, object)),
                }
                chunks.insert(index + 1, Chunk(Arc::new(rest)));
            }
        }
        None
    }

    /// Takes out an object.
    pub fn remove(&mut self, name: &K) -> Option<Arc<T>> {
        let index = self.chunk_of(name);
        let place = self.0.get(index)?.find(name).ok()?;
        let chunks = Arc::make_mut(&mut self.0);
        let entries = Arc::make_mut(&mut chunks.get_mut(index)?.0);
        let (_, object) = entries.remove(place);
        if entries.is_empty() {
            chunks.remove(index);
        }
        Some(object)
    }

    /// Puts in objects, in place of those of their last version. One that says the same as before stays what it was.
    pub fn replace(&mut self, last: &Self, next: &Self)
    where
        T: PartialEq,
    {
        last.keys().filter(|name| !next.contains_key(name)).for_each(|name| drop(self.remove(name)));
        for (name, object) in next {
            if self.get(name).is_none_or(|last| last != object) {
                self.share(name.clone(), Arc::clone(object));
            }
        }
    }

    /// Objects that say the same as before take up memory once, and are known to be the same.
    pub fn share_unchanged(&mut self, last: &Self)
    where
        T: PartialEq,
    {
        for (name, last) in last {
            if self.get(name).is_some_and(|object| !Arc::ptr_eq(object, last) && object == last) {
                self.share(name.clone(), Arc::clone(last));
            }
        }
    }

    /// Changes an object, which others go on having as it was.
    #[cfg(test)]
    pub fn get_mut(&mut self, name: &K) -> Option<&mut T>
    where
        T: Clone,
    {
        let index = self.chunk_of(name);
        let chunk = Arc::make_mut(&mut self.0).get_mut(index)?;
        let place = chunk.find(name).ok()?;
        Arc::make_mut(&mut chunk.0).get_mut(place).map(|(_, object)| Arc::make_mut(object))
    }

    /// The names of which the two have different objects, or only one has any, in order. An object that was put in anew
    /// counts as different, whatever it says.
    #[must_use]
    pub fn differing<'a>(&'a self, other: &'a Self) -> Vec<&'a K> {
        let mut differing = Vec::new();
        if self.is_same(other) {
            return differing;
        }
        let (mut one, mut other) = (self.iter(), other.iter());
        loop {
            one.pass_shared(&mut other);
            match (one.first(), other.first()) {
                (Some((name, object)), Some((other_name, other_object))) if name == other_name => {
                    if !Arc::ptr_eq(object, other_object) {
                        differing.push(name);
                    }
                    one.next();
                    other.next();
                }
                (Some((name, _)), there) if there.is_none_or(|(other_name, _)| name < other_name) => {
                    differing.push(name);
                    one.next();
                }
                (_, Some((name, _))) => {
                    differing.push(name);
                    other.next();
                }
                (_, None) => return differing,
            }
        }
    }
}

impl<K: Ord, T> Chunk<K, T> {
    fn find(&self, name: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(name))
    }
}

/// Goes through objects in order.
#[derive(Debug)]
pub struct Iter<'a, K, T> {
    /// Without those that were begun.
    chunks: slice::Iter<'a, Chunk<K, T>>,
    /// What is left of the chunk at hand.
    entries: slice::Iter<'a, (K, Arc<T>)>,
}

impl<'a, K, T> Iter<'a, K, T> {
    fn of(chunks: &'a [Chunk<K, T>]) -> Self {
        let (chunks, entries) = (chunks.iter(), [].iter());
        Self { chunks, entries }
    }

    /// What comes next.
    fn first(&mut self) -> Option<(&'a K, &'a Arc<T>)> {
        if self.entries.as_slice().is_empty() {
            self.entries = self.chunks.next()?.0.iter();
        }
        self.entries.as_slice().first().map(|(name, object)| (name, object))
    }

    /// Goes on behind the chunks that both share, where both are at the beginning of one.
    fn pass_shared(&mut self, other: &mut Self) {
        while let ([], [], [one, ..], [two, ..]) =
            (self.entries.as_slice(), other.entries.as_slice(), self.chunks.as_slice(), other.chunks.as_slice())
            && Arc::ptr_eq(&one.0, &two.0)
        {
            self.chunks.next();
            other.chunks.next();
        }
    }
}

impl<'a, K, T> Iterator for Iter<'a, K, T> {
    type Item = (&'a K, &'a Arc<T>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.first();
        self.entries.next();
        first
    }
}

impl<K, T> Clone for Objects<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Clone for Chunk<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Default for Objects<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// However they are divided into chunks.
impl<K: PartialEq, T: PartialEq> PartialEq for Objects<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.iter().eq(other.iter())
    }
}

impl<K: Eq, T: Eq> Eq for Objects<K, T> {}

impl<'a, K, T> IntoIterator for &'a Objects<K, T> {
    type Item = (&'a K, &'a Arc<T>);
    type IntoIter = Iter<'a, K, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Ord + Clone, T> FromIterator<(K, Arc<T>)> for Objects<K, T> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<T>)>>(objects: I) -> Self {
        let mut all = Self::default();
        objects.into_iter().for_each(|(name, object)| drop(all.share(name, object)));
        all
    }
}

impl<K: Serialize, T: Serialize> Serialize for Objects<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, object)| (name, &**object)))
    }
}

impl<'de, K: Deserialize<'de> + Ord + Clone, T: Deserialize<'de>> Deserialize<'de> for Objects<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let objects = std::collections::BTreeMap::<K, T>::deserialize(deserializer)?;
        Ok(objects.into_iter().map(|(name, object)| (name, Arc::new(object))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let mut one = Objects::default();
        for name in ["a", "b", "c"] {
            one.insert(name, 1);
        }
        let mut other = one.clone();
        assert!(one.differing(&other).is_empty());
        other.insert("b", 1);
        other.remove(&"c");
        other.insert("d", 1);
        assert!(!one.is_same(&other));
        assert_eq!(one.differing(&other), [&"b", &"c", &"d"]);
        assert_eq!(other.differing(&one), [&"b", &"c", &"d"]);
        assert_eq!(one.len(), 3, "a copy is a copy");
    }

    #[test]
    fn what_was_not_changed_is_shared() {
        let many: Objects<usize, usize> = (0..10 * CHUNK).map(|name| (name, Arc::new(name))).collect();
        assert_eq!(many.0.len(), 10);
        let mut changed = many.clone();
        changed.insert(CHUNK * 5, 0);
        let shared = many.0.iter().zip(&*changed.0).filter(|(one, other)| Arc::ptr_eq(&one.0, &other.0));
        assert_eq!(shared.count(), 9);
        assert_eq!(many.differing(&changed), [&(CHUNK * 5)]);
    }

    proptest! {
        #[test]
        fn they_are_what_a_sorted_map_is(steps in prop::collection::vec((0..300_u16, any::<bool>()), 0..600)) {
            let mut objects = Objects::default();
            let mut map = BTreeMap::new();
            for (step, (name, put)) in steps.into_iter().enumerate() {
                let (last, last_map) = (objects.clone(), map.clone());
                let (was, was_in_map) = match put {
                    true => (objects.insert(name, step), map.insert(name, step)),
                    false => (objects.remove(&name), map.remove(&name)),
                };
                prop_assert_eq!(was.as_deref(), was_in_map.as_ref());
                prop_assert_eq!(objects.get(&name).map(|object| **object), map.get(&name).copied());
                prop_assert_eq!(objects.len(), map.len());
                let differs = last_map.get(&name) != map.get(&name);
                prop_assert_eq!(objects.differing(&last), differs.then_some(&name).into_iter().collect::<Vec<_>>());
                prop_assert!(last.iter().map(|(name, object)| (name, &**object)).eq(&last_map));
            }
            prop_assert!(objects.iter().map(|(name, object)| (name, &**object)).eq(&map));
            let from = objects.starting_at(150).map(|(name, object)| (name, &**object));
            prop_assert!(from.eq(map.range(150..)));
            let again: Objects<u16, usize> =
                map.into_iter().rev().map(|(name, object)| (name, Arc::new(object))).collect();
            prop_assert_eq!(again, objects);
        }
    }
}
