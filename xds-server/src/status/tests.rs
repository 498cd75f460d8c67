//! Golden cases: `testdata/status/<case>.out.yaml` is what every object should say of itself. The manifests are
//! `testdata/status/<case>.in.yaml`, or those of the translation's case of the same name; what the running system knows
//! is `testdata/status/<case>.facts.yaml`, where it matters. With `UPDATE_GOLDEN=1` the answers are written instead of
//! compared.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use gateway_api::backendtlspolicies::BackendTlsPolicyStatus;
use gateway_api::gatewayclasses::GatewayClassStatus;
use gateway_api::gateways::GatewayStatus;
use gateway_api::httproutes::HttpRouteStatus;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toolward_policy::jwt::jwks;

use super::{Desired, Facts, ObjectFault, current, desired, merged};
use crate::key_sets::{KeySets, Known};
use crate::networks::BackendNetworks;
use crate::resources::status::{BackendStatus, PolicyStatus};
use crate::resources::{Name, ObjectRef, Resources};
use crate::source::documents::{self, File};
use crate::translate::{TranslateOptions, UnprotectedRoutes, places, translate};

const NOW: &str = "2026-01-01T00:00:00Z";

/// A set of manifests with what is known beside them.
struct Case {
    name: String,
    manifests: String,
    facts: Facts,
    options: TranslateOptions,
    /// What every issuer publishes.
    published: Option<Known>,
}

impl Case {
    fn all() -> Vec<Self> {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut inputs = BTreeMap::new();
        for folder in ["translate", "status"] {
            for entry in fs::read_dir(testdata.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if let Some(name) = name.strip_suffix(".in.yaml") {
                    let other = inputs.insert(name.to_owned(), path.clone());
                    assert_eq!(other, None, "two cases are called {name}");
                }
            }
        }
        inputs.into_iter().map(|(name, path)| Self::read(name, &path, &testdata.join("status"))).collect()
    }

    fn read(name: String, path: &Path, folder: &Path) -> Self {
        let unprotected_routes = match name.split_once('-') {
            Some(("deny", _)) => UnprotectedRoutes::Deny,
            Some(("allow", _)) => UnprotectedRoutes::Allow,
            _ => UnprotectedRoutes::ByKind,
        };
        let is_restricted = name.starts_with("public-");
        let backend_networks = if is_restricted { BackendNetworks::only(&[]) } else { BackendNetworks::Any };
        let facts = fs::read_to_string(folder.join(format!("{name}.facts.yaml"))).unwrap_or_default();
        let facts: Value = serde_yaml_ng::from_str(&facts).unwrap();
        Self {
            manifests: fs::read_to_string(path).unwrap(),
            facts: facts_of(&facts),
            published: facts.get("published").map(published),
            options: TranslateOptions {
                unprotected_routes,
                backend_networks,
                hostnames_belong_to_namespaces: name.starts_with("owned-"),
                ..Default::default()
            },
            name,
        }
    }

    fn resources(&self, manifests: &str) -> Resources {
        let path = PathBuf::from(format!("{}.yaml", self.name));
        let file = File { path, content: manifests.as_bytes().to_vec() };
        documents::read(&[file]).unwrap_or_else(|problems| panic!("{}: {problems:#?}", self.name))
    }

    fn desired(&self, resources: &Resources) -> Vec<Desired> {
        let known = self.published.iter().flat_map(|known| places(resources).into_iter().zip(repeat(known.clone())));
        let options = TranslateOptions { key_sets: Arc::new(KeySets(known.collect())), ..self.options.clone() };
        desired(resources, &translate(resources, &options), &self.facts)
    }
}

fn published(written: &Value) -> Known {
    let text = |name: &str| written[name].as_str().unwrap().to_owned();
    let set = jwks::parse(text("keys").as_bytes(), 4096).unwrap();
    let (left_out, removed) = (set.left_out, Vec::new());
    Known::Good { keys: set.keys, left_out, removed, metadata: Some(text("metadata")), failing: None }
}

fn facts_of(written: &Value) -> Facts {
    let refusals = written.get("refusals").and_then(Value::as_array).into_iter().flatten();
    let version = written.get("bundleVersion").unwrap_or(&Value::Null);
    Facts {
        refusals: refusals.map(|refusal| serde_json::from_value(refusal.clone()).unwrap()).collect(),
        provisioned: written.get("provisioned").and_then(Value::as_bool).unwrap_or_default(),
        unwritten: unwritten(written),
        bundle_version: Some(version.as_str().unwrap_or("v1.5.1").to_owned()),
    }
}

