//! Lines of all inputs, read ahead by a thread, so that waiting for a line keeps nothing from being sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::commands::input::{Input, Line};
use crate::host::thread;
use crate::limits::SEND_LINES_AHEAD;

/// A line and where it stands.
pub(super) struct Found {
    /// `FILE:LINE`
    pub(super) place: String,
    pub(super) text: Text,
    /// The part of all inputs that was read, where that is known.
    pub(super) share: Option<f64>,
}

/// What stands there.
pub(super) enum Text {
    Line(Vec<u8>),
    TooLong,
    /// The input ends here, in an error.
    Unreadable(String),
}

/// The lines of all inputs, one after the other.
pub(super) struct Lines {
    pub(super) found: Receiver<Found>,
    stoppers: Vec<Arc<AtomicBool>>,
}

impl Lines {
    /// Nothing more is read; what is in memory still comes.
    pub(super) fn stop(&self) {
        self.stoppers.iter().for_each(|stopper| stopper.store(true, Relaxed));
    }
}

/// Begins to read. The channel ends with the last input. The thread is not joined: it may wait for a line that
/// never comes, and ends with the process.
///
/// # Errors
/// A text for people.
pub(super) fn start(inputs: Vec<Input>, line_max: usize) -> Result<Lines, String> {
    let (sender, found) = bounded(SEND_LINES_AHEAD);
    let stoppers = inputs.iter().map(Input::stopper).collect();
    let read = move || {
        let all = inputs.len() as f64;
        for (index, mut input) in inputs.into_iter().enumerate() {
            let share = |input: &Input| input.share().map(|share| (index as f64 + share) / all);
            if !lines(&mut input, line_max, share, &sender) {
                break;
            }
        }
    };
    thread::start("reader", read).map_err(|error| format!("can't start a thread: {error}"))?;
    Ok(Lines { found, stoppers })
}

/// False: nobody wants more.
fn lines(
    input: &mut Input,
    line_max: usize,
    share: impl Fn(&Input) -> Option<f64>,
    sender: &Sender<Found>,
) -> bool {
    for number in 1.. {
        let place = format!("{}:{number}", input.name());
        let text = match input.line(line_max) {
            Ok(Line::End) => return true,
            Ok(Line::Text(text)) => Text::Line(text),
            Ok(Line::TooLong) => Text::TooLong,
            Err(error) => Text::Unreadable(format!("can't read {place}: {error}")),
        };
        let ends = matches!(text, Text::Unreadable(_));
        if sender.send(Found { place, text, share: share(input) }).is_err() || ends {
            return ends;
        }
    }
    true
}
