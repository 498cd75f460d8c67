//! Settings of what is made of resources: the same for `toolward serve` and `toolward render`.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use toolward_policy::config::{AccessLog, BindingKey, Limits};

use crate::networks::{BackendNetwork, BackendNetworks};
use crate::render::RenderOptions;
use crate::serve::tenants::ObjectQuotas;
use crate::translate::{Quotas, TranslateOptions, UnprotectedRoutes};

/// Arguments that say what is made of resources.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Address that Envoy's listeners bind to; their ports are those of the Gateway
    #[arg(long, value_name = "IP", default_value = "0.0.0.0", env = "TOOLWARD_LISTENER_ADDRESS")]
    listener_address: IpAddr,

    /// File, as Envoy sees it, with the authorities that may have signed the certificates of servers outside
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt",
        env = "TOOLWARD_SYSTEM_CA_FILE"
    )]
    system_ca_file: String,

    /// What becomes of routes that no policy protects; by default those to an MCPBackend are closed and others open
    #[arg(long, value_enum, env = "TOOLWARD_UNPROTECTED_ROUTES")]
    unprotected_routes: Option<UnprotectedRoutes>,

    /// Whether a hostname on a Gateway is for the routes of one namespace alone: the Gateway's own if it names it, else that of
    /// the oldest HTTPRoute with it. Without this, as Gateway API says, the longer path and the older route take the requests,
    /// whosever they are. For Gateways whose listeners take routes of several tenants
    #[arg(long, env = "TOOLWARD_HOSTNAMES_BELONG_TO_NAMESPACES")]
    hostnames_belong_to_namespaces: bool,

    /// Whether Envoy writes a line for each request to its standard output
    #[arg(long, value_enum, default_value_t = AccessLogArg::On, env = "TOOLWARD_ACCESS_LOG")]
    access_log: AccessLogArg,

    #[command(flatten)]
    backends: BackendArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    quotas: QuotaArgs,
}

/// Where backends may be; `toolward check` has to know as well.
#[derive(Args, Clone, Debug)]
pub struct BackendArgs {
    /// Networks beside the public ones in which hosts may be that an MCPBackend names, such as 10.1.0.0/16, or `public` for no
    /// others. Names are resolved by `serve` then, which tells Envoy the addresses that may be reached; `render` and `check`
    /// resolve none. Without it: `public` with --source kubernetes; of a folder all hosts, which Envoy resolves
    #[arg(long, value_name = "CIDR,…|public", value_delimiter = ',', env = "TOOLWARD_BACKEND_NETWORKS")]
    backend_networks: Vec<BackendNetwork>,
}

impl BackendArgs {
    /// What was said; where nothing was, anywhere.
    #[must_use]
    pub fn networks(&self) -> BackendNetworks {
        if self.backend_networks.is_empty() {
            BackendNetworks::Any
        } else {
            BackendNetworks::only(&self.backend_networks)
        }
    }
}

/// Whether there is an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessLogArg {
    /// JSON, with what was decided and why
    On,
    /// Nothing; requests cost less
    Off,
}

/// What the filter holds in memory at most.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits of the filter")]
struct LimitArgs {
    /// Largest request body; past it the answer is 413
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value_t = Limits::default().request_body_bytes, env = "TOOLWARD_MAX_REQUEST_BODY")]
    max_request_body: usize,

    /// Largest JSON answer to a list request; past it the caller gets a JSON-RPC error
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value_t = Limits::default().list_response_bytes, env = "TOOLWARD_MAX_LIST")]
    max_list: usize,

    /// Largest server-sent event; past it the stream ends
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value_t = Limits::default().sse_event_bytes, env = "TOOLWARD_MAX_EVENT")]
    max_event: usize,

    /// Largest bearer token; past it the answer is 401
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value_t = Limits::default().token_bytes, env = "TOOLWARD_MAX_TOKEN")]
    max_token: usize,

    /// Verified tokens that each worker remembers; past it the oldest is forgotten
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value_t = Limits::default().token_cache_entries, env = "TOOLWARD_TOKEN_CACHE")]
    token_cache: usize,

    #[command(flatten)]
    keys: KeyArgs,

    /// Time of each second that each worker spends at most on signatures that turn out to be wrong. Past it new tokens of the
    /// issuers that such tokens name are answered 503 VerificationBusy
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=1000), default_value_t = Limits::default().signature_millis, env = "TOOLWARD_SIGNATURE_BUDGET")]
    signature_budget: u32,

    /// Bytes of bodies that each worker holds at a time, three quarters of them of one issuer's callers; past it the answer is
    /// 503. Without it four times what a caller may hold
    #[arg(long, value_name = "BYTES", value_parser = positive, env = "TOOLWARD_MAX_HELD")]
    max_held: Option<usize>,

    /// The same of one caller; past it the answer is 429. Without it four times the largest body, answer or event
    #[arg(long, value_name = "BYTES", value_parser = positive, env = "TOOLWARD_MAX_HELD_PER_CALLER")]
    max_held_per_caller: Option<usize>,
}

/// What one tenant may ask of all.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Quotas of tenants")]
struct QuotaArgs {
    /// Entries of one HTTPRoute: its hostnames x matches x backends. Past it the route answers 503 (TooLarge)
    #[arg(long, value_name = "ENTRIES", value_parser = positive, default_value_t = Quotas::default().route, env = "TOOLWARD_MAX_ROUTE_SIZE")]
    max_route_size: usize,

