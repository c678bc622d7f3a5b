//! What the catalog is told and asked, in SQL that SQLite and PostgreSQL both understand.
//!
//! These files are compiled twice, as `sqlite::sql` and as `postgres::sql`: each time over the types and the few
//! pieces of SQL that its [`engine`] names. Nothing here knows which of the two it is in, and nothing that is not the
//! same in both may stand here (docs/decisions/0032-postgres.md).

mod alarms;
mod apply;
mod bulk;
mod corrections;
mod derive;
mod joins;
pub(crate) mod leases;
pub(crate) mod outbox;
mod people;
pub(crate) mod questions;
mod searchable;
mod segments;
mod together;
pub(crate) mod told;
pub(crate) mod upkeep;

pub(crate) use alarms::list as alarms;
pub(crate) use apply::apply;

use super::engine;
