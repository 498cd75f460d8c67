//! Reading folders: `testdata/dir/<case>/` against `testdata/dir/<case>.out.yaml`. `UPDATE_GOLDEN=1` rewrites those.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toolward_xds_server::problem::Problem;
use toolward_xds_server::resources::Protects;
use toolward_xds_server::source::dir;

/// What a folder gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Read { resources: Vec<String>, malformed: BTreeMap<String, Vec<String>> },
    Refused { problems: Vec<String> },
}

fn read(folder: &Path) -> Outcome {
    match dir::load(folder) {
        Ok(resources) => {
            let mut malformed: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (object, item) in &resources.malformed {
                let closes = match &item.protects {
                    Protects::Nothing => String::new(),
                    Protects::Targets(targets) => {
                        let names: Vec<String> =
                            targets.iter().map(|target| format!("{} {}", target.kind, target.name)).collect();
                        format!(", closes {}", names.join(" and "))
                    }
                    Protects::Namespace => ", closes its namespace".to_owned(),
                    Protects::Services(services) => format!(", closes the ways to {services:?}"),
                };
                let problems = item.problems().map(|problem| line(folder, problem));
                malformed.insert(format!("{object}{closes}"), problems.collect());
            }
            Outcome::Read { resources: resources.origins.keys().map(ToString::to_string).collect(), malformed }
        }
        Err(problems) => Outcome::Refused { problems: problems.iter().map(|it| line(folder, it)).collect() },
    }
}

/// The problem's text with the path as it is below the folder.
fn line(folder: &Path, problem: &Problem) -> String {
    let inside = |path: &PathBuf| path.strip_prefix(folder).map(Path::to_owned).unwrap_or_default();
    let text = Problem { file: problem.file.as_ref().map(inside), ..problem.clone() }.to_string();
    text.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn golden() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dir");
    let mut folders: Vec<PathBuf> = fs::read_dir(&cases)
        .expect("cases")
        .map(|entry| entry.expect("case").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(!folders.is_empty());
    for folder in folders {
        let expected = folder.with_extension("out.yaml");
        let actual = serde_yaml_ng::to_string(&read(&folder)).expect("YAML");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &actual).expect("writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(actual, expected, "{}; UPDATE_GOLDEN=1 rewrites what is expected", folder.display());
    }
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let problems = dir::load(Path::new("/nonexistent")).expect_err("no folder");
    assert_eq!(problems[0].reason, "Unreadable");
}
