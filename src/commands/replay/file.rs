//! An exported file, gzip or not, line by line.

use std::path::Path;

use super::source::{Chunk, EventSource, PlacedEvent};
use crate::commands::exported;
use crate::commands::input::{Input, Line};
use crate::limits::{EXPORT_LINE_BYTES_MAX, EXPORT_PAGE_BYTES};
use crate::store::browse::Wanted;

/// Lines that are read at once.
const PAGE_LINES: usize = 500;

/// See the module. A place is the number of lines before it.
pub(super) struct ExportedFile {
    input: Input,
    wanted: Wanted,
    number: u64,
    skip: u64,
}

impl ExportedFile {
    pub(super) fn open(path: &Path, wanted: Wanted, skip: u64) -> Result<Self, String> {
        Ok(Self { input: Input::open(path)?, wanted, number: 0, skip })
    }
}

impl EventSource for ExportedFile {
    fn next(&mut self) -> Result<Option<Chunk>, String> {
        let mut chunk = Chunk { events: Vec::new(), damaged: Vec::new(), end: String::new() };
        let (mut looked, mut bytes) = (0, 0);
        while looked < PAGE_LINES && bytes < EXPORT_PAGE_BYTES {
            let line = self.input.line(EXPORT_LINE_BYTES_MAX).map_err(|error| {
                let (name, number) = (self.input.name(), self.number);
                format!("cannot read {name}: {error} after line {number}: what comes before was sent")
            });
            let text = match line? {
                Line::End => break,
                Line::TooLong => Vec::new(),
                Line::Text(text) => text,
            };
            self.number += 1;
            looked += 1;
            if self.number <= self.skip || text.trim_ascii().is_empty() && !text.is_empty() {
                continue;
            }
            match exported::parse(&text) {
                Ok((event, state)) if self.wanted.takes(&event, state) => {
                    bytes += event.size_bytes();
                    chunk.events.push(PlacedEvent { event, at: self.number.to_string() });
                }
                Ok(_) => {}
                Err(why) => chunk.damaged.push(format!("line {}: {why}", self.number)),
            }
        }
        chunk.end = self.number.to_string();
        Ok((looked > 0).then_some(chunk))
    }

    fn share(&self) -> Option<f64> {
        self.input.share()
    }
}
