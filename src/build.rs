//! Tells the binary what it was built from: the git revision and the compiler's version.
//!
//! `PLEX_EXPORTER_REVISION` wins over git, so that a build from a source archive (or in a container
//! that has no `.git`) can still say where it comes from.

use std::{env, process::Command};

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn main() {
    let revision = env::var("PLEX_EXPORTER_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(|| output_of("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rust_version = output_of(&rustc, &["--version"])
        .and_then(|line| line.split(' ').nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=PLEX_EXPORTER_REVISION={revision}");
    println!("cargo::rustc-env=PLEX_EXPORTER_RUSTVERSION={rust_version}");
    println!("cargo::rerun-if-env-changed=PLEX_EXPORTER_REVISION");
    // HEAD changes on checkout, logs/HEAD on every commit; outside a checkout neither exists and
    // the revision cannot change either.
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=src/build.rs");
}
