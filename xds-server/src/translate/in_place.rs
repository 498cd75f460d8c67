//! The gateway in place of an issuer where clients can't register: they find its metadata under the gateway's name, and are
//! told which client they are to be. Everything else they ask of the issuer.
//!
//! Nothing of a client's is kept or passed on: the issuer alone decides where it sends callers back to, as for every public
//! client. Since the clients' users see one client, the issuer can't tell them apart.

use serde_json::{Map, Value, json};

use crate::resources::ObjectRef;
use crate::resources::mcp::{AuthenticationSpec, ClientSpec};

use super::oauth;
use super::problems::Fault;
use super::view::View;

/// Where clients are told who they are.
pub(super) const REGISTRATION: &str = "/.well-known/toolward-registration";

/// What clients find at the gateway that take it for an issuer (MCP authorization, revision 2025-03-26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerAtGateway {
    /// Its metadata (RFC 8414), as JSON.
    pub(super) metadata: String,
    /// Which client to be (RFC 7591 section 3.2.1), as JSON; none: the issuer registers clients itself.
    pub(super) registration: Option<String>,
}

/// Which client a policy has clients be, and of which issuer, for a gateway that they know by which URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim<'r> {
    issuer: &'r str,
    client: &'r ClientSpec,
    public_url: Option<&'r str>,
}

impl<'r> Claim<'r> {
    /// What a policy says, whether its issuer's metadata are known already or not.
    pub(super) fn of(policy: &ObjectRef, view: &View<'r>) -> Option<Self> {
        let section = view.policy(policy)?.spec.authentication.as_ref()?;
        let (issuer, client) =
            section.issuers.iter().find_map(|issuer| Some((issuer.issuer.as_str(), issuer.client.as_ref()?)))?;
        let public_url = section.resource.as_ref().and_then(|resource| resource.public_url.as_deref());
        Some(Self { issuer, client, public_url })
    }
}

/// A policy on a way that says which client its clients are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claimant {
    /// For how much it is: 0 for a Gateway, and more for what is more specific.
    pub(super) level: usize,
    pub(super) policy: ObjectRef,
}

impl Claimant {
    /// Whether the policy is for all routes of a Gateway or a listener.
    pub(super) fn is_for_all(&self) -> bool {
        self.level <= 1
    }
}

/// The policy that says which client the clients of a way are: the most specific one that asks for something, if that says so.
pub(super) fn of_way<'p>(
    mut inside_first: impl Iterator<Item = (usize, &'p ObjectRef)>,
    view: &View<'_>,
) -> Option<Claimant> {
    let asks = |policy: &ObjectRef| {
        let section = view.policy(policy).and_then(|policy| policy.spec.authentication.as_ref());
        // What opens replaces nothing.
        section.is_some_and(|section| section.anonymous.is_none())
    };
    let (level, policy) = inside_first.find(|(_, policy)| asks(policy))?;
    Claim::of(policy, view).is_some().then(|| Claimant { level, policy: policy.clone() })
}

/// Whose client the clients of a host are to be, of several policies that say so: that of the least specific one, since nobody
/// takes a host over from the platform; of several such ones the oldest one's, or else that of the first by name (GEP-713,
/// "Conflict Resolution").
pub(super) fn first<'a>(claimants: impl Iterator<Item = &'a Claimant>, view: &View<'_>) -> Option<&'a ObjectRef> {
    let first = claimants.min_by_key(|Claimant { level, policy }| {
        let created = view.policy(policy).and_then(|policy| policy.metadata.creation_timestamp.clone());
        // One without a timestamp is younger than all that have one.
        (*level, created.is_none(), created, policy)
    });
    first.map(|claimant| &claimant.policy)
}

/// What is wrong with a policy whose client nobody is told of.
pub(super) fn conflict(host: &str, first: &ObjectRef) -> Fault {
    let message = format!(
        "only one policy for each host may set `client`: for the host {host} that is {first}, which is less specific, \
         older, or the first by name; clients are not told of this one's issuer and client, all else of the policy is in force"
    );
    Fault::new("Conflicted", message)
}

