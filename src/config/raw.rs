//! The settings as they are typed: by flags, in the environment, in files that settings name, as systemd credentials.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use clap::builder::{ValueHint, ValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::{Config, ConfigError};

/// One setting as its room declares it. Its flag is its name in lower case and with dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Environment variable.
    pub name: String,
    /// What `--help` says.
    pub help: String,
    /// The heading that `--help` puts it under.
    pub group: String,
    /// None: it is off, or found at start.
    pub default: Option<String>,
    /// Nothing shows its value.
    pub is_secret: bool,
    /// Its value is the name of a file to read.
    is_file: bool,
}

impl Definition {
    fn of(arg: &Arg) -> Option<Self> {
        Some(Self {
            name: arg.get_env()?.to_str()?.to_owned(),
            help: arg.get_help()?.to_string(),
            group: arg.get_help_heading()?.to_owned(),
            default: arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
            is_secret: arg.is_hide_env_values_set(),
            is_file: arg.get_value_hint() == ValueHint::FilePath,
        })
    }

    /// Flag, with its dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.to_lowercase().replace('_', "-"))
    }
}

/// Every setting, in the order of `--help`.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    command_of::<Config>().get_arguments().filter_map(Definition::of).collect()
}

fn command_of<G: Args>() -> Command {
    G::augment_args(Command::new("settings").no_binary_name(true))
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// A file that a setting ending in `_FILE` names.
    File(PathBuf),
    /// A systemd credential.
    Credential(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What was typed on the command line and in the environment: name, text, origin. A blank value means the default.
#[derive(Clone, Default)]
pub struct RawSettings(Vec<(String, String, Origin)>);

/// Without texts, among which are secrets.
impl fmt::Debug for RawSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, ..)| name)).finish()
    }
}

/// As text: a bad value is an error only for a command that needs the setting.
impl Args for RawSettings {
    fn augment_args(command: Command) -> Command {
        command.args(command_of::<Config>().get_arguments().map(|arg| {
            let hint = arg.get_value_hint();
            arg.clone().value_parser(ValueParser::string()).value_hint(hint)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RawSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |Definition { name, .. }: Definition| {
            let id = name.to_lowercase();
            let origin = match matches.value_source(&id)? {
                ValueSource::CommandLine => Origin::Flag,
                ValueSource::EnvVariable => Origin::Environment,
                _ => return None,
            };
            let text = matches.get_one::<String>(&id)?.trim().to_owned();
            (!text.is_empty()).then_some((name, text, origin))
        };
        Ok(Self(definitions().into_iter().filter_map(typed).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RawSettings {
    /// The typed values of one room's settings, or of all.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub(super) fn read<G: Args>(&self) -> Result<G, ConfigError> {
        let command = command_of::<G>();
        let settings: Vec<Definition> = command.get_arguments().filter_map(Definition::of).collect();
        let mut line = Vec::new();
        for setting in &settings {
            line.extend(self.in_force(setting)?.0.map(|text| format!("{}={text}", setting.flag())));
        }
        let command = command.mut_args(|arg| arg.env(None::<&'static str>));
        let values = command.try_get_matches_from(line).and_then(|matches| G::from_arg_matches(&matches));
        values.map_err(|error| {
            // clap's error names the flag, and has the parser's error as its source.
            let is_named = |one: &&Definition| match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(shown)) => shown.split(' ').next() == Some(&one.flag()),
                _ => false,
            };
            let setting = settings.iter().find(is_named);
            let setting =
                setting.unwrap_or_else(|| panic!("BUG: the settings are declared wrongly: {error}"));
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            self.refuse(&setting.name, why)
        })
    }

    /// Text and origin of one setting: what is typed, else what a file holds that is named, or a credential.
    ///
    /// # Errors
    /// A file with a secret cannot be read.
    pub(super) fn in_force(&self, setting: &Definition) -> Result<(Option<String>, Origin), ConfigError> {
        let Definition { name, is_secret, is_file, .. } = setting;
        if let Some((_, text, origin)) = self.typed(name) {
            return Ok((Some(text.clone()), origin.clone()));
        }
        let twin = format!("{name}_FILE");
        let credential = || {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|_| *is_secret || *is_file)?;
            Some(PathBuf::from(folder).join(name)).filter(|path| path.exists())
        };
        let (path, origin) = match (self.typed(&twin).filter(|_| *is_secret), credential) {
            (Some((_, path, _)), _) => (path.clone(), Origin::File(path.into())),
            (None, credential) => match credential() {
                Some(path) => (path.display().to_string(), Origin::Credential(path)),
                None => return Ok((None, Origin::Default)),
            },
        };
        if !is_secret {
            return Ok((Some(path), origin));
        }
        let problem = match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok((Some(text.trim().to_owned()), origin)),
            Ok(_) => format!("the file {path} is empty"),
            Err(error) => format!("the file {path} cannot be read: {error}"),
        };
        Err(ConfigError { name: twin, value: path, problem })
    }

    pub(super) fn typed(&self, name: &str) -> Option<&(String, String, Origin)> {
        self.0.iter().find(|(typed, ..)| typed == name)
    }

    /// Why a setting cannot be used, with what is in force.
    pub(super) fn refuse(&self, name: &str, problem: impl Into<String>) -> ConfigError {
        let setting = definitions().into_iter().find(|one| one.name == name);
        let setting = setting.unwrap_or_else(|| panic!("BUG: there is no setting {name}"));
        let text = self.in_force(&setting).map_or(None, |(text, _)| text).or(setting.default);
        let value = if setting.is_secret { "(not shown)".to_owned() } else { text.unwrap_or_default() };
        ConfigError { name: name.to_owned(), value, problem: problem.into() }
    }
}
