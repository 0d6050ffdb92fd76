//! `validate`: the server's words without a server.

use std::fs;

use super::*;
use crate::support::TempDir;
use crate::support::http::{Client, INGEST};

const BATCH: &str = "/api/logs/ingest/batch";

#[test]
fn it_says_what_the_server_says() {
    let daemon = Daemon::start();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut judged = 0;
    for entry in fs::read_dir(golden).expect("golden bodies") {
        let file = entry.expect("an entry").path();
        let name = file.to_str().expect("UTF-8");
        if name.ends_with(".answer.json") {
            continue;
        }
        let body = fs::read(&file).expect("a body");
        let status = |path: &str| Client::connect(daemon.addr()).post(path, &[], &body).status;
        let taken = status(INGEST) == 202 || status(BATCH) == 202;
        let ran = run(&[], &["validate", name]);
        assert_eq!(ran.code, Some(i32::from(!taken)), "{name}: {ran:?}");
        judged += 1;
    }
    assert!(judged > 30, "{judged}");

    let wrong = run(&[], &["validate", "--json", "tests/golden/every-field-wrong.json"]);
    let answer =
        fs::read(format!("{}/tests/golden/every-field-wrong.answer.json", env!("CARGO_MANIFEST_DIR")));
    let answer: Value = serde_json::from_slice(&answer.expect("an answer")).expect("JSON");
    assert_eq!(wrong.lines()[0]["detail"], answer["detail"]);
}

#[test]
fn each_wrong_event_is_named_by_its_line() {
    let folder = TempDir::new();
    let good = events::event().to_string();
    let cards = r#"{"request_id":"r-9","service":"4111111111111111","level":"loud"}"#;
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let lines = write("lines", format!("\u{feff}{good}\r\n\n{cards}\n{good}\nno json"));
    let array = write("array", format!("\n[\n{good},\n\n{cards}]"));
    let ran = run(&[], &["validate", &lines, &array]);
    let told: Vec<_> = ran.out.lines().map(|line| line.split(": ").next().expect("a place")).collect();
    assert_eq!(told, [format!("{lines}:3"), format!("{lines}:5"), format!("{array}:5")]);
    assert!(
        ran.out.contains("body.level: Input should be 'debug', 'info'")
            && ran.out.contains("(request_id r-9)")
    );
    assert!(!ran.out.contains("4111"), "{ran:?}");
    assert!(ran.err.contains("6 events, 3 would be refused") && ran.code == Some(1), "{ran:?}");

    // What breaks an array breaks all of it.
    let ran = run(&[], &["validate", &write("broken", format!("[{good},\n{good} {good}]"))]);
    assert!(ran.err.contains("is not a valid JSON array from line 2 on") && ran.code == Some(1), "{ran:?}");
    let large = write("large", format!("{good}\n{{\"x\":\"{}\"}}\n{good}", "x".repeat(70_000)));
    let ran = run(&[("MAX_BATCH_BYTES", "64KiB"), ("MAX_EVENT_BYTES", "32KiB")], &["validate", &large]);
    assert!(ran.out.contains(":2: the event is larger than") && ran.err.contains("3 events, 1"), "{ran:?}");
    let ran = run(&[], &["validate", "/nowhere", &write("empty", "\n".to_owned())]);
    assert!(
        ran.err.contains("cannot read /nowhere") && ran.err.contains("has no event") && ran.code == Some(1),
        "{ran:?}"
    );
}
