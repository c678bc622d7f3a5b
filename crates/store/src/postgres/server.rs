//! A server: found among several, opened, its tables made, known again.
//!
//! Of the hosts that the settings name, the one that takes writes is looked for each time the catalog is opened; a
//! connection that finds itself on a standby later fails, and the catalog is opened anew. Who only asks is content with a
//! standby while there is nothing else.
//!
//! Everything has a deadline: connecting, waiting for a connection, each statement (the server ends it), each lock. A
//! transaction of ours that stands still is ended by the server, so that its locks hold up nobody.

use std::io;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::timeout;

use super::partitions::Partitions;
use super::settings::PostgresSettings;
use crate::error::{OpenError, Trouble, trouble};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// How long a host may take to let us in: one that is there needs milliseconds, and the next one waits for it.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may take to say who it is.
const LOOK: Duration = Duration::from_secs(3);
/// How long making tables may take, and waiting for another node that makes them: an index on what there is may take long.
const MAKING: Duration = Duration::from_secs(600);
/// How long a question waits for a free connection: the longest that a web page should hang.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a close waits for what is being asked.
const CLOSE: Duration = Duration::from_secs(2);
/// One for batches, one for leases, which must not wait for a batch.
const WRITERS: u32 = 2;
/// Questions at a time: what is more waits. A server of the usual 100 connections has room for some ten nodes.
const READERS: u32 = 6;
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(600);

/// For those who write. A batch takes some ten milliseconds; a transaction that stands still for ten seconds is of a node
/// that is gone.
const WRITING: [(&str, &str); 3] =
    [("statement_timeout", "15s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "10s")];
/// For those who ask: as long as anybody waits for an answer.
const ASKING: [(&str, &str); 3] =
    [("statement_timeout", "20s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "30s")];

/// Whoever makes tables is alone (`pg_advisory_xact_lock`); locks of calls are not negative.
const MIGRATING: i64 = -2;

/// What the catalog is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// To write: a primary, whose tables are made or brought up to date.
    Writes,
    /// To ask: tables that are there.
    Answers,
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) writer: PgPool,
    pub(crate) readers: PgPool,
    pub(crate) identity: Identity,
    pub(crate) partitions: Partitions,
}

/// Which catalog was opened, on which server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Identity {
    /// Tells one catalog from another.
    pub(crate) made: String,
    /// Grows when a standby takes over. None on a standby.
    pub(crate) timeline: Option<String>,
    /// It was made by this opening.
    pub(crate) is_new: bool,
}

/// Whether a server takes writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Primary,
    Standby,
}

impl Database {
    pub(crate) async fn open(settings: &PostgresSettings, need: Need) -> Result<Self, OpenError> {
        let options = find(settings, need).await?;
        let at = || settings.to_string();
        let is_new = match need {
            Need::Writes => prepare(&options).await.map_err(|e| unfit(at(), e))?,
            Need::Answers => false,
        };
        // Whoever writes sees at once that a connection is gone, and opens anew; whoever asks is spared it.
        let writer = pool(WRITERS).test_before_acquire(false);
        let writer = writer.connect_lazy_with(options.clone().options(WRITING));
        let readers = pool(READERS).connect_lazy_with(options.options(ASKING));
        if need == Need::Answers {
            expect_tables(&readers).await.map_err(|e| unfit(at(), e))?;
        }
        let known = timeout(LOOK, identity(&readers)).await.unwrap_or_else(|_| Err(silent()));
        let identity = Identity { is_new, ..known.map_err(|source| server_error(at(), source))? };
        Ok(Self { writer, readers, identity, partitions: Partitions::default() })
    }

    /// Whether it is still the server that was opened.
    pub(crate) async fn is_current(&self) -> bool {
        let now = timeout(LOOK, identity(&self.writer)).await;
        now.is_ok_and(|now| {
            now.is_ok_and(|now| {
                (now.made, now.timeline) == (self.identity.made.clone(), self.identity.timeline.clone())
            })
        })
    }

    /// Closes what is idle at once, and does not wait for long for what is not.
    pub(crate) async fn close(&self) {
        let closing = async {
            self.readers.close().await;
            self.writer.close().await;
        };
        if timeout(CLOSE, closing).await.is_err() {
            tracing::debug!("connections with the catalog's server are left behind");
        }
    }
}

/// The answer of a server that gives none.
pub(crate) fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE).idle_timeout(IDLE)
}

fn read_only() -> sqlx::Error {
    let why = "it takes no writes: it is a standby, or read-only";
    sqlx::Error::Io(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, why))
}

/// The first host that does what is needed.
async fn find(settings: &PostgresSettings, need: Need) -> Result<PgConnectOptions, OpenError> {
    let (mut standby, mut why) = (None, None);
    for host in settings.hosts() {
        let options = settings.options(host);
        let looked = timeout(CONNECT, look_at(&options)).await.unwrap_or_else(|_| Err(silent()));
        match (looked, need) {
            (Ok(Role::Primary), _) => return Ok(options),
            (Ok(Role::Standby), Need::Answers) => standby = standby.or(Some(options)),
            (Ok(Role::Standby), Need::Writes) => why = why.or(Some((host, read_only()))),
            (Err(e), _) => why = Some((host, e)),
        }
    }
    match (standby, why) {
        (Some(options), _) => Ok(options),
        (None, Some((host, source))) => Err(server_error(format!("{settings} ({host})"), source)),
        (None, None) => Err(server_error(settings.to_string(), silent())),
    }
}

