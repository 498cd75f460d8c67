//! Keys of issuers: those that are weak are left out and named, those that are removed end, and a flood of tokens that nobody
//! signed keeps nobody from what is theirs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_tests::envoy::{Envoy, admin};
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, Answer, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::publisher::{Published, Publisher};
use toolward_tests::stack::{OPS_MAY_ADD, Stack, accepting, backend, gateway, policy, route};
use toolward_tests::tools::tools;
use toolward_tests::toolward::{self, AUDIENCE, ISSUER, Issuer};
use toolward_tests::upstream::{OK, Upstream};

const A: &str = "https://a.example.com";
const B: &str = "https://b.example.com";

/// A modulus with the fingerprint of CVE-2017-15361, made for this test.
const ROCA: &str = "t88Zm3XMUpBcn-DcOaqJUVYBH_XNkjzBkPyMH4t384xKPp0wMHcuw-HlSJFNQD5JQDcrSqcR7zb2Ah2ZYha3KROogiLzjmvs14zf\
    FKxZxlPWK-bshssxGtjmwNCfYgERcZv0l3nK1LxPS9oINVmLbXLmZdTRl0vWp6zf0QQNpPxCGpJ2YHlmuEleMRsiJpcwfMS0oqvY\
    oLaLi8evRkqePHMYSiC5ExF7EL6WDshWUtQTl2p8NfAukQSe6xo2xUAkBM14DRonXd-poSiiZZRLr2SQw437WT77dgtjLkvVlfhy\
    wxrukWkRKK2ScmWBqePdRJPTAMG0xW9IdK1XOAfaSw";

fn at(publisher: &Publisher, path: &str) -> String {
    format!("{{ uri: '{}' }}", publisher.url(path))
}

fn kid(issuer: &Issuer) -> String {
    let set: Value = serde_json::from_str(&issuer.jwks()).expect("JSON");
    set["keys"][0]["kid"].as_str().expect("a name").to_owned()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims(issuer: &str, number: usize) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({ "iss": issuer, "aud": AUDIENCE, "sub": "x", "exp": now + 600, "jti": number })
}

/// A token that nobody signed.
fn forged(issuer: &str, algorithm: &str, kid: &str, bytes: usize, number: usize) -> String {
    let header = part(&json!({ "alg": algorithm, "kid": kid }));
    format!("{header}.{}.{}", part(&claims(issuer, number)), URL_SAFE_NO_PAD.encode(vec![1; bytes]))
}

/// Ends a flood, also where the test fails: a scope waits for its threads.
struct Ends<'f>(&'f AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask(stack: &Stack, token: &str) -> Answer {
    stack.ask(token, call("add"))
}

fn status(stack: &Stack, token: &str) -> u16 {
    ask(stack, token).status
}

