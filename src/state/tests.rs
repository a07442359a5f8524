use std::time::Duration;

use serde_json::json;

use super::{
    driver::{Driver, Reply, session},
    *,
};
use crate::plex::request::Endpoint;

/// The pauses between requests, to the second.
fn pauses(moments: &[f64]) -> Vec<u64> {
    moments
        .windows(2)
        .map(|pair| Duration::from_secs_f64(pair[1] - pair[0] + 0.5).as_secs())
        .collect()
}

fn lines<'a>(driver: &'a Driver, text: &str) -> Vec<&'a String> {
    driver
        .log
        .iter()
        .filter(|line| line.contains(text))
        .collect()
}

#[test]
fn everything_is_requested_at_the_start_and_statistics_once_plex_pass_is_known() {
    let mut driver = Driver::start();
    for path in [
        "/",
        "/status/sessions",
        "/media/providers",
        "/activities",
        "/accounts",
        "/updater/status",
    ] {
        assert_eq!(driver.requests(path, 1.0).len(), 1, "{path}");
    }
    assert!(driver.requests("/statistics/resources", 1.0).is_empty());
    driver.run(1.0);
    assert_eq!(driver.requests("/statistics/resources", 1.0).len(), 1);
    assert_eq!(driver.requests("/statistics/bandwidth", 1.0).len(), 1);
    assert!(driver.state.up);
    let server = driver.state.server.as_ref().unwrap();
    assert_eq!((&*server.name, &*server.id), ("Attic", "m1"));
}

#[test]
fn an_idle_server_is_polled_by_the_timetable() {
    let mut driver = Driver::connected();
    driver.run(3_600.0);
    for (path, interval) in [
        ("/", 15),
        ("/status/sessions", 60),
        ("/media/providers", 60),
        ("/activities", 600),
        ("/statistics/resources", 30),
        ("/statistics/bandwidth", 30),
        ("/library/sections/1/all", 900),
    ] {
        let pauses = pauses(&driver.requests(path, 3_500.0));
        assert!(!pauses.is_empty(), "{path}");
        assert!(
            pauses.iter().all(|pause| *pause == interval),
            "{path}: {pauses:?}"
        );
    }
    assert_eq!(driver.requests("/accounts", 3_600.0).len(), 1);
    assert_eq!(driver.requests("/updater/status", 3_600.0).len(), 1);
}

#[test]
fn live_sessions_are_polled_more_often_and_most_often_without_a_socket() {
    let mut driver = Driver::connected();
    driver.list(&[session("1", "101", 0)]);
    driver.playing("1", "101", "playing");
    driver.run(2.0);
    assert_eq!(driver.state.sessions.live().len(), 1);
    // Paused, so that it does not count as silent.
    let mut paused = session("1", "101", 0);
    paused["Player"]["state"] = json!("paused");
    driver.list(&[paused]);
    driver.playing("1", "101", "paused");
    driver.run(120.0);
    assert_eq!(
        pauses(&driver.requests("/status/sessions", 100.0)),
        [30, 30]
    );
    assert!(
        pauses(&driver.requests("/statistics/bandwidth", 100.0))
            .iter()
            .all(|p| *p == 15)
    );
    driver.socket_down();
    driver.run(100.0);
    assert!(
        pauses(&driver.requests("/status/sessions", 90.0))
            .iter()
            .all(|p| *p == 8)
    );
    assert!(pauses(&driver.requests("/", 90.0)).iter().all(|p| *p == 40));
    driver.list(&[]);
    driver.run(100.0);
    assert!(
        pauses(&driver.requests("/status/sessions", 80.0))
            .iter()
            .all(|p| *p == 10)
    );
}

