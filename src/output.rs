//! Redaction and sanitizing of all text on its way to standard output or standard error.
//!
//! It works line by line: tokens are replaced, and characters that a terminal or a log viewer would
//! interpret instead of showing are escaped.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use crate::secret::redact;

/// Longer lines are truncated. Splitting them could split a token.
const MAX_LINE: usize = 8 * 1024;

/// Collects what is written into lines and emits each, redacted and sanitized, with its line end.
pub struct Lines<F> {
    line: Vec<u8>,
    emit: F,
}

impl<F: FnMut(String) -> io::Result<()>> Lines<F> {
    /// Passes whole lines to `emit`.
    pub fn new(emit: F) -> Self {
        Self {
            line: Vec::new(),
            emit,
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = String::from_utf8_lossy(&self.line);
        let clean = format!("{}\n", Sanitized(&line));
        self.line.clear();
        (self.emit)(clean)
    }
}

impl<F: FnMut(String) -> io::Result<()>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = MAX_LINE - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    /// A line that has no end yet stays: half a line may hold half a token.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, for text that may hold what Plex or the environment said.
pub fn stdout() -> impl Write {
    Lines::new(|line| {
        let mut stdout = io::stdout();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    })
}

/// Shows text from outside without letting it forge a line or steer a terminal: control,
/// bidirectional and zero-width characters are written as escapes. Tokens are replaced before that,
/// because escapes would hide them.
#[derive(Debug, Clone, Copy)]
pub struct Sanitized<'a>(pub &'a str);

impl fmt::Display for Sanitized<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        redact(self.0).chars().try_for_each(|character| {
            if is_invisible(character) {
                write!(formatter, "{}", character.escape_unicode())
            } else {
                formatter.write_char(character)
            }
        })
    }
}

/// Control characters, line and paragraph separators, bidirectional controls, zero-width
/// characters and tags: Unicode's categories Cc, Zl, Zp and, but for a few script-specific signs,
/// Cf.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_forge_a_line_or_steer_a_terminal() {
        let shown = Sanitized("Alien\n2026 [ERROR] \u{1b}[2J é").to_string();
        assert_eq!(shown, "Alien\\u{a}2026 [ERROR] \\u{1b}[2J é");
        for character in "\u{61c}\u{200b}\u{200f}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}".chars() {
            let text = format!("a{character}b");
            let escaped = format!("a\\u{{{:x}}}b", u32::from(character));
            assert_eq!(Sanitized(&text).to_string(), escaped);
        }
    }

    #[test]
    fn a_token_written_in_pieces_is_redacted_and_a_long_line_is_cut_off() {
        let _ = crate::secret::Secret::new("T0kenWrittenInPieces".into());
        let hidden = Sanitized("T0ken\u{200b}Written\u{2066}InPieces").to_string();
        assert_eq!(hidden, "[redacted]");
        let mut emitted = Vec::new();
        let mut lines = Lines::new(|line| {
            emitted.push(line);
            Ok(())
        });
        lines.write_all(b"one T0ken").unwrap();
        lines.write_all(b"Written").unwrap();
        lines.flush().unwrap();
        writeln!(lines, "InPieces").unwrap();
        writeln!(lines, "{}", "x".repeat(10 * MAX_LINE)).unwrap();
        writeln!(lines, "two\nthree\u{202e}").unwrap();
        drop(lines);
        assert_eq!(emitted[0], "one [redacted]\n");
        assert_eq!(emitted[1].len(), MAX_LINE + 1);
        assert_eq!(emitted[2..], ["two\n", "three\\u{202e}\n"]);
    }
}
