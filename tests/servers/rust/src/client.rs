//! The client: what every client of the tests does.

use std::collections::HashMap;
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, ProtocolVersion, ResourceUpdatedNotificationParam, ServerNotification,
    SubscriptionFilter,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, Peer, RoleClient, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::Failure;

pub async fn run(url: &str, token: &str, version: &str) -> Result<Value, Failure> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    if !token.is_empty() {
        config.custom_headers = HashMap::from([("authorization".parse()?, format!("Bearer {token}").parse()?)]);
    }
    let version: ProtocolVersion = serde_json::from_value(json!(version))?;
    let lifecycle = if version.as_str() < "2026" {
        ClientLifecycleMode::Initialize
    } else {
        ClientLifecycleMode::Discover { preferred_versions: vec![version.clone()] }
    };
    let (sender, updates) = mpsc::unbounded_channel();
    let transport = StreamableHttpClientTransport::from_config(config);
    let running = Client(sender).serve_with_lifecycle(transport, lifecycle).await?;
    let report = actions(running.peer(), &version, updates).await;
    Ok(Value::Object(report))
}

struct Client(mpsc::UnboundedSender<String>);

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }

    async fn on_resource_updated(&self, update: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(update.uri);
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("parameters of that form")
}

/// A part of a result, or the code of an error.
fn outcome<T: Serialize>(result: Result<T, ServiceError>, part: &str) -> Value {
    match result {
        Ok(result) => serde_json::to_value(result).unwrap_or_default().pointer(part).cloned().unwrap_or_default(),
        Err(ServiceError::McpError(error)) => json!({ "code": error.code.0 }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn names<T: Serialize>(all: Result<Vec<T>, ServiceError>, member: &str) -> Value {
    match all {
        Ok(all) => all.iter().map(|one| outcome(Ok(one), &format!("/{member}"))).collect(),
        Err(error) => outcome::<()>(Err(error), ""),
    }
}

async fn actions(
    peer: &Peer<RoleClient>,
    version: &ProtocolVersion,
    mut updates: mpsc::UnboundedReceiver<String>,
) -> Map<String, Value> {
    let mut report = Map::new();
    let mut tell = |key: &str, value: Value| report.insert(key.to_owned(), value);
    tell("tools", names(peer.list_all_tools().await, "name"));
    tell("prompts", names(peer.list_all_prompts().await, "name"));
    tell("resources", names(peer.list_all_resources().await, "uri"));
    tell("templates", names(peer.list_all_resource_templates().await, "uriTemplate"));

    let call = async |name: &str, arguments: Value| {
        let request: CallToolRequestParams = typed(json!({ "name": name, "arguments": arguments }));
        outcome(peer.call_tool(request).await, "/content/0/text")
    };
    for name in ["add", "multiply"] {
        tell(name, call(name, json!({ "a": 6, "b": 7 })).await);
    }
    for (name, arguments) in [("greeting", json!({ "name": "Bob" })), ("secret", json!({}))] {
        let request = typed(json!({ "name": name, "arguments": arguments }));
        tell(name, outcome(peer.get_prompt(request).await, "/messages/0/content/text"));
    }
    for uri in ["note://today", "note://secret"] {
        let request = typed(json!({ "uri": uri }));
        tell(uri, outcome(peer.read_resource(request).await, "/contents/0/text"));
    }
    for prompt in ["greeting", "secret"] {
        let request = typed(json!({
            "ref": { "type": "ref/prompt", "name": prompt },
            "argument": { "name": "name", "value": "a" },
        }));
        tell(&format!("complete {prompt}"), outcome(peer.complete(request).await, "/completion/values"));
    }

    let touch = async || drop(call("touch", json!({ "uri": "note://today" })).await);
    let update = if version.as_str() < "2026" {
        match peer.subscribe(typed(json!({ "uri": "note://today" }))).await {
            Err(error) => outcome::<()>(Err(error), ""),
            Ok(()) => updated(touch, async || updates.recv().await).await,
        }
    } else {
        let filter: SubscriptionFilter = typed(json!({ "resourceSubscriptions": ["note://today"] }));
        match peer.listen(filter).await {
            Err(error) => outcome::<()>(Err(error), ""),
            Ok(mut subscription) => {
                let next = async || match subscription.next().await {
                    Ok(Some(ServerNotification::ResourceUpdatedNotification(update))) => Some(update.params.uri),
                    _ => None,
                };
                updated(touch, next).await
            }
        }
    };
    tell("subscribe", update);
    let count = call("count", json!({ "to": 200 }));
    let cancelled = tokio::time::timeout(Duration::from_secs(1), count).await.is_err();
    tell("cancel", json!(if cancelled { "cancelled" } else { "not cancelled" }));
    if version.as_str() < "2026" {
        tell("pause", call("pause", json!({})).await);
    }
    report
}

/// Touches until an update comes: nobody says when a subscription begins.
async fn updated(touch: impl AsyncFn(), mut next: impl AsyncFnMut() -> Option<String>) -> Value {
    for _ in 0..50 {
        touch().await;
        if let Ok(Some(uri)) = tokio::time::timeout(Duration::from_millis(100), next()).await {
            return json!(uri);
        }
    }
    json!({ "error": "no update" })
}
