//! Bytes sent, host load and activities: only what Plex supplies, and only once.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::Setup,
    fake_plex::{FakePlex, World, html},
    payloads::{bandwidth_row, frame, movie, playing, with},
    pure::Pure,
    samples::Samples,
};

fn sent(page: &Samples) -> Option<f64> {
    let total = page.value("plex_transmit_bytes_total", &[]);
    if total.is_some() {
        assert_eq!(
            Some(page.sum("plex_network_transmit_bytes_total", &[])),
            total
        );
        assert_eq!(Some(page.sum("plex_user_transmit_bytes_total", &[])), total);
    }
    total
}

/// Row 11: the same bytes are counted whatever Plex's clock shows, and however it jumps.
#[test]
fn bytes_are_counted_once_whatever_the_clocks() {
    let now = 1_800_000_000_i64;
    for (start, jump) in [
        (now, 0),
        (now + 86_400, 0),
        (now - 3_600, 0),
        (now, -86_400),
        (now + 3_600, 86_400 * 365),
        (5, 0),
    ] {
        let mut world = World::default();
        let mut clock = start;
        world.bandwidth = (0..120)
            .map(|second| bandwidth_row((clock + second) as u64, 1, true, 1_000))
            .collect();
        clock += 120;
        let mut pure = Pure::connected(world);
        assert_eq!(sent(&pure.page()), Some(0.0), "the first response counted");
        let mut truth = 0;
        let mut window = std::mem::take(&mut pure.world.bandwidth);
        for second in 0..600_usize {
            if second == 300 {
                clock += jump;
            }
            clock += 1;
            // Two rows for each second, sometimes none at all; the newest still grows.
            if second % 60 < 50 {
                if let Some(last) = window.last_mut() {
                    last["bytes"] = json!(last["bytes"].as_u64().unwrap() + 7);
                    truth += 7;
                }
                window.push(bandwidth_row(clock as u64, 1, true, 400));
                window.push(bandwidth_row(clock as u64, 2, false, 100));
                truth += 500;
            }
            // It slides, and comes in any order.
            window.drain(..window.len().saturating_sub(240));
            pure.world.bandwidth = window.clone();
            pure.world.bandwidth.rotate_left(second % window.len());
            pure.wait(1.0);
        }
        pure.wait(60.0);
        let counted = sent(&pure.page()).unwrap();
        assert_eq!(counted, f64::from(truth), "{start} {jump}");
        // A quiet poll makes no old row count again.
        let rows = std::mem::take(&mut pure.world.bandwidth);
        pure.wait(90.0);
        pure.world.bandwidth = rows;
        pure.wait(60.0);
        assert_eq!(sent(&pure.page()), Some(counted));
    }
}

#[test]
fn rows_years_ahead_are_forgotten_again() {
    let mut pure = Pure::connected(World::default());
    pure.wait(31.0);
    let mut truth = 0.0;
    for round in 0..200_u64 {
        pure.world.bandwidth = (0..500)
            .map(|row| bandwidth_row(4_000_000_000 + round * 500 + row, 1, true, 1))
            .collect();
        truth += 500.0;
        pure.wait(30.0);
    }
    let page = pure.page();
    assert_eq!(sent(&page), Some(truth));
    assert_eq!(
        page.value("plex_exporter_dropped_total", &[("kind", "entries")]),
        Some(0.0)
    );
}

/// Row 13: no Plex Pass, but 200 with an empty container, or even with rows.
#[test]
fn without_plex_pass_there_are_no_statistics_on_any_page() {
    for body in [
        r#"{"MediaContainer":{"size":0}}"#,
        r#"{"MediaContainer":{"StatisticsBandwidth":[{"at":1,"bytes":5,"lan":true}],"StatisticsResources":[{"at":1,"hostCpuUtilization":5}]}}"#,
    ] {
        let plex = FakePlex::default();
        plex.world().server["myPlexSubscription"] = json!(false);
        plex.world().fault(
            "/statistics",
            crate::support::fake_plex::Fault::Response(200, "application/json", body.into()),
        );
        // `/` comes late: what the statistics mean is not known before.
        plex.world().fault(
            "/",
            crate::support::fake_plex::Fault::Delay(Duration::from_millis(400)),
        );
        let exporter = Setup::new(&plex.url()).start();
        let absent = |page: &Samples| {
            for name in [
                "plex_transmit_bytes_total",
                "plex_network_transmit_bytes_total",
                "plex_user_transmit_bytes_total",
                "plex_host_cpu_utilization_ratio",
                "plex_host_memory_utilization_ratio",
                "plex_process_cpu_utilization_ratio",
            ] {
                assert!(page.of(name, &[]).is_empty(), "{name}");
            }
        };
        exporter.until("the server", Duration::from_secs(5), |page| {
            absent(page);
            page.value("plex_server_info", &[("plex_pass", "false")]) == Some(1.0)
        });
        plex.wait_for("/statistics/bandwidth", 1, Duration::from_secs(5));
        exporter.until_value(
            "plex_exporter_plex_requests_total",
            &[("endpoint", "/statistics/bandwidth")],
            1.0,
        );
        absent(&exporter.scrape());
    }
}

