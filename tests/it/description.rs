//! `/openapi.json` and `/docs`: a validator accepts the description, schemathesis finds no answer of the daemon that
//! contradicts it, and the page sends an event in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::TempDir;
use crate::support::browser::Browser;
use crate::support::daemon::Daemon;

const LIMIT: Duration = Duration::from_secs(20);

fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/openapi/bin").join(name);
    assert!(program.exists(), "{} is missing: scripts/python-env openapi makes it", program.display());
    program
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_daemon_answers_as_it_describes_itself() {
    let (daemon, folder) = (Daemon::start(), TempDir::new());
    let answer = daemon.get("/openapi.json");
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, &answer.body).expect("a writable folder");
    let (is_valid, said) = run(Command::new(program("openapi-spec-validator")).arg(&file));
    assert!(is_valid, "{said}");

    // It writes files into its working directory.
    for name in ["schemathesis.toml", "hooks.py"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi").join(name);
        std::fs::copy(from, folder.path().join(name)).expect("a writable folder");
    }
    let (is_true, said) = run(Command::new(program("schemathesis"))
        .current_dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .args(["--config-file", "schemathesis.toml", "run", "--checks", "all"])
        .arg(format!("{}/openapi.json", daemon.url())));
    println!("{said}");
    assert!(is_true && said.contains("No issues found"), "{said}");
    let stored = daemon.health()["spool"]["home"].as_u64().expect("a number");
    assert!(stored > 50, "too few events were accepted: {stored}\n{said}");
}

#[test]
fn the_page_of_the_description_sends_an_event() {
    let daemon = Daemon::start();
    let browser = Browser::start();
    browser.resize(1280, 1600);
    browser.open(&format!("{}/docs", daemon.url()));
    browser.click("#operations-events-ingest .opblock-summary-control");
    browser.click("#operations-events-ingest .try-out__btn");
    browser.click("#operations-events-ingest .execute");
    let status = "return document.querySelector('#operations-events-ingest .live-responses-table tbody .response-col_status')?.innerText";
    let status = browser.wait_for(LIMIT, status);
    if let Some(folder) = std::env::var_os("LOGS_INGEST_SCREENSHOTS") {
        browser.run("document.querySelector('#operations-events-ingest').scrollIntoView()");
        browser.screenshot(&Path::new(&folder).join("docs.png"));
    }
    assert!(status.as_str().is_some_and(|status| status.starts_with("202")), "{status}");
    assert_eq!(daemon.health()["spool"]["home"], 1);
    // The page loaded nothing from elsewhere, and the policy forbade nothing that it needs.
    let foreign = "return performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith(location.origin) && !name.startsWith('data:'))";
    assert_eq!(browser.run(foreign), serde_json::json!([]));
    assert_eq!(browser.errors(), Vec::<String>::new());
}
