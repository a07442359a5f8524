//! Streams whose reads and writes end at a deadline.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned};

use crate::cpu_budget;

/// Whether an I/O error is a timeout. Linux reports that of a socket as `WouldBlock`.
#[must_use]
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A connection to Plex, plain or encrypted.
#[derive(Debug)]
pub enum Stream {
    /// `http` and `ws`.
    Plain(DeadlineStream),
    /// `https` and `wss`.
    Tls(Box<StreamOwned<ClientConnection, DeadlineStream>>),
}

impl Stream {
    fn timed(&mut self) -> &mut DeadlineStream {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// From now on no read or write lasts beyond `deadline`, however slowly bytes arrive.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.timed().deadline = deadline;
    }

    /// Whether the peer has neither closed the idle connection nor sent anything unrequested.
    pub fn is_idle(&mut self) -> bool {
        let tcp = &self.timed().tcp;
        let mut byte = [0];
        tcp.set_nonblocking(true).is_ok()
            && matches!(tcp.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            && tcp.set_nonblocking(false).is_ok()
    }

    /// The certificate that the server presented, if the connection is encrypted.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream
                .conn
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(AsRef::as_ref),
        }
    }

    /// Ends the connection in both directions; a blocked read returns.
    pub fn shut_down(&mut self) {
        // An error means that it has ended already.
        let _ = self.timed().tcp.shutdown(Shutdown::Both);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A TCP stream whose reads and writes fail at a deadline.
///
/// A socket timeout alone restarts with every byte, so a peer that sends a byte now and then would
/// block a thread for ever.
#[derive(Debug)]
pub struct DeadlineStream {
    tcp: TcpStream,
    deadline: Option<Instant>,
}

impl DeadlineStream {
    /// `tcp`, with `deadline` as the end of every read and write.
    #[must_use]
    pub fn new(tcp: TcpStream, deadline: Instant) -> Self {
        Self {
            tcp,
            deadline: Some(deadline),
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
        {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Repeats a call that a signal interrupted. A socket call with a timeout is interrupted even when
/// the process is stopped and continued (a paused container), which is not an error.
fn uninterrupted<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pause = cpu_budget::pause_within(Instant::now());
        if !pause.is_zero() {
            // Meanwhile more arrives, and then the peer has to wait.
            cpu_budget::sleep(pause.min(self.left()?.unwrap_or(pause)));
        }
        uninterrupted(|| {
            self.tcp.set_read_timeout(self.left()?)?;
            (&self.tcp).read(buffer)
        })
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.tcp.set_write_timeout(self.left()?)?;
            (&self.tcp).write(buffer)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair(deadline: Instant) -> (DeadlineStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (DeadlineStream::new(client, deadline), server)
    }

    #[test]
    fn a_peer_that_sends_a_byte_now_and_then_does_not_extend_the_deadline() {
        let start = Instant::now();
        let (mut stream, mut peer) = pair(start + Duration::from_millis(200));
        let dripping = std::thread::spawn(move || {
            while peer.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        let took = start.elapsed();
        assert!((200..1_000).contains(&took.as_millis()), "{took:?}");
        drop(stream);
        dripping.join().unwrap();
    }

    #[test]
    fn a_peer_that_does_not_read_ends_a_write_at_the_deadline() {
        let (mut stream, _peer) = pair(Instant::now() + Duration::from_millis(100));
        // More than any socket buffer holds.
        let error = stream.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        // Once it has passed, no call is made.
        assert!(is_timeout(&stream.read(&mut [0]).unwrap_err()));
    }
}
