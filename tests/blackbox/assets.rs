//! The files built into the binary, and a real Prometheus that uses them.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use plex_exporter::internals::CATALOGUE;
use serde_json::Value;

use crate::support::{
    evening::Evening,
    exporter::{Response, Setup, binary, own_path, request, wait},
    fake_plex::FakePlex,
    samples::Samples,
};

fn printed(what: &str) -> String {
    let (status, out, err) = Setup::new("http://127.0.0.1:9")
        .without("PLEX_TOKEN")
        .run(&["print", what]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    out
}

fn dashboard() -> Value {
    serde_json::from_str(&printed("dashboard")).unwrap()
}

/// All panels, those of collapsed rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().unwrap();
    top.iter()
        .chain(
            top.iter()
                .filter_map(|row| row["panels"].as_array())
                .flatten(),
        )
        .collect()
}

/// Every expression of the dashboard, with its panel's title and whether it is an instant query.
fn expressions(dashboard: &Value) -> Vec<(String, String, bool)> {
    panels(dashboard)
        .into_iter()
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            targets.into_iter().map(move |target| {
                let expr = target["expr"].as_str().unwrap().to_owned();
                (title.clone(), expr, target["instant"] == Value::Bool(true))
            })
        })
        .collect()
}

/// Words of an expression that look like metrics of ours.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("plex_") || word.starts_with("process_"))
        .filter(|word| *word != "plex_pass")
        .collect()
}

#[test]
fn the_dashboard_is_as_grafana_wants_it() {
    let dashboard = dashboard();
    assert!(dashboard.get("__inputs").is_none());
    assert!(dashboard["id"].is_null() && dashboard["uid"].is_string());
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        variables,
        ["datasource", "job", "instance", "server", "utc_offset"]
    );
    let mut ids = HashSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id twice");
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty());
        if panel["type"] != "row" {
            assert!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{title}"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{title}"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for (title, expression, _) in expressions(&dashboard) {
        for variable in ["$job", "$instance", "$server"] {
            assert!(
                expression.contains(variable),
                "{title} ignores {variable}: {expression}"
            );
        }
        assert!(
            !expression.contains("rate(") || expression.contains("$__rate_interval"),
            "{title}"
        );
    }
}

#[test]
fn no_query_uses_a_metric_that_does_not_exist() {
    let known: HashSet<_> = CATALOGUE.iter().map(|desc| desc.name).collect();
    let mut used = BTreeSet::new();
    let dashboard = dashboard();
    let alerts = printed("alerts");
    let expressions = expressions(&dashboard);
    let rules = alerts.lines().filter(|line| {
        let text = ["description:", "summary:", "- record:"];
        !text.iter().any(|text| line.contains(text)) && !line.starts_with('#')
    });
    for expression in expressions
        .iter()
        .map(|(_, expression, _)| expression.as_str())
        .chain(rules)
    {
        for metric in metrics_in(expression) {
            // A histogram is three metrics by name.
            let described = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| metric.strip_suffix(end))
                .filter(|histogram| known.contains(histogram))
                .unwrap_or(metric);
            assert!(known.contains(described), "{metric} in {expression}");
            used.insert(metric.to_owned());
        }
    }
    assert!(used.len() > 25, "only {used:?}");
}

#[test]
fn the_page_of_the_demo_has_every_metric() {
    let plex = FakePlex::default();
    let mut evening = Evening::new(&plex);
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    // The height of the evening, a few seconds in each.
    for _ in 0..70 {
        evening.second();
        std::thread::sleep(Duration::from_millis(50));
    }
    let missing = |samples: &Samples| -> Vec<&str> {
        CATALOGUE
            .iter()
            .map(|desc| desc.name)
            .filter(|name| !samples.types.contains_key(*name))
            .collect()
    };
    // The statistics are polled every 15 s.
    wait(
        Duration::from_secs(30),
        || missing(&exporter.scrape()).is_empty().then_some(()),
        || format!("missing: {:?}", missing(&exporter.scrape())),
    );
}

