//! Certificates as `scripts/make-cert` makes them, and clients that trust one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::TempDir;
use super::daemon::{Builder, Daemon};

/// A self-signed certificate for this machine, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Certificate(TempDir);

impl Certificate {
    pub(crate) fn make() -> Self {
        Self::made_with(&[])
    }

    /// With these arguments to the script.
    pub(crate) fn made_with(args: &[&str]) -> Self {
        let folder = TempDir::new();
        make_cert(folder.path(), args);
        Self(folder)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// A daemon that shows it.
    pub(crate) fn daemon(&self) -> Builder {
        Daemon::builder().env("TLS_CERT", self.certificate().display()).env("TLS_KEY", self.key().display())
    }

    /// Takes the place of this one, as an administrator would do it.
    pub(crate) fn replace_by(&self, other: &Self) {
        for (fresh, old) in [(other.certificate(), self.certificate()), (other.key(), self.key())] {
            std::fs::copy(fresh, old).expect("a certificate can be copied");
        }
    }

    /// What clients that trust this certificate, and no other, need.
    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
        let own = CertificateDer::from_pem_file(self.certificate()).expect("make-cert writes PEM");
        let mut roots = RootCertStore::empty();
        roots.add(own).expect("a certificate can be trusted");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A client's side of a connection to `localhost`.
pub(crate) fn connection(trust: &Arc<ClientConfig>) -> ClientConnection {
    let name = "localhost".try_into().expect("a name");
    ClientConnection::new(Arc::clone(trust), name).expect("a client can be made")
}

/// Runs the script, which must succeed.
fn make_cert(folder: &Path, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-cert");
    let output = Command::new(script).arg(folder).args(args).output().expect("scripts/make-cert runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
