//! Where a catalog is: in a file of this node, or on a server that several nodes share.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::postgres::PostgresSettings;

/// Where a catalog is. A path is a file.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of SQLite, for one node.
    File(PathBuf),
    /// A database of PostgreSQL, for any number of nodes.
    Postgres(PostgresSettings),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(settings) => settings.fmt(f),
        }
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<PostgresSettings> for Place {
    fn from(settings: PostgresSettings) -> Self {
        Self::Postgres(settings)
    }
}
