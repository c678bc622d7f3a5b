//! Reading the configuration again while calls go on.
//!
//! What can be applied to a running process is ([`LIVE`]); what cannot is named, and taken with the next start. A
//! configuration that cannot be used changes nothing. The environment of a process stays as it was at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::{self, Config, Loaded, Problem, Surroundings};
use crate::users::{self, TrunkUsers};
use crate::webhook::{self, Targets};

/// A setting by its name, and how it is taken over.
type Live = (&'static str, fn(&mut Config, &Config));

macro_rules! live {
    ($($section:ident . $key:ident),+ $(,)?) => {
        &[$((
            concat!(stringify!($section), ".", stringify!($key)),
            |to, new| to.$section.$key.clone_from(&new.$section.$key),
        )),+]
    };
}

/// Kinds of named tables that are applied to a running process as a whole, by how their settings begin.
pub(crate) const LIVE_TABLES: &[Live] = &[
    ("trunk.", |to, new| to.tables.trunk.clone_from(&new.tables.trunk)),
    ("tenant.", |to, new| to.tables.tenant.clone_from(&new.tables.tenant)),
    ("webhook.", |to, new| to.tables.webhook.clone_from(&new.tables.webhook)),
];

/// The settings that are applied to a running process. Addresses, directories, threads and sizes of buffers are not:
/// calls depend on them.
pub(crate) const LIVE: &[Live] = live![
    node.shutdown_grace,
    node.handover,
    media.advertised_v4,
    media.advertised_v6,
    media.hold_timeout,
    media.relay,
    recording.linger,
    recording.inactive_means,
    recording.dtmf,
    recording.video,
    recording.max_calls,
    api.allowed_hosts,
    alarms.repeat,
    alarms.max_subjects,
    alarms.no_media,
    alarms.one_way,
    alarms.silence,
    alarms.loss,
    alarms.disk_full_within,
    log.level,
];

/// What a reload changed, by names of settings. Values are not told: some are secrets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reloaded {
    /// In effect now.
    pub(crate) in_effect: Vec<String>,
    /// In effect after the next start.
    pub(crate) at_restart: Vec<String>,
}

/// The configuration in effect, and where it came from.
pub(crate) struct Reloader {
    /// The file that was named on the command line.
    named: Option<PathBuf>,
    around: Surroundings,
    config: Config,
    /// The value of each setting in effect.
    values: BTreeMap<String, Value>,
    /// The users of trunks, as their files had them last.
    users: TrunkUsers,
    /// The webhooks with their files as they were last.
    webhooks: Targets,
}

impl Reloader {
    pub(crate) fn new(
        named: Option<PathBuf>,
        around: Surroundings,
        loaded: &Loaded,
        users: TrunkUsers,
        webhooks: Targets,
    ) -> Self {
        Self { named, around, config: loaded.config.clone(), values: values_of(loaded), users, webhooks }
    }

    /// The webhooks in effect.
    pub(crate) const fn webhooks(&self) -> &Targets {
        &self.webhooks
    }

    /// The users of trunks in effect.
    pub(crate) fn users(&self) -> &TrunkUsers {
        &self.users
    }

    /// The configuration in effect.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the configuration again; [`Self::config`] is the new one, as far as it can be in effect.
    pub(crate) fn reload(&mut self) -> Result<Reloaded, Vec<Problem>> {
        let loaded = config::load(self.named.as_deref(), &self.around)?;
        // Passwords change without a change of the configuration.
        let users = users::load(&loaded.config)?;
        let webhooks = webhook::load(&loaded.config)?;
        let new = values_of(&loaded);
        let names: std::collections::BTreeSet<&String> = self.values.keys().chain(new.keys()).collect();
        let changed: Vec<String> =
            names.into_iter().filter(|n| self.values.get(*n) != new.get(*n)).cloned().collect();
        let mut reloaded = Reloaded::default();
        for name in changed {
            let table = || LIVE_TABLES.iter().find(|(begin, _)| name.starts_with(begin));
            match LIVE.iter().find(|(live, _)| *live == name).or_else(table) {
                Some((_, take_over)) => {
                    take_over(&mut self.config, &loaded.config);
                    match new.get(&name) {
                        Some(value) => self.values.insert(name.clone(), value.clone()),
                        None => self.values.remove(&name),
                    };
                    reloaded.in_effect.push(name);
                }
                None => reloaded.at_restart.push(name),
            }
        }
        if users != self.users {
            reloaded.in_effect.push("users of trunks".to_owned());
            self.users = users;
        }
        // Whether a file of theirs has changed, who runs them sees.
        self.webhooks = webhooks;
        Ok(reloaded)
    }
}

/// Every setting by its full name.
fn values_of(loaded: &Loaded) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    flatten("", &config::print::effective_json(loaded), &mut values);
    values
}

