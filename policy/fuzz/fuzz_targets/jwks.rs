//! What is taken out of a JWK Set is public and fit for use, what is not is named, and the filter takes it as the control plane
//! writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use toolward_policy::jwt::jwks::{self, JwksFault, LeftOut, MAX_KEYS, MAX_SHOWN};
use toolward_policy::jwt::key::{PublicKey, RSA_BITS};
use toolward_policy::policy::PolicyTable;

const MOST_BITS: u32 = 4096;

fuzz_target!(|text: &[u8]| {
    let set = match jwks::parse(text, MOST_BITS) {
        Ok(set) => set,
        Err(JwksFault::NoUsableKey(left_out)) => return all_are_named(text, 0, &left_out),
        Err(_) => return,
    };
    assert!((1..=MAX_KEYS).contains(&set.keys.keys.len()));
    for key in &set.keys.keys {
        let public = PublicKey::new(key).expect("fit for use");
        assert!(!public.algorithms.is_empty());
        assert!(public.modulus_bits().is_none_or(|bits| RSA_BITS.contains(&bits) && bits <= MOST_BITS));
    }
    all_are_named(text, set.keys.keys.len(), &set.left_out);
    let again = jwks::parse(text, MOST_BITS).expect("the same");
    assert_eq!(again, set);
    let config = json!({ "version": 1, "keySets": { "k": set.keys } }).to_string();
    PolicyTable::parse(config.as_bytes()).expect("the filter takes it");
    let doubled = config.replacen("{\"k\":", "{\"k\":{\"keys\":[]},\"k\":", 1);
    assert!(PolicyTable::parse(doubled.as_bytes()).is_err(), "a name that stands twice");
});

/// Each key of the set is used, or left out under its place and name; one stands for all that are too many.
fn all_are_named(text: &[u8], used: usize, left_out: &[LeftOut]) {
    let set: Value = serde_json::from_slice(text).expect("it was read");
    let keys = set["keys"].as_array().expect("it was read");
    assert_eq!(used + left_out.len(), keys.len().min(MAX_KEYS + 1));
    assert!(left_out.is_sorted_by(|one, next| one.index < next.index));
    for LeftOut { index, kid, why } in left_out {
        let named = keys[*index].get("kid").and_then(Value::as_str);
        assert_eq!(kid.is_some(), named.is_some());
        assert!(kid.as_deref().is_none_or(|kid| kid.len() <= MAX_SHOWN && named.is_some_and(|it| it.starts_with(kid))));
        assert!(!why.is_empty());
    }
}
