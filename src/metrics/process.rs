//! The standard `process_*` metrics, from `/proc/self`.
//!
//! Seven small numbers: the `procfs` crate (which prometheus would use for five of them) is larger
//! than all the rest of this program's own code.

use std::fs;

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

impl Process {
    /// Reads `/proc/self`. When the process started is the caller's to know: `/proc` tells it only
    /// by way of `/proc/stat`, which a confined service does not see.
    #[must_use]
    pub fn read(start_seconds: f64) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
        );
        process.start_seconds = Some(start_seconds);
        // The listing itself has one open.
        process.open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count() as f64 - 1.0);
        process
    }

    fn parse(stat: &str, status: &str, limits: &str) -> Self {
        // The second field is the program's name in parentheses, and may hold anything.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        // proc(5) counts from 1; the state, field 3, is the first one here.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
        };
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, kernel)| (user + kernel) / TICKS_PER_SECOND),
            open_fds: None,
            max_fds: limits
                .lines()
                .find_map(|line| line.strip_prefix("Max open files"))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
            virtual_bytes: kilobytes("VmSize:"),
            resident_bytes: kilobytes("VmRSS:"),
            threads: field(20),
            start_seconds: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_understood() {
        let process = Process::parse(
            "7 (a) b)) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 14 0 1000 5000 300",
            "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\n",
            "Max open files            1024                 4096                 files\n",
        );
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.threads, Some(14.0));
        assert_eq!(process.max_fds, Some(1024.0));
        assert_eq!(process.virtual_bytes, Some(2_097_152.0));
        assert_eq!(process.resident_bytes, Some(524_288.0));
    }

    #[test]
    fn without_proc_everything_is_absent() {
        assert_eq!(Process::parse("", "", ""), Process::default());
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read(1_800_000_000.0);
        assert!(process.resident_bytes.unwrap() > 100_000.0);
        assert!(process.open_fds.unwrap() >= 3.0);
        assert_eq!(process.start_seconds, Some(1_800_000_000.0));
    }
}
