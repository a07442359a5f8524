//! MaybeObject play: a session, from the first time it is seen until its series are removed.

use std::time::{Duration, Instant};

use super::{
    classify,
    encoded::EncodedLabels,
    identity::Identity,
    labels::LabelValues,
    phase::{Observed, Phase},
    sanitize::normalize_resolution,
};
use crate::{
    config::HiddenLabels,
    plex::{
        request::Id,
        wire::{Metadata, Session, TranscodeSession},
    },
};

/// What a scrape shows may run ahead of the last moment a session was known to play by so much.
///
/// Clients report every 10 s, so in between the clock runs on; but when a client vanishes without
/// a word, at most this much too much was shown.
pub const LEAD: Duration = Duration::from_secs(13);

/// How far the fetch of the title's metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Title {
    /// Nothing to fetch: no rating key.
    None,
    /// Wanted or on its way.
    Wanted {
        /// Failed attempts so far.
        failures: u8,
        /// Not to be tried before this moment.
        after: Option<Instant>,
    },
    /// Arrived, or given up.
    Settled,
}

/// How a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When it was found out: series stay for a while after this.
    pub at: Instant,
    /// By a `stopped` notification, rather than by being listed no longer.
    pub told: bool,
}

/// What a fetch was asked for about a play.
#[derive(Debug, Default)]
pub struct AskedAbout {
    /// Another item under its key.
    pub item: Option<Id>,
    /// A transcode that it does not carry.
    pub transcode: Option<Box<str>>,
}

/// MaybeObject play.
#[derive(Debug)]
pub struct Play {
    /// Plex's `sessionKey`.
    pub session: Box<str>,
    identity: Identity,
    /// Label values.
    pub labels: LabelValues,
    /// What it does; as it was last, once it has ended.
    pub phase: Phase,
    /// Set once it is over.
    pub end: Option<End>,
    /// Whether it was ever seen playing: only then it has series of plays.
    pub has_played: bool,
    /// It began while we watched, and has not yet been counted as a start.
    pub start_uncounted: bool,
    /// Time played.
    pub played: Duration,
    /// Up to here time is counted.
    counted: Instant,
    /// It was last known to be live at this moment.
    pub known: Instant,
    /// A notification about it last came at this moment.
    notified: Option<Instant>,
    /// The library, by id; whether it exists is for the libraries to say.
    pub library: Option<Id>,
    /// The item's number.
    pub rating_key: Option<Id>,
    /// How far its metadata is.
    pub title: Title,
    media_id: Box<str>,
    part_decision: Box<str>,
    file_resolution: Box<str>,
    first_bitrate: u64,
    /// kbit/s now.
    pub bitrate: Option<f64>,
    /// kbit/s reserved.
    pub bandwidth: Option<f64>,
    /// Milliseconds into the item.
    pub view_offset: Option<f64>,
    /// Milliseconds of the item.
    pub duration: Option<f64>,
    /// What the transcoder does for it.
    pub transcode: Option<Box<TranscodeSession>>,
    /// What notifications last said of it that the listing did not bear out: that is asked about
    /// once, and not with every report.
    pub asked_about: AskedAbout,
    /// The connection of the socket during which it was last confirmed.
    pub connection: u64,
    /// The text of its labels, built when first needed and dropped when a value changes.
    pub encoded: Option<EncodedLabels>,
}

impl Play {
    /// A play seen for the first time. `since` is when it is known to be live from.
    #[must_use]
    pub fn new(key: &str, session: &Session, since: Instant, hide: HiddenLabels) -> Self {
        let mut play = Self {
            session: key.into(),
            identity: Identity::of(session),
            labels: LabelValues::default(),
            phase: listed_phase(session),
            end: None,
            has_played: false,
            start_uncounted: false,
            played: Duration::ZERO,
            counted: since,
            known: since,
            notified: None,
            library: None,
            rating_key: session.rating_key.get().and_then(Id::parse),
            title: Title::None,
            media_id: Box::default(),
            part_decision: Box::default(),
            file_resolution: Box::default(),
            first_bitrate: 0,
            bitrate: None,
            bandwidth: None,
            view_offset: None,
            duration: None,
            transcode: None,
            asked_about: AskedAbout::default(),
            connection: 0,
            encoded: None,
        };
        if play.rating_key.is_some() {
            play.title = Title::Wanted {
                failures: 0,
                after: None,
            };
        }
        play.apply_session(session, hide);
        play
    }

    /// Whether `session`, listed under this play's key, is another play.
    ///
    /// `reconnected` says that the socket was down since this play was last confirmed, so that Plex
    /// may have restarted and its keys begun anew; then a different start counts too.
    #[must_use]
    pub fn is_replaced_by(&self, session: &Session, started: Instant, reconnected: bool) -> bool {
        let listed = Identity::of(session);
        if self.identity.differs(&listed) {
            return true;
        }
        reconnected && (self.identity.differs_in_run(&listed) || self.starts_anew(session, started))
    }

