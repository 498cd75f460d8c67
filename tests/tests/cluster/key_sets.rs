//! Key sets that issuers publish, of policies that stand in an API server.

use serde_json::json;
use toolward_tests::process::eventually;
use toolward_tests::publisher::{Published, Publisher};
use toolward_tests::toolward::{ISSUER, Issuer};
use toolward_tests::upstream::OK;

use crate::world::{World, policy};

/// The policy of all tests with another issuer and key set.
fn published(issuer: &str, jwks: &str) -> String {
    policy("[add]").replace(ISSUER, issuer).replace("{ configMapRef: { name: login-keys } }", jwks)
}

#[test]
fn they_are_fetched_and_kept_and_that_is_said() {
    let (world, idp) = (World::start(), Publisher::start());
    let cluster = &world.cluster;
    let key = Issuer::new("RS256");
    idp.publish("/keys", Published::Json(key.jwks()));
    let metadata = |issuer: &str| json!({ "issuer": issuer, "jwks_uri": idp.url("/keys") }).to_string();
    let issuer = idp.url("/tenant");
    idp.publish("/tenant/.well-known/openid-configuration", Published::Json(metadata(&issuer)));
    let of_ops = |issuer: &str| key.token(&["--claim", "team=ops", "--issuer", issuer]);
    let says =
        |status: &str, reason: &str| world.has_condition("mcpaccesspolicy", "math", "ResolvedRefs", status, reason);

    cluster.apply(&published(ISSUER, &format!("{{ uri: '{}' }}", idp.url("/keys"))));
    eventually("a key set by its URL", || world.ask(&of_ops(ISSUER), "add").text == OK);
    cluster.apply(&published(&issuer, "{ discovery: {} }"));
    eventually("one by the issuer's metadata", || world.ask(&of_ops(&issuer), "add").text == OK);
    assert_eq!(world.ask(&of_ops(ISSUER), "add").status, 401, "the other issuer is none of the policy's");
    eventually("it is said", || says("True", "ResolvedRefs"));

    // Metadata of another issuer close what they are to protect.
    let liar = idp.url("/liar");
    idp.publish("/liar/.well-known/openid-configuration", Published::Json(metadata(&issuer)));
    cluster.apply(&published(&liar, "{ discovery: {} }"));
    eventually("closed", || world.ask(&of_ops(&liar), "add").status == 503);
    eventually("it is said", || says("False", "KeySetNotFetched"));

    // An issuer that is down changes nothing but what is said.
    cluster.apply(&published(&issuer, "{ discovery: {} }"));
    eventually("open again", || world.ask(&of_ops(&issuer), "add").text == OK);
    let of_other = Issuer::new("RS256").token(&["--claim", "team=ops", "--issuer", &issuer]);
    drop(idp);
    eventually("it is said since when", || {
        let status = world.ask(&of_other, "add").status;
        assert_eq!(status, 401, "a key that nobody has published");
        cluster.get("mcpaccesspolicy", "default", "math")["status"].to_string().contains("could not be fetched since")
    });
    assert_eq!(world.ask(&of_ops(&issuer), "add").text, OK);
}
