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
use logs_ingest::host::exit::{Exit, StartError};
use logs_ingest::host::systemd::Manager;
use logs_ingest::host::{crash, privilege, scheduling, signals, thread};
use logs_ingest::telemetry::logging;

fn main() -> ExitCode {
    let closed_off = privilege::close_off();
    let exit = match Cli::try_parse() {
        Ok(Cli { command: None | Some(Command::Serve), settings }) => serve(&settings, closed_off),
        Ok(Cli { command: Some(command), settings }) => commands::run(&command, &settings),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.into()
}

fn serve(settings: &RawSettings, closed_off: io::Result<()>) -> Exit {
    let ran =
        Config::from_raw(settings).map_err(|problem| StartError::setting(&problem)).and_then(|config| {
            let gathers = scheduling::gather_wake_ups();
            let logs = logging::start(config.logging.log_level)
                .map_err(|problem| StartError::system("cannot start logging", &problem))?;
            crash::log_panics();
            privilege::warn_of_root();
            if let Err(problem) = closed_off {
                info!("cannot turn core dumps off, a core dump would hold keys and events: {problem}");
            }
            if let Err(problem) = gathers {
                info!("cannot set the scheduling policy, requests cost more CPU: {problem}");
            }
            let ran = run(&config);
            logs.flush();
            ran
        });
    ran.unwrap_or_else(|problem| {
        // In the log's form, whether or not logging runs.
        eprintln!("logs-ingest: {problem}");
        problem.exit
    })
}

fn run(config: &Config) -> Result<Exit, StartError> {
    info!("logs-ingest {} starts pid={}", env!("CARGO_PKG_VERSION"), std::process::id());
    if !config.rules.redact_pan {
        warn!("REDACT_PAN=off: card numbers in events are stored and sent unmasked");
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let signals = signals::listen_and_note(Arc::clone(&stopping))
        .map_err(|problem| StartError::system("cannot receive signals", &problem))?;
    let app = App::start(config, &stopping)?;
    let manager = Manager::start(app.pulse())
        .map_err(|problem| StartError::system("cannot start a thread", &problem))?;
    let reload = || {
        app.reload();
        manager.reloaded();
    };
    match signals::wait(&signals, thread::ends(), reload) {
        Exit::Ok => {
            manager.stopping();
            Ok(app.stop(config.shutdown_timeout()))
        }
        failed => Ok(failed),
    }
}
