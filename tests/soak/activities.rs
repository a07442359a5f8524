//! Plex's background activities: each is announced, reports progress, and ends.

use std::collections::BTreeMap;

use crate::{
    network::SETTLED,
    plays::Millis,
    series::Series,
    wire,
    world::{Step, World},
};

const KINDS: [&str; 3] = [
    "library.update.section",
    "media.generate.credits",
    "provider.subscriptions.process",
];
/// A busy server: an analysis of every file.
const MOST: usize = 40;

/// The running activities: their types by number.
#[derive(Default)]
pub struct Activities {
    pub running: BTreeMap<u64, &'static str>,
    next: u64,
    changed: Millis,
}

impl World {
    /// An activity begins, or several at once.
    pub fn activities_begin(&mut self) {
        let pause = self.dice.spread(60_000, 7_200_000);
        self.later(pause, Step::ActivitiesBegin);
        if self.closing || !self.plex_serves() {
            return;
        }
        let several = if self.dice.one_in(8) { 20 } else { 1 };
        for _ in 0..several {
            if self.plex.activities.running.len() < MOST {
                let number = self.plex.activities.next;
                self.plex.activities.next += 1;
                let kind = KINDS[self.dice.below(3) as usize];
                self.plex.activities.running.insert(number, kind);
                let left = self.dice.spread(1, 300);
                self.activity(number, "started", left);
            }
        }
    }

    /// An activity reports progress `left` times, and then ends. A restart of Plex ends it, too.
    pub fn activity_goes_on(&mut self, number: u64, left: u64) {
        if self.plex.activities.running.contains_key(&number) {
            let event = if left == 0 { "ended" } else { "updated" };
            self.activity(number, event, left);
        }
    }

    fn activity(&mut self, number: u64, event: &str, left: u64) {
        let activities = &mut self.plex.activities;
        activities.changed = self.now;
        let kind = activities.running[&number];
        if event == "ended" {
            activities.running.remove(&number);
        } else {
            let pause = self.dice.between(200, 20_000);
            let step = Step::Activity {
                number,
                left: left - 1,
            };
            self.later(pause, step);
        }
        self.send_frame(wire::activity(event, number, kind), None);
    }

    /// The page shows what runs, once the notification of the last change has arrived.
    pub fn check_activities(&self, page: &str) {
        let activities = &self.plex.activities;
        if !self.well_for(SETTLED) || !self.network.socket_up || self.now < activities.changed + 50
        {
            return;
        }
        let mut expected = BTreeMap::new();
        for kind in activities.running.values() {
            *expected.entry(*kind).or_insert(0) += 1;
        }
        let shown = page
            .lines()
            .filter_map(|line| Series::parse(line, "plex_activities"));
        let shown: BTreeMap<&str, u64> = shown
            .map(|series| (series.label("type"), series.value as u64))
            .collect();
        assert_eq!(shown, expected, "activities at {}", self.now);
    }
}
