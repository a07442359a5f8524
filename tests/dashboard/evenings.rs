//! Evenings of several simulated Plex servers, each with an exporter: what the dashboard is drawn
//! from. Prints `name address` of every exporter, then `ready`; a line of standard input that names
//! a server takes it away. Ends with standard input.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed expectation ends it"
)]

#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::HashSet,
    io::BufRead,
    sync::{
        Arc, Mutex,
        mpsc::{self, Sender},
    },
    time::Duration,
};

use serde_json::json;
use support::{
    evening::Evening,
    exporter::{Exporter, Setup},
    fake_plex::FakePlex,
    payloads::{self, with},
};

type Prepare = fn(&FakePlex);

/// A server's name, and what is special about it.
const SERVERS: &[(&str, Prepare)] = &[
    ("Attic", |_| ()),
    ("Cabin", |plex| {
        let mut world = plex.world();
        for library in &mut world.libraries {
            let title = library["title"].as_str().unwrap().to_owned();
            library["title"] = json!(format!("{title} of the cabin"));
        }
        world.server["version"] = json!("1.42.2.10156-f737b826c");
    }),
    ("Shed", |plex| {
        plex.world().server["myPlexSubscription"] = json!(false);
    }),
    ("Down", |_| ()),
    ("Crowd", crowd),
];

/// Five more people: twelve streams at the height of the evening.
fn crowd(plex: &FakePlex) {
    let names = ["grace", "heidi", "ivan", "judy", "mallory"];
    let mut world = plex.world();
    for (key, name) in (900..).zip(names) {
        let title = "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb";
        let film = with(
            payloads::movie(key, 101, title),
            json!({"User": {"id": key.to_string(), "title": name}, "Player": {"title": format!("{name}'s television")}}),
        );
        let film = if key % 2 == 0 {
            film
        } else {
            payloads::transcoded(film, name)
        };
        world.play(film);
    }
}

/// Plays the evenings of one server until it is taken away; its exporter starts when all that it can see is prepared,
/// so that nothing has two names.
fn play(name: &str, prepare: Prepare, gone: &Mutex<HashSet<String>>, started: &Sender<Exporter>) {
    let mut plex = FakePlex::default();
    {
        let mut world = plex.world();
        world.server["friendlyName"] = json!(name);
        world.server["machineIdentifier"] = json!(format!("id-of-{name}"));
    }
    let mut evening = Evening::new(&plex);
    prepare(&plex);
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    started.send(exporter).unwrap();
    while !gone.lock().unwrap().contains(name) {
        evening.second();
        std::thread::sleep(Duration::from_secs(1));
    }
    plex.stop();
}

fn main() {
    let gone: Arc<Mutex<HashSet<String>>> = Arc::default();
    let mut exporters = Vec::new();
    for (name, prepare) in SERVERS {
        let (started, exporter) = mpsc::channel();
        let gone = Arc::clone(&gone);
        std::thread::spawn(move || play(name, *prepare, &gone, &started));
        let exporter = exporter.recv().expect("it starts");
        println!("{name}\t{}", exporter.address);
        exporters.push(exporter);
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        gone.lock().unwrap().insert(line.unwrap());
    }
    drop(exporters);
}
