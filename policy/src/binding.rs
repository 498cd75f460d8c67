//! Handles belong to callers: ids of sessions, tasks and events, endpoints of HTTP+SSE, the state of requests.
//!
//! ```text
//! the server's own ─ seal ─> what the client sees: no word of it is in clear ─ open ─> the server's own, for its owner alone
//! ```
//! XChaCha20-Poly1305 (RFC 8439, draft-irtf-cfrg-xchacha) seals; its nonce is the HMAC-SHA256 (RFC 2104) of all that is sealed
//! and of whom it is for. So nothing has to be remembered, no random numbers are needed, a handle has one sealed form for each
//! owner, and a nonce is used twice for the same text only. Tokens without a subject count by issuer alone.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::{BINDING_KEY_BYTES, BindingKey, BindingKeyId, MAX_BINDING_KEYS, NoBindingKey};

/// Of a hash, which is how long a key is as well (RFC 2104 section 2).
const BLOCK_BYTES: usize = 64;

impl BindingKey {
    /// The value of [`crate::config::BINDING_KEYS_HEADER`].
    #[must_use]
    pub fn header(keys: &[Self]) -> String {
        let keys: Vec<String> = keys.iter().map(Self::text).collect();
        keys.join(",")
    }

    /// The key of one Gateway: its Envoys, which may run in a tenant's namespace, learn no other's.
    #[must_use]
    pub fn of_gateway(&self, gateway: &str) -> Self {
        let mac = mac(&self.0).chain_update(b"toolward gateway: ").chain_update(gateway);
        Self(mac.finalize().into_bytes().into())
    }

    /// Its id, from which nothing follows about the key.
    #[must_use]
    pub fn id(&self) -> BindingKeyId {
        BindingKeyId(self.derived(b"toolward handles: id"))
    }

    /// The key itself, as it is read.
    #[must_use]
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// One key, one purpose (RFC 5869 section 3.2; keys of full entropy need no extraction).
    fn derived(&self, purpose: &[u8]) -> [u8; BINDING_KEY_BYTES] {
        mac(&self.0).chain_update(purpose).finalize().into_bytes().into()
    }
}

impl FromStr for BindingKey {
    type Err = NoBindingKey;

    fn from_str(text: &str) -> Result<Self, NoBindingKey> {
        read(text).map(Self)
    }
}

impl TryFrom<String> for BindingKey {
    type Error = NoBindingKey;

    fn try_from(text: String) -> Result<Self, NoBindingKey> {
        text.parse()
    }
}

impl From<BindingKey> for String {
    fn from(key: BindingKey) -> Self {
        key.text()
    }
}

impl TryFrom<String> for BindingKeyId {
    type Error = NoBindingKey;

    fn try_from(text: String) -> Result<Self, NoBindingKey> {
        read(&text).map(Self)
    }
}

impl From<BindingKeyId> for String {
    fn from(BindingKeyId(id): BindingKeyId) -> Self {
        URL_SAFE_NO_PAD.encode(id)
    }
}

fn read(text: &str) -> Result<[u8; BINDING_KEY_BYTES], NoBindingKey> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoBindingKey)
}

/// By a key that is as long as a block there is no way for it to be wrong.
fn mac(key: &[u8; BINDING_KEY_BYTES]) -> Hmac<Sha256> {
    let mut block = [0; BLOCK_BYTES];
    block.iter_mut().zip(key).for_each(|(to, byte)| *to = *byte);
    Hmac::new(&block.into())
}

/// Length of a nonce, in bytes.
const NONCE_BYTES: usize = 24;

/// What a sealed text begins with, before anything of the server's: another form, which says more, will have another number.
const ID_ALONE: u8 = 1;

/// What a handle is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    Task,
    Event,
    Endpoint,
    RequestState,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Task => "task",
            Self::Event => "event",
            Self::Endpoint => "endpoint",
            Self::RequestState => "requestState",
        }
    }
}

/// To whom handles belong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'o> {
    pub(crate) issuer: &'o str,
    /// Where the issuer's keys come from: a name alone is nobody's.
    pub(crate) key_source: &'o str,
    pub(crate) subject: Option<&'o str>,
    /// The servers that may have handed it out, and alone may get it back; empty: it is not known which.
    pub(crate) servers: &'o str,
}

