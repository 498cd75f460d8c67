//! What is taken out of a JWK Set is public and fit for use, and the filter takes it as the control plane writes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use toolward_policy::jwt::jwks::{self, MAX_KEYS};
use toolward_policy::jwt::key::{Material, PublicKey, RSA_BITS};
use toolward_policy::policy::PolicyTable;

fuzz_target!(|text: &[u8]| {
    let Ok(set) = jwks::parse(text, 4096) else { return };
    assert!((1..=MAX_KEYS).contains(&set.keys.keys.len()));
    for key in &set.keys.keys {
        let public = PublicKey::new(key).expect("fit for use");
        assert!(!public.algorithms.is_empty());
        if let Material::Rsa(_) = public.material {
            let bits = public.spki.map_or(0, |spki| spki.len() * 8);
            assert!(bits > usize::try_from(*RSA_BITS.start()).expect("small"));
        }
    }
    let again = jwks::parse(text, 4096).expect("the same");
    assert_eq!(again, set);
    let config = json!({ "version": 1, "keySets": { "k": set.keys } }).to_string();
    PolicyTable::parse(config.as_bytes()).expect("the filter takes it");
});
