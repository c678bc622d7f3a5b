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
//! This crate knows SQLite and the file that it lies in. It never touches media, manifests or sockets.

mod alarms;
mod apply;
mod bulk;
mod catalog;
mod corrections;
mod db;
mod derive;
mod disk;
mod error;
mod joins;
pub mod journal;
mod outbox;
mod people;
mod query;
mod rows;
mod searchable;
mod segments;
mod together;
mod told;
mod view;
mod writer;

pub use alarms::{AlarmQuery, AlarmRow};
pub use catalog::Catalog;
pub use error::{CatalogError, OpenError};
pub use query::{CallQuery, Cursor, CursorParseError, LIST_DEFAULT, LIST_MAX};
pub use told::{ToldCall, ToldSegment};
pub use view::{CallDetail, CallSummary, Event, EventSpan, SegmentDetail};
pub use writer::{CatalogWriter, Handle, Report, Status, Worker, WriterConfig};
