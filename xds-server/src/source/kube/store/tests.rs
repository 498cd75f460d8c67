//! The world from events.

use serde_json::json;

use super::*;
use crate::resources::Protects;

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
    let mut store = Store::new(usize::MAX);
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

fn route(generation: u32, annotations: Value) -> Event {
    let mut route = object("r", generation, json!({ "spec": { "rules": [] } }));
    route["metadata"]["generation"] = generation.into();
    route["metadata"]["annotations"] = annotations;
    Event::Applied(route)
}

fn policy(name: &str, version: u32, section: &Value) -> Value {
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" });
    let mut spec = json!({ "targetRefs": [target] });
    spec.as_object_mut().expect("a spec").extend(section.as_object().expect("a section").clone());
    object(name, version, json!({ "spec": spec }))
}

#[test]
fn a_deleted_policy_is_remembered_until_its_route_is_written() {
    let enforced = json!({ "authorization": { "rules": [{ "name": "few", "tools": ["add"] }] } });
    let rows = [
        ("rules", enforced.clone(), true),
        ("a dry run", json!({ "authorization": { "mode": "DryRun", "rules": [] } }), false),
        ("anonymous", json!({ "authentication": { "anonymous": {} } }), false),
        ("protocol alone", json!({ "protocol": {} }), false),
        ("one that can't be read", json!({ "authorization": 7 }), true),
    ];
    for (row, section, remembered) in rows {
        let mut store = store();
        store.apply(kind("HTTPRoute"), route(1, json!({})));
        store.apply(kind("MCPAccessPolicy"), Event::Applied(policy("p", 1, &section)));
        store.apply(kind("MCPAccessPolicy"), Event::Deleted(policy("p", 2, &section)));
        assert_eq!(world(&mut store).deleted.len(), usize::from(remembered), "{row}");
    }
    let mut store = store();
    let r = Name::new("apps", "r");
    store.apply(kind("HTTPRoute"), route(1, json!({})));
    store.apply(kind("MCPAccessPolicy"), Event::Applied(policy("p", 1, &enforced)));
    store.apply(kind("MCPAccessPolicy"), Event::Deleted(policy("p", 2, &enforced)));
    let gone = world(&mut store).deleted.values().next().expect("remembered").turn;
    let mut written = |event: Event| {
        store.apply(kind("HTTPRoute"), event);
        let _ = store.take_change();
        store.resources.written.get(&r).is_some_and(|turn| **turn > gone)
    };
    assert!(!written(route(1, json!({ "example.com/touched": "2" }))), "somebody's annotation");
    assert!(written(route(1, json!({ "toolward.dev/opened": "yes" }))), "ours");
    store.apply(kind("MCPAccessPolicy"), Event::Applied(policy("p", 3, &enforced)));
    assert!(world(&mut store).deleted.is_empty(), "it is back");
    store.apply(kind("MCPAccessPolicy"), Event::Deleted(policy("p", 4, &enforced)));
    let mut namespace = object("apps", 1, json!({}));
    namespace["metadata"]["namespace"] = Value::Null;
    store.apply(kind("Namespace"), Event::Applied(namespace.clone()));
    store.apply(kind("Namespace"), Event::Deleted(namespace));
    assert!(world(&mut store).deleted.is_empty(), "the namespace is gone");
}

#[test]
fn what_is_remembered_of_a_namespace_is_bounded() {
    let enforced = json!({ "authorization": { "rules": [] } });
    let mut store = store();
    store.apply(kind("HTTPRoute"), route(1, json!({})));
    for number in 0..200 {
        let name = format!("p{number}");
        store.apply(kind("MCPAccessPolicy"), Event::Applied(policy(&name, 1, &enforced)));
        store.apply(kind("MCPAccessPolicy"), Event::Deleted(policy(&name, 2, &enforced)));
        assert!(store.resources.deleted.len() <= 64);
    }
    let whole = store.resources.deleted.values().filter(|deleted| deleted.protected == Protects::Namespace);
    assert!(whole.count() > 0, "taken together for the namespace");
}

#[test]
fn while_a_kind_can_not_be_read_the_last_world_of_which_all_was_known_is_told_along() {
    let mut store = store();
    store.apply(kind("HTTPRoute"), route(1, json!({})));
    let known = world(&mut store);
    store.lose_sight();
    assert!(store.take_change().is_none(), "that alone changes nothing");
    store.apply(kind("HTTPRoute"), route(2, json!({})));
    store.lose_sight();
    let next = world(&mut store);
    assert!(next.vouched.as_ref().is_some_and(|vouched| Arc::ptr_eq(vouched, &known)));
    store.know_all();
    assert!(world(&mut store).vouched.is_none());
}