#[test]
fn a_socket_that_connects_or_drops_causes_a_listing_and_is_counted() {
    let mut driver = Driver::connected();
    driver.run(60.0);
    assert!(driver.state.socket_up && driver.state.exporter.reconnects == 0);
    driver.socket_down();
    assert_eq!(driver.requests("/status/sessions", 0.5), [0.0]);
    assert_eq!(driver.requests("/", 0.5), [0.0]);
    assert!(!driver.state.socket_up);
    driver.run(60.0);
    driver.apply(Event::SocketUp);
    assert_eq!(driver.requests("/status/sessions", 0.5), [0.0]);
    assert_eq!(driver.requests("/activities", 0.5), [0.0]);
    assert!(driver.state.socket_up && driver.state.exporter.reconnects == 1);
    assert_eq!(lines(&driver, "notifications: connected").len(), 2);
    let requests: BTreeMap<_, _> = driver.state.exporter.requests().collect();
    assert_eq!(requests[&Endpoint::Notifications], 2, "two connections");
}

#[test]
fn failed_attempts_at_the_socket_are_requests_and_errors() {
    let mut driver = Driver::start();
    for _ in 0..3 {
        driver.socket_down();
    }
    let requests: BTreeMap<_, _> = driver.state.exporter.requests().collect();
    assert_eq!(requests[&Endpoint::Notifications], 3);
    let errors: Vec<_> = driver.state.exporter.errors().collect();
    assert_eq!(errors, [(Endpoint::Notifications, "connect", 3)]);
}

#[test]
fn while_plex_is_down_only_the_server_and_its_sessions_are_polled() {
    let mut driver = Driver::connected();
    driver.set(
        "/activities",
        "Activity",
        json!([{"uuid": "a", "type": "library.update"}]),
    );
    driver.run(700.0);
    assert!(!driver.state.activities.is_idle());
    driver.replies.insert("/", Reply::Refused);
    driver.replies.insert("/status/sessions", Reply::Refused);
    driver.run(20.0);
    assert!(!driver.state.up && driver.state.activities.is_idle());
    driver.run(300.0);
    for path in ["/media/providers", "/activities", "/statistics/bandwidth"] {
        assert!(driver.requests(path, 290.0).is_empty(), "{path}");
    }
    assert!(
        pauses(&driver.requests("/", 200.0))
            .iter()
            .all(|pause| *pause == 10)
    );
    assert_eq!(lines(&driver, "WARN").len(), 1, "{:?}", driver.log);
    driver.set("/", "size", json!(1));
    let server = json!({"machineIdentifier": "m1", "friendlyName": "Attic", "version": "1",
        "platform": "Linux", "myPlexSubscription": true});
    driver.replies.insert("/", Reply::Container(server));
    driver.list(&[]);
    driver.run(12.0);
    assert!(driver.state.up);
    for path in [
        "/media/providers",
        "/activities",
        "/statistics/bandwidth",
        "/status/sessions",
    ] {
        assert!(!driver.requests(path, 12.0).is_empty(), "{path}");
    }
    assert_eq!(lines(&driver, "Plex: recovered").len(), 1);
}

#[test]
fn statistics_are_polled_as_often_as_with_a_socket_once_it_is_connected() {
    let mut driver = Driver::start();
    driver.run(1.0);
    driver.apply(Event::SocketUp);
    driver.run(100.0);
    for path in ["/statistics/resources", "/statistics/bandwidth"] {
        assert_eq!(
            pauses(&driver.requests(path, 101.0)),
            [31, 30, 30],
            "{path}"
        );
    }
}

#[test]
fn what_plex_refused_while_it_started_is_requested_once_it_has() {
    const ENDPOINTS: [&str; 5] = [
        "/activities",
        "/accounts",
        "/updater/status",
        "/statistics/resources",
        "/statistics/bandwidth",
    ];
    for status in [401, 403, 404, 503] {
        let mut driver = Driver::connected();
        driver.run(60.0);
        let mut before = std::mem::take(&mut driver.replies);
        for endpoint in before.keys() {
            driver.replies.insert(endpoint, Reply::Status(status));
        }
        // A user without a name, and the news of an update and of activities.
        driver.state.schedule.accounts.reschedule(driver.now());
        driver.state.schedule.updater.reschedule(driver.now());
        driver.state.schedule.activities.reschedule(driver.now());
        driver.run(40.0);
        assert!(!driver.state.up, "{status}");
        driver.replies.append(&mut before);
        driver.run(20.0);
        assert!(driver.state.up, "{status}");
        for path in ENDPOINTS {
            assert!(!driver.requests(path, 20.0).is_empty(), "{status}: {path}");
        }
    }
}

