//! The grammar of JSON (RFC 8259), one token after the other and without copies. What is made of the tokens is decided
//! elsewhere.

use std::borrow::Cow;

use memchr::arch::all::is_prefix;
use memchr::memchr2;

/// Not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// The brackets that close what [`Scanner::skip`] is in.
    open: Vec<u8>,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// Where the scanner stands.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space, which stays.
    pub(crate) fn peek(&mut self) -> Result<u8, Malformed> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(other) => return Ok(other),
                None => return Err(Malformed),
            }
        }
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Takes an opening bracket; whether anything stands before the closing one, which is taken otherwise.
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

    /// Takes the name of a member.
    pub(crate) fn key(&mut self) -> Result<Cow<'t, str>, Malformed> {
        if self.peek()? == b'"' { self.string() } else { Err(Malformed) }
    }

    /// Takes the colon behind a name.
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
        self.at += plain(self.rest());
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
            self.at += plain(self.rest());
            text.push_str(self.since(start));
        }
    }

    /// Takes a value, whatever it is. What an escape stands for and how large a number is does not matter here.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        let outer = self.open.len();
        loop {
            let inside = match self.peek()? {
                b'{' => self.open(b'}')?.then_some(b'}'),
                b'[' => self.open(b']')?.then_some(b']'),
                byte => {
                    self.skip_scalar(byte)?;
                    None
                }
            };
            if let Some(close) = inside {
                self.open.push(close);
                self.skip_name(close)?;
                continue;
            }
            loop {
                if self.open.len() == outer {
                    return Ok(());
                }
                let close = self.open.last().copied().unwrap_or_default();
                if self.next(close)? {
                    self.skip_name(close)?;
                    break;
                }
                self.open.pop();
            }
        }
    }

    fn skip_scalar(&mut self, first: u8) -> Result<(), Malformed> {
        match first {
            b'"' => self.skip_string(),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => self.number().map(|_| ()),
        }
    }

    /// Takes the name of a member, where the brackets are those of an object.
    fn skip_name(&mut self, close: u8) -> Result<(), Malformed> {
        if close == b']' {
            return Ok(());
        }
        if self.peek()? != b'"' {
            return Err(Malformed);
        }
        self.skip_string()?;
        self.colon()
    }

    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.at += plain(self.rest());
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.byte().ok_or(Malformed)?;
                    self.at += 1;
                    match escaped {
                        b'u' => self.hex().map(|_| ())?,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        _ => return Err(Malformed),
                    }
                }
                _ => return Err(Malformed),
            }
        }
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

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// What was taken since the scanner stood there.
    pub(crate) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// Strings are mostly no longer than this; for longer ones it pays to look at many bytes at a time.
const SHORT: usize = 16;

/// How many bytes stand before the end of a string, an escape or what may not be in a string.
fn plain(bytes: &[u8]) -> usize {
    let is_special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
    let (start, rest) = bytes.split_at_checked(SHORT).unwrap_or((bytes, &[]));
    if let Some(end) = start.iter().position(is_special) {
        return end;
    }
    let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let run = rest.get(..end).unwrap_or_default();
    let smallest = run.iter().copied().fold(u8::MAX, u8::min);
    start.len() + if smallest < b' ' { run.iter().position(is_special).unwrap_or(end) } else { end }
}
