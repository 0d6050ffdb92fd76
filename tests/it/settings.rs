//! What people are told of settings by `--help`, `init` and `check-config`. That README and sample file tell of
//! the same is held by unit tests beside the definitions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use logs_ingest::config::definitions;

use crate::support::TempDir;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program, with nothing of the caller's environment.
fn run(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logs-ingest"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(dir)
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_has_every_setting() {
    let home = TempDir::new();
    let help = text(&run(home.path(), &["--help"], &[]).stdout);
    for setting in definitions() {
        assert!(help.contains(&format!("--{} ", setting.flag)), "{} in {help}", setting.flag);
        assert!(help.contains(&format!("[env: {}", setting.name)), "{} in {help}", setting.name);
    }
}

#[test]
fn init_writes_once_for_this_user_alone_and_never_over_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new();
    let path = home.path().join("logs-ingest.env");
    let shown = run(home.path(), &["init", "-"], &[]);
    assert_eq!((shown.status.code(), text(&shown.stdout)), (Some(0), file("deploy/logs-ingest.env")));
    assert_eq!(run(home.path(), &["init"], &[]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), file("deploy/logs-ingest.env"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::write(&path, "KAFKA_TOPIC=mine\n").unwrap();
    let again = run(home.path(), &["init"], &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("stays as it is"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(&path).unwrap(), "KAFKA_TOPIC=mine\n");

    assert_eq!(run(home.path(), &["init", "--force"], &[]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), file("deploy/logs-ingest.env"));
    let nowhere = run(home.path(), &["init", "no/such/folder/x.env"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("no/such/folder/x.env"), "{}", text(&nowhere.stderr));
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["logs-ingest.env"], "nothing else is left behind");
}