/// What is wrong with a policy whose client nobody is told of, since it would be that of another namespace's clients as well.
pub(super) fn not_alone(host: &str) -> Fault {
    let message = format!(
        "clients take the gateway for one issuer for each host, and routes of several namespaces have endpoints on the host \
         {host}: only a policy of the Gateway or its listener may set `client` there; clients are not told of this one's \
         issuer and client, all else of the policy is in force"
    );
    Fault::new("Conflicted", message)
}

/// What is wrong with the client of a policy, by the part of the field that it concerns.
pub(super) fn faults(spec: &AuthenticationSpec) -> Vec<(&'static str, Fault)> {
    let invalid = |message: &str| Fault::new("Invalid", message);
    let Some(issuer) = spec.issuers.iter().find(|issuer| issuer.client.is_some()) else { return Vec::new() };
    let public_url = spec.resource.as_ref().and_then(|resource| resource.public_url.as_ref());
    let uris = issuer.client.iter().flat_map(|client| &client.redirect_uris);
    let rows = [
        (
            "",
            spec.issuers.len() > 1,
            "clients can take the gateway for one issuer alone, so a policy with `client` has no other",
        ),
        ("", issuer.jwks.discovery.is_none(), "`client` needs the issuer's metadata: jwks: { discovery: {} }"),
        ("", public_url.is_none(), "`client` needs resource.publicURL, by which clients know the gateway"),
        (
            "",
            issuer.audiences.is_empty(),
            "clients that take the gateway for the issuer name no resource; name the audiences that its tokens have",
        ),
        (".redirectURIs", uris.clone().count() == 0, "at least one redirect URI is needed"),
        (
            ".redirectURIs",
            !uris.clone().all(|uri| oauth::is_url(uri)),
            "a redirect URI is of the form https://host/path, or http://127.0.0.1/path",
        ),
    ];
    rows.into_iter().filter(|(_, wrong, _)| *wrong).map(|(part, _, message)| (part, invalid(message))).collect()
}

