//! `status`: one screen that says whether the running daemon is well, and an exit code for monitoring.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::daemon::{AskError, Daemon, DaemonArgs};
use super::output::{count, local_time, size, some, time_span, visible};
use super::report::Report;
use crate::config::RawSettings;
use crate::host::exit::Exit;

/// Show how the running daemon is: route, backlog, spool, dead letters, ledger.
///
/// Exit code: 0 all is well. 1 degraded but safe: events are stored, but for now not where they belong. 2 the next
/// event could not be stored, or the daemon did not answer.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The running daemon.
    #[command(flatten)]
    daemon: DaemonArgs,

    /// One JSON object: {"verdict":"well"|"degraded"|"down","url":..,"problem":..,"route":{..},"backlog":{..},"health":{..},..}
    #[arg(long)]
    json: bool,

    /// Ask only whether the next event could be stored: 0 yes, 1 no. For containers, which know only healthy and
    /// unhealthy; needs no API key
    #[arg(long, conflicts_with = "json")]
    healthcheck: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Condition {
    Well,
    Degraded,
    Down,
}

#[derive(Debug, Serialize)]
struct StatusReport {
    verdict: Condition,
    url: String,
    /// Why it is down.
    problem: Option<String>,
    route: Option<RouteInUse>,
    backlog: Option<Backlog>,
    health: Value,
    ledger: Value,
}

/// Where the next event goes, and since when.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RouteInUse {
    store: &'static str,
    since: String,
}

impl RouteInUse {
    /// The first store that is up. It is the route since it came back and those before it went down.
    fn of(health: &Value) -> Self {
        let mut since = String::new();
        for store in ["kafka", "postgres"] {
            // Times of one form sort as texts.
            since = since.max(text(&health[store]["since"]));
            if health[store]["state"] == "up" {
                return Self { store, since };
            }
        }
        Self { store: "spool", since }
    }
}

/// Events that wait for Kafka, wherever they are, and for how long the oldest has.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Backlog {
    events: u64,
    in_spool: u64,
    in_postgres: u64,
    oldest_age_s: u64,
}

impl Backlog {
    fn of(health: &Value) -> Self {
        let (spool, postgres) = (&health["spool"], &health["postgres"]["rows"]);
        let (in_spool, in_postgres) = (number(&spool["held"]), number(&postgres["held"]));
        let age = |store: &Value| number(&store["oldest_held_age_s"]);
        Self {
            events: in_spool + in_postgres,
            in_spool,
            in_postgres,
            oldest_age_s: age(spool).max(age(postgres)),
        }
    }

    fn line(&self) -> String {
        if self.events == 0 {
            return field("backlog", "nothing waits");
        }
        let waits = if self.events == 1 { "waits" } else { "wait" };
        let (here, there) = (count(self.in_spool), count(self.in_postgres));
        let age = time_span(Duration::from_secs(self.oldest_age_s));
        let events = some(self.events, "event");
        field(
            "backlog",
            &format!("{events} {waits}, {here} in the spool and {there} in postgres; the oldest for {age}"),
        )
    }
}

pub(super) fn run(args: &StatusArgs, settings: &RawSettings) -> Result<Exit, String> {
    let daemon = Daemon::new(&args.daemon, settings)?;
    if args.healthcheck {
        let ready = daemon.get("/readyz")?;
        println!("{}", ready.json["detail"].as_str().unwrap_or("ready"));
        return Ok(if ready.status == 200 { Exit::Ok } else { Exit::Failed });
    }
    ask(&daemon).print(args.json)
}

fn ask(daemon: &Daemon) -> StatusReport {
    let answers = || Ok((daemon.read("/health")?, daemon.read("/stats")?, daemon.get("/readyz")?));
    let url = daemon.url().to_owned();
    match answers() {
        Err(AskError::Unreachable(why) | AskError::Strange(why)) => {
            StatusReport::new(Condition::Down, url, Some(why), Value::Null, Value::Null)
        }
        Ok((health, stats, ready)) => {
            let refused = (ready.status != 200).then(|| {
                let why = ready.json["detail"].as_str().unwrap_or("no reason given");
                format!("the next event could not be stored: {why}")
            });
            let verdict = match (&refused, health["status"] == "healthy") {
                (Some(_), _) => Condition::Down,
                (None, true) => Condition::Well,
                (None, false) => Condition::Degraded,
            };
            StatusReport::new(verdict, url, refused, health, stats["ledger"].clone())
        }
    }
}

