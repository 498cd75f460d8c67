//! `toolward crds`: the definitions of our own kinds, made of the types that read them.
//!
//! What the types say as JSON Schema becomes a structural schema here, so that an API server refuses at `kubectl apply`
//! what it can. <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

use std::io::Write;
use std::process::ExitCode;

use kube::CustomResourceExt as _;
use serde_json::{Map, Value};

use crate::render::yaml;
use crate::resources::mcp::{MCPAccessPolicy, MCPBackend};

/// Prints all definitions as YAML on standard output.
#[must_use]
pub fn run() -> ExitCode {
    match definitions() {
        Ok(definitions) => {
            // A reader that has seen enough closes the pipe, which is no fault.
            let _ = std::io::stdout().write_all(yaml::documents(&definitions).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("toolward: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All definitions.
///
/// # Errors
/// Never in practice: all keys are strings.
pub fn definitions() -> Result<[Value; 2], serde_json::Error> {
    let mut definitions = [serde_json::to_value(MCPAccessPolicy::crd())?, serde_json::to_value(MCPBackend::crd())?];
    for definition in &mut definitions {
        let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
        for schema in
            versions.into_iter().flatten().filter_map(|version| version.pointer_mut("/schema/openAPIV3Schema"))
        {
            structural(schema);
            schema.pointer_mut("/properties/spec").into_iter().for_each(keep_nulls);
        }
    }
    Ok(definitions)
}

/// Makes of JSON Schema what an API server takes without a warning.
fn structural(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("nullable");
    // A structural schema has no place for "a string, an integer or a boolean"; what else there is, we refuse.
    if fields.remove("anyOf").is_some() {
        fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    // An object without fields has none of others either, but that can't be said: what is there is dropped.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    // Not a format of OpenAPI; the bounds are there already.
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        fields.remove("format");
    }
    let children = fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    children.for_each(structural);
    fields.get_mut("items").into_iter().for_each(structural);
    fields.get_mut("additionalProperties").into_iter().for_each(structural);
}

/// A null that an API server drops would be an absent section, and its author believes it to be there. So it stays, and closes
/// what it stands in. Where a rule asks for the field with `has`, it is not there.
fn keep_nulls(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    let required = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (name, child) in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        keep_nulls(child);
        if let Some(child) = child.as_object_mut().filter(|_| !required.contains(&Value::from(name.as_str()))) {
            child.insert("nullable".to_owned(), Value::Bool(true));
        }
    }
    fields.get_mut("items").into_iter().for_each(keep_nulls);
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/crds")
    }

    fn text(value: &Value, pointer: &str) -> String {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}")).to_owned()
    }

    /// All schemas of a definition with their paths.
    fn schemas() -> Vec<(String, Value)> {
        fn walk(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
            found.push((path.to_owned(), schema.clone()));
            for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                walk(&format!("{path}.{name}"), child, found);
            }
            schema.get("items").into_iter().for_each(|items| walk(&format!("{path}[]"), items, found));
        }
        let mut found = Vec::new();
        for definition in definitions().unwrap() {
            let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
            walk(&text(&definition, "/spec/names/kind"), schema, &mut found);
        }
        found
    }

    #[test]
    fn the_files_are_those_that_are_made_of_the_types() {
        for definition in definitions().unwrap() {
            let name = format!("toolward.dev_{}.yaml", text(&definition, "/spec/names/plural"));
            let path = folder().join(&name);
            let expected = format!("# Made by `make generate`.\n{}", yaml::document(&definition));
            if env::var_os("UPDATE_GOLDEN").is_some() {
                fs::create_dir_all(folder()).unwrap();
                fs::write(path, expected).unwrap();
            } else {
                assert_eq!(fs::read_to_string(path).unwrap_or_default(), expected, "run `make generate` for {name}");
            }
        }
    }

    #[test]
    fn every_field_is_described() {
        for (path, schema) in schemas() {
            let field = path.contains(".spec") && !path.ends_with("[]");
            assert!(!field || schema.get("description").is_some(), "{path} has no description");
        }
    }

    /// An API server estimates what a rule may cost from these bounds, and refuses a definition that may cost too much.
    #[test]
    fn everything_in_a_spec_is_bounded() {
        for (path, schema) in schemas().into_iter().filter(|(path, _)| path.contains(".spec")) {
            let bound = match schema.get("type").and_then(Value::as_str) {
                Some("array") => "maxItems",
                Some("string") if schema.get("enum").is_none() => "maxLength",
                Some("integer") => "maximum",
                _ => continue,
            };
            assert!(schema.get(bound).is_some(), "{path} has no {bound}: {schema}");
        }
    }

    #[test]
    fn no_schema_has_what_is_not_structural() {
        for (path, schema) in schemas() {
            for word in ["anyOf", "$ref", "additionalProperties", "uniqueItems", "const"] {
                assert!(schema.get(word).is_none(), "{path}: {word}");
            }
            let free = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            assert!(free || schema.get("type").is_some(), "{path} has no type: {schema}");
            assert!(
                !free || [".claims[].", ".arguments[]."].iter().any(|list| path.contains(list)),
                "{path} takes everything"
            );
        }
    }

    /// In a spec what is required can't be null, and all else shows when it is.
    #[test]
    fn no_null_is_dropped() {
        let mut count = 0;
        for (path, schema) in schemas().into_iter().filter(|(path, _)| path.contains(".spec")) {
            let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let is_nullable = child.get("nullable") == Some(&Value::Bool(true));
                assert_ne!(is_nullable, required.contains(&Value::from(name.as_str())), "{path}.{name}");
                count += usize::from(is_nullable);
            }
        }
        assert!(count >= 50, "only {count} fields can be null");
    }

    #[test]
    fn keys_of_list_maps_are_required() {
        let schemas = schemas();
        let maps = schemas.iter().filter(|(_, schema)| schema.get("x-kubernetes-list-map-keys").is_some());
        let mut count = 0;
        for (path, schema) in maps {
            let required = schema.pointer("/items/required").and_then(Value::as_array).unwrap();
            for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                assert!(required.contains(key), "{path}: {key}");
                count += 1;
            }
        }
        assert!(count >= 3, "only {count} keys");
    }
}
