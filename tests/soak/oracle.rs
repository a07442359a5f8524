//! Holds every page against the truth.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
};

use crate::{
    knowledge::{LONGEST_GAP, REPORT_GAP, ROUNDING},
    page_watch::PageWatch,
    plays::{Kind, Millis, Phase, Play, PlayId},
    plex::{Plex, ResponseContent},
    series::{Series, identity},
    world::{Report, Step, World},
};

/// A series stays this long after the end.
const KEPT: Millis = 60_000;
/// What a notification may take from its event to the page.
const SHOWN_AFTER: Millis = 250;
/// The delay of a notification, for every change that one reports …
const DELAY: Millis = 12;
/// … up to what a notification may take to the page.
const MOST_DELAYS: Millis = SHOWN_AFTER;
/// A session or the next item under a key shows this long after it is listed, once it was notified.
const NOTIFIED_SHOWN_AFTER: Millis = 1_000;
/// One whose client sends no notifications.
const UNNOTIFIED_SHOWN_AFTER: Millis = 60_000;
/// The metadata of an item arrives, where nothing fails: permits and retries included.
const METADATA_AFTER: Millis = 360_000;
/// A change of the bitrate is known with the next listing: its part of all bytes.
const ESTIMATE: f64 = 0.002;
/// A session is gone this long after it left the listing: where its end was notified, without a
/// socket, and with one.
const GONE_AFTER: [Millis; 3] = [3_000, 10_000, LONGEST_GAP];

#[derive(Default)]
pub struct Oracle {
    watch: PageWatch,
    /// Plays by device and titles; several where a viewer starts again after a restart of Plex.
    by_identity: HashMap<String, Vec<PlayId>>,
    /// Plays that may still be on a page.
    recent: BTreeSet<PlayId>,
    /// Plays that count as starts, by library and by user.
    starts: BTreeMap<String, u64>,
    user_starts: BTreeMap<String, u64>,
    uncounted: BTreeSet<PlayId>,
    /// The play before, under the same key, whose end was never reported.
    before: HashMap<PlayId, PlayId>,
    /// Stopped, and the notification has not arrived.
    pub stops_on_their_way: BTreeSet<PlayId>,
    /// Ended without anybody telling, and until when Plex lists them.
    unreported: BTreeMap<PlayId, Millis>,
    libraries: BTreeMap<u64, String>,
    pub page_sum: u64,
}

impl Oracle {
    pub fn created(&mut self, id: PlayId) {
        self.recent.insert(id);
        self.uncounted.insert(id);
    }

    pub fn stop_lost(&mut self, id: PlayId) {
        self.unreported.entry(id).or_insert(0);
    }

    pub fn libraries_arrived(&mut self, plex: &Plex) {
        for (number, (_, title, there)) in &plex.libraries {
            if *there {
                self.libraries.insert(*number, title.clone());
            }
        }
    }
}

impl World {
    pub fn end(&mut self, id: PlayId) {
        self.plays[id].end(self.now);
    }

    /// Its end will not be reported.
    pub fn vanished(&mut self, id: PlayId) {
        self.oracle.stop_lost(id);
    }

    /// It leaves the listing after `linger`.
    pub fn unlist(&mut self, id: PlayId, linger: Millis) {
        let key = self.plays[id].key;
        self.plays[id].left = Some(self.now + linger);
        self.later(linger, Step::Unlist { key, id });
    }

    /// `next` plays under the key of `id`.
    pub fn replaced(&mut self, id: PlayId, next: PlayId) {
        self.oracle.before.insert(next, id);
        self.oracle.unreported.entry(id).or_insert(0);
    }

    /// A notification arrives, or is lost on the way.
    pub fn on_report(&mut self, id: PlayId, reported: Report, arrives: bool) {
        let now = self.now;
        let play = &mut self.plays[id];
        let began = play.began.unwrap_or(now);
        if reported == Report::Stopped {
            self.oracle.stops_on_their_way.remove(&id);
        }
        match reported {
            Report::Stopped if arrives => {
                if self.oracle.unreported.remove(&id).is_some()
                    && self.oracle.before.values().any(|before| *before == id)
                {
                    // The next item under its key may have reported it before.
                }
                play.known.notified(now, began, false);
            }
            Report::Stopped => self.oracle.stop_lost(id),
            Report::State(phase, _) if arrives => {
                if play.ended.is_none() {
                    let on_its_way = play.known.on_its_way;
                    play.known.notified(now, began, phase == Phase::Playing);
                    if phase != play.phase {
                        // Sent before the change, which comes next.
                        play.known.on_its_way = on_its_way;
                    }
                }
                if let Some(before) = self.oracle.before.remove(&id) {
                    self.end_known(before, now, false);
                }
            }
            Report::State(_, true) => play.known.mark_lost(now, false),
            Report::State(_, false) => {}
        }
    }

