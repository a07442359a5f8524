//! Which requests are due now, and when the next one is.

use std::time::Instant;

use super::{
    State,
    budget::{FEW_SESSIONS, Priority, Purpose},
    schedule,
};
use crate::plex::{id::Id, request::PlexRequest};

impl State {
    /// Whether to send requests that `/` does not depend on: until its first response, and then
    /// only while Plex is up.
    fn plex_may_respond(&self) -> bool {
        self.up || self.schedule.server.last_completed.is_none()
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<PlexRequest> {
        let mut requests = Vec::new();
        self.follow_ended_transcodes(now);
        if self.schedule.server.start_if_due(now, &mut self.budget) {
            requests.push(PlexRequest::Server);
        }
        if self.up {
            // Before the next listing, which brings more titles.
            self.start_titles(now, &mut requests);
        }
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let refresh = is_due(self.next_refresh());
        if refresh {
            self.refreshed = Some(now);
        }
        if refresh || is_due(self.next_silence_check()) {
            self.schedule.sessions.request(now, Priority::Low);
        }
        if self.schedule.sessions.start_if_due(now, &mut self.budget) {
            self.refresh_wanted = None;
            requests.push(PlexRequest::Sessions);
        }
        if self.up
            && !self.counting_items
            && let Some(query) = self.libraries.start_count(now, &mut self.budget)
        {
            // Before the list, whose timetable is shorter.
            self.counting_items = true;
            requests.push(PlexRequest::Items(query));
        }
        if self.plex_may_respond() {
            for (slot, request) in self.schedule.while_plex_is_up() {
                if slot.start_if_due(now, &mut self.budget) {
                    requests.push(request);
                }
            }
        }
        requests
    }

    fn follow_ended_transcodes(&mut self, now: Instant) {
        let ended = self.active_transcodes.settle(now);
        if !ended.is_empty() {
            self.poll_transcodes(Some(now));
        }
        if ended.iter().any(|id| self.sessions.carries(id)) {
            self.schedule.sessions.request(now, Priority::Medium);
        }
    }

    fn start_titles(&mut self, now: Instant, requests: &mut Vec<PlexRequest>) {
        while let Some((due, id)) = self.next_title()
            && due <= now
        {
            if self.titles_need_permits()
                && !self.budget.take(Purpose::Viewing, Priority::Medium, now)
            {
                return;
            }
            self.sessions.titles.start(id);
            requests.push(PlexRequest::Metadata(id));
        }
    }

    /// The request limit is for up to ten sessions; with more, titles are fetched without permits.
    fn titles_need_permits(&self) -> bool {
        self.sessions.live().len() <= FEW_SESSIONS as usize
    }

    /// The title to request next, and when.
    fn next_title(&self) -> Option<(Instant, Id)> {
        let (due, id) = self.sessions.titles.next()?;
        let permit = self
            .budget
            .next_permit(Purpose::Viewing, Priority::Medium)
            .filter(|_| self.titles_need_permits());
        Some((permit.map_or(due, |permit| due.max(permit)), id))
    }

    /// When a silent client causes a listing. Clients count as silent only while the socket is up.
    fn next_silence_check(&self) -> Option<Instant> {
        let slot = &self.schedule.sessions;
        let silence = self
            .sessions
            .next_silence_check()
            .filter(|_| self.socket_up)?;
        let earliest = slot
            .last_completed
            .map(|completed| completed + schedule::SILENCE_MIN_INTERVAL);
        let due = earliest.map_or(silence, |earliest| silence.max(earliest));
        (!slot.is_pending()).then_some(due)
    }

    /// When a client's report causes a listing: only that has its bitrate and bandwidth.
    fn next_refresh(&self) -> Option<Instant> {
        let wanted = self.refresh_wanted?;
        let spare = self.budget.next_permit(Purpose::Viewing, Priority::Low);
        let slot = &self.schedule.sessions;
        let earliest = self
            .refreshed
            .map(|refreshed| refreshed + schedule::REFRESH_MIN_INTERVAL);
        let due = [spare, earliest]
            .into_iter()
            .flatten()
            .fold(wanted, Instant::max);
        (!slot.is_pending()).then_some(due)
    }

    /// When [`Self::tick`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let (schedule, budget) = (&self.schedule, &self.budget);
        let slots = [
            &schedule.providers,
            &schedule.resources,
            &schedule.bandwidth,
            &schedule.activities,
            &schedule.accounts,
            &schedule.updater,
        ];
        let while_plex_is_up = slots
            .into_iter()
            .filter(|_| self.plex_may_respond())
            .map(|slot| slot.due(budget));
        [
            schedule.server.due(budget),
            schedule.sessions.due(budget),
            self.next_silence_check(),
            self.next_refresh(),
            self.active_transcodes.next_end(),
            self.sessions.next_expiry(),
            self.libraries
                .next_due(budget)
                .filter(|_| self.up && !self.counting_items),
            self.next_title().map(|(due, _)| due).filter(|_| self.up),
        ]
        .into_iter()
        .chain(while_plex_is_up)
        .flatten()
        .min()
    }
}
