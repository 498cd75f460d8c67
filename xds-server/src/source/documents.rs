//! Kubernetes resources as they stand in files: YAML or JSON, several documents to a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::object::{self, Origin, Read};
use crate::problem::Problem;
use crate::resources::{ObjectRef, Resources};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// A file's path and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// For problems.
    pub path: PathBuf,
    /// YAML or JSON.
    pub content: Vec<u8>,
}

/// What stands in a file.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) path: PathBuf,
    /// Of the file's content.
    hash: [u8; 32],
    pub(super) resources: Resources,
    /// Why the file can't be trusted.
    pub(super) problems: Vec<Problem>,
}

/// Reads all files of a folder.
///
/// # Errors
/// When the files as a whole can't be trusted, because what is missing from them could be a policy: one is not YAML or
/// too large, an object has no kind or name, two objects have one name, or there is no object at all.
pub fn read(files: &[File]) -> Result<Resources, Vec<Problem>> {
    world(files.iter().map(Parsed::new).collect::<Vec<_>>().iter())
}

/// What these files come to together.
pub(super) fn world<'p>(files: impl Iterator<Item = &'p Parsed>) -> Result<Resources, Vec<Problem>> {
    let mut resources = Resources::default();
    let mut problems = Vec::new();
    for file in files {
        problems.extend(file.problems.iter().cloned());
        problems.extend(put_in(file, &mut resources));
    }
    if problems.is_empty() && resources.origins.is_empty() {
        let message = "there is no resource here: put YAML files with Kubernetes resources into the folder";
        problems.push(problem(None, "Empty", message.to_owned()));
    }
    if problems.is_empty() { Ok(resources) } else { Err(problems) }
}

/// Adds what stands in a file; what stands elsewhere already is a problem.
pub(super) fn put_in(file: &Parsed, resources: &mut Resources) -> Vec<Problem> {
    let twice = file.resources.origins.keys().filter_map(|object| {
        let other = resources.origins.get(object)?;
        Some(duplicate(object.clone(), &file.path, other))
    });
    let problems: Vec<Problem> = twice.collect();
    resources.replace(&Resources::default(), &file.resources);
    problems
}

impl Parsed {
    /// Reads a file.
    pub(super) fn new(file: &File) -> Self {
        let hash = Sha256::digest(&file.content).into();
        let (mut resources, mut problems) = (Resources::default(), Vec::new());
        let path = Arc::new(file.path.clone());
        match documents(file) {
            Ok(documents) => {
                for document in documents {
                    add(&path, document, &mut resources, &mut problems);
                }
            }
            Err(problem) => problems.push(*problem),
        }
        Self { path: file.path.clone(), hash, resources, problems }
    }

    /// Whether both are of one file with the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.path == other.path && self.hash == other.hash)
    }

    /// Whether it is what stands in this file.
    pub(super) fn is_of(&self, file: &File) -> bool {
        self.path == file.path && self.hash == <[u8; 32]>::from(Sha256::digest(&file.content))
    }
}

fn documents(file: &File) -> Result<Vec<Value>, Box<Problem>> {
    let fault = |message| Box::new(problem(Some(&file.path), "NotYAML", message));
    if file.content.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes; {MAX_FILE_BYTES} are accepted", file.content.len());
        return Err(Box::new(problem(Some(&file.path), "TooLarge", message)));
    }
    let text = std::str::from_utf8(&file.content).map_err(|error| fault(format!("not UTF-8: {error}")))?;
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let yaml = serde_yaml_ng::Value::deserialize(document).map_err(|error| fault(error.to_string()))?;
        match serde_json::to_value(yaml).map_err(|error| fault(error.to_string()))? {
            Value::Null => {}
            Value::Object(list) if is_list(&list) => match list.get("items") {
                Some(Value::Array(items)) => documents.extend(items.iter().cloned()),
                _ => return Err(fault("a List needs `items`".to_owned())),
            },
            document => documents.push(document),
        }
    }
    Ok(documents)
}

fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    object.get("kind") == Some(&Value::from("List")) && object.get("apiVersion") == Some(&Value::from("v1"))
}

/// `kustomization.yaml` stands among the resources that it gathers and is none.
fn is_kustomization(document: &Value) -> bool {
    let version = document.pointer("/apiVersion").and_then(Value::as_str);
    version.is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
}

fn add(file: &Arc<PathBuf>, document: Value, resources: &mut Resources, problems: &mut Vec<Problem>) {
    if is_kustomization(&document) {
        return;
    }
    let Some((object, version)) = identity(&document) else {
        let message = "a resource needs `apiVersion`, `kind` and `metadata.name`, all strings";
        problems.push(problem(Some(file), "NotAResource", message.to_owned()));
        return;
    };
    match object::read(&object, &version, Origin::File, document, resources) {
        Read::Foreign => return,
        Read::Ok => {}
        Read::Malformed(mut malformed) => {
            malformed.problems_mut().for_each(|problem| problem.file = Some(PathBuf::clone(file)));
            resources.mark(&object, *malformed);
        }
    }
    if let Some(other) = resources.origins.share(object.clone(), Arc::clone(file)) {
        problems.push(duplicate(object, file, &other));
    }
}

fn duplicate(object: ObjectRef, file: &Path, other: &Path) -> Problem {
    let message = format!("the same resource stands in {} as well; keep one", other.display());
    Problem { resource: Some(object), ..problem(Some(file), "Duplicate", message) }
}

/// Group, kind and name, and the version.
fn identity(document: &Value) -> Option<(ObjectRef, String)> {
    let text = |pointer: &str| document.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let api_version = text("/apiVersion")?;
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let (kind, name) = (text("/kind")?, text("/metadata/name")?);
    let namespace = match document.pointer("/metadata/namespace") {
        None | Some(Value::Null) => "default".to_owned(),
        Some(Value::String(namespace)) => namespace.clone(),
        Some(_) => return None,
    };
    let namespace = if object::is_cluster_scoped(&kind) { String::new() } else { namespace };
    let name = crate::resources::Name { namespace, name };
    Some((ObjectRef { group: group.to_owned(), kind, name }, version.to_owned()))
}

fn problem(file: Option<&Path>, reason: &str, message: String) -> Problem {
    Problem { file: file.map(Path::to_owned), resource: None, field: String::new(), reason: reason.to_owned(), message }
}