    fn end_known(&mut self, id: PlayId, reported: Millis, listing: bool) {
        if self.oracle.unreported.remove(&id).is_some() {
            let end = self.plays[id].ended.expect("an end");
            let known = &mut self.plays[id].known;
            // A change of items shows in the first notification of the next; a listing shows only
            // that it is over.
            if listing || reported > end + SHOWN_AFTER || known.has_lost() {
                known.ended_unreported(end, reported);
            }
        }
    }

    pub fn listing_arrived(&mut self, content: &ResponseContent, started: Millis, written: Millis) {
        let now = self.now;
        for listed in &content.sessions {
            let play = &mut self.plays[listed.play];
            let version = (listed.key, listed.stream);
            play.known.first_bitrate.get_or_insert(listed.bitrate);
            let lingers = play.ended.is_some_and(|ended| ended <= written);
            // The notification of its end overtook this listing.
            let over = play.ended.is_some()
                && !self.oracle.stops_on_their_way.contains(&listed.play)
                && !self.oracle.unreported.contains_key(&listed.play);
            if play.known.versions.last() != Some(&version)
                && !((lingers || over) && play.known.listed.is_some())
            {
                play.known.versions.push(version);
            }
            if lingers {
                // It lingers, which confirms it, but not when it did what.
                play.known.named(now, listed.phase == Phase::Playing);
                continue;
            }
            let began = play.began.unwrap_or(now);
            play.known
                .listed(started, written, now, began, listed.phase == Phase::Playing);
            if let Some(before) = self.oracle.before.remove(&listed.play) {
                self.end_known(before, now, true);
            }
        }
        for id in &self.oracle.stops_on_their_way {
            let play = &mut self.plays[*id];
            let listed = content.sessions.iter().any(|listed| listed.play == *id);
            if let Some(ended) = play.ended.filter(|ended| *ended <= written && !listed) {
                // The listing is faster than the notification, which does not contain when it was sent.
                play.known.allowance += now - ended;
            }
        }
        let gone: Vec<PlayId> = self
            .oracle
            .unreported
            .keys()
            .copied()
            .filter(|id| content.sessions.iter().all(|listed| listed.play != *id))
            .filter(|id| self.plays[*id].ended.is_some_and(|ended| ended <= written))
            .collect();
        for id in gone {
            self.end_known(id, now, true);
        }
    }

    pub fn scrape(&mut self) {
        if !self.closing {
            let pause = self
                .dice
                .between(self.scrape_interval, 2 * self.scrape_interval);
            self.later(pause, Step::Scrape);
        }
        self.check_page();
    }

    /// Reads a page, and holds it against the truth.
    pub fn check_page(&mut self) {
        let page = self.core.page(self.timestamp());
        self.figures.pages += 1;
        for byte in page.bytes() {
            let sum = self.oracle.page_sum ^ u64::from(byte);
            self.oracle.page_sum = sum.wrapping_mul(0x100_0000_01b3);
        }
        self.oracle.watch.read(&page, |_| false);
        self.oracle.by_identity.clear();
        for id in &self.oracle.recent {
            let play = &self.plays[*id];
            let key = identity(&self.clients[play.client].device(), &play.item.titles());
            self.oracle.by_identity.entry(key).or_default().push(*id);
        }
        let (mut shown, mut counted, mut live) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        for line in page.lines() {
            if let Some(series) = Series::parse(line, "plex_plays_total") {
                counted.insert(series.place(), series.value as usize);
            } else if let Some(series) = Series::parse(line, "plex_play_seconds_total") {
                // The newest of the plays that share it.
                let plays = self.named(&series);
                let count = counted.get(&series.place()).copied().unwrap_or(0);
                let counts = self.series_counts(&plays);
                assert!(
                    counts.contains(&count),
                    "at {}: {count} plays, {counts:?} expected of {plays:?}: {line}",
                    self.now
                );
                let plays = &plays[plays.len() - count..];
                let newest = plays[count - 1];
                self.check_labels(newest, &series);
                self.check_file(&self.plays[newest], &series);
                self.check_seconds(plays, series.value);
                for id in plays {
                    assert!(shown.insert(*id, newest).is_none(), "two series: {line}");
                }
            } else if let Some(series) = Series::parse(line, "plex_session_info") {
                let plays = self.named(&series);
                let newest = plays[plays.len() - 1];
                self.check_live(newest, &series);
                live.insert(newest);
            }
        }
        self.check_presence(&shown, &live);
        self.check_totals(&page);
        self.check_activities(&page);
    }

