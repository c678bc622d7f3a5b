//! What can go wrong with the catalog, sorted by what the caller does about it.
//!
//! *Away* is retried, *damaged* is set aside and rebuilt, *refused* concerns one change only and is never
//! retried. What nobody foresaw is *unknown*: of one change where others get through, of the catalog where none does.
//! Nothing here decides; the writer does.

use std::path::PathBuf;

/// The catalog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory cannot be made or read.
    #[error("cannot open the catalog {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Locked, read-only, disk full: it may come back.
    #[error("the catalog {} does not answer: {source}", path.display())]
    Away {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// Something else lies there, or it is corrupt.
    #[error("{} is no catalog or is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// Its tables were made by another version.
    #[error("the tables of the catalog {} do not fit this version of callspool: {source}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// A question to the catalog, or a change of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Locked, read-only, disk full, deleted: try again later.
    #[error("the catalog does not answer: {0}")]
    Away(#[source] sqlx::Error),
    /// The file at the path is not the one that was open, and the writer has not opened the new one yet.
    #[error("the catalog was replaced and is being opened again")]
    Replaced,
    /// No catalog, or a corrupt one.
    #[error("the catalog is damaged: {0}")]
    Damaged(#[source] sqlx::Error),
    /// What was asked for cannot be stored, whoever asks and however often.
    #[error("the catalog refuses a change: {0}")]
    Refused(#[source] sqlx::Error),
    /// SQLite says something that no part of callspool should make it say.
    #[error("the catalog fails at what should work: {0}")]
    Unknown(#[source] sqlx::Error),
    /// A row holds what no version of callspool wrote.
    #[error("the catalog holds what cannot be read: {0}")]
    Unreadable(String),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What the primary result codes of SQLite (<https://sqlite.org/rescode.html>) mean to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Away,
    Damaged,
    Refused,
    Unknown,
}

pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    const ERROR: i32 = 1;
    const INTERNAL: i32 = 2;
    const CORRUPT: i32 = 11;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const MISUSE: i32 = 21;
    const RANGE: i32 = 25;
    const NOT_A_DATABASE: i32 = 26;
    match error {
        sqlx::Error::Encode(_) => Trouble::Refused,
        sqlx::Error::Database(e) => {
            let code = e.code().and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
            match code & 0xff {
                CORRUPT | NOT_A_DATABASE => Trouble::Damaged,
                TOO_BIG | CONSTRAINT | MISMATCH => Trouble::Refused,
                ERROR | INTERNAL | MISUSE | RANGE => Trouble::Unknown,
                _ => Trouble::Away,
            }
        }
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound
        | sqlx::Error::InvalidArgument(_) => Trouble::Unknown,
        _ => Trouble::Away,
    }
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Unreadable(error.to_string()),
            _ => match trouble(&error) {
                Trouble::Away => Self::Away(error),
                Trouble::Damaged => Self::Damaged(error),
                Trouble::Refused => Self::Refused(error),
                Trouble::Unknown => Self::Unknown(error),
            },
        }
    }
}