#[test]
fn what_an_issuer_publishes_counts() {
    let (idp, upstream) = (Publisher::start(), Upstream::start());
    let [of_a, old, new] = ["ES256", "ES256", "RS256"].map(Issuer::new);
    idp.publish_keys("/a", &[&of_a]);
    idp.publish_keys("/b", &[&old]);
    let arguments = ["--key-set-networks", "127.0.0.0/8", "--removed-key-grace", "20"];
    let policy = accepting(&[(A, at(&idp, "/a")), (B, at(&idp, "/b"))]);
    let stack = Stack::with_arguments(upstream.port, Issuer::new("ES256"), &policy, &arguments);
    let problems = || stack.toolward.get("/problems").text;
    let (by_a, by_old, by_new) =
        (of_a.token(&["--issuer", A]), old.token(&["--issuer", B]), new.token(&["--issuer", B]));
    assert_eq!([&by_a, &by_old, &by_new].map(|token| status(&stack, token)), [200, 200, 401]);

    // 2,000 tokens and more name A, each with another key, while B rotates.
    let (sent, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    scope(|threads| {
        let end = Ends(&is_over);
        for _ in 0..3 {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(status(&stack, &forged(A, "ES256", &format!("k{number}"), 64, number)), 401);
                }
            });
        }
        eventually("the flood is there", || sent.load(Ordering::Relaxed) > 500);
        idp.publish_keys("/b", &[&old, &new]);
        // One report in which B's set waits among A's is enough; a few are let go by.
        eventually("B's new key counts", || {
            sleep(Duration::from_millis(250));
            status(&stack, &by_new) == 200
        });
        eventually("2,000 were sent", || sent.load(Ordering::Relaxed) >= 2000);
        drop(end);
    });
    eprintln!("{} forged tokens", sent.load(Ordering::Relaxed));
    assert_eq!(status(&stack, &by_a), 200);

    // B removes its old key, of which a token is remembered.
    assert_eq!(status(&stack, &by_old), 200);
    idp.publish_keys("/b", &[&new]);
    let unknown = forged(B, "ES256", "unknown", 64, 0);
    let removed = format!("the issuer has removed the key \\\"{}\\\", accepted until ", kid(&old));
    eventually("it is told", || status(&stack, &unknown) == 401 && problems().contains(&removed));
    eventually("it ends", || status(&stack, &by_old) == 401);
    assert_eq!(status(&stack, &by_new), 200);
    eventually("nothing is told any more", || !problems().contains("KeyRemoved"));

    // What can't be read says nothing of keys, and an answer that is none neither.
    for (what, said) in [
        (Published::Json("<html>503</html>".to_owned()), "not a JWK Set"),
        (Published::Json(r#"{"quays":[]}"#.to_owned()), "not a JWK Set"),
        (Published::Bytes(300_000), "longer than"),
        (Published::Redirect("https://elsewhere.example.com/b".to_owned()), "another host"),
    ] {
        idp.publish("/b", what);
        eventually("stale", || status(&stack, &unknown) == 401 && problems().contains(said));
        assert_eq!(status(&stack, &by_new), 200, "{said}");
        assert!(problems().contains("KeySetStale"));
        idp.publish_keys("/b", &[&new]);
        eventually("well again", || status(&stack, &unknown) == 401 && !problems().contains("KeySetStale"));
    }

    // A set that is emptied, and one that is left with what can't be used.
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": URL_SAFE_NO_PAD.encode([0xd5; 128]), "e": "AQAB" });
    for (place, keys, said) in [
        ("/b", json!([]), "has no usable key"),
        ("/c", json!([weak]), "has no usable key: keys[0] (kid \\\"weak\\\"): the RSA modulus has 1024 bits"),
    ] {
        idp.publish(place, Published::Json(json!({ "keys": keys }).to_string()));
        eventually("the key ends", || status(&stack, &unknown) != 200 && problems().contains("KeyRemoved"));
        eventually("closed", || status(&stack, &by_new) == 503);
        assert_eq!(ask(&stack, &by_new).reason().as_deref(), Some("KeySetEmpty"));
        let text = problems();
        assert!(text.contains(said) && text.contains("KeySetEmpty"), "{text}");
        // At another place, of which nothing is known yet.
        idp.publish_keys("/c", &[&new]);
        stack.folder.write("policy.yaml", &accepting(&[(A, at(&idp, "/a")), (B, at(&idp, "/c"))]));
        eventually("open again", || status(&stack, &by_new) == 200);
    }
}

#[test]
fn keys_that_are_left_out_are_named() {
    let upstream = Upstream::start();
    let good = Issuer::new("ES256");
    let mut set: Value = serde_json::from_str(&good.jwks()).expect("JSON");
    let first = set["keys"][0].clone();
    let with = |kid: &str, changes: Value| {
        let mut key = first.clone();
        key["kid"] = json!(kid);
        changes.as_object().expect("an object").iter().for_each(|(name, value)| key[name] = value.clone());
        key
    };
    let rsa = |kid: &str, n: String| json!({ "kty": "RSA", "kid": kid, "n": n, "e": "AQAB" });
    let ones = |bytes: usize| URL_SAFE_NO_PAD.encode([&[0xff; 1], vec![0x7f; bytes - 1].as_slice()].concat());
    let rows = [
        (rsa("roca", ROCA.to_owned()), "it has the fingerprint of ROCA"),
        (json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0" }), "private or symmetric"),
        (with("private", json!({ "d": "AA" })), "private or symmetric"),
        (with("p521", json!({ "crv": "P-521" })), "key type or curve is not supported"),
        (rsa("short", ones(128)), "the RSA modulus has 1024 bits; 2048 to "),
        (rsa("long", ones(1024)), "the RSA modulus has 8192 bits; 2048 to 4096 are accepted"),
        (with("other", json!({ "use": "enc" })), "not for signatures"),
        (with("off", json!({ "y": first["x"] })), "the point is not on the curve"),
        (first.clone(), "an earlier key has the same kid and algorithm"),
    ];
    let keys = set["keys"].as_array_mut().expect("keys");
    keys.extend(rows.iter().map(|(key, _)| key.clone()));
    let policy = policy(&set.to_string(), OPS_MAY_ADD);
    let stack = Stack::with_policy(upstream.port, Issuer::new("ES256"), &policy);
    assert_eq!(ask(&stack, &good.of_team("ops")).text, OK, "one bad key spoils no other");
    let problems: Value = stack.toolward.get("/problems").json();
    let problems: Vec<&str> = problems["resources"]
        .as_array()
        .expect("problems")
        .iter()
        .filter(|problem| problem["reason"] == "KeyLeftOut")
        .map(|problem| problem["message"].as_str().expect("a message"))
        .collect();
    assert_eq!(problems.len(), rows.len(), "{problems:?}");
    let output = toolward::run(&["check", stack.folder.path().to_str().expect("UTF-8")]);
    let checked = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "what is left out is told, and is no fault of the policy: {checked}");
    let log = stack.toolward.process.log();
    for (index, (key, why)) in rows.iter().enumerate() {
        let named = format!("keys[{}] (kid {}): ", index + 1, key["kid"]);
        let is_told = |text: &str| text.contains(&named) && text.contains(why);
        assert!(problems.iter().any(|problem| is_told(problem)), "{named}{why}: {problems:?}");
        assert!(checked.lines().any(|line| line.starts_with("note: ") && is_told(line)), "{named}{why}: {checked}");
        assert!(log.contains(&format!("keys[{}]", index + 1)), "{named}{why}: {log}");
    }

    // A ConfigMap that loses a key: at once.
    let two = Issuer::new("ES256");
    let map = |issuers: &[&Issuer]| {
        let jwks = Issuer::joined(issuers);
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: keys }}\ndata: {{ jwks.json: '{jwks}' }}\n")
    };
    stack.folder.write("keys.yaml", &map(&[&good, &two]));
    let from_map = accepting(&[(ISSUER, "{ configMapRef: { name: keys, key: jwks.json } }".to_owned())]);
    stack.folder.write("policy.yaml", &from_map);
    let (by_good, by_two) = (good.token(&[]), two.token(&[]));
    eventually("both count", || [&by_good, &by_two].map(|token| status(&stack, token)) == [200, 200]);
    stack.folder.write("keys.yaml", &map(&[&two]));
    eventually("one is gone", || status(&stack, &by_good) == 401);
    assert_eq!(status(&stack, &by_two), 200);
    stack.folder.write("keys.yaml", &map(&[]));
    eventually("closed", || status(&stack, &by_two) == 503);
}

