//! Applies Plex's responses, endpoint by endpoint.

mod server;

use std::{collections::BTreeSet, time::Instant};

use super::{
    MAX_ACCOUNTS, State, actions::Effects, budget::Priority, duration_table::MAX_LABEL_SETS,
    error_log::Subject, lasting::HIDDEN, libraries::MAX_LIBRARIES, schedule,
    sessions::RepeatedText, statistics::Load,
};
use crate::{
    clock::Timestamp,
    event::Completed,
    plex::{
        error::PlexError,
        id::Id,
        request::{Endpoint, ItemsQuery, PlexRequest, PlexResponse},
        wire,
    },
};

type Response = Result<PlexResponse, PlexError>;

impl State {
    pub(super) fn completed(
        &mut self,
        completed: Completed,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Completed {
            request,
            started,
            requests,
            result,
        } = completed;
        let endpoint = request.endpoint();
        let mut result = match result {
            // Any JSON object could pass as an empty container; Plex always names itself.
            Ok(PlexResponse::Server(server)) if server.machine_identifier.get().is_none() => {
                Err(PlexError::not_plex())
            }
            result => result,
        };
        self.exporter
            .count(endpoint, requests, result.as_ref().err(), now.unix_seconds);
        let took = now.monotonic.saturating_duration_since(started);
        self.exporter.observe_duration(endpoint, took);
        if started < self.begun {
            // Requested from another server than the one that responds now.
            self.counting_items &= !matches!(request, PlexRequest::Items(_));
            self.schedule.discard(&request);
            return;
        }
        if let Ok(PlexResponse::Sessions(list)) = &mut result {
            self.name_users(list, now.monotonic);
        }
        match &result {
            Err(error) if error.is_no_response() => {
                // Plex responded to nothing else while this request timed out.
                self.hangs |= matches!(error, PlexError::Timeout)
                    && self.last_response.is_none_or(|at| at < started);
                if request != PlexRequest::Server && self.up {
                    // Do not wait for the regular poll to see that Plex is gone.
                    self.schedule.server.request(now.monotonic, Priority::High);
                }
            }
            _ => {
                self.hangs = false;
                self.last_response = Some(now.monotonic);
            }
        }
        match request {
            PlexRequest::Server => self.server_completed(&result, now, effects),
            PlexRequest::Sessions => {
                self.sessions_completed(&result, started, now.monotonic, effects);
            }
            PlexRequest::Providers => self.providers_completed(&result, now.monotonic, effects),
            PlexRequest::Metadata(id) => {
                self.metadata_completed(id, &result, now.monotonic, effects);
            }
            PlexRequest::Items(query) => {
                self.items_completed(query, &result, started, now.monotonic, effects);
            }
            PlexRequest::Resources
            | PlexRequest::Bandwidth
            | PlexRequest::Activities
            | PlexRequest::Accounts
            | PlexRequest::Updater => {
                self.optional_completed(&request, &result, started, now.monotonic, effects);
            }
        }
    }

    /// Applies the response of an endpoint that not every Plex offers.
    fn optional_completed(
        &mut self,
        request: &PlexRequest,
        result: &Response,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.record_optional(request.endpoint(), result, effects);
        if let Ok(response) = result {
            self.apply_optional(response, started, now);
        } else if *request == PlexRequest::Updater && settle_missing(result).is_ok() {
            self.update_available = None;
        }
        let statistics = self.statistics_interval(result, now);
        let schedule = &mut self.schedule;
        let (slot, interval) = match request {
            PlexRequest::Resources => (&mut schedule.resources, statistics),
            PlexRequest::Bandwidth => (&mut schedule.bandwidth, statistics),
            PlexRequest::Accounts => (&mut schedule.accounts, schedule::HOURLY),
            PlexRequest::Updater => (&mut schedule.updater, schedule::HOURLY),
            _ if self.activities.is_idle() => (&mut schedule.activities, schedule::ACTIVITIES),
            _ => (&mut schedule.activities, schedule::ACTIVITIES_RUNNING),
        };
        slot.completed(&settle_missing(result), now, interval);
        slot.refused = result.is_err();
    }

    fn apply_optional(&mut self, response: &PlexResponse, started: Instant, now: Instant) {
        match response {
            PlexResponse::Resources(resources) if self.has_plex_pass() => {
                if let Some(load) = Load::newest(resources.samples.as_slice()) {
                    self.load.set(load, now);
                }
            }
            PlexResponse::Bandwidth(bandwidth) if self.has_plex_pass() => {
                self.apply_bandwidth(bandwidth, now);
            }
            PlexResponse::Activities(list) => {
                self.activities.dropped += list.activities.dropped();
                self.activities
                    .apply_listing(list.activities.as_slice(), started);
            }
            PlexResponse::Accounts(accounts) => self.apply_accounts(accounts, now),
            PlexResponse::Updater(updater) => {
                self.update_available = Some(updater.has_pending_release());
            }
            _ => {}
        }
    }

