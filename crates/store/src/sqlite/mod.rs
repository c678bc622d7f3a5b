//! The catalog in a file of SQLite, for one node.
//!
//! The file may be deleted or replaced at any time. Before each use its identity is compared (one `stat`); a
//! catalog that is not the open one any more is opened again. Only [`SqliteCatalog::open`] and the
//! [`Worker`](crate::Worker) create a file; everything else waits until there is one.

pub(crate) mod disk;
mod engine;
pub(crate) mod file;
#[path = "../sql/mod.rs"]
pub(crate) mod sql;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Change;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::catalog::QUESTION;
use crate::error::{CatalogError, OpenError};
use disk::Disk;
use file::{Database, Identity, Missing};

/// The file, and what is open of it.
#[derive(Debug)]
pub(crate) struct SqliteCatalog {
    path: PathBuf,
    disk: Disk,
    open: Mutex<Option<Arc<Database>>>,
}

impl SqliteCatalog {
    /// Opens the catalog, makes it when there is none, brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, OpenError> {
        let disk = Disk::default();
        let database = Database::open(path, Missing::Create, &disk).await?;
        Ok(Self { path: path.to_owned(), disk, open: Mutex::new(Some(Arc::new(database))) })
    }

    /// A catalog that is opened at the first question and never created.
    pub(crate) fn reader(path: &Path) -> Self {
        Self { path: path.to_owned(), disk: Disk::default(), open: Mutex::new(None) }
    }

    /// Whether the file at the path is still the one that is open. It is not, as far as anybody can tell, when its
    /// disk does not answer.
    pub(crate) async fn is_current(&self) -> bool {
        let open = self.open.lock().await;
        let Some(database) = open.as_ref() else { return false };
        self.look().await.is_ok_and(|now| now.main == database.identity.main)
    }

    /// Waits for the answer to a question, and no longer than anybody would.
    pub(crate) async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, CatalogError>>,
    ) -> Result<T, CatalogError> {
        timeout(QUESTION, asking).await.unwrap_or_else(|_| {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
            Err(OpenError::File { path: self.path.clone(), source }.into())
        })
    }

    /// Which files are at the path.
    async fn look(&self) -> Result<Identity, OpenError> {
        let path = self.path.clone();
        let looked = self.disk.ask(move || Identity::of(&path)).await;
        looked.map_err(|source| OpenError::File { path: self.path.clone(), source })
    }

    /// The identity of what was open, for moving leftovers away.
    pub(crate) async fn identity(&self) -> Identity {
        self.open.lock().await.as_ref().map(|d| d.identity).unwrap_or_default()
    }

    /// Writes changes: rows and events in one transaction.
    pub(crate) async fn apply(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let database = self.database().await?;
        let mut transaction = engine::begin(&database.writer, changes).await?;
        sql::apply(&mut transaction, changes).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Copies the whole catalog into a new file, as of one moment, while others write.
    pub(crate) async fn snapshot(&self, to: &Path) -> Result<(), CatalogError> {
        let database = self.database().await?;
        // The readers must not write anything, be it another file.
        sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy()).execute(&database.writer).await?;
        Ok(())
    }

    /// Looks through the whole file for damage.
    pub(crate) async fn damage(&self) -> Result<Vec<String>, CatalogError> {
        let database = self.database().await?;
        let found: Vec<String> =
            sqlx::query_scalar("PRAGMA quick_check(10)").fetch_all(&database.readers).await?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Closes the file; what was committed is moved from `-wal` into the database.
    pub(crate) async fn close(&self) {
        let open = self.open.lock().await.take();
        if let Some(database) = open {
            database.close().await;
        }
    }

    /// The open database, opened again when the file at the path is another one.
    pub(crate) async fn database(&self) -> Result<Arc<Database>, CatalogError> {
        let mut open = self.open.lock().await;
        if let Some(database) = open.as_ref() {
            let now = self.look().await?;
            if now.main == database.identity.main {
                return Ok(Arc::clone(database));
            }
            // Not before the writer has moved what the old database left: SQLite would read it as the new one's.
            if now.has_leftovers_of(&database.identity) {
                return Err(CatalogError::Replaced);
            }
        }
        let database = Arc::new(Database::open(&self.path, Missing::Fail, &self.disk).await?);
        *open = Some(Arc::clone(&database));
        Ok(database)
    }
}
