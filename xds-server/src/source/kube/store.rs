//! The world as far as the API server has told it. Without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::kinds::{Content, KINDS, Kind};
use crate::resources::{Name, ObjectRef, Resources};
use crate::source::Change;
use crate::source::nulls::{self, Nulls};
use crate::source::object::{self, Origin, Read};

/// The annotation in which `kubectl apply` keeps what it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What happened to a kind's objects.
#[derive(Clone, Debug)]
pub enum Event {
    /// All objects are about to be told again.
    Restarted,
    /// There is this object, of which only the metadata may be given where the kind is kept when referenced.
    Applied(Value),
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
    /// Objects that are kept because they are referred to.
    fetched: BTreeMap<ObjectRef, Version>,
    /// Whether there is a world that was not told.
    changed: bool,
    /// Whether somebody wrote a status: we ourselves, or others.
    statuses: bool,
}

/// Which state of an object is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Its resourceVersion, which is another one after each change.
    resource: String,
    /// Its generation, which is another one after each change of its spec, with its labels and annotations; none where
    /// its kind has no generations.
    meaning: Option<(i64, Value, Value)>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            resources: Arc::default(),
            incomplete: KINDS.iter().map(|kind| kind.kind).collect(),
            untold: BTreeMap::new(),
            known: BTreeMap::new(),
            fetched: BTreeMap::new(),
            changed: true,
            statuses: false,
        }
    }
}

