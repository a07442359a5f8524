//! The viewers: who they are, and what they do next.

use crate::{
    dice::Dice,
    plays::{Item, Kind, Millis, Phase, PlayId},
    world::{Step, World},
};

/// A viewer with one player.
#[derive(Debug)]
pub struct Client {
    pub number: usize,
    pub user: u64,
    pub product: &'static str,
    pub location: &'static str,
    /// Milliseconds between its reports.
    pub cadence: Millis,
    /// It never sends a notification (DLNA).
    pub silent: bool,
    /// Its `Session.id` is its own, and not the playback's (Apple TV).
    pub constant_id: bool,
    pub playing: Option<PlayId>,
    /// Counts what it decided, so that outdated decisions do nothing.
    pub mind: u64,
    /// Items it still wants to play in a row, of one kind.
    pub evening: Option<(Kind, u64)>,
}

impl Client {
    pub fn new(number: usize) -> Self {
        Self {
            number,
            // Some users have several players.
            user: 1 + (number as u64) % 37,
            product: [
                "Plex Web",
                "Plex for Android (TV)",
                "Plexamp",
                "Plex for Apple TV",
            ][number % 4],
            location: ["lan", "wan", "lan", "cellular"][number % 4],
            cadence: if number % 4 == 3 { 20_000 } else { 10_000 },
            silent: number % 17 == 16,
            constant_id: number.is_multiple_of(5),
            playing: None,
            mind: 0,
            evening: None,
        }
    }

    pub fn device(&self) -> String {
        format!("Device {}", self.number)
    }
}

/// How the next item under one key is announced.
const LATE_STOP: u64 = 0;
const NO_STOP: u64 = 1;

impl World {
    /// What the client decided to do is due.
    pub fn client_acts(&mut self, number: usize) {
        match self.clients[number].playing {
            None => self.sit_down(number),
            Some(id) if self.plays[id].began.is_none() => self.first_picture(number, id),
            Some(id) => self.viewer_acts(number, id),
        }
    }

    pub fn decide(&mut self, number: usize, pause: Millis) {
        self.clients[number].mind += 1;
        let mind = self.clients[number].mind;
        self.later(pause, Step::Client { number, mind });
    }

    fn sit_down(&mut self, number: usize) {
        if !self.plex_serves() {
            return self.decide(number, 20_000);
        }
        let kind = match self.dice.below(10) {
            0..=3 => Kind::Film,
            4..=6 => Kind::Episode,
            7..=8 => Kind::Track,
            _ => Kind::Live,
        };
        let items = match kind {
            Kind::Film => 1,
            Kind::Live => 1 + self.dice.below(3),
            Kind::Episode => 1 + self.dice.below(6),
            Kind::Track => 5 + self.dice.below(60),
        };
        self.clients[number].evening = Some((kind, items - 1));
        let item = self.new_item(kind);
        let key = self.plex.take_key();
        self.begin(number, item, key, 0);
    }

    pub fn new_item(&mut self, kind: Kind) -> Item {
        self.next_item += 1;
        let length = match kind {
            Kind::Film => self.dice.between(70, 150) * 60_000,
            Kind::Live => self.dice.between(10, 60) * 60_000,
            Kind::Episode => self.dice.between(15, 60) * 60_000,
            Kind::Track => self.dice.spread(9_000, 400_000),
        };
        Item {
            kind,
            number: self.next_item,
            length,
        }
    }

    /// A session appears under `key`: it buffers for a moment, and then plays.
    pub fn begin(&mut self, number: usize, item: Item, key: u64, offset: Millis) -> PlayId {
        let id = self.add_play(number, item, key);
        self.plays[id].seek(offset, self.now);
        if self.dice.one_in(4) {
            let transcode = self.new_transcode();
            self.plays[id].transcode = Some(transcode);
        }
        self.notify(id, "buffering", false);
        // Plex lists it before or after its first notification.
        let lag = match self.dice.below(30) {
            0 => self.dice.below(9_000),
            1..=10 => self.dice.below(1_500),
            _ => 0,
        };
        self.later(lag, Step::List { id });
        let wait = self.dice.between(50, 2_500);
        self.decide(number, wait);
        self.later(self.clients[number].cadence, Step::Report { id });
        id
    }

    fn first_picture(&mut self, number: usize, id: PlayId) {
        self.change(id, Phase::Playing, None);
        self.plan(number, id);
    }

    /// Until the next thing happens: at the latest, the item is over.
    pub fn plan(&mut self, number: usize, id: PlayId) {
        let play = &self.plays[id];
        let left = play
            .item
            .length
            .saturating_sub(play.offset(self.now))
            .max(200);
        let busy = match play.item.kind {
            Kind::Track => 600_000,
            _ => 900_000,
        };
        let pause = self.dice.spread(2_000, busy).min(left);
        self.decide(number, pause);
    }