#[test]
fn a_refused_token_is_retried_every_15_seconds() {
    let mut driver = Driver::connected();
    for path in ["/", "/status/sessions"] {
        driver.replies.insert(path, Reply::Status(401));
    }
    driver.run(200.0);
    assert!(!driver.state.up);
    for path in ["/", "/status/sessions"] {
        let pauses = pauses(&driver.requests(path, 110.0));
        // After failures, retries slow down to this.
        assert!(
            pauses.iter().all(|pause| (10..=15).contains(pause)),
            "{path}: {pauses:?}"
        );
    }
    let errors: BTreeMap<_, _> = driver
        .state
        .exporter
        .errors()
        .map(|(endpoint, reason, count)| ((endpoint, reason), count))
        .collect();
    assert!(
        errors[&(Endpoint::Server, "unauthorized")] > 5,
        "{errors:?}"
    );
}

#[test]
fn statistics_wait_for_plex_pass_and_vanish_with_it() {
    let mut driver = Driver::start();
    driver.set("/", "myPlexSubscription", json!(false));
    driver.set(
        "/statistics/resources",
        "StatisticsResources",
        json!([{"at": 5, "hostCpuUtilization": 25, "processMemoryUtilization": 50}]),
    );
    driver.run(600.0);
    assert!(driver.requests("/statistics/resources", 600.0).len() <= 1);
    assert_eq!(driver.state.load.get(driver.now()), None);
    driver.set("/", "myPlexSubscription", json!(true));
    driver.run(30.0);
    let load = *driver.state.load.get(driver.now()).unwrap();
    assert_eq!(
        (load.host_cpu, load.process_memory),
        (Some(0.25), Some(0.5))
    );
    assert!(driver.state.sent_bytes(driver.now()).is_some());
    driver.set("/", "myPlexSubscription", json!(false));
    driver.run(20.0);
    assert_eq!(driver.state.load.get(driver.now()), None);
    assert_eq!(driver.state.sent_bytes(driver.now()), None);
    let changes = lines(&driver, "Plex Pass");
    assert_eq!(
        changes,
        [
            "INFO Plex: Media Server `Attic` 1 on Linux, Plex Pass: no",
            "INFO Plex Pass: active; host load and bytes sent are polled",
            "INFO Plex Pass: no longer active; host load and bytes sent are absent",
        ]
    );
}

#[test]
fn a_user_without_a_name_has_that_of_the_account() {
    let mut driver = Driver::connected();
    // Known to Plex since the accounts were read.
    let accounts = json!([{"id": 3001, "name": "carol"}]);
    driver.set("/accounts", "Account", accounts);
    for (key, account, name) in [
        ("1", "3001", "carol"),
        ("2", "3001", "carol"),
        ("3", "9", ""),
    ] {
        let mut session = session(key, "101", 0);
        session["User"] = json!({"id": account});
        driver.list(&[session]);
        driver.playing(key, "101", "playing");
        driver.run(3.0);
        let play = driver.state.sessions.live().next().unwrap();
        assert_eq!(&*play.labels.user, name);
    }
    driver.run(3_000.0);
    // At the start, and once for each account that was not in the list.
    assert_eq!(driver.requests("/accounts", 3_100.0).len(), 3);
    // The first start was counted before the account had a name.
    let starts = &driver.state.sessions.lasting.user_starts;
    assert_eq!((starts["carol"], starts[""]), (1, 2));
}

