//! The static binary as containers run it: alone in an empty root, unprivileged, as PID 1.
//!
//! `make test-static` runs these, as root, with `PLEX_EXPORTER_BIN` naming the static binary.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use crate::support::{
    exporter::{Exporter, Setup, TOKEN, binary, own_path, wait},
    fake_plex::FakePlex,
    payloads::{movie, playing},
    tls::signed_by_ca,
};

const NOBODY: &str = "65534:65534";

/// A root with nothing but the binary, two files for name resolution, and a /tmp.
struct EmptyRoot(PathBuf);

impl EmptyRoot {
    fn new(writable_tmp: bool) -> Self {
        let root = own_path("root");
        for folder in ["etc", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy(binary(), root.join("plex-exporter")).unwrap();
        fs::write(
            root.join("etc/hosts"),
            "127.0.0.1 plex-in-hosts localhost\n",
        )
        .unwrap();
        fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        let mode = if writable_tmp { 0o1777 } else { 0o555 };
        fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(mode)).unwrap();
        Self(root)
    }

    /// Shell words that run what follows in this root, unprivileged; read-only but for its /tmp.
    fn enter(&self, writable_tmp: bool) -> String {
        let root = self.0.display();
        let tmp = if writable_tmp {
            format!("mount -t tmpfs -o mode=1777 none {root}/tmp && ")
        } else {
            String::new()
        };
        format!(
            "mount --bind {root} {root} && {tmp}mount -o remount,bind,ro {root} && \
             exec chroot --userspec={NOBODY} --groups= {root} /plex-exporter"
        )
    }

    /// The exporter as PID 1 of its own namespace.
    fn start(&self, setup: Setup, writable_tmp: bool) -> Exporter {
        let shell = self.enter(writable_tmp);
        setup
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HEALTH_FILE", "/tmp/.healthy")
            .under(
                "unshare",
                &[
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                    &shell,
                ],
            )
            .start()
    }
}

impl Drop for EmptyRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exporter itself, below `unshare`.
fn inner_pid(exporter: &Exporter) -> u32 {
    let outer = exporter.child.id();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// The `health` command in the exporter's own namespaces, as a container engine runs it.
fn health(exporter: &Exporter, root: &EmptyRoot) -> Option<i32> {
    Command::new("nsenter")
        .args([
            &format!("--target={}", inner_pid(exporter)),
            "--mount",
            "--pid",
            "--",
            "/usr/sbin/chroot",
        ])
        .args([&format!("--userspec={NOBODY}"), "--groups="])
        .arg(&root.0)
        .args(["/plex-exporter", "health"])
        .env_clear()
        .env("HEALTH_FILE", "/tmp/.healthy")
        .env("LISTEN_ADDRESS", exporter.address.to_string())
        .status()
        .unwrap()
        .code()
}

#[test]
#[ignore = "needs root and a static binary: make test-static"]
fn contained_in_an_empty_root_it_does_its_work_and_ends_as_pid_1() {
    for writable_tmp in [true, false] {
        let root = EmptyRoot::new(writable_tmp);
        let plex = FakePlex::default();
        plex.world().play(movie(1, 101, "Alien"));
        // By a name that only /etc/hosts knows.
        let url = format!("http://plex-in-hosts:{}", plex.address.port());
        let mut exporter = root.start(Setup::new(&url), writable_tmp);
        exporter.until_value("plex_up", &[], 1.0);
        exporter.until_value("plex_plays_total", &[("title", "Alien")], 1.0);
        exporter.until_value("plex_websocket_connected", &[], 1.0);
        plex.world().play(movie(2, 101, "Aliens"));
        plex.push(&playing(2, 101, "playing", 0));
        exporter.until_value("plex_plays_total", &[("title", "Aliens")], 1.0);
        wait(
            Duration::from_secs(5),
            || (health(&exporter, &root) == Some(0)).then_some(()),
            || format!("tmp {writable_tmp}"),
        );
        let log = exporter.log().join("\n");
        assert_eq!(
            log.contains("cannot write the health marker"),
            !writable_tmp,
            "{log}"
        );
        assert!(!log.contains(TOKEN));
        let pid = inner_pid(&exporter);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(
            status
                .lines()
                .any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")),
            "{status}"
        );
        assert!(status.contains("Uid:\t65534"), "{status}");
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(exporter.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
#[ignore = "needs root and a static binary: make test-static"]
fn contained_in_an_empty_root_it_speaks_tls() {
    let root = EmptyRoot::new(true);
    let identity = signed_by_ca("localhost");
    fs::write(root.0.join("etc/ca.pem"), &identity.trust).unwrap();
    fs::set_permissions(root.0.join("etc/ca.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let plex = FakePlex::start(Some(identity.config.clone()));
    let url = format!("https://localhost:{}", plex.address.port());
    let exporter = root.start(Setup::new(&url).env("PLEX_CA_FILE", "/etc/ca.pem"), true);
    exporter.until_value("plex_up", &[], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
}

#[test]
#[ignore = "needs root and a static binary: make test-static"]
fn contained_binary_needs_no_shared_library() {
    let elf = fs::read(binary()).unwrap();
    assert!(elf.starts_with(b"\x7fELF"));
    let interpreter = [&b"/ld-linux"[..], b"/ld-musl"];
    let found = interpreter
        .iter()
        .any(|name| elf.windows(name.len()).any(|window| window == *name));
    assert!(!found, "it requires a dynamic linker");
}
