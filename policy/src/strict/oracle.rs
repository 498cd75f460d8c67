//! The same by `serde_json`'s own reading: what the faster reader must agree with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

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
