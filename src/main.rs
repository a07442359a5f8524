//! The command line: arguments, logging, exit codes.

#![forbid(unsafe_code)]

mod arenas;

use std::{
    env,
    io::{self, StdoutLock, Write as _},
    process::ExitCode,
};

use plex_exporter::{
    check,
    cli::{self, Command},
    config::{self, Config, ProbeConfig},
    health, logging, output, panic_hook, stderr,
};

/// The arguments or the environment are invalid.
const USAGE: u8 = 2;
/// What was asked for could not be done.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    panic_hook::install();
    config::redact_tokens(&|name| env::var_os(name));
    let code = match cli::parse(env::args_os().skip(1)) {
        Ok(Command::Run) => run(),
        Ok(Command::Health) => health(),
        Ok(Command::Check) => check(),
        Ok(Command::Print(asset)) => print(|out| asset.write_to(out)),
        Ok(Command::Version) => print(|out| writeln!(out, "{}", cli::version())),
        Ok(Command::Help) => print(|out| out.write_all(cli::usage().as_bytes())),
        Err(error) => fail(USAGE, &format!("{error}\n\n{}", cli::usage())),
    };
    stderr::flush();
    code
}

fn run() -> ExitCode {
    arenas::limit();
    let config = match Config::from_env(&|name| env::var_os(name)) {
        Ok(config) => config,
        Err(errors) => return fail(USAGE, &errors.to_string()),
    };
    logging::init(config.log_level);
    match plex_exporter::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILURE, &error.to_string()),
    }
}

fn check() -> ExitCode {
    let config = Config::from_env(&|name| env::var_os(name));
    match check::run(config, output::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        // A closed pipe is nobody's error, but then nobody has read that all is well.
        Ok(false) | Err(_) => ExitCode::from(FAILURE),
    }
}

fn health() -> ExitCode {
    match ProbeConfig::from_env(&|name| env::var_os(name)) {
        Ok(config) => match health::probe(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(FAILURE, &format!("unhealthy: {why}")),
        },
        Err(errors) => fail(USAGE, &errors.to_string()),
    }
}

fn print(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> ExitCode {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        // A closed pipe (`plex-exporter --help | head -1`) is nobody's error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(
            FAILURE,
            &format!("standard output cannot be written: {error}"),
        ),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(status: u8, text: &str) -> ExitCode {
    stderr::print(text);
    ExitCode::from(status)
}
