//! An object as an API server tells it. Whatever it says, reading it fails nobody but itself: a list or a watch is read
//! object by object, and what is of no use to us is skipped unread.
//!
//! ```text
//! bytes ─> members, unread ─> metadata: what is kept of it ─┐
//!                └──────────> each of the others ───────────┴─> the document, and what of it can't be read
//! ```
//! Tenants write most of this. `managedFields` may be nested deeper than a parser of values goes, and have times that a type
//! for times does not hold.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ::kube::Resource;
use ::kube::api::DynamicObject;
use ::kube::core::metadata::ObjectMeta;
use ::kube::discovery::ApiResource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::resources::Name;
use crate::translate::WRITTEN_BY;

/// The annotation in which `kubectl apply` keeps what it was given. Beside it ours are read, which say that an object was
/// [written](WRITTEN_BY).
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is kept of metadata.
const METADATA: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
];

/// An object, as far as it can be read.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name and version alone.
    metadata: ObjectMeta,
    /// What could be read.
    pub document: Value,
    /// The member that could not, and why.
    pub unreadable: Option<Unreadable>,
}

/// A part of an object that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it stands.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// The members of an object or a part of it, unread.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl Item {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        let ObjectMeta { name, namespace, .. } = &self.metadata;
        Name::new(namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut unreadable = None;
        let mut document = Map::new();
        for (name, member) in serde_json::from_str::<Members<'_>>(text)? {
            let value = match &*name {
                "metadata" => Value::Object(metadata(serde_json::from_str(member.get())?, &mut unreadable)),
                // What can be read of it tells what is closed.
                "spec" => spec(member, &mut unreadable),
                other => value(other, member, &mut unreadable),
            };
            document.insert(name.into_owned(), value);
        }
        let text = |field: &str| document.get("metadata").and_then(|it| it.get(field)).and_then(Value::as_str);
        let named = |field: &str| text(field).map(str::to_owned);
        let metadata = ObjectMeta {
            name: Some(named("name").ok_or_else(|| serde_json::Error::custom("an object without a name"))?),
            namespace: named("namespace"),
            resource_version: named("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, document: Value::Object(document), unreadable })
    }
}

fn metadata(members: Members<'_>, unreadable: &mut Option<Unreadable>) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, member) in members.into_iter().filter(|(name, _)| METADATA.contains(&&**name)) {
        let mut value = value(&format!("metadata.{name}"), member, unreadable);
        if let Some(annotations) = value.as_object_mut().filter(|_| name == "annotations") {
            annotations.retain(|name, _| name == LAST_APPLIED || name.starts_with(WRITTEN_BY));
        }
        kept.insert(name.into_owned(), value);
    }
    kept
}

fn spec(whole: &RawValue, unreadable: &mut Option<Unreadable>) -> Value {
    let Ok(members) = serde_json::from_str::<Members<'_>>(whole.get()) else {
        return value("spec", whole, unreadable);
    };
    let read = |(name, member): (Cow<'_, str>, &RawValue)| {
        let value = value(&format!("spec.{name}"), member, unreadable);
        (name.into_owned(), value)
    };
    Value::Object(members.into_iter().map(read).collect())
}

fn value(field: &str, member: &RawValue, unreadable: &mut Option<Unreadable>) -> Value {
    serde_json::from_str(member.get()).unwrap_or_else(|error| {
        unreadable.get_or_insert_with(|| Unreadable { field: field.to_owned(), message: error.to_string() });
        Value::Null
    })
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(whole.get()).map_err(D::Error::custom)
    }
}

/// The same of which only the metadata are asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Listed(pub Item);

