//! Where a string may end, found many bytes at a time.

/// So many bytes are looked through at a time: most strings are shorter.
pub(super) const BLOCK: usize = 64;

/// Which of the first bytes are special; behind the end there are zeros, which are special as well.
pub(super) fn special_in(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(block) => special(block),
        None => {
            let mut block = [0; BLOCK];
            block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            special(&block)
        }
    }
}

/// Which bytes are no part of a string as they are: quotes, backslashes and control characters.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline]
fn special(block: &[u8; BLOCK]) -> u64 {
    use std::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u64x2, v128_or};
    let (sixteens, _) = block.as_chunks();
    let bits = |bytes: &[u8; 16]| {
        let (low, high) = bytes.split_at(8);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let bytes = u64x2(word(low), word(high));
        let quoting = v128_or(u8x16_eq(bytes, u8x16_splat(b'"')), u8x16_eq(bytes, u8x16_splat(b'\\')));
        u64::from(u8x16_bitmask(v128_or(quoting, u8x16_lt(bytes, u8x16_splat(b' ')))))
    };
    sixteens.iter().enumerate().fold(0, |all, (index, bytes)| all | bits(bytes) << (16 * index))
}

/// The same without the instruction that makes bits of bytes.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
fn special(block: &[u8; BLOCK]) -> u64 {
    let mut bits = [0; BLOCK];
    for (index, (bits, byte)) in bits.iter_mut().zip(block).enumerate() {
        let is_special = (*byte == b'"') | (*byte == b'\\') | (*byte < b' ');
        *bits = u8::from(is_special).wrapping_neg() & 1 << (index % 8);
    }
    let (eights, _) = bits.as_chunks();
    // The product's highest byte is the sum of all bytes.
    let sum = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes).wrapping_mul(u64::from_le_bytes([1; 8])) >> 56;
    eights.iter().enumerate().fold(0, |all, (index, bytes)| all | sum(bytes) << (8 * index))
}