/// By the uid of the Gateway.
fn unwritten(written: &Value) -> BTreeMap<String, ObjectFault> {
    let faults = written.get("unwritten").and_then(Value::as_object).into_iter().flatten();
    let fault = |message: &Value| ObjectFault { reason: "Conflict", message: message.as_str().unwrap().to_owned() };
    faults.map(|(uid, message)| (uid.clone(), fault(message))).collect()
}

#[test]
fn every_case_has_the_status_that_its_golden_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/status");
    let cases = Case::all();
    assert!(cases.len() >= 90, "the cases are gone");
    let mut differing = Vec::new();
    for case in cases {
        let statuses = case.desired(&case.resources(&case.manifests)).into_iter();
        let shown: Map<String, Value> =
            statuses.map(|desired| (desired.object.to_string(), short(desired.status))).collect();
        let actual = serde_yaml_ng::to_string(&shown).unwrap();
        let golden = folder.join(format!("{}.out.yaml", case.name));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden, actual).unwrap();
        } else if fs::read_to_string(golden).unwrap_or_default() != actual {
            differing.push(case.name);
        }
    }
    assert!(differing.is_empty(), "see UPDATE_GOLDEN=1 cargo test and git diff for {differing:?}");
}

/// Conditions as `Type: Status Reason: message`.
fn short(status: Value) -> Value {
    match status {
        Value::Object(members) => {
            let is_condition = members.contains_key("reason");
            if !is_condition {
                return members.into_iter().map(|(name, value)| (name, short(value))).collect::<Map<_, _>>().into();
            }
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
            let mut line = format!("{}: {} {}", text("type"), text("status"), text("reason"));
            if !text("message").is_empty() {
                line = format!("{line}: {}", text("message"));
            }
            line.into()
        }
        Value::Array(list) => list.into_iter().map(short).collect::<Vec<_>>().into(),
        other => other,
    }
}

/// With `metadata.generation: 7` on everything.
fn with_generation(manifests: &str) -> String {
    let flow = manifests.replace("\nmetadata: {", "\nmetadata: { generation: 7,");
    flow.replace("\nmetadata:\n", "\nmetadata:\n  generation: 7\n")
}

#[test]
fn every_status_is_one_that_an_api_server_takes() {
    let mut conditions = 0;
    for case in Case::all() {
        let resources = case.resources(&with_generation(&case.manifests));
        for wanted in case.desired(&resources) {
            let status = merged(&wanted, None, NOW).unwrap();
            let place = format!("{}: {}", case.name, wanted.object);
            read_strictly(&wanted.object, &status, &place);
            conditions += check(&status, &place);
        }
    }
    assert!(conditions > 500, "{conditions}");
}

/// As the type of the kind's status, which knows all its fields.
fn read_strictly(object: &ObjectRef, status: &Value, place: &str) {
    fn as_type<T: DeserializeOwned>(status: &Value, place: &str) {
        let mut unknown = Vec::new();
        let read: Result<T, _> = serde_ignored::deserialize(status, |path| unknown.push(path.to_string()));
        assert!(read.is_ok() && unknown.is_empty(), "{place}: {:?} {unknown:?}\n{status:#}", read.err());
    }
    match object.kind.as_str() {
        "GatewayClass" => as_type::<GatewayClassStatus>(status, place),
        "Gateway" => as_type::<GatewayStatus>(status, place),
        "HTTPRoute" => as_type::<HttpRouteStatus>(status, place),
        "BackendTLSPolicy" => as_type::<BackendTlsPolicyStatus>(status, place),
        "MCPBackend" => as_type::<BackendStatus>(status, place),
        "MCPAccessPolicy" => as_type::<PolicyStatus>(status, place),
        other => panic!("{place}: no status of {other} is ours"),
    }
}

