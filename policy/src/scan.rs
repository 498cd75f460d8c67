//! The grammar of JSON (RFC 8259), one token after the other and without copies. What is made of the tokens is decided
//! elsewhere.

use std::borrow::Cow;

use memchr::arch::all::is_prefix;

mod around;
mod block;

use around::{Around, Bracket};
use block::{BLOCK, special_in};

/// Not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A place in a text. Where [`Scanner::skip`] passes, all is inlined or takes the place by value: a scanner whose address is
/// taken is no longer held in registers, which doubles what reading costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Where the block begins that was looked through last.
    block: usize,
    /// Which of its bytes are special; the lowest bit is the first byte's.
    special: u64,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, block: 0, special: special_in(text.as_bytes()) }
    }

    /// Where the scanner stands.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space, which stays.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Result<u8, Malformed> {
        if let Some(byte) = self.byte().filter(|byte| *byte > b' ') {
            return Ok(byte);
        }
        self.at += blanks(self.rest());
        self.byte().ok_or(Malformed)
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Takes an opening bracket; whether anything stands before the closing one, which is taken otherwise.
    #[inline(always)]
    pub(crate) fn open(&mut self, close: u8) -> Result<bool, Malformed> {
        self.at += 1;
        let is_empty = self.peek()? == close;
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// Takes the comma or the closing bracket behind an element; whether it was a comma.
    pub(crate) fn next(&mut self, close: u8) -> Result<bool, Malformed> {
        let byte = self.peek()?;
        if byte != b',' && byte != close {
            return Err(Malformed);
        }
        self.at += 1;
        // No bracket may stand behind a comma; where a key must, it finds that by itself.
        if byte == b',' && self.peek()? == close { Err(Malformed) } else { Ok(byte == b',') }
    }

    /// Takes an object. What is called with the name of each member, whose value comes next, takes the value.
    pub(crate) fn object<E: From<Malformed>>(
        &mut self,
        mut value: impl FnMut(&mut Self, Cow<'t, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.peek()? != b'{' {
            return Err(Malformed.into());
        }
        let mut is_more = self.open(b'}')?;
        while is_more {
            let key = self.key()?;
            self.colon()?;
            self.peek()?;
            value(self, key)?;
            is_more = self.next(b'}')?;
        }
        Ok(())
    }

    /// Takes the name of a member.
    pub(crate) fn key(&mut self) -> Result<Cow<'t, str>, Malformed> {
        if self.peek()? == b'"' { self.string() } else { Err(Malformed) }
    }

    /// Takes the colon behind a name.
    #[inline(always)]
    pub(crate) fn colon(&mut self) -> Result<(), Malformed> {
        if self.peek()? != b':' {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `null`, `true` or `false`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes this text, where the scanner stands before it; whether it does.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let stands = is_prefix(self.rest(), text.as_bytes());
        self.at += if stands { text.len() } else { 0 };
        stands
    }

    /// Takes a number.
    pub(crate) fn number(&mut self) -> Result<&'t str, Malformed> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        // `01` is no number.
        if self.byte().is_some_and(|byte| byte.is_ascii_digit()) { Err(Malformed) } else { Ok(self.since(start)) }
    }

    /// Takes a string, and gives what it stands for.
    pub(crate) fn string(&mut self) -> Result<Cow<'t, str>, Malformed> {
        self.at += 1;
        let start = self.at;
        self.take_plain();
        let run = self.since(start);
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut text = run.to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(Malformed),
            }
            let start = self.at;
            self.take_plain();
            text.push_str(self.since(start));
        }
    }

    /// Takes a value, whatever it is. What an escape stands for and how large a number is does not matter here.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        let mut scanner = *self;
        let mut around = Around::default();
        loop {
            match scanner.peek()? {
                b'"' => scanner.skip_string()?,
                b'{' => {
                    if scanner.open(b'}')? {
                        around.push(Bracket::Object);
                        scanner.skip_name()?;
                        continue;
                    }
                }
                b'[' => {
                    if scanner.open(b']')? {
                        around.push(Bracket::Array);
                        continue;
                    }
                }
                first => scanner = scanner.behind_word(first)?,
            }
            loop {
                let Some(innermost) = around.innermost() else {
                    *self = scanner;
                    return Ok(());
                };
                let byte = scanner.peek()?;
                scanner.at += 1;
                match (byte, innermost) {
                    (b',', Bracket::Object) => {
                        scanner.skip_name()?;
                        break;
                    }
                    // A value must follow, for which no bracket is taken.
                    (b',', Bracket::Array) => break,
                    (b'}', Bracket::Object) | (b']', Bracket::Array) => around.pop(),
                    _ => return Err(Malformed),
                }
            }
        }
    }

    /// The place behind `null`, `true`, `false` or a number.
    fn behind_word(mut self, first: u8) -> Result<Self, Malformed> {
        match first {
            b'n' => self.word("null")?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            _ => drop(self.number()?),
        }
        Ok(self)
    }

    #[inline(always)]
    fn skip_name(&mut self) -> Result<(), Malformed> {
        if self.peek()? != b'"' {
            return Err(Malformed);
        }
        self.skip_string()?;
        self.colon()
    }

    #[inline(always)]
    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.take_plain();
            if self.byte() == Some(b'"') {
                self.at += 1;
                return Ok(());
            }
            *self = self.behind_escape()?;
        }
    }

    /// The place behind an escape, from its backslash on.
    #[cold]
    fn behind_escape(mut self) -> Result<Self, Malformed> {
        if self.byte() != Some(b'\\') {
            return Err(Malformed);
        }
        self.at += 1;
        let escaped = self.byte().ok_or(Malformed)?;
        self.at += 1;
        match escaped {
            b'u' => drop(self.hex()?),
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            _ => return Err(Malformed),
        }
        Ok(self)
    }

    /// Takes an escape from its backslash on; a lone surrogate is none.
    fn escape(&mut self) -> Result<char, Malformed> {
        self.at += 1;
        let escaped = self.byte().ok_or(Malformed)?;
        self.at += 1;
        Ok(match escaped {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).ok_or(Malformed);
                }
                self.word("\\u")?;
                let second = self.hex()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(Malformed);
                }
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Malformed);
            }
            _ => return Err(Malformed),
        })
    }

    /// Takes what stands before the end of a string, an escape or what may not be in a string.
    #[inline(always)]
    fn take_plain(&mut self) {
        loop {
            let offset = self.at - self.block;
            if offset < BLOCK {
                let ahead = self.special >> offset;
                if ahead != 0 {
                    self.at += ahead.trailing_zeros() as usize;
                    return;
                }
                self.at = self.block + BLOCK;
            }
            self.block = self.at;
            self.special = special_in(self.rest());
        }
    }

    /// Takes four hexadecimal digits.
    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.rest().get(..4).ok_or(Malformed)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + char::from(*digit).to_digit(16).ok_or(Malformed)?;
        }
        self.at += 4;
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(Malformed) } else { Ok(()) }
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// What was taken since the scanner stood there.
    pub(crate) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// How many bytes of white space there are.