    /// The plays with its device and titles under its key, as far as they were ever listed.
    fn named(&self, series: &Series) -> Vec<PlayId> {
        let found = self.oracle.by_identity.get(&series.identity());
        let key: u64 = series.label("session").parse().expect("a number");
        let mut plays = found.cloned().unwrap_or_default();
        plays.retain(|id| {
            self.plays[*id]
                .known
                .versions
                .last()
                .is_some_and(|(last, _)| *last == key)
        });
        // Who starts again after a restart of Plex may have the same key, and another stream.
        let shown = ["stream_type", "transcode_type"].map(|label| series.label(label));
        let has_stream = |id: &PlayId| {
            let play = &self.plays[*id];
            let known = play.known.versions.iter().map(|(_, stream)| *stream);
            let resolution = series.label("stream_resolution");
            known.chain([play.stream()]).any(|stream| {
                stream[..2] == shown && (resolution == "(absent)" || resolution == stream[2])
            })
        };
        if plays.iter().any(has_stream) {
            plays.retain(has_stream);
        }
        assert!(!plays.is_empty(), "at {} nobody plays {series:?}", self.now);
        plays
    }

    /// How many of `plays`, which share their labels, the series of the newest counts: with it
    /// those of which each ended less than a minute before the next was counted. Where that is not
    /// known to the moment, one more or less.
    fn series_counts(&self, plays: &[PlayId]) -> RangeInclusive<usize> {
        let (mut least, mut most) = (1, 1);
        let mut certain = true;
        for pair in plays.windows(2).rev() {
            let [before, next] = [pair[0], pair[1]].map(|id| &self.plays[id]);
            let ended = before.ended.unwrap_or(self.now);
            let counted = next.known.countable.unwrap_or(self.now);
            let slack = self.end_slack(pair[0], before);
            if counted > ended + KEPT + slack {
                break;
            }
            most += 1;
            let unchanged = [before, next]
                .iter()
                .all(|play| play.known.versions.len() == 1);
            let countable = before.known.countable.is_some_and(|at| at < ended);
            // During an outage, it ended for the exporter long before.
            let confirmed = before.known.confirmed.is_some_and(|at| counted < at + KEPT);
            certain &= unchanged && countable && confirmed && counted + ROUNDING < ended + KEPT;
            least += usize::from(certain);
        }
        least..=most
    }

    /// By how much later than its end the exporter may learn of it.
    fn end_slack(&self, id: PlayId, play: &Play) -> Millis {
        if self.oracle.unreported.contains_key(&id) || play.known.allowance > 0 {
            80_000
        } else {
            2_000
        }
    }

    fn check_labels(&self, id: PlayId, series: &Series) {
        let play = &self.plays[id];
        let client = &self.clients[play.client];
        let user = format!("user {}", client.user);
        let library = play.item.library();
        let library_id = library.map_or("0".to_owned(), |number| number.to_string());
        let name = library.map_or("unknown", |number| &*self.oracle.libraries[&number]);
        for (label, expected) in [
            ("user", &*user),
            ("device_type", client.product),
            ("media_type", play.item.media_type()),
            ("location", client.location),
            (
                "local",
                if client.location == "lan" {
                    "true"
                } else {
                    "false"
                },
            ),
            ("library_id", &library_id),
            ("library", name),
            ("subtitle_action", "none"),
        ] {
            let shown = series.label(label);
            assert_eq!(shown, expected, "at {}: {label} of {series:?}", self.now);
        }
        let version = play.known.versions.last();
        let (key, stream) = version.unwrap_or_else(|| panic!("never listed: {series:?}"));
        assert_eq!(series.label("session"), key.to_string(), "{series:?}");
        let shown =
            ["stream_type", "transcode_type", "stream_resolution"].map(|label| series.label(label));
        assert!(
            shown == *stream || shown == play.stream(),
            "at {}: {stream:?} shows as {series:?}, of {play:?}",
            self.now
        );
    }