#[test]
fn an_object_of_which_a_part_can_not_be_read_is_malformed_and_closes() {
    let mut store = store();
    let unreadable = || Unreadable { field: "metadata.labels".to_owned(), message: "too deep".to_owned() };
    let enforced = json!({ "authorization": { "rules": [] } });
    store.apply(kind("MCPAccessPolicy"), Event::Malformed(policy("p", 1, &enforced), unreadable()));
    store.apply(kind("HTTPRoute"), Event::Malformed(object("r", 1, json!({ "spec": {} })), unreadable()));
    store.apply(kind("Service"), Event::Malformed(object("s", 1, json!({})), unreadable()));
    let resources = world(&mut store);
    let said: Vec<String> = resources
        .malformed
        .iter()
        .map(|(object, malformed)| format!("{object} {}", malformed.problem.reason))
        .collect();
    assert_eq!(said, ["Service apps/s Malformed", "HTTPRoute apps/r Malformed", "MCPAccessPolicy apps/p Malformed"]);
    assert!(resources.malformed.values().any(|malformed| matches!(malformed.protects, Protects::Targets(_))));
    assert_eq!((resources.http_routes.len(), resources.services.len()), (1, 0));
}

#[test]
fn of_what_is_referred_to_the_named_keys_are_kept_up_to_a_size() {
    let mut store = store();
    let config_map = kind("ConfigMap");
    let policy_for = |key: &str, version| {
        let issuer = json!({ "issuer": "https://a", "jwks": { "configMapRef": { "name": "keys", "key": key } } });
        let spec = json!({ "targetRefs": [], "authentication": { "issuers": [issuer] } });
        Event::Applied(object("p", version, json!({ "spec": spec })))
    };
    store.apply(config_map, Event::Applied(object("keys", 1, json!({}))));
    store.apply(kind("MCPAccessPolicy"), policy_for("small", 1));
    let content = || {
        let (large, data) = ("x".repeat(300 * 1024), "{}");
        json!({ "metadata": { "name": "keys" }, "data": { "small": data, "large": large, "other": "x" } })
    };
    store.wanted();
    store.fetched(config_map, Name::new("apps", "keys"), content(), None);
    let resources = world(&mut store);
    let kept = |resources: &Resources| -> Vec<String> {
        resources.config_maps.values().flat_map(|map| map.data.clone().unwrap_or_default().into_keys()).collect()
    };
    assert_eq!((kept(&resources), resources.malformed.len()), (vec!["small".to_owned()], 0));
    store.apply(kind("MCPAccessPolicy"), policy_for("large", 2));
    assert_eq!(store.wanted().len(), 1, "another key is referred to");
    store.fetched(config_map, Name::new("apps", "keys"), content(), None);
    let resources = world(&mut store);
    let problem = &resources.malformed.values().next().expect("a fault").problem;
    assert_eq!(
        (kept(&resources), problem.reason.as_str(), problem.field.as_str()),
        (vec![], "TooLarge", "data[\"large\"]")
    );
}

#[test]
fn a_secret_of_another_namespace_is_asked_for_once_that_is_granted() {
    let mut store = store();
    let class = json!({ "metadata": { "name": "toolward", "resourceVersion": "1" },
        "spec": { "controllerName": "toolward.dev/gateway-controller" } });
    store.apply(kind("GatewayClass"), Event::Applied(class));
    let mut secret = object("tls", 1, json!({}));
    secret["metadata"]["namespace"] = "other".into();
    store.apply(kind("Secret"), Event::Applied(secret));
    let gateway = |class: &str, version| {
        let tls = json!({ "certificateRefs": [{ "name": "tls", "namespace": "other" }] });
        let listener = json!({ "name": "one", "port": 443, "protocol": "HTTPS", "tls": tls });
        let spec = json!({ "gatewayClassName": class, "listeners": [listener] });
        Event::Applied(object("gw", version, json!({ "spec": spec })))
    };
    store.apply(kind("Gateway"), gateway("toolward", 1));
    assert_eq!(store.wanted(), [], "nobody granted it");
    let mut grant = object(
        "g",
        1,
        json!({ "spec": {
        "from": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "apps" }],
        "to": [{ "group": "", "kind": "Secret", "name": "tls" }] } }),
    );
    grant["metadata"]["namespace"] = "other".into();
    store.apply(kind("ReferenceGrant"), Event::Applied(grant.clone()));
    let wanted: Vec<Name> = store.wanted().into_iter().map(|(_, name)| name).collect();
    assert_eq!(wanted, [Name::new("other", "tls")]);
    store.apply(kind("Gateway"), gateway("somebody-else", 2));
    assert_eq!(store.wanted(), [], "another controller's");
    store.apply(kind("Gateway"), gateway("toolward", 3));
    store.apply(kind("ReferenceGrant"), Event::Deleted(grant));
    assert_eq!(store.wanted(), [], "it is granted no more");
}

