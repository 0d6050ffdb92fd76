//! `dead-letters list` and `dead-letters show`.

use super::stores::LetterStores;
use super::{LetterStore, ListArgs, ShowArgs};
use crate::commands::exported;
use crate::commands::output::{Output, local_time, visible};
use crate::config::Config;
use crate::event::Columns;
use crate::host::clock;
use crate::host::exit::Exit;
use crate::store::browse::Letter;

/// A list has this much of an error's text.
const ERROR_CHARS: usize = 100;

pub(super) fn list(args: &ListArgs, config: &Config) -> Result<Exit, String> {
    let mut stores = LetterStores::open(args.stores, config)?;
    let wanted = args.which.wanted();
    let mut out = Output::stdout();
    let mut found = false;
    for store in stores.open_ones() {
        let (mut left, mut after) = (args.limit, Some(0));
        while let Some(seq) = after.filter(|_| left > 0) {
            let page = stores.after(store, seq, &wanted)?;
            for letter in page.rows.iter().take(left) {
                found = true;
                let line =
                    if args.json { exported::of_letter(letter, store.name()) } else { short(letter, store) };
                if !out.line(line)? {
                    return Ok(Exit::Ok);
                }
            }
            left = left.saturating_sub(page.rows.len());
            after = page.next;
        }
        if left == 0 && after.is_some() && !args.json {
            eprintln!("of {} only the first {}: see --limit", store.name(), args.limit);
        }
    }
    out.flush()?;
    if !found && !args.json {
        eprintln!("no dead letters");
    }
    Ok(if stores.say_trouble() { Exit::Failed } else { Exit::Ok })
}

pub(super) fn show(args: &ShowArgs, config: &Config) -> Result<Exit, String> {
    let mut stores = LetterStores::open(args.stores, config)?;
    let Some((store, letter)) = stores.find(&args.id)? else {
        stores.say_trouble();
        return Err(format!("there is no dead letter {}: see dead-letters list", visible(&args.id)));
    };
    let mut out = Output::stdout();
    if args.json {
        out.line(exported::of_letter(&letter, store.name()))?;
    } else {
        for line in full(&letter, store) {
            out.line(line)?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// `2026-11-18 18:21:35 spool    019a… till sale r-17  the broker takes at most …`
fn short(letter: &Letter, store: LetterStore) -> String {
    let columns = letter.kept.event.as_ref().map(|event| Columns::of(event.payload())).unwrap_or_default();
    let part =
        |text: &Option<std::borrow::Cow<'_, str>>| visible(text.as_deref().unwrap_or("-")).into_owned();
    let mut error: String = visible(&letter.error).chars().take(ERROR_CHARS).collect();
    if letter.error.chars().count() > ERROR_CHARS {
        error.push('…');
    }
    format!(
        "{} {:<8} {} {} {} {}  {error}",
        local_time(&letter.failed_at),
        store.name(),
        visible(&letter.kept.ingest_id),
        part(&columns.service),
        part(&columns.action),
        part(&columns.request_id),
    )
}

fn full(letter: &Letter, store: LetterStore) -> Vec<String> {
    let kept = &letter.kept;
    let mut lines = vec![
        format!("ingest_id    {}", visible(&kept.ingest_id)),
        format!("store        {}, seq {}", store.name(), kept.seq),
        format!("failed       {}", local_time(&letter.failed_at)),
        format!("error        {}", visible(&letter.error)),
        format!("came here    {}", visible(&kept.reason)),
    ];
    match &kept.event {
        Ok(event) => {
            lines.push(format!("received     {}", local_time(&clock::rfc3339(event.received_at_ms()))));
            lines.push(format!("bytes        {}", event.payload().len()));
            lines.push(format!("event        {}", visible(&String::from_utf8_lossy(event.payload()))));
        }
        Err(why) => {
            let remains = letter.remains.as_deref().unwrap_or_default();
            lines.push(format!("damaged      {}", visible(why)));
            lines.push(format!("what is left {}", visible(&String::from_utf8_lossy(remains))));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arrival, Event};
    use crate::store::browse::{Kept, RowState};

    #[test]
    fn letters_are_escaped_and_damaged_ones_are_shown_too() {
        let arrival = Arrival::new(uuid::Uuid::nil(), 0);
        let event = Event::restored(arrival, "r".into(), r#"{"request_id":"r","service":"till"}"#.into());
        let kept = Kept {
            seq: 3,
            ingest_id: uuid::Uuid::nil().to_string(),
            state: RowState::Held,
            reason: "rejected".into(),
            event: Ok(event),
        };
        let letter = Letter {
            kept,
            failed_at: "2026-11-18T17:21:35.750Z".into(),
            error: format!("\u{1b}[31m{}", "e".repeat(200)),
            remains: None,
        };
        let line = short(&letter, LetterStore::Spool);
        assert!(
            line.contains(" spool    00000000-0000-0000-0000-000000000000 till - r  \\u{1b}[31mee"),
            "{line}"
        );
        assert!(line.ends_with("ee…") && line.len() < 220, "{line}");
        assert!(
            full(&letter, LetterStore::Postgres)
                .contains(&r#"event        {"request_id":"r","service":"till"}"#.into())
        );
        let damaged = Letter {
            kept: Kept { event: Err("the row is damaged".into()), ..letter.kept.clone() },
            remains: Some(b"{\"reques\xff".to_vec()),
            ..letter
        };
        let lines = full(&damaged, LetterStore::Spool).join("\n");
        assert!(lines.contains("damaged      the row is damaged\nwhat is left {\"reques\u{fffd}"), "{lines}");
        assert!(short(&damaged, LetterStore::Spool).contains(" - - -  "));
    }
}
