//! What commands read: files or standard input, gzip or not, line by line. No line is longer than its reader
//! allows, whatever is in the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use flate2::bufread::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One file, or standard input.
pub(super) struct Input {
    name: String,
    /// Not read yet: that may wait for as long as nobody writes.
    raw: Option<BufReader<CountingReader>>,
    reader: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    bytes: u64,
}

/// A line without its end, or the end of all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(Vec<u8>),
    /// Nothing of it is kept.
    TooLong,
    End,
}

impl Input {
    /// `-` is standard input.
    ///
    /// # Errors
    /// A text for people.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name =
            if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let unreadable = |error: io::Error| format!("cannot read {name}: {error}");
        let (file, bytes): (Box<dyn Read + Send>, u64) = match path == Path::new("-") {
            true => (Box::new(io::stdin()), 0),
            false => {
                let file = File::open(path).map_err(unreadable)?;
                let facts = file.metadata().map_err(unreadable)?;
                if facts.is_dir() {
                    return Err(format!("cannot read {name}: it is a folder"));
                }
                (Box::new(file), facts.len())
            }
        };
        let (read, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let raw = BufReader::new(CountingReader { file, read: Arc::clone(&read), stop: Arc::clone(&stop) });
        Ok(Self { name, raw: Some(raw), reader: Box::new(io::empty()), read, stop, bytes })
    }

    /// Its first bytes show whether it is gzip.
    fn begin(&mut self) -> io::Result<()> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        let is_gzip = raw.fill_buf()?.starts_with(&GZIP);
        if let Some(raw) = self.raw.take() {
            self.reader = match is_gzip {
                true => Box::new(BufReader::new(MultiGzDecoder::new(raw))),
                false => Box::new(raw),
            };
        }
        Ok(())
    }

    /// Once this is true nothing more is read: it ends with its last whole line that is in memory.
    pub(super) fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Those that a command line names, in order; standard input where it names none.
    pub(super) fn paths(named: &[PathBuf]) -> Vec<PathBuf> {
        if named.is_empty() { vec![PathBuf::from("-")] } else { named.to_vec() }
    }

    /// For messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The part of it that was read, where that is known.
    pub(super) fn share(&self) -> Option<f64> {
        (self.bytes > 0).then(|| (self.read.load(Relaxed) as f64 / self.bytes as f64).min(1.0))
    }

    /// The next line, as far as it has at most `limit` bytes.
    pub(super) fn line(&mut self, limit: usize) -> io::Result<Line> {
        let line = self.next_line(limit);
        match &line {
            Ok(Line::Text(text)) if text.ends_with(b"\n") => line,
            _ if self.stop.load(Relaxed) => Ok(Line::End),
            _ => line,
        }
    }

    fn next_line(&mut self, limit: usize) -> io::Result<Line> {
        self.begin()?;
        let mut text = Vec::new();
        let limit = limit as u64 + 1;
        if (&mut self.reader).take(limit).read_until(b'\n', &mut text)? == 0 {
            return Ok(Line::End);
        }
        if text.last() != Some(&b'\n') && text.len() as u64 == limit {
            drop(text);
            self.reader.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(Line::Text(text))
    }

    /// Its beginning, at most `limit` bytes of it, without a byte order mark. It is there again to be read.
    pub(super) fn peek(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        self.begin()?;
        let mut head = Vec::new();
        (&mut self.reader).take(limit as u64).read_to_end(&mut head)?;
        if head.starts_with(BYTE_ORDER_MARK) {
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(io::Cursor::new(head.clone()).chain(rest));
        Ok(head)
    }
}

struct CountingReader {
    file: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Relaxed) {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &'static [u8]) -> Input {
        let (read, stop) = (Arc::default(), Arc::default());
        Input { name: "test".into(), raw: None, reader: Box::new(content), read, stop, bytes: 0 }
    }

    #[test]
    fn lines_have_a_bound_and_what_follows_a_long_one_is_read() {
        let mut input = of(b"ab\nabcdefgh\nabc\n\nabc");
        let text = |text: &[u8]| Line::Text(text.to_vec());
        let lines: Vec<Line> = std::iter::repeat_with(|| input.line(4).unwrap()).take(6).collect();
        assert_eq!(
            lines,
            [text(b"ab\n"), Line::TooLong, text(b"abc\n"), text(b"\n"), text(b"abc"), Line::End]
        );
    }

    #[test]
    fn what_was_looked_at_is_read_again() {
        let mut input = of(b"\xEF\xBB\xBFab\ncd");
        assert_eq!(input.peek(5).unwrap(), b"ab");
        assert_eq!(input.line(9).unwrap(), Line::Text(b"ab\n".to_vec()));
        assert_eq!(input.peek(9).unwrap(), b"cd");
    }

    #[test]
    fn what_is_stopped_ends_with_a_whole_line() {
        let folder = std::env::temp_dir().join(format!("logs-ingest-input-{}", std::process::id()));
        std::fs::write(&folder, "line\n".repeat(100_000) + "end").unwrap();
        let mut input = Input::open(&folder).unwrap();
        let line = |input: &mut Input| input.line(9).unwrap();
        assert_eq!(line(&mut input), Line::Text(b"line\n".to_vec()));
        input.stopper().store(true, Relaxed);
        let mut rest = 0;
        while line(&mut input) == Line::Text(b"line\n".to_vec()) {
            rest += 1;
        }
        // A buffer's worth, not the file's.
        assert!((1_000..5_000).contains(&rest), "{rest}");
        assert_eq!(line(&mut input), Line::End);
        std::fs::remove_file(&folder).unwrap();
    }
}