macro_rules! resource {
    ($type:ty, $metadata_alone:literal, $self:ident => $metadata:expr) => {
        impl Resource for $type {
            type DynamicType = ApiResource;
            type Scope = <DynamicObject as Resource>::Scope;

            fn metadata_api() -> bool {
                $metadata_alone
            }

            fn kind(kind: &ApiResource) -> Cow<'_, str> {
                DynamicObject::kind(kind)
            }

            fn group(kind: &ApiResource) -> Cow<'_, str> {
                DynamicObject::group(kind)
            }

            fn version(kind: &ApiResource) -> Cow<'_, str> {
                DynamicObject::version(kind)
            }

            fn plural(kind: &ApiResource) -> Cow<'_, str> {
                DynamicObject::plural(kind)
            }

            fn meta(&$self) -> &ObjectMeta {
                &$metadata
            }

            fn meta_mut(&mut $self) -> &mut ObjectMeta {
                &mut $metadata
            }
        }
    };
}

resource!(Item, false, self => self.metadata);
resource!(Listed, true, self => self.0.metadata);

#[cfg(test)]
mod tests {
    use ::kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels))
    }

    /// Each as an API server may tell it, with the field that can't be read.
    fn odd() -> Vec<(&'static str, String, Option<&'static str>)> {
        let object = |metadata: &str, more: &str| {
            format!(
                r#"{{"apiVersion":"v1","kind":"X","metadata":{{"name":"a","namespace":"n","resourceVersion":"7"{metadata}}}{more}}}"#
            )
        };
        let deep = nested(150);
        let annotations = format!(r#","annotations":{{"note":"long","{LAST_APPLIED}":"{{}}"}}"#);
        vec![
            ("plain", object("", r#","spec":{}"#), None),
            ("annotations", object(&annotations, ""), None),
            ("deep managedFields", object(&format!(r#","managedFields":[{{"fieldsV1":{deep}}}]"#), ""), None),
            ("a late time", object(r#","managedFields":[{"time":"9999-12-31T23:59:59Z"}]"#, ""), None),
            ("members of another form", object(r#","finalizers":{},"selfLink":[]"#, ""), None),
            ("deep labels", object(&format!(r#","labels":{deep}"#), ""), Some("metadata.labels")),
            ("a deep spec", object("", &format!(r#","spec":{{"a":1,"b":{deep}}}"#)), Some("spec.b")),
            ("a number that no double holds", object("", r#","data":{"a":1e999}"#), Some("data")),
        ]
    }

    #[test]
    fn an_odd_object_fails_no_list_and_no_watch() {
        let items: Vec<String> = odd().into_iter().map(|(_, item, _)| item).collect();
        let list = format!(
            r#"{{"kind":"XList","apiVersion":"v1","metadata":{{"resourceVersion":"9"}},"items":[{}]}}"#,
            items.join(",")
        );
        let list: ObjectList<Item> = serde_json::from_str(&list).expect("a list");
        assert_eq!(list.items.len(), items.len());
        for (item, (row, text, unreadable)) in list.items.iter().zip(odd()) {
            assert_eq!(item.name(), Name::new("n", "a"), "{row}");
            assert_eq!(item.meta().resource_version.as_deref(), Some("7"), "{row}");
            assert_eq!(item.unreadable.as_ref().map(|it| it.field.as_str()), unreadable, "{row}");
            let event = format!(r#"{{"type":"MODIFIED","object":{text}}}"#);
            match serde_json::from_str(&event).expect("an event") {
                WatchEvent::Modified(Listed(item)) => assert_eq!(item.name(), Name::new("n", "a"), "{row}"),
                other => panic!("{row}: {other:?}"),
            }
        }
        assert_eq!(list.items[6].document["spec"], json!({ "a": 1, "b": null }), "the rest of it");
        assert_eq!(list.items[1].document["metadata"]["annotations"], json!({ LAST_APPLIED: "{}" }));
    }

    #[test]
    fn what_is_not_kept_is_not_there() {
        let (_, text, _) = odd().swap_remove(2);
        let item: Item = serde_json::from_str(&text).expect("an item");
        assert_eq!(
            item.document,
            json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "a", "namespace": "n", "resourceVersion": "7" } })
        );
    }

    #[test]
    fn an_object_without_a_name_is_none() {
        assert!(serde_json::from_str::<Item>(r#"{"metadata":{}}"#).is_err());
        assert!(serde_json::from_str::<Item>("{}").is_err());
    }
}
