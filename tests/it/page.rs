//! The status page in a real browser: before, during and after an outage of the broker, and without a daemon; on a phone,
//! in dark mode, and with a key.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::TempDir;
use crate::support::browser::Browser;
use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::kafka::{Broker, Version};

const LIMIT: Duration = Duration::from_secs(60);
/// How long the page may take to show what has happened.
const SOON: Duration = Duration::from_secs(5);

/// Waits until the text of the element contains this.
fn says(browser: &Browser, limit: Duration, id: &str, text: &str) {
    let script = format!("return document.getElementById({id:?}).textContent.includes({text:?})");
    browser.wait_for(limit, &script);
}

/// Takes a screenshot, for people who want to look.
fn picture(browser: &Browser, name: &str) {
    let folder = TempDir::new();
    let kept = std::env::var_os("LOGS_INGEST_SCREENSHOTS");
    let folder = kept.as_ref().map_or_else(|| folder.path(), Path::new);
    let file = folder.join(name);
    browser.screenshot(&file);
    assert!(std::fs::metadata(file).is_ok_and(|facts| facts.len() > 5_000), "{name} is empty");
}

fn post(daemon: &Daemon, count: usize) {
    let mut client = daemon.client();
    for _ in 0..count {
        assert_eq!(client.post_event(events::event().to_string()).status, 202);
    }
}

#[test]
fn an_outage_is_shown_when_it_begins_and_when_it_ends() {
    let mut broker = Broker::start(Version::V3_9);
    let mut daemon =
        Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("RECOVERY_RATE", 40).start();
    daemon.wait_until_up("kafka");
    let browser = Browser::start();
    browser.resize(1100, 1300);
    post(&daemon, 50);
    browser.open(&format!("{}/", daemon.url()));
    says(&browser, SOON, "headline", "Every event is safe");
    says(&browser, SOON, "detail", "Events are kept in Kafka.");
    says(&browser, SOON, "rate", "events/s");
    structure(&browser);
    picture(&browser, "safe.png");

    broker.kill();
    let killed = Instant::now();
    post(&daemon, 1);
    says(&browser, SOON.saturating_sub(killed.elapsed()), "detail", "Kafka is down");
    post(&daemon, 400);
    says(&browser, SOON, "detail", "401 events wait");
    says(&browser, SOON, "since", "Since ");
    let card = "4111111111111111";
    let wrong = json!({"request_id": "r", "service": card, "level": "loud"}).to_string();
    assert_eq!(daemon.client().post_event(wrong).status, 422);
    says(&browser, SOON, "refused", "Input should be");
    let text = browser.run("return document.body.innerText");
    assert!(!text.as_str().expect("text").contains(card));
    picture(&browser, "outage.png");
    dark_and_small(&browser);

    broker.restart();
    says(&browser, LIMIT, "detail", "on their way to Kafka");
    picture(&browser, "draining.png");
    says(&browser, LIMIT, "detail", "Events are kept in Kafka.");
    assert_eq!(
        browser.errors(),
        Vec::<String>::new(),
        "scripts failed, or the policy forbids what the page needs"
    );

    daemon.kill9();
    says(&browser, SOON + Duration::from_secs(5), "headline", "The daemon does not answer");
    picture(&browser, "silent.png");
    daemon.restart_on_same_port();
    says(&browser, LIMIT, "headline", "Every event is safe");
}

/// What a screen reader and a keyboard need.
fn structure(browser: &Browser) {
    let lacking = browser.run(
        r"
        const lacking = [];
        const named = (element) => (element.getAttribute('aria-labelledby') || '').split(' ').filter(Boolean)
            .map(id => document.getElementById(id)?.textContent.trim()).filter(Boolean).length > 0;
        if (!document.documentElement.lang) lacking.push('lang');
        if (document.querySelectorAll('main, header, footer, h1').length !== 4) lacking.push('landmarks');
        for (const picture of document.querySelectorAll('svg:not([aria-hidden])'))
            if (picture.getAttribute('role') !== 'img' || !named(picture)) lacking.push('a name of ' + picture.id);
        for (const part of document.querySelectorAll('section:not([role])')) if (!named(part)) lacking.push('a name of a section');
        if (document.querySelector('#verdict').getAttribute('aria-live') !== 'polite') lacking.push('a live region');
        for (const cell of document.querySelectorAll('th')) if (cell.scope !== 'col') lacking.push('scope');
        for (const scroll of document.querySelectorAll('.scroll')) if (scroll.tabIndex !== 0) lacking.push('focus');
        // Contrast of text, by WCAG: at least 4.5.
        const light = (colour) => {
            const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map(part => part / 255)
                .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
            for (; element; element = element.parentElement) {
                const colour = getComputedStyle(element).backgroundColor;
                if (!colour.endsWith(', 0)')) return light(colour);
            }
            return 1;
        };
        for (const element of document.querySelectorAll('h1, h2, p, dt, dd, th, td, a')) {
            if (!element.textContent.trim()) continue;
            const [one, other] = [light(getComputedStyle(element).color), ground(element)].sort((a, b) => b - a);
            const contrast = (one + 0.05) / (other + 0.05);
            if (contrast < 4.5) lacking.push(`contrast ${contrast.toFixed(1)} of ${element.tagName} ${element.id}`);
        }
        return lacking;",
    );
    assert_eq!(lacking, json!([]));
}

fn dark_and_small(browser: &Browser) {
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.command("Emulation.setEmulatedMedia", dark);
    structure(browser);
    picture(browser, "dark.png");
    browser.command("Emulation.setEmulatedMedia", json!({"features": []}));
    let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
    browser.command("Emulation.setDeviceMetricsOverride", phone);
    let width = browser.run("return document.documentElement.scrollWidth");
    assert_eq!(width, 390, "it must be scrolled sideways on a phone");
    picture(browser, "phone.png");
    browser.command("Emulation.clearDeviceMetricsOverride", json!({}));
}

#[test]
fn a_protected_page_asks_a_browser_for_the_key() {
    const KEY: &str = "the-key-of-the-office";
    let home = TempDir::new();
    let keys = home.path().join("keys");
    std::fs::write(&keys, format!("office {KEY}\n")).expect("a writable folder");
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let daemon = Daemon::builder().env("API_KEYS_FILE", keys.display()).env("PROTECT_STATUS", "on").start();
    for path in ["/", "/status.json"] {
        let refused = daemon.get(path);
        let how = refused.header("WWW-Authenticate").expect("how to show a key");
        assert!(refused.status == 401 && how.contains("Basic realm="), "{path}: {how}");
        let shown = format!("Basic {}", BASE64_STANDARD.encode(format!("anyone:{KEY}")));
        let answer = daemon.client().request("GET", path, &[("Authorization", &shown)], b"");
        assert_eq!(answer.status, 200, "{path}");
    }
    // A till has no user to ask.
    let refused = daemon.client().post_event("{}");
    assert_eq!((refused.status, refused.header("WWW-Authenticate")), (401, Some("Bearer")));
}
