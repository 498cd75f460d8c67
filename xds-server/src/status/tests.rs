//! Golden cases: `testdata/translate/<case>.in.yaml` are manifests, `testdata/status/<case>.out.yaml` what every object
//! should say of itself. With `UPDATE_GOLDEN=1` the answers are written instead of compared.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Map, Value};

use super::{Facts, desired};
use crate::source::documents::{self, File};
use crate::translate::{TranslateOptions, translate};

#[test]
fn every_case_has_the_status_that_its_golden_file_says() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut names: Vec<String> = fs::read_dir(testdata.join("translate"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".in.yaml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "the cases are gone");
    let mut differing = Vec::new();
    for name in names {
        let content = fs::read(testdata.join(format!("translate/{name}.in.yaml"))).unwrap();
        let file = File { path: PathBuf::from(format!("{name}.yaml")), content };
        let resources = documents::read(&[file]).unwrap();
        let translation = translate(&resources, &TranslateOptions::default());
        let statuses = desired(&resources, &translation, &Facts::default());
        let shown: Map<String, Value> =
            statuses.into_iter().map(|desired| (desired.object.to_string(), short(desired.status))).collect();
        let actual = serde_yaml_ng::to_string(&shown).unwrap();
        let golden = testdata.join(format!("status/{name}.out.yaml"));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden, actual).unwrap();
        } else if fs::read_to_string(golden).unwrap_or_default() != actual {
            differing.push(name);
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
