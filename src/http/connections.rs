//! The open connections, and which of them is evicted when there are too many.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Connections served at a time.
const MAX_CONNECTIONS: usize = 64;
/// A connection keeps its place for at least this long: time to send a request, however many
/// connections follow. It also bounds the work that clients cause by reconnecting whenever they are
/// evicted.
const KEPT: Duration = Duration::from_millis(50);

/// All open connections.
///
/// Invariant: at most [`MAX_CONNECTIONS`] have a place. One without a place was evicted, and ends as
/// soon as its thread notices.
#[derive(Debug, Default)]
pub struct Connections {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next_id: u64,
    /// In the order in which they were accepted.
    taken: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    id: u64,
    stream: Arc<TcpStream>,
    since: Instant,
    /// Whether no response is due: the request is incomplete, or the response was sent.
    gives_way: bool,
}

/// There is no place.
#[derive(Debug)]
pub enum NoPlace {
    /// Every connection waits for its response.
    Overload,
    /// The oldest connection gives way at this moment.
    Until(Instant),
}

/// An open connection; its place is free again when it is dropped.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    stream: Arc<TcpStream>,
    connections: Arc<Connections>,
}

impl Places {
    /// Makes sure that there is a free place; evicts the oldest connection that can give way, once it
    /// has had its place for the time `kept`.
    fn make_room(&mut self, kept: Duration) -> Result<(), NoPlace> {
        if self.taken.len() < MAX_CONNECTIONS {
            return Ok(());
        }
        let oldest = self.taken.iter().position(|place| place.gives_way);
        let oldest = oldest.ok_or(NoPlace::Overload)?;
        let until = self.taken[oldest].since + kept;
        if Instant::now() < until {
            return Err(NoPlace::Until(until));
        }
        // Its thread wakes up, and still reads what has arrived: perhaps the rest of the request.
        // An error means that the client has gone.
        let _ = self.taken.remove(oldest).stream.shutdown(Shutdown::Read);
        Ok(())
    }

    fn of(&mut self, id: u64) -> Option<&mut Place> {
        self.taken.iter_mut().find(|place| place.id == id)
    }
}

impl Connections {
    fn places(&self) -> MutexGuard<'_, Places> {
        // A panic ends the process, so nobody ever sees a poisoned lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `stream` a place.
    ///
    /// # Errors
    /// When there is none, or not yet.
    pub fn admit(self: &Arc<Self>, stream: &Arc<TcpStream>) -> Result<Connection, NoPlace> {
        let mut places = self.places();
        places.make_room(KEPT)?;
        let id = places.next_id;
        places.next_id += 1;
        places.taken.push(Place {
            id,
            stream: Arc::clone(stream),
            since: Instant::now(),
            gives_way: true,
        });
        Ok(Connection {
            id,
            stream: Arc::clone(stream),
            connections: Arc::clone(self),
        })
    }
}

impl Connection {
    /// The client's socket.
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Whether the connection had to give way.
    pub fn is_evicted(&self) -> bool {
        self.connections.places().of(self.id).is_none()
    }

    /// The request is complete: from now on the connection keeps its place. An evicted one whose
    /// request was complete after all takes another place; false when there is none.
    pub fn request_complete(&self) -> bool {
        let mut places = self.connections.places();
        if let Some(place) = places.of(self.id) {
            place.gives_way = false;
            return true;
        }
        let admitted = places.make_room(Duration::ZERO).is_ok();
        if admitted {
            places.taken.push(Place {
                id: self.id,
                stream: Arc::clone(&self.stream),
                since: Instant::now(),
                gives_way: false,
            });
        }
        admitted
    }

    /// The response was sent: the connection may give way again.
    pub fn response_sent(&self) {
        if let Some(place) = self.connections.places().of(self.id) {
            place.gives_way = true;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut places = self.connections.places();
        places.taken.retain(|place| place.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    struct Network {
        listener: TcpListener,
        connections: Arc<Connections>,
    }

    impl Network {
        fn new() -> Self {
            Self {
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
                connections: Arc::default(),
            }
        }

        /// Both ends of a connection.
        fn connect(&self) -> (TcpStream, Arc<TcpStream>) {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            (client, Arc::new(self.listener.accept().unwrap().0))
        }

        /// Admits connections that are old enough to give way.
        fn fill(&self, count: usize) -> Vec<(TcpStream, Connection)> {
            let open = (0..count).map(|_| {
                let (client, server) = self.connect();
                (client, self.connections.admit(&server).unwrap())
            });
            let open = open.collect();
            for place in &mut self.connections.places().taken {
                place.since -= KEPT;
            }
            open
        }
    }

    #[test]
    fn the_oldest_connection_without_a_complete_request_gives_way() {
        let network = Network::new();
        let open = network.fill(MAX_CONNECTIONS);
        assert!(open[0].1.request_complete());
        assert!(open[2].1.request_complete());
        let (_client, next) = network.connect();
        let next = network.connections.admit(&next).unwrap();
        let evicted: Vec<usize> = (0..MAX_CONNECTIONS)
            .filter(|index| open[*index].1.is_evicted())
            .collect();
        assert_eq!(evicted, [1]);
        // Its thread is woken.
        assert_eq!((&**open[1].1.stream()).read(&mut [0]).unwrap(), 0);
        // A connection whose response was sent is the oldest that can give way.
        open[0].1.response_sent();
        let (_client, another) = network.connect();
        let another = network.connections.admit(&another).unwrap();
        assert!(open[0].1.is_evicted() && !open[3].1.is_evicted());
        assert!(!next.is_evicted() && !another.is_evicted());
    }

    #[test]
    fn every_connection_has_time_to_send_its_request() {
        let network = Network::new();
        let begun = Instant::now();
        let open: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| network.connections.admit(&network.connect().1).unwrap())
            .collect();
        let (_client, next) = network.connect();
        let Err(NoPlace::Until(until)) = network.connections.admit(&next) else {
            panic!("admitted after {:?}", begun.elapsed());
        };
        assert!(until >= begun + KEPT && !open[0].is_evicted());
    }

    #[test]
    fn when_every_connection_waits_for_its_response_there_is_no_place() {
        let network = Network::new();
        let mut open = network.fill(MAX_CONNECTIONS);
        assert!(open.iter().all(|(_, open)| open.request_complete()));
        let (_client, next) = network.connect();
        let overload = network.connections.admit(&next);
        assert!(matches!(overload, Err(NoPlace::Overload)));
        open.pop();
        assert!(network.connections.admit(&next).is_ok());
    }

    #[test]
    fn a_request_that_was_complete_when_its_connection_gave_way_takes_another_place() {
        let network = Network::new();
        let (mut client, first) = network.fill(1).remove(0);
        client.write_all(b"request").unwrap();
        let others = network.fill(MAX_CONNECTIONS - 1);
        let (_client, next) = network.connect();
        let next = network.connections.admit(&next).unwrap();
        assert!(first.is_evicted());
        // What had arrived is still there to be read.
        assert_eq!((&**first.stream()).read(&mut [0; 16]).unwrap(), 7);
        assert!(first.request_complete() && !first.is_evicted());
        assert!(others[0].1.is_evicted() && !next.is_evicted());
        assert_eq!(network.connections.places().taken.len(), MAX_CONNECTIONS);
    }
}
