//! The daemon's lifecycle on one screen.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Parser;
use crossbeam_channel::{Receiver, at, never, select};
use log::{error, info, warn};
use logs_ingest::app::App;
use logs_ingest::commands::{self, Cli, Command};
use logs_ingest::config::{Config, RawSettings};
use logs_ingest::host::exit::Exit;
use logs_ingest::host::signals::{self, Signal};
use logs_ingest::host::systemd::Manager;
use logs_ingest::host::{crash, privilege, scheduling};
use logs_ingest::limits::RELOAD_INTERVAL;
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
    let died = crash::report_panics();
    privilege::warn_of_root();
    if let Err(problem) = closed_off {
        info!("core dumps can't be turned off, one would hold keys and events: {problem}");
    }
    if let Err(problem) = gathers {
        info!("the scheduling policy can't be set, requests cost more CPU: {problem}");
    }
    let exit = run(&config, &died);
    logs.flush();
    exit
}

fn run(config: &Config, died: &Receiver<()>) -> Exit {
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
    if wait(&signals, &app, &manager, died) == Exit::Software {
        error!("BUG: a thread that is needed is gone; the process ends so that it is started anew");
        return Exit::Software;
    }
    manager.stopping();
    app.stop(config.shutdown_timeout)
}

/// Until a signal says stop (`Ok`), or a thread is gone (`Software`). Files are read anew meanwhile, however
/// often it is asked for: not more often than each [`RELOAD_INTERVAL`], and after the last time for sure.
fn wait(signals: &Receiver<Signal>, app: &App, manager: &Manager, died: &Receiver<()>) -> Exit {
    let mut not_before = Instant::now();
    let mut reload = never();
    loop {
        select! {
            recv(died) -> _ => return Exit::Software,
            recv(app.producer_ended()) -> _ => return Exit::Software,
            recv(reload) -> _ => {
                app.reload();
                manager.reloaded();
                not_before = Instant::now() + RELOAD_INTERVAL;
                reload = never();
            }
            recv(signals) -> signal => match signal {
                Ok(Signal::Reload) => reload = at(not_before),
                Ok(Signal::Stop(name)) => {
                    info!("{name}: stopping");
                    return Exit::Ok;
                }
                Err(_) => return Exit::Software,
            }
        }
    }
}

/// One clear line on stderr, in the log's form, whether or not logging runs.
fn complain(exit: Exit, problem: &str) -> Exit {
    eprintln!("logs-ingest: {problem}");
    exit
}
