//! A real browser: Debian's Chromium without a window, driven by its own chromedriver over WebDriver.
//!
//! Every wait has a limit and a condition. What the pages log as an error is kept: a script that fails, or
//! something that the page's policy forbids.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Browser {
    driver: Child,
    session: String,
    // Its profile; gone after the browser.
    _home: TempDir,
}

impl Browser {
    /// Starts a browser with an empty page.
    pub(crate) fn start() -> Self {
        super::is_more_than_the_spool("a browser");
        let (port, home) = (Proxy::reserve(), TempDir::new());
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts: scripts/test installs it");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, session: base.clone(), _home: home };
        poll(LIMIT, "chromedriver", || {
            browser.try_ask("GET", "/status", None)?["ready"].as_bool().filter(|ready| *ready)
        });
        let profile = format!("--user-data-dir={}", browser._home.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": "/usr/bin/chromium"},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session =
            browser.ask("POST", "/session", Some(&wanted))["sessionId"].as_str().expect("an id").to_owned();
        browser.session = format!("{base}/session/{session}");
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(&json!({"url": url})));
    }

    /// What the script returns; it is a function's body.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": []})))
    }

    /// Waits until the script returns something that is true, and gives it back.
    pub(crate) fn wait_for(&self, limit: Duration, script: &str) -> Value {
        poll(limit, script, || {
            Some(self.run(script)).filter(|value| !matches!(value, Value::Null | Value::Bool(false)))
        })
    }

    /// Clicks, as a hand would, on the first element that the selector finds; waits until there is one.
    pub(crate) fn click(&self, selector: &str) {
        let find = json!({"using": "css selector", "value": selector});
        poll(LIMIT, selector, || {
            let found = self.try_ask("POST", "/element", Some(&find))?;
            let element = found.as_object()?.values().next()?.as_str()?.to_owned();
            self.try_ask("POST", &format!("/element/{element}/click"), Some(&json!({}))).map(drop)
        });
    }

    /// A command of the browser's own protocol.
    pub(crate) fn command(&self, name: &str, params: Value) {
        self.ask("POST", "/goog/cdp/execute", Some(&json!({"cmd": name, "params": params})));
    }

    /// The window's width and height in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.ask("POST", "/window/rect", Some(&json!({"width": width, "height": height})));
    }

    /// What the window shows, as a PNG file.
    pub(crate) fn screenshot(&self, file: &Path) {
        let picture = self.ask("GET", "/screenshot", None);
        let picture = BASE64_STANDARD.decode(picture.as_str().expect("text")).expect("base64");
        std::fs::write(file, picture).expect("a writable folder");
    }

    /// What was logged as an error since the last call.
    pub(crate) fn errors(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", Some(&json!({"type": "browser"})));
        let is_error = |entry: &&Value| entry["level"] == "SEVERE";
        entries
            .as_array()
            .expect("a list")
            .iter()
            .filter(is_error)
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_ask(method, path, body)
            .unwrap_or_else(|| panic!("chromedriver refuses {method} {path} {body:?}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let url = format!("{}{path}", self.session);
        let mut answer = match (method, body) {
            ("GET", _) => agent.get(url).call(),
            ("DELETE", _) => agent.delete(url).call(),
            (_, body) => agent.post(url).header("Content-Type", "application/json").send(body?.to_string()),
        }
        .ok()?;
        let is_ok = answer.status().is_success();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        is_ok.then(|| value["value"].clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser itself; what is left without it ends with its driver.
        let _ = self.try_ask("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
