//! API keys: who may send events, and who may look at the status, by name.
//!
//! The door asks [`Guard::admit`] for each request, from the head alone. Keys come from one file (see `file`), which SIGHUP
//! reloads; a bad file changes nothing.
//!
//! Invariants
//! - Of a key only the SHA-256 is kept. Neither key nor digest is ever shown: logs and counters have names.
//! - Each look-up compares with the whole digest of every key. Its duration does not depend on how much of a key was right,
//!   whose key was nearly right, or on which line of the file it is.

mod file;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ArgAction;
use clap::builder::ValueHint;
use log::info;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use file::KeyLine;
pub use file::{KeysError, read_one};

use crate::host::reload::Reload;
use crate::setting::switch;

/// What an administrator can set of them.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "API keys")]
#[group(skip)]
pub struct Options {
    /// File of API keys, one per line: NAME KEY, or NAME sha256:HEX. Without it everyone may send events. SIGHUP reloads
    /// it. A systemd credential named API_KEYS_FILE is used too
    #[arg(long, env, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub api_keys_file: Option<PathBuf>,
    /// Whether the status (/, /status.json, /stats, /metrics) needs an API key too: on or off
    #[arg(long, env, default_value = "off", value_name = "SWITCH", value_parser = switch(), action = ArgAction::Set)]
    pub protect_status: bool,
}

/// What a route asks of a client, where keys are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: supervisors and load balancers have no keys.
    Open,
    /// A key.
    Keyed,
    /// A key where the status is protected.
    Status,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It has no key, or has it in a form that is not supported.
    Missing,
    /// The key is not in the file.
    Unknown,
}

