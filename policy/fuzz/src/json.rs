//! JSON as lenient readers take it: doubled members stay, and each reader finds another one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A text, doubled members and all.
#[derive(Debug)]
pub enum Json {
    Other,
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How a program finds a member of which there is more than one, or only one that looks like it.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    First,
    Last,
    FirstFolded,
    LastFolded,
}

impl Reader {
    pub const ALL: [Self; 4] = [Self::First, Self::Last, Self::FirstFolded, Self::LastFolded];

    fn names(self, key: &str, name: &str) -> bool {
        match self {
            Self::First | Self::Last => key == name,
            Self::FirstFolded | Self::LastFolded => folded(key) == folded(name),
        }
    }
}

/// Case, width, long s and Kelvin's sign don't count, nor do characters that are not seen.
fn folded(key: &str) -> String {
    let seen = key.chars().filter(|character| {
        !character.is_control() && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
    });
    let plain = seen.map(|character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0).unwrap_or(character),
        _ => character,
    });
    plain.flat_map(char::to_lowercase).collect::<String>().trim().to_owned()
}

impl Json {
    /// Numbers are not looked at: readers differ in which they take.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::of(serde_json::from_slice(text).ok()?)
    }

    fn of(value: &RawValue) -> Option<Self> {
        let text = value.get();
        match text.as_bytes().first()? {
            // A lone surrogate stands for nothing that could be compared with a name.
            b'"' => Some(serde_json::from_str(text).map_or(Self::Other, Self::String)),
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                elements.into_iter().map(Self::of).collect::<Option<_>>().map(Self::Array)
            }
            b'{' => {
                let Ok(Members(members)) = serde_json::from_str(text) else { return Some(Self::Other) };
                let member = |(name, value): (String, &RawValue)| Some((name, Self::of(value)?));
                members.into_iter().map(member).collect::<Option<_>>().map(Self::Object)
            }
            _ => Some(Self::Other),
        }
    }

    pub fn member(&self, reader: Reader, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let mut fitting = members.iter().filter(|(key, _)| reader.names(key, name)).map(|(_, value)| value);
        match reader {
            Reader::First | Reader::FirstFolded => fitting.next(),
            Reader::Last | Reader::LastFolded => fitting.next_back(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The messages in a text: itself, or the elements of an array.
    pub fn messages(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            one => std::slice::from_ref(one),
        }
    }
}

/// The members of one object.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
