//! Writing YAML that all readers read alike. Envoy reads YAML 1.1, in which a bare `on` or `yes` is no string; so
//! strings are bare only where nobody takes them for something else, and quoted as in JSON otherwise.

use serde_json::Value;

/// Fields that say what the others are about come first.
const FIRST: [&str; 5] = ["apiVersion", "kind", "name", "cluster_name", "@type"];

/// Words that some version of YAML does not take for strings.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Several documents.
pub(crate) fn documents<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// One document, with a line break at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => write_fields(&mut out, fields, 0),
        Value::Array(items) if !items.is_empty() => write_items(&mut out, items, 0),
        other => {
            write_scalar(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn write_fields(out: &mut String, fields: &serde_json::Map<String, Value>, indent: usize) {
    let first = FIRST.iter().filter_map(|name| fields.get_key_value(*name));
    let rest = fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    for (place, (name, value)) in first.chain(rest).enumerate() {
        // The first field of an item stands in the item's own line.
        if place > 0 || out.is_empty() || out.ends_with('\n') {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&string(name));
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                write_fields(out, fields, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_items(out, items, indent);
            }
            other => {
                out.push(' ');
                write_scalar(out, other, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn write_items(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        out.push_str(&" ".repeat(indent));
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => write_fields(out, fields, indent + 2),
            other => {
                write_scalar(out, other, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// A value that fits into a line, or a text of several lines.
fn write_scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) if is_block(text) => {
            out.push_str("|-");
            for line in text.lines() {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                out.push_str(line);
            }
        }
        Value::String(text) => out.push_str(&string(text)),
        // JSON is YAML.
        other => out.push_str(&other.to_string()),
    }
}

fn string(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for character in Value::from(text).to_string().chars() {
        if is_visible(character) {
            quoted.push(character);
        } else {
            quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    quoted
}

fn is_plain(text: &str) -> bool {
    let starts_as_word = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let harmless = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '/');
    starts_as_word && text.chars().all(harmless) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether a text of several lines can be written as it is.
fn is_block(text: &str) -> bool {
    let visible = text.chars().all(|character| character == '\n' || is_visible(character));
    text.contains('\n') && visible && !text.starts_with([' ', '\n']) && !text.ends_with('\n')
}

/// Neither a control character nor one of Unicode's line breaks, at which YAML begins a new line.
fn is_visible(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (name, value) in [
            ("empty", json!({})),
            ("an array in an array", json!([[1, 2], []])),
            ("words of YAML 1.1", json!({ "on": "yes", "Null": "off", "~": "~" })),
            ("numbers as strings", json!(["1", "1e3", "0x1", ".5", "5s", "12:30:00"])),
            ("what has a meaning in YAML", json!(["*", "&a", "a: b", "a #b", "- a", "%REQ(x)%", "'", "\"", ""])),
            ("control characters", json!(["\u{0}\t\r", "a\u{85}b\u{2028}\u{7f}", "é"])),
            ("lines", json!({ "a": "{\n  \"b\": 1\n}", "b": ["x\n\ny"], "c": "ends\n", "d": " starts\n x" })),
            ("fields in items", json!({ "a": [{ "z": { "y": [] }, "name": "n", "b": [{ "c": null }] }, {}] })),
        ] {
            let text = document(&value);
            let back: Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            assert_eq!(back, value, "{name}\n{text}");
        }
    }

    #[test]
    fn what_other_readers_take_for_something_else_is_quoted() {
        let words = document(&json!({ "on": ["yes", "Off", "y", "5s", "plain", "a.b/c-d"] }));
        assert_eq!(words, "\"on\":\n- \"yes\"\n- \"Off\"\n- \"y\"\n- \"5s\"\n- plain\n- a.b/c-d\n");
    }
}
