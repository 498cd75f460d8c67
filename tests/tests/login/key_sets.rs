//! Key sets that issuers publish: new keys count within seconds, an issuer that is down or lies changes nothing, and no policy
//! has the control plane ask where it must not.

use std::time::{Duration, Instant};

use serde_json::json;
use toolward_tests::http::call;
use toolward_tests::process::eventually;
use toolward_tests::publisher::{Published, Publisher};
use toolward_tests::stack::{Stack, accepting};
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::Upstream;

/// Lets the control plane fetch from this machine.
const FROM_LOOPBACK: [&str; 2] = ["--key-set-networks", "127.0.0.0/8"];

fn stack(upstream: u16, issuer: &str, jwks: &str, arguments: &[&str]) -> Stack {
    Stack::with_arguments(upstream, Issuer::new("ES256"), &accepting(&[(issuer, jwks.to_owned())]), arguments)
}

fn status(stack: &Stack, token: &str) -> u16 {
    stack.ask(token, call("add")).status
}

#[test]
fn a_new_key_counts_within_seconds() {
    let (idp, upstream) = (Publisher::start(), Upstream::start());
    let (old, new) = (Issuer::new("ES256"), Issuer::new("RS256"));
    let issuer = idp.url("/tenant");
    let metadata = json!({ "issuer": issuer, "jwks_uri": idp.url("/jwks") }).to_string();
    idp.publish("/tenant/.well-known/openid-configuration", Published::Json(metadata));
    idp.publish_keys("/jwks", &[&old]);
    let stack = stack(upstream.port, &issuer, "{ discovery: {} }", &FROM_LOOPBACK);
    let token = |key: &Issuer| key.token(&["--issuer", &issuer]);
    let (of_old, of_new) = (token(&old), token(&new));
    assert_eq!((status(&stack, &of_old), status(&stack, &of_new)), (200, 401));
    std::thread::sleep(Duration::from_secs(3));

    idp.publish_keys("/jwks", &[&old, &new]);
    let published = Instant::now();
    eventually("the new key counts", || status(&stack, &of_new) == 200);
    let took = published.elapsed();
    eprintln!("from published to accepted: {took:?}");
    assert_eq!(status(&stack, &of_old), 200);

    // A key that the issuer takes back counts until the grace is over.
    idp.publish_keys("/jwks", &[&new]);
    let forged = Issuer::new("ES256");
    eventually("the key set is fetched", || {
        let _ = status(&stack, &token(&forged));
        idp.take_asked().iter().any(|(path, status)| path == "/jwks" && *status == 200)
    });
    assert_eq!((status(&stack, &of_old), status(&stack, &of_new)), (200, 200));

    // Keys that nobody has published bring a few questions, and no more of them than time passes.
    let (_, flood) = (idp.take_asked(), Instant::now());
    let forged: Vec<String> = (0..40).map(|_| token(&Issuer::new("ES256"))).collect();
    while flood.elapsed() < Duration::from_secs(5) {
        assert!(forged.iter().all(|token| status(&stack, token) == 401));
    }
    let asked = idp.take_asked().iter().filter(|(path, _)| path == "/jwks").count();
    let most = flood.elapsed().as_secs() / 2 + 2;
    eprintln!("fetched {asked} times in a flood of {:?}", flood.elapsed());
    assert!((1..=most).contains(&(asked as u64)), "{asked} of at most {most}");
    assert_eq!(status(&stack, &of_new), 200);
}

#[test]
fn an_issuer_that_is_down_changes_nothing() {
    let (idp, upstream) = (Publisher::start(), Upstream::start());
    let (key, port) = (Issuer::new("ES256"), idp.port);
    idp.publish_keys("/jwks", &[&key]);
    let uri = idp.url("/jwks");
    let mut stack = stack(upstream.port, "https://login.example.com", &format!("{{ uri: '{uri}' }}"), &FROM_LOOPBACK);
    let token = key.token(&[]);
    assert_eq!(status(&stack, &token), 200);
    drop(idp);

    // Tokens of another key ask for a set that can't be had: now and then, not each time.
    let other = Issuer::new("ES256");
    let of_other = other.token(&[]);
    eventually("it is noticed", || {
        let _ = status(&stack, &of_other);
        stack.toolward.get("/problems").text.contains("KeySetStale")
    });
    let failed = || stack.toolward.metric("toolward_key_set_fetches_total");
    let (before, start) = (failed(), Instant::now());
    while start.elapsed() < Duration::from_secs(5) {
        assert_eq!((status(&stack, &of_other), status(&stack, &token)), (401, 200));
    }
    let attempts = failed() - before;
    eprintln!("{attempts} attempts in {:?} at an issuer that is down", start.elapsed());
    let most = start.elapsed().as_secs_f64() / 2.0 + 3.0;
    assert!((1.0..=most).contains(&attempts), "{attempts} of at most {most}");
    assert!(stack.toolward.metric("toolward_key_set_age_seconds") > 5.0);

    // It comes back with another key.
    let idp = Publisher::start_on(port);
    idp.publish_keys("/jwks", &[&other]);
    let back = Instant::now();
    eventually("the other key counts", || status(&stack, &of_other) == 200);
    eprintln!("from back to accepted: {:?}", back.elapsed());
    eventually("it is well again", || !stack.toolward.get("/problems").text.contains("KeySetStale"));

    // With neither the issuer nor the control plane calls go on.
    drop(idp);
    stack.toolward.process.kill();
    assert_eq!((status(&stack, &of_other), status(&stack, &token)), (200, 200));
}

