//! `events`: the events in the spool, for people and for pipes.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Local};

use super::exported;
use super::output::{Output, visible};
use super::selection::Selection;
use crate::store::spool::{Entry, Journal};

/// Events that are read at once.
const PAGE: u32 = 100;
/// `--follow` looks for new events this often: commits of another process wake nobody.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// The width of a terminal that does not report its own.
const WIDTH_DEFAULT: usize = 160;

/// Show the events in the spool, oldest first.
///
/// Reads DATA_DIR/spool.sqlite3 beside a running daemon or without one. Events that went to Kafka or to
/// PostgreSQL are not here: with KAFKA_BROKERS set the spool has only what still waits for Kafka, without it
/// every event of the last KEEP_DAYS.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// Number of events, counted from the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub last: u32,

    /// Continue with new events as they arrive, until interrupted
    #[arg(short, long)]
    pub follow: bool,

    /// One JSON object per line: {"ingest_id":..,"received_at":..,"state":"held"|"home","event":{as stored}}
    #[arg(long)]
    pub json: bool,

    /// Which of them.
    #[command(flatten)]
    pub which: Selection,
}

pub(super) fn run(args: &EventsArgs, dir: &Path) -> Result<(), String> {
    let width = io::stdout().is_terminal().then(terminal_width);
    show(args, dir, &mut Output::stdout(), width)
}

fn show<W: Write>(
    args: &EventsArgs,
    dir: &Path,
    out: &mut Output<W>,
    width: Option<usize>,
) -> Result<(), String> {
    let wanted = args.which.wanted();
    let mut journal = Journal::open(dir)?;
    let mut seq = journal.before_last(args.last, &wanted)?;
    loop {
        let page = journal.after(seq, PAGE, &wanted, args.json)?;
        for entry in &page.rows {
            let line = if args.json { exported::of_entry(entry) } else { human_line(entry, width) };
            if !out.line(line)? {
                return Ok(());
            }
        }
        if !out.flush()? {
            return Ok(());
        }
        match page.next {
            Some(next) => seq = next,
            None if args.follow => {
                std::thread::sleep(FOLLOW_EVERY);
                journal.refresh()?;
            }
            None => return Ok(()),
        }
    }
}

fn terminal_width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH_DEFAULT)
}

