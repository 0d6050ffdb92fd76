//! Whole answers in files: `name.json` is a body, `name.answer.json` the body of its 422.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

#[test]
fn every_kept_body_has_its_kept_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let (answers, bodies): (BTreeSet<_>, BTreeSet<_>) = files
        .iter()
        .filter_map(|file| file.strip_suffix(".json"))
        .partition(|name| name.ends_with(".answer"));
    assert!(bodies.len() >= 20, "{} bodies in {}", bodies.len(), folder.display());
    let wanted: BTreeSet<String> = bodies.iter().map(|name| format!("{name}.answer")).collect();
    assert_eq!(answers, wanted.iter().map(String::as_str).collect());

    for name in bodies {
        let body = fs::read(folder.join(format!("{name}.json"))).unwrap();
        let answer = fs::read_to_string(folder.join(format!("{name}.answer.json"))).unwrap();
        let refusal = from_body(&body).expect_err(name);
        assert_eq!(String::from_utf8(refusal.detail_json()).unwrap(), answer, "{name}");
    }
}