impl Report for StatusReport {
    fn exit(&self) -> Exit {
        match self.verdict {
            Condition::Well => Exit::Ok,
            Condition::Degraded => Exit::Failed,
            Condition::Down => Exit::Unknown,
        }
    }

    fn lines(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Condition::Well => "all is well",
            Condition::Degraded => "DEGRADED BUT SAFE: events are stored, and wait",
            Condition::Down => "NOT STORING",
        };
        let version =
            self.health["version"].as_str().map(|version| format!(" {version}")).unwrap_or_default();
        let mut lines = vec![format!("logs-ingest{version} at {}: {verdict}", self.url)];
        lines.extend(self.problem.as_deref().map(|problem| field("problem", &visible(problem))));
        if let (Some(route), Some(backlog)) = (&self.route, &self.backlog) {
            lines.push(field("route", &format!("{}, since {}", route.store, local_time(&route.since))));
            for name in ["kafka", "postgres"] {
                lines.extend(remote(name, &self.health[name]));
            }
            lines.extend([backlog.line(), self.spool()]);
            lines.push(field(
                "disk",
                &format!("{} free", size(number(&self.health["spool"]["disk_free_bytes"]))),
            ));
            lines.extend([self.dead_letters(), self.ledger()]);
        }
        lines
    }
}

impl StatusReport {
    fn new(verdict: Condition, url: String, problem: Option<String>, health: Value, ledger: Value) -> Self {
        let route = health.is_object().then(|| RouteInUse::of(&health));
        let backlog = health.is_object().then(|| Backlog::of(&health));
        Self { verdict, url, problem, route, backlog, health, ledger }
    }

    fn spool(&self) -> String {
        let spool = &self.health["spool"];
        let (used, most) = (number(&spool["bytes"]), number(&spool["max_bytes"]));
        let mut said = format!("{} of {} ({} %)", size(used), size(most), 100 * used / most.max(1));
        if spool["full"] == true {
            said += ", FULL";
        } else if let Some(hours) = spool["full_in_hours"].as_f64() {
            said += &full_in(hours);
        }
        if spool["writable"] == false {
            said += ", NOT WRITABLE";
        }
        if number(&spool["home"]) > 0 {
            said += &format!(", {} at home", some(number(&spool["home"]), "event"));
        }
        if number(&spool["damaged_files"]) > 0 {
            said += &format!(", {} set aside", some(number(&spool["damaged_files"]), "damaged file"));
        }
        field("spool", &said)
    }

    fn dead_letters(&self) -> String {
        let here = number(&self.health["spool"]["dead_letters"]);
        let there = number(&self.health["postgres"]["rows"]["dead_letters"]);
        match here + there {
            0 => field("dead letters", "none"),
            _ => field(
                "dead letters",
                &format!(
                    "{} in the spool and {} in postgres: see logs-ingest dead-letters list",
                    count(here),
                    count(there)
                ),
            ),
        }
    }

    fn ledger(&self) -> String {
        let balanced = if self.ledger["balanced"] == true { "balanced" } else { "does not balance now" };
        let figure = |name: &str| count(number(&self.ledger[name]));
        field(
            "ledger",
            &format!(
                "{balanced}: {} held before and {} accepted since the start, {} in kafka",
                figure("held_at_start"),
                figure("accepted"),
                figure("sent_to_kafka")
            ),
        )
    }
}

fn field(name: &str, said: &str) -> String {
    format!("{name:<13} {said}")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    visible(value.as_str().unwrap_or("-")).into_owned()
}

