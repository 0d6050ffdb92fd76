//! How the brokers and this daemon know each other: TLS and SASL, in Kafka's own words.
//!
//! Invariants: a broker's certificate is always checked, its name included; files are read at each connection, so
//! that renewed ones are used; no text shows a password.

use std::fmt;
use std::path::PathBuf;

use krafka::auth::{AuthConfig, TlsConfig};

/// TLS and SASL, as far as they are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Encrypted (`SSL`, `SASL_SSL`).
    pub tls: Option<Tls>,
    /// With a name and a password (`SASL_PLAINTEXT`, `SASL_SSL`).
    pub sasl: Option<Sasl>,
}

/// The trusted CAs, and the certificate that this daemon shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of trusted CAs (`KAFKA_SSL_CA_LOCATION`). None: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of the daemon's own certificate and its key (`KAFKA_SSL_CERTIFICATE_LOCATION`, `KAFKA_SSL_KEY_LOCATION`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// This daemon's login.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: Mechanism,
    /// `KAFKA_SASL_USERNAME`
    pub username: String,
    /// `KAFKA_SASL_PASSWORD`
    pub password: String,
}

/// How a password is proven (`KAFKA_SASL_MECHANISM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// By sending it.
    Plain,
    /// Without sending it.
    ScramSha256,
    /// The same with a longer hash.
    ScramSha512,
}

impl Mechanism {
    pub(super) const WORDS: &[(&str, Self)] =
        &[("PLAIN", Self::Plain), ("SCRAM-SHA-256", Self::ScramSha256), ("SCRAM-SHA-512", Self::ScramSha512)];
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mechanism, username, password: _ } = self;
        f.debug_struct("Sasl")
            .field("mechanism", mechanism)
            .field("username", username)
            .finish_non_exhaustive()
    }
}

impl Security {
    /// Neither is set.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tls.is_none() && self.sasl.is_none()
    }

    /// The password goes over the network in clear text.
    #[must_use]
    pub fn is_password_in_clear(&self) -> bool {
        self.tls.is_none() && self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain)
    }

    /// As the modern client takes it.
    pub(super) fn auth(&self) -> AuthConfig {
        let auth = match &self.sasl {
            None => AuthConfig::plaintext(),
            Some(Sasl { mechanism, username, password }) => match mechanism {
                Mechanism::Plain => AuthConfig::sasl_plain(username, password),
                Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(username, password),
                Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(username, password),
            },
        };
        match &self.tls {
            None => auth,
            Some(Tls { ca, identity }) => {
                let path = |path: &PathBuf| path.to_string_lossy().into_owned();
                let tls = match ca {
                    Some(ca) => TlsConfig::new().with_ca_cert(path(ca)),
                    None => TlsConfig::new().with_native_roots(),
                };
                auth.with_tls(match identity {
                    Some((certificate, key)) => tls.with_client_cert(path(certificate), path(key)),
                    None => tls,
                })
            }
        }
    }
}

/// What to do about a connection that failed for its security, by the client's words: it offers nothing else. None: it
/// failed for another reason.
pub(super) fn advice(said: &str) -> Option<&'static str> {
    const ADVICE: [(&[&str], &str); 11] = [
        (
            &["UnknownIssuer", "BadSignature"],
            "the CA of the broker's certificate is not trusted: name it by KAFKA_SSL_CA_LOCATION",
        ),
        (
            &["NotValidForName", "not valid for name"],
            "the broker's certificate is for another name: use that in KAFKA_BROKERS and in the broker's advertised.listeners",
        ),
        (
            &["Expired", "expired"],
            "the broker's certificate has expired: renew it, or look at this machine's clock",
        ),
        (
            &["CertificateRequired", "certificate required"],
            "the broker requires a client certificate: set KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION",
        ),
        (
            &["UnknownCA", "unknown ca", "BadCertificate", "CertificateUnknown", "CertificateExpired"],
            "the broker does not accept this daemon's certificate, or wants one and gets none: look at KAFKA_SSL_CERTIFICATE_LOCATION",
        ),
        (
            &["InvalidContentType", "corrupt message", "tls handshake eof"],
            "the broker's port does not speak TLS: look at KAFKA_SECURITY_PROTOCOL and at the port",
        ),
        (
            &["UnsupportedSaslMechanism", "UNSUPPORTED_SASL_MECHANISM"],
            "the broker does not offer this KAFKA_SASL_MECHANISM",
        ),
        (
            &["IllegalSaslState", "ILLEGAL_SASL_STATE"],
            "the broker expects no SASL on this port: look at KAFKA_SECURITY_PROTOCOL",
        ),
        (
            // A TLS alert (15 03 ..) read as the length of an answer.
            &["message size 352518"],
            "the broker speaks TLS on this port: set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL",
        ),
        (
            &["TLS handshake failed"],
            "the TLS handshake with the broker failed: look at KAFKA_SECURITY_PROTOCOL, KAFKA_SSL_CA_LOCATION and the port",
        ),
        (
            &[
                "SaslAuthenticationFailed",
                "authentication error",
                "Authentication failed",
                "authentication failed",
                "invalid credentials",
            ],
            "the user name or the password is wrong: look at KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
        ),
    ];
    ADVICE.iter().find(|(signs, _)| signs.iter().any(|sign| said.contains(sign))).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let sasl = Sasl { mechanism: Mechanism::Plain, username: "till".into(), password: "hunter2".into() };
        let security = Security { tls: Some(Tls::default()), sasl: Some(sasl) };
        assert!(!format!("{security:?}").contains("hunter2"));
        assert!(!format!("{:?}", security.auth()).contains("hunter2"));
        assert!(
            !security.is_password_in_clear() && Security { tls: None, ..security }.is_password_in_clear()
        );
    }

    #[test]
    fn every_refusal_has_its_advice() {
        for (said, part) in [
            ("invalid peer certificate: UnknownIssuer", "KAFKA_SSL_CA_LOCATION"),
            ("received fatal alert: CertificateRequired", "KAFKA_SSL_KEY_LOCATION"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("broker error: SaslAuthenticationFailed - x", "KAFKA_SASL_PASSWORD"),
        ] {
            assert!(advice(said).is_some_and(|advice| advice.contains(part)), "{said}");
        }
        assert_eq!(advice("connection refused"), None);
    }
}