    fn apply_bandwidth(&mut self, bandwidth: &wire::Bandwidth, now: Instant) {
        let (accounts, lasting) = (&self.accounts, &mut self.sessions.lasting);
        let unknown_accounts = &mut self.unknown_accounts;
        let hidden = self.hide.user;
        let mut look_up = false;
        self.sent_bytes
            .add(bandwidth.rows.as_slice(), now, |account, lan, bytes| {
                let name = accounts.get(&account);
                look_up |= name.is_none() && is_unheard_of(account, unknown_accounts);
                let user = match name {
                    _ if hidden => HIDDEN,
                    Some(name) => name,
                    None => "unknown",
                };
                lasting.add_bytes(user, lan, bytes);
            });
        self.dropped_entries += bandwidth.rows.dropped();
        self.sent.set((), now);
        if look_up && !hidden {
            self.schedule.accounts.request(now, Priority::Medium);
        }
    }

    /// Names the users whom a listing gives only by the numbers of their accounts.
    fn name_users(&mut self, list: &mut wire::Sessions, now: Instant) {
        let users = list.sessions.iter_mut();
        let nameless = users
            .filter_map(|session| session.user.get_mut())
            .filter(|user| user.title.get().is_none());
        for user in nameless {
            let Some(account) = user.id.get().and_then(|id| id.parse().ok()) else {
                continue;
            };
            if let Some(name) = self.accounts.get(&account) {
                user.title.or_set(name);
            } else if is_unheard_of(account, &mut self.unknown_accounts) && !self.hide.user {
                self.schedule.accounts.request(now, Priority::Medium);
            }
        }
    }

    fn apply_accounts(&mut self, accounts: &wire::Accounts, now: Instant) {
        self.dropped_entries += accounts.accounts.dropped();
        self.accounts.clear();
        for account in accounts.accounts.as_slice() {
            if let (Some(id), Some(name)) = (account.id.whole(), account.name.get()) {
                if self.accounts.len() >= MAX_ACCOUNTS && !self.accounts.contains_key(&id) {
                    self.dropped_entries += 1;
                    continue;
                }
                let name = if self.hide.user { HIDDEN } else { name };
                self.sessions.lasting.add_user(name);
                self.accounts.insert(id, name.into());
            }
        }
        if self.sessions.live().any(|play| play.labels.user.is_empty()) {
            // The next listing may name them.
            self.schedule.sessions.request(now, Priority::Medium);
        }
    }

    fn record(&mut self, endpoint: Endpoint, error: Option<&PlexError>, effects: &mut Effects) {
        self.error_log
            .record(Subject::Endpoint(endpoint), error, effects);
    }

    /// Records the outcome of a request to an endpoint that not every Plex offers.
    fn record_optional(&mut self, endpoint: Endpoint, result: &Response, effects: &mut Effects) {
        let missing = match endpoint {
            Endpoint::Resources => {
                "the host's and Plex's shares of processor and memory are absent"
            }
            Endpoint::Bandwidth => "plex_transmit_bytes_total is absent",
            Endpoint::Accounts => "bytes by user are counted as `unknown`",
            Endpoint::Updater => "plex_update_available is absent",
            _ => "plex_activities covers only what notifications report",
        };
        let not_offered = match result {
            Err(PlexError::NotFound) => true,
            Err(PlexError::Forbidden) => endpoint == Endpoint::Updater,
            _ => false,
        };
        if !not_offered {
            return self.record(endpoint, result.as_ref().err(), effects);
        }
        let statistics = matches!(endpoint, Endpoint::Resources | Endpoint::Bandwidth);
        let why = if statistics && !self.has_plex_pass() {
            "it needs Plex Pass: "
        } else {
            ""
        };
        let missing = format!("{why}{missing}");
        self.error_log
            .report_info(Subject::Endpoint(endpoint), &missing, effects);
    }

