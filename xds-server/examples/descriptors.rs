//! Writes `src/render/envoy.bin`: the descriptors of the messages that `render` makes, so that they can be shown as
//! JSON. Taken from the set that the crate `envoy-types` brings along but does not export; all that no rendered message
//! can hold, and all options, are left out (3.4 MB become a tenth). Run by `make generate`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
};
use serde::Deserialize;

/// The messages that stand for themselves or inside an `Any`. What their fields refer to comes along.
const ROOTS: [&str; 19] = [
    ".envoy.config.cluster.v3.Cluster",
    ".envoy.config.core.v3.TypedExtensionConfig",
    ".envoy.config.endpoint.v3.ClusterLoadAssignment",
    ".envoy.config.listener.v3.Listener",
    ".envoy.config.route.v3.RouteConfiguration",
    ".envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ".envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
    ".envoy.extensions.filters.http.router.v3.Router",
    ".envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    ".envoy.extensions.http.injected_credentials.generic.v3.Generic",
    ".envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ".envoy.extensions.filters.http.wasm.v3.Wasm",
    ".envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ".envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ".envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ".envoy.extensions.transport_sockets.tls.v3.Secret",
    ".envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ".google.protobuf.BytesValue",
    ".google.protobuf.StringValue",
];

fn main() -> Result<(), Box<dyn Error>> {
    let all = FileDescriptorSet::decode(std::fs::read(envoy_types()?.join("src/generated/types.bin"))?.as_slice())?;
    let needed = reachable(&all);
    let mut kept: Vec<_> = all.file.into_iter().filter_map(|file| shrink(file, &needed)).collect();
    let names: BTreeSet<String> = kept.iter().map(|file| file.name().to_owned()).collect();
    for file in &mut kept {
        file.dependency.retain(|import| names.contains(import));
    }
    let bytes = FileDescriptorSet { file: kept }.encode_to_vec();
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/envoy.bin"), bytes)?;
    Ok(())
}

/// What is read of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// The folder of the crate's source.
fn envoy_types() -> Result<PathBuf, Box<dyn Error>> {
    let metadata = Command::new(env!("CARGO")).args(["metadata", "--format-version", "1", "--locked"]).output()?;
    let Metadata { packages } = serde_json::from_slice(&metadata.stdout)?;
    let package = packages.into_iter().find(|package| package.name == "envoy-types").ok_or("no package envoy-types")?;
    let manifest = package.manifest_path;
    Ok(manifest.parent().ok_or("a manifest without a folder")?.to_owned())
}

/// Full names of the messages and enums that [`ROOTS`] can hold.
fn reachable(all: &FileDescriptorSet) -> BTreeSet<String> {
    let mut fields = BTreeMap::new();
    for file in &all.file {
        for message in &file.message_type {
            index(message, &format!(".{}", file.package()), &mut fields);
        }
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = ROOTS.map(str::to_owned).into();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(fields.get(&name).into_iter().flatten().cloned());
        }
    }
    found
}

/// The types of each message's fields, by the message's full name.
fn index(message: &DescriptorProto, scope: &str, fields: &mut BTreeMap<String, Vec<String>>) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        index(nested, &name, fields);
    }
    fields.insert(name, message.field.iter().filter_map(|field| field.type_name.clone()).collect());
}

/// A file with only what is needed of it; none if that is nothing.
fn shrink(mut file: FileDescriptorProto, needed: &BTreeSet<String>) -> Option<FileDescriptorProto> {
    let scope = format!(".{}", file.package());
    file.message_type = file.message_type.into_iter().filter_map(|message| prune(message, &scope, needed)).collect();
    file.enum_type = enums(file.enum_type, &scope, needed);
    if file.message_type.is_empty() && file.enum_type.is_empty() {
        return None;
    }
    Some(FileDescriptorProto {
        source_code_info: None,
        options: None,
        service: Vec::new(),
        extension: Vec::new(),
        // Indexes into the imports, which become fewer.
        public_dependency: Vec::new(),
        weak_dependency: Vec::new(),
        ..file
    })
}

/// A message with its fields if it is needed, without them if only something inside it is.
fn prune(mut message: DescriptorProto, scope: &str, needed: &BTreeSet<String>) -> Option<DescriptorProto> {
    let name = format!("{scope}.{}", message.name());
    message.nested_type = message.nested_type.into_iter().filter_map(|nested| prune(nested, &name, needed)).collect();
    message.enum_type = enums(message.enum_type, &name, needed);
    if !needed.contains(&name) {
        if message.nested_type.is_empty() && message.enum_type.is_empty() {
            return None;
        }
        message.field.clear();
        message.oneof_decl.clear();
    }
    for field in &mut message.field {
        field.options = None;
        field.json_name = None;
    }
    for oneof in &mut message.oneof_decl {
        oneof.options = None;
    }
    let map_entry = message.options.and_then(|options| options.map_entry);
    message.options = map_entry.map(|entry| MessageOptions { map_entry: Some(entry), ..MessageOptions::default() });
    message.reserved_range.clear();
    message.reserved_name.clear();
    Some(message)
}

fn enums(all: Vec<EnumDescriptorProto>, scope: &str, needed: &BTreeSet<String>) -> Vec<EnumDescriptorProto> {
    let mut kept: Vec<_> =
        all.into_iter().filter(|entry| needed.contains(&format!("{scope}.{}", entry.name()))).collect();
    for entry in &mut kept {
        entry.options = None;
        for value in &mut entry.value {
            value.options = None;
        }
    }
    kept
}
