//! The world as far as the API server has told it. Without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::Value;

use super::item::{LAST_APPLIED, Unreadable};
use super::kinds::{Content, KINDS, Kind};
use crate::resources::{Name, ObjectRef, Resources, Turn};
use crate::source::Change;
use crate::source::nulls::{self, Nulls};
use crate::source::object::{self, Fault, Origin, Read};
use crate::source::references::{self, Keys};
use crate::translate::WRITTEN_BY;

mod deleted;

/// What is told of an object of which a part can't be read.
const MALFORMED: &str = "Malformed";

/// What happened to a kind's objects.
#[derive(Clone, Debug)]
pub enum Event {
    /// All objects are about to be told again.
    Restarted,
    /// There is this object, of which only the metadata may be given where the kind is kept when referenced.
    Applied(Value),
    /// There is this object, of which a part can't be read.
    Malformed(Value, Unreadable),
    /// This object is gone.
    Deleted(Value),
    /// After [`Event::Restarted`]: those were all.
    Complete,
}

/// The world as it is known.
#[derive(Debug)]
pub struct Store {
    resources: Arc<Resources>,
    /// Kinds of which not all objects are known yet, by name.
    incomplete: BTreeSet<&'static str>,
    /// Objects of a kind that is being told again and that were not told yet.
    untold: BTreeMap<&'static str, BTreeSet<Name>>,
    /// All objects that there are.
    known: BTreeMap<&'static str, BTreeMap<Name, Version>>,
    /// The ConfigMaps and Secrets that are referred to, as of the last look.
    references: BTreeMap<ObjectRef, Keys>,
    /// Those of them that were fetched.
    fetched: BTreeMap<ObjectRef, Fetched>,
    /// How many bytes are kept of them for each namespace…
    held: BTreeMap<String, usize>,
    /// …and how many may be.
    room: usize,
    /// Counts what was written and deleted.
    turn: Turn,
    /// The world as it was told last.
    told: Option<Arc<Resources>>,
    /// Whether there is a world that was not told.
    changed: bool,
    /// Whether somebody wrote a status: we ourselves, or others.
    statuses: bool,
}

/// An object that is kept because it is referred to.
#[derive(Clone, Debug)]
struct Fetched {
    version: Version,
    /// What is kept of it.
    keys: Keys,
    /// How many bytes that is.
    bytes: usize,
    /// Whether its namespace had room for it.
    is_kept: bool,
}

/// Which state of an object is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Its resourceVersion, which is another one after each change.
    resource: String,
    /// Its generation, which is another one after each change of its spec, with a hash of its labels and annotations; none
    /// where its kind has no generations.
    meaning: Option<(i64, u64)>,
    /// A hash of what changes when somebody writes it on purpose: its spec, or an annotation that says so.
    written: u64,
}

