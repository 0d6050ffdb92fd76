//! What packages ship: a Debian package that is installed, upgraded, removed and purged by the real dpkg (into a folder
//! of its own), manual pages, completions, the image's recipe.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::TempDir;
use crate::support::daemon::Daemon;
use crate::support::events;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The package of this build, with a version of its own.
fn package(version: &str, folder: &TempDir) -> PathBuf {
    // scripts/test sets that for the tests' own program: what cargo builds here is built as ever.
    let mut script = Command::new("scripts/package");
    script.arg("debug").env("DEB_VERSION", version).env_remove("RUSTC_BOOTSTRAP").current_dir(root());
    let made = run(&mut script);
    let made = root().join(text(&made.stdout).trim());
    let kept = folder.path().join(format!("{version}.deb"));
    fs::rename(made, &kept).expect("the same disk");
    kept
}

/// A folder that is a machine as far as dpkg can tell.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new());
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"] {
            fs::create_dir_all(machine.at(folder)).expect("a writable folder");
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(machine.at(file), "").expect("a writable folder");
        }
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn dpkg(&self, args: &[&str]) {
        // What it depends on is on the machine around it.
        let forced = ["--force-depends", "--force-script-chrootless", "--force-confold", "--force-not-root"];
        run(Command::new("dpkg")
            .arg(format!("--root={}", self.0.path().display()))
            .arg("--log=/dev/null")
            .args(forced)
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive"));
    }
}

#[test]
fn the_package_is_installed_upgraded_removed_and_purged() {
    let (machine, folder) = (Machine::new(), TempDir::new());
    let (old, new) = (package("0.1.0-1", &folder), package("0.1.1-1", &folder));
    machine.dpkg(&["--install", old.to_str().expect("UTF-8")]);
    for file in [
        "usr/bin/logs-ingest",
        "usr/lib/systemd/system/logs-ingest.service",
        "usr/lib/systemd/system/logs-ingest.socket",
        "usr/share/bash-completion/completions/logs-ingest",
        "usr/share/zsh/vendor-completions/_logs-ingest",
        "usr/share/fish/vendor_completions.d/logs-ingest.fish",
        "usr/share/man/man1/logs-ingest.1.gz",
        "usr/share/man/man1/logs-ingest-send.1.gz",
        "usr/share/doc/logs-ingest/README.md",
        "usr/share/doc/logs-ingest/copyright",
        "usr/share/doc/logs-ingest/docs/operations.md",
        "etc/logs-ingest.env",
        // Enabled, so that it starts with the machine.
        "etc/systemd/system/multi-user.target.wants/logs-ingest.service",
    ] {
        assert!(fs::symlink_metadata(machine.at(file)).is_ok(), "{file} is missing");
    }
    assert!(
        fs::symlink_metadata(machine.at("etc/systemd/system/sockets.target.wants/logs-ingest.socket"))
            .is_err()
    );

    // What DynamicUser= and StateDirectory= make of it.
    let spool = machine.at("var/lib/private/logs-ingest");
    fs::create_dir_all(&spool).expect("a writable folder");
    std::os::unix::fs::symlink("private/logs-ingest", machine.at("var/lib/logs-ingest"))
        .expect("a writable folder");
    store_one(&machine, &spool);
    let settings = machine.at("etc/logs-ingest.env");
    let own = fs::read_to_string(&settings).expect("settings") + "KEEP_DAYS=90\n";
    fs::write(&settings, &own).expect("settings");

    machine.dpkg(&["--install", new.to_str().expect("UTF-8")]);
    assert_eq!(fs::read_to_string(&settings).expect("kept"), own, "an upgrade keeps settings");
    assert_eq!(stored(&machine, &spool), 1, "and the spool");
    machine.dpkg(&["--remove", "logs-ingest"]);
    assert!(!machine.at("usr/bin/logs-ingest").exists());
    assert!(settings.exists() && spool.join("spool.sqlite3").exists(), "a removal keeps both");
    machine.dpkg(&["--install", new.to_str().expect("UTF-8")]);
    assert_eq!(stored(&machine, &spool), 1);
    machine.dpkg(&["--purge", "logs-ingest"]);
    for gone in ["etc/logs-ingest.env", "var/lib/private/logs-ingest", "var/lib/logs-ingest"] {
        assert!(fs::symlink_metadata(machine.at(gone)).is_err(), "{gone} is left");
    }
    assert!(
        fs::symlink_metadata(machine.at("etc/systemd/system/multi-user.target.wants/logs-ingest.service"))
            .is_err()
    );
}

