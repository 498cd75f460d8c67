//! What ships in `manifests/` fits the program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde::Deserialize as _;
use serde_json::Value;
use toolward_xds_server::cli::Cli;
use toolward_xds_server::provision::{self, WASM_FILE};
use toolward_xds_server::source::kube::kinds::{Content, KINDS};
use toolward_xds_server::status::DEFINITION;
use toolward_xds_server::translate::CONTROLLER_NAME;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

/// All YAML files below a folder of `manifests/`, by their paths from there.
fn files(folder: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        let path = path.trim_start_matches("./").to_owned();
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&path));
        } else if path.ends_with(".yaml") {
            files.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

/// Everything in those files with the file that it stands in.
fn objects(folder: &str) -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for (path, text) in files(folder) {
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).unwrap_or_else(|error| panic!("{path}: {error}"));
            objects.push((path.clone(), object));
        }
    }
    assert!(!objects.is_empty(), "{folder}");
    objects
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {object}"))
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn deployed(kind: &str, name: &str) -> Value {
    let mut found = objects("deploy").into_iter().map(|(_, object)| object);
    found
        .find(|object| object["kind"] == kind && text(object, "/metadata/name") == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn container() -> Value {
    deployed("Deployment", "toolward")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn every_file_can_be_read_and_is_applied() {
    let kustomization: Value =
        serde_yaml_ng::from_str(&fs::read_to_string(root().join("kustomization.yaml")).unwrap()).unwrap();
    let present: BTreeSet<String> = files("crds").into_keys().chain(files("deploy").into_keys()).collect();
    assert_eq!(strings(&kustomization["resources"]), present);
    for (path, object) in objects(".").iter().filter(|(path, _)| !path.ends_with("kustomization.yaml")) {
        for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
            assert!(object.pointer(pointer).is_some_and(Value::is_string), "{path}: {pointer}");
        }
    }
    let folder = "components/servicemonitor";
    let files = files(folder);
    let kustomization: Value = serde_yaml_ng::from_str(&files[&format!("{folder}/kustomization.yaml")]).unwrap();
    let named: BTreeSet<_> =
        strings(&kustomization["resources"]).into_iter().map(|name| format!("{folder}/{name}")).collect();
    let present: BTreeSet<_> = files.into_keys().filter(|path| !path.ends_with("kustomization.yaml")).collect();
    assert_eq!(named, present);
}

#[test]
fn names_and_namespaces_are_ours() {
    const CLUSTER_SCOPED: [&str; 4] = ["Namespace", "ClusterRole", "ClusterRoleBinding", "GatewayClass"];
    for (path, object) in objects("deploy").into_iter().chain(objects("components")) {
        if path.ends_with("kustomization.yaml") {
            continue;
        }
        assert!(text(&object, "/metadata/name").starts_with("toolward"), "{path}");
        assert_eq!(text(&object, "/metadata/labels/app.kubernetes.io~1name"), "toolward", "{path}");
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let scoped = CLUSTER_SCOPED.contains(&text(&object, "/kind"));
        assert_eq!(namespace, (!scoped).then_some("toolward-system"), "{path}");
    }
    let class = deployed("GatewayClass", "toolward");
    assert_eq!(text(&class, "/spec/controllerName"), CONTROLLER_NAME);
}

#[test]
fn the_command_line_is_one_that_the_program_takes() {
    let container = container();
    let arguments: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect();
    let parsed = Cli::try_parse_from(["toolward".to_owned()].into_iter().chain(arguments.clone()));
    parsed.unwrap_or_else(|error| panic!("{error}"));
    let option = |name: &str| {
        let value = arguments.iter().find_map(|argument| argument.strip_prefix(&format!("{name}=")));
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(option("--wasm-file"), WASM_FILE);
    assert_eq!(option("--unprotected-routes"), "deny", "what nobody protects is closed in a cluster");
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    };
    assert_eq!(option("--xds-address"), format!("0.0.0.0:{}", port("xds")));
    assert_eq!(option("--health-address"), format!("0.0.0.0:{}", port("health")));
    assert!(!arguments.iter().any(|argument| argument.starts_with("--admin-address")), "the admin port is for nobody");
}

#[test]
fn the_image_is_that_of_this_version() {
    let image = format!("ghcr.io/toolward/toolward:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&container(), "/image"), image);
    let dockerfile = fs::read_to_string(root().join("../Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!(" {WASM_FILE}\n")), "the filter is where the Deployment says");
}

#[test]
fn the_network_policy_lets_provisioned_envoys_in() {
    let policy = deployed("NetworkPolicy", "toolward");
    let (name, value) = provision::names::APP;
    let labels = &policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
    assert_eq!(labels.as_object().unwrap().get(name), Some(&Value::from(value)));
}

/// The rules of a role: group, resource, names that it is limited to, verbs.
fn rules(role: &Value) -> Vec<(String, String, BTreeSet<String>, BTreeSet<String>)> {
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                rules.push((group.clone(), resource, strings(&rule["resourceNames"]), strings(&rule["verbs"])));
            }
        }
    }
    rules
}

#[test]
fn what_may_be_read_is_what_is_read() {
    let role = deployed("ClusterRole", "toolward");
    let mut granted = BTreeMap::new();
    for (group, resource, _, verbs) in rules(&role) {
        let read: BTreeSet<String> =
            verbs.into_iter().filter(|verb| !matches!(verb.as_str(), "patch" | "create")).collect();
        if !read.is_empty() {
            assert!(granted.insert((group, resource.clone()), read).is_none(), "{resource} stands twice");
        }
    }
    let mut needed: BTreeMap<_, _> = KINDS
        .iter()
        .map(|kind| {
            let verbs: &[&str] = match kind.content {
                Content::Whole => &["list", "watch"],
                Content::WhenReferenced => &["get", "list", "watch"],
            };
            let verbs: BTreeSet<String> = verbs.iter().map(|verb| (*verb).to_owned()).collect();
            ((kind.group.to_owned(), kind.plural.to_owned()), verbs)
        })
        .collect();
    // One of them, which says of which release the kinds of Gateway API are.
    let definitions = ("apiextensions.k8s.io".to_owned(), "customresourcedefinitions".to_owned());
    let rule = rules(&role).into_iter().find(|(group, ..)| *group == definitions.0).unwrap();
    assert_eq!(rule.2, BTreeSet::from([DEFINITION.to_owned()]));
    needed.insert(definitions, BTreeSet::from(["get".to_owned()]));
    assert_eq!(granted, needed);
}

#[test]
fn what_is_provisioned_may_be_written() {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/provision/gateway.out.yaml"));
    let role = rules(&deployed("ClusterRole", "toolward-provision"));
    let mut kinds = 0;
    for document in serde_yaml_ng::Deserializer::from_str(&example.unwrap()) {
        let object = Value::deserialize(document).unwrap();
        let group = text(&object, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
        let resource = format!("{}s", text(&object, "/kind").to_lowercase());
        let rule = role.iter().find(|rule| rule.0 == group && rule.1 == resource);
        let verbs = &rule.unwrap_or_else(|| panic!("nothing about {resource}")).3;
        let needed: &[&str] = match resource.as_str() {
            // rbac-read.yaml lets them be found.
            "services" | "configmaps" => &["create", "delete", "patch"],
            _ => &["create", "delete", "list", "patch"],
        };
        assert_eq!(verbs.iter().map(String::as_str).collect::<Vec<_>>(), needed, "{resource}");
        kinds += 1;
    }
    assert_eq!(kinds, 5);
}

#[test]
fn every_rule_says_what_it_is_for_and_none_grants_everything() {
    for (path, content) in files("deploy") {
        let lines: Vec<&str> = content.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].trim_start().starts_with("- apiGroups")) {
            assert!(pair[0].trim_start().starts_with("# "), "{path}: {}", pair[1]);
        }
    }
    for (path, object) in objects("deploy") {
        for (group, resource, _, verbs) in object.get("rules").map(|_| rules(&object)).into_iter().flatten() {
            let all = [&group, &resource].into_iter().chain(&verbs);
            assert!(all.into_iter().all(|word| word != "*"), "{path}");
            assert!(!["escalate", "bind", "impersonate"].iter().any(|verb| verbs.contains(*verb)), "{path}");
        }
    }
}

#[test]
fn pods_are_restricted() {
    let deployment = deployed("Deployment", "toolward");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(text(pod, "/securityContext/seccompProfile/type"), "RuntimeDefault");
    let security = &container()["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    let namespace = deployed("Namespace", "toolward-system");
    assert_eq!(text(&namespace, "/metadata/labels/pod-security.kubernetes.io~1enforce"), "restricted");
}
