//! How a body becomes bytes.

/// An encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Latin1,
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
    Gzip,
    Deflate,
    /// UTF-8, one byte a chunk.
    Chunks,
}

impl Encoding {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "utf-8" => Self::Utf8,
            "latin-1" => Self::Latin1,
            "utf-16le" => Self::Utf16Le,
            "utf-16be" => Self::Utf16Be,
            "utf-32le" => Self::Utf32Le,
            "utf-32be" => Self::Utf32Be,
            "gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "chunks" => Self::Chunks,
            _ => panic!("{name:?} is no encoding"),
        }
    }

    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
        let widest = |bytes: fn(u32) -> [u8; 4]| text.chars().map(u32::from).flat_map(bytes).collect();
        match self {
            Self::Utf8 | Self::Chunks => text.as_bytes().to_vec(),
            Self::Latin1 => text.chars().map(|character| u8::try_from(character).expect("a byte")).collect(),
            Self::Utf16Le => wide(u16::to_le_bytes),
            Self::Utf16Be => wide(u16::to_be_bytes),
            Self::Utf32Le => widest(u32::to_le_bytes),
            Self::Utf32Be => widest(u32::to_be_bytes),
            Self::Gzip => gzip(text.as_bytes()),
            Self::Deflate => zlib(text.as_bytes()),
        }
    }
}

/// RFC 1952, with one block that is stored as it is.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    [header.as_slice(), &stored(bytes), &crc32(bytes).to_le_bytes(), &length(bytes).to_le_bytes()].concat()
}

/// RFC 1950, with one block that is stored as it is.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    [&[0x78, 0x01], stored(bytes).as_slice(), &adler32(bytes).to_be_bytes()].concat()
}

/// RFC 1951 section 3.2.4.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("less than 64 KiB");
    [&[1], length.to_le_bytes().as_slice(), &(!length).to_le_bytes(), bytes].concat()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("less than 4 GiB")
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

fn adler32(bytes: &[u8]) -> u32 {
    let step = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    };
    let (a, b) = bytes.iter().fold((1, 0), step);
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
