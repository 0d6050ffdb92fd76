//! API keys: who is let in to what, in which order a request is judged, keys that change, and that no key
//! is ever seen again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::{Builder, Daemon};
use crate::support::events::Body;
use crate::support::http::{Client, INGEST};
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(15);
const OLD: &str = "0ld-key-of-till-seven";
const NEW: &str = "n3w-key-of-till-seven";
const OFFICE: &str = "the-key-of-the-0ffice";
/// By `printf %s the-key-of-the-0ffice | sha256sum`.
const OFFICE_HASH: &str = "9c7cc3e1e29c3654625b9275c1ccf13b6adf8968613d1aa046b553762ac015dc";

/// A file of keys that tests write as an administrator would.
struct KeysFile {
    home: TempDir,
}

impl KeysFile {
    fn new(text: &str) -> Self {
        let file = Self { home: TempDir::new() };
        file.write(text, 0o600);
        file
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("API_KEYS_FILE")
    }

    fn write(&self, text: &str, mode: u32) {
        fs::write(self.path(), text).expect("a writable folder");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).expect("an own file");
    }

    fn daemon(&self) -> Builder {
        Daemon::builder().env("API_KEYS_FILE", self.path().display())
    }
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// The status of one event that comes with `key`.
fn post(client: &mut Client, key: &str) -> u16 {
    client.post(INGEST, &[("X-API-Key", key)], Body::minimal().text()).status
}

#[test]
fn a_request_is_judged_in_the_contracts_order() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let daemon = keys.daemon().env("MAX_EVENT_BYTES", "1KiB").start();
    let large = "x".repeat(2_000);
    let event = Body::minimal().text();
    // Method, target, further fields, body; the status without a key, with a wrong one, with the right one.
    for (method, target, fields, body, expected) in [
        ("POST", INGEST, "Content-Length: 1\r\nContent-Length: 2\r\n", "{}", [400, 400, 400]),
        ("POST", INGEST, "Transfer-Encoding: odd\r\n", "", [400, 400, 400]),
        ("POST", INGEST, "Expect: a miracle\r\n", "", [417, 417, 417]),
        ("GET", "/nowhere", "", "", [404, 404, 404]),
        ("POST", "/api/logs/ingest/", "Content-Length: 999999999\r\n", "", [404, 404, 404]),
        ("GET", INGEST, "", "", [405, 405, 405]),
        ("POST", INGEST, "Content-Length: 999999999\r\n", "", [401, 401, 413]),
        ("POST", INGEST, "Content-Length: 2000\r\n", &large, [401, 401, 413]),
        ("POST", INGEST, "Content-Length: 2000\r\nExpect: 100-continue\r\n", "", [401, 401, 413]),
        ("POST", INGEST, "Content-Length: 0\r\n", "", [401, 401, 422]),
        ("POST", INGEST, "Content-Length: 1\r\n", "{", [401, 401, 422]),
        ("POST", INGEST, "Transfer-Encoding: chunked\r\n", "1\r\n{\r\n0\r\n\r\n", [401, 401, 422]),
        ("POST", INGEST, &format!("Content-Length: {}\r\n", event.len()), &event, [401, 401, 202]),
        ("GET", "/health", "", "", [200, 200, 200]),
        ("GET", "/livez", "", "", [200, 200, 200]),
        ("GET", "/readyz", "", "", [200, 200, 200]),
        ("GET", "/stats", "", "", [200, 200, 200]),
    ] {
        let shown =
            ["".into(), format!("X-API-Key: {NEW}\r\n"), format!("Authorization: {}\r\n", bearer(OLD))];
        for (shown, expected) in shown.iter().zip(expected) {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: t\r\n{shown}{fields}\r\n{body}");
            let mut client = daemon.client();
            client.send_raw(&request).expect("the daemon reads");
            let answer = client.read_response().expect("an answer");
            let head = request.lines().take(4).collect::<Vec<_>>();
            assert_eq!(answer.status, expected, "{head:?}: {}", answer.text());
            if expected == 401 {
                let how = answer.header("WWW-Authenticate").unwrap_or_default();
                assert_eq!(
                    how.strip_suffix(", Basic realm=\"logs-ingest\"").unwrap_or(how),
                    "Bearer",
                    "{head:?}"
                );
                assert!(answer.detail().contains("API key"), "{}", answer.text());
            }
        }
    }
    let refused = &daemon.stats()["door"]["refused"]["401"];
    assert_eq!(refused, &serde_json::json!(14), "{}", daemon.stats());
}

