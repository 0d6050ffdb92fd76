//! An authority, a server's certificate by it, and an authority that nobody asked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::authority::Authority;

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
    Authority::within(folder, "stranger");
    let pair = Authority::within(folder, "authority").sign("localhost", 30);
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    for (made, wanted) in [(&pair.certificate, &certificate), (&pair.key, &key)] {
        fs::rename(made, wanted).unwrap();
    }
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    Own { certificate: text(&certificate), key: text(&key) }
}