impl Store {
    /// Takes in what happened.
    pub fn apply(&mut self, kind: &'static Kind, event: Event) {
        match event {
            Event::Restarted => {
                let known = self.known.entry(kind.kind).or_default();
                self.untold.insert(kind.kind, known.keys().cloned().collect());
            }
            Event::Applied(object) => {
                let Some(name) = name(&object) else { return };
                if let Some(untold) = self.untold.get_mut(kind.kind) {
                    untold.remove(&name);
                }
                self.applied(kind, name, object);
            }
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

    fn applied(&mut self, kind: &'static Kind, name: Name, object: Value) {
        let version = Version::of(&object);
        let last = self.known.entry(kind.kind).or_default().insert(name.clone(), version.clone());
        // After a new start of the watch most objects are told again unchanged.
        if kind.content == Content::WhenReferenced || last.as_ref() == Some(&version) {
            return;
        }
        // Of a kind with generations nothing but the status may have changed.
        if version.meaning.is_none() || last.is_none_or(|last| last.meaning != version.meaning) {
            self.changed = true;
        } else {
            self.statuses = true;
        }
        self.put(kind, name, object);
    }

    fn deleted(&mut self, kind: &'static Kind, name: &Name) {
        if self.known.entry(kind.kind).or_default().remove(name).is_none() {
            return;
        }
        let object = object_ref(kind, name);
        if kind.content == Content::WhenReferenced && self.fetched.remove(&object).is_none() {
            return;
        }
        self.changed = true;
        object::remove(&object, Arc::make_mut(&mut self.resources));
    }

    /// Reads an object into the resources.
    fn put(&mut self, kind: &'static Kind, name: Name, mut document: Value) {
        let object = object_ref(kind, &name);
        let resources = Arc::make_mut(&mut self.resources);
        object::remove(&object, resources);
        strip(kind, &mut document);
        let read = object::read(&object, kind.version, Origin::ApiServer, document, resources);
        if let Read::Malformed(malformed) = read {
            self.changed = true;
            resources.malformed.extend(malformed);
        }
    }

    /// Whether all kinds are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Brings what is kept because it is referred to in line with what is referred to now: drops the rest, and gives the
    /// objects whose content has to be fetched.
    pub fn wanted(&mut self) -> Vec<(&'static Kind, Name)> {
        let references = object::references(&self.resources);
        let unwanted: Vec<ObjectRef> =
            self.fetched.keys().filter(|object| !references.contains(object)).cloned().collect();
        for object in unwanted {
            self.fetched.remove(&object);
            // Nothing refers to it, so nothing changes.
            object::remove(&object, Arc::make_mut(&mut self.resources));
        }
        let kinds = KINDS.iter().filter(|kind| kind.content == Content::WhenReferenced);
        let mut wanted = Vec::new();
        for kind in kinds {
            let known = self.known.get(kind.kind);
            for object in references
                .iter()
                .filter(|object| (object.group.as_str(), object.kind.as_str()) == (kind.group, kind.kind))
            {
                let version = known.and_then(|known| known.get(&object.name));
                if version.is_some() && version != self.fetched.get(object) {
                    wanted.push((kind, object.name.clone()));
                }
            }
        }
        wanted
    }

    /// Takes in the content of an object that was fetched.
    pub fn fetched(&mut self, kind: &'static Kind, name: Name, object: Value) {
        // A newer version than the one that was noticed is told again, and fetched again: harmless.
        let version = self.known.get(kind.kind).and_then(|known| known.get(&name)).cloned();
        let Some(version) = version else { return };
        self.fetched.insert(object_ref(kind, &name), version);
        self.changed = true;
        self.put(kind, name, object);
    }

    /// What changed since the last time; nothing as long as not all kinds are known.
    pub fn take_change(&mut self) -> Option<Change> {
        if !self.is_complete() {
            return None;
        }
        let resources = Arc::clone(&self.resources);
        let statuses = std::mem::take(&mut self.statuses);
        match std::mem::take(&mut self.changed) {
            true => Some(Change::World(resources)),
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

impl Version {
    fn of(object: &Value) -> Self {
        let metadata = |name: &str| object.pointer(&format!("/metadata/{name}")).cloned().unwrap_or_default();
        let meaning =
            metadata("generation").as_i64().map(|generation| (generation, metadata("labels"), metadata("annotations")));
        Self { resource: metadata("resourceVersion").as_str().unwrap_or_default().to_owned(), meaning }
    }
}

/// Takes away what is large and means nothing to us.
fn strip(kind: &Kind, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        // Of Kubernetes' own kinds we read no annotation.
        if matches!(kind.kind, "Namespace" | "Service" | "EndpointSlice") {
            metadata.remove("annotations");
        }
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        let applied = annotations.and_then(|annotations| annotations.remove(LAST_APPLIED));
        if let Some(applied) = applied.filter(|_| Nulls::of(kind.group, Origin::ApiServer) == Nulls::Refused) {
            nulls::put_back(&applied, object);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(name: &str) -> &'static Kind {
        KINDS.iter().find(|kind| kind.kind == name).expect("a kind")
    }

    fn object(name: &str, version: u32, more: Value) -> Value {
        let mut object = json!({ "metadata": { "namespace": "apps", "name": name, "resourceVersion": version.to_string(),
            "managedFields": [{ "manager": "kubectl" }], "annotations": { "example.com/note": "long" } } });
        for (key, value) in more.as_object().expect("an object") {
            if key == "labels" {
                object["metadata"]["labels"] = value.clone();
            } else {
                object[key] = value.clone();
            }
        }
        object
    }

    /// A store that knows all kinds, and whose first world was taken.
    fn store() -> Store {
        let mut store = Store::default();
        for kind in &KINDS {
            store.apply(kind, Event::Restarted);
            assert!(store.take_change().is_none(), "nothing is served before all is known");
            store.apply(kind, Event::Complete);
        }
        assert!(matches!(store.take_change(), Some(Change::World(_))));
        assert!(store.take_change().is_none());
        store
    }

    fn world(store: &mut Store) -> Arc<Resources> {
        match store.take_change() {
            Some(Change::World(resources)) => resources,
            other => panic!("no world but {other:?}"),
        }
    }

    #[test]
    fn objects_come_and_go() {
        let mut store = store();
        let service =
            |version| Event::Applied(object("math", version, json!({ "spec": { "ports": [{ "port": 80 }] } })));
        store.apply(kind("Service"), service(1));
        let resources = world(&mut store);
        let kept = resources.services.get(&Name::new("apps", "math")).expect("the service");
        let (fields, annotations) = (&kept.metadata.managed_fields, &kept.metadata.annotations);
        assert_eq!((fields, annotations), (&None, &None), "large and of no use");
        store.apply(kind("Service"), service(1));
        assert!(store.take_change().is_none(), "the same version is no change");
        store.apply(kind("Service"), Event::Deleted(object("math", 2, json!({}))));
        assert!(world(&mut store).services.is_empty());
    }

    #[test]
    fn what_is_not_told_again_is_gone() {
        let mut store = store();
        for name in ["a", "b"] {
            store.apply(kind("Service"), Event::Applied(object(name, 1, json!({}))));
        }
        let _ = world(&mut store);
        store.apply(kind("Service"), Event::Restarted);
        store.apply(kind("Service"), Event::Applied(object("b", 1, json!({}))));
        assert!(store.take_change().is_none(), "until all is told nothing is gone");
        store.apply(kind("Service"), Event::Complete);
        assert_eq!(world(&mut store).services.keys().collect::<Vec<_>>(), [&Name::new("apps", "b")]);
    }

    #[test]
    fn a_malformed_object_replaces_the_good_one_and_the_other_way_round() {
        let mut store = store();
        let backend = |version, port: Value| {
            let spec = json!({ "targets": [{ "name": "m", "static": { "host": "h", "port": port } }] });
            Event::Applied(object("math", version, json!({ "spec": spec })))
        };
        for (version, port, good) in [(1, json!(80), true), (2, json!("eighty"), false), (3, json!(81), true)] {
            store.apply(kind("MCPBackend"), backend(version, port));
            let resources = world(&mut store);
            assert_eq!((resources.backends.len(), resources.malformed.len()), if good { (1, 0) } else { (0, 1) });
        }
    }

    #[test]
    fn a_status_alone_is_told_apart() {
        let mut store = store();
        let backend = |version: u32, generation: u32, status: Value| {
            let spec = json!({ "targets": [{ "name": "m", "static": { "host": "h", "port": 80 } }] });
            let mut object = object("math", version, json!({ "spec": spec, "status": status }));
            object["metadata"]["generation"] = generation.into();
            Event::Applied(object)
        };
        store.apply(kind("MCPBackend"), backend(1, 1, json!({ "conditions": [] })));
        let _ = world(&mut store);
        let accepted = json!({ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        store.apply(kind("MCPBackend"), backend(2, 1, json!({ "conditions": [accepted] })));
        match store.take_change() {
            Some(Change::Statuses(resources)) => {
                let backend = resources.backends.values().next().expect("the backend");
                assert_eq!(backend.metadata.resource_version.as_deref(), Some("2"));
            }
            other => panic!("{other:?}"),
        }
        assert!(store.take_change().is_none());
        store.apply(kind("MCPBackend"), backend(3, 2, json!({ "conditions": [accepted] })));
        let resources = world(&mut store);
        let status = resources.backends.values().next().and_then(|backend| backend.status.clone());
        assert_eq!(status.map(|status| status.conditions.len()), Some(1));
    }

    #[test]
    fn fields_that_a_newer_kubernetes_has_are_passed_over_in_its_own_kinds() {
        let mut store = store();
        let spec = json!({ "ports": [{ "port": 80, "fromTheFuture": true }], "fromTheFuture": 1 });
        store.apply(kind("Service"), Event::Applied(object("math", 1, json!({ "spec": spec }))));
        let resources = world(&mut store);
        assert_eq!((resources.services.len(), resources.malformed.len()), (1, 0));
    }

    #[test]
    fn config_maps_are_kept_when_referred_to() {
        let mut store = store();
        let config_map = kind("ConfigMap");
        for (name, version) in [("keys", 1), ("unrelated", 2)] {
            store.apply(config_map, Event::Applied(object(name, version, json!({}))));
        }
        assert_eq!(store.wanted(), [], "nothing refers to them");
        assert!(store.take_change().is_none());

        let issuer = json!({ "issuer": "https://a", "jwks": { "configMapRef": { "name": "keys" } } });
        let spec = json!({ "targetRefs": [], "authentication": { "issuers": [issuer] } });
        store.apply(kind("MCPAccessPolicy"), Event::Applied(object("p", 1, json!({ "spec": spec }))));
        let wanted = store.wanted();
        assert_eq!(wanted.iter().map(|(_, name)| name.name.as_str()).collect::<Vec<_>>(), ["keys"]);
        let content = |value: &str| json!({ "metadata": { "name": "keys" }, "data": { "jwks.json": value } });
        store.fetched(config_map, Name::new("apps", "keys"), content("one"));
        assert_eq!(world(&mut store).config_maps.len(), 1);
        assert_eq!(store.wanted(), []);

        store.apply(config_map, Event::Applied(object("keys", 7, json!({}))));
        assert_eq!(store.wanted().len(), 1, "it changed");
        store.fetched(config_map, Name::new("apps", "keys"), content("two"));
        let _ = world(&mut store);

        store.apply(config_map, Event::Deleted(object("keys", 8, json!({}))));
        assert!(world(&mut store).config_maps.is_empty());
        store.apply(config_map, Event::Applied(object("keys", 9, json!({}))));
        assert_eq!(store.wanted().len(), 1, "it is back");
        store.fetched(config_map, Name::new("apps", "keys"), content("three"));
        let _ = world(&mut store);
        store.apply(kind("MCPAccessPolicy"), Event::Deleted(object("p", 2, json!({}))));
        assert_eq!(store.wanted(), []);
        assert!(world(&mut store).config_maps.is_empty(), "nothing refers to it any more");
    }
}
