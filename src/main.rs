//! The daemon's lifecycle on one screen.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use log::{info, warn};
use logs_ingest::app::App;
use logs_ingest::commands::{self, Cli, Command};
use logs_ingest::config::{Config, RawSettings};
use logs_ingest::host::exit::Exit;
use logs_ingest::host::signals;
use logs_ingest::host::systemd::Manager;
use logs_ingest::host::{crash, privilege, scheduling, thread};
use logs_ingest::telemetry::logging;

fn main() -> ExitCode {
    let closed_off = privilege::close_off();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = match cli.command {
        None | Some(Command::Serve) => serve(&cli.settings, closed_off),
        Some(command) => commands::run(&command, &cli.settings),
    };
    exit.into()
}

fn serve(settings: &RawSettings, closed_off: io::Result<()>) -> Exit {
    let config = match Config::from_raw(settings) {
        Ok(config) => config,
        Err(problem) => return complain(Exit::Config, &problem.to_string()),
    };
    let gathers = scheduling::gather_wake_ups();
    let logs = match logging::start(config.log_level) {
        Ok(logs) => logs,
        Err(problem) => return complain(Exit::Unavailable, &format!("logging can't start: {problem}")),
    };
    crash::log_panics();
    privilege::warn_of_root();
    if let Err(problem) = closed_off {
        info!("core dumps can't be turned off, one would hold keys and events: {problem}");
    }
    if let Err(problem) = gathers {
        info!("the scheduling policy can't be set, requests cost more CPU: {problem}");
    }
    let exit = run(&config);
    logs.flush();
    exit
}

fn run(config: &Config) -> Exit {
    info!("logs-ingest {} starts pid={}", env!("CARGO_PKG_VERSION"), std::process::id());
    if !config.rules.redact_cards {
        warn!("REDACT_PAN=off: card numbers in events are stored and sent on as they come");
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let signals = match signals::listen_and_note(Arc::clone(&stopping)) {
        Ok(signals) => signals,
        Err(problem) => return complain(Exit::Unavailable, &format!("signals can't be received: {problem}")),
    };
    let app = match App::start(config, &stopping) {
        Ok(app) => app,
        Err(problem) => return complain(problem.exit, &problem.to_string()),
    };
    let manager = match Manager::start(app.pulse()) {
        Ok(manager) => manager,
        Err(problem) => return complain(Exit::Unavailable, &format!("a thread can't be started: {problem}")),
    };
    let reload = || {
        app.reload();
        manager.reloaded();
    };
    if signals::wait(&signals, thread::ends(), reload) == Exit::Software {
        return Exit::Software;
    }
    manager.stopping();
    app.stop(config.shutdown_timeout)
}

/// One clear line on stderr, in the log's form, whether or not logging runs.
fn complain(exit: Exit, problem: &str) -> Exit {
    eprintln!("logs-ingest: {problem}");
    exit
}