#[test]
fn a_key_set_whose_name_stands_twice_is_refused() {
    let (upstream, port, issuer) = (Upstream::start(), ports::free(), Issuer::new("ES256"));
    let folder = Folder::new();
    for (file, content) in [("gateway.yaml", gateway(port)), ("route.yaml", route("/mcp"))] {
        folder.write(file, &content);
    }
    folder.write("backend.yaml", &backend(upstream.port));
    folder.write("policy.yaml", &policy(&issuer.jwks(), OPS_MAY_ADD));
    let (wasm, path) = (tools().wasm.to_str().expect("UTF-8"), folder.path().to_str().expect("UTF-8"));
    let output = toolward::run(&["render", "--static", "--listener-address", "127.0.0.1", "--wasm-file", wasm, path]);
    let mut config: Value = serde_yaml_ng::from_slice(&output.stdout).expect("YAML");
    config["admin"] = admin();
    let config = serde_yaml_ng::to_string(&config).expect("YAML");
    let (url, token) = (format!("http://127.0.0.1:{port}/mcp"), issuer.of_team("ops"));
    let client = http::client();
    let request = || http::post(&client, &url, call("add")).bearer_auth(&token);

    let good = Envoy::with_config(&config);
    eventually("it answers", || request().send().is_ok_and(|answer| answer.status() == 200));
    drop(good);
    assert_eq!(upstream.take_recorded().len(), 1);
    // The last would count: a set of somebody else's.
    let entry = "\"keySets\": {";
    let name = config.split(entry).nth(1).and_then(|rest| rest.split('"').nth(1));
    let name = name.unwrap_or_else(|| panic!("a key set in {config}"));
    let stranger: Value = serde_json::from_str(&Issuer::new("ES256").jwks()).expect("JSON");
    let (x, y) = (&stranger["keys"][0]["x"], &stranger["keys"][0]["y"]);
    let key = json!({ "algorithms": ["ES256"], "material": { "kty": "EC", "crv": "P-256", "x": x, "y": y } });
    let doubled = config.replacen(entry, &format!("{entry} \"{name}\": {},", json!({ "keys": [key] })), 1);
    assert_ne!(doubled, config);
    let bad = Envoy::unready(&doubled);
    let says = format!("$.keySets: the name \"{name}\" stands twice");
    eventually("it is refused", || bad.process.log().contains(&says));
    for _ in 0..10 {
        assert!(request().send().map_or(true, |answer| answer.status() == 500), "nothing passes");
    }
    assert_eq!(upstream.take_recorded(), []);
}

