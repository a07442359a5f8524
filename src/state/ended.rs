//! Plays that have ended: their series stay for a minute, and a play that an outage ended may
//! resume within an hour.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{
    play::{End, EndReason, Play},
    series::KEEP_ENDED,
};

/// A play that an outage ended is kept for this long.
pub const KEEP_ORPHANED: Duration = Duration::from_hours(1);
/// Candidates that are compared for one listed session, newest first.
const MAX_CANDIDATES: usize = 8;

/// The ended plays, in the order of their ends.
#[derive(Debug, Default)]
pub struct EndedPlays {
    plays: BTreeMap<u64, Box<Play>>,
    next: u64,
    by_key: HashMap<Box<str>, Vec<u64>>,
    by_info: HashMap<Box<str>, Vec<u64>>,
}

fn expiry(end: &End) -> Instant {
    let series = end.listed.map_or(end.at, |listed| end.at.max(listed)) + KEEP_ENDED;
    if end.reason == EndReason::Orphaned {
        series.max(end.at + KEEP_ORPHANED)
    } else {
        series
    }
}

/// When the play is removed, or stops waiting for its library.
fn deadline(play: &Play) -> Option<Instant> {
    let expiry = play.end.as_ref().map(expiry);
    expiry.into_iter().chain(play.library_deadline()).min()
}

impl EndedPlays {
    /// All ended plays.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Play> {
        self.plays.values().map(|play| &**play)
    }

    /// All ended plays, mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Play> {
        self.plays.values_mut().map(|play| &mut **play)
    }

    /// When the play with this id expires, or stops waiting for its library.
    #[must_use]
    pub fn deadline(&self, id: u64) -> Option<Instant> {
        deadline(self.plays.get(&id)?)
    }

    /// Adds `play` and returns its id.
    pub fn insert(&mut self, play: Box<Play>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.by_key
            .entry(play.session.clone())
            .or_default()
            .push(id);
        if !play.identity.info().is_empty() {
            let info = play.identity.info().into();
            self.by_info.entry(info).or_default().push(id);
        }
        self.plays.insert(id, play);
        id
    }

    /// Removes and returns the oldest play.
    pub fn remove_oldest(&mut self) -> Option<Box<Play>> {
        let oldest = *self.plays.keys().next()?;
        self.remove(oldest)
    }

    /// The newest under `key`, or else with the `Session.id` `info`, for which `is_same` holds.
    pub fn find(
        &self,
        key: &str,
        info: &str,
        is_same: impl Fn(&Play) -> bool,
    ) -> Option<(u64, &Play)> {
        let ids = |index: Option<&Vec<u64>>| {
            let newest: Vec<u64> = index
                .into_iter()
                .flat_map(|ids| ids.iter().rev().take(MAX_CANDIDATES))
                .copied()
                .collect();
            newest
        };
        let mut candidates = ids(self.by_key.get(key));
        candidates.extend(ids(self.by_info.get(info)));
        candidates
            .into_iter()
            .filter_map(|id| Some((id, &**self.plays.get(&id)?)))
            .find(|(_, play)| is_same(play))
    }

    /// The play with this id, mutably.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Play> {
        self.plays.get_mut(&id).map(|play| &mut **play)
    }

    /// Removes and returns the play with this id.
    pub fn remove(&mut self, id: u64) -> Option<Box<Play>> {
        let play = self.plays.remove(&id)?;
        unindex(&mut self.by_key, &play.session, id);
        unindex(&mut self.by_info, play.identity.info(), id);
        Some(play)
    }

    /// Removes and returns the plays that have expired.
    pub fn expire(&mut self, now: Instant) -> Vec<Play> {
        let expired: Vec<u64> = self
            .plays
            .iter()
            .filter(|(_, play)| play.end.is_none_or(|end| now >= expiry(&end)))
            .map(|(id, _)| *id)
            .collect();
        expired
            .into_iter()
            .filter_map(|id| self.remove(id).map(|play| *play))
            .collect()
    }

    /// When [`Self::expire`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.iter().filter_map(deadline).min()
    }
}

fn unindex(index: &mut HashMap<Box<str>, Vec<u64>>, key: &str, id: u64) {
    if let Some(ids) = index.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HiddenLabels;

    fn play(key: &str, info: &str, reason: EndReason, at: Instant) -> Box<Play> {
        let session = format!(r#"{{"Session":{{"id":"{info}"}}}}"#);
        let session = serde_json::from_str(&session).unwrap();
        let mut play = Play::new(key, &session, at, HiddenLabels::default());
        play.mark_ended(reason, at);
        Box::new(play)
    }

    fn keys(plays: &[Play]) -> Vec<&str> {
        plays.iter().map(|play| &*play.session).collect()
    }

    #[test]
    fn a_play_is_found_by_its_key_or_its_session_id_the_newest_first() {
        let now = Instant::now();
        let mut ended = EndedPlays::default();
        let first = ended.insert(play("1", "a", EndReason::Stopped, now));
        let second = ended.insert(play("1", "b", EndReason::Stopped, now));
        let third = ended.insert(play("2", "", EndReason::Stopped, now));
        let find = |ended: &EndedPlays, key: &str, info: &str| {
            ended.find(key, info, |_| true).map(|(id, _)| id)
        };
        assert_eq!(find(&ended, "1", ""), Some(second));
        assert_eq!(find(&ended, "7", "a"), Some(first));
        assert_eq!(find(&ended, "2", "a"), Some(third), "the key comes first");
        assert_eq!(
            find(&ended, "7", ""),
            None,
            "no Session.id is none in common"
        );
        assert!(ended.remove(second).is_some() && ended.remove(second).is_none());
        assert_eq!(find(&ended, "1", "b"), Some(first));
        let is_first = |play: &Play| play.identity.info() == "a";
        assert_eq!(ended.find("1", "", is_first).unwrap().0, first);
        ended.remove(first);
        ended.remove(third);
        assert!(ended.by_key.is_empty() && ended.by_info.is_empty());
    }

    #[test]
    fn the_oldest_is_removed_first() {
        let now = Instant::now();
        let mut ended = EndedPlays::default();
        for key in ["1", "2", "3"] {
            ended.insert(play(key, "", EndReason::Stopped, now));
        }
        for key in ["1", "2", "3"] {
            assert_eq!(*ended.remove_oldest().unwrap().session, *key);
        }
        assert!(ended.remove_oldest().is_none() && ended.by_key.is_empty());
    }

    #[test]
    fn a_play_is_kept_for_a_minute_and_an_orphaned_one_for_an_hour() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut ended = EndedPlays::default();
        ended.insert(play("1", "", EndReason::Stopped, start));
        let listed = ended.insert(play("2", "", EndReason::Stopped, start));
        ended.insert(play("3", "", EndReason::Orphaned, start));
        let end = ended.get_mut(listed).unwrap().end.as_mut().unwrap();
        end.listed = Some(start + 20 * second);
        for (seconds, gone) in [
            (59, ""),
            (60, "1"),
            (79, ""),
            (80, "2"),
            (3_599, ""),
            (3_600, "3"),
        ] {
            let now = start + seconds * second;
            if gone.is_empty() {
                assert!(ended.expire(now).is_empty(), "{seconds} s");
            } else {
                assert_eq!(ended.next_expiry(), Some(now));
                assert_eq!(keys(&ended.expire(now)), [gone]);
            }
        }
        assert_eq!(ended.next_expiry(), None);
    }
}
