//! Counters about the exporter itself.

use std::{collections::BTreeMap, time::Duration};

use crate::metrics::{Histogram, catalogue::REQUEST_DURATION};
use crate::plex::{error::PlexError, notification::KINDS, request::Endpoint};

/// Counters about requests to Plex and its notifications.
#[derive(Debug, Default)]
pub struct Exporter {
    requests: BTreeMap<Endpoint, u64>,
    errors: BTreeMap<(Endpoint, &'static str), u64>,
    succeeded: BTreeMap<Endpoint, f64>,
    notifications: BTreeMap<&'static str, u64>,
    durations: BTreeMap<Endpoint, Histogram>,
    /// Connections of the notification socket after the first.
    pub reconnects: u64,
}

impl Exporter {
    /// Counts `requests` to an endpoint, and the outcome of the last of them at `unix_seconds`.
    pub fn count(
        &mut self,
        endpoint: Endpoint,
        requests: u8,
        error: Option<&PlexError>,
        unix_seconds: f64,
    ) {
        *self.requests.entry(endpoint).or_default() += u64::from(requests);
        match error {
            None => {
                self.succeeded.insert(endpoint, unix_seconds);
            }
            Some(error) => *self.errors.entry((endpoint, error.reason())).or_default() += 1,
        }
    }

    /// Records the duration of a request.
    pub fn observe_duration(&mut self, endpoint: Endpoint, took: Duration) {
        self.durations
            .entry(endpoint)
            .or_insert_with(|| Histogram::new(&REQUEST_DURATION, [endpoint.template()]))
            .observe(took);
    }

    /// Request durations, for every endpoint with a completed request.
    pub fn durations(&self) -> impl Iterator<Item = &Histogram> {
        self.durations.values()
    }

    /// Counts a notification.
    pub fn count_notification(&mut self, kind: &'static str) {
        *self.notifications.entry(kind).or_default() += 1;
    }

    /// Requests sent, for every endpoint.
    pub fn requests(&self) -> impl Iterator<Item = (Endpoint, u64)> {
        Endpoint::ALL
            .into_iter()
            .map(|endpoint| (endpoint, self.requests.get(&endpoint).copied().unwrap_or(0)))
    }

    /// Failed requests, by endpoint and reason.
    pub fn errors(&self) -> impl Iterator<Item = (Endpoint, &'static str, u64)> {
        self.errors
            .iter()
            .map(|((endpoint, reason), count)| (*endpoint, *reason, *count))
    }

    /// When a request last succeeded, in seconds since the epoch, for every endpoint with a
    /// success.
    pub fn succeeded(&self) -> impl Iterator<Item = (Endpoint, f64)> {
        self.succeeded
            .iter()
            .map(|(endpoint, unix_seconds)| (*endpoint, *unix_seconds))
    }

    /// Notifications received, for every known type.
    pub fn notifications(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS
            .into_iter()
            .map(|kind| (kind, self.notifications.get(kind).copied().unwrap_or(0)))
    }
}
