//! All plays: the live ones, those that ended a moment ago, and sessions pending but not listed.
//!
//! Notifications are triggers and early news; `/status/sessions` is the truth. A notification of a
//! known session is applied at once, because it tells the very moment of a change; whatever it
//! leaves open is settled by the fetch it asks for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use log::Level;

use super::{
    classify::transcode_id,
    effects::Effects,
    pending::Pending,
    phase::Phase,
    play::{Play, Title},
};
use crate::{
    config::HiddenLabels,
    logging::Sanitized,
    plex::{
        notification::{Playing, TranscodeEvent},
        request::Id,
        wire::{Metadata, Session, TranscodeSession},
    },
};

/// A burst of notifications costs one fetch: it is sent so long after the first of them.
pub const DEBOUNCE: Duration = Duration::from_millis(100);
/// Series of an ended play stay for so long.
pub const KEEP_ENDED: Duration = Duration::from_mins(1);
/// A session of which nothing was observed for so long is over: Plex is down, or forgot it.
pub const FORGET_AFTER: Duration = Duration::from_secs(45);
/// A playing client that has not reported for so long is looked after (it should every 10 s).
pub const SILENT_AFTER: Duration = Duration::from_secs(12);
/// For so long a `stopped` notification outweighs a listing: Plex may list the session a bit longer.
const STOP_HOLDS: Duration = Duration::from_secs(2);
/// A listing that contradicts a notification is checked again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// An `.end` of a transcode that no `.start` follows for so long is looked into.
const SEEK_GRACE: Duration = Duration::from_millis(1_500);
/// A failed fetch of a title is repeated so often.
const TITLE_ATTEMPTS: u8 = 3;

/// All plays.
#[derive(Debug, Default)]
pub struct Sessions {
    live: BTreeMap<Box<str>, Play>,
    ended: Vec<Play>,
    pending: Pending,
    /// Whether `/status/sessions` was ever answered: what it lists then began before us.
    listed_once: bool,
    /// Counts the connections of the socket.
    connection: u64,
    hide: HiddenLabels,
}

impl Sessions {
    /// No plays yet.
    #[must_use]
    pub fn new(hide: HiddenLabels) -> Self {
        Self {
            hide,
            ..Self::default()
        }
    }

