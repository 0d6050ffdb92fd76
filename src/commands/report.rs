//! What a command reports when it is done: as text or as one JSON object, and the exit code that goes with it.

use serde::Serialize;

use super::output::Output;
use crate::host::exit::Exit;

/// The one object that `--json` prints.
pub(super) trait Report: Serialize {
    /// For people.
    fn lines(&self) -> Vec<String>;

    /// What people should read beside it, on standard error.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// For scripts and monitoring.
    fn exit(&self) -> Exit;

    /// To standard output.
    ///
    /// # Errors
    /// A text for people: standard output cannot be written.
    fn print(&self, as_json: bool) -> Result<Exit, String> {
        let mut out = Output::stdout();
        if as_json {
            out.line(serde_json::to_string(self).unwrap_or_default())?;
        } else {
            self.problems().iter().for_each(|problem| eprintln!("{problem}"));
            for line in self.lines() {
                out.line(line)?;
            }
        }
        out.flush()?;
        Ok(self.exit())
    }

    /// To standard error, where standard output has the events.
    fn print_beside(&self) -> Exit {
        self.lines().iter().for_each(|line| eprintln!("{line}"));
        self.exit()
    }
}
