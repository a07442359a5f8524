//! Embeds what the binary was built from (the git revision and the compiler's version) and
//! compresses the files that `plex-exporter print` writes.
//!
//! `PLEX_EXPORTER_REVISION` overrides git, so that a build from a source archive (or in a container
//! without `.git`) can still report its revision.

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use flate2::{Compression, write::GzEncoder};

/// The files that `plex-exporter print` writes.
const ASSETS: [&str; 3] = [
    "dashboard.json",
    "src/assets/alerts.yml",
    "src/assets/plex-exporter.service",
];

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Writes `<OUT_DIR>/<file name>.gz`.
fn compress(asset: &Path) -> io::Result<()> {
    let name = asset.file_name().unwrap_or_default().display();
    let out_dir = env::var_os("OUT_DIR").unwrap_or_default();
    let out = File::create(Path::new(&out_dir).join(format!("{name}.gz")))?;
    let mut encoder = GzEncoder::new(out, Compression::best());
    encoder.write_all(&fs::read(asset)?)?;
    encoder.finish()?;
    Ok(())
}

fn main() -> io::Result<()> {
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
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=src/build.rs");
    for asset in ASSETS {
        println!("cargo::rerun-if-changed={asset}");
        compress(Path::new(asset))?;
    }
    Ok(())
}
