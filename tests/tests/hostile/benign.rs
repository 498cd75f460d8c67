//! The counter-test: what real clients send is not refused. `tests/hostile/benign` is what they sent, byte for byte but
//! for host, token and session.

use std::collections::BTreeMap;

use toolward_tests::hostile::{Ending, exchange};
use toolward_tests::stack::{Stack, policy};
use toolward_tests::tools::root;
use toolward_tests::toolward::Issuer;
use toolward_tests::upstream::Upstream;

/// Everything that the clients did.
const RULES: &str =
    "[{ name: all, tools: [\"*\"], prompts: [\"*\"], resources: [\"*\"] }]\n  protocol: { sessionBinding: None }";

#[test]
fn what_real_clients_send_gets_through() {
    let upstream = Upstream::start();
    let issuer = Issuer::new("ES256");
    let policy = policy(&issuer.jwks(), RULES);
    let stack = Stack::with_policy(upstream.port, issuer, &policy);
    let token = stack.issuer.of_team("ops");
    let host = format!("127.0.0.1:{}", stack.port);
    let mut counts = BTreeMap::new();
    for file in std::fs::read_dir(root().join("tests/hostile/benign")).expect("recordings") {
        let path = file.expect("a file").path();
        let recorded = std::fs::read_to_string(&path).expect("text");
        let requests = requests(&recorded);
        for request in &requests {
            let filled = request.replace("$HOST", &host).replace("$TOKEN", &token);
            let (head, body) = filled.split_once("\n\n").expect("head and body");
            let bytes = format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"));
            let ending = if head.starts_with("GET") { Ending::Unsure } else { Ending::Sure };
            let answer = exchange(&host, bytes.as_bytes(), ending);
            let forwarded = upstream.take_recorded();
            assert_eq!(forwarded.len(), 1, "{}: {answer:?} to {filled}", path.display());
            assert_eq!(forwarded[0].body, body.as_bytes(), "{}: byte for byte", path.display());
        }
        counts.insert(path.file_stem().expect("a name").to_owned(), requests.len());
    }
    println!("what real clients sent got through: {counts:?}");
    assert!(counts.len() >= 9 && counts.values().sum::<usize>() >= 100, "{counts:?}");
}

/// Head and body of each, with an empty line between them.
fn requests(recorded: &str) -> Vec<String> {
    let mut rest = recorded.trim_start();
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\n\n").expect("a head");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let (body, next) = after.split_at(length.unwrap_or(0));
        requests.push(format!("{head}\n\n{body}"));
        rest = next.trim_start();
    }
    requests
}
