//! Objects and arrays that are written back byte for byte but for what is replaced.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr2, memmem};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::strict::Keys;

/// An object's members in their order, with their values as written.
pub(super) struct Members<'t>(Vec<(Cow<'t, str>, Cow<'t, str>)>);

/// Whether the names of members stand in a text as they are: without escapes, and in UTF-8. A zero byte, which JSON in
/// UTF-8 never has, tells UTF-16 and UTF-32.
pub(super) fn is_plain(text: &[u8]) -> bool {
    memchr2(b'\\', 0, text).is_none()
}

/// Whether a word stands somewhere in a text.
pub(crate) fn holds(text: &[u8], word: &str) -> bool {
    memmem::find(text, word.as_bytes()).is_some()
}

/// Puts other values in place of an array's elements; `None`: there is none to replace.
pub(super) fn rewrite_elements<E: From<serde_json::Error>>(
    array: &str,
    rewrite: &mut dyn FnMut(&str) -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    let elements: Vec<&RawValue> = serde_json::from_str(array)?;
    let rewritten: Vec<Option<String>> =
        elements.iter().map(|element| rewrite(element.get())).collect::<Result<_, E>>()?;
    if rewritten.iter().all(Option::is_none) {
        return Ok(None);
    }
    let parts: Vec<&str> =
        elements.iter().zip(&rewritten).map(|(old, new)| new.as_deref().unwrap_or(old.get())).collect();
    Ok(Some(format!("[{}]", parts.join(","))))
}

impl Members<'_> {
    /// The value of a member, as written.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.as_ref())
    }

    /// Puts another value in place of a member's.
    pub(super) fn replace(&mut self, name: &str, value: String) {
        if let Some((_, old)) = self.0.iter_mut().find(|(member, _)| member == name) {
            *old = Cow::Owned(value);
        }
    }
}

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{value}", serde_json::Value::from(name.as_ref()))?;
        }
        f.write_str("}")
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
                let mut seen = Keys::default();
                while let Some(name) = object.next_key::<Name<'de>>()? {
                    let value: &'de RawValue = object.next_value()?;
                    if !seen.insert(name.0.clone()) {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                    members.push((name.0, Cow::Borrowed(value.get())));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[derive(serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_among_many_that_stands_twice() {
        let many: String = (0..70_000).map(|n| format!("\"{n}\":0,")).collect();
        let members = |last: &str| serde_json::from_str::<Members<'_>>(&format!("{{{many}\"{last}\":1}}")).map(|_| ());
        assert!(members("last").is_ok());
        assert!(members("69999").is_err());
    }
}
