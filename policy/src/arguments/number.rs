//! Numbers that a caller wrote, in every way in which servers read them.
//!
//! | written | read as |
//! |---|---|
//! | an integer up to 2^53 - 1, `-0` among them | itself |
//! | with a fraction or an exponent, of at most 15 digits, up to 2^53 - 1 | itself, or rounded to either side: `1.5`, 1, 2 |
//! | anything else: `9007199254740993`, `1000.00000000000000001`, `1e-400` | anything: as a double it is another number |
//!
//! `1.0` is neither equal nor unequal to 1: some servers take it for 1, some refuse it, some keep the text.

use crate::expression::Comparison;

/// The largest integer that all readers take for the same (RFC 8259 section 6).
const LARGEST: i64 = (1 << 53) - 1;

/// So many decimal digits a double keeps, whatever they are.
const MAX_DIGITS: usize = 15;

/// A number that a caller wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written as an integer.
    Integer(i64),
    /// Written with a fraction or an exponent.
    Decimal(f64),
    /// The size of a text that may be a list: one of these and what is between.
    Between(i64, i64),
    /// Readers differ.
    Unclear,
}

/// What a caller's number is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// Ours, or a claim's.
    Integer(i64),
    /// Ours, or a claim's.
    Double(f64),
    /// The caller's as well.
    Callers(Number),
}

impl Number {
    /// Reads a number as JSON writes it.
    pub(crate) fn read(text: &str) -> Self {
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            let integer = text.parse::<i64>().ok().filter(|integer| (-LARGEST..=LARGEST).contains(integer));
            return integer.map_or(Self::Unclear, Self::Integer);
        }
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_matches('0');
        match text.parse::<f64>() {
            Ok(number)
                if digits.len() <= MAX_DIGITS
                    && number.abs() <= LARGEST as f64
                    && (number.is_normal() || digits.is_empty()) =>
            {
                Self::Decimal(number)
            }
            _ => Self::Unclear,
        }
    }

    /// Whether this compares so with another number in whatever way servers read it; none: they differ.
    #[must_use]
    pub fn holds(self, comparison: Comparison, other: Operand) -> Option<bool> {
        let ((least, most), (other_least, other_most)) = match (self, other) {
            // Who writes a fraction knows that servers read one.
            (Self::Decimal(own), Operand::Double(other)) => ((own, own), (other, other)),
            (own, other) => (own.range(), other.range()),
        };
        let is_certain = |is: bool, is_not: bool| (is || is_not).then_some(is);
        match comparison {
            Comparison::Less => is_certain(most < other_least, least >= other_most),
            Comparison::LessOrEqual => is_certain(most <= other_least, least > other_most),
            Comparison::Greater => is_certain(least > other_most, most <= other_least),
            Comparison::GreaterOrEqual => is_certain(least >= other_most, most < other_least),
            Comparison::Equal => is_certain(self.is(other), most < other_least || other_most < least),
            Comparison::NotEqual => self.holds(Comparison::Equal, other).map(|equal| !equal),
        }
    }

    /// The least and the most that a server could read.
    fn range(self) -> (f64, f64) {
        match self {
            Self::Integer(number) => (number as f64, number as f64),
            Self::Decimal(number) => (number.floor(), number.ceil()),
            Self::Between(least, most) => (least as f64, most as f64),
            Self::Unclear => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// Whether all servers read the same number.
    #[expect(clippy::float_cmp, reason = "both are what was written")]
    fn is(self, other: Operand) -> bool {
        match (self, other) {
            (Self::Integer(own), Operand::Integer(other) | Operand::Callers(Self::Integer(other))) => own == other,
            (Self::Integer(own), Operand::Double(other)) => own as f64 == other,
            (Self::Decimal(own), Operand::Double(other) | Operand::Callers(Self::Decimal(other))) => own == other,
            (Self::Between(least, most), Operand::Integer(other)) => least == other && most == other,
            _ => false,
        }
    }
}

impl Operand {
    fn range(self) -> (f64, f64) {
        match self {
            // Past 2^53 this rounds; no caller's number is there.
            Self::Integer(number) => (number as f64, number as f64),
            Self::Double(number) => (number, number),
            Self::Callers(number) => number.range(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};

    #[test]
    fn numbers_as_they_are_written() {
        let rows = [
            ("1", Number::Integer(1)),
            ("-0", Number::Integer(0)),
            ("9007199254740991", Number::Integer(LARGEST)),
            ("9007199254740992", Number::Unclear),
            ("-9007199254740993", Number::Unclear),
            ("123456789012345678901234567890", Number::Unclear),
            ("1.0", Number::Decimal(1.0)),
            ("1e0", Number::Decimal(1.0)),
            ("-0.0", Number::Decimal(0.0)),
            ("0.1", Number::Decimal(0.1)),
            ("123456789012.345", Number::Decimal(123_456_789_012.345)),
            ("1000.00000000000000001", Number::Unclear),
            ("0.1000000000000000055511151231257827", Number::Unclear),
            ("1e300", Number::Unclear),
            ("1e-400", Number::Unclear),
            ("0e999", Number::Decimal(0.0)),
            ("1e16", Number::Unclear),
        ];
        for (text, expected) in rows {
            assert_eq!(Number::read(text), expected, "{text}");
        }
    }

    #[test]
    fn comparisons_hold_in_every_reading_or_in_none() {
        let (integer, double) = (Operand::Integer, Operand::Double);
        let rows = [
            ("5", LessOrEqual, integer(5), Some(true)),
            ("5", Equal, integer(5), Some(true)),
            ("5", NotEqual, integer(6), Some(true)),
            ("1.0", Equal, integer(1), None),
            ("1.0", NotEqual, integer(1), None),
            ("1.0", LessOrEqual, integer(1), Some(true)),
            ("1.5", NotEqual, integer(1), None),
            ("1.5", NotEqual, integer(2), None),
            ("1.5", NotEqual, integer(3), Some(true)),
            ("1.5", Less, integer(2), None),
            ("1.5", LessOrEqual, integer(2), Some(true)),
            ("1000.5", LessOrEqual, integer(1000), None),
            ("1.5", GreaterOrEqual, integer(2), None),
            ("0.5", Greater, double(0.25), Some(true)),
            ("0.5", Equal, double(0.5), Some(true)),
            ("1", Equal, double(1.0), Some(true)),
            ("9007199254740993", NotEqual, integer(1), None),
            ("9007199254740993", Greater, integer(1), None),
            ("1000.00000000000000001", LessOrEqual, integer(1000), None),
            ("7", LessOrEqual, integer(i64::MAX), Some(true)),
            ("7", NotEqual, integer(i64::MAX), Some(true)),
            ("1.5", Equal, Operand::Callers(Number::Decimal(1.5)), Some(true)),
            ("1.5", NotEqual, Operand::Callers(Number::Decimal(1.2)), None),
            ("1", Equal, Operand::Callers(Number::Decimal(1.0)), None),
            ("7", NotEqual, Operand::Callers(Number::Unclear), None),
        ];
        for (text, comparison, other, expected) in rows {
            assert_eq!(Number::read(text).holds(comparison, other), expected, "{text} {comparison:?} {other:?}");
        }
        let size = Number::Between(1, 3);
        assert_eq!(size.holds(LessOrEqual, integer(3)), Some(true));
        assert_eq!(size.holds(GreaterOrEqual, integer(2)), None);
        assert_eq!(size.holds(NotEqual, integer(2)), None);
        assert_eq!(size.holds(NotEqual, integer(4)), Some(true));
        assert_eq!(Number::Between(1, 1).holds(Equal, integer(1)), Some(true));
    }
}
