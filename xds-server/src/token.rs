//! `toolward token`: keys and tokens for trying things out. Never for production: the key lies in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Arguments of `toolward token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The private key, PKCS #8 in PEM; made if the file does not exist
    #[arg(long, value_name = "FILE", default_value = "toolward-dev-key.pem")]
    pub key: PathBuf,

    /// The algorithm of a key that is made
    #[arg(long, value_enum, default_value_t = KeyAlgorithm::Es256)]
    pub algorithm: KeyAlgorithm,

    /// Print the public key as a JWK Set in place of a token
    #[arg(long)]
    pub jwks: bool,

    /// The claim `iss`
    #[arg(long, value_name = "URL", default_value = "https://login.example.com")]
    pub issuer: String,

    /// The claim `sub`
    #[arg(long, value_name = "NAME", default_value = "dev")]
    pub subject: String,

    /// The claim `aud`; may be repeated
    #[arg(long, value_name = "URL")]
    pub audience: Vec<String>,

    /// Another claim, such as team=ops or 'roles=["admin"]'; the value is JSON, or else a string; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    pub claim: Vec<(String, Value)>,

    /// The claim `scope`: scopes with spaces between them
    #[arg(long, value_name = "SCOPES")]
    pub scope: Option<String>,

    /// Seconds from now until the token expires; below zero for one that has expired
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, allow_hyphen_values = true)]
    pub expires_in: i64,

    /// Seconds from now until the token begins to be valid
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub not_before: Option<i64>,

    /// The header parameter `typ`
    #[arg(long = "type", value_name = "TYPE", default_value = "at+jwt")]
    pub token_type: String,
}

/// Algorithms of keys that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are those of RFC 7518")]
pub enum KeyAlgorithm {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "RS256")]
    Rs256,
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("a claim is written NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key file can't be read or written.
    #[error("the key file {}: {cause}", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    File { path: PathBuf, cause: io::Error },
    /// The key file holds something else.
    #[error("{} holds no private key for ES256 or RS256 in PKCS #8 PEM; remove it and a new one is made", .0.display())]
    NotAKey(PathBuf),
    /// Making or encoding a key failed.
    #[error("making a key failed: {0}")]
    Crypto(String),
}

/// Prints a token, or the key set, to standard output.
///
/// # Errors
/// When there is no key to be had.
pub fn run(args: &TokenArgs) -> Result<ExitCode, TokenError> {
    let key = SigningKey::at(&args.key, args.algorithm)?;
    if args.jwks {
        println!("{}", json!({ "keys": [key.jwk()?] }));
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        println!("{}", mint(args, &key, i64::try_from(now).unwrap_or(i64::MAX))?);
    }
    Ok(ExitCode::SUCCESS)
}

fn mint(args: &TokenArgs, key: &SigningKey, now: i64) -> Result<String, TokenError> {
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), args.issuer.as_str().into());
    claims.insert("sub".to_owned(), args.subject.as_str().into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(args.expires_in).into());
    match args.audience.as_slice() {
        [] => {}
        [one] => drop(claims.insert("aud".to_owned(), one.as_str().into())),
        many => drop(claims.insert("aud".to_owned(), many.into())),
    }
    if let Some(delay) = args.not_before {
        claims.insert("nbf".to_owned(), now.saturating_add(delay).into());
    }
    if let Some(scope) = &args.scope {
        claims.insert("scope".to_owned(), scope.as_str().into());
    }
    claims.extend(args.claim.iter().cloned());
    let header = json!({ "alg": key.algorithm(), "kid": key.id()?, "typ": args.token_type });
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(Value::Object(claims)));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    Ok(format!("{signed}.{signature}"))
}

enum SigningKey {
    Es256(p256::ecdsa::SigningKey),
    Rs256(Box<rsa::PrivateKey>),
}

impl SigningKey {
    /// The key of a file, which is made if it is not there.
    fn at(path: &Path, algorithm: KeyAlgorithm) -> Result<Self, TokenError> {
        let file = |cause| TokenError::File { path: path.to_owned(), cause };
        match std::fs::read_to_string(path) {
            Ok(pem) => Self::from_pem(&pem).ok_or_else(|| TokenError::NotAKey(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate(algorithm)?;
                write_private(path, &key.to_pem()?).map_err(file)?;
                Ok(key)
            }
            Err(error) => Err(file(error)),
        }
    }

    fn from_pem(pem: &str) -> Option<Self> {
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Some(Self::Es256(key));
        }
        rsa::PrivateKey::from_pkcs8_pem(pem).ok().map(|key| Self::Rs256(Box::new(key)))
    }

    fn generate(algorithm: KeyAlgorithm) -> Result<Self, TokenError> {
        use rsa::Generate as _;
        match algorithm {
            KeyAlgorithm::Es256 => Ok(Self::Es256(p256::ecdsa::SigningKey::generate())),
            KeyAlgorithm::Rs256 => Ok(Self::Rs256(Box::new(rsa::PrivateKey::generate()))),
        }
    }

    fn to_pem(&self) -> Result<String, TokenError> {
        let pem = match self {
            Self::Es256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::Rs256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map(|pem| pem.to_string()).map_err(|error| TokenError::Crypto(error.to_string()))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        }
    }

    /// Says the key: the beginning of the hash of its public part.
    fn id(&self) -> Result<String, TokenError> {
        let spki = match self {
            Self::Es256(key) => key.verifying_key().to_public_key_der(),
            Self::Rs256(key) => key.to_public_key().to_public_key_der(),
        };
        let spki = spki.map_err(|error| TokenError::Crypto(error.to_string()))?;
        Ok(Sha256::digest(spki.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    fn jwk(&self) -> Result<Value, TokenError> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Self::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let coordinate =
                    |value: Option<&p256::FieldBytes>| value.map(|value| encode(value)).unwrap_or_default();
                json!({ "kty": "EC", "crv": "P-256", "x": coordinate(point.x()), "y": coordinate(point.y()) })
            }
            Self::Rs256(key) => {
                json!({ "kty": "RSA", "n": encode(&key.n_bytes()), "e": encode(&key.e_bytes()) })
            }
        };
        if let Value::Object(members) = &mut jwk {
            members.insert("kid".to_owned(), self.id()?.into());
            members.insert("alg".to_owned(), self.algorithm().into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(jwk)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Rs256(key) => rsa::pkcs1v15::SigningKey::<Sha256>::new(key.as_ref().clone()).sign(message).to_vec(),
        }
    }
}

/// Readable by its owner only.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