/// The binders that one configuration allows.
#[derive(Debug)]
pub(crate) struct Binders {
    ids: Vec<BindingKeyId>,
    /// What the last request brought, and what became of it: all bring the same until there are other keys.
    last: RefCell<Option<Brought>>,
}

#[derive(Debug)]
struct Brought {
    header: Box<[u8]>,
    binder: Rc<Binder>,
}

impl Binders {
    /// Those of keys with these ids.
    pub(crate) fn new(ids: &[BindingKeyId]) -> Self {
        Self { ids: ids.to_vec(), last: RefCell::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The binder of the keys that a request brings. None: there is none of an id that is allowed, as while Envoy has no keys
    /// and whatever stands there is the client's own.
    pub(crate) fn of(&self, header: &[u8]) -> Option<Rc<Binder>> {
        if let Some(last) = &*self.last.borrow()
            && *last.header == *header
        {
            return Some(Rc::clone(&last.binder));
        }
        // Whatever a client sends may stand here.
        let written = std::str::from_utf8(header).ok()?.split(',').take(MAX_BINDING_KEYS);
        let keys = written.filter_map(|text| text.parse().ok());
        let keys: Vec<BindingKey> = keys.filter(|key: &BindingKey| self.ids.contains(&key.id())).collect();
        let binder = Rc::new(Some(Binder::new(&keys)).filter(Binder::has_keys)?);
        *self.last.borrow_mut() = Some(Brought { header: header.into(), binder: Rc::clone(&binder) });
        Some(binder)
    }
}

/// Seals handles.
#[derive(Clone)]
pub(crate) struct Binder {
    /// The first one seals, all open.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    cipher: XChaCha20Poly1305,
    nonces: Hmac<Sha256>,
}

impl fmt::Debug for Binder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binder")
    }
}

impl Binder {
    /// A binder with these keys.
    pub(crate) fn new(keys: &[BindingKey]) -> Self {
        Self { keys: keys.iter().map(Key::new).collect() }
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// A handle as its owner is to see it, in characters of base64url; `None` without keys. What it is good for may have a
    /// narrower `scope` than all that its owner does.
    pub(crate) fn seal(&self, kind: Kind, owner: Owner<'_>, scope: &str, handle: &str) -> Option<String> {
        let mut text = Vec::with_capacity(handle.len() + 1);
        text.push(ID_ALONE);
        text.extend_from_slice(handle.as_bytes());
        let sealed = self.keys.first()?.seal(&context(kind, owner, scope), &text)?;
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The server's own handle, where it is one of this kind, owner and scope.
    pub(crate) fn open(&self, kind: Kind, owner: Owner<'_>, scope: &str, sealed: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let context = context(kind, owner, scope);
        let text = self.keys.iter().find_map(|key| key.open(&context, &sealed))?;
        match text.split_first() {
            Some((&ID_ALONE, handle)) => String::from_utf8(handle.to_vec()).ok(),
            // In doubt deny: a form of later versions says what this one does not know.
            _ => None,
        }
    }
}

impl Key {
    fn new(key: &BindingKey) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&key.derived(b"toolward handles: cipher").into()),
            nonces: mac(&key.derived(b"toolward handles: nonces")),
        }
    }

    fn seal(&self, context: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mac = self.nonces.clone().chain_update((context.len() as u64).to_be_bytes()).chain_update(context);
        let mac = mac.chain_update(text).finalize().into_bytes();
        let nonce = XNonce::try_from(mac.get(..NONCE_BYTES)?).ok()?;
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: text, aad: context }).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        self.cipher.decrypt(&nonce, Payload { msg: sealed, aad: context }).ok()
    }
}