/// A key as a client sent it. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// As it is.
    Key(&'a str),
    /// `name:key` in base64, as browsers send it. The name is ignored.
    Basic(&'a str),
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// SHA-256 of a key, as four words: comparing them is eight times faster than comparing bytes.
type KeyDigest = [u64; 4];

fn digest(key: &str) -> KeyDigest {
    words(Sha256::digest(key).as_slice())
}

fn words(bytes: &[u8]) -> KeyDigest {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// The key, which follows the name.
fn password(basic: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(basic).ok()?).ok()?;
    text.split_once(':').map(|(_, key)| key.to_owned())
}

/// A client, known by its key.
#[derive(Debug)]
pub struct KeyHolder {
    name: Box<str>,
    requests: AtomicU64,
}

impl KeyHolder {
    /// Letters, digits, `.`, `_`, `-` and `@`, 64 at most.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

struct KeyEntry {
    digest: KeyDigest,
    client: Arc<KeyHolder>,
}

/// The keys of the file, as read once.
struct KeySet {
    entries: Vec<KeyEntry>,
    /// Each once, in the order of the file.
    clients: Vec<Arc<KeyHolder>>,
}

impl KeySet {
    /// A client that was there `before` keeps its count.
    fn of(lines: Vec<KeyLine>, before: &[Arc<KeyHolder>]) -> Self {
        let mut set = Self { entries: Vec::with_capacity(lines.len()), clients: Vec::new() };
        for KeyLine { name, digest, .. } in lines {
            let known = set.clients.iter().chain(before).find(|client| client.name == name).cloned();
            let client = known.unwrap_or_else(|| Arc::new(KeyHolder { name, requests: AtomicU64::new(0) }));
            if !set.clients.iter().any(|other| Arc::ptr_eq(other, &client)) {
                set.clients.push(Arc::clone(&client));
            }
            set.entries.push(KeyEntry { digest, client });
        }
        set
    }

    fn find(&self, shown: &KeyDigest) -> Option<&Arc<KeyHolder>> {
        let mut found = 0_u64;
        for (nth, entry) in (1_u64..).zip(&self.entries) {
            let pairs = entry.digest.iter().zip(shown);
            let differs = pairs.fold(0, |differs, (one, other)| differs | (one ^ other));
            found.conditional_assign(&nth, differs.ct_eq(&0));
        }
        let nth = usize::try_from(found).ok()?.checked_sub(1)?;
        self.entries.get(nth).map(|entry| &entry.client)
    }
}

/// The keys in use, and their file.
pub struct KeyRing {
    path: PathBuf,
    /// Locked for writing only while a new set replaces the old one.
    set: RwLock<Arc<KeySet>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("path", &self.path).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let set = KeySet::of(file::read(path)?, &[]);
        Ok(Self { path: path.to_owned(), set: RwLock::new(Arc::new(set)) })
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file and how many clients and keys it has.
    #[must_use]
    pub fn contents(&self) -> String {
        let set = self.current();
        format!("API keys file={:?} clients={} keys={}", self.path, set.clients.len(), set.entries.len())
    }
}

impl Reload for KeyRing {
    fn reload(&self) -> Result<String, String> {
        let lines = file::read(&self.path).map_err(|problem| problem.to_string())?;
        let set = KeySet::of(lines, &self.current().clients);
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        Ok(self.contents())
    }
}

/// Judges requests by their route and key. Cheap to clone: every clone sees a reload.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    ring: Option<Arc<KeyRing>>,
    protects_status: bool,
}

impl Guard {
    /// Without a file everything is open.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(options: &Options) -> Result<Self, KeysError> {
        let ring = options.api_keys_file.as_deref().map(KeyRing::open).transpose()?.map(Arc::new);
        if let Some(ring) = &ring {
            info!("requests need an API key: {}", ring.contents());
        }
        Ok(Self { ring, protects_status: options.protect_status })
    }

    /// Whether any route needs a key.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ring.is_some()
    }

    /// The keys, to be reloaded.
    #[must_use]
    pub fn ring(&self) -> Option<Arc<KeyRing>> {
        self.ring.clone()
    }

    /// The client that `shown` admits; `None` where the route is open.
    ///
    /// # Errors
    /// Why the request is not admitted.
    pub fn admit(&self, access: Access, shown: Option<Shown<'_>>) -> Result<Option<Arc<KeyHolder>>, Denied> {
        let Some(ring) = &self.ring else { return Ok(None) };
        match access {
            Access::Open => return Ok(None),
            Access::Status if !self.protects_status => return Ok(None),
            Access::Status | Access::Keyed => {}
        }
        let key = match shown.ok_or(Denied::Missing)? {
            Shown::Key(key) => Cow::Borrowed(key),
            Shown::Basic(text) => password(text).ok_or(Denied::Unknown)?.into(),
        };
        let set = ring.current();
        let client = set.find(&digest(&key)).ok_or(Denied::Unknown)?;
        client.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Arc::clone(client)))
    }

    /// Requests admitted since start, by name: as many names as the file has.
    #[must_use]
    pub fn requests(&self) -> Vec<(Box<str>, u64)> {
        let Some(ring) = &self.ring else { return Vec::new() };
        let counted =
            |client: &Arc<KeyHolder>| (client.name.clone(), client.requests.load(Ordering::Relaxed));
        ring.current().clients.iter().map(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "the-old-key-of-till-7";
    const NEW: &str = "the-new-key-of-till-7";
    const OTHER: &str = "the-key-of-the-office";

    fn set(text: &str, before: &[Arc<KeyHolder>]) -> KeySet {
        KeySet::of(file::parse(text).unwrap(), before)
    }

    fn guard(protects_status: bool) -> Guard {
        let set = set(&format!("till-7 {OLD}\noffice {OTHER}\ntill-7 {NEW}\n"), &[]);
        let ring = KeyRing { path: "keys".into(), set: RwLock::new(Arc::new(set)) };
        Guard { ring: Some(Arc::new(ring)), protects_status }
    }

    fn admitted(guard: &Guard, access: Access, shown: Option<&str>) -> Result<String, Denied> {
        let client = guard.admit(access, shown.map(Shown::Key))?;
        Ok(client.map_or_else(|| "-".to_owned(), |client| client.name().to_owned()))
    }

    #[test]
    fn a_browser_shows_the_key_as_a_password() {
        let guard = guard(true);
        let admitted =
            |text: &str| guard.admit(Access::Status, Some(Shown::Basic(&BASE64_STANDARD.encode(text))));
        assert!(admitted(&format!("anyone:{OTHER}")).is_ok_and(|client| client.unwrap().name() == "office"));
        assert!(admitted(&format!(":{OTHER}")).is_ok());
        for wrong in [OTHER, "office:", &format!("{OTHER}:")] {
            assert_eq!(admitted(wrong).err(), Some(Denied::Unknown), "{wrong}");
        }
        let broken = guard.admit(Access::Status, Some(Shown::Basic("not base64!")));
        assert_eq!(broken.err(), Some(Denied::Unknown));
    }

    #[test]
    fn a_route_says_what_it_needs() {
        use Access::{Keyed, Open, Status};
        let cut = &OLD[..OLD.len() - 1];
        for (protects, access, shown, expected) in [
            (false, Keyed, Some(OLD), Ok("till-7")),
            (false, Keyed, Some(NEW), Ok("till-7")),
            (false, Keyed, Some(OTHER), Ok("office")),
            (false, Keyed, None, Err(Denied::Missing)),
            (false, Keyed, Some(""), Err(Denied::Unknown)),
            (false, Keyed, Some(cut), Err(Denied::Unknown)),
            (false, Keyed, Some("till-7"), Err(Denied::Unknown)),
            (false, Open, None, Ok("-")),
            (false, Open, Some("nonsense"), Ok("-")),
            (false, Status, None, Ok("-")),
            (true, Open, None, Ok("-")),
            (true, Status, None, Err(Denied::Missing)),
            (true, Status, Some("nonsense"), Err(Denied::Unknown)),
            (true, Status, Some(OTHER), Ok("office")),
        ] {
            let got = admitted(&guard(protects), access, shown);
            assert_eq!(
                got.as_deref(),
                expected.as_ref().map(|name| *name),
                "{protects} {access:?} {shown:?}"
            );
        }
        assert_eq!(admitted(&Guard::default(), Keyed, None).as_deref(), Ok("-"));
    }

    #[test]
    fn a_client_goes_on_counting_over_a_reload_and_one_that_is_gone_is_forgotten() {
        let guard = guard(false);
        for key in [OLD, NEW, OTHER] {
            admitted(&guard, Access::Keyed, Some(key)).unwrap();
        }
        assert_eq!(guard.requests(), [("till-7".into(), 2), ("office".into(), 1)]);
        let ring = guard.ring.clone().unwrap();
        let next = set(&format!("till-7 {NEW}\nback-room {OTHER}\n"), &ring.current().clients);
        *ring.set.write().unwrap() = Arc::new(next);
        assert_eq!(admitted(&guard, Access::Keyed, Some(OLD)), Err(Denied::Unknown));
        assert_eq!(admitted(&guard, Access::Keyed, Some(OTHER)).as_deref(), Ok("back-room"));
        assert_eq!(guard.requests(), [("till-7".into(), 2), ("back-room".into(), 1)]);
    }

    #[test]
    fn nothing_shows_a_key() {
        let guard = guard(true);
        let shown = format!(
            "{guard:?} {:?} {:?}",
            Shown::Key(OLD),
            guard.admit(Access::Keyed, Some(Shown::Key(OLD)))
        );
        assert!(shown.contains("till-7") && !shown.contains("key-of"), "{shown}");
    }
}