#[test]
fn bytes_are_counted_by_account_and_unknown_accounts_are_looked_up_once() {
    let mut driver = Driver::connected();
    let rows = json!([
        {"accountID": 1, "deviceID": 1, "at": 1_000, "lan": true, "bytes": 500},
        {"accountID": 7, "deviceID": 2, "at": 1_000, "lan": false, "bytes": 30},
    ]);
    driver.set("/accounts", "Account", json!([{"id": 1, "name": "alice"}]));
    driver.run(3_600.0);
    driver.set("/statistics/bandwidth", "StatisticsBandwidth", rows);
    driver.run(120.0);
    assert_eq!(driver.state.sent_bytes(driver.now()), Some((500, 30)));
    let bytes = &driver.state.sessions.lasting.user_bytes;
    let found: Vec<_> = bytes
        .iter()
        .map(|((user, lan), bytes)| (&**user, *lan, *bytes))
        .collect();
    assert_eq!(found, [("alice", true, 500), ("unknown", false, 30)]);
    assert_eq!(
        driver.requests("/accounts", 119.0).len(),
        1,
        "for account 7"
    );
    assert_eq!(
        driver.state.sessions.lasting.user_starts.get("alice"),
        Some(&0)
    );
}

#[test]
fn another_server_resets_everything_but_the_counters_of_the_exporter() {
    let mut driver = Driver::connected();
    driver.list(&[session("1", "101", 0)]);
    driver.run(60.0);
    assert_eq!(driver.state.sessions.live().len(), 1);
    let before: u64 = driver
        .state
        .exporter
        .requests()
        .map(|(_, count)| count)
        .sum();
    driver.set("/", "machineIdentifier", json!("m2"));
    driver.list(&[]);
    driver.run(15.0);
    assert_eq!(driver.state.server.as_ref().unwrap().id, "m2");
    assert_eq!(driver.state.sessions.live().len(), 0);
    assert!(driver.state.sessions.series.count() == 0 && driver.state.starts.is_empty());
    assert!(driver.state.socket_up && driver.state.up);
    let after: u64 = driver
        .state
        .exporter
        .requests()
        .map(|(_, count)| count)
        .sum();
    assert!(after > before);
    driver.run(5.0);
    assert_eq!(driver.state.libraries.iter().len(), 1, "listed again");
}

#[test]
fn servers_that_take_turns_stay_within_the_limits_of_one() {
    for slow in [false, true] {
        let mut driver = Driver::connected();
        if slow {
            for endpoint in ["/accounts", "/activities", "/updater/status"] {
                driver.replies.insert(endpoint, Reply::Hangs);
            }
        }
        let sent = |driver: &Driver| -> u64 {
            let requests = driver.state.exporter.requests();
            requests.map(|(_, count)| count).sum()
        };
        let before = sent(&driver);
        let mut servers = 0;
        for _ in 0..3_600 {
            if !driver.requests("/", 1.0).is_empty() {
                servers += 1;
                let id = json!(format!("m{}", servers % 2));
                driver.set("/", "machineIdentifier", id);
            }
            driver.run(1.0);
            // What a lane of the poller holds.
            assert!(driver.requests_in_flight() < 8);
        }
        assert!(servers > 200, "{servers}");
        assert!(driver.log.len() < 20, "{:?}", driver.log);
        let sent = sent(&driver) - before;
        let by_endpoint: Vec<_> = driver.state.exporter.requests().collect();
        assert!(sent <= 900, "{sent} requests: {by_endpoint:?}");
    }
}

#[test]
fn a_server_without_an_identifier_is_not_plex() {
    let mut driver = Driver::start();
    driver
        .replies
        .insert("/", Reply::Container(json!({"size": 0})));
    driver.run(0.5);
    assert!(!driver.state.up && driver.state.server.is_none());
    let mut errors = driver.state.exporter.errors();
    assert!(errors.all(|(endpoint, reason, _)| (endpoint, reason) == (Endpoint::Server, "decode")));
    let succeeded = driver.state.exporter.succeeded();
    assert!(
        succeeded
            .map(|(endpoint, _)| endpoint)
            .all(|endpoint| endpoint != Endpoint::Server)
    );
}

