//! Why a stream is turned away. The same reason makes the client's status, the log line and the metric's label.

use prometheus_client::encoding::EncodeLabelValue;
use tonic::{Code, Status};

use super::identity::ServiceAccount;
use super::node::NodeError;
use crate::model::GatewayName;

/// Why a stream is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// All places are taken.
    #[error("{0} streams are open, which is the limit")]
    TooManyStreams(usize),
    /// All of its own places are taken.
    #[error("{0} streams of this client are open, which is the limit for one")]
    TooManyOwnStreams(usize),
    /// All of its namespace's places are taken.
    #[error("{0} streams of the Gateways of this namespace are open, which is the limit for one")]
    TooManyStreamsOfNamespace(usize),
    /// All places of those that are no Gateway are taken.
    #[error(
        "the service account is of no Gateway that is there, and so many streams of such are open already ({0} for each): \
         a Gateway's Envoys run as the service account GATEWAY-toolward of its namespace; --xds-allow-service-account \
         grants it to others"
    )]
    TooManyWithoutGateway(usize),
    /// The first message does not say which Gateway's Envoy this is.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Credentials are needed.
    #[error(
        "credentials are missing: send `authorization: Bearer` with a service account token for the audience \
         toolward.dev/xds, or use a client certificate (see envoy/ads-tls.yaml)"
    )]
    NoCredentials,
    /// The client certificate is not a service account's.
    #[error("the client certificate must have exactly one URI name, spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME")]
    Certificate,
    /// The token is not good.
    #[error("the token is refused: {0}")]
    Token(String),
    /// It can't be said whether the token is good.
    #[error("the token can't be reviewed at present: {0}")]
    Unreviewed(String),
    /// Nobody is asked about it at present.
    #[error(
        "the token is not reviewed at present: too many that are not known were shown from this address, or in all"
    )]
    TooManyTokens,
    /// It is somebody else's Gateway.
    #[error(
        "the service account {account} may not be the Gateway {} that node.cluster names; \
         --xds-allow-service-account grants it", gateway.0
    )]
    #[expect(missing_docs, reason = "the names say it")]
    OtherGateway { account: ServiceAccount, gateway: GatewayName },
}

/// The kind of a refusal, as the metric shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RefusalReason {
    TooManyStreams,
    TooManyOwnStreams,
    TooManyStreamsOfNamespace,
    TooManyWithoutGateway,
    InvalidNode,
    NoCredentials,
    InvalidCredentials,
    ReviewFailed,
    TooManyTokens,
    OtherGateway,
}

impl Refusal {
    /// For the metric.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::TooManyStreams(_) => RefusalReason::TooManyStreams,
            Self::TooManyOwnStreams(_) => RefusalReason::TooManyOwnStreams,
            Self::TooManyStreamsOfNamespace(_) => RefusalReason::TooManyStreamsOfNamespace,
            Self::TooManyWithoutGateway(_) => RefusalReason::TooManyWithoutGateway,
            Self::Node(_) => RefusalReason::InvalidNode,
            Self::NoCredentials => RefusalReason::NoCredentials,
            Self::Certificate | Self::Token(_) => RefusalReason::InvalidCredentials,
            Self::Unreviewed(_) => RefusalReason::ReviewFailed,
            Self::TooManyTokens => RefusalReason::TooManyTokens,
            Self::OtherGateway { .. } => RefusalReason::OtherGateway,
        }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        let code = match refusal.reason() {
            RefusalReason::TooManyStreams
            | RefusalReason::TooManyOwnStreams
            | RefusalReason::TooManyStreamsOfNamespace
            | RefusalReason::TooManyWithoutGateway => Code::ResourceExhausted,
            RefusalReason::InvalidNode => Code::InvalidArgument,
            RefusalReason::NoCredentials | RefusalReason::InvalidCredentials => Code::Unauthenticated,
            RefusalReason::ReviewFailed | RefusalReason::TooManyTokens => Code::Unavailable,
            RefusalReason::OtherGateway => Code::PermissionDenied,
        };
        Self::new(code, refusal.to_string())
    }
}
