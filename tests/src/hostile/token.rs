//! What is done to a good token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The `Authorization` header, or none, and what stands in the URL.
pub(super) struct Presented {
    pub(super) authorization: Option<String>,
    pub(super) query: String,
}

pub(super) fn present(token: &str, how: Option<&str>) -> Presented {
    let bearer = |token: String| Presented { authorization: Some(format!("Bearer {token}")), query: String::new() };
    let (input, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let (header, claims) = input.split_once('.').unwrap_or((input, ""));
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let put_in = |part: &str, member: &str| {
        let json = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        encoded(&String::from_utf8_lossy(&json).replacen('{', &format!("{{{member},"), 1))
    };
    match how {
        None => bearer(token.to_owned()),
        Some("none") => Presented { authorization: None, query: String::new() },
        Some("query") => Presented { authorization: None, query: format!("?access_token={token}") },
        Some("unsigned") => bearer(format!("{}.{claims}.", encoded(r#"{"alg":"none","typ":"JWT"}"#))),
        Some("hs256") => bearer(format!("{}.{claims}.{signature}", encoded(r#"{"alg":"HS256","typ":"JWT"}"#))),
        Some("flipped") => {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_else(|_| vec![0]);
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
            bearer(format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes)))
        }
        Some("cut") => bearer(token.get(..token.len() - 1).unwrap_or_default().to_owned()),
        Some("no-signature") => bearer(input.to_owned()),
        Some("padded") => bearer(format!("{token}==")),
        Some("spelled") => bearer(respelled(token)),
        Some("header-json") => bearer(format!("{}.{claims}.{signature}", put_in(header, r#""alg":"none""#))),
        Some("claims-json") => bearer(format!("{header}.{}.{signature}", put_in(claims, r#""exp":9999999999"#))),
        Some("basic") => Presented { authorization: Some(format!("Basic {token}")), query: String::new() },
        Some("quoted") => bearer(format!("\"{token}\"")),
        Some("doubled") => bearer(format!("Bearer {token}")),
        Some(how) => panic!("{how:?} is nothing that is done to a token"),
    }
}

/// The last character has bits that no byte needs: another one stands for the same bytes to a lenient reader.
fn respelled(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.bytes().last().unwrap_or(b'A');
    let index = ALPHABET.iter().position(|other| *other == last).unwrap_or(0);
    let other = char::from(ALPHABET[index ^ 1]);
    format!("{}{other}", token.get(..token.len() - 1).unwrap_or_default())
}
