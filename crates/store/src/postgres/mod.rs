//! The catalog on a server with PostgreSQL, for any number of nodes.
//!
//! A server that is gone for a while, is replaced by a standby, or is slow is an ordinary event: what cannot be written
//! goes to the journal ([`Worker`](crate::Worker)), and what was asked is asked again of whoever is there. Nothing here
//! waits without a deadline.

mod engine;
mod partitions;
mod server;
mod settings;
#[path = "../sql/mod.rs"]
pub(crate) mod sql;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{CallId, Change};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::catalog::QUESTION;
use crate::concerned::concerned;
use crate::error::{CatalogError, OpenError, is_crossed};
use server::{Database, Need, silent};

pub(crate) use server::Identity;
pub use settings::{PostgresSettings, SettingsError};

/// How long a batch may take: each statement has a deadline at the server, and this is for one that is not heard of.
const WRITE: Duration = Duration::from_secs(60);
/// How often a transaction that had to give way to another one is done again at once.
const CROSSED_MAX: usize = 5;
/// Calls that a transaction locks, but for those that are one with them. Locks of all nodes together must find room in
/// the server's table: 6,400 by default.
const CALLS_MAX: usize = 256;

/// The server, and what is open of it.
#[derive(Debug)]
pub(crate) struct PostgresCatalog {
    settings: PostgresSettings,
    need: Need,
    open: Mutex<Option<Arc<Database>>>,
}

impl PostgresCatalog {
    /// Opens the catalog to write, makes its tables where there are none.
    pub(crate) async fn open(settings: PostgresSettings) -> Result<Self, OpenError> {
        let database = Database::open(&settings, Need::Writes).await?;
        Ok(Self { settings, need: Need::Writes, open: Mutex::new(Some(Arc::new(database))) })
    }

    /// A catalog that is opened at the first question and never made.
    pub(crate) fn reader(settings: PostgresSettings) -> Self {
        Self { settings, need: Need::Answers, open: Mutex::new(None) }
    }

    /// Whether the server that was opened is there, and still the one that takes writes.
    pub(crate) async fn is_current(&self) -> bool {
        let open = self.open.lock().await.clone();
        match open {
            Some(database) => database.is_current().await,
            None => false,
        }
    }

    /// Which catalog was opened, on which server.
    pub(crate) async fn identity(&self) -> Option<Identity> {
        self.open.lock().await.as_ref().map(|database| database.identity.clone())
    }

    /// Waits for the answer to a question, and no longer than anybody would.
    pub(crate) async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, CatalogError>>,
    ) -> Result<T, CatalogError> {
        self.within(QUESTION, asking).await
    }

    /// Waits for so long at most. A server that does not answer is looked for anew by whoever asks next.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        asking: impl Future<Output = Result<T, CatalogError>>,
    ) -> Result<T, CatalogError> {
        let answer = timeout(limit, asking).await.unwrap_or_else(|_| Err(silent().into()));
        if let Err(CatalogError::Away(_)) = &answer {
            self.open.lock().await.take();
        }
        answer
    }

    /// Writes changes, those of some calls in one transaction.
    pub(crate) async fn apply(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let writing = async {
            let database = self.database().await?;
            database.partitions.ensure(&database.writer, changes).await;
            for piece in pieces(changes) {
                write(&database.writer, piece).await?;
            }
            Ok(())
        };
        timeout(WRITE, writing).await.unwrap_or_else(|_| Err(silent().into()))
    }

    /// Closes what is open.
    pub(crate) async fn close(&self) {
        let open = self.open.lock().await.take();
        if let Some(database) = open {
            database.close().await;
        }
    }

    /// The open database, opened when it is not.
    pub(crate) async fn database(&self) -> Result<Arc<Database>, CatalogError> {
        let mut open = self.open.lock().await;
        if let Some(database) = open.as_ref() {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(Database::open(&self.settings, self.need).await?);
        *open = Some(Arc::clone(&database));
        Ok(database)
    }
}

/// Writes changes in one transaction, again where another node was in the way.
async fn write(db: &PgPool, changes: &[Change]) -> Result<(), CatalogError> {
    let mut crossed = 0;
    loop {
        match write_once(db, changes).await {
            Err(error) if is_crossed(&error) && crossed < CROSSED_MAX => {
                tracing::debug!(%error, "a transaction gave way to another one and is done again");
                crossed += 1;
            }
            done => return done,
        }
    }
}

async fn write_once(db: &PgPool, changes: &[Change]) -> Result<(), CatalogError> {
    let mut transaction = engine::begin(db, changes).await?;
    sql::apply(&mut transaction, changes).await?;
    transaction.commit().await?;
    Ok(())
}

/// Changes in pieces that are about no more calls than a transaction should lock.
fn pieces(mut rest: &[Change]) -> impl Iterator<Item = &[Change]> {
    std::iter::from_fn(move || {
        let mut calls: BTreeSet<CallId> = BTreeSet::new();
        let fits = |change: &Change| {
            calls.extend(concerned(change));
            calls.len() <= CALLS_MAX
        };
        let length = rest.iter().map(fits).take_while(|fits| *fits).count();
        // One change alone may name more than fit.
        let (piece, behind) = rest.split_at(length.max(1).min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ChangeKind, EventId, Note, TenantId, WallTime};

    #[test]
    fn a_transaction_locks_only_so_many_calls_and_every_change_is_in_one() {
        let change = |n: u64, call: u64| Change {
            id: EventId::from_u64(n),
            at: WallTime(0),
            tenant: TenantId::default(),
            kind: ChangeKind::Noted {
                call: CallId::from_u64(call),
                note: Note::Tagged { tag: "x".parse().unwrap() },
                by: "test".to_owned(),
            },
        };
        for (count, per_call, expected) in [(0, 1, 0), (256, 1, 1), (257, 1, 2), (512, 2, 1), (600, 1, 3)] {
            let changes: Vec<Change> = (0..count).map(|n| change(n, n / per_call)).collect();
            let all: Vec<&[Change]> = pieces(&changes).collect();
            assert_eq!((all.len(), all.concat() == changes), (expected, true), "{count}");
        }
    }
}
