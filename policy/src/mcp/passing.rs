//! An answer that is too large to be held passes as it comes, and is looked through on the way: a list or a handle in it ends it, and what tells
//! how long and for whom it may be kept is said otherwise. Where lists stand is decided as [`super::list`] does.

use std::borrow::Cow;

use memchr::memchr2;

use super::handles::{RELATED, is_handle};
use super::list::{CACHE_SCOPE, PRIVATE, TTL, is_list, is_longer};

/// Longest name of a member that matters, as written with an escape for each character.
const NAME_BYTES: usize = 256;

/// How many objects that matter may stand in one another.
const MAX_LEVELS: usize = 12;

/// Looks through one answer, wherever the chunks' borders are.
#[derive(Debug)]
pub struct Passing {
    max_ttl_ms: u64,
    /// Handles belong to callers, and leave sealed alone.
    binds: bool,
    /// The brackets in which the reader stands, as long as all of them matter.
    levels: Vec<Level>,
    /// The brackets of a value that does not matter.
    skipped: usize,
    place: Place,
    /// What is being read at the moment, as far as it matters.
    text: Vec<u8>,
    /// The next byte of a string is escaped.
    escaped: bool,
    /// Of which levels, a bit each, it was said how long they may be kept, and for whom.
    kept: u16,
    scoped: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Object,
    Array,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a value.
    Value(Member),
    /// Before a name, or the end of an object.
    Name,
    InName,
    /// Behind a name.
    Named(Member),
    /// In a string that does not matter.
    InString,
    /// In a value that may be replaced.
    Kept(Member),
    /// Behind a value.
    Behind,
    /// Behind everything.
    End,
}

/// What the name of a member says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// Nothing.
    Other,
    /// As an object it matters: there may be lists in it.
    Inner,
    CacheScope,
    Ttl,
}

/// There is a list or a handle in the answer, or something of which nobody knows what it is; the answer must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is larger than what is held, and holds a list, the state of a request, or what is no JSON-RPC answer")]
pub struct HoldsList;

impl Passing {
    /// For an answer that may be kept for so many milliseconds at most. Handles end it where they belong to callers (`binds`).
    #[must_use]
    pub fn new(max_ttl_ms: u64, binds: bool) -> Self {
        let (levels, text, place) = (Vec::new(), Vec::new(), Place::Value(Member::Other));
        Self { max_ttl_ms, binds, levels, skipped: 0, place, text, escaped: false, kept: 0, scoped: 0 }
    }

