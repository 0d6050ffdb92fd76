//! The settings as they are defined, for whoever shows or documents them.

use clap::{Arg, Args, Command};

use super::RawSettings;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Environment variable.
    pub name: String,
    /// Flag, without its dashes.
    pub flag: String,
    /// What `--help` says.
    pub help: String,
    /// The group that `--help` puts it in.
    pub group: String,
    /// None: it is off, or found out at start.
    pub default: Option<String>,
    /// Its value is nobody's business.
    pub is_secret: bool,
    /// What clap knows it by.
    pub(super) id: String,
}

impl Definition {
    fn of(arg: &Arg) -> Option<Self> {
        let name = arg.get_env()?.to_str()?.to_owned();
        Some(Self {
            name,
            flag: arg.get_long()?.to_owned(),
            help: arg.get_help()?.to_string(),
            group: arg.get_help_heading()?.to_owned(),
            default: arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
            is_secret: arg.is_hide_env_values_set(),
            id: arg.get_id().to_string(),
        })
    }
}

/// Every setting, in the order of `--help`.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let command = RawSettings::augment_args(Command::new("settings"));
    command.get_arguments().filter_map(Definition::of).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_readmes_table_has_every_setting_and_its_default() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let (_, after) = readme.split_once("\n## Settings\n").expect("a chapter of settings");
        let chapter = after.split("\n## ").next().unwrap();
        let mut rows = BTreeMap::new();
        for row in chapter.lines().filter_map(|line| line.strip_prefix("| `")) {
            let (names, rest) = row.split_once(" | ").unwrap();
            let default = rest.split(" | ").next().unwrap();
            // A row may be about two that belong together.
            rows.extend(names.trim_end_matches('`').split("`, `").map(|name| (name, default)));
        }
        for Definition { name, default, .. } in definitions() {
            let shown = rows.remove(&*name).unwrap_or_else(|| panic!("{name} is not in the README's table"));
            match default {
                Some(default) => assert_eq!(shown, format!("`{default}`"), "{name} in the README's table"),
                None => assert!(!shown.starts_with('`') || shown.contains(" or "), "{name}: {shown}"),
            }
        }
        assert!(rows.is_empty(), "in the README's table, but no settings: {rows:?}");
    }

    #[test]
    fn every_setting_has_a_variable_a_flag_a_group_and_help() {
        let arguments = RawSettings::augment_args(Command::new("settings")).get_arguments().count();
        let all = definitions();
        assert_eq!(all.len(), arguments, "a setting lacks one of them");
        for one in &all {
            assert_eq!(
                one.flag,
                one.name.to_lowercase().replace('_', "-"),
                "the flag is the variable's name"
            );
            assert!(!one.help.ends_with('.') && one.help.len() > 20, "{}: {:?}", one.name, one.help);
        }
        let secrets: Vec<&str> = all.iter().filter(|one| one.is_secret).map(|one| &*one.name).collect();
        assert!(secrets.contains(&"POSTGRES_URL"), "{secrets:?}");
    }
}