#[test]
fn what_is_not_fetched_closes() {
    let (idp, other, upstream) = (Publisher::start(), Publisher::start(), Upstream::start());
    let key = Issuer::new("ES256");
    other.publish_keys("/jwks", &[&key]);
    idp.publish_keys("/jwks", &[&key]);
    idp.publish("/here", Published::Redirect("/jwks".to_owned()));
    idp.publish("/elsewhere", Published::Redirect(other.url("/jwks")));
    idp.publish("/loop", Published::Redirect("/loop".to_owned()));
    idp.publish("/large", Published::Bytes(300_000));
    idp.publish("/endless", Published::Endless);
    idp.publish("/text", Published::Json("not keys".to_owned()));
    idp.publish("/empty", Published::Json(r#"{"keys":[]}"#.to_owned()));
    let metadata = json!({ "issuer": "https://evil.example.com", "jwks_uri": idp.url("/jwks") }).to_string();
    idp.publish("/.well-known/oauth-authorization-server", Published::Json(metadata));

    let issuer = idp.url("");
    let stack = stack(upstream.port, &issuer, &format!("{{ uri: '{}' }}", idp.url("/here")), &FROM_LOOPBACK);
    let token = key.token(&["--issuer", &issuer]);
    assert_eq!(status(&stack, &token), 200, "a redirect within the host is followed");
    let rows = [
        (format!("{{ uri: '{}' }}", idp.url("/elsewhere")), "another host"),
        (format!("{{ uri: '{}' }}", idp.url("/loop")), "too many redirects"),
        (format!("{{ uri: '{}' }}", idp.url("/large")), "longer than"),
        (format!("{{ uri: '{}' }}", idp.url("/text")), "not a JWK Set"),
        (format!("{{ uri: '{}' }}", idp.url("/empty")), "no usable key"),
        (format!("{{ uri: '{}' }}", idp.url("/nothing")), "404"),
        (format!("{{ uri: '{}' }}", idp.url("/endless")), "timed out"),
        ("{ discovery: {} }".to_owned(), "another issuer"),
        ("{ uri: 'http://login.example.com/jwks' }".to_owned(), "over https"),
        ("{ uri: 'https://10.0.0.1/jwks' }".to_owned(), "no public address"),
        ("{ uri: 'https://169.254.169.254/latest/meta-data' }".to_owned(), "no public address"),
    ];
    for (jwks, said) in rows {
        stack.folder.write("policy.yaml", &accepting(&[(&issuer, jwks.clone())]));
        // An empty set was fetched, and says what the issuer says. Two rows say the same, so that the first may be seen for both.
        let reason = if said == "no usable key" { "KeySetEmpty" } else { "KeySetNotFetched" };
        eventually(&format!("{said} is said of {jwks}, {reason}"), || {
            let problems = stack.toolward.get("/problems").text;
            problems.contains(said) && problems.contains(reason)
        });
        eventually("closed", || status(&stack, &token) == 503);
        // Until the first was told to Envoy, the keys of before counted.
        let reached = upstream.take_recorded();
        assert!(reached.is_empty() || said == "another host", "what is closed reaches no server: {jwks}");
    }
    assert_eq!(other.take_asked(), [], "no other host is asked");
}

#[test]
fn private_addresses_are_not_asked() {
    let (idp, upstream) = (Publisher::start(), Upstream::start());
    let key = Issuer::new("ES256");
    idp.publish_keys("/jwks", &[&key]);
    let (port, issuer) = (idp.port, idp.url(""));
    // By address, by name, and by an address in another form.
    let uris = [
        format!("http://127.0.0.1:{port}/jwks"),
        format!("https://127.0.0.1:{port}/jwks"),
        format!("https://2130706433:{port}/jwks"),
        format!("https://[::ffff:127.0.0.1]:{port}/jwks"),
        format!("http://localhost:{port}/jwks"),
    ];
    let stack = stack(upstream.port, &issuer, "{ discovery: {} }", &[]);
    let token = key.token(&["--issuer", &issuer]);
    for uri in uris {
        stack.folder.write("policy.yaml", &accepting(&[(&issuer, format!("{{ uri: '{uri}' }}"))]));
        let expected = "no public address";
        eventually(&format!("{expected} is said of {uri}"), || {
            let problems = stack.toolward.get("/problems").text;
            problems.contains(expected) && problems.contains(&uri)
        });
        assert_eq!(status(&stack, &token), 503, "{uri}");
    }
    assert_eq!(idp.take_asked(), []);
}
