//! The same by `serde_json`'s own reading: what the faster reader must agree with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::scan::Scanner;

use super::{Fault, Keys, MAX_DEPTH, MAX_VALUES, RESERVED, Reader, Scalar};

pub(super) fn read<'de, R: Reader<'de>>(text: &'de [u8], root: R::Place, reader: &mut R) -> Result<(), Fault> {
    let mut fault = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut values_left = MAX_VALUES;
    let seed = Seed { reader, fault: &mut fault, values_left: &mut values_left, place: root, depth: 0 };
    let result = seed.deserialize(&mut json).and_then(|()| json.end());
    result.map_err(|_| fault.unwrap_or(Fault::Syntax))
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

/// All that a reader is told.
#[derive(Debug, Default, PartialEq)]
struct Told<'de> {
    members: Vec<(usize, String)>,
    values: Vec<(usize, Scalar<'de>)>,
    arrays: usize,
}

impl<'de> Reader<'de> for Told<'de> {
    type Place = usize;

    fn member(&mut self, object: usize, key: &str) -> Result<usize, Fault> {
        if key == "look-alike" {
            return Err(Fault::LookAlike);
        }
        self.members.push((object, key.to_owned()));
        Ok(self.members.len())
    }

    fn element(&mut self, array: usize) -> usize {
        self.arrays += 1;
        array + 1_000
    }

    fn value(&mut self, place: usize, value: Scalar<'de>) {
        self.values.push((place, value));
    }
}

/// Pieces of which texts are made that are JSON, or nearly.
const PIECES: [&str; 52] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"a\"",
    "\"b\"",
    "\"\\u0061\"",
    "\"look-alike\"",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-",
    "1",
    "01",
    "12",
    "1.5",
    "1.",
    ".5",
    "1e5",
    "1E-5",
    "1e",
    "1e400",
    "-1e400",
    "0e999999999999",
    "1e-999",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    " ",
    "\n",
    "\t",
    "\u{1}",
    "é",
    "\u{1F600}",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\n",
    "\\x",
    "\\u00",
    "\"$serde_json::private::x\"",
    "nul",
    "\u{feff}",
];

fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(text) = std::str::from_utf8(text) {
        let mut scanner = Scanner::new(text);
        let skipped = scanner.skip().is_ok() && scanner.is_at_end();
        prop_assert_eq!(skipped, serde_json::from_str::<IgnoredAny>(text).is_ok(), "skipping {:?}", text);
    }
    let (mut own, mut theirs) = (Told::default(), Told::default());
    let (result, expected) = (super::read(text, 0, &mut own), read(text, 0, &mut theirs));
    prop_assert_eq!(&result, &expected, "{:?}", String::from_utf8_lossy(text));
    if result.is_ok() {
        prop_assert_eq!(own, theirs);
    }
    Ok(())
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~\\u{e9}\\u{1F600}\\n\"\\\\]{0,200}".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]{0,2}|look-alike", inner, 0..24)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn reads_pieces_as_serde_json_does(picked in proptest::collection::vec(0..PIECES.len(), 0..24)) {
        agree(picked.into_iter().map(|index| PIECES[index]).collect::<String>().as_bytes())?;
    }

    #[test]
    fn reads_mutated_json_as_serde_json_does(
        value in json(6),
        pretty: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 0..4),
    ) {
        let mut text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.expect("JSON");
        agree(&text)?;
        for (place, byte, change) in changes {
            if text.is_empty() { break }
            let place = place.index(text.len());
            match change {
                0 => text[place] = byte,
                1 => { text.remove(place); }
                2 => { let copy = text[place]; text.insert(place, copy); }
                _ => text.truncate(place),
            }
            agree(&text)?;
        }
    }
}