    /// Takes in a chunk and gives what is passed on.
    ///
    /// # Errors
    /// When the answer must end.
    pub fn push<'c>(&mut self, chunk: &'c [u8]) -> Result<Cow<'c, [u8]>, HoldsList> {
        // A zero byte, which JSON in UTF-8 never has, tells UTF-16 and UTF-32.
        if memchr::memchr(0, chunk).is_some() {
            return Err(HoldsList);
        }
        let (mut passed, mut copied, mut at) = (Vec::new(), 0, 0);
        while let Some(byte) = chunk.get(at).copied() {
            if self.place == Place::InString && !self.escaped {
                let rest = chunk.get(at..).unwrap_or_default();
                at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                let Some(byte) = chunk.get(at).copied() else { break };
                self.in_string(byte);
                at += 1;
                continue;
            }
            match self.place {
                Place::Value(member @ (Member::CacheScope | Member::Ttl)) if !byte.is_ascii_whitespace() => {
                    passed.extend_from_slice(chunk.get(copied..at).unwrap_or_default());
                    copied = at;
                    self.text.clear();
                    self.place = Place::Kept(member);
                    match member {
                        Member::Ttl => self.kept |= self.level(),
                        _ => self.scoped |= self.level(),
                    }
                }
                Place::Behind if byte == b'}' && self.skipped == 0 && self.kept & !self.scoped & self.level() != 0 => {
                    passed.extend_from_slice(chunk.get(copied..at).unwrap_or_default());
                    passed.extend_from_slice(format!(",\"{CACHE_SCOPE}\":{PRIVATE}").as_bytes());
                    copied = at;
                    self.scoped |= self.level();
                }
                Place::Kept(member) if matches!(byte, b',' | b'}') || byte.is_ascii_whitespace() => {
                    passed.extend_from_slice(&self.replacement(member)?);
                    copied = at;
                    self.place = Place::Behind;
                }
                Place::Kept(_) => {
                    self.keep(byte)?;
                    at += 1;
                    copied = at;
                }
                _ => {
                    self.take(byte)?;
                    at += 1;
                }
            }
        }
        if passed.is_empty() && copied == 0 {
            return Ok(Cow::Borrowed(chunk));
        }
        passed.extend_from_slice(chunk.get(copied..).unwrap_or_default());
        Ok(Cow::Owned(passed))
    }

    fn in_string(&mut self, byte: u8) {
        match (std::mem::take(&mut self.escaped), byte) {
            (false, b'\\') => self.escaped = true,
            (false, b'"') => self.place = Place::Behind,
            _ => {}
        }
    }

    /// Takes a byte outside of what may be replaced.
    fn take(&mut self, byte: u8) -> Result<(), HoldsList> {
        match self.place {
            Place::InString => self.in_string(byte),
            Place::InName => match (std::mem::take(&mut self.escaped), byte) {
                (false, b'"') => self.place = Place::Named(self.member()?),
                (was_escaped, byte) => {
                    self.escaped = !was_escaped && byte == b'\\';
                    // A longer name is none that matters.
                    if self.text.len() <= NAME_BYTES {
                        self.text.push(byte);
                    }
                }
            },
            _ if byte.is_ascii_whitespace() => {}
            _ if !byte.is_ascii() => return Err(HoldsList),
            _ if self.skipped > 0 => self.skip(byte),
            Place::Value(member) => return self.value(member, byte),
            Place::Name | Place::Behind => return self.between(byte),
            Place::Named(member) if byte == b':' => self.place = Place::Value(member),
            Place::Named(_) | Place::End | Place::Kept(_) => return Err(HoldsList),
        }
        Ok(())
    }

    /// Takes a byte between the brackets of a value that does not matter.
    fn skip(&mut self, byte: u8) {
        match byte {
            b'"' => self.place = Place::InString,
            b'{' | b'[' => self.skipped += 1,
            b'}' | b']' => self.skipped -= 1,
            _ => {}
        }
    }

    fn value(&mut self, member: Member, byte: u8) -> Result<(), HoldsList> {
        let matters = match self.levels.last() {
            None => true,
            Some(Level::Array) => byte == b'{',
            Some(Level::Object) => member == Member::Inner && byte == b'{',
        };
        match (byte, self.levels.last()) {
            (b'{' | b'[', _) if matters => {
                if self.levels.len() == MAX_LEVELS {
                    return Err(HoldsList);
                }
                let (level, place) = match byte {
                    b'{' => (Level::Object, Place::Name),
                    _ => (Level::Array, Place::Value(Member::Other)),
                };
                self.levels.push(level);
                self.place = place;
            }
            // No message at all, or an array of arrays of them.
            (_, None) | (b'[', Some(Level::Array)) => return Err(HoldsList),
            (b'{' | b'[', Some(_)) => (self.skipped, self.place) = (1, Place::Behind),
            (b'"', Some(_)) => self.place = Place::InString,
            (b']', Some(Level::Array)) => self.close(),
            (_, Some(_)) => self.place = Place::Behind,
        }
        Ok(())
    }

    /// Takes a byte before a name, or behind a value.
    fn between(&mut self, byte: u8) -> Result<(), HoldsList> {
        match (self.levels.last(), byte) {
            (Some(Level::Object), b'"') if self.place == Place::Name => {
                self.text.clear();
                self.place = Place::InName;
            }
            (Some(Level::Object), b',') if self.place == Place::Behind => self.place = Place::Name,
            (Some(Level::Array), b',') => self.place = Place::Value(Member::Other),
            (Some(Level::Object), b'}') | (Some(Level::Array), b']') => self.close(),
            // The rest of a number or a word.
            (Some(_), byte)
                if self.place == Place::Behind && (byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {}
            _ => return Err(HoldsList),
        }
        Ok(())
    }

    /// The bit of the object in which the reader stands.
    fn level(&self) -> u16 {
        1 << self.levels.len()
    }

    fn close(&mut self) {
        (self.kept, self.scoped) = (self.kept & !self.level(), self.scoped & !self.level());
        self.levels.pop();
        self.place = if self.levels.is_empty() { Place::End } else { Place::Behind };
    }

    /// What the name says that was read.
    fn member(&self) -> Result<Member, HoldsList> {
        if self.text.len() > NAME_BYTES {
            return Ok(Member::Other);
        }
        let quoted = [b"\"", self.text.as_slice(), b"\""].concat();
        let name: String = serde_json::from_slice(&quoted).map_err(|_| HoldsList)?;
        match name.as_str() {
            name if is_list(name) || (self.binds && is_handle(name)) => Err(HoldsList),
            // It is no answer, or not one alone; what it tells of may be hidden.
            "method" if self.is_of_message() => Err(HoldsList),
            "result" | "error" | "data" | "params" | "task" | "notifications" | "_meta" | RELATED => Ok(Member::Inner),
            CACHE_SCOPE => Ok(Member::CacheScope),
            TTL => Ok(Member::Ttl),
            _ => Ok(Member::Other),
        }
    }

    /// Whether the object in which the reader stands is a message.
    fn is_of_message(&self) -> bool {
        matches!(self.levels.as_slice(), [Level::Object] | [Level::Array, Level::Object])
    }

    fn keep(&mut self, byte: u8) -> Result<(), HoldsList> {
        if self.text.len() == NAME_BYTES || matches!(byte, b'{' | b'[' | b']' | b'\\') {
            return Err(HoldsList);
        }
        self.text.push(byte);
        Ok(())
    }

    /// What stands in place of the value that was read.
    fn replacement(&self, member: Member) -> Result<Vec<u8>, HoldsList> {
        let value = std::str::from_utf8(&self.text).map_err(|_| HoldsList)?;
        Ok(match member {
            Member::CacheScope => PRIVATE.into(),
            Member::Ttl if is_longer(value, self.max_ttl_ms) => self.max_ttl_ms.to_string().into_bytes(),
            Member::Ttl | Member::Inner | Member::Other => value.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::list::{self, Filtered};

    fn passed(chunks: &[&[u8]]) -> Result<String, HoldsList> {
        passed_where(true, chunks)
    }

    fn passed_where(binds: bool, chunks: &[&[u8]]) -> Result<String, HoldsList> {
        let mut passing = Passing::new(1000, binds);
        let mut all = Vec::new();
        for chunk in chunks {
            all.extend_from_slice(&passing.push(chunk)?);
        }
        Ok(String::from_utf8(all).expect("UTF-8"))
    }

    fn escaped(name: &str) -> String {
        name.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect()
    }

    #[test]
    fn answers() {
        let rows = [
            ("a call", r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"\"tools\":[]"}]}}"#, true),
            (
                "a member of that name deeper in it",
                r#"{"result":{"structuredContent":{"tools":[{"name":"b"}]}}}"#,
                true,
            ),
            ("numbers and words", r#" [ {"id":-1.5e+3,"result":{"a":null,"b":true}} , {"id":2} ] "#, true),
            ("nothing in it", "{}", true),
            ("a list", r#"{"id":1,"result":{"x":[[{}]],"tools":[]}}"#, false),
            ("a list by an escaped name", r#"{"id":1,"result":{"\u0074ools":[]}}"#, false),
            ("a list that is none", r#"{"id":1,"result":{"tools":{}}}"#, false),
            ("the list of a task", r#"{"id":1,"result":{"result":{"prompts":[]}}}"#, false),
            ("the list of an error", r#"{"id":1,"error":{"data":{"skills":[]}}}"#, false),
            ("the list of a notification", r#"[{"method":"x","params":{"resources":[]}}]"#, false),
            ("the state of a request", r#"{"id":1,"result":{"x":1,"requestState":"s"}}"#, false),
            ("a new task", r#"{"id":1,"result":{"task":{"taskId":"t"}}}"#, false),
            (
                "a task that it belongs to",
                r#"{"id":1,"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}"#,
                false,
            ),
            ("what is no answer", r#"{"method":"notifications/resources/updated","params":{"uri":"b"}}"#, false),
            ("one among answers", r#"[{"id":1,"result":{}},{"method":"x","params":{"uri":"b"}}]"#, false),
            ("a method deeper in it", r#"{"result":{"x":{"method":"roots/list"}}}"#, true),
            ("tasks to listen to", r#"{"result":{"notifications":{"taskIds":["t"]}}}"#, false),
            (
                "a task by an escaped name",
                &format!(r#"{{"result":{{"_meta":{{"{}":{{"taskId":"t"}}}}}}}}"#, escaped(RELATED)),
                false,
            ),
            ("an array of arrays", r#"[[{"result":{"tools":[]}}]]"#, false),
            ("no JSON", "<html>", false),
            ("more behind it", r#"{"result":{}} {"result":{"tools":[]}}"#, false),
            ("UTF-16", "{\0\"\0", false),
            ("a byte order mark", "\u{feff}{}", false),
        ];
        for (name, text, passes) in rows {
            assert_eq!(passed(&[text.as_bytes()]), if passes { Ok(text.to_owned()) } else { Err(HoldsList) }, "{name}");
        }
        let kept = r#"{"result":{"cacheScope":"public","contents":[{"ttlMs":9999}],"ttlMs" : 9999 }}"#;
        let shown = r#"{"result":{"cacheScope":"private","contents":[{"ttlMs":9999}],"ttlMs" : 1000 }}"#;
        let bytes: Vec<&[u8]> = kept.as_bytes().chunks(1).collect();
        assert_eq!((passed(&[kept.as_bytes()]), passed(&bytes)), (Ok(shown.to_owned()), Ok(shown.to_owned())));
        let alone = r#"{"result":{"ttlMs":9999,"x":{"y":[]}}}"#;
        let private = r#"{"result":{"ttlMs":1000,"x":{"y":[]},"cacheScope":"private"}}"#;
        let bytes: Vec<&[u8]> = alone.as_bytes().chunks(1).collect();
        assert_eq!((passed(&[alone.as_bytes()]), passed(&bytes)), (Ok(private.to_owned()), Ok(private.to_owned())));
        assert_eq!(passed(&[br#"{"result":{"cacheScope":{"a":1}}}"#]), Err(HoldsList));
    }

    #[test]
    fn handles_of_nobody_pass() {
        let task = format!(r#"{{"result":{{"_meta":{{"{RELATED}":{{"taskId":"t"}}}}}}}}"#);
        for text in [
            r#"{"id":1,"result":{"x":1,"requestState":"s"}}"#,
            r#"{"id":1,"result":{"task":{"taskId":"t"}}}"#,
            r#"{"result":{"notifications":{"taskIds":["t"]}}}"#,
            &task,
        ] {
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(passed_where(false, &bytes).as_deref(), Ok(text));
            assert_eq!(passed_where(true, &bytes), Err(HoldsList));
        }
        assert_eq!(passed_where(false, &[br#"{"result":{"requestState":"s","tools":[]}}"#]), Err(HoldsList));
    }

    fn json() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("result"),
            Just("error"),
            Just("data"),
            Just("params"),
            Just("tools"),
            Just("x"),
            Just("ttlMs"),
            Just("cacheScope"),
            Just(r"\u0074ools"),
        ];
        let leaf = prop_oneof![
            Just("1".to_owned()),
            Just("\"tools\"".to_owned()),
            Just("null".to_owned()),
            Just("9999".to_owned())
        ];
        leaf.prop_recursive(5, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(","))),
                proptest::collection::vec((name.clone(), inner), 0..4).prop_map(|all| {
                    let members: Vec<String> = all.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                    format!("{{{}}}", members.join(" ,"))
                }),
            ]
        })
    }

    proptest! {
        /// What passes would have passed as well had it been held, and shows the same.
        #[test]
        fn what_passes_is_what_a_held_answer_shows(text in json(), cut in 0usize..200) {
            let cut = cut.min(text.len());
            let (first, second) = text.as_bytes().split_at(cut);
            let chunks = passed(&[first, second]);
            prop_assert_eq!(&chunks, &passed(&[text.as_bytes()]));
            if let Ok(passed) = chunks {
                let mut seen = Vec::new();
                let held = list::filter(&passed, 1000, &mut |item| { seen.push(format!("{item:?}")); false });
                prop_assert_eq!(seen, Vec::<String>::new(), "{}", passed);
                // Held, it would at most be said who may keep it, or refused for members that stand twice.
                let is_same = match &held {
                    Filtered::Unchanged | Filtered::Unreadable(_) => true,
                    Filtered::Changed(text) => *text == passed,
                    Filtered::Dropped => false,
                };
                prop_assert!(is_same, "{} {:?}", passed, held);
            }
        }
    }
}
