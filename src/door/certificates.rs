//! The certificate and its key, from PEM files: checked when they are read, reloaded while connections go on.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::DateTime;
use log::warn;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::host::clock;
use crate::host::reload::Reload;
use crate::limits::{CERTIFICATE_WARNING_S, PEM_BYTES_MAX};

/// The files of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate, followed by the intermediate ones, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificates {
    files: CertificateFiles,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

/// What a handshake uses.
#[derive(Debug)]
struct Current {
    /// Locked for writing only while it is replaced.
    shown: RwLock<Arc<CertifiedKey>>,
    /// In seconds since 1970; 0 if it cannot be read.
    ends_at_s: AtomicI64,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used, why, and what to do.
    pub fn read(files: CertificateFiles) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let (shown, ends_at_s) = load(&files, &provider)?;
        let current = Current { shown: RwLock::new(Arc::new(shown)), ends_at_s: AtomicI64::new(ends_at_s) };
        let current = Arc::new(current);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| format!("cannot start TLS: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let read = Self { files, current, config: Arc::new(config) };
        read.warn_of_end();
        Ok(read)
    }

    /// For new connections.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// When the certificate in use ends, in seconds since 1970; 0 if it cannot be read.
    pub(super) fn ends_at_s(&self) -> i64 {
        self.current.ends_at_s.load(Ordering::Relaxed)
    }

    /// Logs a warning when the end is near. Nobody looks at a box that works.
    pub(super) fn warn_of_end(&self) {
        let left_s = self.ends_at_s() - clock::record_ms() / 1_000;
        if self.ends_at_s() > 0
            && let Some(advice) = advice(left_s)
        {
            let file = self.files.certificate.display();
            warn!("the certificate in {file} {advice}: make a new one and send SIGHUP");
        }
    }

    /// One line about the certificate in use: until when it is valid.
    #[must_use]
    pub fn describe(&self) -> String {
        let until = match self.ends_at_s() {
            0 => "?".to_owned(),
            ends_at_s => show(ends_at_s),
        };
        format!("tls certificate={:?} valid_until={until}", self.files.certificate)
    }
}

impl Reload for Certificates {
    fn reload(&self) -> Result<String, String> {
        let provider = self.config.crypto_provider();
        let (fresh, ends_at_s) = load(&self.files, provider)?;
        *self.current.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        self.current.ends_at_s.store(ends_at_s, Ordering::Relaxed);
        self.warn_of_end();
        Ok(self.describe())
    }
}

/// The certificate with its key, and when it ends.
fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<(CertifiedKey, i64), String> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain: Vec<CertificateDer<'static>> = read(&files.certificate)
        .and_then(|pem| {
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| e.to_string())
        })
        .map_err(|error| format!("TLS_CERT {certificate} cannot be used: {error}"))?;
    let Some(own) = chain.first() else {
        return Err(format!("TLS_CERT {certificate} cannot be used: it holds no certificate in PEM form"));
    };
    let ends_at_s = ends_at_s(own).unwrap_or_default();
    let secret = read(&files.key)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|e| e.to_string()))
        .map_err(|error| {
            format!("TLS_KEY {key} cannot be used: {error}; it must hold a private key in PEM form")
        })?;
    let certified = CertifiedKey::from_der(chain, secret, provider).map_err(|error| {
        format!(
            "TLS_CERT {certificate} and TLS_KEY {key} cannot be used together: {error}; \
             use a version 3 certificate and its own key: RSA, ECDSA or Ed25519"
        )
    })?;
    Ok((certified, ends_at_s))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(PEM_BYTES_MAX).read_to_end(&mut pem).map_err(|error| error.to_string())?;
    Ok(pem)
}

/// When a certificate ends, in seconds since 1970.
fn ends_at_s(certificate: &CertificateDer<'_>) -> Option<i64> {
    let parsed = Certificate::from_der(certificate).ok()?;
    i64::try_from(parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs()).ok()
}

/// The warning about a certificate that ends in `left_s` seconds.
fn advice(left_s: i64) -> Option<String> {
    match left_s {
        ..0 => Some("has expired, clients refuse it".to_owned()),
        0..CERTIFICATE_WARNING_S => Some(format!("expires in {} days", left_s / 86_400)),
        _ => None,
    }
}

fn show(ends_at_s: i64) -> String {
    DateTime::from_timestamp(ends_at_s, 0)
        .map_or_else(|| "?".to_owned(), |at| at.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_end_is_warned_about() {
        for (left_s, warning) in [
            (-1, Some("has expired, clients refuse it")),
            (0, Some("expires in 0 days")),
            (29 * 86_400, Some("expires in 29 days")),
            (31 * 86_400, None),
            (i64::MAX, None),
        ] {
            assert_eq!(advice(left_s).as_deref(), warning, "{left_s}");
        }
        assert_eq!(show(1_793_491_200), "2026-11-01");
    }
}