/// By the daemon that was installed.
fn store_one(machine: &Machine, spool: &Path) {
    let mut daemon = Daemon::builder().program(machine.at("usr/bin/logs-ingest")).data_dir(spool).start();
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    assert!(daemon.terminate().success());
}

fn stored(machine: &Machine, spool: &Path) -> usize {
    let mut command = Command::new(machine.at("usr/bin/logs-ingest"));
    text(&run(command.arg("events").arg("--json").arg("--data-dir").arg(spool)).stdout).lines().count()
}

#[test]
fn manual_pages_and_completions_have_every_command_and_setting() {
    let folder = TempDir::new();
    let binary = env!("CARGO_BIN_EXE_logs-ingest");
    run(Command::new(binary).arg("man").arg(folder.path()));
    let page = fs::read_to_string(folder.path().join("logs-ingest.1")).expect("a page");
    let bash = text(&run(Command::new(binary).args(["completions", "bash"])).stdout);
    let plain = page.replace("\\-", "-");
    for setting in logs_ingest::config::definitions() {
        assert!(plain.contains(&setting.name), "the manual lacks {}", setting.name);
        let flag = setting.flag();
        assert!(bash.contains(&flag), "completions lack {flag}");
    }
    for command in ["send", "validate", "status", "spool", "dead-letters", "replay", "check-config", "init"] {
        assert!(folder.path().join(format!("logs-ingest-{command}.1")).exists(), "{command}");
        assert!(bash.contains(command), "{command}");
    }
    assert!(run(Command::new("bash").args(["-n", "-c", &bash])).stderr.is_empty());
}

/// No engine builds it here: what can go wrong without one being noticed is looked at.
#[test]
fn the_image_runs_as_nobody_in_particular_and_asks_the_daemon_for_its_health() {
    let recipe = fs::read_to_string(root().join("deploy/Dockerfile")).expect("a recipe");
    let lines: Vec<&str> = recipe.lines().collect();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    let version = env!("CARGO_PKG_VERSION");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(
        recipe.contains(&format!("image.version=\"{version}\"")) && recipe.contains(&format!(":{version} "))
    );
    assert!(has(&format!("FROM rust:{rust}")), "the compiler that Cargo.toml asks for");
    assert!(has("USER 10001") && has("VOLUME ") && has("ENTRYPOINT [") && has("STOPSIGNAL SIGTERM"));
    // Its command, run as it stands there.
    let daemon = Daemon::start();
    let check = lines.iter().find(|line| line.starts_with("HEALTHCHECK")).expect("a health check");
    let args: Vec<String> =
        serde_json::from_str(&check[check.find('[').expect("exec form")..]).expect("JSON");
    assert_eq!(args[0], "/usr/bin/logs-ingest");
    let port = daemon.addr().port().to_string();
    let ask = |port: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
        command.args(&args[1..]).env("PORT", port).output().expect("it starts").status.code()
    };
    assert_eq!((ask(&port), ask("1")), (Some(0), Some(1)));
    let ignored = fs::read_to_string(root().join(".dockerignore")).expect("a list");
    assert!(ignored.lines().any(|line| line == "target"));
    let mode = fs::metadata(root().join("scripts/release")).expect("a script").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}
