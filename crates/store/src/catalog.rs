//! The catalog as others use it: apply changes, ask questions.
//!
//! It lies in a file of SQLite or on a server with PostgreSQL. What is told and asked is the same; this only passes it
//! on to the one or the other.

use std::path::Path;
use std::time::Duration;

use model::{CallId, Change, EventId, TenantId};

use crate::alarms::{AlarmQuery, AlarmRow};
use crate::error::{CatalogError, OpenError};
use crate::leases::{Guarded, Lease};
use crate::place::Place;
use crate::postgres::{self, PostgresCatalog};
use crate::query::CallQuery;
use crate::sqlite::{self, SqliteCatalog};
use crate::told::ToldCall;
use crate::view::{CallDetail, CallSummary, Event, EventSpan, HeldBack};

/// How long a question may take: a list that goes through a million calls takes some seconds, and people do not wait
/// for longer. What does not answer by then stands still.
pub(crate) const QUESTION: Duration = Duration::from_secs(20);

/// How long a server may take to change what may be all there is: longer than any statement of it may (`begin_alone`).
const ALL: Duration = Duration::from_secs(1_800);

/// The catalog. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Catalog {
    engine: Engine,
}

/// What it lies in.
#[derive(Debug)]
enum Engine {
    Sqlite(SqliteCatalog),
    Postgres(PostgresCatalog),
}

/// Has `sql` do something over the connections of those who only ask (`readers`) or of those who write (`writer`).
macro_rules! over {
    ($database:ident . $pool:ident, $engine:ident, $($what:ident)::+ ($($with:expr),*)) => {
        $engine::sql::$($what)::+(&$database.$pool $(, $with)*).await
    };
}

/// Does what does not take long, and waits for it no longer than anybody would.
macro_rules! ask {
    ($catalog:expr, $pool:ident, $($what:ident)::+ ($($with:expr),*)) => {
        match &$catalog.engine {
            Engine::Sqlite(catalog) => {
                let asking = async {
                    let database = catalog.database().await?;
                    over!(database.$pool, sqlite, $($what)::+ ($($with),*))
                };
                catalog.answer(asking).await
            }
            Engine::Postgres(catalog) => {
                let asking = async {
                    let database = catalog.database().await?;
                    over!(database.$pool, postgres, $($what)::+ ($($with),*))
                };
                catalog.answer(asking).await
            }
        }
    };
}

/// Changes what may be all there is: a file for as long as it takes.
macro_rules! change {
    ($catalog:expr, $($what:ident)::+ ($($with:expr),*)) => {
        match &$catalog.engine {
            Engine::Sqlite(catalog) => {
                let database = catalog.database().await?;
                over!(database.writer, sqlite, $($what)::+ ($($with),*))
            }
            Engine::Postgres(catalog) => {
                let changing = async {
                    let database = catalog.database().await?;
                    over!(database.writer, postgres, $($what)::+ ($($with),*))
                };
                catalog.within(ALL, changing).await
            }
        }
    };
}

