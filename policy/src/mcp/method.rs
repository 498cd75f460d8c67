//! The methods of MCP, by what has to be asked before they pass.

/// A method that a client may call, by what it needs. The variants are also the bounded label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the methods")]
pub enum Method {
    Initialize,
    Ping,
    Discover,
    SetLevel,
    ToolsList,
    ToolsCall,
    PromptsList,
    PromptsGet,
    ResourcesList,
    ResourceTemplatesList,
    ResourcesRead,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    DirectoryRead,
    SkillsList,
    SkillsGet,
    Listen,
    Task,
    Complete,
    Notification,
    Response,
    /// Named something in the old era, and is none of the request's own.
    Removed,
    Other,
}

impl Method {
    /// The method of this name; notifications and responses have none.
    #[must_use]
    pub fn of_request(name: &str) -> Self {
        match name {
            "initialize" => Self::Initialize,
            "ping" => Self::Ping,
            "server/discover" => Self::Discover,
            "logging/setLevel" => Self::SetLevel,
            "tools/list" => Self::ToolsList,
            "tools/call" => Self::ToolsCall,
            "prompts/list" => Self::PromptsList,
            "prompts/get" => Self::PromptsGet,
            "resources/list" => Self::ResourcesList,
            "resources/templates/list" => Self::ResourceTemplatesList,
            "resources/read" => Self::ResourcesRead,
            "resources/subscribe" => Self::ResourcesSubscribe,
            "resources/unsubscribe" => Self::ResourcesUnsubscribe,
            "resources/directory/read" => Self::DirectoryRead,
            "skills/list" => Self::SkillsList,
            "skills/get" => Self::SkillsGet,
            "subscriptions/listen" => Self::Listen,
            "tasks/get" | "tasks/result" | "tasks/update" | "tasks/cancel" => Self::Task,
            "completion/complete" => Self::Complete,
            _ => Self::Other,
        }
    }

    /// The method of this name in the stateless era.
    #[must_use]
    pub fn of_stateless_request(name: &str) -> Self {
        match name {
            "resources/subscribe" | "resources/unsubscribe" | "tasks/result" => Self::Removed,
            _ => Self::of_request(name),
        }
    }

    /// Whether its result may hold a list that depends on the caller: those of lists, those of tasks, which are results of
    /// other methods, and those of methods that we don't know.
    #[must_use]
    pub fn may_answer_with_list(self) -> bool {
        matches!(
            self,
            Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::ResourceTemplatesList
                | Self::DirectoryRead
                | Self::SkillsList
                | Self::Task
                | Self::Other
        )
    }

    /// Whether the header `Mcp-Name` repeats what the method is applied to.
    #[must_use]
    pub fn has_name_header(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead | Self::Task)
    }

    /// The label for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::Discover => "server/discover",
            Self::SetLevel => "logging/setLevel",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::ResourceTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::DirectoryRead => "resources/directory/read",
            Self::SkillsList => "skills/list",
            Self::SkillsGet => "skills/get",
            Self::Listen => "subscriptions/listen",
            Self::Task => "tasks",
            Self::Complete => "completion/complete",
            Self::Notification => "notification",
            Self::Response => "response",
            Self::Removed | Self::Other => "other",
        }
    }
}
