//! What can go wrong with the catalog, sorted by what the caller does about it.
//!
//! *Away* is retried, *damaged* is set aside and rebuilt, *refused* concerns one change only and is never
//! retried. What nobody foresaw is *unknown*: of one change where others get through, of the catalog where none does.
//! Nothing here decides; the writer does.

use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

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
    /// A server that does not answer, or refuses us, or is a standby: it may come back, or another.
    #[error("the catalog at {server} does not answer: {source}")]
    Server {
        /// Which.
        server: String,
        /// What it said, or sqlx.
        #[source]
        source: sqlx::Error,
    },
    /// The tables on a server were made by another version.
    #[error("the tables of the catalog at {server} do not fit this version of callspool: {why}")]
    Tables {
        /// Which server.
        server: String,
        /// What does not fit.
        why: String,
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
    /// What only a catalog in a file can do.
    #[error("the catalog is on a server, which has ways of its own to do that (pg_dump)")]
    OnAServer,
    /// The database says something that no part of callspool should make it say.
    #[error("the catalog fails at what should work: {0}")]
    Unknown(#[source] sqlx::Error),
    /// A row holds what no version of callspool wrote.
    #[error("the catalog holds what cannot be read: {0}")]
    Unreadable(String),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What an error means to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Away,
    Damaged,
    Refused,
    Unknown,
}

pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Encode(_) => Trouble::Refused,
        sqlx::Error::Database(e) => match e.try_downcast_ref::<PgDatabaseError>() {
            Some(e) => of_postgres(e.code()),
            None => of_sqlite(e.code().and_then(|c| c.parse().ok()).unwrap_or(0)),
        },
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound
        | sqlx::Error::InvalidArgument(_) => Trouble::Unknown,
        _ => Trouble::Away,
    }
}

/// The primary result codes of SQLite (<https://sqlite.org/rescode.html>).
fn of_sqlite(code: i32) -> Trouble {
    const ERROR: i32 = 1;
    const INTERNAL: i32 = 2;
    const CORRUPT: i32 = 11;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const MISUSE: i32 = 21;
    const RANGE: i32 = 25;
    const NOT_A_DATABASE: i32 = 26;
    match code & 0xff {
        CORRUPT | NOT_A_DATABASE => Trouble::Damaged,
        TOO_BIG | CONSTRAINT | MISMATCH => Trouble::Refused,
        ERROR | INTERNAL | MISUSE | RANGE => Trouble::Unknown,
        _ => Trouble::Away,
    }
}

/// SQLSTATE, by its classes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn of_postgres(code: &str) -> Trouble {
    /// A standby takes no writes.
    const READ_ONLY: &str = "25006";
    /// An operator took a right from us, and can give it back.
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    const DATA_CORRUPTED: &str = "XX001";
    const INDEX_CORRUPTED: &str = "XX002";
    match code {
        READ_ONLY | INSUFFICIENT_PRIVILEGE => return Trouble::Away,
        DATA_CORRUPTED | INDEX_CORRUPTED => return Trouble::Damaged,
        _ => {}
    }
    match code.get(..2).unwrap_or_default() {
        // Connection, authorization, no such database, rolled back for another's sake, out of resources, in use, shut
        // down or cancelled, the system.
        "08" | "28" | "3D" | "40" | "53" | "55" | "57" | "58" => Trouble::Away,
        // What is no such value, breaks a constraint, or is larger than anything may be.
        "22" | "23" | "54" => Trouble::Refused,
        _ => Trouble::Unknown,
    }
}

/// Whether two transactions got in each other's way, and this one had to give way: done again, it gets through.
pub(crate) fn is_crossed(error: &CatalogError) -> bool {
    const SERIALIZATION_FAILURE: &str = "40001";
    const DEADLOCK_DETECTED: &str = "40P01";
    let CatalogError::Away(sqlx::Error::Database(e)) = error else { return false };
    e.code().is_some_and(|code| code == SERIALIZATION_FAILURE || code == DEADLOCK_DETECTED)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_sorted_by_what_is_done_about_it() {
        for (code, expected) in [
            ("57P01", Trouble::Away), // it is shut down
            ("57014", Trouble::Away), // a deadline of ours
            ("25006", Trouble::Away),
            ("40P01", Trouble::Away),
            ("53300", Trouble::Away), // too many connections
            ("28P01", Trouble::Away), // another password
            ("42501", Trouble::Away),
            ("23503", Trouble::Refused),
            ("22021", Trouble::Refused),
            ("54000", Trouble::Refused),
            ("XX001", Trouble::Damaged),
            ("42703", Trouble::Unknown), // no such column
            ("XX000", Trouble::Unknown),
            ("", Trouble::Unknown),
        ] {
            assert_eq!(of_postgres(code), expected, "{code}");
        }
    }
}