async fn look_at(options: &PgConnectOptions) -> Result<Role, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let role = role(&mut connection).await?;
    connection.close().await?;
    Ok(role)
}

async fn role(connection: &mut PgConnection) -> Result<Role, sqlx::Error> {
    let read_only: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::BOOLEAN")
            .fetch_one(connection)
            .await?;
    Ok(if read_only { Role::Standby } else { Role::Primary })
}

async fn identity(db: &PgPool) -> Result<Identity, sqlx::Error> {
    // The name of a file of the log begins with the timeline.
    let (made, timeline): (String, Option<String>) = sqlx::query_as(
        "SELECT made, CASE WHEN pg_is_in_recovery() THEN NULL \
         ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END FROM schema_compat",
    )
    .fetch_one(db)
    .await?;
    Ok(Identity { made, timeline, is_new: false })
}

/// Why tables cannot be used.
enum Unfit {
    Tables(MigrateError),
    /// Whoever made them says so.
    TooNew {
        oldest: i64,
    },
}

impl From<MigrateError> for Unfit {
    fn from(error: MigrateError) -> Self {
        Self::Tables(error)
    }
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        Self::Tables(error.into())
    }
}

/// Makes the tables that there are not, and says whether there were none.
async fn prepare(options: &PgConnectOptions) -> Result<bool, Unfit> {
    let looking = async {
        let mut connection = PgConnection::connect_with(options).await?;
        let is_ready = is_ready(&mut connection).await?;
        Ok::<_, sqlx::Error>((connection, is_ready))
    };
    let (mut connection, is_ready) = timeout(LOOK, looking).await.map_err(|_| silent())??;
    let is_new = if is_ready {
        expect_compatible(&mut connection).await?;
        false
    } else {
        timeout(MAKING, make(&mut connection)).await.map_err(|_| silent())??
    };
    drop(connection.close().await);
    Ok(is_new)
}

/// Whether nothing is to be made, or put in order.
async fn is_ready(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if newest(&mut *db).await?.is_none_or(|newest| newest < known()) {
        return Ok(false);
    }
    let from_elsewhere: bool = sqlx::query_scalar(FROM_ELSEWHERE).fetch_one(db).await?;
    Ok(!from_elsewhere)
}

/// Makes tables, all or none, while no other node does.
async fn make(db: &mut PgConnection) -> Result<bool, Unfit> {
    let mut transaction = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATING).execute(&mut *transaction).await?;
    let is_new = newest(&mut transaction).await?.is_none();
    if !is_new {
        expect_compatible(&mut transaction).await?;
    }
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.set_locking(false).set_ignore_missing(true);
    // `run` would do, but what it returns could not be sent to another thread.
    migrator.run_direct(None, &mut *transaction, false).await?;
    put_in_order(&mut transaction).await?;
    transaction.commit().await?;
    Ok(is_new)
}

/// The newest migration that was made; none before the first.
async fn newest(db: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let made: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *db).await?;
    if !made {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success").fetch_one(db).await
}

fn known() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

/// Tables may be newer than we are, if whoever made them says that we may use them.
async fn expect_compatible(db: &mut PgConnection) -> Result<(), Unfit> {
    let oldest: i64 = sqlx::query_scalar("SELECT oldest FROM schema_compat").fetch_one(db).await?;
    if oldest > known() { Err(Unfit::TooNew { oldest }) } else { Ok(()) }
}

/// Tables that are being made are not there until all are; older ones are not ours to change when we only ask.
async fn expect_tables(readers: &PgPool) -> Result<(), Unfit> {
    let mut connection = readers.acquire().await?;
    match newest(&mut connection).await? {
        Some(newest) if newest >= known() => expect_compatible(&mut connection).await,
        _ => {
            let why = "its tables are older than this callspool; start `callspool serve`";
            Err(sqlx::Error::Protocol(why.into()).into())
        }
    }
}

/// A catalog that was put back from a dump has events of transactions that this server has not had yet: nobody would see
/// them.
const FROM_ELSEWHERE: &str =
    "SELECT EXISTS (SELECT 1 FROM events WHERE written > pg_snapshot_xmax(pg_current_snapshot()))";

/// Events of another server are in the order of their ids from now on, and before all that come.
async fn put_in_order(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let from_elsewhere: bool = sqlx::query_scalar(FROM_ELSEWHERE).fetch_one(&mut *db).await?;
    if from_elsewhere {
        tracing::warn!(
            "the catalog was put back from another server: its events are in the order of their ids"
        );
        sqlx::query("UPDATE events SET written = '1'::xid8").execute(db).await?;
    }
    Ok(())
}

fn unfit(server: String, error: Unfit) -> OpenError {
    match error {
        Unfit::Tables(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => {
            server_error(server, e)
        }
        Unfit::Tables(other) => OpenError::Tables { server, why: other.to_string() },
        Unfit::TooNew { oldest } => {
            let why = format!("they want one that knows migration {oldest}, and this one knows {}", known());
            OpenError::Tables { server, why }
        }
    }
}

fn server_error(server: String, source: sqlx::Error) -> OpenError {
    if trouble(&source) == Trouble::Damaged {
        tracing::error!(server, error = %source, "the server says that the catalog is damaged: restore it there");
    }
    OpenError::Server { server, source }
}
