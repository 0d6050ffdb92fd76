//! What other users of the machine may see of the daemon: no file of its, no core of its, no password.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::TempDir;
use crate::support::daemon::Daemon;
use crate::support::events;

/// Every path below `folder`, itself included, that anyone but its owner has a right to.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.permissions().mode() & 0o077 != 0 {
            found.push(format!("{} {:o}", path.display(), meta.permissions().mode()));
        }
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn what_the_daemon_writes_is_its_users_alone() {
    let folder = TempDir::new();
    let data = folder.path().join("new/data");
    let mut daemon = Daemon::builder().data_dir(&data).start();
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    assert!(data.join("spool.sqlite3-wal").exists() && data.join("private/http.sock").exists());
    assert_eq!(open_to_others(&data), Vec::<String>::new());
    daemon.terminate();
    // Copied back by an administrator, readable for all.
    for name in ["spool.sqlite3", "spool.lock"] {
        fs::set_permissions(data.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    daemon.restart();
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    assert_eq!(open_to_others(&data), Vec::<String>::new());
}

#[test]
fn no_core_is_dumped_and_root_is_warned() {
    let daemon = Daemon::start();
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    let limits = read("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.trim_start_matches("Max core file size").split_whitespace().collect();
    // One byte is Linux's word for no dump at all; an administrator may have set none before.
    assert!(values[..2] == ["1", "1"] || values[..2] == ["0", "0"], "{core}");
    assert!(read("status").lines().any(|line| line == "Umask:\t0077"));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(daemon.logged("running as root"), is_root, "{}", daemon.log_text());
}

#[test]
fn no_password_is_seen_anywhere() {
    const PASSWORD: &str = "s3cret-of-the-shop";
    let url = format!("postgres://till:{PASSWORD}@127.0.0.1:1/logs");
    let folder = TempDir::new();
    let file = folder.path().join("url");
    fs::write(&file, &url).unwrap();
    for (name, value) in [("POSTGRES_URL", url.as_str()), ("POSTGRES_URL_FILE", file.to_str().unwrap())] {
        let mut daemon = Daemon::builder().env(name, value).env("LOG_LEVEL", "trace").start();
        daemon.wait_for("/health", Duration::from_secs(10), |health| health["postgres"]["state"] == "down");
        assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
        for path in ["/health", "/stats", "/readyz"] {
            assert!(!daemon.get(path).text().contains(PASSWORD), "{path}");
        }
        let arguments = fs::read_to_string(format!("/proc/{}/cmdline", daemon.pid())).unwrap();
        assert!(!arguments.contains(PASSWORD));
        daemon.terminate();
        assert!(!daemon.log_text().contains(PASSWORD), "{}", daemon.log_text());
    }
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    let start = |args: &[&str]| {
        let builder = args.iter().fold(Daemon::builder(), |builder, arg| builder.arg(arg));
        builder.env("SHUTDOWN_TIMEOUT", "1s").run_to_exit(Duration::from_secs(10))
    };
    for args in [
        &["--postgres-url", "postgres://till:s3cret@db/logs"][..],
        &["--postgres-url=postgres://till@db/logs?password=s3cret"],
    ] {
        let (code, said) = start(args);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("POSTGRES_URL_FILE") && !said.contains("s3cret"), "{said}");
    }
    // Without one it goes on to what is wrong next: a time shorter than the deadline of PostgreSQL.
    let (code, said) = start(&["--postgres-url", "postgres://till@db/logs"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("SHUTDOWN_TIMEOUT"), "{said}");
}
