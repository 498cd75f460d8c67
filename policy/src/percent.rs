//! Percent-encoding (RFC 3986 section 2.1), read in one way wherever it is undone.

/// How often a text is decoded. One that is encoded more often than that has no reading that could be relied on.
pub(crate) const MAX_ROUNDS: usize = 4;

/// What two hexadecimal digits at the beginning stand for.
pub(crate) fn octet(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// The text with each octet in place of its encoding; none: there is nothing to decode.
pub(crate) fn once_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let (plain, mut rest) = text.split_at_checked(memchr::memchr(b'%', text)?)?;
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        let octet = octet(tail).filter(|_| byte == b'%');
        decoded.push(octet.unwrap_or(byte));
        rest = if octet.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    (decoded.len() < text.len()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded() {
        let rows: [(&str, &str, Option<&[u8]>); 13] = [
            ("nothing", "", None),
            ("nothing to decode", "a+b", None),
            ("an octet", "a%20b", Some(b"a b")),
            ("in both cases", "%c3%C3", Some(b"\xc3\xc3")),
            ("a letter", "%61", Some(b"a")),
            ("of octets, the outer one", "%2541", Some(b"%41")),
            ("made of one", "%%341", Some(b"%41")),
            ("a sign", "%+f", None),
            ("a blank", "% f", None),
            ("no digit", "%g0", None),
            ("half an octet", "%4", None),
            ("four digits", "%u0041", None),
            ("beside what is none", "100%%41%", Some(b"100%A%")),
        ];
        for (row, text, expected) in rows {
            assert_eq!(once_decoded(text.as_bytes()).as_deref(), expected, "{row}");
        }
        assert_eq!(octet(b"+f"), None);
        assert_eq!(octet(b"2e/"), Some(b'.'));
    }
}
