//! Golden cases: `testdata/translate/<case>.in.yaml` are manifests, `<case>.out.yaml` is what they mean. With
//! `UPDATE_GOLDEN=1` the answers are written instead of compared.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Serialize;
use toolward_policy::config::KeySet;
use toolward_policy::jwt::jwks::LeftOut;
use toolward_policy::policy::PolicyTable;

use super::*;
use crate::key_sets::{Failing, Known, Removed};
use crate::model::{Endpoint, Endpoints, Listener, RouteAction};
use crate::names::Resolved;
use crate::source::documents::{self, File};
use serde_yaml_ng::with::singleton_map_recursive;

mod changes;
mod clients;
mod cost;
mod doubt;
mod hostnames;
mod quotas;
mod scale;
mod tenants;
mod worlds;

/// What a case is compared by.
#[derive(Serialize)]
struct Golden<'t> {
    problems: &'t [Problem],
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    notes: &'t [Problem],
    unprotected: Vec<String>,
    model: &'t Model,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/translate")
}

/// Names of all cases with their manifests.
fn cases() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = entries.filter_map(|name| Some(name.strip_suffix(".in.yaml")?.to_owned())).collect();
    cases.sort();
    let input = |case: &String| fs::read_to_string(folder().join(format!("{case}.in.yaml"))).unwrap();
    cases.into_iter().map(|case| (case.clone(), input(&case))).collect()
}

fn resources(case: &str, manifests: &str) -> Resources {
    let file = File { path: PathBuf::from(format!("{case}.yaml")), content: manifests.as_bytes().to_vec() };
    documents::read(&[file]).unwrap_or_else(|problems| panic!("{case}: {problems:#?}"))
}

fn options(case: &str) -> TranslateOptions {
    let unprotected_routes = match case.split_once('-') {
        Some(("deny", _)) => UnprotectedRoutes::Deny,
        Some(("allow", _)) => UnprotectedRoutes::Allow,
        _ => UnprotectedRoutes::ByKind,
    };
    let is_restricted = case.starts_with("public-");
    let backend_networks = if is_restricted { BackendNetworks::only(&[]) } else { BackendNetworks::Any };
    let hostnames_belong_to_namespaces = case.starts_with("owned-");
    let names = Arc::new(names());
    TranslateOptions {
        unprotected_routes,
        hostnames_belong_to_namespaces,
        backend_networks,
        names,
        ..Default::default()
    }
}

/// What the names of the cases resolve to, where Toolward resolves them.
fn names() -> Names {
    let at = |addresses: &[&str]| Resolved::At(addresses.iter().map(|address| address.parse().unwrap()).collect());
    let names = [
        ("mcp.example.com", at(&["93.184.216.34", "93.184.216.35", "2606:2800:220:1::1"])),
        ("both.example.com", at(&["10.1.2.3", "93.184.216.34", "127.0.0.1"])),
        ("six.example.com", at(&["127.0.0.1", "2606:2800:220:1::1", "::1"])),
        ("inside.example.com", at(&["10.1.2.3", "fd00::1"])),
        ("rebound.example.com", at(&["127.0.0.1", "::ffff:127.0.0.1"])),
        ("pod.example.com", at(&["2600::5"])),
        ("gone.example.com", Resolved::Failed("no such name".to_owned())),
        ("many.example.com", Resolved::LeftOut),
    ];
    Names(names.into_iter().map(|(name, resolved)| (name.to_owned(), resolved)).collect())
}

fn translation(case: &str, manifests: &str) -> Translation {
    translate(&resources(case, manifests), &options(case))
}

fn listeners(translation: &Translation) -> impl Iterator<Item = &Listener> {
    translation.model.gateways.values().flat_map(|gateway| gateway.listeners.values().map(|listener| &**listener))
}

#[test]
fn every_case_means_what_its_golden_file_says() {
    let cases = cases();
    assert!(cases.len() >= 40, "the golden files are gone");
    let mut differing = Vec::new();
    for (case, manifests) in cases {
        let translation = translation(&case, &manifests);
        let Translation { model, problems, notes, unprotected, .. } = &translation;
        let unprotected = unprotected.iter().map(ToString::to_string).collect();
        let mut actual = Vec::new();
        let golden = Golden { problems, notes, unprotected, model };
        singleton_map_recursive::serialize(&golden, &mut serde_yaml_ng::Serializer::new(&mut actual)).unwrap();
        let actual = String::from_utf8(actual).unwrap();
        let golden = folder().join(format!("{case}.out.yaml"));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden, actual).unwrap();
        } else if fs::read_to_string(golden).unwrap_or_default() != actual {
            differing.push(case);
        }
    }
    assert!(differing.is_empty(), "see UPDATE_GOLDEN=1 cargo test and git diff for {differing:?}");
}