    /// Whether the listed position says that playing began after we last knew this play: it went
    /// backwards, and is no further than the time that has passed since.
    fn starts_anew(&self, session: &Session, started: Instant) -> bool {
        const SLACK: f64 = 5_000.0;
        let (Some(before), Some(now)) = (self.view_offset, session.view_offset.non_negative())
        else {
            return false;
        };
        let passed = started.saturating_duration_since(self.known).as_secs_f64() * 1_000.0;
        now + SLACK < before && now <= passed + SLACK
    }

    /// Counts playing time up to `until`; returns the bytes that were sent in it by estimate.
    fn count(&mut self, until: Instant) -> f64 {
        if self.phase != Phase::Playing || self.end.is_some() {
            return 0.0;
        }
        let played = until.saturating_duration_since(self.counted);
        self.counted = self.counted.max(until);
        self.credit(played)
    }

    /// Adds playing time; returns the bytes that were sent in it by estimate.
    fn credit(&mut self, played: Duration) -> f64 {
        self.played += played;
        // 1 kbit/s is 125 bytes a second.
        played.as_secs_f64() * self.bitrate.unwrap_or(0.0) * 125.0
    }

    /// Counts what a scrape at `now` may show.
    pub fn accrue(&mut self, now: Instant) -> f64 {
        self.count(now.min(self.known + LEAD))
    }

    /// It is known to be in `phase` at `now`, and to have been in the last phase until then.
    fn observe(&mut self, phase: Phase, now: Instant) -> f64 {
        let bytes = self.count(now);
        self.phase = phase;
        self.counted = self.counted.max(now);
        self.known = self.known.max(now);
        self.has_played |= phase == Phase::Playing;
        bytes
    }

    /// A notification says that it is in `phase`.
    pub fn notify(&mut self, phase: Phase, now: Instant) -> f64 {
        self.notified = Some(now);
        self.observe(phase, now)
    }

    /// Takes what notifications told before it was listed; it was begun or revived `since` then.
    pub fn apply_observed(&mut self, observed: &Observed) -> f64 {
        let Some(phase) = observed.phase else {
            return 0.0;
        };
        self.phase = phase;
        self.known = observed.last;
        self.notified = Some(observed.last);
        self.has_played |= phase == Phase::Playing || !observed.played.is_zero();
        self.credit(observed.played)
    }

    /// A notification says that it stopped.
    pub fn stop(&mut self, now: Instant) -> f64 {
        let bytes = self.observe(self.phase, now);
        self.end = Some(End {
            at: now,
            told: true,
        });
        bytes
    }

    /// It was found to be over: it is live no longer, and was last known to be at `self.known`.
    pub fn mark_lost(&mut self, now: Instant) {
        self.end = Some(End {
            at: now,
            told: false,
        });
    }

    /// Whether a notification came after `moment`, so that an answer from before it is outdated.
    #[must_use]
    pub fn was_notified_after(&self, moment: Instant) -> bool {
        self.notified.is_some_and(|notified| notified > moment)
    }

    /// Begins to run again after it had ended.
    pub fn revive(&mut self, since: Instant) {
        self.end = None;
        self.notified = None;
        self.counted = self.counted.max(since);
        self.known = self.known.max(since);
    }

    /// Takes what `/status/sessions`, asked at `started`, says about it.
    pub fn apply_listing(
        &mut self,
        session: &Session,
        started: Instant,
        hide: HiddenLabels,
    ) -> f64 {
        let mut bytes = 0.0;
        if !self.was_notified_after(started) {
            let phase = listed_phase(session);
            if self.phase == Phase::Playing && phase != Phase::Playing {
                // The notification of the pause was lost: when it came is not known, so nothing
                // after the last known moment counts.
                self.counted = self.counted.max(started);
            }
            bytes = self.observe(phase, started);
        }
        self.apply_session(session, hide);
        bytes
    }

    fn apply_session(&mut self, session: &Session, hide: HiddenLabels) {
        self.identity = Identity::of(session);
        let media = session.selected_media();
        self.bitrate = media.and_then(|media| media.bitrate.non_negative());
        if self.first_bitrate == 0
            && let Some(bitrate) = media.and_then(|media| media.bitrate.whole())
        {
            self.first_bitrate = bitrate;
            self.encoded = None;
        }
        self.bandwidth = session
            .session
            .get()
            .and_then(|link| link.bandwidth.non_negative());
        self.view_offset = session.view_offset.non_negative();
        self.duration = session
            .duration
            .non_negative()
            .filter(|duration| *duration > 0.0);
        self.media_id = media.map_or("", |media| media.id.or_empty()).into();
        let part = media.and_then(|media| media.selected_part());
        self.part_decision = part.map_or("", |part| part.decision.or_empty()).into();
        if let Some(library) = session.library_section_id.get().and_then(Id::parse)
            && self.library != Some(library)
        {
            self.library = Some(library);
            self.encoded = None;
        }
        let transcode = session.transcode.get();
        if !classify::same_transcode_labels(self.transcode.as_deref(), transcode) {
            self.encoded = None;
        }
        self.transcode = transcode.map(|transcode| Box::new(transcode.clone()));
        self.classify(LabelValues::of(session, hide));
    }