#[test]
fn the_readme_names_every_metric_and_variable() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for desc in CATALOGUE
        .iter()
        .filter(|desc| !desc.name.starts_with("process_"))
    {
        assert!(
            readme.contains(&format!("`{}`", desc.name)),
            "{}",
            desc.name
        );
        for label in desc
            .labels
            .iter()
            .filter(|_| desc.name != "plex_transcode_session_info")
        {
            assert!(
                readme.contains(&format!("`{label}`")),
                "{label} of {}",
                desc.name
            );
        }
    }
    for variable in plex_exporter::config::VARIABLES {
        assert!(
            readme.contains(&format!("| `{}` |", variable.name)),
            "{}",
            variable.name
        );
    }
}

#[test]
fn the_systemd_unit_names_every_setting_it_promises() {
    let unit = printed("systemd-unit");
    for setting in [
        "Type=notify",
        "WatchdogSec=",
        "LoadCredential=plex-token:",
        "DynamicUser=yes",
        "Restart=always",
        "ProtectSystem=strict",
        "SystemCallFilter=",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.contains(setting), "{setting}");
    }
    // Resident memory stays below 64 MiB whatever Plex or clients send: a lower limit would let
    // them end the service. The kernel counts the buffers of sockets as well.
    let instance = include_str!("../../src/assets/plex-exporter@.service");
    for unit in [unit.as_str(), instance] {
        let limit = unit.lines().find_map(|line| {
            let value = line.strip_prefix("MemoryMax=")?.strip_suffix('M')?;
            value.parse::<u32>().ok()
        });
        assert!(limit.is_some_and(|limit| limit >= 96), "{limit:?}");
    }
}

