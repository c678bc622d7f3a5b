//! The catalog of callspool: an index of calls, segments and copies that can be searched, and the outbox of
//! events.
//!
//! The manifests and logs in the repositories are the truth; the catalog can be thrown away and made anew from
//! them (`docs/catalog.md`). So it may be away at any time: whoever has something to tell gives it to
//! [`Handle::tell`], which never waits; the [`Worker`] behind it writes rows and events in one transaction, or
//! to a [journal](journal::Journal) file until the catalog is back. Nothing is lost without a count, a report
//! and a note that a reindex is wanted.
//!
//! [`Catalog::apply`] is idempotent and tolerates any order: the [`EventId`](model::EventId) of a change says
//! which of two is newer, and what a list shows is derived from rows, never from the order of arrival.
//!
//! It lies in a file of SQLite, or on a server with PostgreSQL that several nodes share. This crate knows both, and never
//! touches media, manifests or sockets of its own.

// What both databases understand is compiled once for each, over its own types: see `sql`.
#![allow(clippy::duplicate_mod, reason = "traits over sqlx's databases need bounds that cannot be implied")]

mod alarms;
mod catalog;
mod concerned;
mod error;
pub mod journal;
mod leases;
mod outbox;
mod place;
mod postgres;
mod query;
mod rows;
mod sqlite;
mod told;
mod view;
mod writer;

pub use alarms::{AlarmQuery, AlarmRow};
pub use catalog::Catalog;
pub use error::{CatalogError, OpenError};
pub use leases::{Guarded, Lease, node_lease};
pub use place::Place;
pub use postgres::{PostgresSettings, SettingsError};
pub use query::{CallQuery, Cursor, CursorParseError, LIST_DEFAULT, LIST_MAX};
pub use told::{ToldCall, ToldSegment};
pub use view::{CallDetail, CallSummary, Event, EventSpan, HeldBack, SegmentDetail, SegmentElsewhere};
pub use writer::{CatalogWriter, Handle, Report, Status, Worker, WriterConfig};
