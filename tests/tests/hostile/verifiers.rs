//! The host and the filter itself accept exactly the same signatures, inside a real Envoy: good ones, bad ones, and good
//! ones in every wrong form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use toolward_policy::jwt::jwks;
use toolward_tests::probe::Probe;

use crate::signer::Signer;

/// How many random keys and messages per algorithm.
const ROUNDS: usize = 12;

#[test]
fn both_verifiers_agree() {
    let probe = Probe::start(1);
    let mut random = Random(Sha256::digest(b"toolward").into());
    let mut judged = 0;
    for signer in Signer::all() {
        let set = jwks::parse(json!({ "keys": [signer.jwk("k")] }).to_string().as_bytes(), 4096).expect("a key set");
        let keys = serde_json::to_value(set.keys).expect("JSON");
        let rounds = if signer.algorithm().starts_with("PS") || signer == Signer::Ed25519 { 2 } else { ROUNDS };
        for round in 0..rounds {
            let header = json!({ "alg": signer.algorithm(), "kid": "k", "round": round }).to_string();
            let length = random.number() % 200;
            let payload = random.bytes(length);
            let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload));
            let signature = signer.sign(input.as_bytes());
            for (what, signature, good) in variants(signer, &signature, &mut random) {
                let jws = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature));
                judge(&probe, &keys, &jws, good, &format!("{} {what}", signer.algorithm()));
                judged += 1;
            }
            let other = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signer.sign(b"another message")));
            judge(&probe, &keys, &other, false, "a signature of another message");
            for change in 0..4 {
                let good = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature));
                let mut bytes = good.clone().into_bytes();
                let place = random.number() % bytes.len();
                bytes[place] = *random.bytes(1).first().expect("one") & 0x7f;
                let changed = String::from_utf8(bytes).expect("ASCII");
                judge(&probe, &keys, &changed, changed == good, &format!("change {change} at {place}"));
                judged += 1;
            }
        }
    }
    println!("{judged} signatures judged alike by both verifiers");
}

fn judge(probe: &Probe, keys: &Value, jws: &str, good: bool, what: &str) {
    let verdicts = probe.judge(keys, jws);
    assert_eq!(verdicts.host, verdicts.portable, "{what}: {jws}");
    assert_eq!(verdicts.host == "Accepted", good, "{what}: {verdicts:?}: {jws}");
}

/// The signature, and what is not quite it.
fn variants(signer: Signer, signature: &[u8], random: &mut Random) -> Vec<(String, Vec<u8>, bool)> {
    let length = signature.len();
    let bit = random.number() % (length * 8);
    let mut flipped = signature.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    let mut variants = vec![
        ("as it is".to_owned(), signature.to_vec(), true),
        (format!("with bit {bit} turned"), flipped, false),
        ("all zero".to_owned(), vec![0; length], false),
        ("all ones".to_owned(), vec![0xff; length], false),
        ("one".to_owned(), [vec![0; length - 1], vec![1]].concat(), false),
        ("with a zero before".to_owned(), [&[0], signature].concat(), false),
        ("with a zero behind".to_owned(), [signature, &[0]].concat(), false),
        ("twice".to_owned(), [signature, signature].concat(), false),
        ("without its last byte".to_owned(), signature[..length - 1].to_vec(), false),
        ("without its first byte".to_owned(), signature[1..].to_vec(), false),
        ("one byte".to_owned(), vec![1], false),
    ];
    let order = match signer {
        Signer::Es256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        Signer::Es384 => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
        _ => return variants,
    };
    let order: Vec<u8> =
        (0..order.len()).step_by(2).map(|at| u8::from_str_radix(&order[at..at + 2], 16).expect("hex")).collect();
    let (r, s) = signature.split_at(length / 2);
    let zero = vec![0; length / 2];
    variants.extend([
        // Malleable by design; a cache by the token's hash holds it as another token.
        ("with the other s".to_owned(), [r, &minus(&order, s)].concat(), true),
        ("with r and s swapped".to_owned(), [s, r].concat(), false),
        ("with r zero".to_owned(), [&zero, s].concat(), false),
        ("with s zero".to_owned(), [r, &zero].concat(), false),
        ("with r the order".to_owned(), [&order, s].concat(), false),
        ("with s the order".to_owned(), [r, &order].concat(), false),
        ("in DER".to_owned(), der(r, s), false),
    ]);
    variants
}

fn minus(order: &[u8], number: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; order.len()];
    let mut borrow = 0;
    for index in (0..order.len()).rev() {
        let value = i16::from(order[index]) - i16::from(number[index]) - borrow;
        borrow = i16::from(value < 0);
        difference[index] = value.rem_euclid(256) as u8;
    }
    difference
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let sign: &[u8] = if number[start] & 0x80 == 0 { &[] } else { &[0] };
        let value = [sign, &number[start..]].concat();
        [&[2, value.len() as u8], value.as_slice()].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8], both.as_slice()].concat()
}

/// The same numbers in each run.
struct Random([u8; 32]);

impl Random {
    fn number(&mut self) -> usize {
        self.0 = Sha256::digest(self.0).into();
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]]))
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }
}
