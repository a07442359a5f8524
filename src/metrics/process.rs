//! The standard `process_*` metrics, from `/proc/self`.
//!
//! Seven small numbers: the `procfs` crate (which prometheus would use for five of them) is larger
//! than all the rest of this program's own code. A scrape reads them with two system calls: one for
//! `stat`, which stays open, and one for the number of file descriptors.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

/// What the kernel says about this process; absent where `/proc` is not mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(missing_docs, reason = "named as the metrics are")]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    pub open_fds: Option<f64>,
    pub max_fds: Option<f64>,
    pub virtual_bytes: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub threads: Option<f64>,
    pub start_seconds: Option<f64>,
}

/// `/proc` counts in ticks of 1/100 s on every Linux: `USER_HZ` is part of its interface.
const TICKS_PER_SECOND: f64 = 100.0;
/// The key of the page size in `/proc/self/auxv` (getauxval(3)).
const AT_PAGESZ: usize = 6;

/// Reads [`Process`], with what does not change read once.
#[derive(Debug)]
pub struct ProcessReader {
    stat: Option<File>,
    page_size: Option<f64>,
    max_fds: Option<f64>,
    start_seconds: f64,
}

impl ProcessReader {
    /// When the process started is the caller's to know: `/proc` tells it only by way of
    /// `/proc/stat`, which a confined service does not see.
    pub fn new(start_seconds: f64) -> Self {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            stat: File::open("/proc/self/stat").ok(),
            page_size: page_size(&fs::read("/proc/self/auxv").unwrap_or_default()),
            max_fds: max_fds(&limits),
            start_seconds,
        }
    }

    /// The numbers as they are now.
    pub fn read(&self) -> Process {
        // 52 numbers and a name: some 300 bytes.
        let mut buffer = [0; 1_024];
        let read = self
            .stat
            .as_ref()
            .and_then(|stat| stat.read_at(&mut buffer, 0).ok())
            .unwrap_or(0);
        Process {
            open_fds: open_fds(),
            max_fds: self.max_fds,
            start_seconds: Some(self.start_seconds),
            ..parse_stat(&buffer[..read], self.page_size)
        }
    }
}

fn parse_stat(stat: &[u8], page_size: Option<f64>) -> Process {
    // The second field is the program's name in parentheses, and may hold anything.
    let fields = stat.rsplit(|byte| *byte == b')').next();
    let fields = fields.and_then(|fields| str::from_utf8(fields).ok());
    // proc(5) counts from 1; the state, field 3, is the first one here.
    let field = |number: usize| {
        let mut fields = fields?.split_ascii_whitespace();
        fields.nth(number - 3)?.parse::<f64>().ok()
    };
    let ticks = field(14).zip(field(15)).map(|(user, kernel)| user + kernel);
    Process {
        cpu_seconds: ticks.map(|ticks| ticks / TICKS_PER_SECOND),
        threads: field(20),
        virtual_bytes: field(23),
        resident_bytes: field(24).zip(page_size).map(|(pages, size)| pages * size),
        ..Process::default()
    }
}

fn page_size(auxv: &[u8]) -> Option<f64> {
    let words: Vec<usize> = auxv
        .chunks_exact(size_of::<usize>())
        .filter_map(|bytes| Some(usize::from_ne_bytes(bytes.try_into().ok()?)))
        .collect();
    let entry = words.chunks_exact(2).find(|entry| entry[0] == AT_PAGESZ)?;
    Some(entry[1] as f64)
}

fn max_fds(limits: &str) -> Option<f64> {
    let mut lines = limits.lines();
    let values = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        // Before Linux 6.2 the directory had no size. The listing itself has one open.
        0 => fs::read_dir(DIRECTORY)
            .ok()
            .map(|entries| entries.count() as f64 - 1.0),
        count => Some(count as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_parsed() {
        let process = parse_stat(
            b"7 (a) b\xff) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 14 0 1000 5000 300 18",
            Some(4096.0),
        );
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.threads, Some(14.0));
        assert_eq!(process.virtual_bytes, Some(5_000.0));
        assert_eq!(process.resident_bytes, Some(1_228_800.0));
        let limits = "Max open files            1024                 4096                 files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        let auxv: Vec<u8> = [33, 1, AT_PAGESZ, 16_384, 0, 0_usize]
            .into_iter()
            .flat_map(usize::to_ne_bytes)
            .collect();
        assert_eq!(page_size(&auxv), Some(16_384.0));
    }

    #[test]
    fn without_proc_everything_is_absent() {
        assert_eq!(parse_stat(b"", None), Process::default());
        assert_eq!((page_size(b""), max_fds("")), (None, None));
    }

    #[test]
    fn the_numbers_are_those_of_the_status_file_and_of_a_listing() {
        let process = ProcessReader::new(1_800_000_000.0).read();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .unwrap()
            .parse()
            .unwrap();
        let resident = resident * 1_024.0;
        assert!((process.resident_bytes.unwrap() / resident - 1.0).abs() < 0.5);
        // Other tests open and close files meanwhile.
        let listed = fs::read_dir("/proc/self/fd").unwrap().count() as f64;
        assert!((process.open_fds.unwrap() - listed).abs() < 30.0);
        assert_eq!(process.start_seconds, Some(1_800_000_000.0));
    }
}
