//! An exported file, gzip or not, line by line.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::source::{Chunk, Found, Source};
use crate::commands::line;
use crate::limits::{EXPORT_LINE_BYTES_MAX, EXPORT_PAGE_BYTES};
use crate::store::browse::Wanted;

/// Lines that are read at once.
const PAGE_LINES: usize = 500;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// See the module. A place is the number of lines before it.
pub(super) struct ExportedFile {
    path: PathBuf,
    lines: Box<dyn BufRead>,
    wanted: Wanted,
    number: u64,
    skip: u64,
    /// Bytes of the file that were read, and all of them.
    read: Rc<Cell<u64>>,
    bytes: u64,
}

/// A line, or the end.
enum Line {
    Text(Vec<u8>),
    TooLong,
    End,
}

impl ExportedFile {
    pub(super) fn open(path: &Path, wanted: Wanted, skip: u64) -> Result<Self, String> {
        let failed = |error| unreadable(path, &error);
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let read = Rc::new(Cell::new(0));
        let mut raw = BufReader::new(Counted { file, read: Rc::clone(&read) });
        let is_gzip = raw.fill_buf().map_err(failed)?.starts_with(&GZIP);
        let lines: Box<dyn BufRead> = match is_gzip {
            true => Box::new(BufReader::new(MultiGzDecoder::new(raw))),
            false => Box::new(raw),
        };
        Ok(Self { path: path.to_owned(), lines, wanted, number: 0, skip, read, bytes })
    }

    /// The next line without its end; of a longer one than any export has, nothing is kept.
    fn line(&mut self) -> io::Result<Line> {
        let mut text = Vec::new();
        let limit = EXPORT_LINE_BYTES_MAX as u64 + 1;
        if (&mut self.lines).take(limit).read_until(b'\n', &mut text)? == 0 {
            return Ok(Line::End);
        }
        if text.last() != Some(&b'\n') && text.len() as u64 == limit {
            drop(text);
            self.lines.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(Line::Text(text))
    }
}

impl Source for ExportedFile {
    fn next(&mut self) -> Result<Option<Chunk>, String> {
        let mut chunk = Chunk { events: Vec::new(), damaged: Vec::new(), end: String::new() };
        let (mut looked, mut bytes) = (0, 0);
        while looked < PAGE_LINES && bytes < EXPORT_PAGE_BYTES {
            let line = self.line().map_err(|error| {
                format!(
                    "{} behind line {}: what comes before was sent",
                    unreadable(&self.path, &error),
                    self.number
                )
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
            match line::parse(&text) {
                Ok((event, state)) if self.wanted.takes(&event, &state) => {
                    bytes += event.size_bytes();
                    chunk.events.push(Found { event, at: self.number.to_string() });
                }
                Ok(_) => {}
                Err(why) => chunk.damaged.push(format!("line {}: {why}", self.number)),
            }
        }
        chunk.end = self.number.to_string();
        Ok((looked > 0).then_some(chunk))
    }

    fn share(&self) -> Option<f64> {
        (self.bytes > 0).then(|| (self.read.get() as f64 / self.bytes as f64).min(1.0))
    }
}

struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("can't read {}: {error}", path.display())
}
