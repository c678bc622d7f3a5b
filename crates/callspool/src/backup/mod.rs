//! Backups: all that a node knows beside its recordings, in one file.
//!
//! ```text
//!  tar ┬ manifest.json      what follows: names, settings, SHA-256 (the digests cover every byte below)
//!      ├ catalog.db         the catalog as of one moment
//!      ├ catalog.journal    what it had not taken yet, if anything
//!      ├ file-0 …           each file that a setting names: access token, TLS certificates and keys
//!      └ callspool.toml     the configuration file, if one was read
//! ```
//!
//! It holds secrets, and is readable by its owner alone. Recordings are not in it: they are files of their own, which
//! tools for large trees copy better; `callspool reindex` joins the two. The journal is read before the catalog: what
//! leaves it in between is in the catalog, and what is in both is the same once more.

mod restore;
mod take;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use restore::{Restored, Wanted, restore};
pub(crate) use take::take;

use crate::config::Config;
use crate::config::sections::SECTIONS;
use crate::config::tables::TABLES;

/// The version of the format. A newer one is refused, older ones are read for ever.
const FORMAT: u32 = 1;
/// The manifest's name, first in the archive.
const MANIFEST: &str = "manifest.json";
/// The longest manifest: some hundred files.
const MANIFEST_MAX: u64 = 1 << 20;
/// Files that settings name, at most: a thousand trunks may have one each.
const FILES_MAX: usize = 1_200;
/// The longest of them: a chain of certificates has some kilobytes.
const FILE_MAX: u64 = 1 << 20;
/// In the place of a setting, for the configuration file itself.
const CONFIGURATION: &str = "configuration";
const CATALOG: &str = "catalog.path";
const JOURNAL: &str = "catalog.journal";

/// What a backup holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The version that made it.
    pub(crate) callspool: String,
    /// When, RFC 3339 in UTC.
    pub(crate) made: String,
    /// Of which node.
    pub(crate) node: u16,
    /// In the order of the archive.
    pub(crate) files: Vec<Entry>,
}

/// A file in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// In the archive.
    pub(crate) name: String,
    /// The setting that says where it lies, or `configuration`.
    pub(crate) setting: String,
    /// Where it lay.
    pub(crate) path: PathBuf,
    pub(crate) octets: u64,
    pub(crate) sha256: String,
}

/// Each file that a setting names, by the setting; some are directories.
fn named_files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut name = |setting: String, toml: String| {
        let value: Option<toml::Value> = toml.parse().ok();
        if let Some(path) = value.as_ref().and_then(toml::Value::as_str).filter(|p| !p.is_empty()) {
            files.push((setting, PathBuf::from(path)));
        }
    };
    for section in SECTIONS {
        for key in section.keys.iter().filter(|k| k.unit.contains("path")) {
            name(format!("{}.{}", section.name, key.name), (key.effective)(config));
        }
    }
    for kind in TABLES {
        for key in kind.keys.iter().filter(|k| k.unit.contains("path")) {
            for table in (kind.names)(&config.tables) {
                if let Some(toml) = (key.effective)(&config.tables, table) {
                    name(format!("{}.{table}.{}", kind.name, key.name), toml);
                }
            }
        }
    }
    files
}