/// An issuer's metadata under the gateway's name.
pub(super) fn stand_in(metadata: &str, public_url: &str, client: &ClientSpec) -> Result<IssuerAtGateway, Fault> {
    let unusable = |message: &str| Fault::new("ClientUnusable", message);
    let mut metadata: Map<String, Value> =
        serde_json::from_str(metadata).map_err(|_| unusable("the issuer's metadata are no JSON object"))?;
    // RFC 9207 section 2.4: clients that compare would take each answer of the issuer for a mix-up.
    if metadata.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)) {
        return Err(unusable("the issuer says its name in its answers (RFC 9207), so nothing can stand in its place"));
    }
    // What is signed would count before what stands here; documents of clients' own would pass the client by.
    for member in ["signed_metadata", "client_id_metadata_document_supported"] {
        metadata.remove(member);
    }
    metadata.extend([
        ("issuer".to_owned(), json!(public_url)),
        ("registration_endpoint".to_owned(), json!(format!("{public_url}{REGISTRATION}"))),
        ("token_endpoint_auth_methods_supported".to_owned(), json!(["none"])),
    ]);
    let registration = json!({
        "client_id": client.id,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    Ok(IssuerAtGateway { metadata: Value::Object(metadata).to_string(), registration: Some(registration.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{Name, Resources, mcp};
    use crate::translate::TranslateOptions;

    fn client() -> ClientSpec {
        ClientSpec { id: "known".to_owned(), redirect_uris: vec!["http://127.0.0.1/callback".to_owned()] }
    }

    fn spec(issuers: Value, resource: Value) -> AuthenticationSpec {
        serde_json::from_value(json!({ "issuers": issuers, "resource": resource })).unwrap()
    }

    #[test]
    fn what_the_client_of_a_policy_needs() {
        let client = json!({ "id": "known", "redirectURIs": ["http://127.0.0.1/callback"] });
        let (discovery, public) = (json!({ "discovery": {} }), json!({ "publicURL": "https://mcp.example.com" }));
        let good = json!({ "issuer": "https://a", "audiences": ["api"], "jwks": discovery, "client": client });
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            json!([changed])
        };
        let other = json!({ "issuer": "https://b", "audiences": ["api"], "jwks": discovery });
        let no_uris = json!({ "id": "known", "redirectURIs": [] });
        let bad_uri = json!({ "id": "known", "redirectURIs": ["javascript:alert(1)"] });
        for (row, spec, parts) in [
            ("all of it", spec(json!([good]), public.clone()), vec![]),
            ("no client", spec(json!([other]), json!({})), vec![]),
            ("another issuer", spec(json!([good, other]), public.clone()), vec![""]),
            ("no metadata", spec(with("jwks", json!({ "uri": "https://a/jwks" })), public.clone()), vec![""]),
            ("no public URL", spec(json!([good]), json!({})), vec![""]),
            ("no audience", spec(with("audiences", json!([])), public.clone()), vec![""]),
            ("no redirect URI", spec(with("client", no_uris), public.clone()), vec![".redirectURIs"]),
            ("a script", spec(with("client", bad_uri), public), vec![".redirectURIs"]),
        ] {
            let found: Vec<&str> = faults(&spec).into_iter().map(|(part, _)| part).collect();
            assert_eq!(found, parts, "{row}");
        }
    }

    #[test]
    fn the_most_specific_policy_that_asks_says_which_client() {
        let known = json!({ "issuers": [{ "issuer": "https://a", "jwks": { "discovery": {} }, "client": client() }] });
        let other = json!({ "issuers": [{ "issuer": "https://a", "jwks": { "discovery": {} } }] });
        let (open, through) = (json!({ "anonymous": {} }), json!({ "passthrough": {} }));
        let rows = [
            ("it alone", vec![known.clone()], Some(0)),
            ("what asks for another one", vec![other, known.clone()], None),
            ("what leaves it to the server", vec![through, known.clone()], None),
            ("what opens", vec![open.clone(), known], Some(1)),
            ("what opens alone", vec![open], None),
        ];
        for (row, inside_first, expected) in rows {
            let (mut resources, options) = (Resources::default(), TranslateOptions::default());
            let policy = |level: usize| ObjectRef {
                group: mcp::GROUP.to_owned(),
                kind: "MCPAccessPolicy".to_owned(),
                name: Name::new("apps", level.to_string()),
            };
            let policies: Vec<ObjectRef> = (0..inside_first.len()).map(policy).collect();
            for (object, section) in policies.iter().zip(inside_first) {
                let spec = json!({ "targetRefs": [], "authentication": section });
                let written = json!({ "apiVersion": "toolward.dev/v1alpha1", "kind": "MCPAccessPolicy", "metadata": {}, "spec": spec });
                resources.policies.insert(object.clone(), serde_json::from_value(written).unwrap());
            }
            let claimant = of_way(policies.iter().enumerate(), &View::new(&resources, &options));
            assert_eq!(claimant.map(|claimant| claimant.level), expected, "{row}");
        }
    }

    #[test]
    fn metadata_under_the_name_of_the_gateway() {
        let metadata = json!({
            "issuer": "https://a",
            "token_endpoint": "https://a/token",
            "registration_endpoint": "https://a/register",
            "signed_metadata": "x",
            "client_id_metadata_document_supported": true,
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        });
        let at_gateway = stand_in(&metadata.to_string(), "https://mcp.example.com", &client()).unwrap();
        let expected = json!({
            "issuer": "https://mcp.example.com",
            "token_endpoint": "https://a/token",
            "registration_endpoint": "https://mcp.example.com/.well-known/toolward-registration",
            "token_endpoint_auth_methods_supported": ["none"],
        });
        assert_eq!(serde_json::from_str::<Value>(&at_gateway.metadata).unwrap(), expected);

        let says_its_name = json!({ "authorization_response_iss_parameter_supported": true }).to_string();
        for unusable in [says_its_name.as_str(), "[]", ""] {
            assert!(stand_in(unusable, "https://mcp.example.com", &client()).is_err(), "{unusable}");
        }
    }
}