#[test]
fn a_transcode_that_begins_refreshes_the_count_of_the_server() {
    let mut driver = Driver::connected();
    driver.run(3.0);
    assert!(driver.requests("/", 2.0).is_empty());
    driver.notify(
        "transcodeSession.start",
        "TranscodeSession",
        &json!({"key": "t1"}),
    );
    driver.set("/", "transcoderActiveVideoSessions", json!(1));
    driver.run(1.0);
    assert_eq!(driver.requests("/", 1.0), [-0.5], "half a second later");
    assert_eq!(
        driver.state.active_transcodes.count(driver.now()),
        Some(1.0)
    );
    // An update is no reason.
    driver.run(2.0);
    let before = driver.requests("/", 60.0).len();
    driver.notify(
        "transcodeSession.update",
        "TranscodeSession",
        &json!({"key": "t1"}),
    );
    driver.run(1.0);
    assert_eq!(driver.requests("/", 60.0).len(), before);
}

#[test]
fn a_changed_library_is_listed_after_two_seconds_and_its_items_are_counted() {
    let mut driver = Driver::connected();
    driver.run(100.0);
    driver.set("/library/sections/{id}/all", "totalSize", json!(8));
    let entry = json!({"identifier": "com.plexapp.plugins.library", "sectionID": 1, "state": 5});
    driver.notify("timeline", "TimelineEntry", &entry);
    driver.run(35.0);
    assert!(driver.requests("/media/providers", 34.0).len() <= 2);
    assert_eq!(driver.requests("/library/sections/1/all", 35.0).len(), 1);
    let (_, library) = driver.state.libraries.iter().next().unwrap();
    assert_eq!(library.items, Some(8.0));
    // The end of a scan says which library, too.
    driver.run(100.0);
    let ended = json!({"event": "ended", "uuid": "a", "Activity": {"uuid": "a",
        "type": "library.update.section", "Context": {"librarySectionID": "1"}}});
    driver.notify("activity", "ActivityNotification", &ended);
    driver.run(10.0);
    assert_eq!(driver.requests("/library/sections/1/all", 10.0).len(), 1);
}

#[test]
fn the_end_of_a_scan_that_names_no_library_counts_what_may_have_changed() {
    let mut driver = Driver::connected();
    driver.run(100.0);
    for (name, counts) in [("LIBRARY_UPDATE", 1), ("MEDIA_SCANNED", 0)] {
        let status = json!({"notificationName": name, "title": "Library scan complete"});
        driver.notify("status", "StatusNotification", &status);
        driver.run(35.0);
        let counted = driver.requests("/library/sections/1/all", 35.0);
        assert_eq!(counted.len(), counts, "{name}");
    }
}

#[test]
fn notifications_about_the_server_and_updates_refresh_just_these() {
    let mut driver = Driver::connected();
    driver.run(5.0);
    driver.set(
        "/updater/status",
        "Release",
        json!([{"state": "available"}]),
    );
    driver.notify("update.statechange", "X", &json!({}));
    assert_eq!(driver.requests("/updater/status", 1.0), [0.0]);
    driver.notify("reachability", "X", &json!({}));
    assert_eq!(driver.requests("/", 1.0), [0.0]);
    driver.run(1.0);
    assert_eq!(driver.state.update_available, Some(true));
    let counts: BTreeMap<_, _> = driver.state.exporter.notifications().collect();
    assert_eq!(
        (counts["update.statechange"], counts["reachability"]),
        (1, 1)
    );
    driver.replies.remove("/updater/status");
    driver.notify("update.statechange", "X", &json!({}));
    driver.run(1.0);
    assert_eq!(driver.state.update_available, None);
    assert_eq!(lines(&driver, "not offered by this Plex").len(), 1);
}

#[test]
fn a_silent_client_causes_a_listing_after_twelve_seconds() {
    let mut driver = Driver::connected();
    driver.list(&[session("1", "101", 0)]);
    driver.playing("1", "101", "playing");
    driver.run(5.0);
    driver.playing("1", "101", "playing");
    driver.run(11.0);
    let before = driver.requests("/status/sessions", 20.0).len();
    driver.run(1.5);
    assert_eq!(driver.requests("/status/sessions", 21.5).len(), before + 1);
}