/// A setting is an object with its value and where it is from; all others are sections.
fn flatten(prefix: &str, node: &Value, values: &mut BTreeMap<String, Value>) {
    let Some(members) = node.as_object() else { return };
    if let (Some(value), Some(_)) = (members.get("value"), members.get("from")) {
        values.insert(prefix.to_owned(), value.clone());
        return;
    }
    for (name, member) in members {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        flatten(&name, member, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn reloader(text: &str) -> (tempfile::TempDir, Reloader) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("callspool.toml");
        std::fs::write(&file, text).unwrap();
        let around = Surroundings {
            variables: Vec::new(),
            directory: dir.path().to_owned(),
            has_ipv6: false,
            host_name: "test".to_owned(),
        };
        let loaded = config::load(Some(&file), &around).unwrap();
        (dir, Reloader::new(Some(file), around, &loaded, TrunkUsers::new(), Targets::new()))
    }

    #[test]
    fn what_can_be_applied_is_and_the_rest_is_named_until_the_next_start() {
        let (dir, mut reloader) = reloader("[recording]\nmax_calls = 10\n");
        assert_eq!(reloader.reload().unwrap(), Reloaded::default());
        let write = |text: &str| std::fs::write(dir.path().join("callspool.toml"), text).unwrap();
        write("[recording]\nmax_calls = 20\n[sip]\nudp = \"127.0.0.1:5070\"\n[log]\nlevel = \"debug\"\n");
        let expected = Reloaded {
            in_effect: vec!["log.level".to_owned(), "recording.max_calls".to_owned()],
            at_restart: vec!["sip.udp".to_owned()],
        };
        assert_eq!(reloader.reload().unwrap(), expected);
        assert_eq!(
            (reloader.config().recording.max_calls, reloader.config().log.level.as_str()),
            (20, "debug")
        );
        assert_eq!(reloader.config().sip.udp[0].port(), 5_060, "it listens where it did");
        let again = Reloaded { in_effect: Vec::new(), ..expected };
        assert_eq!(reloader.reload().unwrap(), again, "what waits for a start goes on to be told");
    }

    #[test]
    fn trunks_tenants_and_users_come_and_go() {
        let (dir, mut reloader) = reloader("[trunk.a]\nfrom = \"192.0.2.1\"\n");
        let write = |text: &str| std::fs::write(dir.path().join("callspool.toml"), text).unwrap();
        write(
            "[tenant.t]\nmax_calls = 1\n[trunk.b]\nfrom = \"192.0.2.2\"\ntenant = \"t\"\nusers_file = \"users\"\n",
        );
        assert!(reloader.reload().unwrap_err()[0].to_string().contains("trunk.b.users_file"));
        assert_eq!(reloader.config().tables.trunk.keys().collect::<Vec<_>>(), ["a"], "nothing is changed");
        let users = dir.path().join("users");
        let password = |text: &str| {
            let change = users::Change::Password(text, &sip::auth::Algorithm::ALL);
            users::change(&users, "sbc", "callspool", &change).unwrap();
        };
        password("sesame");
        let reloaded = reloader.reload().unwrap();
        assert_eq!(reloaded.at_restart, Vec::<String>::new());
        for name in ["trunk.a.from", "trunk.b.from", "tenant.t.max_calls", "users of trunks"] {
            assert!(reloaded.in_effect.iter().any(|n| n == name), "{name}: {reloaded:?}");
        }
        assert_eq!(reloader.config().tables.trunk.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(reloader.reload().unwrap(), Reloaded::default());
        password("other");
        assert_eq!(reloader.reload().unwrap().in_effect, ["users of trunks"]);
    }

    #[test]
    fn a_configuration_that_cannot_be_used_changes_nothing() {
        let (dir, mut reloader) = reloader("[node]\nshutdown_grace = \"7s\"\n");
        for broken in ["[node\n", "[node]\nshutdown_grace = \"2h\"\n", "[nodes]\n"] {
            std::fs::write(dir.path().join("callspool.toml"), broken).unwrap();
            assert!(!reloader.reload().unwrap_err().is_empty());
        }
        std::fs::remove_file(dir.path().join("callspool.toml")).unwrap();
        assert!(!reloader.reload().unwrap_err().is_empty());
        assert_eq!(reloader.config().node.shutdown_grace, Duration::from_secs(7));
    }

    #[test]
    fn every_live_setting_exists_and_is_taken_over_and_the_docs_list_them() {
        let (_dir, reloader) = reloader("");
        let document = include_str!("../../../docs/operation.md");
        for (name, _) in LIVE {
            assert!(reloader.values.contains_key(*name), "{name}");
            assert!(
                document.contains(&format!("`{name}`")),
                "docs/operation.md does not say that {name} is live"
            );
        }
    }
}