/// A store behind the network that is configured.
fn remote(name: &str, remote: &Value) -> Option<String> {
    if remote["configured"] != true {
        return None;
    }
    let error = remote["error"].as_str().map(|error| format!(": {}", visible(error))).unwrap_or_default();
    let since = local_time(remote["since"].as_str().unwrap_or("-"));
    Some(field(name, &format!("{} since {since}{error}", text(&remote["state"]))))
}

fn full_in(hours: f64) -> String {
    match hours {
        0.0..1.0 => ", full within the hour at the present rate".to_owned(),
        1.0..8_760.0 => format!(", full in about {} hours at the present rate", count(hours.round() as u64)),
        _ => ", at the present rate not full for years".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Condition, hours: Option<f64>) -> StatusReport {
        let health = serde_json::json!({
            "version": "1.2.3",
            "kafka": { "configured": true, "state": "down", "since": "s", "error": "a\u{1b}b" },
            "postgres": { "configured": false, "since": "a", "rows": null },
            "spool": { "held": 3, "oldest_held_age_s": 725, "home": 0, "bytes": 512, "max_bytes": 1024, "full": false, "writable": true,
                       "full_in_hours": hours, "disk_free_bytes": 2048, "dead_letters": 1 },
        });
        let ledger = serde_json::json!({ "balanced": true, "held_at_start": 1, "accepted": 2_000 });
        StatusReport::new(verdict, "http://x".into(), None, health, ledger)
    }

    #[test]
    fn the_route_is_the_first_store_that_is_up_since_the_last_change_before_it() {
        for (kafka, postgres, store, since) in [
            (("up", 9), ("up", 12), "kafka", 9),
            (("down", 10), ("up", 9), "postgres", 10),
            (("down", 10), ("up", 11), "postgres", 11),
            (("off", 8), ("up", 9), "postgres", 9),
            (("down", 10), ("down", 12), "spool", 12),
            (("connecting", 8), ("off", 8), "spool", 8),
        ] {
            let at = |hour: u32| format!("2026-11-24T{hour:02}:00:00.000Z");
            let part = |(state, hour): (&str, u32)| serde_json::json!({ "state": state, "since": at(hour) });
            let health = serde_json::json!({ "kafka": part(kafka), "postgres": part(postgres) });
            assert_eq!(RouteInUse::of(&health), RouteInUse { store, since: at(since) }, "{health}");
        }
    }

    #[test]
    fn the_oldest_of_both_stores_is_the_oldest() {
        let health = serde_json::json!({
            "spool": { "held": 2, "oldest_held_age_s": 5 },
            "postgres": { "rows": { "held": 3, "oldest_held_age_s": 70 } },
        });
        let backlog = Backlog { events: 5, in_spool: 2, in_postgres: 3, oldest_age_s: 70 };
        assert_eq!(Backlog::of(&health), backlog);
        assert!(
            backlog
                .line()
                .ends_with("5 events wait, 2 in the spool and 3 in postgres; the oldest for 1 min 10 s")
        );
    }

    #[test]
    fn one_screen_shows_everything() {
        assert_eq!(
            report(Condition::Degraded, Some(40.2)).lines(),
            [
                "logs-ingest 1.2.3 at http://x: DEGRADED BUT SAFE: events are stored, and wait",
                "route         spool, since s",
                r"kafka         down since s: a\u{1b}b",
                "backlog       3 events wait, 3 in the spool and 0 in postgres; the oldest for 12 min 5 s",
                "spool         512 B of 1.0 KiB (50 %), full in about 40 hours at the present rate",
                "disk          2.0 KiB free",
                "dead letters  1 in the spool and 0 in postgres: see logs-ingest dead-letters list",
                "ledger        balanced: 1 held before and 2,000 accepted since the start, 0 in kafka",
            ]
        );
    }

    #[test]
    fn monitoring_goes_by_the_exit_code() {
        for (verdict, exit) in [
            (Condition::Well, Exit::Ok),
            (Condition::Degraded, Exit::Failed),
            (Condition::Down, Exit::Unknown),
        ] {
            assert_eq!(report(verdict, None).exit(), exit);
        }
        assert_eq!(full_in(0.4), ", full within the hour at the present rate");
        assert_eq!(full_in(1e9), ", at the present rate not full for years");
    }
}