#[inline(never)]
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count()
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    /// Whether a text is one value, by two readers who agree.
    fn is_value(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        let is_value = scanner.skip().is_ok() && scanner.is_at_end();
        assert_eq!(is_value, serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
        is_value
    }

    #[test]
    fn brackets_at_any_depth_close_as_they_were_opened() {
        for depth in [1, 2, 63, 64, 65, 127, 128, 129, 200] {
            // Objects and arrays in an order that does not repeat by 64.
            let is_object = |level: usize| level.is_multiple_of(3) || level.is_multiple_of(7);
            let open: String = (0..depth).map(|level| if is_object(level) { "{\"a\":" } else { "[1," }).collect();
            let close = |wrong: Option<usize>| -> String {
                let bracket = |level: usize| if is_object(level) != (wrong == Some(level)) { '}' } else { ']' };
                (0..depth).rev().map(bracket).collect()
            };
            assert!(is_value(&format!("{open}null{}", close(None))), "{depth}");
            for wrong in 0..depth {
                assert!(!is_value(&format!("{open}null{}", close(Some(wrong)))), "{wrong} of {depth}");
            }
            assert!(!is_value(&format!("{open}null{}]", close(None))), "{depth}");
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_string() {
        for before in 0..3 * BLOCK {
            for byte in 0..0x80 {
                let byte = char::from(byte);
                let start = format!("[\"{}{byte}", "x".repeat(before));
                assert_eq!(
                    is_value(&format!("{start}\"]")),
                    byte >= ' ' && byte != '"' && byte != '\\',
                    "{before} {byte:?}"
                );
                is_value(&format!("{start}\",\"y\"]"));
                is_value(&format!("{start}n\", \"\\u00e9\"]"));
            }
        }
    }
}
