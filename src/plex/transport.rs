//! A transport for ureq over the [`Dialer`], so that HTTP and the WebSocket connect in the same
//! way.

use std::{
    fmt,
    io::{Read, Write},
    time::{Duration, Instant},
};

use ureq::{
    Error, Timeout,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use crate::net::{Dialer, Stream, is_timeout};

/// Returns the placeholder that ureq requires: the dialer resolves the name itself.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

/// Opens ureq's connections through the [`Dialer`].
#[derive(Debug)]
pub(super) struct DialConnector(pub(super) Dialer);

impl Connector<()> for DialConnector {
    type Out = StreamTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let stream = self
            .0
            .dial(deadline(details.timeout))
            .map_err(|error| Error::Other(Box::new(error)))?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(StreamTransport { stream, buffers }))
    }
}

/// A connection of ureq.
pub(super) struct StreamTransport {
    stream: Stream,
    buffers: LazyBuffers,
}

impl fmt::Debug for StreamTransport {
    // The buffers hold request headers, and so the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamTransport")
            .finish_non_exhaustive()
    }
}

impl Transport for StreamTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_deadline(Some(deadline(timeout)));
        let output = &self.buffers.output()[..amount];
        self.stream
            .write_all(output)
            .and_then(|()| self.stream.flush())
            .map_err(|error| io_error(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_deadline(Some(deadline(timeout)));
        let read = self
            .stream
            .read(self.buffers.input_append_buf())
            .map_err(|error| io_error(error, timeout.reason))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_idle()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

fn io_error(error: std::io::Error, reason: Timeout) -> Error {
    if is_timeout(&error) {
        Error::Timeout(reason)
    } else {
        Error::Io(error)
    }
}

fn deadline(timeout: NextTimeout) -> Instant {
    // "Never" does not occur, because every request has a global timeout; this only bounds the sum.
    const NEVER: Duration = Duration::from_mins(1);
    Instant::now() + (*timeout.after).min(NEVER)
}
