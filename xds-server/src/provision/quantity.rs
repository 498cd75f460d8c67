//! Amounts as Kubernetes writes them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// 10^9: amounts are counted in billionths, the smallest unit.
const ONE: u128 = 1_000_000_000;

/// An amount such as `500m`, `1.5Gi` or `1e3`, rounded up to a whole number; none: it is no amount, or past all memory.
pub(super) fn parse(text: &str) -> Option<u64> {
    u64::try_from(billionths(text)?.div_ceil(ONE)).ok()
}

/// The same in billionths, rounded up.
pub(super) fn billionths(text: &str) -> Option<u128> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    let end = unsigned.find(|character| !is_of_number(character)).unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(end);
    let factor = factor(unit)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let divisor = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    Some(digits.checked_mul(factor)?.div_ceil(divisor))
}

/// How many billionths a unit stands for.
fn factor(unit: &str) -> Option<u128> {
    Some(match unit {
        "n" => 1,
        "u" => 1000,
        "m" => 1000_u128.pow(2),
        "" => ONE,
        "k" => 1000 * ONE,
        "M" => 1000_u128.pow(2) * ONE,
        "G" => 1000_u128.pow(3) * ONE,
        "T" => 1000_u128.pow(4) * ONE,
        "P" => 1000_u128.pow(5) * ONE,
        "E" => 1000_u128.pow(6) * ONE,
        "Ki" => ONE << 10,
        "Mi" => ONE << 20,
        "Gi" => ONE << 30,
        "Ti" => ONE << 40,
        "Pi" => ONE << 50,
        "Ei" => ONE << 60,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_u128.checked_pow(u32::try_from(exponent.checked_add(9)?).ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (quantity, expected) in [
            ("1Gi", Some(1 << 30)),
            ("+512Mi", Some(512 << 20)),
            ("1G", Some(1_000_000_000)),
            ("1073741824", Some(1 << 30)),
            ("1.5Gi", Some(3 << 29)),
            (".5Ki", Some(512)),
            ("1.Ki", Some(1024)),
            ("1073741824000m", Some(1 << 30)),
            ("100m", Some(1)),
            ("5n", Some(1)),
            ("3000000u", Some(3)),
            ("0.001P", Some(1_000_000_000_000)),
            ("2Pi", Some(2 << 50)),
            ("3E", Some(3_000_000_000_000_000_000)),
            ("15Ei", Some(15 << 60)),
            ("16Ei", None),
            ("1e9", Some(1_000_000_000)),
            ("1.5E3", Some(1500)),
            ("12e-1", Some(2)),
            ("1e-10", None),
            ("1e99", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("1GB", None),
            ("1 Gi", None),
            ("99999999999999999999", None),
            ("18446744073709551615Ki", None),
        ] {
            assert_eq!(parse(quantity), expected, "{quantity}");
        }
    }
}