#[test]
fn the_filter_takes_every_table_and_finds_every_policy_that_a_route_names() {
    for (case, manifests) in cases() {
        for listener in listeners(&translation(&case, &manifests)) {
            let table = PolicyTable::parse(&serde_json::to_vec(&listener.filter).unwrap());
            let table = table.unwrap_or_else(|error| panic!("{case}: {error}"));
            for route in listener.routes().flat_map(|(_, hosts)| hosts).flat_map(|host| &host.routes) {
                assert!(table.policy(&route.policy).is_some(), "{case}: {} names {:?}", route.name, route.policy);
            }
        }
    }
}

#[test]
fn every_cluster_that_a_route_names_is_there_and_no_other() {
    for (case, manifests) in cases() {
        for (name, gateway) in &translation(&case, &manifests).model.gateways {
            let routes = gateway.listeners.values().flat_map(|listener| listener.routes()).flat_map(|(_, hosts)| hosts);
            let mut named = BTreeSet::new();
            for route in routes.flat_map(|host| &host.routes) {
                if let RouteAction::Forward(forward) = &route.action {
                    named.extend(forward.clusters.iter().map(|share| share.cluster.as_str()));
                }
            }
            named.remove(crate::model::INVALID_BACKEND);
            let defined: BTreeSet<_> = gateway.clusters.keys().map(String::as_str).collect();
            assert_eq!(named, defined, "{case}: {}", name.0);
        }
    }
}

#[test]
fn the_order_of_documents_means_nothing() {
    for (case, manifests) in cases() {
        let expected = translation(&case, &manifests);
        let mut documents: Vec<_> = manifests.split("\n---\n").collect();
        documents.reverse();
        assert_eq!(translation(&case, &documents.join("\n---\n")), expected, "{case}, the other way round");
        let half = documents.len() / 2;
        documents.rotate_left(half);
        assert_eq!(translation(&case, &documents.join("\n---\n")), expected, "{case}, from the middle");
    }
}

#[test]
fn resources_of_others_change_nothing() {
    let other = "\n---\n".to_owned()
        + &fs::read_to_string(folder().join("foreign-gateway-class.in.yaml")).unwrap().replace("apps", "elsewhere");
    for (case, manifests) in cases().into_iter().filter(|(case, _)| case != "foreign-gateway-class") {
        let expected = translation(&case, &manifests);
        assert_eq!(translation(&case, &(manifests + &other)), expected, "{case}");
    }
}

#[test]
fn a_policy_that_changes_or_breaks_keeps_its_key() {
    let case = "policy-gateway";
    let (_, manifests) = cases().into_iter().find(|(name, _)| name == case).unwrap();
    let changes = [
        ("another audience", "https://mcp.example.com", "https://other.example.com"),
        ("a key set that can't be read", "\"keys\"", "\"quays\""),
        ("a field that nobody knows", "audiences:", "audience:"),
    ];
    let keys = |manifests: &str| -> Vec<String> {
        let translation = translation(case, manifests);
        let hosts = listeners(&translation).flat_map(Listener::routes).flat_map(|(_, hosts)| hosts);
        // A broken policy says nothing to clients that are to log in.
        let routes = hosts.flat_map(|host| &host.routes).filter(|route| !route.policy.starts_with("metadata"));
        routes.map(|route| route.policy.clone()).collect()
    };
    for (change, from, to) in changes {
        assert!(manifests.contains(from), "{change}");
        assert_eq!(keys(&manifests.replace(from, to)), keys(&manifests), "{change}");
    }
}

