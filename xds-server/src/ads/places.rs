//! Places among the streams. A tenant of a cluster has its own namespace and what is in it, so places are counted by
//! Gateway (its service account) and by namespace before they are counted in all, and the last ones in all are for
//! namespaces that have few. Service accounts that are of no Gateway have a few places apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Identity;
use super::bounds::Bounds;
use super::refusal::Refusal;

/// A namespace with fewer streams than these gets one of those that are reserved.
const FEW: usize = 8;

/// Whose streams and bytes are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party {
    /// A namespace; an address, where nobody is asked.
    pub(super) group: String,
    /// A service account.
    member: String,
}

impl Party {
    /// Who this is, seen at this address.
    pub(super) fn of(identity: &Identity, address: &str) -> Self {
        match identity {
            Identity::Account(account) => Self { group: account.namespace().to_owned(), member: account.to_string() },
            Identity::Unasked => Self { group: address.to_owned(), member: address.to_owned() },
        }
    }
}

/// What is known of a client when it takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// It may be a Gateway that is there.
    Gateway,
    /// It is a service account that is of no Gateway.
    Stranger,
    /// Nobody asked.
    Unasked,
}

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    bounds: Bounds,
    taken: Arc<Mutex<HashMap<Count, usize>>>,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Count {
    All(Class),
    Group(Class, String),
    Member(Class, String),
}

/// A place until dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    party: Party,
    class: Class,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, taken: Arc::default() }
    }

    /// Takes a place.
    pub(super) fn take(&self, party: &Party, class: Class) -> Result<Place, Refusal> {
        let mut taken = self.taken();
        let counts = counts(party, class);
        let [all, group, member] = counts.each_ref().map(|count| taken.get(count).copied().unwrap_or_default());
        self.find_room(class, all, group, member)?;
        counts.into_iter().for_each(|count| *taken.entry(count).or_default() += 1);
        Ok(Place { places: self.clone(), party: party.clone(), class })
    }

    fn find_room(&self, class: Class, all: usize, group: usize, member: usize) -> Result<(), Refusal> {
        let bounds = &self.bounds;
        match class {
            Class::Gateway if member >= bounds.streams_per_gateway => {
                Err(Refusal::TooManyOwnStreams(bounds.streams_per_gateway))
            }
            Class::Gateway if group >= bounds.streams_per_namespace() => {
                Err(Refusal::TooManyStreamsOfNamespace(bounds.streams_per_namespace()))
            }
            Class::Gateway => {
                let open = if group < FEW { bounds.streams } else { bounds.streams - bounds.streams_reserved() };
                if all < open { Ok(()) } else { Err(Refusal::TooManyStreams(open)) }
            }
            Class::Stranger => {
                let (each, namespace, total) = bounds.streams_of_strangers();
                if member < each && group < namespace && all < total {
                    Ok(())
                } else {
                    Err(Refusal::TooManyWithoutGateway(each))
                }
            }
            Class::Unasked if member >= bounds.streams_per_address() => {
                Err(Refusal::TooManyOwnStreams(bounds.streams_per_address()))
            }
            Class::Unasked if all >= bounds.streams => Err(Refusal::TooManyStreams(bounds.streams)),
            Class::Unasked => Ok(()),
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Count, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whose bytes are counted together with this one's.
    pub(super) fn group(&self) -> &str {
        &self.party.group
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Takes a place of this class in place of this one, if that is of another class.
    pub(super) fn change(&mut self, class: Class) -> Result<(), Refusal> {
        if class != self.class {
            *self = self.places.take(&self.party, class)?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        for count in counts(&self.party, self.class) {
            if let Some(number) = taken.get_mut(&count) {
                *number -= 1;
                if *number == 0 {
                    taken.remove(&count);
                }
            }
        }
    }
}

fn counts(party: &Party, class: Class) -> [Count; 3] {
    [Count::All(class), Count::Group(class, party.group.clone()), Count::Member(class, party.member.clone())]
}

#[cfg(test)]
mod tests {
    use super::super::identity::ServiceAccount;
    use super::*;

    fn party(namespace: &str, name: &str) -> Party {
        Party::of(&Identity::Account(ServiceAccount::new(namespace, name).unwrap()), "")
    }

    fn places() -> Places {
        Places::new(Bounds { streams: 160, streams_per_gateway: 30, ..Bounds::default() })
    }

    /// Takes as many as there are, and says why there are no more.
    fn take_all(places: &Places, party: &Party, class: Class) -> (Vec<Place>, Refusal) {
        let mut taken = Vec::new();
        loop {
            match places.take(party, class) {
                Ok(place) => taken.push(place),
                Err(refusal) => return (taken, refusal),
            }
        }
    }

    #[test]
    fn no_gateway_and_no_namespace_takes_all_places() {
        let places = places();
        let (gateway, why) = take_all(&places, &party("a", "one"), Class::Gateway);
        assert_eq!((gateway.len(), why), (30, Refusal::TooManyOwnStreams(30)));
        let (second, why) = take_all(&places, &party("a", "two"), Class::Gateway);
        assert_eq!((second.len(), why), (10, Refusal::TooManyStreamsOfNamespace(40)));
        let others: Vec<_> = ["b", "c"]
            .iter()
            .flat_map(|namespace| {
                ["one", "two"].map(|name| take_all(&places, &party(namespace, name), Class::Gateway).0)
            })
            .flatten()
            .collect();
        assert_eq!(others.len(), 80);
        let (late, why) = take_all(&places, &party("d", "one"), Class::Gateway);
        assert_eq!((late.len(), why), (FEW, Refusal::TooManyStreams(120)), "those that have none yet find a few");
        drop(gateway);
        assert!(places.take(&party("d", "one"), Class::Gateway).is_ok());
    }

    #[test]
    fn strangers_have_few() {
        let places = places();
        let (first, why) = take_all(&places, &party("a", "one"), Class::Stranger);
        assert_eq!((first.len(), why), (8, Refusal::TooManyWithoutGateway(8)));
        let (second, _) = take_all(&places, &party("b", "one"), Class::Stranger);
        assert_eq!(second.len(), 2, "of all");
        assert!(places.take(&party("a", "one"), Class::Gateway).is_ok(), "they take no Gateway's place");
    }

    #[test]
    fn a_stranger_becomes_a_gateway_and_gives_its_place_back() {
        let places = places();
        let mut place = places.take(&party("a", "one"), Class::Stranger).expect("a place");
        place.change(Class::Gateway).expect("a place");
        assert_eq!(place.class(), Class::Gateway);
        assert_eq!(take_all(&places, &party("a", "one"), Class::Stranger).0.len(), 8);
        drop(place);
        assert!(places.taken().is_empty(), "nothing is remembered of who is gone");
    }
}
