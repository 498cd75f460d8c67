//! The world from events.

use serde_json::json;

use super::*;

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).expect("a kind")
}

fn object(name: &str, version: u32, more: Value) -> Value {
    let mut object = json!({ "metadata": { "namespace": "apps", "name": name, "resourceVersion": version.to_string(),
        "annotations": { "example.com/note": "long" } } });
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
    let service = |version| Event::Applied(object("math", version, json!({ "spec": { "ports": [{ "port": 80 }] } })));
    store.apply(kind("Service"), service(1));
    let resources = world(&mut store);
    let kept = resources.services.get(&Name::new("apps", "math")).expect("the service");
    assert_eq!(kept.metadata.annotations, None, "large and of no use");
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
    store.fetched(config_map, Name::new("apps", "keys"), content("one"), None);
    assert_eq!(world(&mut store).config_maps.len(), 1);
    assert_eq!(store.wanted(), []);

    store.apply(config_map, Event::Applied(object("keys", 7, json!({}))));
    assert_eq!(store.wanted().len(), 1, "it changed");
    store.fetched(config_map, Name::new("apps", "keys"), content("two"), None);
    let _ = world(&mut store);

    store.apply(config_map, Event::Deleted(object("keys", 8, json!({}))));
    assert!(world(&mut store).config_maps.is_empty());
    store.apply(config_map, Event::Applied(object("keys", 9, json!({}))));
    assert_eq!(store.wanted().len(), 1, "it is back");
    store.fetched(config_map, Name::new("apps", "keys"), content("three"), None);
    let _ = world(&mut store);
    store.apply(kind("MCPAccessPolicy"), Event::Deleted(object("p", 2, json!({}))));
    assert_eq!(store.wanted(), []);
    assert!(world(&mut store).config_maps.is_empty(), "nothing refers to it any more");
}