#[test]
fn systemd_is_notified_when_it_is_ready_alive_and_stopping() {
    let plex = FakePlex::default();
    let path = own_path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut exporter = Setup::new(&plex.url())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "600000")
        .start();
    let receive = || {
        let mut buffer = [0; 64];
        // A signal to this process (for example, it was stopped and continued) interrupts the wait.
        let length = loop {
            match socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(receive(), "READY=1");
    assert_eq!(receive(), "WATCHDOG=1");
    assert_eq!(receive(), "WATCHDOG=1");
    exporter.stop_with("TERM");
    let mut last = receive();
    while last == "WATCHDOG=1" {
        last = receive();
    }
    assert_eq!(last, "STOPPING=1");
    fs::remove_file(path).unwrap();
}

#[test]
#[ignore = "needs promtool (Debian: apt-get install prometheus)"]
fn promtool_sees_every_alert_fire_and_stay_silent() {
    let folder = own_path("alerts");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("alerts.yml"), printed("alerts")).unwrap();
    let minutes = include_str!("alerts.test.yml");
    let days = include_str!("alerts-days.test.yml");
    fs::write(folder.join("alerts.test.yml"), minutes).unwrap();
    fs::write(folder.join("alerts-days.test.yml"), days).unwrap();
    let cases = minutes.to_owned() + days;
    let output = Command::new("promtool")
        .args(["test", "rules", "alerts.test.yml", "alerts-days.test.yml"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    );
    // Every rule has a case in which it fires and one in which it does not.
    for rule in printed("alerts")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned))
    {
        let silent = cases.contains(&format!("alertname: {rule}\n        eval_time: 100m\n"));
        let fires = cases.contains(&format!(r#"alertname="{rule}""#))
            || cases.contains(&format!(
                "alertname: {rule}\n        eval_time: 30m\n        exp_alerts"
            ));
        assert!(silent && fires, "{rule}: silent {silent}, fires {fires}");
    }
    for record in printed("alerts")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: ").map(str::to_owned))
    {
        assert!(days.contains(&format!("- expr: {record}\n")), "{record}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// A real Prometheus, ended by its id when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: std::path::PathBuf,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = own_path("prometheus");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("alerts.yml"), printed("alerts")).unwrap();
        fs::write(
            folder.join("prometheus.yml"),
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\n\
                 scrape_configs:\n- job_name: plex\n  static_configs: [{{targets: ['{target}']}}]\n"
            ),
        )
        .unwrap();
        // Prometheus does not report its port, so a free one is found for it.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            folder,
        }
    }

    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let bytes = request(
            self.address,
            format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n").as_bytes(),
        )
        .map_err(|error| error.to_string())?;
        let response: Value = serde_json::from_slice(&Response::parse(&bytes).body)
            .map_err(|error| error.to_string())?;
        match response["data"]["result"].as_array() {
            Some(result) => Ok(result.clone()),
            None => Err(response.to_string()),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "needs prometheus and promtool (Debian: apt-get install prometheus)"]
fn promtool_and_prometheus_find_data_for_every_panel_and_rule() {
    let plex = FakePlex::default();
    let mut evening = Evening::new(&plex);
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    let prometheus = Prometheus::start(exporter.address);
    wait(
        Duration::from_secs(30),
        || {
            prometheus
                .query("up")
                .ok()
                .filter(|result| !result.is_empty())
        },
        || "Prometheus does not respond".to_owned(),
    );
    // The first minute of the evening, at twice its speed: everybody is there.
    for _ in 0..65 {
        evening.second();
        std::thread::sleep(Duration::from_millis(500));
    }
    let up = prometheus.query("up == 1").unwrap();
    assert_eq!(up.len(), 1, "{up:?}");
    let value = |expression: &str| {
        prometheus.query(expression).unwrap()[0]["value"][1]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(value("plex_up"), "1");
    assert_eq!(
        value(r#"plex_library_storage_bytes{library="Music"}"#),
        "310000000000"
    );
    let fill = |expression: &str| {
        expression
            .replace("$__rate_interval", "10s")
            .replace("$__range", "1m")
            .replace("$__interval_ms", "1000")
            .replace("$__interval", "1s")
            .replace("$utc_offset", "+0")
            .replace("$job", "plex")
            .replace("$instance", &exporter.address.to_string())
            .replace("$server", "Attic")
    };
    for (title, expression, _) in expressions(&dashboard()) {
        let filled = fill(&expression);
        let result = prometheus
            .query(&filled)
            .unwrap_or_else(|error| panic!("{title}: {filled}: {error}"));
        // What happens in no healthy evening, or not just now.
        let rare = [
            "Needs attention",
            "Failed requests",
            "Ignored beyond limits",
            // Statistics are polled every 15 s, too seldom for a growth in half a minute.
            "Sent by user",
        ];
        assert!(
            !result.is_empty() || rare.contains(&title.as_str()),
            "{title}: no data for {filled}"
        );
    }
    // The titles of the table are composed readably.
    let table = expressions(&dashboard())
        .into_iter()
        .find(|(title, ..)| title == "Who is watching what")
        .unwrap();
    let whats: Vec<String> = prometheus
        .query(&fill(&table.1))
        .unwrap()
        .iter()
        .map(|row| row["metric"]["what"].as_str().unwrap().to_owned())
        .collect();
    assert!(whats.contains(&"Alien".to_owned()), "{whats:?}");
    assert!(
        whats
            .iter()
            .any(|what| what.starts_with("The Mandalorian · Season 1 · Chapter ")),
        "{whats:?}"
    );
    // The rules are loaded, and none fires on a healthy evening.
    let firing = prometheus.query(r#"ALERTS{alertstate="firing"}"#).unwrap();
    assert!(firing.is_empty(), "{firing:?}");
    let bytes = request(prometheus.address, b"GET /api/v1/rules HTTP/1.0\r\n\r\n").unwrap();
    let rules: Value = serde_json::from_slice(&Response::parse(&bytes).body).unwrap();
    let rules: Vec<&Value> = rules["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    let alerts = printed("alerts");
    let count = alerts.matches("- alert:").count() + alerts.matches("- record:").count();
    assert_eq!(rules.len(), count);
    // The recording rules have their first turn after five minutes.
    let healthy = |rule: &&Value| rule["health"] == "ok" || rule["type"] == "recording";
    assert!(rules.iter().all(healthy), "{rules:?}");
    assert!(binary().exists());
}
