//! `init`: writes a commented file of every setting, made from the definitions behind `--help`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::whole_file::WholeFile;
use crate::config::{Definition, definitions};

/// Columns of a comment.
const WIDTH: usize = 100;

const HEAD: &str = "\
# Settings of logs-ingest: for EnvironmentFile= of a systemd unit, or for a shell (set -a; . FILE; set +a).
#
# Every setting is here with its default, commented out: remove the # before its name to change it.
# Sizes are bytes, or have KiB, MiB or GiB; durations are seconds, or have ms, s, m or h. A blank value means
# the default. `logs-ingest check-config` shows what is in force and whether it works.
#
# Passwords are better kept in files of their own (the settings that end in _FILE) or in systemd credentials.
";

/// Write a commented file of all settings.
///
/// Each is there with its default and what it means. A file that exists already is left alone.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// The file; - is standard output
    #[arg(value_name = "FILE", default_value = "logs-ingest.env")]
    file: PathBuf,

    /// Replace a file that exists already
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs) -> Result<(), String> {
    let text = sample(&definitions());
    if args.file == Path::new("-") {
        return std::io::stdout().write_all(text.as_bytes()).or_else(|error| match error.kind() {
            ErrorKind::BrokenPipe => Ok(()),
            _ => Err(format!("cannot write to standard output: {error}")),
        });
    }
    let path = &args.file;
    let unwritable = |error| format!("cannot write {}: {error}", path.display());
    if !args.force {
        // Takes the name, so that a file that appears now is not replaced either.
        File::create_new(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => format!(
                "{} exists already and stays as it is: use --force to replace it, or `init -` to see the new one",
                path.display()
            ),
            _ => unwritable(error),
        })?;
    }
    let write = || {
        let mut file = WholeFile::begin(path)?;
        file.write_all(text.as_bytes())?;
        file.keep()
    };
    write().map_err(|error| {
        if !args.force {
            let _ = fs::remove_file(path);
        }
        unwritable(error)
    })?;
    println!("wrote {}: edit it, then run `logs-ingest check-config` with it", path.display());
    Ok(())
}

/// The file's text.
fn sample(settings: &[Definition]) -> String {
    let mut text = HEAD.to_owned();
    let mut group = "";
    for setting in settings {
        if setting.group != group {
            group = &setting.group;
            text.push_str(&format!("\n## {group}\n"));
        }
        text.push('\n');
        for line in wrap(&setting.help, WIDTH - 2) {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("#{}={}\n", setting.name, setting.default.as_deref().unwrap_or_default()));
    }
    text
}

/// Lines of at most `width` characters, broken at blanks.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("BUG: there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Cli;
    use crate::config::Config;

    #[test]
    fn the_sample_file_is_what_init_writes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/logs-ingest.env");
        let advice = "the settings changed: cargo run -- init --force deploy/logs-ingest.env";
        assert!(fs::read_to_string(path).unwrap() == sample(&definitions()), "{advice}");
    }

    #[test]
    fn words_are_kept_and_lines_are_short() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-word-that-is-long b", 5), ["a-word-that-is-long", "b"]);
    }

    #[test]
    fn with_every_line_taken_in_the_defaults_are_in_force() {
        let text = sample(&definitions());
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        let settings =
            text.lines().filter(|line| line.contains('=')).filter_map(|line| line.strip_prefix('#'));
        let settings: Vec<(&str, &str)> =
            settings.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once('=')).collect();
        assert_eq!(settings.len(), definitions().len());
        let flags = settings.iter().map(|(name, value)| {
            let flag = name.to_lowercase().replace('_', "-");
            format!("--{flag}={value}")
        });
        let config = |arguments: Vec<String>| {
            let cli = Cli::try_parse_from(["logs-ingest".to_owned()].into_iter().chain(arguments)).unwrap();
            format!("{:?}", Config::from_raw(&cli.settings).unwrap())
        };
        assert_eq!(config(flags.collect()), config(Vec::new()));
    }
}
