//! HTTPRoutes by the letter of Gateway API: the tables of `xds-server/testdata/semantics`, each against an Envoy.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use toolward_tests::credentials::Authority;
use toolward_tests::envoy::{Envoy, admin, shipped};
use toolward_tests::folder::Folder;
use toolward_tests::ports;
use toolward_tests::process::PATIENCE;
use toolward_tests::tools::{root, tools};
use toolward_tests::toolward;
use toolward_tests::upstream::{Recorded, Upstream};

const FOLDER: &str = "xds-server/testdata/semantics";

/// The header by which the rule that was taken names itself.
const RULE: &str = "x-rule";

#[test]
fn every_request_is_answered_by_the_rule_that_the_specification_says() {
    let entries = std::fs::read_dir(root().join(FOLDER)).expect("tables");
    let names = entries.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    let tables: Vec<Table> = names.iter().map(|name| Table::read(name)).collect();
    let upstream = Upstream::start();
    let _envoy = Envoy::with_config(&all_in_one(tables.iter().map(|table| table.render(upstream.port))));
    let (mut rows, mut wrong) = (0, Vec::new());
    for table in &tables {
        let rows_of_table = table.rows();
        rows += rows_of_table.len();
        wrong.extend(rows_of_table.iter().filter_map(|row| table.check(row, &upstream).err()));
    }
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows > 340, "{rows} rows: some are gone");
}

/// One configuration of several: each table has ports of its own, and all have the same server.
fn all_in_one(configurations: impl Iterator<Item = Value>) -> String {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for configuration in configurations {
        for (kind, resources) in configuration["static_resources"].as_object().expect("resources") {
            let all = all.entry(kind.clone()).or_default();
            for resource in resources.as_array().expect("a list") {
                if !all.contains(resource) {
                    all.push(resource.clone());
                }
            }
        }
    }
    format!("static_resources: {}\nadmin: {}\n", json!(all), admin())
}

/// A file of the folder; its README says how to read it.
struct Table {
    name: String,
    written: Value,
    /// Where the Gateway's ports are on this machine.
    ports: BTreeMap<u16, u16>,
    authority: Authority,
}