    pub(super) fn has_plex_pass(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.plex_pass)
    }

    fn sessions_completed(
        &mut self,
        result: &Response,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.record(Endpoint::Sessions, result.as_ref().err(), effects);
        if let Ok(PlexResponse::Sessions(list)) = result {
            self.sessions.dropped_sessions += list.sessions.dropped();
            let before = self.sessions.video_transcodes();
            let repeated = RepeatedText::of(self.server.as_ref(), &self.libraries);
            let listed = list.sessions.as_slice();
            self.sessions
                .apply_listing(listed, repeated, started, now, effects);
            if self.sessions.video_transcodes() != before {
                let poll = self.active_transcodes.changed(now);
                self.poll_transcodes(Some(poll));
            }
            if !self.up {
                self.schedule.server.request(now, Priority::High);
            }
        }
        let live = self.sessions.live().len() > 0;
        let interval = match result {
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            // A response of `/` will show that Plex is back.
            Err(_) if !self.up => schedule::SESSIONS_LIVE,
            _ => match (self.polls_sessions(now), live) {
                (true, true) => schedule::SESSIONS_POLLING,
                (true, false) => schedule::SESSIONS_POLLING_IDLE,
                (false, true) => schedule::SESSIONS_LIVE,
                (false, false) => schedule::SESSIONS_IDLE,
            },
        };
        self.schedule.sessions.completed(result, now, interval);
    }

    /// Longer names than at the last listing are a reason for another one: fewer sessions fit.
    fn names_changed(&self, now: Instant, effects: &mut Effects) {
        let repeated = RepeatedText::of(self.server.as_ref(), &self.libraries);
        if self.sessions.outgrown_by(repeated) {
            effects.request_sessions(now, Priority::Medium);
        }
    }

    fn providers_completed(&mut self, result: &Response, now: Instant, effects: &mut Effects) {
        self.record(Endpoint::Providers, result.as_ref().err(), effects);
        if let Ok(PlexResponse::Providers(providers)) = result
            && self.libraries.apply_listing(providers, now)
        {
            self.sessions.libraries_changed();
            self.names_changed(now, effects);
            let libraries = &self.libraries;
            self.error_log
                .forget_libraries(|id| libraries.get(id).is_none());
            if self.starts.len() > MAX_LIBRARIES {
                self.starts
                    .retain(|id, _| id.is_none_or(|id| libraries.get(id).is_some()));
            }
        }
        self.schedule
            .providers
            .completed(result, now, schedule::PROVIDERS);
    }

    fn metadata_completed(
        &mut self,
        id: Id,
        result: &Response,
        now: Instant,
        effects: &mut Effects,
    ) {
        match result {
            Ok(PlexResponse::Metadata(metadata)) => {
                self.record(Endpoint::Metadata, None, effects);
                self.sessions.apply_metadata(id, metadata, now);
            }
            // The rating keys of trailers and live TV have no metadata.
            Ok(_) | Err(PlexError::NotFound) => self.sessions.metadata_failed(id, false, now),
            Err(error) => {
                self.record(Endpoint::Metadata, Some(error), effects);
                let retry = !matches!(error, PlexError::TooLarge | PlexError::Decode(_));
                self.sessions.metadata_failed(id, retry, now);
            }
        }
    }

    fn items_completed(
        &mut self,
        query: ItemsQuery,
        result: &Response,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.counting_items = false;
        let items = match result {
            Ok(PlexResponse::Items(items)) => Ok(items),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        let Some(outcome) = self.libraries.apply_count(query, items, started, now) else {
            if matches!(result, Err(PlexError::NotFound)) {
                let providers = &mut self.schedule.providers;
                providers.request_spaced(now, schedule::PROVIDERS_MIN_INTERVAL, Priority::Medium);
            }
            return;
        };
        let title = self
            .libraries
            .get(query.library)
            .map_or("", |library| &*library.title);
        self.error_log.record_titled(
            Subject::Library(query.library),
            title,
            outcome.err(),
            effects,
        );
    }

    fn statistics_interval(&self, result: &Response, now: Instant) -> std::time::Duration {
        match result {
            _ if !self.has_plex_pass() => schedule::STATISTICS_WITHOUT_PASS,
            // Plex with a Pass offers them, so what refused may have been a proxy before it.
            Err(PlexError::NotFound | PlexError::Unauthorized | PlexError::Forbidden) => {
                schedule::STATISTICS_REFUSED
            }
            _ if self.sessions.live().len() > 0 => schedule::STATISTICS_LIVE,
            _ if self.polls_sessions(now) => schedule::STATISTICS_POLLING_IDLE,
            _ => schedule::STATISTICS_IDLE,
        }
    }
}

/// Adds an account without a known name to the `unknown` ones; true if it is a new one.
fn is_unheard_of(account: u64, unknown: &mut BTreeSet<u64>) -> bool {
    unknown.len() < MAX_LABEL_SETS && unknown.insert(account)
}

/// Treats a missing or refused endpoint as success: a quick retry would not help.
fn settle_missing(result: &Response) -> Result<(), ()> {
    match result {
        Ok(_) | Err(PlexError::NotFound | PlexError::Unauthorized | PlexError::Forbidden) => Ok(()),
        Err(_) => Err(()),
    }
}
