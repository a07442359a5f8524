//! Counters that outlive sessions and their series, with few label sets.
//!
//! Invariant: no table has more than [`MAX_LABEL_SETS`] label sets; beyond that, new ones are
//! counted under `other`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    duration_table::{DurationTable, MAX_LABEL_SETS, OTHER},
    play::Play,
    sanitize::normalize_token,
};
use crate::{metrics::catalogue, plex::wire::TranscodeSession};

/// The value of hidden labels.
pub const HIDDEN: &str = "hidden";

/// How often and how long sessions waited for data.
#[derive(Debug, Default, Clone, Copy)]
pub struct Buffering {
    /// Changes from playing to buffering.
    pub interruptions: u64,
    /// Time spent buffering.
    pub time: Duration,
}

/// All lasting counters.
#[derive(Debug)]
pub struct Lasting {
    /// `plex_user_play_seconds_total`
    pub user_play: DurationTable,
    /// `plex_transcode_seconds_total`
    pub transcode: DurationTable,
    /// `plex_play_buffering_…`, by `location` and `stream_type`.
    pub buffering: BTreeMap<(Box<str>, Box<str>), Buffering>,
    /// `plex_user_play_starts_total`
    pub user_starts: BTreeMap<Box<str>, u64>,
    /// `plex_user_transmit_bytes_total`, by user and whether within the server's network.
    pub user_bytes: BTreeMap<(Box<str>, bool), u64>,
    /// Label sets beyond the limit in the last three.
    dropped: u64,
}

impl Default for Lasting {
    fn default() -> Self {
        let mut buffering = BTreeMap::new();
        for location in ["lan", "wan"] {
            for stream_type in ["direct play", "copy", "transcode"] {
                buffering.insert((location.into(), stream_type.into()), Buffering::default());
            }
        }
        Self {
            user_play: DurationTable::default(),
            transcode: DurationTable::default(),
            buffering,
            user_starts: BTreeMap::new(),
            user_bytes: BTreeMap::new(),
            dropped: 0,
        }
    }
}