    /// `stream_bitrate` stays the first one, and `stream_file_resolution` is the file's as soon as its
    /// metadata can have arrived.
    fn check_file(&self, play: &Play, series: &Series) {
        let bitrate = play.known.first_bitrate.expect("a listing");
        let shown = series.label("stream_bitrate");
        assert_eq!(shown, bitrate.to_string(), "at {}: {series:?}", self.now);
        let resolution = series.label("stream_file_resolution");
        let listed = play.known.listed.unwrap_or(self.now);
        let arrived = self.well_for(METADATA_AFTER)
            && self.now >= listed + METADATA_AFTER
            && play
                .ended
                .is_none_or(|ended| ended >= listed + METADATA_AFTER);
        let known = play.item.kind != Kind::Live && arrived;
        let streams = ["4k", "1080", "720", ""];
        assert!(
            resolution == play.item.file_resolution() || (!known && streams.contains(&resolution)),
            "at {}: {series:?} of {play:?}",
            self.now
        );
    }

    /// What was estimated of all that was played.
    pub fn check_estimate(&mut self) {
        let page = self.core.page(self.timestamp());
        let name = "plex_estimated_transmit_bytes_total";
        let estimated = page.lines().find_map(|line| Series::parse(line, name));
        let estimated = estimated.map_or(0.0, |series| series.value);
        let sent: f64 = self.plays.iter().map(Play::bytes).sum();
        // As wrong as the seconds of each play, and all of those that no listing ever showed.
        let unknown = self.plays.iter().enumerate().map(|(id, play)| {
            let most = play.item.bitrate().max(play.bitrate()) as f64 / 8.0;
            match play.known.listed {
                Some(_) => self.tolerance(id) as f64 * most,
                None => play.bytes(),
            }
        });
        let allowed: f64 = unknown.sum::<f64>() + sent * ESTIMATE;
        self.figures.estimate = (estimated, sent);
        assert!(
            (estimated - sent).abs() <= allowed,
            "{estimated} bytes estimated of {sent}, by {allowed} wrong at most"
        );
    }

    /// By how much the seconds of a play may be wrong now.
    fn tolerance(&self, id: PlayId) -> Millis {
        let play = &self.plays[id];
        let tolerance = match play.ended {
            None => play.known.tolerance(self.now),
            Some(end) if self.oracle.unreported.contains_key(&id) => {
                let since = play.known.confirmed.unwrap_or(end);
                play.known.allowance + end.saturating_sub(since).max(REPORT_GAP)
            }
            Some(_) => play.known.allowance,
        };
        tolerance + ROUNDING
    }

    fn check_seconds(&mut self, plays: &[PlayId], shown: f64) {
        let truth: Millis = plays
            .iter()
            .map(|id| self.plays[*id].played(self.now))
            .sum();
        let tolerance: Millis = plays.iter().map(|id| self.tolerance(*id)).sum();
        let delays = |id: &PlayId| (DELAY * self.plays[*id].changes).min(MOST_DELAYS);
        let delays: Millis = plays.iter().map(delays).sum();
        let error = (shown - truth as f64 / 1_000.0).abs();
        let newest = plays[plays.len() - 1];
        let play = &self.plays[newest];
        assert!(
            error * 1_000.0 <= (tolerance + delays) as f64,
            "at {}: {shown} s shown, {truth} ms true, {tolerance} + {delays} ms allowed, of {}: {play:?}",
            self.now,
            plays.len()
        );
        let figures = &mut self.figures;
        let reported = play.ended.is_some() && !self.oracle.unreported.contains_key(&newest);
        if !reported {
            figures.live_error = figures.live_error.max(error);
        } else if tolerance < SHOWN_AFTER {
            figures.exact_plays.insert(newest);
            figures.exact_error = figures.exact_error.max(error);
        } else {
            figures.gap_error = figures.gap_error.max(error);
        }
    }