    fn viewer_acts(&mut self, number: usize, id: PlayId) {
        let play = &self.plays[id];
        if play.phase == Phase::Paused {
            // Now and then, nobody comes back.
            if self.dice.one_in(12) {
                return self.leave(number, id);
            }
            self.change(id, Phase::Playing, None);
            return self.plan(number, id);
        }
        if play.phase == Phase::Buffering {
            self.change(id, Phase::Playing, None);
            return self.plan(number, id);
        }
        if play.offset(self.now) + 200 >= play.item.length {
            return self.next_item(number, id);
        }
        match self.dice.below(100) {
            0..=29 => {
                self.change(id, Phase::Paused, None);
                let pause = self.dice.spread(1_000, 1_200_000);
                self.decide(number, pause);
            }
            30..=54 => self.seek(number, id),
            55..=62 => {
                self.change(id, Phase::Buffering, None);
                let wait = self.dice.spread(200, 20_000);
                self.decide(number, wait);
            }
            63..=72 => {
                self.change_quality(id);
                self.plan(number, id);
            }
            73..=76 => self.leave(number, id),
            77 => self.vanish(number, id),
            _ => self.plan(number, id),
        }
    }

    fn seek(&mut self, number: usize, id: PlayId) {
        let length = self.plays[id].item.length;
        let offset = self.dice.below(length.max(2) - 1);
        if let Some(transcode) = self.plays[id].transcode {
            // The same key ends and starts again within a second.
            self.transcode_frame("end", transcode, id);
            self.transcode_frame("start", transcode, id);
        }
        self.change(id, Phase::Buffering, Some(offset));
        let wait = self.dice.between(100, 2_000);
        self.decide(number, wait);
    }

    fn change_quality(&mut self, id: PlayId) {
        let now = self.now;
        if let Some(transcode) = self.plays[id].transcode {
            self.plays[id].set_transcode(None, now);
            self.transcode_frame("end", transcode, id);
        } else {
            let transcode = self.new_transcode();
            self.plays[id].set_transcode(Some(transcode), now);
            self.transcode_frame("start", transcode, id);
        }
        let word = self.plays[id].phase.word();
        self.notify(id, word, false);
    }

    /// The viewer stops, and Plex may list the session for some seconds more.
    fn leave(&mut self, number: usize, id: PlayId) {
        self.end(id);
        self.say_stopped(id);
        let linger = if self.dice.one_in(6) {
            self.dice.between(500, 6_000)
        } else {
            0
        };
        self.unlist(id, linger);
        self.get_up(number);
    }

    /// The client crashes: nobody says so, and Plex notices after a while.
    fn vanish(&mut self, number: usize, id: PlayId) {
        self.end(id);
        self.vanished(id);
        self.unlist(id, 0);
        self.get_up(number);
    }

    pub fn get_up(&mut self, number: usize) {
        self.clients[number].playing = None;
        self.clients[number].evening = None;
        let pause = self.dice.spread(600_000, 172_800_000);
        self.decide(number, pause);
    }

    /// The item is over: the next one, if there is one, under the same key or a new one.
    fn next_item(&mut self, number: usize, id: PlayId) {
        let Some((kind, left)) = self.clients[number].evening.filter(|(_, left)| *left > 0) else {
            return self.leave(number, id);
        };
        self.clients[number].evening = Some((kind, left - 1));
        let item = self.new_item(kind);
        self.end(id);
        let same_key = kind == Kind::Track || (kind == Kind::Episode && self.dice.one_in(2));
        if !same_key {
            self.say_stopped(id);
            self.unlist(id, 0);
            let key = self.plex.take_key();
            self.begin(number, item, key, 0);
            return;
        }
        let order = self.dice.below(4);
        if order > NO_STOP {
            self.say_stopped(id);
        }
        let key = self.plays[id].key;
        let next = self.add_play(number, item, key);
        self.replaced(id, next);
        self.change(next, Phase::Playing, None);
        if order == LATE_STOP {
            let late = self.dice.between(20, 900);
            self.later(late, Step::LateStop { id });
        }
        // The listing may show the old one a bit longer.
        let lag = if self.dice.one_in(3) {
            self.dice.below(1_200)
        } else {
            0
        };
        self.later(lag, Step::List { id: next });
        self.later(self.clients[number].cadence, Step::Report { id: next });
        self.plan(number, next);
    }
}

/// A party: everybody is there.
pub fn party(clients: &[Client], dice: &mut Dice) -> Vec<(usize, Millis)> {
    let idle = clients.iter().filter(|client| client.playing.is_none());
    idle.map(|client| (client.number, dice.below(120_000)))
        .collect()
}
