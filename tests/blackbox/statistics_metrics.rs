//! What Plex supplies with a Plex Pass: bytes sent, by network and by user, and the load.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON},
    fake_plex::FakePlex,
    payloads::{self, epoch, with},
};

/// Longer than the slowest regular poll of the statistics.
const NEXT_POLL: Duration = Duration::from_secs(35);

#[test]
fn bandwidth_rows_count_once_and_fully_and_never_from_before_the_start() {
    let plex = FakePlex::default();
    let long_ago = epoch() - 60;
    plex.world().bandwidth = vec![payloads::bandwidth_row(long_ago, 1, true, 1_000_000)];
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_transmit_bytes_total", &[], 0.0);
    let now = epoch();
    plex.world().bandwidth.extend([
        payloads::bandwidth_row(now, 2, false, 30),
        payloads::bandwidth_row(now, 1, true, 500),
    ]);
    let moved = |total: f64| {
        exporter.until("bytes", NEXT_POLL, |samples| {
            samples.value("plex_transmit_bytes_total", &[]) == Some(total)
        })
    };
    let samples = moved(530.0);
    assert_eq!(
        samples.value("plex_network_transmit_bytes_total", &[("location", "lan")]),
        Some(500.0)
    );
    assert_eq!(
        samples.value("plex_network_transmit_bytes_total", &[("location", "wan")]),
        Some(30.0)
    );
    // The newest row grows; a late one appears between.
    plex.world().bandwidth[1] = payloads::bandwidth_row(now, 2, false, 70);
    plex.world()
        .bandwidth
        .insert(0, payloads::bandwidth_row(now, 3, true, 400));
    moved(970.0);
}

#[test]
fn bytes_are_split_by_user_with_the_names_of_the_accounts() {
    let plex = FakePlex::default();
    let row = |account: u64, lan, bytes| {
        with(
            payloads::bandwidth_row(epoch(), account, lan, bytes),
            json!({"accountID": account}),
        )
    };
    plex.world().bandwidth = vec![row(1, true, 1_000_000)];
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until_value("plex_transmit_bytes_total", &[], 0.0);
    assert!(
        samples.series("plex_user_transmit_bytes_total").is_empty(),
        "bytes from before the start"
    );
    plex.world().bandwidth.extend([
        row(2_001, true, 500),
        row(2_001, false, 30),
        row(1, false, 7),
        row(9_001, true, 11),
    ]);
    let samples = exporter.until("bytes", NEXT_POLL, |samples| {
        samples.value("plex_transmit_bytes_total", &[]) == Some(548.0)
    });
    let first = [
        r#"location="lan",user="bob" 500"#,
        r#"location="lan",user="unknown" 11"#,
        r#"location="wan",user="alice" 7"#,
        r#"location="wan",user="bob" 30"#,
    ];
    assert_eq!(samples.series("plex_user_transmit_bytes_total"), first);
    assert_eq!(samples.types["plex_user_transmit_bytes_total"], "counter");
    // An unknown account is a reason to ask who it is, once.
    plex.wait_for("/accounts", 2, SOON);
    plex.world()
        .accounts
        .push(json!({"id": 4_001, "name": "dave"}));
    plex.world().bandwidth.push(row(4_001, true, 1));
    exporter.until("the new account as unknown", NEXT_POLL, |samples| {
        samples.value("plex_user_transmit_bytes_total", &[("user", "unknown")]) == Some(12.0)
    });
    plex.wait_for("/accounts", 3, SOON);
    plex.world().bandwidth.push(row(4_001, false, 40));
    let samples = exporter.until("the new account by name", NEXT_POLL, |samples| {
        samples.value("plex_user_transmit_bytes_total", &[("user", "dave")]) == Some(40.0)
    });
    assert_eq!(
        samples.value("plex_user_play_starts_total", &[("user", "dave")]),
        Some(0.0)
    );
    assert_eq!(
        plex.count("/accounts"),
        3,
        "one request for each unknown account"
    );
}

#[test]
fn without_plex_pass_its_metrics_are_absent_and_come_when_a_pass_does() {
    let plex = FakePlex::default();
    plex.world().server["myPlexSubscription"] = json!(false);
    let exporter = Exporter::with_libraries(&plex);
    plex.wait_for("/statistics/bandwidth", 1, SOON);
    let samples = exporter.until("server info", SOON, |samples| {
        samples
            .of(
                "plex_exporter_plex_request_errors_total",
                &[("reason", "not_found")],
            )
            .len()
            == 2
    });
    for name in [
        "plex_host_cpu_utilization_ratio",
        "plex_host_memory_utilization_ratio",
        "plex_process_cpu_utilization_ratio",
        "plex_process_memory_utilization_ratio",
        "plex_transmit_bytes_total",
        "plex_network_transmit_bytes_total",
        "plex_user_transmit_bytes_total",
    ] {
        assert!(samples.of(name, &[]).is_empty(), "{name}");
    }
    assert_eq!(
        samples.one("plex_server_info", &[]).unwrap().labels["plex_pass"],
        "false"
    );
    assert_eq!(
        samples.value("plex_active_transcode_sessions", &[]),
        Some(0.0)
    );
    plex.world().server["myPlexSubscription"] = json!(true);
    exporter.until("the Pass", NEXT_POLL, |samples| {
        samples.value("plex_host_cpu_utilization_ratio", &[]) == Some(0.125)
            && samples.value("plex_transmit_bytes_total", &[]) == Some(0.0)
    });
}
