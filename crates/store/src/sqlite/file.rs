//! The file: opened, its tables made, its identity watched, set aside when it is damaged.
//!
//! WAL keeps what was written in three files: the database, `-wal` and `-shm`. A database that is deleted or
//! replaced under open connections leaves the other two behind, and SQLite would read them as the new
//! database's. So the identity (device and inode) of all three is kept, and leftovers are moved away before the
//! new database is opened. Nothing is ever deleted: files are renamed to `…damaged-N` and stay for a person.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use faults::{Operation, before};
use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::disk::Disk;
use crate::error::{OpenError, Trouble, trouble};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long a statement waits for another process's lock. The writer has a journal and need not wait longer.
const BUSY: Duration = Duration::from_secs(1);
/// How long a question waits for a free connection: the longest that a web page should hang.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Readers: more than cores that would run them help nobody, and each is a thread of its own.
const READERS: u32 = 4;
/// The `-wal` file is cut back to this after a checkpoint: 64 MiB, some 10,000 calls written in one go.
const WAL_BYTES: &str = "67108864";

/// Statements that stay prepared: 27 kinds of the writer in four lengths (`bulk`), and some thirty others.
const STATEMENTS: usize = 256;

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) identity: Identity,
}

/// Which files were opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) main: Option<(u64, u64)>,
    wal: Option<(u64, u64)>,
    shm: Option<(u64, u64)>,
}

impl Identity {
    /// A file that cannot be looked at is not one that is not there.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let inode = |path: &Path| match fs::metadata(path) {
            Ok(m) => Ok(Some((m.dev(), m.ino()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        Ok(Self {
            main: inode(path)?,
            wal: inode(&beside(path, "-wal"))?,
            shm: inode(&beside(path, "-shm"))?,
        })
    }

    /// Whether `-wal` or `-shm` of another database, which was open before, still lie beside this one.
    pub(crate) fn has_leftovers_of(&self, old: &Self) -> bool {
        (self.wal.is_some() && self.wal == old.wal) || (self.shm.is_some() && self.shm == old.shm)
    }
}

/// Whether opening may make a new database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    Create,
    Fail,
}

impl Database {
    pub(crate) async fn open(path: &Path, missing: Missing, disk: &Disk) -> Result<Self, OpenError> {
        let file_error = |source| OpenError::File { path: path.to_owned(), source };
        if missing == Missing::Create {
            let new = path.to_owned();
            disk.ask(move || make_private(&new)).await.map_err(file_error)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is a promise: the change leaves memory or journal for it.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS)
            .pragma("journal_size_limit", WAL_BYTES);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        if missing == Missing::Create {
            MIGRATIONS.run(&writer).await.map_err(|e| migration_error(path, e))?;
        } else {
            // The first statement opens the file, and `-wal` and `-shm` with it.
            sqlx::query("SELECT 1 FROM calls LIMIT 1")
                .execute(&readers)
                .await
                .map_err(|e| sql_error(path, e))?;
            expect_whole(path, &readers).await?;
        }
        let opened = path.to_owned();
        let identity = disk.ask(move || Identity::of(&opened)).await.map_err(file_error)?;
        Ok(Self { writer, readers, identity })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A catalog that is being made has its first tables before its last: until it has all of them it is not there.
async fn expect_whole(path: &Path, readers: &SqlitePool) -> Result<(), OpenError> {
    let newest = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    let made = sqlx::query("SELECT 1 FROM _sqlx_migrations WHERE version >= $1 AND success LIMIT 1")
        .bind(newest)
        .fetch_optional(readers)
        .await
        .map_err(|e| sql_error(path, e))?;
    let older =
        || sqlx::Error::Protocol("its tables are older than this callspool; start `callspool serve`".into());
    made.map(drop).ok_or_else(|| OpenError::Away { path: path.to_owned(), source: older() })
}

fn migration_error(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => sql_error(path, e),
        other => OpenError::Version { path: path.to_owned(), source: other },
    }
}

fn sql_error(path: &Path, source: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match trouble(&source) {
        Trouble::Damaged => OpenError::Damaged { path, source },
        Trouble::Away | Trouble::Refused | Trouble::Unknown => OpenError::Away { path, source },
    }
}

/// Creates what is missing for nobody but us; SQLite gives `-wal` and `-shm` the mode of the database.
fn make_private(path: &Path) -> io::Result<()> {
    before(Operation::CatalogMake, path)?;
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    // An existing file is not opened here: closing it would drop the locks (fcntl) that SQLite holds on it
    // through another connection of this process.
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.permissions().mode();
            // Failing is no harm: a read-only catalog still answers questions.
            if mode & 0o077 != 0 && fs::set_permissions(path, fs::Permissions::from_mode(0o600)).is_err() {
                tracing::warn!(path = %path.display(), "others may read the catalog and its mode cannot be changed");
            }
            Ok(())
        }
        Err(e) => Err(e),
    }
}

/// Which files to set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aside {
    /// Database, `-wal` and `-shm`: it is damaged.
    All,
    /// `-wal` and `-shm` that belonged to a database which is no longer at the path.
    Leftovers(Identity),
}

/// Renames files so that a new database can be made in their place. Returns what they are called now.
pub(crate) fn set_aside(path: &Path, what: Aside) -> io::Result<Vec<PathBuf>> {
    /// More than a person would ever look through; then the oldest name is in the way and the error is told.
    const NAMES_MAX: u32 = 1_000;
    let now = Identity::of(path)?;
    let suffixes: &[&str] = match what {
        Aside::All => &["", "-wal", "-shm"],
        Aside::Leftovers(old) if now.has_leftovers_of(&old) => &["-wal", "-shm"],
        Aside::Leftovers(_) => &[],
    };
    let mut moved = Vec::new();
    let free = (1..=NAMES_MAX)
        .map(|n| format!(".damaged-{n}"))
        .find(|name| ["", "-wal", "-shm"].iter().all(|s| !beside(path, &format!("{name}{s}")).exists()));
    let Some(name) = free else { return Err(io::Error::other("too many damaged catalogs beside this one")) };
    for suffix in suffixes {
        let (from, to) = (beside(path, suffix), beside(path, &format!("{name}{suffix}")));
        before(Operation::CatalogAside, &from)?;
        match fs::rename(&from, &to) {
            Ok(()) => moved.push(to),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(moved)
}

/// The path with something appended to its file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}