impl Lasting {
    /// Label sets beyond the limit.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped + self.user_play.dropped + self.transcode.dropped
    }

    /// Adds a counter at 0 for a user.
    pub fn add_user(&mut self, user: &str) {
        if self.user_starts.len() < MAX_LABEL_SETS - 1 {
            self.user_starts.entry(user.into()).or_default();
        }
    }

    /// Counts the start of a play.
    pub fn count_start(&mut self, user: &str) {
        let full = self.user_starts.len() >= MAX_LABEL_SETS - 1;
        let user = if full && !self.user_starts.contains_key(user) {
            self.dropped += 1;
            OTHER
        } else {
            user
        };
        *self.user_starts.entry(user.into()).or_default() += 1;
    }

    /// Counts bytes sent to a user.
    pub fn add_bytes(&mut self, user: &str, lan: bool, bytes: u64) {
        let key = (Box::from(user), lan);
        let full = self.user_bytes.len() >= MAX_LABEL_SETS - 2;
        let key = if full && !self.user_bytes.contains_key(&key) {
            self.dropped += 1;
            (OTHER.into(), lan)
        } else {
            key
        };
        let total = self.user_bytes.entry(key).or_default();
        *total = total.saturating_add(bytes);
    }

    /// Counts time that a session waited for data, and whether that interrupted playback.
    pub fn add_buffering(&mut self, play: &Play, time: Duration, interrupted: bool) {
        if time.is_zero() && !interrupted {
            return;
        }
        let key = (
            play.labels.location.clone(),
            play.labels.stream_type.clone(),
        );
        let full = self.buffering.len() >= MAX_LABEL_SETS - 1;
        let key = if full && !self.buffering.contains_key(&key) {
            self.dropped += 1;
            (OTHER.into(), OTHER.into())
        } else {
            key
        };
        let buffering = self.buffering.entry(key).or_default();
        buffering.time += time;
        buffering.interruptions += u64::from(interrupted);
    }

    /// Counts `time` played by a play whose library is known.
    pub fn add_user_play(&mut self, play: &mut Play, time: Duration) {
        let row = if let Some(row) = play.rows.user {
            row
        } else {
            let [library, library_id, _] = play.library_labels.all();
            let labels = &play.labels;
            let values = [
                &*labels.user,
                library,
                library_id,
                &labels.media_type,
                &labels.stream_type,
                &labels.location,
            ];
            self.user_play
                .row(catalogue::USER_PLAY_SECONDS.labels, values)
        };
        play.rows.user = Some(row);
        self.user_play.add(row, time);
    }

    /// Counts `time` played, if Plex transcodes for the play.
    pub fn add_transcode(&mut self, play: &mut Play, time: Duration) {
        if time.is_zero() || &*play.labels.stream_type != "transcode" {
            return;
        }
        let row = if let Some(row) = play.rows.transcode {
            row
        } else {
            let no_transcode = TranscodeSession::default();
            let transcode = play.decisions().unwrap_or(&no_transcode);
            let [decoding, encoding, _] = super::classify::hardware(transcode);
            let decision = normalize_token(transcode.video_decision.or_empty());
            // The file's own codec, where the transcode does not name it.
            let file = play.source.as_deref().map_or("", |file| &file.video_codec);
            let source_codec = transcode.source_video_codec.get().unwrap_or(file);
            let values = [
                if decision.is_empty() {
                    "none"
                } else {
                    &*decision
                },
                &decoding,
                &encoding,
                &normalize_token(source_codec),
                &normalize_token(transcode.video_codec.or_empty()),
            ];
            self.transcode
                .row(catalogue::TRANSCODE_SECONDS.labels, values)
        };
        play.rows.transcode = Some(row);
        self.transcode.add(row, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_beyond_the_limit_share_a_counter() {
        let mut lasting = Lasting::default();
        for user in 0..2_500 {
            lasting.count_start(&format!("u{user}"));
            lasting.add_bytes(&format!("u{user}"), user % 2 == 0, 1);
        }
        assert_eq!(lasting.user_starts.len(), MAX_LABEL_SETS);
        assert!(lasting.user_bytes.len() <= MAX_LABEL_SETS);
        assert_eq!(lasting.user_starts.values().sum::<u64>(), 2_500);
        assert_eq!(lasting.user_bytes.values().sum::<u64>(), 2_500);
        // 2,500 users, of which 1,999 and 1,998 fit.
        assert_eq!(lasting.dropped(), 501 + 502);
        for row in 0..2_100 {
            let labels = [&*format!("u{row}"), "d"];
            lasting.user_play.row(&["user", "library"], labels);
            lasting.transcode.row(&["video_decision", "hw"], labels);
        }
        assert_eq!(lasting.dropped(), 501 + 502 + 2 * 150);
    }

    #[test]
    fn buffering_beyond_the_limit_shares_a_counter() {
        let mut lasting = Lasting::default();
        let session = serde_json::from_str(r#"{"Session":{"location":"lan"}}"#).unwrap();
        let now = std::time::Instant::now();
        let mut play = Play::new("1", &session, now, crate::config::HiddenLabels::default());
        let documented = lasting.buffering.len();
        for number in 0..2_100 {
            play.labels.location = format!("place{number}").into();
            lasting.add_buffering(&play, Duration::from_secs(1), number % 2 == 0);
        }
        assert_eq!(lasting.buffering.len(), MAX_LABEL_SETS);
        let own = (MAX_LABEL_SETS - 1 - documented) as u64;
        assert_eq!(lasting.dropped(), 2_100 - own);
        let other = lasting.buffering[&(OTHER.into(), OTHER.into())];
        assert_eq!(other.time.as_secs(), 2_100 - own);
        let interruptions = lasting.buffering.values().map(|row| row.interruptions);
        assert_eq!(interruptions.sum::<u64>(), 1_050);
        play.labels.location = "lan".into();
        lasting.add_buffering(&play, Duration::ZERO, false);
        assert_eq!(lasting.dropped(), 2_100 - own, "nothing to count");
    }

    #[test]
    fn a_user_counter_at_0_is_added_only_below_the_limit() {
        let mut lasting = Lasting::default();
        for user in 0..MAX_LABEL_SETS {
            lasting.add_user(&format!("u{user}"));
        }
        assert_eq!(lasting.user_starts.len(), MAX_LABEL_SETS - 1);
        lasting.count_start("new");
        assert_eq!(lasting.user_starts[OTHER], 1);
    }
}