    /// The live plays, by session key.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Play> {
        self.live.values()
    }

    /// Every play that has series of plays: live or ended a moment ago, and once seen playing.
    pub fn played(&self) -> impl Iterator<Item = &Play> {
        self.live
            .values()
            .chain(&self.ended)
            .filter(|play| play.has_played)
    }

    /// Every play.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Play> {
        self.live.values_mut().chain(&mut self.ended)
    }

    /// The socket fell or stands again: keys may have begun anew.
    pub fn reconnected(&mut self) {
        self.connection += 1;
        self.pending.clear();
    }

    /// Applies a `playing` notification.
    pub fn on_notification(&mut self, news: &Playing, now: Instant, effects: &mut Effects) {
        let soon = now + DEBOUNCE;
        let state = news.state.or_empty().trim();
        let over = Phase::is_over(state);
        let phase = Phase::parse(state);
        // Old clients stop without a key. What is no counter is nothing of Plex's.
        let key = news
            .session_key
            .get()
            .filter(|key| Id::parse(key).is_some());
        let Some(key) = key else {
            effects.request_sessions(soon);
            return;
        };
        let item = news.rating_key.get().and_then(Id::parse);
        let expected = self.pending.contains(key, item);
        let another = self.live.get_mut(key).is_some_and(|play| {
            play.is_of_another(item) && (expected || play.is_news_of_another(item))
        });
        match self.live.get_mut(key) {
            Some(_) if another && !over => {
                // The next episode under the same key: the listing will tell all about it.
                if self.pending.on_notification(key, item, phase, now) {
                    effects.request_sessions(soon);
                }
            }
            // Of the episode before, perhaps.
            Some(play) if over && play.is_of_another(item) => effects.request_sessions(soon),
            Some(play) if over => {
                effects.estimated_bytes += play.stop(now);
                let play = self.live.remove(key);
                self.finish(play, effects);
                self.pending.forget(key);
                effects.request_sessions(soon);
            }
            Some(play) => {
                let transcode = news.transcode_session.get().map(transcode_id);
                if phase.is_some_and(|phase| phase != play.phase)
                    || transcode.is_some_and(|transcode| play.is_news_of_transcode(transcode))
                {
                    effects.request_sessions(soon);
                }
                if let Some(phase) = phase {
                    effects.estimated_bytes += play.notify(phase, now);
                }
                if let Some(offset) = news.view_offset.non_negative() {
                    play.view_offset = Some(offset);
                }
            }
            None if over => {
                self.pending.forget(key);
                effects.request_sessions(soon);
            }
            None => {
                if self.pending.on_notification(key, item, phase, now) {
                    effects.request_sessions(soon);
                }
            }
        }
    }

    /// Applies a `transcodeSession.*` notification: to the session that carries the transcode's
    /// key, and to no other.
    pub fn on_transcode_notification(
        &mut self,
        event: TranscodeEvent,
        transcode: TranscodeSession,
        now: Instant,
        effects: &mut Effects,
    ) {
        let id = transcode
            .key
            .get()
            .map(transcode_id)
            .unwrap_or_default()
            .to_owned();
        let somebody_is_live = !self.live.is_empty();
        let owner = self.live.values_mut().find(|play| play.owns_transcode(&id));
        match (event, owner) {
            // Not the end of playback: a seek ends and starts the same key within a second.
            (TranscodeEvent::End, Some(_)) => effects.request_sessions(now + SEEK_GRACE),
            (_, Some(play)) => play.update_transcode(transcode, event == TranscodeEvent::Start),
            // A live session may have changed to this transcode. Updates of one nobody carries
            // (a download) come every few seconds and are no news.
            (TranscodeEvent::Start, None) if somebody_is_live => {
                effects.request_sessions(now + DEBOUNCE);
            }
            (_, None) => {}
        }
    }

    /// Applies what `/status/sessions`, asked at `started`, lists.
    pub fn apply_listing(
        &mut self,
        listed: &[Session],
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        let mut missing = std::mem::take(&mut self.live);
        let is_live = |session: &&Session| {
            let player = session.player.get();
            !player.is_some_and(|player| Phase::is_over(player.state.or_empty()))
        };
        for session in listed.iter().filter(is_live) {
            let Some(key) = key_of(session, &self.live) else {
                continue;
            };
            if let Some(mut play) = missing.remove(key) {
                let reconnected = play.connection != self.connection;
                if play.is_replaced_by(session, started, reconnected) {
                    play.mark_lost(now);
                    self.finish(Some(play), effects);
                } else {
                    effects.estimated_bytes += play.apply_listing(session, started, self.hide);
                    self.admit(play);
                    continue;
                }
            }
            let item = session.rating_key.get().and_then(Id::parse);
            let observed = self.pending.take(key, item, started);
            let since = observed.map_or(started, |observed| observed.since);
            let mut play = match self.ended_as(session, key, started, observed.is_some()) {
                Ended::Held => {
                    effects.request_sessions(now + RETRY);
                    continue;
                }
                Ended::Revived(mut play) => {
                    play.revive(since);
                    *play
                }
                Ended::Unknown => {
                    let mut play = Play::new(key, session, since, self.hide);
                    play.start_uncounted = self.listed_once;
                    log_play(effects, "play", &play);
                    play
                }
            };
            if let Some(observed) = observed {
                effects.estimated_bytes += play.apply_observed(&observed);
            }
            effects.estimated_bytes += play.apply_listing(session, started, self.hide);
            self.admit(play);
        }
        for (key, mut play) in missing {
            if play.was_notified_after(started) {
                // It was live after Plex wrote this answer; the next one will tell.
                effects.request_sessions(now + DEBOUNCE);
                self.live.insert(key, play);
            } else {
                play.mark_lost(now);
                self.finish(Some(play), effects);
            }
        }
        self.pending.recheck(started, now, effects);
        self.listed_once = true;
    }

    fn admit(&mut self, mut play: Play) {
        play.connection = self.connection;
        self.live.insert(play.session.clone(), play);
    }

    fn finish(&mut self, play: Option<Play>, effects: &mut Effects) {
        if let Some(play) = play {
            log_play(effects, "end", &play);
            self.ended.push(play);
        }
    }

    /// Looks for a play that ended under this key a moment ago and is listed (again).
    fn ended_as(&mut self, session: &Session, key: &str, started: Instant, pending: bool) -> Ended {
        let found = self.ended.iter().position(|play| {
            let reconnected = play.connection != self.connection;
            &*play.session == key && !play.is_replaced_by(session, started, reconnected)
        });
        let Some(index) = found else {
            return Ended::Unknown;
        };
        let held = !pending
            && self.ended[index]
                .end
                .is_some_and(|end| end.told && started < end.at + STOP_HOLDS);
        if held {
            Ended::Held
        } else {
            Ended::Revived(Box::new(self.ended.swap_remove(index)))
        }
    }

    /// Rating keys whose metadata is still wanted, and from when on.
    pub fn wanted_titles(&self) -> impl Iterator<Item = (Id, Option<Instant>)> {
        self.live.values().filter_map(|play| match play.title {
            Title::Wanted { after, .. } => Some((play.rating_key?, after)),
            Title::None | Title::Settled => None,
        })
    }

    fn waiting_for_title(&mut self, id: Id) -> impl Iterator<Item = &mut Play> {
        self.all_mut().filter(move |play| {
            play.rating_key == Some(id) && matches!(play.title, Title::Wanted { .. })
        })
    }

    /// Applies the metadata of a title.
    pub fn take_title(&mut self, id: Id, metadata: &Metadata) {
        for play in self.waiting_for_title(id) {
            play.take_title(metadata);
        }
    }

    /// The metadata of a title could not be had; it is wanted again at `retry`, if ever.
    pub fn miss_title(&mut self, id: Id, retry: Option<Instant>) {
        for play in self.waiting_for_title(id) {
            play.title = match (play.title, retry) {
                (Title::Wanted { failures, .. }, Some(_)) if failures + 1 < TITLE_ATTEMPTS => {
                    Title::Wanted {
                        failures: failures + 1,
                        after: retry,
                    }
                }
                _ => Title::Settled,
            };
        }
    }

    /// Ends what was observed of too long ago, and removes what ended long enough ago.
    pub fn expire(&mut self, now: Instant, effects: &mut Effects) {
        let forgotten: Vec<Box<str>> = self
            .live
            .values()
            .filter(|play| now >= play.known + FORGET_AFTER)
            .map(|play| play.session.clone())
            .collect();
        for key in forgotten {
            let mut play = self.live.remove(&key);
            if let Some(play) = &mut play {
                play.mark_lost(now);
            }
            self.finish(play, effects);
        }
        self.ended
            .retain(|play| play.end.is_some_and(|end| now < end.at + KEEP_ENDED));
    }

    /// The plays whose start can be counted now, by library: when the library is known, or never
    /// will be.
    pub fn count_starts(&mut self, is_library: impl Fn(Id) -> bool, effects: &mut Effects) {
        for play in self
            .all_mut()
            .filter(|play| play.start_uncounted && play.has_played)
        {
            let library = play.library.filter(|library| is_library(*library));
            if library.is_some() || !matches!(play.title, Title::Wanted { failures: 0, .. }) {
                play.start_uncounted = false;
                effects.starts.push(library);
            }
        }
    }

    /// Counts what a scrape at `now` may show; returns estimated bytes.
    pub fn accrue(&mut self, now: Instant) -> f64 {
        self.live.values_mut().map(|play| play.accrue(now)).sum()
    }

    /// Removes ended plays whose series another play of the same session now has.
    pub fn drop_duplicates(&mut self) {
        fn labels(play: &Play) -> Option<&str> {
            play.encoded.as_ref().map(|labels| &*labels.play)
        }
        let (live, ended) = (&self.live, &mut self.ended);
        let mut index = 0;
        while index < ended.len() {
            let one = &ended[index];
            let newer = ended[index + 1..].iter().chain(live.get(&one.session));
            let shadowed = newer
                .filter(|play| play.session == one.session && play.has_played)
                .any(|play| labels(play) == labels(one));
            if shadowed {
                ended.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// When [`Self::expire`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let forgotten = self.live.values().map(|play| play.known + FORGET_AFTER);
        let removed = self
            .ended
            .iter()
            .filter_map(|play| Some(play.end?.at + KEEP_ENDED));
        forgotten.chain(removed).min()
    }

    /// When a playing client has been silent for too long.
    #[must_use]
    pub fn next_silence_check(&self) -> Option<Instant> {
        self.live
            .values()
            .filter(|play| play.phase == Phase::Playing)
            .map(|play| play.known + SILENT_AFTER)
            .min()
    }
}

/// What became of a play that had ended under a key that is listed.
enum Ended {
    /// There is none.
    Unknown,
    /// It was told to have stopped just now; the listing may be outdated.
    Held,
    /// It goes on.
    Revived(Box<Play>),
}

/// The key of a session: Plex's, or for the odd one without (or with another's), what else tells it
/// from those already `taken` in this listing. None hides another.
fn key_of<'a>(session: &'a Session, taken: &BTreeMap<Box<str>, Play>) -> Option<&'a str> {
    let link = session.session.get();
    let player = session.player.get();
    [
        session.session_key.get(),
        link.and_then(|link| link.id.get()),
        player.and_then(|player| player.machine_identifier.get()),
        session.key.get(),
    ]
    .into_iter()
    .flatten()
    .map(super::sanitize::truncate)
    .find(|key| !taken.contains_key(*key))
}

fn log_play(effects: &mut Effects, what: &str, play: &Play) {
    let values = &play.labels;
    let titles = [
        &*values.title,
        &values.child_title,
        &values.grandchild_title,
    ];
    let titles: Vec<&str> = titles
        .into_iter()
        .filter(|title| !title.is_empty())
        .collect();
    effects.log(
        Level::Info,
        format!(
            "{what}: session {}, user `{}`, `{}`, device `{}`, {}, {} s",
            Sanitized(&play.session),
            Sanitized(&values.user),
            Sanitized(&titles.join(" / ")),
            Sanitized(&values.device),
            Sanitized(&values.stream_type),
            play.played.as_secs(),
        ),
    );
}