impl Store {
    /// Where so many bytes are kept for a namespace of what its objects refer to.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            resources: Arc::default(),
            incomplete: KINDS.iter().map(|kind| kind.kind).collect(),
            untold: BTreeMap::new(),
            known: BTreeMap::new(),
            references: BTreeMap::new(),
            fetched: BTreeMap::new(),
            held: BTreeMap::new(),
            room,
            turn: 0,
            told: None,
            changed: true,
            statuses: false,
        }
    }

    /// Takes in what happened.
    pub fn apply(&mut self, kind: &'static Kind, event: Event) {
        match event {
            Event::Restarted => {
                let known = self.known.entry(kind.kind).or_default();
                self.untold.insert(kind.kind, known.keys().cloned().collect());
            }
            Event::Applied(object) => self.applied(kind, object, None),
            Event::Malformed(object, unreadable) => self.applied(kind, object, Some(unreadable)),
            Event::Deleted(object) => {
                let Some(name) = name(&object) else { return };
                self.deleted(kind, &name);
            }
            Event::Complete => {
                for name in self.untold.remove(kind.kind).unwrap_or_default() {
                    self.deleted(kind, &name);
                }
                self.incomplete.remove(kind.kind);
            }
        }
    }

    fn applied(&mut self, kind: &'static Kind, object: Value, unreadable: Option<Unreadable>) {
        let Some(name) = name(&object) else { return };
        if let Some(untold) = self.untold.get_mut(kind.kind) {
            untold.remove(&name);
        }
        let version = Version::of(&object);
        let last = self.known.entry(kind.kind).or_default().insert(name.clone(), version.clone());
        // After a new start of the watch most objects are told again unchanged.
        if kind.content == Content::WhenReferenced || last.as_ref() == Some(&version) {
            return;
        }
        if last.as_ref().is_none_or(|last| last.written != version.written) {
            self.written(kind, &name);
        }
        // Of a kind with generations nothing but the status may have changed.
        if version.meaning.is_none() || last.is_none_or(|last| last.meaning != version.meaning) {
            self.changed = true;
        } else {
            self.statuses = true;
        }
        let fault = unreadable.map(Fault::from);
        self.put(kind, name, object, fault);
    }

    fn deleted(&mut self, kind: &'static Kind, name: &Name) {
        if self.known.entry(kind.kind).or_default().remove(name).is_none() {
            return;
        }
        let object = object_ref(kind, name);
        if kind.content == Content::WhenReferenced && !self.forget(&object) {
            return;
        }
        self.changed = true;
        self.turn = self.turn.saturating_add(1);
        let resources = Arc::make_mut(&mut self.resources);
        let protected = deleted::protected(&object, resources);
        object::remove(&object, resources);
        if let Some(protected) = protected {
            deleted::remember(&object, protected, self.turn, resources);
        }
        match kind.kind {
            "Namespace" => deleted::forget(&name.name, resources),
            "HTTPRoute" => drop(resources.written.remove(name)),
            _ => {}
        }
    }

    /// An object is new, or was written again.
    fn written(&mut self, kind: &'static Kind, name: &Name) {
        let resources = Arc::make_mut(&mut self.resources);
        // Of what was written before all deletions nobody asks.
        if kind.kind == "HTTPRoute" && !resources.deleted.is_empty() {
            self.turn = self.turn.saturating_add(1);
            resources.written.insert(name.clone(), self.turn);
            self.changed = true;
        }
    }

    /// Reads an object into the resources, unless a part of it can't be read.
    fn put(&mut self, kind: &'static Kind, name: Name, mut document: Value, fault: Option<Fault>) {
        let object = object_ref(kind, &name);
        let resources = Arc::make_mut(&mut self.resources);
        object::remove(&object, resources);
        resources.deleted.remove(&object);
        strip(kind, &mut document);
        if let Some(fault) = fault {
            self.changed = true;
            return object::refuse(&object, &document, fault, resources);
        }
        let read = object::read(&object, kind.version, Origin::ApiServer, document, resources);
        if let Read::Malformed(malformed) = read {
            self.changed = true;
            resources.mark(&object, *malformed);
        }
    }

    /// Whether all kinds are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Whether a world was told.
    #[must_use]
    pub fn has_told(&self) -> bool {
        self.told.is_some()
    }

    /// Brings what is kept because it is referred to in line with what is referred to now: drops the rest, and gives the
    /// objects whose content has to be fetched.
    pub fn wanted(&mut self) -> Vec<(&'static Kind, Name)> {
        self.references = references::of(&self.resources);
        let unwanted = self.fetched.keys().filter(|object| !self.references.contains_key(object));
        for object in unwanted.cloned().collect::<Vec<_>>() {
            self.forget(&object);
            // Nothing refers to it, so nothing changes.
            object::remove(&object, Arc::make_mut(&mut self.resources));
        }
        let kinds = KINDS.iter().filter(|kind| kind.content == Content::WhenReferenced);
        let mut wanted = Vec::new();
        for kind in kinds {
            let known = self.known.get(kind.kind);
            for (object, keys) in self
                .references
                .iter()
                .filter(|(object, _)| (object.group.as_str(), object.kind.as_str()) == (kind.group, kind.kind))
            {
                let Some(version) = known.and_then(|known| known.get(&object.name)) else { continue };
                let is_there = |last: &Fetched| {
                    let may_come = !last.is_kept && self.has_room(&object.name.namespace, last.bytes);
                    (&last.version, &last.keys) == (version, keys) && !may_come
                };
                if !self.fetched.get(object).is_some_and(is_there) {
                    wanted.push((kind, object.name.clone()));
                }
            }
        }
        wanted
    }

    /// Takes in what is referred to of the content of an object that was [wanted](Self::wanted) and fetched.
    pub fn fetched(&mut self, kind: &'static Kind, name: Name, mut document: Value, unreadable: Option<Unreadable>) {
        // A newer version than the one that was noticed is told again, and fetched again: harmless.
        let version = self.known.get(kind.kind).and_then(|known| known.get(&name)).cloned();
        let object = object_ref(kind, &name);
        let keys = self.references.get(&object).cloned();
        let Some((version, keys)) = version.zip(keys) else { return };
        let too_large = references::cut(&mut document, &keys);
        self.forget(&object);
        let bytes = references::kept(&document);
        let is_kept = self.has_room(&name.namespace, bytes);
        // Half of the parameters are none.
        let is_of_use = is_kept && (too_large.is_none() || keys != Keys::All);
        let no_room = (!is_kept).then(|| references::no_room(self.room));
        if is_kept {
            *self.held.entry(name.namespace.clone()).or_default() += bytes;
        }
        self.fetched.insert(object.clone(), Fetched { version, keys, bytes, is_kept });
        self.changed = true;
        self.put(kind, name, document, unreadable.map(Fault::from));
        if !is_of_use {
            object::remove(&object, Arc::make_mut(&mut self.resources));
        }
        if let Some(fault) = too_large.or(no_room) {
            object::complain(&object, fault, Arc::make_mut(&mut self.resources));
        }
    }

    fn has_room(&self, namespace: &str, bytes: usize) -> bool {
        self.held.get(namespace).copied().unwrap_or_default().saturating_add(bytes) <= self.room
    }

    /// Gives back the room of an object that was fetched. `false`: it was not.
    fn forget(&mut self, object: &ObjectRef) -> bool {
        let Some(fetched) = self.fetched.remove(object) else { return false };
        if let Some(held) = self.held.get_mut(&object.name.namespace).filter(|_| fetched.is_kept) {
            *held = held.saturating_sub(fetched.bytes);
            if *held == 0 {
                self.held.remove(&object.name.namespace);
            }
        }
        true
    }

    /// A kind can't be read any more: from now on the world says of what all was known.
    pub fn lose_sight(&mut self) {
        let Some(told) = self.told.as_ref().filter(|_| self.resources.vouched.is_none()) else { return };
        // What was told without knowing all vouches for nothing.
        let known = told.vouched.as_ref().unwrap_or(told).clone();
        Arc::make_mut(&mut self.resources).vouched = Some(known);
    }

    /// All kinds can be read.
    pub fn know_all(&mut self) {
        if self.resources.vouched.is_some() {
            Arc::make_mut(&mut self.resources).vouched = None;
            self.changed = true;
        }
    }

    /// What changed since the last time; nothing as long as not all kinds are known.
    pub fn take_change(&mut self) -> Option<Change> {
        if !self.is_complete() {
            return None;
        }
        let resources = Arc::clone(&self.resources);
        let statuses = std::mem::take(&mut self.statuses);
        match std::mem::take(&mut self.changed) {
            true => {
                self.told = Some(Arc::clone(&resources));
                Some(Change::World(resources))
            }
            false => statuses.then_some(Change::Statuses(resources)),
        }
    }

    /// Has the whole world told again with the next change.
    pub fn repeat(&mut self) {
        self.changed = true;
    }
}

