//! CPU, memory, threads and descriptors of this process, from /proc. Unknown where there is none.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// CPU time since start, in seconds.
    pub cpu_s: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads now.
    pub threads: u64,
    /// Open descriptors now.
    pub descriptors: u64,
    /// Descriptors that it may open.
    pub descriptors_max: u64,
}

impl Process {
    /// Reads them. None: unknown.
    #[must_use]
    pub fn look() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut process = parse(&stat, ticks_per_second, rustix::param::page_size() as u64)?;
        // One of them is the open folder itself.
        process.descriptors = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
        process.descriptors_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Some(process)
    }
}

/// Fields 14 and 15 are ticks, 20 is threads, 24 is pages, counted from 1. The second is the program's
/// name in parentheses and may hold anything.
fn parse(stat: &str, ticks_per_second: f64, page_bytes: u64) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu_s: (field(14)? + field(15)?) as f64 / ticks_per_second,
        resident_bytes: field(24)? * page_bytes,
        threads: field(20)?,
        ..Process::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_programs_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 12 0 999 5000000 300 18446744073709551615 1 1";
        let expected = Process { cpu_s: 2.0, resident_bytes: 300 * 4096, threads: 12, ..Process::default() };
        assert_eq!(parse(line, 100.0, 4096), Some(expected));
        assert_eq!(parse("7 (a) S 1", 100.0, 4096), None);
    }

    #[test]
    fn this_process_is_seen() {
        let process = Process::look().expect("tests run on Linux");
        assert!(process.resident_bytes > 1 << 20 && process.threads >= 1, "{process:?}");
        assert!((3..=process.descriptors_max).contains(&process.descriptors), "{process:?}");
    }
}
