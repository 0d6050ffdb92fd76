//! Libraries for `LD_PRELOAD` that lie to a real program about its disk or its clock.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source`, a path below `tests/it/`, into a library in `folder`.
pub(crate) fn build(source: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(source);
    let library = folder.join(source.with_extension("so").file_name().expect("a file has a name"));
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .expect("cc: install a C compiler, the bundled SQLite needs one too");
    assert!(status.success(), "cc does not take {}", source.display());
    library
}
