//! The server: what `sdk_v2.py` serves, and the extensions for tasks and skills.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CompleteRequestParams, CompleteResult,
    ContentBlock, ErrorData, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams, GetSkillResult,
    GetTaskParams, GetTaskResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListSkillsResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult, ReadResourceRequestParams, ReadResourceResponse,
    ResourceUpdatedNotificationParam, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::task_manager::{TaskManager, TaskOptions};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, broadcast};

use crate::Failure;

type Context = RequestContext<RoleServer>;

pub async fn serve(port: &str) -> Result<(), Failure> {
    let server = Server::default();
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    Ok(axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?)
}

#[derive(Clone)]
struct Server {
    tasks: Arc<TaskManager>,
    /// Who subscribed in the old era; everybody hears of everything.
    subscribers: Arc<Mutex<Vec<Peer<RoleServer>>>>,
    /// URIs of what was updated, for the subscriptions of the new era.
    updates: broadcast::Sender<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self { tasks: Arc::default(), subscribers: Arc::default(), updates: broadcast::channel(16).0 }
    }
}

/// Tells the test that a tool really ran, or stopped.
fn tell(word: &str, tool: &str) {
    eprintln!("{word} {tool}");
}

/// What the protocol calls so, as its JSON says.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn text(value: impl ToString) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(value.to_string())])
}

fn unknown(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("unknown: {name}"), None)
}

fn skill(name: &str) -> Value {
    json!({
        "uri": format!("skill://{name}/SKILL.md"),
        "frontmatter": { "name": name, "description": "A skill." },
        "resources": "dynamic",
    })
}

impl Server {
    async fn count(to: u64, context: Context) -> CallToolResult {
        let token = context.meta.get_progress_token();
        for step in 0..to {
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), step as f64).with_total(to as f64);
                let _ = context.peer.notify_progress(progress).await;
            }
            tokio::select! {
                () = context.ct.cancelled() => {
                    tell("STOPPED", "count");
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        text("done")
    }

    async fn touch(&self, uri: &str) -> CallToolResult {
        // Nobody may be listening in the new era.
        let _ = self.updates.send(uri.to_owned());
        for peer in self.subscribers.lock().await.iter() {
            let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await;
        }
        text("done")
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = json!({
            "tools": { "listChanged": true },
            "prompts": {},
            "resources": { "subscribe": true, "listChanged": true },
            "completions": {},
            "logging": {},
            "extensions": {
                "io.modelcontextprotocol/tasks": {},
                "io.modelcontextprotocol/skills": { "directoryRead": true },
            },
        });
        ServerConfig::new(serde_json::from_value(capabilities).expect("capabilities"))
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &str, properties: Value| json!({ "name": name, "description": "A tool.", "inputSchema": { "type": "object", "properties": properties } });
        let numbers = json!({ "a": { "type": "integer" }, "b": { "type": "integer" } });
        typed(json!({ "tools": [
            tool("add", numbers.clone()),
            tool("multiply", numbers.clone()),
            tool("count", json!({ "to": { "type": "integer" } })),
            tool("pause", json!({})),
            tool("touch", json!({ "uri": { "type": "string" } })),
            tool("slow", numbers),
        ] }))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let number = |name: &str| arguments.get(name).and_then(Value::as_i64).ok_or_else(|| unknown(name));
        tell("RAN", &request.name);
        Ok(match request.name.as_ref() {
            "add" => text(number("a")? + number("b")?).into(),
            "multiply" => text(number("a")? * number("b")?).into(),
            "count" => Self::count(number("to")?.unsigned_abs(), context).await.into(),
            "touch" => self.touch(arguments.get("uri").and_then(Value::as_str).unwrap_or_default()).await.into(),
            "pause" => text("resumed").into(),
            // It becomes a task, which is done a little later.
            "slow" => {
                let sum = number("a")? + number("b")?;
                let task = self.tasks.spawn(TaskOptions::new(), move |_| {
                    Box::pin(async move {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        Ok(text(sum))
                    })
                });
                typed::<rmcp::model::CreateTaskResult>({
                    let mut task = serde_json::to_value(task).unwrap_or_default();
                    task["resultType"] = json!("task");
                    task
                })?
                .into()
            }
            name => return Err(unknown(name)),
        })
    }

    async fn get_task(&self, request: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        tell("RAN", "tasks/get");
        self.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        tell("RAN", "tasks/update");
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        tell("RAN", "tasks/cancel");
        self.tasks.cancel_task(&request.task_id)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let arguments = json!([{ "name": "name", "required": true }]);
        typed(json!({ "prompts": [{ "name": "greeting", "arguments": arguments }, { "name": "secret" }] }))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: Context) -> Result<GetPromptResponse, ErrorData> {
        let value = match request.name.as_str() {
            "greeting" => {
                let name = request.arguments.and_then(|all| all.get("name")?.as_str().map(str::to_owned));
                format!("Hello {}", name.unwrap_or_default())
            }
            "secret" => {
                tell("RAN", "secret");
                "hidden".to_owned()
            }
            name => return Err(unknown(name)),
        };
        let content = json!({ "type": "text", "text": value });
        typed(json!({ "messages": [{ "role": "user", "content": content }] })).map(GetPromptResponse::Complete)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        typed(json!({ "resources": [
            { "name": "today", "uri": "note://today" },
            { "name": "secret_note", "uri": "note://secret" },
        ] }))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        typed(json!({ "resourceTemplates": [
            { "name": "day_note", "uriTemplate": "note://day/{day}" },
            { "name": "secret_day_note", "uriTemplate": "secret://day/{day}" },
        ] }))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let value = match request.uri.as_str() {
            "note://today" => "nothing",
            "note://secret" => {
                tell("RAN", "note://secret");
                "hidden"
            }
            uri if uri.starts_with("note://day/") || uri.starts_with("skill://") => "nothing",
            uri => return Err(ErrorData::resource_not_found(uri.to_owned(), None)),
        };
        typed(json!({ "contents": [{ "uri": request.uri, "text": value }] })).map(ReadResourceResponse::Complete)
    }

    async fn list_skills(&self, _: Option<PaginatedRequestParams>, _: Context) -> Result<ListSkillsResult, ErrorData> {
        typed(json!({ "skills": [skill("public"), skill("secret")] }))
    }

    async fn get_skill(&self, request: GetSkillRequestParams, _: Context) -> Result<GetSkillResult, ErrorData> {
        tell("RAN", &request.uri);
        let name = request.uri.trim_start_matches("skill://").trim_end_matches("/SKILL.md");
        typed(json!({ "skill": skill(name) }))
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _: Context,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        tell("RAN", &request.uri);
        let child = |name: &str| json!({ "name": name, "uri": format!("skill://{name}/SKILL.md") });
        typed(json!({ "resources": [child("public"), child("secret")] }))
    }

    async fn complete(&self, request: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        tell("RAN", "completion");
        let names = ["alice", "bob"].iter().filter(|name| name.starts_with(&request.argument.value));
        typed(json!({ "completion": { "values": names.collect::<Vec<_>>() } }))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, context: Context) -> Result<(), ErrorData> {
        self.subscribers.lock().await.push(context.peer);
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut updates = self.updates.subscribe();
        let wanted = context.accepted().resource_subscriptions.clone().unwrap_or_default();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                Ok(uri) = updates.recv() => {
                    if wanted.contains(&uri) {
                        let update = json!({ "method": "notifications/resources/updated", "params": { "uri": uri } });
                        let _ = context.sink().send(typed(update)?).await;
                    }
                }
            }
        }
    }
}