impl Catalog {
    /// Opens the catalog, makes it when there is none, brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub async fn open(place: impl Into<Place>) -> Result<Self, OpenError> {
        let engine = match place.into() {
            Place::File(path) => Engine::Sqlite(SqliteCatalog::open(&path).await?),
            Place::Postgres(settings) => Engine::Postgres(PostgresCatalog::open(settings).await?),
        };
        Ok(Self { engine })
    }

    /// A catalog that is opened at the first question and never created: for those who only ask.
    #[must_use]
    pub fn reader(place: impl Into<Place>) -> Self {
        let engine = match place.into() {
            Place::File(path) => Engine::Sqlite(SqliteCatalog::reader(&path)),
            Place::Postgres(settings) => Engine::Postgres(PostgresCatalog::reader(settings)),
        };
        Self { engine }
    }

    /// Whether what is open is still what it was: the file at the path, the server that takes writes. It is not, as
    /// far as anybody can tell, when it does not answer.
    pub async fn is_current(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.is_current().await,
            Engine::Postgres(catalog) => catalog.is_current().await,
        }
    }

    /// Writes changes: rows and events in one transaction (of many calls in a few). Twice is as once, any order ends
    /// the same, whoever else writes.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), CatalogError> {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.apply(changes).await,
            Engine::Postgres(catalog) => catalog.apply(changes).await,
        }
    }

    /// Calls, newest first.
    pub async fn calls(&self, query: &CallQuery) -> Result<Vec<CallSummary>, CatalogError> {
        ask!(self, readers, questions::calls(query))
    }

    /// One call with all that is known of it, if the tenant has it. Of one that turned out to be another it
    /// is that other.
    pub async fn call(&self, tenant: &TenantId, call: CallId) -> Result<Option<CallDetail>, CatalogError> {
        ask!(self, readers, questions::call(tenant, call))
    }

    /// The tenants that have calls, or had some.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, CatalogError> {
        ask!(self, readers, told::tenants())
    }

    /// One call as it was told, if the tenant has it. Of one that turned out to be another it is that other.
    pub async fn call_as_told(
        &self,
        tenant: &TenantId,
        call: CallId,
    ) -> Result<Option<ToldCall>, CatalogError> {
        ask!(self, readers, told::call(tenant, call))
    }

    /// Alarms, newest first.
    pub async fn alarms(&self, query: &AlarmQuery) -> Result<Vec<AlarmRow>, CatalogError> {
        ask!(self, readers, alarms(query))
    }

    /// Events behind one, oldest first, of all tenants. `limit` is at most [`LIST_MAX`](crate::LIST_MAX). What comes
    /// later comes behind what was read: where several nodes write, the order is that of their transactions, and ids
    /// may go back (docs/decisions/0032-postgres.md). An event that is not kept any more stands for all before it.
    pub async fn events(&self, after: EventId, limit: usize) -> Result<Vec<Event>, CatalogError> {
        ask!(self, readers, outbox::events(after, limit))
    }

    /// Whether an event is kept.
    pub(crate) async fn has_event(&self, event: EventId) -> Result<bool, CatalogError> {
        ask!(self, writer, outbox::has(event))
    }

    /// Which server it is on, as far as it was opened.
    pub(crate) async fn server(&self) -> Option<postgres::Identity> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(catalog) => catalog.identity().await,
        }
    }

    /// The identity of the file that was open, for moving leftovers away; of none on a server.
    pub(crate) async fn identity(&self) -> sqlite::file::Identity {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.identity().await,
            Engine::Postgres(_) => sqlite::file::Identity::default(),
        }
    }

    /// Which events are kept.
    pub async fn event_span(&self) -> Result<EventSpan, CatalogError> {
        ask!(self, readers, outbox::span())
    }

    /// What keeps events that are written from being [read](Self::events): a transaction of anybody on the server that has
    /// not ended. For a moment that is ordinary. None where no event waits, and on no server.
    pub async fn events_held_back(&self) -> Result<Option<HeldBack>, CatalogError> {
        ask!(self, readers, outbox::held_back())
    }

    /// The highest id that the catalog holds, of whatever kind; 0 when it is empty.
    pub async fn highest_id(&self) -> Result<u64, CatalogError> {
        ask!(self, readers, questions::highest_id())
    }

    /// Copies the whole catalog into a new file, as of one moment, while others write.
    ///
    /// # Errors
    /// When the catalog does not answer, or the file exists or cannot be written; and on a server, which has ways of
    /// its own.
    pub async fn snapshot(&self, to: &Path) -> Result<(), CatalogError> {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.snapshot(to).await,
            Engine::Postgres(_) => Err(CatalogError::OnAServer),
        }
    }

    /// Looks through the whole catalog for damage; empty when there is none. A server looks after itself: of that one it
    /// is only seen that it answers.
    ///
    /// # Errors
    /// When the catalog does not answer, or is so damaged that it cannot be looked through.
    pub async fn damage(&self) -> Result<Vec<String>, CatalogError> {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.damage().await,
            Engine::Postgres(_) => self.highest_id().await.map(|_| Vec::new()),
        }
    }

    /// Removes calls, segments and copies that were not told of since an event. At the end of a reindex, with the
    /// event id drawn at its begin: what is left over has no file behind it. On a server only what the node of the event
    /// had told: the others have files of their own. Returns how many rows went.
    pub async fn forget_untold_since(&self, event: EventId) -> Result<u64, CatalogError> {
        change!(self, upkeep::forget_untold_since(event))
    }

    /// Empties the index (not the events), for a reindex from nothing: of all nodes.
    pub async fn clear_for_reindex(&self) -> Result<(), CatalogError> {
        change!(self, upkeep::clear())
    }

    /// Removes events older than one, and alarms that are over and were told of before it, at most
    /// [`LIST_MAX`](crate::LIST_MAX) each at a time so that the writer is never held up.
    /// Returns how many went.
    pub async fn trim_events(&self, before: EventId) -> Result<u64, CatalogError> {
        ask!(self, writer, upkeep::trim(before))
    }

    /// Takes a lease for so long, if nobody else holds it: by the clock of the database.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
    ) -> Result<Option<Lease>, CatalogError> {
        ask!(self, writer, leases::acquire(name, holder, lasts))
    }

    /// Who holds a lease, if somebody does.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<String>, CatalogError> {
        ask!(self, writer, leases::holder(name))
    }

    /// Holds a lease for so long from now. False: it is somebody else's.
    pub async fn renew(&self, lease: &Lease, lasts: Duration) -> Result<bool, CatalogError> {
        ask!(self, writer, leases::renew(lease, lasts))
    }

    /// Gives a lease back. False: it was somebody else's.
    pub async fn release(&self, lease: &Lease) -> Result<bool, CatalogError> {
        ask!(self, writer, leases::release(lease))
    }

    /// Writes changes while a lease is held, in the same transaction as it is looked at: one who held it once and does
    /// not know that it is over changes nothing.
    pub async fn apply_guarded(&self, lease: &Lease, changes: &[Change]) -> Result<Guarded, CatalogError> {
        ask!(self, writer, leases::apply_guarded(lease, changes))
    }

    /// Closes it. What was committed to a file is moved from `-wal` into it.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(catalog) => catalog.close().await,
            Engine::Postgres(catalog) => catalog.close().await,
        }
    }
}
