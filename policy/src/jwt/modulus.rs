//! RSA moduli that are easy to factor, as far as a look at their remainders by small primes tells.

/// Moduli have no factor below this one.
const SMALL: u32 = 256;

/// The generator of ROCA: primes of that library are powers of it modulo the product of all primes up to [`LAST`].
const GENERATOR: u32 = 65537;

/// The largest prime of which ROCA's keys of 2048 bits and more make use: the 126th (table 1 of the paper).
const LAST: u32 = 701;

/// Whether a modulus, big-endian, has a small factor.
pub(super) fn has_small_factor(modulus: &[u8]) -> bool {
    primes().take_while(|prime| *prime < SMALL).any(|prime| remainder(modulus, prime) == 0)
}

/// Whether a modulus of 2048 bits or more, big-endian, was made by the library of CVE-2017-15361: then it is a power of
/// 65537 by every small prime. Of other moduli less than one in 2^160 is. (Nemec, Sys, Svenda, Klinec, Matyas: "The Return of
/// Coppersmith's Attack: Practical Factorization of Widely Used RSA Moduli", ACM CCS 2017, section 2.2.)
pub(super) fn is_roca(modulus: &[u8]) -> bool {
    primes().all(|prime| is_power_of_generator(remainder(modulus, prime), prime))
}

/// The powers of the generator are the roots of unity of its order, as the group is cyclic.
fn is_power_of_generator(number: u32, prime: u32) -> bool {
    let mut power = GENERATOR % prime;
    let mut raised = number;
    while power != 1 {
        power = power * GENERATOR % prime;
        raised = raised * number % prime;
    }
    raised == 1
}

/// Odd primes up to [`LAST`].
fn primes() -> impl Iterator<Item = u32> {
    (3..=LAST)
        .step_by(2)
        .filter(|number| (3..).take_while(|it| it * it <= *number).all(|it| !number.is_multiple_of(it)))
}

fn remainder(number: &[u8], divisor: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is this power of the generator by every small prime, of 256 bytes: by the Chinese remainder theorem,
    /// one prime after the other.
    fn power_by_all(exponent: u32) -> Vec<u8> {
        let mut number = vec![0_u8; 256];
        number[255] = 1;
        let mut product = number.clone();
        for prime in primes() {
            let wanted = (0..exponent).fold(1, |power, _| power * GENERATOR % prime);
            while remainder(&number, prime) != wanted {
                add(&mut number, &product);
            }
            let single = product.clone();
            (1..prime).for_each(|_| add(&mut product, &single));
        }
        number
    }

    fn add(number: &mut [u8], other: &[u8]) {
        let mut carry = 0;
        for (digit, other) in number.iter_mut().zip(other).rev() {
            let sum = u16::from(*digit) + u16::from(*other) + carry;
            (*digit, carry) = (sum as u8, sum >> 8);
        }
    }

    #[test]
    fn moduli_of_roca() {
        for exponent in [1, 2, 77, 1000] {
            let modulus = power_by_all(exponent);
            assert!(is_roca(&modulus) && !has_small_factor(&modulus), "65537^{exponent}");
            let mut next = modulus;
            next[255] ^= 2;
            assert!(!is_roca(&next), "not 65537^{exponent}");
        }
    }

    #[test]
    fn small_factors() {
        for (number, expected) in [(251 * 257, true), (257 * 263, false), (3 * 65537, true), (65537, false)] {
            assert_eq!(has_small_factor(&u32::to_be_bytes(number)), expected, "{number}");
        }
    }
}