#[test]
fn a_refused_request_costs_neither_the_connection_nor_the_next_request() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let daemon = keys.daemon().start();
    let mut client = daemon.client();
    for _ in 0..3 {
        let answer = client.post_event(Body::minimal().text());
        assert_eq!((answer.status, answer.closes()), (401, false));
        assert_eq!(post(&mut client, OLD), 202);
    }
    // Both on their way before the first is answered.
    let body = Body::minimal().text();
    let request = |key: &str| {
        let length = body.len();
        format!(
            "POST {INGEST} HTTP/1.1\r\nHost: t\r\nX-API-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    client.send_raw(request(NEW) + &request(OLD)).expect("the daemon reads");
    let statuses = [0; 2].map(|_| client.read_response().expect("an answer").status);
    assert_eq!(statuses, [401, 202]);
}

#[test]
fn the_status_needs_a_key_where_it_is_protected() {
    let keys = KeysFile::new(&format!("office sha256:{OFFICE_HASH}\n"));
    let daemon = keys.daemon().env("PROTECT_STATUS", "on").start();
    let mut client = daemon.client();
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    assert_eq!(client.get("/stats").status, 401);
    for (name, value) in [("Authorization", bearer(OFFICE)), ("X-API-Key", OFFICE.to_owned())] {
        assert_eq!(client.request("GET", "/stats", &[(name, &value)], b"").status, 200, "{name}");
    }
    // Its hash is no key.
    assert_eq!(client.request("GET", "/stats", &[("X-API-Key", OFFICE_HASH)], b"").status, 401);
}

#[test]
fn keys_change_without_a_gap() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let daemon = keys.daemon().start();
    let mut client = daemon.client();
    assert_eq!((post(&mut client, OLD), post(&mut client, NEW)), (202, 401));

    keys.write(&format!("# both, until every till has the new one\ntill-7 {OLD}\ntill-7 {NEW}\n"), 0o600);
    daemon.signal(Signal::HUP);
    poll(LIMIT, "the new key to be known", || (post(&mut client, NEW) == 202).then_some(()));
    assert_eq!(post(&mut client, OLD), 202, "the old key goes on working");

    keys.write(&format!("till-7 {NEW}\n"), 0o600);
    daemon.signal(Signal::HUP);
    poll(LIMIT, "the old key to be forgotten", || (post(&mut client, OLD) == 401).then_some(()));
    assert_eq!(post(&mut client, NEW), 202);
    let counted = daemon.stats()["clients"]["till-7"].as_u64();
    assert!(counted >= Some(5), "a client goes on counting over a change: {counted:?}");
}

#[test]
fn a_bad_file_changes_nothing_and_is_said() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let daemon = keys.daemon().start();
    let mut client = daemon.client();
    for (text, mode, said) in [
        (String::new(), 0o600, "no key"),
        (format!("till-7 {NEW}\ntill-8"), 0o600, "line 2"),
        (format!("till-7 {NEW}\n"), 0o644, "everyone may read it"),
    ] {
        keys.write(&text, mode);
        daemon.signal(Signal::HUP);
        daemon.wait_for_log(said, LIMIT);
        assert_eq!((post(&mut client, OLD), post(&mut client, NEW)), (202, 401), "{said}");
    }
    assert!(daemon.logged("stays in use"));
    // The last word of a storm is heard.
    keys.write(&format!("till-7 {NEW}\n"), 0o600);
    (0..50).for_each(|_| daemon.signal(Signal::HUP));
    poll(LIMIT, "the new key to be known", || (post(&mut client, NEW) == 202).then_some(()));
    assert_eq!(post(&mut client, OLD), 401);
}

#[test]
fn a_file_that_can_not_be_used_ends_the_start_with_78() {
    let keys = KeysFile::new("");
    let clear = format!("till-7 {OLD}\n");
    for (text, mode, said) in [
        ("", 0o600, "no key"),
        ("till-7 short", 0o600, "line 1"),
        (clear.as_str(), 0o604, "everyone may read it"),
        (clear.as_str(), 0o602, "everyone may write to it"),
    ] {
        keys.write(text, mode);
        let (code, log) = keys.daemon().run_to_exit(LIMIT);
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains("API_KEYS_FILE") && log.contains(said), "{log}");
        assert!(!log.contains(OLD) && !log.contains("panicked"), "{log}");
    }
    for (name, value) in
        [("API_KEYS_FILE", "/no/such/file"), ("API_KEYS_FILE", "/tmp"), ("PROTECT_STATUS", "on")]
    {
        let (code, log) = Daemon::builder().env(name, value).run_to_exit(LIMIT);
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains("API_KEYS_FILE") && log.contains(value), "{log}");
    }
}

#[test]
fn a_credential_of_systemds_is_read_and_hashes_may_be_read_by_all() {
    let keys = KeysFile::new("");
    keys.write(&format!("office sha256:{OFFICE_HASH}\n"), 0o444);
    let daemon = Daemon::builder().env("CREDENTIALS_DIRECTORY", keys.home.path().display()).start();
    let mut client = daemon.client();
    assert_eq!((post(&mut client, OFFICE), post(&mut client, OLD)), (202, 401));
}