    /// Completes `labels` by what the transcode says, and notices whether anything changed.
    fn classify(&mut self, mut values: LabelValues) {
        let transcode = self.transcode.as_deref();
        let decision = Some(&*self.part_decision).filter(|decision| !decision.is_empty());
        values.stream_type = classify::stream_type(transcode, decision).into();
        values.transcode_type = classify::transcode_type(transcode);
        values.subtitle_action = classify::subtitle_action(transcode).into();
        if values != self.labels {
            self.labels = values;
            self.encoded = None;
        }
    }

    /// Whether `id` is the bare id of this play's own transcode.
    #[must_use]
    pub fn owns_transcode(&self, id: &str) -> bool {
        self.transcode_id().is_some_and(|own| own == id)
    }

    /// The bare id of its transcode.
    #[must_use]
    pub fn transcode_id(&self) -> Option<&str> {
        let key = self.transcode.as_ref()?.key.get()?;
        Some(classify::transcode_id(key))
    }

    /// Whether `item` is known to be another than this play's.
    #[must_use]
    pub fn is_of_another(&self, item: Option<Id>) -> bool {
        item.is_some() && self.rating_key.is_some() && item != self.rating_key
    }

    /// Whether a notification under this play's key, about `item`, tells that another plays there now.
    /// If the listing does not bear that out, the same is no news again.
    pub fn is_news_of_another(&mut self, item: Option<Id>) -> bool {
        let news = self.is_of_another(item) && item != self.asked_about.item;
        if news {
            self.asked_about.item = item;
        }
        news
    }

    /// Whether a notification that names the transcode `id` tells of one that is not known of it.
    pub fn is_news_of_transcode(&mut self, id: &str) -> bool {
        let news = !self.owns_transcode(id) && self.asked_about.transcode.as_deref() != Some(id);
        if news {
            self.asked_about.transcode = Some(id.into());
        }
        news
    }

    /// Takes what a notification says about its transcode. `fresh` begins a new run of it, which
    /// starts without hardware.
    pub fn update_transcode(&mut self, newer: TranscodeSession, fresh: bool) {
        let Some(transcode) = self.transcode.as_deref_mut() else {
            return;
        };
        let before = transcode.clone();
        if fresh {
            transcode.transcode_hw_decoding = newer.transcode_hw_decoding.clone();
            transcode.transcode_hw_encoding = newer.transcode_hw_encoding.clone();
            transcode.transcode_hw_full_pipeline = newer.transcode_hw_full_pipeline;
        }
        transcode.merge(newer);
        if !classify::same_transcode_labels(Some(&before), Some(transcode)) {
            self.encoded = None;
        }
        self.classify(self.labels.clone());
    }

    /// Takes the library item's metadata.
    pub fn take_title(&mut self, metadata: &Metadata) {
        self.title = Title::Settled;
        let Some(item) = metadata.items.as_slice().first() else {
            return;
        };
        let versions = item.media.as_slice();
        let version = versions
            .iter()
            .find(|media| !self.media_id.is_empty() && media.id.or_empty() == &*self.media_id)
            .or_else(|| versions.first());
        if let Some(version) = version {
            self.file_resolution = normalize_resolution(version.video_resolution.or_empty()).into();
        }
        if self.library.is_none() {
            let section = item
                .library_section_id
                .get()
                .or(metadata.library_section_id.get());
            self.library = section.and_then(Id::parse);
        }
        self.encoded = None;
    }

    /// `stream_file_resolution`: the library item's. Until that is known, a stream that is sent as
    /// it is has the file's own resolution.
    #[must_use]
    pub fn file_resolution(&self) -> &str {
        if self.file_resolution.is_empty() && &*self.labels.stream_type != "transcode" {
            &self.labels.stream_resolution
        } else {
            &self.file_resolution
        }
    }

    /// `stream_bitrate`: the first that was not zero, so that an adaptive stream stays one series.
    #[must_use]
    pub fn first_bitrate(&self) -> u64 {
        self.first_bitrate
    }

    /// View offset / duration, within 0 and 1.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        Some((self.view_offset? / self.duration?).clamp(0.0, 1.0))
    }
}

/// `Player.state`. A session that is listed without one is live, and live sessions mostly play; one
/// in a state that nobody knows is not taken to play.
fn listed_phase(session: &Session) -> Phase {
    let state = session.player.get().and_then(|player| player.state.get());
    state.map_or(Phase::Playing, |state| {
        Phase::parse(state).unwrap_or(Phase::Buffering)
    })
}