fn object_ref(kind: &Kind, name: &Name) -> ObjectRef {
    ObjectRef { group: kind.group.to_owned(), kind: kind.kind.to_owned(), name: name.clone() }
}

fn name(object: &Value) -> Option<Name> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    Some(Name::new(text("/metadata/namespace").unwrap_or_default(), text("/metadata/name")?))
}

impl From<Unreadable> for Fault {
    fn from(Unreadable { field, message }: Unreadable) -> Self {
        Self { field, reason: MALFORMED, message }
    }
}

impl Version {
    fn of(object: &Value) -> Self {
        let metadata = |name: &str| object.pointer(&format!("/metadata/{name}")).cloned().unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (metadata("labels").to_string(), metadata("annotations").to_string()).hash(&mut hasher);
        let meaning = metadata("generation").as_i64().map(|generation| (generation, hasher.finish()));
        let ours = metadata("annotations");
        let ours = ours.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with(WRITTEN_BY));
        let mut hasher = DefaultHasher::new();
        for part in [metadata("uid"), metadata("generation")].iter().chain(ours.map(|(_, value)| value)) {
            part.to_string().hash(&mut hasher);
        }
        let written = hasher.finish();
        Self { resource: metadata("resourceVersion").as_str().unwrap_or_default().to_owned(), meaning, written }
    }
}

/// Takes away what is large and means nothing to us.
fn strip(kind: &Kind, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // Of Kubernetes' own kinds we read no annotation.
        if matches!(kind.kind, "Namespace" | "Service" | "EndpointSlice") {
            metadata.remove("annotations");
        }
        // It tells the Services of our Gateways from others.
        if kind.kind != "Service" {
            metadata.remove("ownerReferences");
        }
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        let applied = annotations.and_then(|annotations| annotations.remove(LAST_APPLIED));
        if let Some(applied) = applied.filter(|_| Nulls::of(kind.group, Origin::ApiServer) == Nulls::Refused) {
            nulls::put_back(&applied, object);
        }
    }
}

#[cfg(test)]
mod tests;
