//! The connections that are open, and which of them gives way when there are too many.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections served at a time.
pub const MAX_CONNECTIONS: usize = 64;

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
    /// Whether no response is due: the request is incomplete, or the response was sent.
    gives_way: bool,
}

/// An open connection; its place is free again when it is dropped.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    stream: Arc<TcpStream>,
    connections: Arc<Connections>,
}

impl Places {
    /// Makes sure that there is a free place; evicts the oldest connection that can give way.
    fn make_room(&mut self) -> bool {
        if self.taken.len() < MAX_CONNECTIONS {
            return true;
        }
        let Some(oldest) = self.taken.iter().position(|place| place.gives_way) else {
            return false;
        };
        // Its thread wakes up, and still reads what has arrived: perhaps the rest of the request.
        // An error means that the client has gone.
        let _ = self.taken.remove(oldest).stream.shutdown(Shutdown::Read);
        true
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

    /// Gives `stream` a place; gives it back when there is none.
    ///
    /// # Errors
    /// When every other connection waits for a response.
    pub fn admit(self: &Arc<Self>, stream: TcpStream) -> Result<Connection, TcpStream> {
        let mut places = self.places();
        if !places.make_room() {
            return Err(stream);
        }
        let (id, stream) = (places.next_id, Arc::new(stream));
        places.next_id += 1;
        places.taken.push(Place {
            id,
            stream: Arc::clone(&stream),
            gives_way: true,
        });
        drop(places);
        Ok(Connection {
            id,
            stream,
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
        let admitted = places.make_room();
        if admitted {
            places.taken.push(Place {
                id: self.id,
                stream: Arc::clone(&self.stream),
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

    struct Network(TcpListener);

    impl Network {
        fn new() -> Self {
            Self(TcpListener::bind("127.0.0.1:0").unwrap())
        }

        fn connect(&self) -> (TcpStream, TcpStream) {
            let client = TcpStream::connect(self.0.local_addr().unwrap()).unwrap();
            (client, self.0.accept().unwrap().0)
        }
    }

    #[test]
    fn the_oldest_connection_without_a_complete_request_gives_way() {
        let network = Network::new();
        let connections = Arc::new(Connections::default());
        let (clients, open): (Vec<_>, Vec<_>) = (0..MAX_CONNECTIONS)
            .map(|_| {
                let (client, server) = network.connect();
                (client, connections.admit(server).unwrap())
            })
            .unzip();
        assert!(open[0].request_complete());
        assert!(open[2].request_complete());
        let (_next, server) = network.connect();
        let next = connections.admit(server).unwrap();
        let evicted: Vec<usize> = (0..MAX_CONNECTIONS)
            .filter(|index| open[*index].is_evicted())
            .collect();
        assert_eq!(evicted, [1]);
        // Its thread is woken.
        assert_eq!((&**open[1].stream()).read(&mut [0]).unwrap(), 0);
        // A response that was sent gives way first: it is the oldest.
        open[0].response_sent();
        let (_another, server) = network.connect();
        let another = connections.admit(server).unwrap();
        assert!(open[0].is_evicted() && !open[3].is_evicted());
        assert!(!next.is_evicted() && !another.is_evicted());
        drop(clients);
    }

    #[test]
    fn when_every_connection_waits_for_its_response_the_next_is_rejected() {
        let network = Network::new();
        let connections = Arc::new(Connections::default());
        let mut open: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let connection = connections.admit(network.connect().1).unwrap();
                assert!(connection.request_complete());
                connection
            })
            .collect();
        assert!(connections.admit(network.connect().1).is_err());
        open.pop();
        assert!(connections.admit(network.connect().1).is_ok());
    }

    #[test]
    fn a_request_that_was_complete_when_its_connection_gave_way_takes_another_place() {
        let network = Network::new();
        let connections = Arc::new(Connections::default());
        let (mut client, server) = network.connect();
        let first = connections.admit(server).unwrap();
        client.write_all(b"request").unwrap();
        let _others: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| connections.admit(network.connect().1).unwrap())
            .collect();
        assert!(first.is_evicted());
        // What had arrived is still there to be read.
        let mut buffer = [0; 16];
        assert_eq!((&**first.stream()).read(&mut buffer).unwrap(), 7);
        assert!(first.request_complete());
        assert!(!first.is_evicted());
        assert_eq!(connections.places().taken.len(), MAX_CONNECTIONS);
    }
}
