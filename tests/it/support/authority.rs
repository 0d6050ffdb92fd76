//! A shop's own certificate authority, by openssl, as its administrator would make one.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::TempDir;

pub(crate) struct Authority {
    folder: PathBuf,
    name: &'static str,
    // Where it made a folder of its own.
    _home: Option<TempDir>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// In a folder of its own.
    pub(crate) fn new() -> Self {
        let home = TempDir::new();
        let authority = Self::within(home.path(), "ca");
        Self { _home: Some(home), ..authority }
    }

    /// `NAME.pem` and `NAME.key` in this folder.
    pub(crate) fn within(folder: &Path, name: &'static str) -> Self {
        let authority = Self { folder: folder.to_owned(), name, _home: None };
        let subject = format!("/CN=the shop's {name}");
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            text(&authority.key()),
            "-out",
            text(&authority.certificate()),
        ]);
        authority
    }

    /// What clients and servers are to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.at(&format!("{}.pem", self.name))
    }

    fn key(&self) -> PathBuf {
        self.at(&format!("{}.key", self.name))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Signs a certificate for this name, which is the subject and a DNS name. 0 days: it ends at once.
    pub(crate) fn sign(&self, name: &str, days: u32) -> Pair {
        let pair = Pair {
            certificate: self.at(&format!("{name}-{days}.pem")),
            key: self.at(&format!("{name}-{days}.key")),
        };
        let (request, names) = (self.at("request.pem"), self.at("names"));
        std::fs::write(&names, format!("subjectAltName=DNS:{name}\n")).expect("a writable folder");
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            text(&pair.key),
            "-out",
            text(&request),
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            text(&request),
            "-CA",
            text(&self.certificate()),
            "-CAkey",
            text(&self.key()),
            "-CAcreateserial",
            "-days",
            &days.to_string(),
            "-extfile",
            text(&names),
            "-out",
            text(&pair.certificate),
        ]);
        pair
    }
}

impl Pair {
    /// Key and certificate in one file, as Kafka's PEM keystores want them.
    pub(crate) fn in_one_file(&self) -> PathBuf {
        let read = |path: &Path| std::fs::read_to_string(path).expect("openssl wrote it");
        let store = self.certificate.with_extension("store.pem");
        std::fs::write(&store, read(&self.key) + &read(&self.certificate)).expect("a writable folder");
        store
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().expect("openssl runs: scripts/test installs it");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