/// What a handle is, and for whom and what.
fn context(kind: Kind, owner: Owner<'_>, scope: &str) -> Vec<u8> {
    let mut context = vec![u8::from(owner.subject.is_some())];
    // INVARIANT: lengths keep what belongs together apart from what follows.
    for part in [kind.label(), owner.issuer, owner.key_source, owner.subject.unwrap_or_default(), scope] {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part.as_bytes());
    }
    if !owner.servers.is_empty() {
        context.extend_from_slice(&(owner.servers.len() as u64).to_be_bytes());
        context.extend_from_slice(owner.servers.as_bytes());
    }
    context
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 5] = [Kind::Session, Kind::Task, Kind::Event, Kind::Endpoint, Kind::RequestState];

    const BOB: Owner<'_> =
        Owner { issuer: "https://a", key_source: "uri https://a/keys", subject: Some("bob"), servers: "" };

    fn key(byte: u8) -> BindingKey {
        BindingKey([byte; BINDING_KEY_BYTES])
    }

    fn binder(keys: &[u8]) -> Binder {
        Binder::new(&keys.iter().map(|byte| key(*byte)).collect::<Vec<_>>())
    }

    #[test]
    fn a_handle_is_its_owners_alone() {
        let binder = binder(&[1]);
        let sealed = binder.seal(Kind::Event, BOB, "s", "e.1").expect("a key");
        assert_eq!(binder.open(Kind::Event, BOB, "s", &sealed).as_deref(), Some("e.1"));
        assert_eq!(binder.seal(Kind::Event, BOB, "s", "e.1"), Some(sealed.clone()), "it has one form");
        let rows = [
            ("another subject", Kind::Event, Owner { subject: Some("eve"), ..BOB }, "s"),
            ("no subject", Kind::Event, Owner { subject: None, ..BOB }, "s"),
            ("an empty subject", Kind::Event, Owner { subject: Some(""), ..BOB }, "s"),
            ("another issuer", Kind::Event, Owner { issuer: "https://b", ..BOB }, "s"),
            ("one name, other keys", Kind::Event, Owner { key_source: "inline ns/p", ..BOB }, "s"),
            ("another server", Kind::Event, Owner { servers: "other", ..BOB }, "s"),
            (
                "a border moved",
                Kind::Event,
                Owner { issuer: "https://auri ", key_source: "https://a/keys", ..BOB },
                "s",
            ),
            ("another kind", Kind::Session, BOB, "s"),
            ("another session", Kind::Event, BOB, "t"),
            ("no session", Kind::Event, BOB, ""),
        ];
        for (name, kind, owner, scope) in rows {
            assert_eq!(binder.open(kind, owner, scope, &sealed), None, "{name}");
        }
    }

    #[test]
    fn what_was_not_sealed_does_not_open() {
        let binder = binder(&[1]);
        let sealed = binder.seal(Kind::Session, BOB, "", "s.1").expect("a key");
        let mut spellings = vec![
            ("nothing", String::new()),
            ("the server's own", "s.1".to_owned()),
            ("the form of earlier versions", "s.1.Z6nQMa-yZfZcHV-Nd7MyeQ".to_owned()),
            ("padding", format!("{sealed}=")),
            ("a blank", format!(" {sealed}")),
            ("something behind it", format!("{sealed}AAAA")),
            ("twice", format!("{sealed}{sealed}")),
            ("in upper case", sealed.to_uppercase()),
            ("another alphabet", sealed.replace(['-', '_'], "+")),
            ("half of it", sealed[..sealed.len() / 2].to_owned()),
        ];
        spellings.retain(|(_, spelling)| *spelling != sealed);
        for (name, spelling) in spellings {
            assert_eq!(binder.open(Kind::Session, BOB, "", &spelling), None, "{name}");
        }
        for index in 0..sealed.len() {
            for other in ["A", "B"] {
                let mut flipped = sealed.clone();
                flipped.replace_range(index..=index, other);
                if flipped != sealed {
                    assert_eq!(binder.open(Kind::Session, BOB, "", &flipped), None, "{index}");
                }
            }
        }
    }

    #[test]
    fn what_later_versions_say_more_does_not_open() {
        let binder = binder(&[1]);
        let key = binder.keys.first().expect("a key");
        for text in [&b""[..], b"\x02s", b"\x00s", b"\x01\xff"] {
            let sealed = URL_SAFE_NO_PAD.encode(key.seal(&context(Kind::Task, BOB, ""), text).expect("sealed"));
            assert_eq!(binder.open(Kind::Task, BOB, "", &sealed), None, "{text:?}");
        }
    }

    #[test]
    fn keys_are_rotated_and_nobody_is_cut_off() {
        let sealed = binder(&[1]).seal(Kind::Task, BOB, "", "t").expect("a key");
        let both = binder(&[2, 1]);
        assert_eq!(both.open(Kind::Task, BOB, "", &sealed).as_deref(), Some("t"));
        assert_ne!(both.seal(Kind::Task, BOB, "", "t"), Some(sealed.clone()));
        assert_eq!(binder(&[2]).open(Kind::Task, BOB, "", &sealed), None);
    }

    #[test]
    fn keys_have_one_form() {
        for wrong in ["", "AAAA", "not base64url!"] {
            assert_eq!(wrong.parse::<BindingKey>(), Err(NoBindingKey), "{wrong:?}");
            assert_eq!(BindingKeyId::try_from(wrong.to_owned()), Err(NoBindingKey), "{wrong:?}");
        }
    }

    #[test]
    fn keys_are_those_that_the_configuration_knows() {
        let ids = [key(1).id(), key(2).id()];
        let binders = Binders::new(&ids);
        let header = |bytes: &[u8]| BindingKey::header(&bytes.iter().map(|byte| key(*byte)).collect::<Vec<_>>());
        let sealed = |byte: u8| binder(&[byte]).seal(Kind::Task, BOB, "", "t");
        let rows = [
            ("the first seals", header(&[1, 2]), sealed(1)),
            ("in another order", header(&[2, 1]), sealed(2)),
            ("before the configuration knows the newest", header(&[3, 2]), sealed(2)),
            ("after an old one is gone", header(&[2]), sealed(2)),
            ("none that is known", header(&[3]), None),
            ("nothing", String::new(), None),
            ("an id in place of its key", ids[0].clone().into(), None),
            ("behind more than are read", format!("{},{}", header(&[3; MAX_BINDING_KEYS]), header(&[1])), None),
        ];
        for (name, header, expected) in rows {
            for _ in 0..2 {
                let seals = binders.of(header.as_bytes()).and_then(|binder| binder.seal(Kind::Task, BOB, "", "t"));
                assert_eq!(seals, expected, "{name}");
            }
        }
    }

    #[test]
    fn each_gateway_has_keys_of_its_own() {
        let key = key(1);
        let [one, other] = ["a/gw", "b/gw"].map(|gateway| key.of_gateway(gateway));
        let all = [&key, &one, &other].map(BindingKey::id);
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(one, key.of_gateway("a/gw"), "the same on all replicas");
    }

    proptest! {
        /// Four characters may be the same by chance; six are not.
        #[test]
        fn what_is_sealed_opens_for_the_same_alone_and_shows_nothing(
            handle in "[A-Za-z0-9_.-]{6,80}",
            (kind, other_kind) in (0usize..5, 0usize..5),
            (subject, other_subject) in ("[a-c]{0,3}", "[a-c]{0,3}"),
            (scope, other_scope) in ("[a-c]{0,3}", "[a-c]{0,3}"),
            (key, other_key) in (0u8..3, 0u8..3),
        ) {
            let owner = Owner { subject: Some(&subject), ..BOB };
            let other = Owner { subject: Some(&other_subject), ..BOB };
            let sealed = binder(&[key]).seal(KINDS[kind], owner, &scope, &handle).expect("a key");
            prop_assert!(sealed.bytes().all(|byte| byte.is_ascii_graphic()));
            for shown in handle.as_bytes().windows(6) {
                prop_assert!(!sealed.as_bytes().windows(6).any(|part| part == shown), "{sealed} shows {handle}");
            }
            let is_same = (kind, &subject, &scope, key) == (other_kind, &other_subject, &other_scope, other_key);
            let opened = binder(&[other_key]).open(KINDS[other_kind], other, &other_scope, &sealed);
            prop_assert_eq!(opened, is_same.then_some(handle));
        }
    }
}