#[test]
fn a_key_is_never_seen_again_and_a_name_can_not_be_taken() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\noffice sha256:{OFFICE_HASH}\n"));
    let daemon = keys.daemon().env("LOG_LEVEL", "trace").start();
    let mut client = daemon.client();
    assert_eq!(post(&mut client, OLD), 202);
    assert_eq!(client.request("GET", "/stats", &[("X-API-Key", NEW)], b"").status, 200);
    assert_eq!(post(&mut client, NEW), 401);
    // The door's own header, sent by a client.
    let spoofed = [("X-Door-Client", "boss"), ("Authorization", &bearer(OFFICE))];
    assert_eq!(client.post(INGEST, &spoofed, "{").status, 422);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("SIGHUP: API keys", LIMIT);
    let stored = daemon.wait_for_log("an event is stored", LIMIT);
    assert!(stored.contains("client=till-7"), "{stored}");
    let refused = daemon.wait_for_log("status=422", LIMIT);
    assert!(refused.contains("client=office"), "{refused}");
    daemon.wait_for_log("status=401", LIMIT);

    let stats = daemon.stats();
    assert_eq!(stats["clients"], serde_json::json!({"till-7": 1, "office": 1}));
    let of_the_system = ["cmdline", "environ"].map(|name| {
        fs::read(format!("/proc/{}/{name}", daemon.pid())).expect("a running daemon can be looked at")
    });
    let [command, environment] = of_the_system.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let health = daemon.health().to_string();
    for shown in [daemon.log_text(), stats.to_string(), health, command, environment] {
        for secret in [OLD, NEW, OFFICE, OFFICE_HASH, "boss"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn a_daemon_without_keys_says_so_where_others_can_reach_it() {
    const SAID: &str = "API_KEYS_FILE is not set";
    let open = Daemon::builder().env("HOST", "0.0.0.0").start();
    open.wait_for_log(SAID, LIMIT);
    let alone = Daemon::start();
    assert_eq!(alone.client().post_event(Body::minimal().text()).status, 202);
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let keyed = keys.daemon().env("HOST", "0.0.0.0").start();
    keyed.wait_for_log("requests need an API key", LIMIT);
    for mut daemon in [alone, keyed] {
        assert!(daemon.terminate().success());
        assert!(!daemon.logged(SAID), "{}", daemon.log_text());
    }
}

#[test]
fn the_administrator_is_told_who_is_refused_and_why() {
    let keys = KeysFile::new(&format!("till-7 {OLD}\n"));
    let daemon = keys.daemon().env("MAX_EVENT_BYTES", "1KiB").env("BODY_TIMEOUT", "300ms").start();
    let raw = |request: &str| {
        let mut client = daemon.client();
        client.send_raw(request).expect("the daemon reads");
        client.read_response().expect("an answer").status
    };
    let head = format!("POST {INGEST} HTTP/1.1\r\nHost: t\r\nX-API-Key: {OLD}\r\nX-Request-ID: r-1\r\n");
    assert_eq!(post(&mut daemon.client(), NEW), 401);
    assert_eq!(post(&mut daemon.client(), OLD), 202);
    assert_eq!(daemon.get("/favicon.ico").status, 404);
    assert_eq!(daemon.client().post("/api/log/4111111111111111", &[], "{}").status, 404);
    assert_eq!(raw(&format!("{head}Content-Length: 2000\r\n\r\n")), 413);
    assert_eq!(raw(&format!("{head}Content-Length: 2\r\n\r\n{{")), 408);
    assert_eq!(raw(&format!("{head}Content-Length: 2\r\n\r\n{{}}")), 422);
    assert_eq!(raw("POST / HTTP/1.1\r\n\r\n"), 400);

    let status = daemon.get("/status.json").json();
    let told: Vec<(u64, &str, &str)> = status["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            assert_eq!(one["peer"], "127.0.0.1");
            let text = |name: &str| one[name].as_str().expect("text");
            let reason = text("reason");
            (one["status"].as_u64().expect("a number"), text("client"), &reason[..reason.len().min(30)])
        })
        .collect();
    assert_eq!(
        told,
        [
            (400, "-", "an HTTP/1.1 request needs a Ho"),
            (422, "till-7", "body.request_id: Field require"),
            (408, "-", "the request body did not arriv"),
            (413, "-", "the body is larger than the li"),
            (404, "-", "Not Found: POST /api/log/41111"),
            (401, "-", "the API key is not known"),
        ]
    );
    for line in [
        format!("[WARN] a request is refused status=401 method=POST path=\"{INGEST}\""),
        "[INFO] a request is refused status=404 method=GET path=\"/favicon.ico\"".to_owned(),
        "status=404 method=POST path=\"/api/log/411111******1111\"".to_owned(),
        "status=408 method=- path=\"-\" x_request_id=\"r-1\" peer=127.0.0.1".to_owned(),
        format!("status=413 method=POST path=\"{INGEST}\" x_request_id=\"r-1\" peer=127.0.0.1"),
        "status=422 method=POST path=".to_owned(),
    ] {
        daemon.wait_for_log(&line, LIMIT);
    }
}