/// `2025-11-18 18:21:35.750 error    pos-api checkout req-17  card reader timed out`
fn human_line(entry: &Entry, width: Option<usize>) -> String {
    let time = match DateTime::parse_from_rfc3339(&entry.received_at) {
        Ok(time) => time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => entry.received_at.clone(),
    };
    let part = |text: &Option<String>| text.as_deref().map_or(Cow::Borrowed("-"), visible).into_owned();
    let mut line = format!(
        "{time} {:<8} {} {} {}  {}",
        part(&entry.level),
        part(&entry.service),
        part(&entry.action),
        part(&entry.request_id),
        part(&entry.message)
    );
    if let Some(width) = width
        && let Some((cut, _)) = line.char_indices().nth(width)
    {
        let last = line[..cut].char_indices().next_back().map_or(0, |(index, _)| index);
        line.truncate(last);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::event::{Arrival, Event};
    use crate::host::clock::SystemClock;
    use crate::store::{Standing, spool};

    fn entry() -> Entry {
        Entry {
            seq: 1,
            ingest_id: "0190".to_owned(),
            received_at: "2025-11-18T17:21:35.750Z".to_owned(),
            standing: Standing::Home,
            level: Some("error".to_owned()),
            service: Some("pos".to_owned()),
            action: Some("pay".to_owned()),
            request_id: Some("r-1".to_owned()),
            message: Some("a\tb\u{1b}[31m\u{202e}é".to_owned()),
            payload: None,
        }
    }

    #[test]
    fn a_line_for_people_escapes_what_a_terminal_obeys() {
        let line = human_line(&entry(), None);
        assert!(line.ends_with(r" error    pos pay r-1  a\tb\u{1b}[31m\u{202e}é"), "{line}");
    }

    #[test]
    fn a_line_is_cut_to_the_terminal_between_characters() {
        let whole = human_line(&entry(), None);
        let length = whole.chars().count();
        assert_eq!(human_line(&entry(), Some(length)), whole);
        for width in [1, 30, length - 1] {
            let line = human_line(&entry(), Some(width));
            assert_eq!(line.chars().count(), width, "{line}");
            assert!(line.ends_with('…'), "{line}");
        }
    }

    #[test]
    fn json_keeps_the_payload_on_one_line() {
        let payload = Some(b"{\"raw_data\":{\n\"a\" : 1.10}}".to_vec());
        let line = exported::of_entry(&Entry { payload, ..entry() });
        assert_eq!(
            line,
            r#"{"ingest_id":"0190","received_at":"2025-11-18T17:21:35.750Z","state":"home","event":{"raw_data":{ "a" : 1.10}}}"#
        );
        let damaged = exported::of_entry(&Entry { payload: Some(b"{\"a".to_vec()), ..entry() });
        assert!(damaged.ends_with(r#""event":null}"#), "{damaged}");
    }

    fn args(line: &[&str]) -> EventsArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: EventsArgs,
        }
        let line = ["events"].iter().chain(line);
        <Line as clap::Parser>::try_parse_from(line).unwrap().args
    }

    #[test]
    fn a_missing_spool_says_what_to_do() {
        let said =
            show(&args(&[]), Path::new("/nonexistent/dir"), &mut Output::new(Vec::new()), None).unwrap_err();
        assert!(
            said.starts_with("no spool at /nonexistent/dir/spool.sqlite3: has the daemon run here?"),
            "{said}"
        );
    }

    /// A real spool with 250 events, closed: every tenth an error of another service.
    fn filled(test: &str) -> Folder {
        let folder =
            Folder(std::env::temp_dir().join(format!("logs-ingest-events-{test}-{}", std::process::id())));
        let settings = spool::Settings {
            dir: folder.0.clone(),
            max_bytes: Some(1 << 30),
            clock: SystemClock::shared(),
            clock_trusted_after: Duration::ZERO,
            stopping: std::sync::Arc::default(),
            destination: None,
            keep: Duration::from_secs(1 << 20),
            instance: "test".to_owned(),
        };
        let spool = spool::Spool::open(&settings).unwrap();
        let event = |n: u64| {
            let (level, service) = if n.is_multiple_of(10) { ("error", "till") } else { ("info", "pos") };
            let payload = format!(
                r#"{{"request_id":"r-{n}","service":"{service}","action":"pay","level":"{level}","message":"m {n}"}}"#
            );
            let arrival = Arrival::new(Uuid::from_u128(u128::from(n)), crate::limits::RELEASED_MS);
            Event::restored(arrival, format!("r-{n}").into(), payload.into())
        };
        let batch: crate::store::Batch = (0..250).map(event).collect();
        let outcomes = spool.append(&batch, crate::store::Standing::Home, "no kafka is configured");
        assert!(outcomes.iter().all(Result::is_ok));
        assert!(spool.close(Duration::from_secs(60)));
        folder
    }

    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_newest_events_are_shown_oldest_first_and_filters_hold() {
        let folder = filled("filters");
        let shown = |line: &[&str]| {
            let mut out = Vec::new();
            show(&args(line), &folder.0, &mut Output::new(&mut out), None).unwrap();
            let text = String::from_utf8(out).unwrap();
            let message = |line: &str| line.split_once("  m ").map(|(_, n)| n.parse().unwrap());
            text.lines().filter_map(message).collect::<Vec<u32>>()
        };
        assert_eq!(shown(&[]), (230..250).collect::<Vec<u32>>());
        assert_eq!(shown(&["--last", "210"]), (40..250).collect::<Vec<u32>>());
        assert_eq!(shown(&["-n", "0"]), [0; 0]);
        assert_eq!(shown(&["--level", "error,critical", "--last", "3"]), [220, 230, 240]);
        assert_eq!(shown(&["--service", "till", "--level", "info"]), [0; 0]);
        assert_eq!(shown(&["--request-id", "r-17"]), [17]);
        let mut out = Vec::new();
        show(&args(&["--json", "--request-id", "r-17"]), &folder.0, &mut Output::new(&mut out), None)
            .unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&line["event"]["message"], &line["state"]), (&"m 17".into(), &"home".into()));
    }
}
