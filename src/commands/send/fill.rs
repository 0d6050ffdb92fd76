//! A line becomes an event: what is missing is filled in, text that is not a JSON object becomes the message. Pure.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::json;

use crate::host::clock;

/// What the command line sets for every event.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Filling {
    /// Service for events without one, and for plain lines
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Env for events without one, and for plain lines
    #[arg(long, value_name = "NAME")]
    pub(super) env: Option<String>,
    /// Level for events without one, and for plain lines, which are info otherwise
    #[arg(long, value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error", "critical"])]
    pub(super) level: Option<String>,
    /// Action for events without one, and for plain lines, which have log otherwise
    #[arg(long, value_name = "NAME")]
    pub(super) action: Option<String>,
    /// Prefix of every request_id that is made here
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) request_id_prefix: String,
}

impl Filling {
    /// The event of a line, as JSON on one line. `id` is new and its own; `now_ms` is when the line was read.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) fn event(&self, line: &[u8], id: &str, now_ms: i64) -> Result<Vec<u8>, String> {
        // In files that were joined, a byte order mark may be anywhere.
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
        match members(line) {
            Some(found) => Ok(self.filled(line, &found, id, now_ms)),
            None => self.plain(line, id, now_ms),
        }
    }

    fn filled(&self, line: &[u8], members: &BTreeMap<String, IgnoredAny>, id: &str, now_ms: i64) -> Vec<u8> {
        let request_id = format!("{}{id}", self.request_id_prefix);
        let now = clock::rfc3339(now_ms);
        let own = [
            ("request_id", Some(&request_id)),
            ("service", self.service.as_ref()),
            ("env", self.env.as_ref()),
            ("timestamp", Some(&now)),
            ("action", self.action.as_ref()),
            ("level", self.level.as_ref()),
        ];
        let mut event = b"{".to_vec();
        for (name, value) in own {
            if let Some(value) = value.filter(|_| !members.contains_key(name)) {
                event.extend_from_slice(format!("\"{name}\":{},", json!(value)).as_bytes());
            }
        }
        event.extend_from_slice(line[1..].trim_ascii_start());
        if members.is_empty() {
            let comma = event.len() - 2;
            event.remove(comma);
        }
        event
    }

    fn plain(&self, line: &[u8], id: &str, now_ms: i64) -> Result<Vec<u8>, String> {
        let (Some(service), Some(env)) = (&self.service, &self.env) else {
            return Err("it is not a JSON object; to send plain lines, use --service and --env".to_owned());
        };
        let event = json!({
            "request_id": format!("{}{id}", self.request_id_prefix),
            "service": service,
            "env": env,
            "timestamp": clock::rfc3339(now_ms),
            "action": self.action.as_deref().unwrap_or("log"),
            "level": self.level.as_deref().unwrap_or("info"),
            "message": String::from_utf8_lossy(line),
        });
        Ok(event.to_string().into_bytes())
    }
}

/// The members of a line that is an object; their values do not matter.
fn members(line: &[u8]) -> Option<BTreeMap<String, IgnoredAny>> {
    line.starts_with(b"{").then(|| serde_json::from_slice(line).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_769_850_900_125;

    fn text(filling: &Filling, line: &str) -> String {
        String::from_utf8(filling.event(line.as_bytes(), "1", NOW_MS).unwrap()).unwrap()
    }

    fn till() -> Filling {
        Filling {
            service: Some("till \"7\"".into()),
            env: Some("shop".into()),
            request_id_prefix: "t-".into(),
            ..Filling::default()
        }
    }

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let whole = r#"{"request_id":"a","service":"s","env":"e","timestamp":"t","action":"x","level":"l","message":1.10}"#;
        assert_eq!(text(&till(), whole), whole);
        assert_eq!(
            text(&till(), r#" {"env":null, "timestamp":"now","a" : [1.10]} "#),
            r#"{"request_id":"t-1","service":"till \"7\"","env":null, "timestamp":"now","a" : [1.10]}"#
        );
        let id_and_time = r#"{"request_id":"1","timestamp":"2026-01-31T09:15:00.125Z"}"#;
        for empty in ["{}", "\u{feff}{ }"] {
            assert_eq!(text(&Filling::default(), empty), id_and_time);
        }
    }

    #[test]
    fn a_line_that_is_not_an_object_is_a_message() {
        let event = text(&till(), "Drawer \"2\" {open}\r\n");
        let wanted = r#"{"action":"log","env":"shop","level":"info","message":"Drawer \"2\" {open}","request_id":"t-1","service":"till \"7\"","timestamp":"2026-01-31T09:15:00.125Z"}"#;
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&event), parse(wanted));
        assert!(till().event(b"\xFF", "1", NOW_MS).is_ok());
        assert!(text(&till(), "{broken").contains(r#""message":"{broken""#));
        assert!(Filling::default().event(b"plain", "1", NOW_MS).unwrap_err().contains("--service"));
    }
}
