//! JSON read in the one way in which no two parsers differ; everything else is refused.
//!
//! `serde_json` refuses other encodings, byte order marks, lone surrogates, trailing data and whatever is not JSON. On
//! top of that come members that stand twice (after unescaping, at any depth), members that `serde_json` takes for signs of
//! its own, nesting past [`MAX_DEPTH`] and more than [`MAX_VALUES`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of arrays and objects.
pub(crate) const MAX_DEPTH: usize = 64;

/// Most values in a text, those within others counted. In memory an empty object takes two hundred times its text.
pub(crate) const MAX_VALUES: usize = 100_000;

/// An object whose first member begins so is read by `serde_json` as another value than it is.
const RESERVED: &str = "$serde_json::private::";

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON, or not in UTF-8.
    Syntax,
    /// Nested too deep.
    Depth,
    /// More values than are read.
    Values,
    /// A member stands twice.
    Duplicate,
    /// A member looks like one that we know but is not it.
    LookAlike,
    /// A member has a name that is kept for the parser.
    Reserved,
}

/// What a value is, as far as a reader wants to know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'de> {
    Null,
    Bool,
    Integer(i64),
    /// A fraction, or an integer beyond 64 bits.
    Number,
    String(Cow<'de, str>),
    Array,
    Object,
}

/// Takes what it wants to know out of a text while it is read once.
pub(crate) trait Reader<'de> {
    /// Where a value stands.
    type Place: Copy;

    /// Where the value of this member of an object stands.
    fn member(&mut self, object: Self::Place, key: &str) -> Result<Self::Place, Fault>;

    /// Where the elements of an array stand.
    fn element(&mut self, array: Self::Place) -> Self::Place;

    /// Called once for each value.
    fn value(&mut self, place: Self::Place, value: Scalar<'de>);
}

/// Reads one text, all of it.
pub(crate) fn read<'de, R: Reader<'de>>(text: &'de [u8], root: R::Place, reader: &mut R) -> Result<(), Fault> {
    let mut fault = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut values_left = MAX_VALUES;
    let seed = Seed { reader, fault: &mut fault, values_left: &mut values_left, place: root, depth: 0 };
    let result = seed.deserialize(&mut json).and_then(|()| json.end());
    result.map_err(|_| fault.unwrap_or(Fault::Syntax))
}

/// Whether a text can be read in one way only.
pub(crate) fn check(text: &[u8]) -> Result<(), Fault> {
    read(text, (), &mut Nothing)
}

/// Reads one object into memory.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    check(text)?;
    serde_json::from_slice(text).map_err(|_| Fault::Syntax)
}

/// Wants to know nothing.
struct Nothing;

impl Reader<'_> for Nothing {
    type Place = ();

    fn member(&mut self, (): (), _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn element(&mut self, (): ()) {}

    fn value(&mut self, (): (), _: Scalar<'_>) {}
}

struct Seed<'r, R, P> {
    reader: &'r mut R,
    fault: &'r mut Option<Fault>,
    values_left: &'r mut usize,
    place: P,
    depth: usize,
}

impl<'de, R: Reader<'de>> Seed<'_, R, R::Place> {
    fn refuse<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        *self.fault = Some(fault);
        E::custom("refused")
    }

    fn inner(&mut self, place: R::Place) -> Seed<'_, R, R::Place> {
        Seed { reader: self.reader, fault: self.fault, values_left: self.values_left, place, depth: self.depth + 1 }
    }
}

impl<'de, R: Reader<'de>> DeserializeSeed<'de> for Seed<'_, R, R::Place> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        match self.values_left.checked_sub(1) {
            Some(left) => *self.values_left = left,
            None => return Err(self.refuse(Fault::Values)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Reader<'de>> Visitor<'de> for Seed<'_, R, R::Place> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.reader.value(self.place, Scalar::Null);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.reader.value(self.place, Scalar::Bool);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.reader.value(self.place, Scalar::Integer(number));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.reader.value(self.place, i64::try_from(number).map_or(Scalar::Number, Scalar::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.reader.value(self.place, Scalar::Number);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.reader.value(self.place, Scalar::String(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.reader.value(self.place, Scalar::String(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Fault::Depth));
        }
        self.reader.value(self.place, Scalar::Array);
        let place = self.reader.element(self.place);
        while array.next_element_seed(self.inner(place))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Fault::Depth));
        }
        self.reader.value(self.place, Scalar::Object);
        let mut seen = Keys::default();
        while let Some(Key(key)) = object.next_key_seed(KeySeed)? {
            if key.starts_with(RESERVED) {
                return Err(self.refuse(Fault::Reserved));
            }
            let place = match self.reader.member(self.place, &key) {
                Ok(place) => place,
                Err(fault) => return Err(self.refuse(fault)),
            };
            if !seen.insert(key) {
                return Err(self.refuse(Fault::Duplicate));
            }
            object.next_value_seed(self.inner(place))?;
        }
        Ok(())
    }
}

struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

/// The members of one object so far. Few are compared one by one, many by hash, so that an object with a hundred
/// thousand members costs no more per member than a small one.
#[derive(Default)]
pub(crate) struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

const FEW: usize = 16;

impl<'de> Keys<'de> {
    /// False when it was there already.
    pub(crate) fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.len() < FEW && self.many.is_empty() {
            let new = !self.few.contains(&key);
            self.few.push(key);
            return new;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();
        let wide: String = (0..40).map(|n| format!("\"k{n}\":1,")).collect();
        let rows: Vec<(&str, Vec<u8>, Result<(), Fault>)> = vec![
            ("object", br#"{"a":{"b":[1,"x",null,true,1.5]}}"#.to_vec(), Ok(())),
            ("duplicate", br#"{"a":1,"a":2}"#.to_vec(), Err(Fault::Duplicate)),
            ("duplicate by escape", br#"{"a":1,"\u0061":2}"#.to_vec(), Err(Fault::Duplicate)),
            ("duplicate far down", br#"[{"x":[{"a":1,"b":2,"a":3}]}]"#.to_vec(), Err(Fault::Duplicate)),
            ("same name in two objects", br#"[{"a":1},{"a":1}]"#.to_vec(), Ok(())),
            ("many members", format!("{{{wide}\"z\":1}}").into_bytes(), Ok(())),
            ("duplicate among many", format!("{{{wide}\"k3\":1}}").into_bytes(), Err(Fault::Duplicate)),
            ("as many as allowed", zeros(MAX_VALUES - 1), Ok(())),
            ("too many", zeros(MAX_VALUES), Err(Fault::Values)),
            ("reserved", br#"[{"$serde_json::private::RawValue":"1"}]"#.to_vec(), Err(Fault::Reserved)),
            ("reserved by escape", br#"{"\u0024serde_json::private::Number":"1"}"#.to_vec(), Err(Fault::Reserved)),
            ("as deep as allowed", deep(64).into_bytes(), Ok(())),
            ("too deep", deep(65).into_bytes(), Err(Fault::Depth)),
            ("hopelessly deep", deep(100_000).into_bytes(), Err(Fault::Depth)),
            ("empty", b"".to_vec(), Err(Fault::Syntax)),
            ("two documents", b"{} {}".to_vec(), Err(Fault::Syntax)),
            ("byte order mark", b"\xef\xbb\xbf{}".to_vec(), Err(Fault::Syntax)),
            ("invalid UTF-8 in a string", b"\"\xff\"".to_vec(), Err(Fault::Syntax)),
            ("invalid UTF-8 in a key", b"{\"\xff\":1}".to_vec(), Err(Fault::Syntax)),
            ("lone surrogate", br#""\ud800""#.to_vec(), Err(Fault::Syntax)),
            ("surrogate pair", br#""\ud83d\ude00""#.to_vec(), Ok(())),
            ("raw control character", b"\"\x01\"".to_vec(), Err(Fault::Syntax)),
            ("NaN", b"NaN".to_vec(), Err(Fault::Syntax)),
            ("beyond f64", b"1e400".to_vec(), Err(Fault::Syntax)),
            ("leading zero", b"01".to_vec(), Err(Fault::Syntax)),
            ("trailing comma", b"[1,]".to_vec(), Err(Fault::Syntax)),
            ("comment", b"{}//".to_vec(), Err(Fault::Syntax)),
        ];
        for (name, text, expected) in rows {
            assert_eq!(read(&text, (), &mut Nothing), expected, "{name}");
        }
    }
}
