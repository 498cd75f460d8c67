//! A filtered list is a part of the list, byte for byte, and nothing in it is hidden from whoever reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use toolward_policy::mcp::list::{Filtered, MAX_TTL_MS, filter};
use toolward_policy::policy::Item;
use toolward_policy_fuzz::{Json, Reader};

const LISTS: [(&str, &str); 5] = [
    ("tools", "name"),
    ("prompts", "name"),
    ("resources", "uri"),
    ("resourceTemplates", "uriTemplate"),
    ("skills", "uri"),
];

fn keep(item: Item<'_>) -> bool {
    let (Item::Tool(name) | Item::Prompt(name) | Item::Resource(name) | Item::Method(name)) = item;
    name.starts_with('a')
}

fuzz_target!(|text: &str| {
    let filtered = match filter(text, MAX_TTL_MS, &mut keep) {
        Filtered::Unreadable(_) | Filtered::Dropped => return,
        Filtered::Unchanged => text.to_owned(),
        Filtered::Changed(changed) => {
            assert_eq!(filter(&changed, MAX_TTL_MS, &mut keep), Filtered::Unchanged, "once is enough");
            changed
        }
    };
    // What no reader takes for JSON shows no list.
    let Some(json) = Json::parse(filtered.as_bytes()) else { return };
    let Some(before) = Json::parse(text.as_bytes()) else { panic!("it was read") };
    assert_eq!(json.messages().len(), before.messages().len());
    for (message, before) in json.messages().iter().zip(before.messages()) {
        for reader in [Reader::First, Reader::Last] {
            check(message.member(reader, "result"), before.member(reader, "result"), reader);
            check(data(message, reader), data(before, reader), reader);
        }
    }
    // The elements that stay are there as they were.
    if let (Some(kept), Some(all)) = (tools(&filtered), tools(text)) {
        let mut all = all.iter().map(|element| element.get());
        assert!(kept.iter().all(|element| all.any(|other| other == element.get())), "in their order, byte for byte");
    }
});

fn check(result: Option<&Json>, before: Option<&Json>, reader: Reader) {
    let (Some(result), Some(before)) = (result, before) else { return };
    for (list, name) in LISTS {
        let elements = result.member(reader, list).map_or(&[][..], Json::elements);
        let all = before.member(reader, list).map_or(0, |list| list.elements().len());
        assert!(elements.len() <= all);
        for element in elements {
            let name = element.member(reader, name).and_then(Json::text).expect("a name");
            assert!(name.starts_with('a'), "{reader:?} sees {name:?} in {list}");
        }
    }
    if matches!(result.member(reader, "result"), Some(Json::Object(_))) {
        check(result.member(reader, "result"), before.member(reader, "result"), reader);
    }
}

/// What an error tells beside its message.
fn data(message: &Json, reader: Reader) -> Option<&Json> {
    message.member(reader, "error")?.member(reader, "data")
}

fn tools(text: &str) -> Option<Vec<Box<RawValue>>> {
    #[derive(serde::Deserialize)]
    struct Message {
        result: Tools,
    }
    #[derive(serde::Deserialize)]
    struct Tools {
        tools: Vec<Box<RawValue>>,
    }
    serde_json::from_str::<Message>(text).ok().map(|message| message.result.tools)
}
