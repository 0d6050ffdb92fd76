//! An authority, a server's certificate by it, and an authority that nobody asked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The server's own files.
pub(super) struct Own {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) fn authority(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

pub(super) fn stranger(folder: &Path) -> PathBuf {
    folder.join("stranger.pem")
}

/// Makes them in `folder`: the server's certificate is for `localhost`, and for no address.
pub(super) fn make(folder: &Path) -> Own {
    for (certificate, key, name) in [
        (authority(folder), "authority.key", "/CN=the shop's authority"),
        (stranger(folder), "stranger.key", "/CN=somebody else's authority"),
    ] {
        openssl(
            folder,
            &[
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
                name,
                "-keyout",
                key,
                "-out",
                text(&certificate),
            ],
        );
    }
    openssl(
        folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ],
    );
    std::fs::write(folder.join("server.ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            "server.ext",
            "-out",
            "server.pem",
        ],
    );
    Own {
        certificate: text(&folder.join("server.pem")).to_owned(),
        key: text(&folder.join("server.key")).to_owned(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.expect("openssl is there: PostgreSQL's own packages need it");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