    /// Entries of all HTTPRoutes of a namespace. Past it the youngest answer 503 (QuotaExceeded). Not for folders, whose
    /// namespaces are no tenants
    #[arg(long, value_name = "ENTRIES", value_parser = positive, default_value_t = Quotas::default().namespace_routes, env = "TOOLWARD_MAX_NAMESPACE_ROUTES")]
    max_namespace_routes: usize,

    /// Entries of all HTTPRoutes of a Gateway. Past it the youngest answer 503 (QuotaExceeded)
    #[arg(long, value_name = "ENTRIES", value_parser = positive, default_value_t = Quotas::default().gateway_routes, env = "TOOLWARD_MAX_GATEWAY_ROUTES")]
    max_gateway_routes: usize,

    /// Objects of a namespace, of all kinds that are read. Past it the youngest are not read, and what they protect is closed
    /// (QuotaExceeded). Not for folders
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value_t = ObjectQuotas::default().objects, env = "TOOLWARD_MAX_NAMESPACE_OBJECTS")]
    max_namespace_objects: usize,

    /// Bytes of these objects as JSON, without their statuses; past it as above. Of the ConfigMaps and Secrets that are referred
    /// to no more than this is kept in memory: what comes later is left out (TooLarge)
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value_t = ObjectQuotas::default().bytes, env = "TOOLWARD_MAX_NAMESPACE_BYTES")]
    max_namespace_bytes: usize,
}

/// Which keys are fit for use; `toolward check` has to know as well.
#[derive(Args, Clone, Copy, Debug)]
pub struct KeyArgs {
    /// Largest modulus of an RSA key; a key that is larger is left out of its key set
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(2048..=8192), default_value_t = Limits::default().rsa_bits, env = "TOOLWARD_MAX_RSA_BITS")]
    pub max_rsa_bits: u32,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number above zero is needed".to_owned()),
        Ok(number) => Ok(number),
    }
}

impl QuotaArgs {
    fn objects(self) -> ObjectQuotas {
        ObjectQuotas { objects: self.max_namespace_objects, bytes: self.max_namespace_bytes }
    }

    fn quotas(self) -> Quotas {
        Quotas {
            route: self.max_route_size,
            namespace_routes: self.max_namespace_routes,
            gateway_routes: self.max_gateway_routes,
        }
    }
}

/// What is allowed to be held has no room for what is allowed to be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{option} {held} leaves no room: use at least {least}, twice the largest of --max-request-body, --max-list and --max-event"
)]
pub struct NoRoom {
    option: &'static str,
    held: usize,
    least: usize,
}

impl Settings {
    /// What matters for the model.
    ///
    /// # Errors
    /// When limits contradict each other.
    pub fn translate_options(&self, binding_keys: Vec<BindingKey>) -> Result<TranslateOptions, NoRoom> {
        let LimitArgs {
            max_request_body,
            max_list,
            max_event,
            max_token,
            token_cache,
            keys: KeyArgs { max_rsa_bits },
            signature_budget,
            max_held,
            max_held_per_caller,
        } = self.limits;
        let largest = max_request_body.max(max_list).max(max_event);
        let held_bytes_per_caller = max_held_per_caller.unwrap_or_else(|| largest.saturating_mul(4));
        let limits = Limits {
            request_body_bytes: max_request_body,
            list_response_bytes: max_list,
            sse_event_bytes: max_event,
            token_bytes: max_token,
            token_cache_entries: token_cache,
            rsa_bits: max_rsa_bits,
            signature_millis: signature_budget,
            held_bytes: max_held.unwrap_or_else(|| held_bytes_per_caller.saturating_mul(4)),
            held_bytes_per_caller,
        };
        let least = largest.saturating_mul(2);
        for (option, held) in [("--max-held", limits.held_bytes), ("--max-held-per-caller", held_bytes_per_caller)] {
            if held < least {
                return Err(NoRoom { option, held, least });
            }
        }
        Ok(TranslateOptions {
            unprotected_routes: self.unprotected_routes.unwrap_or_default(),
            hostnames_belong_to_namespaces: self.hostnames_belong_to_namespaces,
            limits,
            access_log: match self.access_log {
                AccessLogArg::On => AccessLog::On,
                AccessLogArg::Off => AccessLog::Off,
            },
            binding_keys,
            backend_networks: self.backends.networks(),
            quotas: self.quotas.quotas(),
            ..TranslateOptions::default()
        })
    }

    /// What one namespace may have.
    #[must_use]
    pub fn object_quotas(&self) -> ObjectQuotas {
        self.quotas.objects()
    }

    /// The largest modulus of an RSA key.
    #[must_use]
    pub fn max_rsa_bits(&self) -> u32 {
        self.limits.keys.max_rsa_bits
    }

    /// What matters for Envoy's configuration.
    #[must_use]
    pub fn render_options(&self, wasm_file: String) -> RenderOptions {
        RenderOptions {
            wasm_file,
            listener_address: self.listener_address.to_string(),
            system_ca_file: self.system_ca_file.clone(),
        }
    }
}
