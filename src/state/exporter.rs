//! What the exporter counts about itself.

use std::{collections::BTreeMap, time::Duration};

use crate::metrics::{Histogram, catalogue::REQUEST_DURATION};
use crate::plex::{error::PlexError, notification::KINDS, request::Endpoint};

/// Counters about the conversation with Plex.
#[derive(Debug, Default)]
pub struct Exporter {
    requests: BTreeMap<Endpoint, u64>,
    errors: BTreeMap<(Endpoint, &'static str), u64>,
    succeeded: BTreeMap<Endpoint, f64>,
    notifications: BTreeMap<&'static str, u64>,
    durations: BTreeMap<Endpoint, Histogram>,
    /// Connections of the socket after the first.
    pub reconnects: u64,
}

impl Exporter {
    /// Counts requests to an endpoint and what came of the last of them at `wall` (seconds since
    /// the epoch).
    pub fn count(
        &mut self,
        endpoint: Endpoint,
        requests: u8,
        error: Option<&PlexError>,
        wall: f64,
    ) {
        *self.requests.entry(endpoint).or_default() += u64::from(requests);
        match error {
            None => {
                self.succeeded.insert(endpoint, wall);
            }
            Some(error) => *self.errors.entry((endpoint, error.reason())).or_default() += 1,
        }
    }

    /// Counts how long Plex took to answer.
    pub fn observe_duration(&mut self, endpoint: Endpoint, took: Duration) {
        self.durations
            .entry(endpoint)
            .or_insert_with(|| Histogram::new(&REQUEST_DURATION, [endpoint.template()]))
            .observe(took);
    }

    /// How long Plex took to answer, for what it has answered.
    pub fn durations(&self) -> impl Iterator<Item = &Histogram> {
        self.durations.values()
    }

    /// Counts a notification.
    pub fn count_notification(&mut self, kind: &'static str) {
        *self.notifications.entry(kind).or_default() += 1;
    }

    /// Requests sent, for every endpoint there is.
    pub fn requests(&self) -> impl Iterator<Item = (Endpoint, u64)> {
        Endpoint::ALL
            .into_iter()
            .map(|endpoint| (endpoint, self.requests.get(&endpoint).copied().unwrap_or(0)))
    }

    /// Failed requests, for what has failed.
    pub fn errors(&self) -> impl Iterator<Item = (Endpoint, &'static str, u64)> {
        self.errors
            .iter()
            .map(|((endpoint, reason), count)| (*endpoint, *reason, *count))
    }

    /// Seconds since the epoch of the last success, for what has succeeded.
    pub fn succeeded(&self) -> impl Iterator<Item = (Endpoint, f64)> {
        self.succeeded
            .iter()
            .map(|(endpoint, wall)| (*endpoint, *wall))
    }

    /// Notifications received, for every known type.
    pub fn notifications(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS
            .into_iter()
            .map(|kind| (kind, self.notifications.get(kind).copied().unwrap_or(0)))
    }
}