/// An issuer with a large key for the dearest algorithm.
struct Dear(KeyPair);

impl Dear {
    fn jwks(&self) -> Value {
        // RFC 8017 appendix A.1.1: at the end stand the 512 bytes of the modulus and the exponent, 65537.
        let der = self.0.public_key().as_ref();
        let modulus = &der[der.len() - 517..der.len() - 5];
        json!({ "keys": [{ "kty": "RSA", "kid": "dear", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" }] })
    }

    fn token(&self, number: usize) -> String {
        let header = part(&json!({ "alg": "PS512", "kid": "dear" }));
        let input = format!("{header}.{}", part(&claims(A, number)));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PSS_SHA512, &SystemRandom::new(), input.as_bytes(), &mut signature).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[test]
fn a_flood_of_dear_signatures_holds_up_no_other_callers() {
    let (upstream, dear, other) =
        (Upstream::start(), Dear(KeyPair::generate(KeySize::Rsa4096).expect("a key")), Issuer::new("ES256"));
    let inline = |jwks: String| format!("{{ inline: '{jwks}' }}");
    let policy = accepting(&[(A, inline(dear.jwks().to_string())), (B, inline(other.jwks()))]);
    let stack = Stack::with_arguments(upstream.port, Issuer::new("ES256"), &policy, &["--signature-budget", "20"]);
    let known = dear.token(0);
    assert_eq!(status(&stack, &known), 200);
    let new: Vec<String> =
        (0..20).map(|number| other.token(&["--issuer", B, "--subject", &number.to_string()])).collect();
    let _ = upstream.take_recorded();

    let (sent, busy, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    scope(|threads| {
        let end = Ends(&is_over);
        for _ in 0..3 {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let token = forged(A, ["PS256", "PS384", "PS512"][number % 3], "dear", 512, number);
                    let answer = stack.post(call("add")).bearer_auth(token).send().expect("an answer");
                    match answer.status().as_u16() {
                        401 => {}
                        503 => {
                            assert_eq!(answer.headers()["retry-after"], "1");
                            assert!(answer.text().expect("a body").contains("VerificationBusy"));
                            busy.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{other}"),
                    }
                }
            });
        }
        eventually("the issuer is busy", || busy.load(Ordering::Relaxed) > 50);
        for token in &new {
            assert_eq!(status(&stack, &known), 200, "whose token is known");
            assert_eq!(status(&stack, token), 200, "a new token of another issuer");
        }
        eventually("a thousand were sent", || sent.load(Ordering::Relaxed) >= 1000);
        drop(end);
    });
    assert_eq!(upstream.take_recorded().len(), 2 * new.len(), "nothing forged reached the server");
    let (sent, busy) = (sent.into_inner(), busy.into_inner());
    eprintln!("{busy} of {sent} forged tokens were not looked at");
    assert!(busy * 2 > sent, "{busy} of {sent}");
    assert_eq!(stack.envoy.stat("wasmcustom.toolward_requests.POST.refused.VerificationBusy"), busy as u64);
    eventually("a new token of the issuer counts again", || status(&stack, &dear.token(1)) == 200);
}
