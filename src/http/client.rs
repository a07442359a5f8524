//! One client's socket: read a head and write a response, each within a deadline.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::{
    request_head::{MAX_HEAD, Parsed, RequestHead, parse},
    response_budget::Permit,
};
use crate::net::is_timeout;

/// The head must have arrived within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The client must take the response within this time.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// After the response, what the client still sends is read for this long. Closing a socket with
/// unread data resets the connection, and the client might lose the response.
const LINGER: Duration = Duration::from_millis(500);
/// … and at most this many bytes.
const LINGER_BYTES: usize = 256 * 1024;
/// A write is retried after this time: Linux wakes a blocked one only when a third of the socket's
/// buffer is free, which may take a slow client seconds. A deadline may be missed by as much.
const WRITE_RETRY: Duration = Duration::from_millis(200);

/// The outcome of reading a request.
#[derive(Debug)]
pub enum Incoming {
    /// A complete head.
    Complete(RequestHead),
    /// The client broke a limit or the protocol; the status that says so.
    Rejected(u16),
    /// The client closed the connection before the head was complete, or before it sent anything.
    Closed {
        /// Whether it had sent something.
        partial: bool,
    },
}

/// Reads a request's head.
///
/// # Errors
/// When the connection is lost.
pub fn read_head(mut stream: &TcpStream) -> io::Result<Incoming> {
    let deadline = Instant::now() + HEAD_TIMEOUT;
    let mut buffer = [0; MAX_HEAD];
    let mut length = 0;
    while let Some(left) = time_left(deadline) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[length..]) {
            Ok(0) => {
                return Ok(Incoming::Closed {
                    partial: length > 0,
                });
            }
            Ok(read) => {
                length += read;
                match parse(&buffer[..length]) {
                    Parsed::Partial => {}
                    Parsed::Complete(head) => return Ok(Incoming::Complete(head)),
                    Parsed::Rejected(status) => return Ok(Incoming::Rejected(status)),
                }
            }
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Incoming::Rejected(408))
}

/// Writes to a client within a deadline, and reports its progress to the response budget.
#[derive(Debug)]
pub struct DeadlineWriter<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
    timeout_set: bool,
    permit: Option<&'a Permit>,
}

impl<'a> DeadlineWriter<'a> {
    /// The deadline begins now.
    pub fn new(stream: &'a TcpStream, permit: Option<&'a Permit>) -> Self {
        Self {
            stream,
            deadline: Instant::now() + RESPONSE_TIMEOUT,
            timeout_set: false,
            permit,
        }
    }
}

impl Write for DeadlineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.timeout_set {
            self.stream.set_write_timeout(Some(WRITE_RETRY))?;
            self.timeout_set = true;
        }
        loop {
            let left = time_left(self.deadline).ok_or(io::ErrorKind::TimedOut)?;
            let written = match self.stream.write(bytes) {
                Err(error) if is_timeout(&error) => 0,
                written => written?,
            };
            if let Some(permit) = self.permit {
                permit.progressed(written, left);
            }
            if written > 0 || bytes.is_empty() {
                return Ok(written);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends the response, and reads what the client still sends.
///
/// # Errors
/// When the connection is lost.
pub fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; 4_096];
    let mut total = 0;
    while let Some(left) = time_left(deadline)
        && total < LINGER_BYTES
    {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => total += read,
        }
    }
    Ok(())
}

fn time_left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_head_in_pieces_is_read_and_a_client_that_half_closes_is_served() {
        let (mut client, server) = pair();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for piece in ["GET /hea", "lth HTTP/1.1\r", "\nHost: x\r\n\r", "\n"] {
                    client.write_all(piece.as_bytes()).unwrap();
                    client.flush().unwrap();
                    std::thread::yield_now();
                }
                client.shutdown(Shutdown::Write).unwrap();
            });
            let Incoming::Complete(head) = read_head(&server).unwrap() else {
                panic!("not complete");
            };
            assert_eq!(head.path, "/health");
        });
    }

    #[test]
    fn a_client_that_closes_is_distinguished_from_one_that_closes_within_a_request() {
        let (client, server) = pair();
        drop(client);
        assert!(matches!(
            read_head(&server).unwrap(),
            Incoming::Closed { partial: false }
        ));
        let (mut client, server) = pair();
        client.write_all(b"GET / HT").unwrap();
        drop(client);
        assert!(matches!(
            read_head(&server).unwrap(),
            Incoming::Closed { partial: true }
        ));
    }

    #[test]
    fn past_the_deadline_nothing_is_written() {
        let (_client, server) = pair();
        let mut writer = DeadlineWriter::new(&server, None);
        assert_eq!(writer.write(b"a").unwrap(), 1);
        writer.deadline = Instant::now();
        let error = writer.write(b"b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_client_that_never_reads_is_given_up_at_the_deadline() {
        let (_client, server) = pair();
        let mut writer = DeadlineWriter::new(&server, None);
        writer.deadline = Instant::now() + Duration::from_millis(200);
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = writer.write(&vec![0; 1 << 20]) {
                break error;
            }
        };
        assert!(is_timeout(&error), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
