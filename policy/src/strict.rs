//! JSON read in the one way in which no two parsers differ; everything else is refused.
//!
//! What `serde_json` refuses is refused: other encodings, byte order marks, lone surrogates, trailing data and whatever is
//! not JSON. On top of that come members that stand twice (after unescaping, at any depth), members that `serde_json` takes
//! for signs of its own, nesting past [`MAX_DEPTH`] and more than [`MAX_VALUES`].

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::scan::{Malformed, Scanner};

#[cfg(test)]
mod oracle;

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
    let (text, is_whole) = match std::str::from_utf8(text) {
        Ok(text) => (text, true),
        // Whatever is wrong before the first byte that is not UTF-8 is found before it.
        Err(error) => {
            let valid = text.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(valid).unwrap_or_default(), false)
        }
    };
    let mut walk = Walk { scanner: Scanner::new(text), reader, values_left: MAX_VALUES, keys: Vec::new() };
    walk.value(root, 0)?;
    if is_whole && walk.scanner.is_at_end() { Ok(()) } else { Err(Fault::Syntax) }
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Self::Syntax
    }
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

/// One walk through a text.
struct Walk<'r, 'de, R> {
    scanner: Scanner<'de>,
    reader: &'r mut R,
    values_left: usize,
    /// Those of all objects that are open.
    keys: Vec<Cow<'de, str>>,
}

impl<'de, R: Reader<'de>> Walk<'_, 'de, R> {
    fn value(&mut self, place: R::Place, depth: usize) -> Result<(), Fault> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Fault::Values)?;
        let scalar = match self.scanner.peek()? {
            b'{' => return self.object(place, depth),
            b'[' => return self.array(place, depth),
            b'"' => Scalar::String(self.scanner.string()?),
            b'n' => self.scanner.word("null").map(|()| Scalar::Null)?,
            b't' => self.scanner.word("true").map(|()| Scalar::Bool)?,
            b'f' => self.scanner.word("false").map(|()| Scalar::Bool)?,
            _ => number(self.scanner.number()?)?,
        };
        self.reader.value(place, scalar);
        Ok(())
    }

    fn array(&mut self, place: R::Place, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::Depth);
        }
        self.reader.value(place, Scalar::Array);
        let place = self.reader.element(place);
        let mut more = self.scanner.open(b']')?;
        while more {
            self.value(place, depth + 1)?;
            more = self.scanner.next(b']')?;
        }
        Ok(())
    }

    fn object(&mut self, place: R::Place, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::Depth);
        }
        self.reader.value(place, Scalar::Object);
        let first = self.keys.len();
        let mut many = HashSet::new();
        let mut more = self.scanner.open(b'}')?;
        while more {
            let key = self.scanner.key()?;
            if key.starts_with(RESERVED) {
                return Err(Fault::Reserved);
            }
            let inner = self.reader.member(place, &key)?;
            let few = self.keys.get(first..).unwrap_or_default();
            if few.len() < FEW {
                if few.contains(&key) {
                    return Err(Fault::Duplicate);
                }
                self.keys.push(key);
            } else {
                if many.is_empty() {
                    many.extend(few.iter().cloned());
                }
                if !many.insert(key) {
                    return Err(Fault::Duplicate);
                }
            }
            self.scanner.colon()?;
            self.value(inner, depth + 1)?;
            more = self.scanner.next(b'}')?;
        }
        self.keys.truncate(first);
        Ok(())
    }
}

/// Of an integer its value. A number that no `f64` can hold is none.
fn number<'de>(text: &str) -> Result<Scalar<'de>, Fault> {
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && text != "-0";
    if let (true, Ok(integer)) = (is_integer, text.parse()) {
        return Ok(Scalar::Integer(integer));
    }
    let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
    if is_finite { Ok(Scalar::Number) } else { Err(Fault::Syntax) }
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
            assert_eq!(oracle::read(&text, (), &mut Nothing), expected, "{name}, by serde_json");
        }
    }
}