    fn check_live(&mut self, id: PlayId, series: &Series) {
        let play = &self.plays[id];
        let [reported, without_socket, with_socket] = GONE_AFTER;
        if let Some(ended) = play.ended {
            let limit = match self.oracle.unreported.contains_key(&id) {
                _ if !self.well_for(LONGEST_GAP) => LONGEST_GAP + 20_000,
                false => reported,
                true if self.network.socket_up => with_socket,
                true => without_socket,
            };
            let gone = play.left.unwrap_or(ended) + limit + SHOWN_AFTER;
            assert!(self.now <= gone, "at {} a ghost: {play:?}", self.now);
        } else if !play.known.is_unknown(self.now) {
            let state = series.label("state");
            assert_eq!(state, play.phase.word(), "at {}: {play:?}", self.now);
        }
    }

    /// `shown`: the plays in a series, each with the newest that shares it.
    fn check_presence(&mut self, shown: &HashMap<PlayId, PlayId>, live: &BTreeSet<PlayId>) {
        if self.well_for(60_000) && self.network.socket_up {
            for id in self.plex.listed.values().filter(|id| !live.contains(id)) {
                let play = &self.plays[*id];
                let limit = match play.known.confirmed {
                    // Nothing was notified: the next listing finds it.
                    None => UNNOTIFIED_SHOWN_AFTER,
                    Some(_) => NOTIFIED_SHOWN_AFTER,
                };
                let since = play.entered.max(play.known.confirmed).unwrap_or(self.now);
                if play.ended.is_none() {
                    let shown = since + limit + SHOWN_AFTER;
                    assert!(self.now <= shown, "at {} not shown: {play:?}", self.now);
                }
            }
        }
        let (now, plays) = (self.now, &self.plays);
        let kept = |play: &Play, slack| play.ended.is_none_or(|ended| now < ended + KEPT + slack);
        for id in &self.oracle.recent {
            let play = &plays[*id];
            let on_page = shown.contains_key(id);
            if play.known.countable.is_some() && kept(play, 0) {
                // In a long outage it is over for the exporter until it comes back.
                let silent = now.saturating_sub(play.known.confirmed.unwrap_or(0));
                assert!(
                    on_page || silent > LONGEST_GAP + KEPT,
                    "at {now} missing: {play:?}"
                );
            }
            if let Some(newest) = shown.get(id) {
                let late = self.end_slack(*newest, &plays[*newest]);
                assert!(
                    kept(&plays[*newest], late),
                    "at {now} still shown: {play:?}"
                );
            }
        }
        let last = |id: &PlayId| &plays[*shown.get(id).unwrap_or(id)];
        self.oracle.recent.retain(|id| kept(last(id), 120_000));
        self.oracle
            .uncounted
            .retain(|id| kept(&plays[*id], 120_000));
    }

    fn check_totals(&mut self, page: &str) {
        let mut libraries: BTreeMap<String, u64> = BTreeMap::new();
        let mut users: BTreeMap<String, u64> = BTreeMap::new();
        for line in page.lines() {
            if let Some(series) = Series::parse(line, "plex_play_starts_total") {
                if series.value > 0.0 {
                    libraries.insert(series.label("library_id").to_owned(), series.value as u64);
                }
            } else if let Some(series) = Series::parse(line, "plex_user_play_starts_total") {
                if series.value > 0.0 {
                    users.insert(series.label("user").to_owned(), series.value as u64);
                }
            } else if let Some(series) = Series::parse(line, "plex_transmit_bytes_total") {
                assert_eq!(series.value as u64, self.plex.bytes_told, "bytes sent");
            }
        }
        let countable = |id: &PlayId| self.plays[*id].known.countable.is_some();
        let newly: Vec<PlayId> = self
            .oracle
            .uncounted
            .iter()
            .copied()
            .filter(countable)
            .collect();
        for id in newly {
            let play = &self.plays[id];
            let library = play
                .item
                .library()
                .map_or("0".to_owned(), |number| number.to_string());
            let user = format!("user {}", self.clients[play.client].user);
            self.oracle.uncounted.remove(&id);
            *self.oracle.starts.entry(library).or_insert(0) += 1;
            *self.oracle.user_starts.entry(user).or_insert(0) += 1;
            self.figures.plays += 1;
        }
        assert_eq!(libraries, self.oracle.starts, "starts at {}", self.now);
        assert_eq!(
            users, self.oracle.user_starts,
            "starts by user at {}",
            self.now
        );
    }
}
