//! The rules are only worth something when they see.

use super::*;

#[test]
fn code_is_told_from_comments_and_quotes() {
    let text =
        "a(\"x // \\\" y\"); // tokio\nb('\"', '\\'', r#\"q\" w\"#, br\"e\"); /* z\n z */ c::<'r>(d)\n";
    let code = code_only(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains(['x', 'y', 'q', 'w', 'e', 'z', '"']) && !code.contains("tokio"), "{code}");
    for kept in ["a(", "b(", "c::<'r>(d)"] {
        assert!(code.contains(kept), "{kept} in {code}");
    }
}

#[test]
fn names_are_whole() {
    for (line, name, is) in [
        ("use tokio::time;", "tokio", true),
        ("let tokio_like = 1;", "tokio", false),
        ("my_tokio()", "tokio", false),
        ("tiny_http::Server", "http::", false),
        ("crate::http::server", "http::", true),
    ] {
        assert_eq!(names(line, name, |_| true), is, "{line}");
    }
}

#[test]
fn decisions_on_words_are_found() {
    for line in [
        "if why == too_large {",
        "Err(error) if error == self.invalid_time() => {}",
        "let after = if &**why == STOPPING { a } else { b };",
        "if error.to_string() ==  {",
        "if why.as_deref() != Some( ) {",
        "    && message.contains( )",
        "if self.error.text().starts_with(PART) {",
    ] {
        assert!(decides_on_words(line), "{line}");
    }
    for line in [
        "if error == RecvTimeoutError::Timeout {",
        "if error.kind() == ErrorKind::NotFound {",
        "if text.len() == 3 {",
        "cause == Cause::Stopping",
        "context == texts",
        "let text = why;",
    ] {
        assert!(!decides_on_words(line), "{line}");
    }
}

#[test]
fn rooms_are_found_in_paths() {
    assert_eq!(rooms_named("use crate::store::{a, b}; crate::host::thread"), ["store", "host"]);
    assert_eq!(rooms_named("use crate::{a, b};"), [""]);
    assert_eq!((room_of("door/inside/mod.rs"), room_of("app.rs")), ("door", "app"));
}

#[test]
fn functions_are_measured() {
    let text = "    pub(crate) async fn f(\n        a: u8,\n    ) -> u8\n    where\n        u8: Copy,\n    {\n        a\n    }\n";
    let lines: Vec<&str> = text.lines().collect();
    assert!(starts_function(lines[0]) && !starts_function(lines[1]));
    assert_eq!(function_lines(&lines), 8);
    assert!(starts_function("fn g() {}") && !starts_function("let f = fn_of(g);"));
    assert_eq!(function_lines(&["    fn h(&self) -> u8;", "    fn i() {", "    }"]), 1);
    assert_eq!(function_lines(&["fn long(", "    a: u8,", ") -> u8;", "x"]), 3);
}