/// What the schemas ask for beyond types, and that every condition says of which generation it speaks. Gives the number of
/// conditions.
fn check(value: &Value, place: &str) -> usize {
    let list = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten();
    let unique = |name: &str, key: &str| {
        let mut seen = BTreeSet::new();
        assert!(list(name).all(|entry| seen.insert(entry[key].to_string())), "{place}: {name} twice\n{value:#}");
    };
    for (name, key, most) in [
        ("conditions", "type", 8),
        ("listeners", "name", 64),
        ("parents", "parentRef", 32),
        ("ancestors", "ancestorRef", 16),
        ("addresses", "value", 16),
    ] {
        assert!(list(name).count() <= most, "{place}: {name}");
        unique(name, key);
    }
    for condition in list("conditions") {
        let text = |name: &str| condition[name].as_str().unwrap_or_else(|| panic!("{place}: {name} of {condition}"));
        let reason = text("reason");
        let fits = reason.starts_with(|first: char| first.is_ascii_alphabetic())
            && reason.chars().all(|each| each.is_ascii_alphanumeric());
        assert!(fits, "{place}: {reason:?}");
        assert!(["True", "False"].contains(&text("status")), "{place}: {condition}");
        assert!(text("message").chars().count() <= 32768, "{place}");
        assert_eq!(text("lastTransitionTime"), NOW, "{place}");
        assert_eq!(condition["observedGeneration"], 7, "{place}: {condition}");
    }
    let below = ["listeners", "parents", "ancestors"].into_iter().flat_map(list);
    let below: usize = below.map(|entry| check(entry, place)).sum();
    list("conditions").count() + below
}

#[test]
fn what_is_written_needs_no_second_writing() {
    for case in Case::all() {
        let mut resources = case.resources(&case.manifests);
        for wanted in case.desired(&resources) {
            let status = merged(&wanted, None, NOW).unwrap();
            put(&wanted.object, &status, &mut resources);
        }
        for wanted in case.desired(&resources) {
            let there = current(&wanted.object, &resources).and_then(|there| there.status);
            assert_eq!(merged(&wanted, there.as_ref(), "later"), None, "{}: {}", case.name, wanted.object);
        }
    }
}

/// Gives an object its status, as an API server does.
fn put(object: &ObjectRef, status: &Value, resources: &mut Resources) {
    fn read<T: DeserializeOwned>(status: &Value) -> Option<T> {
        Some(serde_json::from_value(status.clone()).unwrap())
    }
    let name = &object.name;
    if let Some(malformed) = resources.malformed.get_mut(object) {
        malformed.current.status = Some(status.clone());
        return;
    }
    match object.kind.as_str() {
        "GatewayClass" => resources.gateway_classes.get_mut(name).unwrap().status = read(status),
        "Gateway" => resources.gateways.get_mut(name).unwrap().status = read(status),
        "HTTPRoute" => resources.http_routes.get_mut(name).unwrap().status = read(status),
        "BackendTLSPolicy" => resources.backend_tls_policies.get_mut(name).unwrap().status = read(status),
        "MCPBackend" => resources.backends.get_mut(object).unwrap().status = read(status),
        _ => resources.policies.get_mut(object).unwrap().status = read(status),
    }
}

#[test]
fn a_route_that_leaves_us_loses_our_entries_and_no_others() {
    let case = Case::all().into_iter().find(|case| case.name == "service").unwrap();
    let resources = case.resources(&case.manifests);
    let route = ObjectRef {
        group: "gateway.networking.k8s.io".to_owned(),
        kind: "HTTPRoute".to_owned(),
        name: Name::new("apps", "route"),
    };
    let wanted = case.desired(&resources).into_iter().find(|desired| desired.object == route).unwrap();
    let mut there = merged(&wanted, None, NOW).unwrap();
    let other = serde_json::json!({ "controllerName": "example.com/other", "parentRef": { "name": "theirs" },
        "conditions": [] });
    there["parents"].as_array_mut().unwrap().push(other.clone());
    let mut left = case.resources(&case.manifests.replace("- name: gw\n", "- name: theirs\n"));
    put(&route, &there, &mut left);
    let wanted = case.desired(&left).into_iter().find(|desired| desired.object == route).unwrap();
    let next = merged(&wanted, current(&route, &left).and_then(|there| there.status).as_ref(), NOW).unwrap();
    assert_eq!(next, serde_json::json!({ "parents": [other] }));
    put(&route, &next, &mut left);
    assert!(case.desired(&left).iter().all(|desired| desired.object != route), "none of our business any more");
}
