//! The shipped examples, made ready to run: with keys, and on free ports.

use std::path::Path;

use crate::envoy::shipped;
use crate::folder::Folder;
use crate::tools::root;
use crate::toolward::Issuer;

/// A copy of an example of `manifests/examples` with this issuer's keys, and these ports in place of others.
///
/// # Panics
/// When the example is not there, or does not say what is to be replaced.
#[must_use]
pub fn example(name: &str, issuer: &Issuer, ports: &[(u16, u16)]) -> Folder {
    let folder = Folder::new();
    let mut text = Vec::new();
    for file in files(&root().join("manifests/examples").join(name)) {
        text.push((file.clone(), shipped(&format!("manifests/examples/{name}/{file}"))));
    }
    replace(&mut text, r#"{"keys":[]}"#, &issuer.jwks());
    for (from, to) in ports {
        replace(&mut text, &format!("port: {from}"), &format!("port: {to}"));
    }
    for (file, content) in text {
        folder.write(&file, &content);
    }
    folder
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".yaml")).collect()
}

fn replace(files: &mut [(String, String)], from: &str, to: &str) {
    assert!(files.iter().any(|(_, content)| content.contains(from)), "no file says {from}");
    for (_, content) in files {
        *content = content.replace(from, to);
    }
}
