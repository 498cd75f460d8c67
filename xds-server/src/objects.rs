//! Objects of one kind by name. Copies share them, so that a copy costs nothing and a comparison of two worlds looks at
//! what differs alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::iter::Peekable;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Objects by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Objects<K, T>(Arc<BTreeMap<K, Arc<T>>>);

impl<K: Ord + Clone, T> Objects<K, T> {
    /// Puts in an object, in place of the one of this name.
    pub fn insert(&mut self, name: K, object: T) -> Option<Arc<T>> {
        self.share(name, Arc::new(object))
    }

    /// The same with an object that others have as well.
    pub fn share(&mut self, name: K, object: Arc<T>) -> Option<Arc<T>> {
        Arc::make_mut(&mut self.0).insert(name, object)
    }

    /// Takes out an object.
    pub fn remove(&mut self, name: &K) -> Option<Arc<T>> {
        if self.0.contains_key(name) { Arc::make_mut(&mut self.0).remove(name) } else { None }
    }

    /// Puts in objects, in place of those of their last version. One that says the same as before stays what it was.
    pub fn replace(&mut self, last: &Self, next: &Self)
    where
        T: PartialEq,
    {
        last.keys().filter(|name| !next.contains_key(*name)).for_each(|name| drop(self.remove(name)));
        for (name, object) in next {
            if self.get(name).is_none_or(|last| last != object) {
                self.share(name.clone(), Arc::clone(object));
            }
        }
    }

    /// Changes an object, which others go on having as it was.
    #[cfg(test)]
    pub fn get_mut(&mut self, name: &K) -> Option<&mut T>
    where
        T: Clone,
    {
        Arc::make_mut(&mut self.0).get_mut(name).map(Arc::make_mut)
    }

    /// Whether both are copies of one and neither was changed since.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The names of which the two have different objects, or only one has any. An object that was put in anew counts as
    /// different, whatever it says.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a K> {
        let nothing = self.is_same(other);
        let (one, other) = (self.0.iter().peekable(), other.0.iter().peekable());
        Differing { one, other }.take_while(move |_| !nothing)
    }
}

/// Goes through two maps side by side.
struct Differing<'a, K, T> {
    one: Peekable<Iter<'a, K, Arc<T>>>,
    other: Peekable<Iter<'a, K, Arc<T>>>,
}

impl<'a, K: Ord, T> Iterator for Differing<'a, K, T> {
    type Item = &'a K;

    fn next(&mut self) -> Option<&'a K> {
        loop {
            match (self.one.peek(), self.other.peek()) {
                (Some((name, object)), Some((other_name, other))) => {
                    if name < other_name {
                        return self.one.next().map(|(name, _)| name);
                    }
                    if name > other_name {
                        return self.other.next().map(|(name, _)| name);
                    }
                    let same = Arc::ptr_eq(object, other);
                    self.one.next();
                    let passed = self.other.next();
                    if !same {
                        return passed.map(|(name, _)| name);
                    }
                }
                (Some(_), None) => return self.one.next().map(|(name, _)| name),
                (None, _) => return self.other.next().map(|(name, _)| name),
            }
        }
    }
}

impl<K, T> Clone for Objects<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Default for Objects<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, T> Deref for Objects<K, T> {
    type Target = BTreeMap<K, Arc<T>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a, K, T> IntoIterator for &'a Objects<K, T> {
    type Item = (&'a K, &'a Arc<T>);
    type IntoIter = Iter<'a, K, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<K: Ord, T> FromIterator<(K, Arc<T>)> for Objects<K, T> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<T>)>>(objects: I) -> Self {
        Self(Arc::new(objects.into_iter().collect()))
    }
}

impl<K: Serialize, T: Serialize> Serialize for Objects<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, object)| (name, &**object)))
    }
}

impl<'de, K: Deserialize<'de> + Ord, T: Deserialize<'de>> Deserialize<'de> for Objects<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let objects = BTreeMap::<K, T>::deserialize(deserializer)?;
        Ok(objects.into_iter().map(|(name, object)| (name, Arc::new(object))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let mut one = Objects::default();
        for name in ["a", "b", "c"] {
            one.insert(name, 1);
        }
        let mut other = one.clone();
        assert_eq!(one.differing(&other).count(), 0);
        other.insert("b", 1);
        other.remove(&"c");
        other.insert("d", 1);
        assert!(!one.is_same(&other));
        assert_eq!(one.differing(&other).collect::<Vec<_>>(), [&"b", &"c", &"d"]);
        assert_eq!(other.differing(&one).collect::<Vec<_>>(), [&"b", &"c", &"d"]);
        assert_eq!(one.len(), 3, "a copy is a copy");
    }
}