impl Table {
    fn read(name: &str) -> Self {
        let written: Value = serde_yaml_ng::from_str(&shipped(&format!("{FOLDER}/{name}")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let listeners = written["listeners"].as_array().expect("listeners");
        let ports: BTreeSet<u16> = listeners.iter().map(|listener| number(&listener["port"])).collect();
        let ports = ports.into_iter().map(|port| (port, ports::free())).collect();
        Self { name: name.to_owned(), written, ports, authority: Authority::new() }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for group in self.written["asked"].as_array().expect("groups") {
            let (of, says) = (text(&group["of"]), text(&group["says"]));
            for row in group["rows"].as_array().expect("rows") {
                rows.push(Row { written: text(row), of, says });
            }
        }
        rows
    }

    /// Asks, or says what is wrong with the answer.
    fn check(&self, row: &Row<'_>, upstream: &Upstream) -> Result<(), String> {
        let (asked, expected) = row.written.split_once(" => ").unwrap_or_else(|| panic!("no answer: {}", row.written));
        let request = Request::read(&self.with_ports(asked));
        let answer = self.ask(&request);
        let recorded = upstream.take_recorded().pop();
        let mut parts = expected.split(" | ");
        let mut wrong = Vec::new();
        let was = answer.rule_or_status();
        if parts.next() != Some(was) {
            wrong.push(was.to_owned());
        }
        let facts: Vec<String> = parts.map(|part| self.with_ports(part)).collect();
        wrong.extend(facts.iter().filter_map(|fact| answer.differs(fact, recorded.as_ref()).err()));
        // HTTPRouteSpec.Hostnames: the header must be forwarded unmodified, where no filter says otherwise.
        if let Some(recorded) = recorded.filter(|_| !facts.iter().any(|fact| fact.starts_with("sent host:"))) {
            assert_eq!(values(&recorded.headers, "host"), Some(request.host), "{}", row.written);
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let was = wrong.join(" | ");
        Err(format!("{}: {}, but it was {was}\n    {}: {}", self.name, row.written, row.of, row.says))
    }

    /// `{80}` is the port that stands for 80 on this machine.
    fn with_ports(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (port, real)| text.replace(&format!("{{{port}}}"), &real.to_string()))
    }

    /// What Envoy would get.
    fn render(&self, upstream: u16) -> Value {
        let folder = Folder::new();
        folder.write("world.json", &self.manifests(upstream).to_string());
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (wasm, folder) = (path(&tools().wasm), path(folder.path()));
        let arguments = ["render", "--static", "--listener-address", "127.0.0.1", "--wasm-file", &wasm, &folder];
        let output = toolward::run(&arguments);
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        serde_yaml_ng::from_slice(&output.stdout).expect("YAML")
    }

    /// The table's objects as they would be applied.
    fn manifests(&self, upstream: u16) -> Value {
        let [certificate, key] =
            self.authority.hosts(&["a.example.com", "*.example.com", "*.y.example.com", "other.test"]);
        // All tables are served by one Envoy.
        let secret = self.name.trim_end_matches(".yaml");
        let mut listeners = self.written["listeners"].clone();
        for listener in listeners.as_array_mut().expect("listeners") {
            listener["port"] = json!(self.ports[&number(&listener["port"])]);
            if listener["protocol"] == "HTTPS" {
                listener["tls"] = json!({ "certificateRefs": [{ "name": secret }] });
            }
        }
        let mut items = vec![
            object(
                "gateway.networking.k8s.io/v1",
                "GatewayClass",
                "",
                "toolward",
                json!({ "controllerName": "toolward.dev/gateway-controller" }),
            ),
            object(
                "gateway.networking.k8s.io/v1",
                "Gateway",
                "apps",
                "gw",
                json!({ "gatewayClassName": "toolward", "listeners": listeners }),
            ),
            json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "namespace": "apps", "name": secret },
                "stringData": { certificate.0: certificate.1, key.0: key.1 } }),
        ];
        let mut namespaces = BTreeSet::new();
        for route in self.written["routes"].as_array().expect("routes") {
            let route = self.route(route.clone());
            namespaces.insert(text(&route["metadata"]["namespace"]).to_owned());
            items.push(route);
        }
        items.extend(namespaces.iter().flat_map(|namespace| service(namespace, upstream)));
        json!({ "apiVersion": "v1", "kind": "List", "items": items })
    }

    fn route(&self, mut spec: Value) -> Value {
        let fields = spec.as_object_mut().expect("a route");
        let mut take = |name: &str| fields.remove(name);
        let name = take("name").expect("a name");
        let namespace = take("namespace").unwrap_or_else(|| json!("apps"));
        let created = take("created");
        let parents = fields.entry("parentRefs").or_insert_with(|| json!([{ "name": "gw", "namespace": "apps" }]));
        for parent in parents.as_array_mut().expect("parents") {
            if let Some(port) = parent.get_mut("port") {
                *port = json!(self.ports[&number(port)]);
            }
        }
        for rule in fields.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            if rule.get("backendRefs").is_none() {
                rule["backendRefs"] = json!([{ "name": "server", "port": 80 }]);
            }
            sign(rule);
        }
        let mut route = object("gateway.networking.k8s.io/v1", "HTTPRoute", text(&namespace), text(&name), spec);
        if let Some(created) = created {
            route["metadata"]["creationTimestamp"] = created;
        }
        route
    }

    fn ask(&self, request: &Request) -> Answer {
        let port = self.ports[&request.port];
        let connection = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = match &request.server_name {
            None => exchange(connection, &request.text),
            Some(server_name) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).expect("PEM")).expect("a root");
                let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                let server_name = ServerName::try_from(server_name.clone()).expect("a name");
                let client = ClientConnection::new(Arc::new(config), server_name).expect("a client");
                exchange(StreamOwned::new(client, connection), &request.text)
            }
        };
        head.map_or(Answer::Refused, |head| Answer::read(&head))
    }
}

