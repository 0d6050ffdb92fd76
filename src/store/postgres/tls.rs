//! TLS to the server by rustls: which certificates are trusted, by the rules of libpq's `sslmode`.
//!
//! Invariant: `verify-ca` and `verify-full` never connect to a server whose certificate was not verified.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{Roots, Trust};

/// Makes TLS connections that trust as `trust` says.
///
/// Errors: the trusted CAs cannot be read.
pub(super) fn connector(trust: &Trust) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(trust, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot start TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Check {
    /// Only that the other end owns the certificate that it shows.
    Nothing,
    /// The chain up to `roots`, and the host's name with `name`. A server's own certificate may be listed itself: it is
    /// then trusted as it is.
    Chain { roots: RootCertStore, listed: Vec<CertificateDer<'static>>, name: bool },
}

impl Verifier {
    fn new(trust: &Trust, provider: &CryptoProvider) -> Result<Self, String> {
        let check = match trust {
            Trust::Anyone => Check::Nothing,
            Trust::Authority { roots, name } => {
                let listed = listed(roots)?;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(listed.iter().cloned());
                Check::Chain { roots, listed, name: *name }
            }
        };
        Ok(Self { check, algorithms: provider.signature_verification_algorithms })
    }
}

fn listed(roots: &Roots) -> Result<Vec<CertificateDer<'static>>, String> {
    let (listed, place) = match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            (found.certs, format!("the system's store{why}"))
        }
        Roots::File(path) => {
            let place = format!("sslrootcert {}", path.display());
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            (read.map_err(|error| format!("cannot read {place}: {error}: it must be a PEM file"))?, place)
        }
    };
    if listed.is_empty() {
        return Err(format!(
            "no certificate in {place}: install ca-certificates, or name the server's CA by sslrootcert="
        ));
    }
    Ok(listed)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Check::Chain { roots, listed, name } = &self.check {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            // Most tools make a self-signed certificate a CA, and a CA is not accepted as a server: but who lists it
            // means it.
            if !listed.contains(end_entity) {
                let known = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, known)?;
            }
            if *name {
                verify_server_name(&certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
