//! The report: one line a step.

use std::{
    fmt,
    io::{self, Write},
};

use crate::output::Sanitized;

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Worth knowing, but nothing the exporter requires.
    Info,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Fail => "FAIL",
        })
    }
}

/// Writes the report and remembers whether a step failed.
pub(super) struct Report<W> {
    out: W,
    failed: bool,
}

impl<W: Write> Report<W> {
    pub fn new(out: W) -> Self {
        Self { out, failed: false }
    }

    pub fn failed(&self) -> bool {
        self.failed
    }

    fn line(&mut self, verdict: Verdict, step: &str, text: &str) -> io::Result<()> {
        self.failed |= verdict == Verdict::Fail;
        writeln!(self.out, "{verdict:<6}{step:<17}{}", Sanitized(text))?;
        self.out.flush()
    }

    pub fn ok(&mut self, step: &str, text: &str) -> io::Result<()> {
        self.line(Verdict::Ok, step, text)
    }

    pub fn info(&mut self, step: &str, text: &str) -> io::Result<()> {
        self.line(Verdict::Info, step, text)
    }

    pub fn fail(&mut self, step: &str, text: &str) -> io::Result<()> {
        self.line(Verdict::Fail, step, text)
    }
}
