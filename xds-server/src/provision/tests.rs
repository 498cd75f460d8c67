//! Golden cases: `testdata/provision/<case>.in.yaml` are manifests, `<case>.out.yaml` are the objects, after what is
//! wrong with the manifests. With `UPDATE_GOLDEN=1` the answers are written instead of compared.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::*;
use crate::source::documents::{self, File};
use crate::translate::{TranslateOptions, translate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/provision")
}

fn cases() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = entries.filter_map(|name| Some(name.strip_suffix(".in.yaml")?.to_owned())).collect();
    cases.sort();
    let input = |case: &String| fs::read_to_string(folder().join(format!("{case}.in.yaml"))).unwrap();
    cases.into_iter().map(|case| (case.clone(), input(&case))).collect()
}

fn options(case: &str) -> ProvisionOptions {
    let authorities = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned();
    ProvisionOptions {
        image: "registry.example.com/toolward:1.2.3".to_owned(),
        xds_host: "toolward.toolward-system.svc".to_owned(),
        xds_port: 18000,
        xds_trust: if case.starts_with("system-trust") { Trust::System } else { Trust::Authorities(authorities) },
    }
}

/// The problems, and the objects.
fn provision(case: &str, manifests: &str) -> (Vec<String>, Vec<Value>) {
    let file = File { path: PathBuf::from(format!("{case}.yaml")), content: manifests.as_bytes().to_vec() };
    let resources = documents::read(&[file]).unwrap_or_else(|problems| panic!("{case}: {problems:#?}"));
    let translation = translate(&resources, &TranslateOptions::default());
    let problems = translation.problems.iter().map(ToString::to_string).collect();
    (problems, all(&resources, &translation, &options(case)))
}

#[test]
fn every_case_makes_what_its_golden_file_says() {
    let cases = cases();
    assert!(cases.len() >= 6, "the golden files are gone");
    let mut differing = Vec::new();
    for (case, manifests) in cases {
        let (problems, objects) = provision(&case, &manifests);
        let problems: String = problems.iter().map(|problem| format!("# {problem}\n")).collect();
        let actual = problems + &yaml::documents(&objects);
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
fn kubernetes_knows_every_field() {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    fn same<T: serde::de::DeserializeOwned + serde::Serialize>(case: &str, object: Value) {
        let read: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(serde_json::to_value(read).unwrap(), object, "{case}");
    }
    for (case, manifests) in cases() {
        for object in provision(&case, &manifests).1 {
            match object["kind"].as_str().unwrap() {
                "ServiceAccount" => same::<ServiceAccount>(&case, object),
                "ConfigMap" => same::<ConfigMap>(&case, object),
                "Deployment" => same::<Deployment>(&case, object),
                "Service" => same::<Service>(&case, object),
                "PodDisruptionBudget" => same::<PodDisruptionBudget>(&case, object),
                kind => panic!("{case}: {kind}"),
            }
        }
    }
}

#[test]
fn new_configuration_makes_new_pods() {
    let (case, manifests) = cases().into_iter().find(|(case, _)| case == "gateway").unwrap();
    let file = File { path: PathBuf::from("a.yaml"), content: manifests.into_bytes() };
    let resources = documents::read(&[file]).unwrap();
    let gateway = resources.gateways.values().next().unwrap();
    let template = |options: &ProvisionOptions| objects(gateway, &Parameters::default(), options)[2]["spec"].clone();
    let renewed = ProvisionOptions { xds_trust: Trust::Authorities("another".to_owned()), ..options(&case) };
    assert_ne!(template(&options(&case)), template(&renewed));
}
