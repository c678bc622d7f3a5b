//! The configuration: one TOML file, the environment over it, a default for every key.
//!
//! [`sections`] and [`tables`] declare the settings, [`source`] reads them from where they are set, [`check`] refuses what
//! cannot work together, [`mod@print`] shows what is in effect and writes the reference. The result is plain
//! data: [`Config`], with absolute paths; nothing here opens a socket or creates a file.

pub(crate) mod address;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod declare;
pub(crate) mod hours;
pub(crate) mod print;
pub(crate) mod sections;
pub(crate) mod source;
pub(crate) mod tables;
pub(crate) mod values;
pub(crate) mod webhooks;

use std::path::{Path, PathBuf};

pub(crate) use sections::{Config, LogConfig};
pub(crate) use source::{Origin, Origins, Problem};
pub(crate) use values::{
    AskEncryption, CredentialsFor, DtmfRule, GatherMode, InactiveMeans, KeysFrom, LeastTls, LogFormat,
    MediaSource, Placement, RelayRule, Role, Size, TlsClients, TrunkTransport, VolumeSetting,
};

use source::Values;

/// Where a file is looked for when none is named.
const SEARCH: [&str; 2] = ["callspool.toml", "/etc/callspool/callspool.toml"];

/// A configuration with the story of where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The settings in effect.
    pub(crate) config: Config,
    /// The file that was read; none: the embedded default.
    pub(crate) file: Option<PathBuf>,
    /// Where each key was set.
    pub(crate) origins: Origins,
}

/// What loading reads beside the file.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Relative paths are taken from here.
    pub(crate) directory: PathBuf,
    /// Whether the machine has IPv6.
    pub(crate) has_ipv6: bool,
    /// The host name.
    pub(crate) host_name: String,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let text = |v: std::ffi::OsString| v.to_string_lossy().into_owned();
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            variables: std::env::vars_os().map(|(k, v)| (text(k), text(v))).collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            has_ipv6: std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|t| !t.trim().is_empty()),
            host_name: host_name.trim().to_owned(),
        }
    }
}

/// Loads the configuration: the named file, else the first that is found, else the embedded default; the
/// environment over it. All that is wrong is told at once.
pub(crate) fn load(named: Option<&Path>, around: &Surroundings) -> Result<Loaded, Vec<Problem>> {
    let mut values = Values::default();
    let file = match named {
        Some(path) => Some(around.directory.join(path)),
        None => SEARCH.iter().map(|p| around.directory.join(p)).find(|p| p.exists()),
    };
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path).map_err(|e| vec![unreadable(path, &e, named.is_some())])?;
        values.add_file(path, &text);
    }
    values.add_env(around.variables.iter().cloned());
    let config = Config::read(&mut values);
    let (origins, mut problems) = values.finish();
    let Some(mut config) = config else { return Err(problems) };
    config.resolve(around, &origins);
    problems.extend(check::check(&config, &origins));
    if problems.is_empty() { Ok(Loaded { config, file, origins }) } else { Err(problems) }
}

fn unreadable(path: &Path, error: &std::io::Error, named: bool) -> Problem {
    use std::io::ErrorKind;
    let (why, todo) = match error.kind() {
        ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "name an existing file, or leave --config out")
        }
        ErrorKind::PermissionDenied => ("no permission to read it".to_owned(), "let this user read it"),
        ErrorKind::InvalidData => ("it is not UTF-8 text".to_owned(), "save it as UTF-8"),
        ErrorKind::IsADirectory => ("it is a directory".to_owned(), "name the file in it"),
        _ if named => (error.to_string(), "name a readable file"),
        _ => (error.to_string(), "remove it, or name another file with --config"),
    };
    Problem::new(path.display().to_string(), why, todo)
}

impl Config {
    /// Fills in what follows from other settings and from the machine, and makes paths absolute.
    fn resolve(&mut self, around: &Surroundings, origins: &Origins) {
        let is_default = |section, key| *origins.get(section, key) == Origin::Default;
        if self.node.name.is_empty() {
            self.node.name.clone_from(&around.host_name);
        }
        self.node.data_dir = absolute(&around.directory, &self.node.data_dir);
        let data_dir = self.node.data_dir.clone();
        for (path, name) in [
            (&mut self.recording.repository, "repository"),
            (&mut self.catalog.path, "catalog.db"),
            (&mut self.catalog.journal, "catalog.journal"),
            (&mut self.api.token_file, "token"),
        ] {
            *path = match path.as_os_str().is_empty() {
                true => data_dir.join(name),
                false => absolute(&around.directory, path),
            };
        }
        // Empty: there is none.
        let of_trunks = self.tables.trunk.values_mut().map(|trunk| &mut trunk.users_file);
        let of_webhooks = self.tables.webhook.values_mut().flat_map(|w| {
            [&mut w.secret_file, &mut w.authorization_file, &mut w.ca, &mut w.certificate, &mut w.key]
        });
        let of_tls = [&mut self.tls.certificate, &mut self.tls.key, &mut self.tls.ca];
        let of_tls = of_tls.into_iter().chain([&mut self.catalog.password_file]);
        for path in of_tls.chain(of_trunks).chain(of_webhooks) {
            if !path.as_os_str().is_empty() {
                *path = absolute(&around.directory, path);
            }
        }
        if !around.has_ipv6 {
            for (key, list) in [("udp", &mut self.sip.udp), ("tcp", &mut self.sip.tcp)] {
                if is_default("sip", key) {
                    list.retain(std::net::SocketAddr::is_ipv4);
                }
            }
            if is_default("media", "listen_v6") {
                self.media.listen_v6 = None;
            }
        }
    }

    /// The embedded default, as it is on this machine.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn embedded(around: &Surroundings) -> Option<Self> {
        let bare = Surroundings { variables: Vec::new(), ..around.clone() };
        let mut config = Self::read(&mut Values::default())?;
        config.resolve(&bare, &Origins::default());
        Some(config)
    }
}

/// `./` and doubled separators are dropped; `..` is left to the system, which knows about links.
fn absolute(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path).components().collect()
}

#[cfg(test)]
mod tests;
