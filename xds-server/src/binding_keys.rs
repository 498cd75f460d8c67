//! The keys under which sessions and tasks are bound to callers. All replicas of a control plane, before and after a
//! restart, must have the same; so they stand in a file.
//!
//! The first line's key binds, those of all lines are recognized. To replace it and cut nobody off: add a new key as the
//! last line; when all Envoys have it, make it the first; remove the old one when no session is left of before.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rustls::crypto::aws_lc_rs;
use serde_json::json;
use toolward_policy::config::{BINDING_KEY_BYTES, BindingKey, MAX_BINDING_KEYS, NoBindingKey};
use tracing::{error, info, warn};

use crate::render::yaml;

/// Name of the Secret, and of the file in it.
const SECRET: &str = "toolward-binding-keys";
const FILE: &str = "keys";

/// Arguments of `toolward binding-keys`.
#[derive(Args, Clone, Debug)]
pub struct BindingKeysArgs {
    /// The namespace of the Deployment and of the Secret
    #[arg(long, value_name = "NAMESPACE", default_value = "toolward-system")]
    namespace: String,

    /// Print a key alone, to be added to those that are there
    #[arg(long)]
    key: bool,
}

/// Prints a new key, as the Secret that the Deployment mounts.
///
/// # Errors
/// When there is no randomness to be had.
pub fn run(args: &BindingKeysArgs) -> Result<ExitCode, BindingKeysError> {
    let key = random()?.text();
    if args.key {
        println!("{key}");
        return Ok(ExitCode::SUCCESS);
    }
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": SECRET, "namespace": args.namespace, "labels": { "app.kubernetes.io/name": "toolward" } },
        "type": "Opaque",
        "stringData": { FILE: format!("{key}\n") },
    });
    print!("{}", yaml::document(&secret));
    Ok(ExitCode::SUCCESS)
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum BindingKeysError {
    /// The file can't be read.
    #[error("the binding keys {}: {cause}. Make them with `toolward binding-keys --key`, or name another file with --binding-keys", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    Unreadable { path: PathBuf, cause: io::Error },
    /// The file holds something else.
    #[error("the binding keys {}: line {line} is no key; `toolward binding-keys --key` prints one", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    NoKey { path: PathBuf, line: usize },
    /// The file holds none, or too many.
    #[error("the binding keys {}: there are {count} keys; one to {MAX_BINDING_KEYS} are accepted", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    Count { path: PathBuf, count: usize },
    /// The operating system gives no random bytes.
    #[error("no random bytes are to be had for a binding key")]
    Random,
}

/// Keys, and where they are from.
#[derive(Debug)]
pub struct BindingKeys {
    path: Option<PathBuf>,
    keys: Vec<BindingKey>,
}

impl BindingKeys {
    /// Reads this file; where none is named, the one in the user's folder for state, which is made when it is missing.
    ///
    /// # Errors
    /// When the named file has no keys.
    pub fn open(path: Option<PathBuf>) -> Result<Self, BindingKeysError> {
        if let Some(path) = path {
            return Ok(Self { keys: read(&path)?, path: Some(path) });
        }
        if let Some(path) = own_file() {
            match make(&path).and_then(|()| read(&path)) {
                Ok(keys) => return Ok(Self { path: Some(path), keys }),
                Err(error) => warn!("{error}"),
            }
        }
        warn!(
            "sessions are bound under a key of this process alone: they end when it does. Name a file with --binding-keys"
        );
        Ok(Self { path: None, keys: vec![random()?] })
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> &[BindingKey] {
        &self.keys
    }

    /// Reads the file again; whether there are other keys now. What is wrong leaves the last good ones in force.
    pub fn reload(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        match read(path) {
            Ok(keys) if keys != self.keys => {
                info!(keys = keys.len(), "there are other binding keys");
                self.keys = keys;
                true
            }
            Ok(_) => false,
            Err(error) => {
                error!("{error}: the last good ones stay in force");
                false
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<BindingKey>, BindingKeysError> {
    let unreadable = |cause| BindingKeysError::Unreadable { path: path.to_owned(), cause };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let key = |(index, line): (usize, &str)| {
        let key = line.trim().parse();
        key.map_err(|NoBindingKey| BindingKeysError::NoKey { path: path.to_owned(), line: index + 1 })
    };
    let keys: Vec<BindingKey> = lines.map(key).collect::<Result<_, _>>()?;
    match keys.len() {
        1..=MAX_BINDING_KEYS => Ok(keys),
        count => Err(BindingKeysError::Count { path: path.to_owned(), count }),
    }
}

/// `$XDG_STATE_HOME/toolward/binding-keys`.
fn own_file() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")))?;
    Some(state.join("toolward/binding-keys"))
}

/// Makes a file with a key, unless there is one. Of several that do so at once one succeeds, and no other ever reads half
/// a key.
fn make(path: &Path) -> Result<(), BindingKeysError> {
    let made = || {
        let folder = path.parent().filter(|_| !path.exists());
        let Some(folder) = folder else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let key = random().map_err(io::Error::other)?.text();
        // For its owner's eyes alone.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{key}")?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            _ => Ok(()),
        }
    };
    made().map_err(|cause| BindingKeysError::Unreadable { path: path.to_owned(), cause })
}

fn random() -> Result<BindingKey, BindingKeysError> {
    let mut bytes = [0; BINDING_KEY_BYTES];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| BindingKeysError::Random)?;
    Ok(BindingKey(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_may_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let keys = [random().unwrap(), random().unwrap()];
        let [first, second] = keys.map(|key| key.text());
        let rows = [
            ("one", format!("{first}\n"), Ok(1)),
            ("two", format!("{first}\n\n {second}"), Ok(2)),
            ("none", "\n".to_owned(), Err("there are 0 keys")),
            ("something else", format!("{first}\nhello"), Err("line 2 is no key")),
            ("a short one", "AAAA".to_owned(), Err("line 1 is no key")),
            ("too many", format!("{first}\n").repeat(17), Err("there are 17 keys")),
        ];
        for (name, text, expected) in rows {
            fs::write(&path, text).unwrap();
            match (read(&path), expected) {
                (Ok(keys), Ok(count)) => assert_eq!(keys.len(), count, "{name}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{name}: {error}"),
                (other, _) => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_file_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/toolward/keys");
        make(&path).unwrap();
        let first = read(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(read(&path).unwrap(), first);
        let mut keys = BindingKeys::open(Some(path.clone())).unwrap();
        assert!(!keys.reload());
        fs::write(&path, "garbage").unwrap();
        assert!(!keys.reload());
        assert_eq!(keys.keys(), first);
        fs::write(&path, random().unwrap().text()).unwrap();
        assert!(keys.reload());
        assert!(BindingKeys::open(Some(folder.path().join("nowhere"))).is_err());
    }
}