/// By its owner the status of a Gateway tells its own Service from others.
#[test]
fn a_service_tells_whose_it_is() {
    let mut store = store();
    let owner = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "gw", "uid": "1", "controller": true });
    let mut told = object("gw-toolward", 1, json!({ "spec": {} }));
    told["metadata"]["ownerReferences"] = json!([owner]);
    let item: crate::source::kube::item::Item = serde_json::from_str(&told.to_string()).expect("an item");
    for kind in [kind("Service"), kind("HTTPRoute")] {
        store.apply(kind, Event::Applied(item.document.clone()));
    }
    let resources = world(&mut store);
    let service = resources.services.values().next().expect("the Service");
    let owners = service.metadata.owner_references.as_deref().unwrap_or_default();
    assert_eq!(
        owners.iter().map(|owner| (owner.uid.as_str(), owner.controller)).collect::<Vec<_>>(),
        [("1", Some(true))]
    );
    let route = resources.http_routes.values().next().expect("the route");
    assert_eq!(route.metadata.owner_references, None, "of no use");
}

/// What was told while a kind could not be read is no world of which all was known.
#[test]
fn what_was_told_without_knowing_all_vouches_for_nothing() {
    let mut store = store();
    store.apply(kind("HTTPRoute"), route(1, json!({})));
    let known = world(&mut store);
    store.lose_sight();
    store.apply(kind("HTTPRoute"), route(2, json!({})));
    let _ = world(&mut store);
    // All can be read for a moment that is too short to tell.
    store.know_all();
    store.lose_sight();
    let next = world(&mut store);
    assert!(next.vouched.as_ref().is_some_and(|vouched| Arc::ptr_eq(vouched, &known)));
}

#[test]
fn what_is_referred_to_takes_bounded_room_in_a_namespace() {
    let mut store = Store { room: 1000, ..store() };
    let config_map = kind("ConfigMap");
    let backend = |name: &str, namespace: &str, maps: &[&str]| {
        let maps: Vec<Value> = maps.iter().map(|name| json!({ "name": name })).collect();
        let target =
            json!({ "name": "m", "static": { "host": "h", "port": 443 }, "tls": { "caCertificateRefs": maps } });
        let mut object = object(name, 1, json!({ "spec": { "targets": [target] } }));
        object["metadata"]["namespace"] = namespace.into();
        object
    };
    for (namespace, name) in [("apps", "a"), ("apps", "b"), ("other", "c")] {
        let mut listed = object(name, 1, json!({}));
        listed["metadata"]["namespace"] = namespace.into();
        store.apply(config_map, Event::Applied(listed));
    }
    let backends = kind("MCPBackend");
    store.apply(backends, Event::Applied(backend("first", "apps", &["a"])));
    store.apply(backends, Event::Applied(backend("second", "apps", &["b"])));
    store.apply(backends, Event::Applied(backend("third", "other", &["c"])));
    let fetch = |store: &mut Store| -> Vec<String> {
        let wanted = store.wanted();
        for (kind, name) in &wanted {
            let metadata = json!({ "namespace": name.namespace, "name": name.name });
            let content = json!({ "metadata": metadata, "data": { "ca.crt": "x".repeat(600), "other": "x" } });
            store.fetched(kind, name.clone(), content, None);
        }
        wanted.into_iter().map(|(_, name)| name.name).collect()
    };
    assert_eq!(fetch(&mut store), ["a", "b", "c"]);
    let resources = world(&mut store);
    let kept = |resources: &Resources| resources.config_maps.keys().map(|name| name.name.clone()).collect::<Vec<_>>();
    assert_eq!(kept(&resources), ["a", "c"], "another namespace has its own room");
    let told: Vec<_> = resources
        .malformed
        .iter()
        .map(|(object, it)| (object.name.name.as_str(), it.problem.reason.as_str()))
        .collect();
    assert_eq!(told, [("b", "TooLarge")]);
    assert_eq!(fetch(&mut store), [""; 0], "as long as there is no room it is not asked for again");
    store.apply(backends, Event::Deleted(backend("first", "apps", &["a"])));
    assert_eq!(fetch(&mut store), ["b"], "there is room again");
    let resources = world(&mut store);
    assert_eq!((kept(&resources), resources.malformed.len()), (vec!["b".to_owned(), "c".to_owned()], 0));
    store.apply(config_map, Event::Deleted(object("b", 2, json!({}))));
    store.apply(backends, Event::Deleted(backend("third", "other", &["c"])));
    store.wanted();
    assert!(store.held.is_empty(), "{:?}", store.held);
}