#[test]
fn titles_are_fetched_two_at_a_time_and_a_failed_one_again() {
    let mut driver = Driver::connected();
    let sessions: Vec<_> = (1..=4)
        .map(|n| session(&n.to_string(), &(100 + n).to_string(), 0))
        .collect();
    driver.list(&sessions);
    driver
        .replies
        .insert("/library/metadata/{id}", Reply::Status(500));
    driver.playing("1", "101", "playing");
    driver.run(0.015);
    let requested = |driver: &Driver, seconds| -> usize {
        (101..=104)
            .map(|id| {
                driver
                    .requests(&format!("/library/metadata/{id}"), seconds)
                    .len()
            })
            .sum()
    };
    assert_eq!(requested(&driver, 1.0), 2, "two in flight");
    driver.run(0.5);
    assert_eq!(requested(&driver, 1.0), 4);
    let item = json!({"Metadata": [{"Media": [{"id": 9, "videoResolution": "4k",
        "container": "mkv"}]}]});
    driver
        .replies
        .insert("/library/metadata/{id}", Reply::Container(item));
    driver.run(3.0);
    assert_eq!(requested(&driver, 3.0), 4, "each once more");
    let play = driver.state.sessions.live().next().unwrap();
    assert_eq!(play.file_resolution(), "4k");
    driver.run(30.0);
    assert_eq!(requested(&driver, 30.0), 0);
}

#[test]
fn each_kind_of_dropped_data_is_logged_once() {
    let mut driver = Driver::connected();
    let sessions: Vec<_> = (0..10_010)
        .map(|n| json!({"sessionKey": n.to_string()}))
        .collect();
    driver.list(&sessions);
    driver.state.dropped_log_lines = 3;
    driver.run(80.0);
    assert_eq!(
        driver.state.dropped()[0],
        10 * driver.requests("/status/sessions", 80.0).len() as u64
    );
    assert_eq!(driver.state.dropped()[6], 3);
    let lines = lines(&driver, "limits:");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("too many sessions"));
}

#[test]
fn a_play_counts_as_started_in_its_library_unless_it_ran_before() {
    let mut driver = Driver::start();
    driver.list(&[session("1", "101", 60_000)]);
    driver.run(10.0);
    assert!(driver.state.starts.is_empty(), "it ran before the exporter");
    driver.list(&[session("1", "101", 60_000), session("2", "102", 0)]);
    driver.run(20.0);
    let starts: Vec<_> = driver.state.starts.values().copied().collect();
    assert_eq!(starts, [1]);
    assert_eq!(
        driver.state.sessions.lasting.user_starts.get("alice"),
        Some(&1)
    );
}

#[test]
fn plex_is_down_once_a_request_times_out_to_which_alone_it_responded_nothing() {
    let mut driver = Driver::connected();
    driver.run(20.0);
    // One endpoint that hangs beside others that respond is no outage.
    driver.replies.insert("/statistics/bandwidth", Reply::Hangs);
    driver.run(60.0);
    assert!(driver.state.is_up());
    let endpoints: Vec<_> = driver.replies.keys().copied().collect();
    for endpoint in endpoints {
        driver.replies.insert(endpoint, Reply::Hangs);
    }
    driver.run(25.5);
    assert!(!driver.state.is_up());
    assert_eq!(lines(&driver, "recovered").len(), 0);
    let server = json!({"machineIdentifier": "m1", "version": "1", "myPlexSubscription": true});
    driver.replies.insert("/", Reply::Container(server));
    driver.run(25.0);
    assert!(driver.state.is_up());
}

#[test]
fn the_budget_of_live_sessions_lasts_for_two_minutes_after_the_last() {
    use super::budget::{Priority, Purpose};
    let permits = |pause| {
        let mut driver = Driver::connected();
        driver.list(&[session("1", "101", 0)]);
        driver.playing("1", "101", "playing");
        driver.run(1.0);
        driver.list(&[]);
        driver.playing("1", "101", "stopped");
        driver.run(pause);
        let (now, budget) = (driver.now(), &mut driver.state.budget);
        (0..1_000)
            .filter(|_| budget.take(Purpose::Viewing, Priority::High, now))
            .count()
    };
    let (live, idle) = (permits(110.0), permits(200.0));
    assert!(live > 120 && (20..50).contains(&idle), "{live} {idle}");
}