/// Has the answers of a rule say its name.
fn sign(rule: &mut Value) {
    let name = json!({ "name": RULE, "value": rule["name"] });
    let filters = rule.as_object_mut().expect("a rule").entry("filters").or_insert_with(|| json!([]));
    let filters = filters.as_array_mut().expect("filters");
    if !filters.iter().any(|filter| filter["type"] == "ResponseHeaderModifier") {
        filters.push(json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": {} }));
    }
    let modifier = filters.iter_mut().find(|filter| filter["type"] == "ResponseHeaderModifier").expect("it is there");
    let modifier = modifier["responseHeaderModifier"].as_object_mut().expect("a modifier");
    modifier.entry("set").or_insert_with(|| json!([])).as_array_mut().expect("headers").push(name);
}

/// What came of a request.
enum Answer {
    /// No connection came about.
    Refused,
    Head {
        status: String,
        headers: Vec<(String, String)>,
    },
}

impl Answer {
    fn read(head: &str) -> Self {
        let mut lines = head.trim_end().lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").to_owned();
        let headers = lines.map(|line| line.split_once(':').expect("a header"));
        Self::Head {
            status,
            headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        }
    }

    fn rule_or_status(&self) -> &str {
        match self {
            Self::Refused => "refused",
            Self::Head { status, headers } => {
                headers.iter().find(|(name, _)| name == RULE).map_or(status, |(_, rule)| rule)
            }
        }
    }

    /// Compares with a fact of a row; says how it is where it differs.
    fn differs(&self, fact: &str, recorded: Option<&Recorded>) -> Result<(), String> {
        let (status, headers) = match self {
            Self::Refused => return Err("refused".to_owned()),
            Self::Head { status, headers } => (status, headers),
        };
        let (what, rest) = fact.split_once(' ').unwrap_or_else(|| panic!("no fact: {fact}"));
        let header = |headers: Option<&Vec<(String, String)>>| {
            let name = rest.strip_prefix("no ").unwrap_or_else(|| rest.split_once(':').map_or(rest, |(name, _)| name));
            match headers.and_then(|headers| values(headers, name)) {
                Some(value) => format!("{what} {name}:{value}"),
                None => format!("{what} no {name}"),
            }
        };
        let is = match what {
            "status" => format!("status {status}"),
            "got" => header(Some(headers)),
            "sent" => header(recorded.map(|recorded| &recorded.headers)),
            "path" => format!("path {}", recorded.map_or("none", |recorded| &recorded.path)),
            _ => panic!("no fact: {fact}"),
        };
        if is == fact { Ok(()) } else { Err(is) }
    }
}

/// The values of a header with commas between them.
fn values(headers: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<&str> = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// A row with the part of the specification that it follows from.
struct Row<'t> {
    written: &'t str,
    of: &'t str,
    says: &'t str,
}

/// What a row asks.
struct Request {
    port: u16,
    /// For TLS.
    server_name: Option<String>,
    host: String,
    /// As it is sent.
    text: String,
}

impl Request {
    fn read(asked: &str) -> Self {
        let mut parts = asked.split(" | ");
        let (method, url) = parts.next().and_then(|line| line.split_once(' ')).expect("METHOD URL");
        let (secure, rest) = url.strip_prefix("https://").map_or((false, url), |rest| (true, rest));
        let (authority, path) = rest.split_once('/').expect("a path");
        let (name, port) = authority.split_once(':').unwrap_or((authority, if secure { "443" } else { "80" }));
        let headers: Vec<(&str, &str)> = parts.map(|part| part.split_once(':').expect("a header")).collect();
        let host = headers.iter().find(|(name, _)| *name == "Host").map_or(authority, |(_, value)| value);
        let lines =
            headers.iter().filter(|(name, _)| *name != "Host").map(|(name, value)| format!("{name}: {value}\r\n"));
        let text = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {host}\r\n{}Content-Length: 0\r\n\r\n",
            lines.collect::<String>()
        );
        let server_name = secure.then(|| name.to_owned());
        Self { port: port.parse().expect("a port"), server_name, host: host.to_owned(), text }
    }
}

/// Sends a request, and reads what stands before the body of the answer.
fn exchange(mut connection: impl Read + Write, request: &str) -> std::io::Result<String> {
    connection.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8(head).expect("UTF-8"))
}

/// The Service `server` of a namespace.
fn service(namespace: &str, port: u16) -> [Value; 2] {
    let mut slice = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "namespace": namespace, "name": "server-1", "labels": { "kubernetes.io/service-name": "server" } },
        "addressType": "IPv4" });
    slice["ports"] = json!([{ "port": port }]);
    slice["endpoints"] = json!([{ "addresses": ["127.0.0.1"] }]);
    [object("v1", "Service", namespace, "server", json!({ "ports": [{ "port": 80, "targetPort": port }] })), slice]
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn number(value: &Value) -> u16 {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or_else(|| panic!("no port: {value}"))
}
