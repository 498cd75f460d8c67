//! Exchanges that tell who issues tokens for an endpoint (RFC 9728, RFC 8414), and which client to be (RFC 7591).

use super::{Edits, Exchange, Headers, ResponseStep, State};
use crate::config::ProtectedResource;
use crate::denial::{self, Answer, RequestFault};
use crate::protected_resource::{self, Endpoint};
use crate::record::Outcome;
use crate::remote;

impl Exchange {
    /// Says who issues tokens for an endpoint.
    pub(super) fn metadata(
        &mut self,
        resource: &ProtectedResource,
        path: Option<&str>,
        headers: &Headers<'_>,
    ) -> Answer {
        let public_url = resource.public_url.clone().or_else(|| self.route_origin.clone());
        self.told(headers, || {
            let endpoint = Endpoint::described(public_url.as_deref(), path, headers)?;
            Some(protected_resource::metadata(resource, &endpoint))
        })
    }

    /// Says something that everybody may know; none: the request's host or path can't be named.
    pub(super) fn told(&mut self, headers: &Headers<'_>, document: impl FnOnce() -> Option<String>) -> Answer {
        self.record.method_class = headers.http_method_class();
        self.settle(Outcome::Allowed, "Metadata");
        match headers.http_method() {
            b"OPTIONS" => denial::preflight_of_all_pages("GET, OPTIONS"),
            b"GET" => match document() {
                Some(document) => denial::metadata(document),
                None => self.refuse(RequestFault::Unnameable, None),
            },
            _ => self.refuse(RequestFault::MetadataMethod, None),
        }
    }

    /// Tells which client to be; what the request asks for makes no difference.
    pub(super) fn registered(&mut self, document: &str, headers: &Headers<'_>) -> Answer {
        self.record.method_class = headers.http_method_class();
        self.settle(Outcome::Allowed, "Registration");
        match headers.http_method() {
            b"OPTIONS" => denial::preflight_of_all_pages("POST, OPTIONS"),
            b"POST" => denial::registered(document.to_owned()),
            _ => self.refuse(RequestFault::RegistrationMethod, None),
        }
    }

    /// Asks a server for its metadata; gives the endpoint that they are to be told of.
    pub(super) fn remote_metadata(
        &mut self,
        public_url: Option<&str>,
        path: Option<&str>,
        headers: &Headers<'_>,
    ) -> Result<Endpoint, Answer> {
        self.record.method_class = headers.http_method_class();
        self.settle(Outcome::Allowed, "Metadata");
        match headers.http_method() {
            b"OPTIONS" => Err(denial::preflight_of_all_pages("GET, OPTIONS")),
            b"GET" => Endpoint::described(public_url.or(self.route_origin.as_deref()), path, headers)
                .ok_or_else(|| self.refuse(RequestFault::Unnameable, None)),
            _ => Err(self.refuse(RequestFault::MetadataMethod, None)),
        }
    }

    /// What is made of a server's answer to the question for its metadata.
    pub(super) fn told_metadata(
        &mut self,
        endpoint: Endpoint,
        server: Option<String>,
        headers: &Headers<'_>,
        end_of_stream: bool,
    ) -> ResponseStep {
        match (headers.first(":status"), server) {
            (Some(b"200"), _) if !end_of_stream && !headers.is_encoded() => {
                self.state = State::Metadata(endpoint, None);
                ResponseStep::Buffer(Edits::of_changed_body().with(Edits::for_all_pages()))
            }
            (Some(b"404"), Some(server)) => {
                ResponseStep::Answer(denial::metadata(remote::stand_in(&endpoint.url(), &server)))
            }
            _ => ResponseStep::Pass(Edits::for_all_pages()),
        }
    }

    /// A challenge of a server that asks for tokens itself.
    pub(super) fn told_challenge(&self, headers: &Headers<'_>) -> Edits {
        let (Some(metadata_url), true) = (&self.remote, matches!(headers.first(":status"), Some(b"401" | b"403")))
        else {
            return Edits::default();
        };
        let values: Vec<&str> =
            headers.all("www-authenticate").filter_map(|value| std::str::from_utf8(value).ok()).collect();
        if values.is_empty() {
            return Edits::default();
        }
        let told = remote::challenge(&values.join(", "), metadata_url);
        Edits { remove: Vec::new(), set: vec![("www-authenticate", told)] }
    }
}