/// Row 13: an activity that ran when Plex went down is gone with it, and stays gone.
#[test]
fn no_activity_outlives_an_outage() {
    let mut plex = FakePlex::default();
    let scan = json!({"uuid": "a", "type": "library.update.section", "progress": -1});
    plex.world().activities = vec![scan.clone()];
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value(
        "plex_activities",
        &[("type", "library.update.section")],
        1.0,
    );
    plex.push(&frame(
        "activity",
        "ActivityNotification",
        json!({"event": "started", "uuid": "b",
        "Activity": {"uuid": "b", "type": "media.download"}}),
    ));
    exporter.until_value("plex_activities", &[("type", "media.download")], 1.0);
    plex.stop();
    let page = exporter.until_value("plex_up", &[], 0.0);
    assert!(page.of("plex_activities", &[]).is_empty());
    plex.world().activities.clear();
    plex.restart();
    let page = exporter.until("Plex", Duration::from_secs(20), |page| {
        page.value("plex_up", &[]) == Some(1.0)
    });
    assert!(page.of("plex_activities", &[]).is_empty());
}

#[test]
fn an_activity_listed_after_the_outage_is_shown_again() {
    let world = World {
        activities: vec![json!({"uuid": "a", "type": "media.download"})],
        ..World::default()
    };
    let mut pure = Pure::connected(world);
    assert_eq!(pure.page().sum("plex_activities", &[]), 1.0);
    pure.world.fault("/", html(503, "Maintenance"));
    pure.wait(30.0);
    assert_eq!(pure.page().sum("plex_activities", &[]), 0.0);
    pure.world.faults.clear();
    pure.wait(15.0);
    assert_eq!(pure.page().sum("plex_activities", &[]), 1.0);
}

/// Row 13: numbers beyond reason neither show nor count.
#[test]
fn an_absurd_bitrate_poisons_no_counter() {
    for bitrate in [
        "1e308",
        "1e400",
        "2147483647",
        "-5",
        "\"9e99\"",
        "99999999999999999999",
        "10000000",
    ] {
        let body = with(
            movie(1, 101, "Alien"),
            json!({"Media": [{"bitrate": "BITRATE"}], "Session": {"bandwidth": "BITRATE"}}),
        );
        let body = json!({"MediaContainer": {"Metadata": [body]}})
            .to_string()
            .replace("\"BITRATE\"", bitrate);
        let plex = FakePlex::default();
        plex.world().fault(
            "/status/sessions",
            crate::support::fake_plex::Fault::Response(200, "application/json", body),
        );
        let exporter = Setup::new(&plex.url()).start();
        let page = exporter.until("a second", Duration::from_secs(5), |page| {
            page.value("plex_play_seconds_total", &[("stream_bitrate", "0")])
                .is_some_and(|played| played > 0.5)
        });
        assert_eq!(
            page.value("plex_estimated_transmit_bytes_total", &[]),
            Some(0.0),
            "{bitrate}"
        );
        assert!(
            page.of("plex_session_bitrate_kbps", &[]).is_empty(),
            "{bitrate}"
        );
        assert!(
            page.of("plex_session_bandwidth_kbps", &[]).is_empty(),
            "{bitrate}"
        );
        assert!(
            page.all.iter().all(|sample| sample.value.is_finite()),
            "{bitrate}"
        );
        drop(exporter);
    }
}

#[test]
fn bytes_are_counted_by_user_and_a_new_account_is_looked_up() {
    let mut pure = Pure::connected(World::default());
    pure.wait(31.0);
    let mut row = bandwidth_row(9, 1, true, 50);
    row["accountID"] = json!(4_242);
    pure.world.bandwidth = vec![row.clone(), bandwidth_row(9, 1, false, 5)];
    pure.wait(31.0);
    let page = pure.page();
    assert_eq!(
        page.value(
            "plex_user_transmit_bytes_total",
            &[("user", "unknown"), ("location", "lan")]
        ),
        Some(50.0)
    );
    assert_eq!(
        page.value(
            "plex_user_transmit_bytes_total",
            &[("user", "alice"), ("location", "wan")]
        ),
        Some(5.0)
    );
    pure.world
        .accounts
        .push(json!({"id": 4_242, "name": "mallory"}));
    pure.wait(3_700.0);
    row["bytes"] = json!(60);
    pure.world.bandwidth = vec![row];
    pure.wait(31.0);
    let page = pure.page();
    assert_eq!(
        page.value("plex_user_transmit_bytes_total", &[("user", "mallory")]),
        Some(10.0)
    );
    assert_eq!(
        page.value("plex_user_play_starts_total", &[("user", "mallory")]),
        Some(0.0)
    );
    pure.push(&playing(1, 101, "playing", 0));
    assert!(pure.requested("/accounts", 3_800.0) <= 3);
}