#[test]
fn what_is_remembered_and_dropped_is_counted_by_name() {
    let mut driver = Driver::connected();
    driver
        .replies
        .insert("/library/metadata/{id}", Reply::Status(500));
    driver.list(&[session("1", "101", 0)]);
    driver.playing("1", "101", "playing");
    driver.notify(
        "transcodeSession.update",
        "TranscodeSession",
        &json!({"key": "unknown"}),
    );
    let row = json!({"accountID": 7, "deviceID": 1, "at": 100, "lan": true, "bytes": 1});
    driver.set("/statistics/bandwidth", "StatisticsBandwidth", json!([row]));
    let accounts: Vec<_> = (10..2_013)
        .map(|id| json!({"id": id, "name": format!("user {id}")}))
        .collect();
    driver.set("/accounts", "Account", json!(accounts));
    let entries: Vec<_> = (0..1_005)
        .map(|n| json!({"sessionKey": format!("k{n}"), "state": "stopped"}))
        .collect();
    let frame = json!({"NotificationContainer": {"type": "playing",
        "PlaySessionStateNotification": entries}});
    let notification = crate::plex::notification::decode(&frame.to_string()).unwrap();
    driver.apply(crate::event::Event::Notification(notification));
    driver.run(40.0);
    let remembered: BTreeMap<_, _> = driver.state.remembered().into_iter().collect();
    let expected = [
        ("rows of bytes sent", 1),
        ("accounts", 2_000),
        ("unknown accounts", 1),
        ("running activities", 0),
        ("ended activities", 0),
        ("titles", 1),
        ("pending transcodes", 1),
        ("failures", 1),
    ];
    assert_eq!(remembered, BTreeMap::from(expected));
    let lists = driver.requests("/accounts", 60.0).len() as u64;
    // Three accounts too many in the one list that contained them.
    assert_eq!(lists, 2);
    assert_eq!(driver.state.dropped()[3], 5 + 3);
    assert_eq!(driver.state.sessions.pending_transcodes(), 1);
}

#[test]
fn activities_beyond_the_limit_of_a_listing_are_counted() {
    let mut driver = Driver::start();
    let activities: Vec<_> = (0..1_007)
        .map(|uuid| json!({"uuid": format!("{uuid}"), "type": "library.update"}))
        .collect();
    driver.set("/activities", "Activity", json!(activities));
    driver.run(1.0);
    assert_eq!(driver.state.activities.dropped, 7);
    assert_eq!(lines(&driver, "too many activities").len(), 1);
}

#[test]
fn what_this_plex_does_not_offer_is_one_line_that_says_what_is_missing() {
    let mut driver = Driver::start();
    for endpoint in [
        "/statistics/resources",
        "/statistics/bandwidth",
        "/accounts",
        "/activities",
    ] {
        driver.replies.remove(endpoint);
    }
    driver.replies.insert("/updater/status", Reply::Status(403));
    driver.run(7_300.0);
    for missing in [
        "shares of processor and memory are absent",
        "plex_transmit_bytes_total is absent",
        "counted as `unknown`",
        "plex_activities covers only what notifications report",
        "plex_update_available is absent",
    ] {
        let lines = lines(&driver, missing);
        assert_eq!(lines.len(), 1, "{missing}: {lines:?}");
        assert!(lines[0].starts_with("INFO"), "{lines:?}");
    }
    assert!(
        lines(&driver, "WARN")
            .iter()
            .all(|line| line.contains("notifications"))
    );
}

#[test]
fn a_changed_size_of_a_library_causes_a_count() {
    let mut driver = Driver::connected();
    driver.run(100.0);
    let counts = |driver: &Driver| driver.requests("/library/sections/1/all", 1_000.0).len();
    assert_eq!(counts(&driver), 1);
    driver.set(
        "/media/providers",
        "MediaProvider",
        json!([{"identifier": "com.plexapp.plugins.library", "Feature": [{"type": "content",
            "Directory": [{"id": "1", "type": "movie", "title": "Films", "storageTotal": 5}]}]}]),
    );
    driver.run(70.0);
    assert_eq!(counts(&driver), 2);
    driver.run(120.0);
    assert_eq!(counts(&driver), 2, "it changed only once");
}
