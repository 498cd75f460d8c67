//! What toolward has asked of an API server, as that has logged it.

use serde_json::Value;

use super::Cluster;

impl Cluster {
    /// All of it so far, in the order in which it was answered.
    ///
    /// # Panics
    /// When there is no audit log.
    #[must_use]
    pub fn audit_log(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.path().join("audit.log")).expect("an audit log");
        // The last line may be half there.
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The Secrets for which it has asked by their names, in any way.
    #[must_use]
    pub fn secrets_asked_for(&self) -> Vec<String> {
        let log = self.audit_log();
        let secrets = log.iter().map(|event| &event["objectRef"]).filter(|object| object["resource"] == "secrets");
        // One of all namespaces is a list or a watch.
        secrets.filter(|object| !object["namespace"].is_null()).map(name).collect()
    }

    /// The objects of a kind whose statuses it has written, by the kind's name in paths.
    #[must_use]
    pub fn statuses_written(&self, plural: &str) -> Vec<String> {
        let log = self.audit_log();
        let is_status = |event: &&Value| {
            let object = &event["objectRef"];
            (&object["resource"], &object["subresource"]) == (&plural.into(), &"status".into())
        };
        let is_written = |event: &&Value| event["responseStatus"]["code"] == 200;
        log.iter().filter(is_status).filter(is_written).map(|event| name(&event["objectRef"])).collect()
    }
}

/// `NAMESPACE/NAME`.
fn name(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}
