//! Lines of all inputs, read ahead by a thread, so that sending goes on while a line is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::commands::input::{Input, Line};
use crate::host::thread;
use crate::limits::SEND_LINES_AHEAD;

/// A line and its place.
pub(super) struct PlacedLine {
    /// `FILE:LINE`
    pub(super) place: String,
    pub(super) text: LineText,
    /// The part of all inputs that was read, where that is known.
    pub(super) share: Option<f64>,
}

/// What is there.
pub(super) enum LineText {
    Line(Vec<u8>),
    TooLong,
    /// The input ends here, in an error.
    Unreadable(String),
}

/// The lines of all inputs, one after the other.
pub(super) struct LinesAhead {
    pub(super) lines: Receiver<PlacedLine>,
    stoppers: Vec<Arc<AtomicBool>>,
}

impl LinesAhead {
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
pub(super) fn start(inputs: Vec<Input>, line_max: usize) -> Result<LinesAhead, String> {
    let (sender, ahead) = bounded(SEND_LINES_AHEAD);
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
    thread::start("reader", read).map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(LinesAhead { lines: ahead, stoppers })
}

/// False: nobody wants more.
fn lines(
    input: &mut Input,
    line_max: usize,
    share: impl Fn(&Input) -> Option<f64>,
    sender: &Sender<PlacedLine>,
) -> bool {
    for number in 1.. {
        let place = format!("{}:{number}", input.name());
        let text = match input.line(line_max) {
            Ok(Line::End) => return true,
            Ok(Line::Text(text)) => LineText::Line(text),
            Ok(Line::TooLong) => LineText::TooLong,
            Err(error) => LineText::Unreadable(format!("cannot read {place}: {error}")),
        };
        let ends = matches!(text, LineText::Unreadable(_));
        if sender.send(PlacedLine { place, text, share: share(input) }).is_err() || ends {
            return ends;
        }
    }
    true
}