#[test]
fn a_key_set_that_was_fetched_counts_and_an_old_one_is_told() {
    let (case, manifests) = cases().into_iter().find(|(name, _)| name == "policy-remote").unwrap();
    let resources = resources(&case, &manifests);
    let set =
        br#"{"keys":[{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = toolward_policy::jwt::jwks::parse(set, 4096).unwrap().keys;
    let failing = || Failing { last_good: 1_800_000_000, error: "down".to_owned() };
    let metadata = Some(r#"{"issuer":"https://login.example.com"}"#.to_owned());
    let nothing = || KeySet { keys: Vec::new(), place: None };
    let good = |keys: &KeySet, left_out, removed, failing| {
        let (keys, metadata) = (keys.clone(), metadata.clone());
        Known::Good { keys, left_out, removed, metadata, failing }
    };
    let weak = || vec![LeftOut { index: 1, kid: Some("w".to_owned()), why: "it is weak".to_owned() }];
    let removed = || vec![Removed { kid: "k".to_owned(), until: 1_800_000_300 }];
    let empty = "has no usable key: keys[1] (kid \"w\"): it is weak (KeySetEmpty)";
    let rows = [
        ("fetched", good(&keys, vec![], vec![], None), None, true),
        ("not fetched again", good(&keys, vec![], vec![], Some(failing())), Some("since 2027-01-15T08:00:00Z"), true),
        (
            "with a key that was removed",
            good(&keys, vec![], removed(), None),
            Some("removed the key \"k\", accepted until 2027-01-15T08:05:00Z (KeyRemoved)"),
            true,
        ),
        (
            "with a key that is left out",
            good(&keys, weak(), vec![], None),
            Some("keys[1] (kid \"w\"): it is weak (KeyLeftOut)"),
            true,
        ),
        ("with no key that can be used", good(&nothing(), weak(), vec![], None), Some(empty), false),
        ("emptied", good(&nothing(), vec![], vec![], Some(failing())), Some("no usable key (KeySetEmpty)"), false),
        ("too old", Known::Expired(failing()), Some("too long ago"), false),
        ("not fetched", Known::Unfetched("down".to_owned()), Some("can't be fetched: down"), false),
        ("being fetched", Known::Pending, Some("is being fetched"), false),
    ];
    for (row, known, said, works) in rows {
        let place =
            places(&resources).into_iter().find(|place| place.to_string().contains("login.example.com")).unwrap();
        let key_sets = Arc::new(KeySets([(place, known)].into()));
        let translation = translate(&resources, &TranslateOptions { key_sets, ..options(&case) });
        let filter = &listeners(&translation).next().unwrap().filter;
        let of_policy = translation
            .problems
            .iter()
            .filter(|problem| problem.resource.as_ref().is_some_and(|object| object.name.name == "discovered"));
        let problems: Vec<String> = of_policy.map(ToString::to_string).collect();
        assert_eq!(problems.is_empty(), said.is_none(), "{row}: {problems:?}");
        assert!(said.is_none_or(|said| problems.concat().contains(said)), "{row}: {problems:?}");
        assert_eq!(filter.key_sets.values().any(|set| set.place.is_some()), works, "{row}");
        let issuer = filter.policies.keys().any(|key| key.starts_with("issuer: "));
        assert_eq!(issuer, works, "{row}: the issuer's metadata are told");
    }
}

#[test]
fn a_name_that_is_bound_anew_leads_nowhere_but_where_it_may() {
    let (case, manifests) = cases().into_iter().find(|(name, _)| name == "public-hosts").unwrap();
    let resources = resources(&case, &manifests);
    let mut translator = Translator::default();
    let steps: [(&[&str], &[&str], &str); 5] = [
        (&["93.184.216.34"], &["93.184.216.34"], ""),
        (&["127.0.0.1"], &[], "AddressNotAllowed"),
        (&["127.0.0.1", "93.184.216.35"], &["93.184.216.35"], ""),
        (&["2600::5"], &[], "RefNotPermitted"),
        (&["93.184.216.36"], &["93.184.216.36"], ""),
    ];
    for (resolved, reached, reason) in steps {
        let addresses = resolved.iter().map(|address| address.parse().unwrap()).collect();
        let names = Names([("mcp.example.com".to_owned(), Resolved::At(addresses))].into());
        let translation =
            translator.translate(&resources, &TranslateOptions { names: Arc::new(names), ..options(&case) });
        let gateway = translation.model.gateways.values().next().unwrap();
        let cluster = gateway.clusters.get(&"backend/mcpbackend/apps/name/s".to_owned());
        let endpoints = cluster.map(|cluster| cluster.endpoints.clone());
        let expected = (!reached.is_empty()).then(|| {
            let endpoint = |address: &&str| Endpoint { address: (*address).to_owned(), port: 80 };
            Endpoints::Addresses(reached.iter().map(endpoint).collect())
        });
        assert_eq!(endpoints, expected, "{resolved:?}");
        let of_backend =
            |problem: &&Problem| problem.resource.as_ref().is_some_and(|object| object.name.name == "name");
        let said: Vec<&str> =
            translation.problems.iter().filter(of_backend).map(|problem| problem.reason.as_str()).collect();
        assert_eq!(said.concat(), reason, "{resolved:?}");
    }
}

#[test]
fn of_each_namespace_so_many_names_are_looked_up_and_the_oldest_first() {
    let backend = |namespace: &str, name: &str, host: &str, created: u32| {
        format!(
            "---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-01T00:00:{created:02}Z' }}
spec: {{ targets: [{{ name: s, static: {{ host: '{host}', port: 80 }} }}] }}
"
        )
    };
    let manifests = [
        backend("greedy", "a", "a.example.com", 9),
        backend("greedy", "b", "b.example.com", 1),
        backend("greedy", "c", "C.example.com.", 2),
        backend("greedy", "d", "b.example.com", 8),
        backend("greedy", "e", "127.1", 0),
        backend("greedy", "f", "math.other.svc", 0),
        backend("greedy", "g", "d.example.com", 3),
        backend("modest", "a", "d.example.com", 9),
    ];
    let resources = resources("names", &manifests.concat());
    let wanted = host_names(&resources, &BackendNetworks::only(&[]), 2);
    let of = |namespace: &str| [namespace.to_owned()].into();
    let expected = [
        ("b.example.com".to_owned(), of("greedy")),
        ("c.example.com".to_owned(), of("greedy")),
        ("d.example.com".to_owned(), of("modest")),
    ];
    assert_eq!(wanted.names, expected.into());
    assert_eq!(wanted.left_out, ["a.example.com".to_owned()].into());
    assert_eq!(host_names(&resources, &BackendNetworks::Any, 2), Default::default(), "Envoy looks them up");
}
