//! What `toolward render` prints, as real Envoys take it.

use std::path::Path;
use std::process::Command;

use toolward_tests::envoy::{Envoy, admin, shipped};
use toolward_tests::examples::example;
use toolward_tests::folder::Folder;
use toolward_tests::http::{self, call};
use toolward_tests::ports;
use toolward_tests::tools::{root, tools};
use toolward_tests::toolward::{self, Issuer};
use toolward_tests::upstream::{OK, Upstream};

fn render(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let wasm = tools().wasm.to_str().expect("UTF-8");
    let fixed = ["render", "--static", "--listener-address", "127.0.0.1", "--wasm-file", wasm];
    let output = toolward::run(&[&fixed, arguments, &[folder.to_str().expect("UTF-8")]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_rendered_example_runs() {
    let issuer = Issuer::new("RS256");
    let upstream = Upstream::start();
    let port = ports::free();
    let folder = example("quickstart", &issuer, &[(3000, port), (8000, upstream.port)]);
    let config = render(folder.path(), &[]).expect("a configuration");
    let _envoy = Envoy::with_config(&format!("{config}admin: {}\n", admin()));
    let (client, url) = (http::client(), format!("http://127.0.0.1:{port}/mcp"));
    let ask = |token: &str, tool: &str| http::send(http::post(&client, &url, call(tool)).bearer_auth(token));
    assert_eq!(http::send(http::post(&client, &url, call("add"))).status, 401);
    assert_eq!(ask(&issuer.of_team("sales"), "add").text, OK);
    assert_eq!(ask(&issuer.of_team("sales"), "multiply").code(), Some(-32602));
    assert_eq!(ask(&issuer.of_team("ops"), "multiply").text, OK);
    assert_eq!(upstream.take_recorded().len(), 2);
}

/// The golden cases of the translation: whatever resources say, Envoy takes what becomes of them.
#[test]
fn every_golden_case_is_valid_for_envoy() {
    let cases = root().join("xds-server/testdata/translate");
    let names = std::fs::read_dir(cases).expect("cases").map(|entry| entry.expect("a file").file_name());
    let names: Vec<String> =
        names.map(|name| name.into_string().expect("UTF-8")).filter(|name| name.ends_with(".in.yaml")).collect();
    let mut valid = 0;
    for name in &names {
        let folder = Folder::new();
        folder.write("case.yaml", &shipped(&format!("xds-server/testdata/translate/{name}")));
        match render(folder.path(), &[]) {
            Ok(config) => {
                validate(name, &config);
                valid += 1;
            }
            // A whole configuration is that of one Gateway.
            Err(said) => {
                let (_, gateways) = said.split_once("There are: ").unwrap_or_else(|| panic!("{name}: {said}"));
                for gateway in gateways.trim().split(", ").filter(|gateway| *gateway != "none") {
                    validate(name, &render(folder.path(), &["--gateway", gateway]).expect("a configuration"));
                    valid += 1;
                }
            }
        }
    }
    assert!(valid >= names.len(), "{valid} of {}", names.len());
}

/// The ConfigMap of a provisioned Envoy, with its files where this test has them.
#[test]
fn the_bootstrap_of_a_provisioned_envoy_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(path("ca.crt"), AUTHORITY).expect("writable");
    let example = root().join("manifests/examples/quickstart");
    let arguments = ["render", "--objects", "--xds-ca", &path("ca.crt"), example.to_str().expect("UTF-8")];
    let output = toolward::run(&arguments);
    let objects = String::from_utf8(output.stdout).expect("UTF-8");
    for file in ["bootstrap.yaml", "xds-ca.crt", "xds-token.yaml"] {
        let content = block(&objects, file).replace("/etc/envoy", &path(""));
        let content = content.replace("/var/run/secrets/toolward.dev", &path(""));
        std::fs::write(path(file), content).expect("writable");
    }
    std::fs::write(path("token"), "token").expect("writable");
    let bootstrap = std::fs::read_to_string(path("bootstrap.yaml")).expect("a bootstrap");
    validate("quickstart", &bootstrap);
}

/// For the test only; its key is nowhere.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBhjCCAS2gAwIBAgIUAN0OzERUHffLdVYMxCPo2bl0EKEwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNdG9vbHdhcmQgdGVzdDAgFw0yNjExMjMxNzI1MzBaGA8yMTI2
MTAzMDE3MjUzMFowGDEWMBQGA1UEAwwNdG9vbHdhcmQgdGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABFjhUmGuyD7qz+80/9BanDC/Iza0Nq/hoWylf6YjxEuJ
EBvoJssgWCaUJta2H53YjUA0qp7l4Dd7KphtgMpch5CjUzBRMB0GA1UdDgQWBBTj
Y6vm/gvKJKuf+jIdErp1nbGeHjAfBgNVHSMEGDAWgBTjY6vm/gvKJKuf+jIdErp1
nbGeHjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIFycEVcehCZu
mPcBg48J6srnQtEVd3/D9+9H/RKDNvbwAiASbs4K5DwE1Uxz0g6d8r5HYGTB6wPi
3t0WWWmDyp8Ygw==
-----END CERTIFICATE-----
";

/// The lines of a literal block in YAML.
fn block(text: &str, name: &str) -> String {
    let (_, after) = text.split_once(&format!("\n  {name}: |-\n")).unwrap_or_else(|| panic!("no {name} in {text}"));
    let lines: Vec<&str> = after.lines().map_while(|line| line.strip_prefix("    ")).collect();
    lines.join("\n")
}

fn validate(name: &str, config: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, config).expect("writable");
    let mut envoy = Command::new(&tools().envoy);
    envoy
        .args(["--mode", "validate", "-l", "error", "--use-dynamic-base-id", "--service-node", "envoy-1", "-c"])
        .arg(file);
    let output = envoy.output().expect("Envoy starts");
    assert!(output.status.success(), "{name}: {}\n{config}", String::from_utf8_lossy(&output.stderr));
}
