//! How many statements a batch takes: as many as there are kinds of rows, not as many as there are rows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fixture::story;
use model::{Change, ChangeKind};
use store::Catalog;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Counts what sqlx says of each statement.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, event: &Event<'_>) {
        struct Any(bool);
        impl Visit for Any {
            fn record_debug(&mut self, field: &Field, _value: &dyn std::fmt::Debug) {
                self.0 |= field.name() == "elapsed" || field.name() == "summary";
            }
        }
        let mut any = Any(false);
        event.record(&mut any);
        self.0.fetch_add(usize::from(any.0), Ordering::Relaxed);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Statements of a batch that tells of so many calls, and of the same batch again.
fn statements_of(counted: &Statements, calls: u64) -> [usize; 2] {
    let directory = tempfile::tempdir().unwrap();
    let changes: Vec<Change> = (1..=calls).flat_map(story).filter(|c| !is_by_people(c)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await.unwrap();
        let mut counts = [0; 2];
        for count in &mut counts {
            let before = counted.0.load(Ordering::Relaxed);
            catalog.apply(&changes).await.unwrap();
            *count = counted.0.load(Ordering::Relaxed) - before;
        }
        catalog.close().await;
        counts
    })
}

/// What people note is told one by one, and seldom.
fn is_by_people(change: &Change) -> bool {
    matches!(change.kind, ChangeKind::Noted { .. })
}

#[test]
fn a_batch_takes_a_few_statements_for_all_its_calls() {
    let counted = Statements::default();
    // Of the process, as statements run in threads of their own.
    tracing::subscriber::set_global_default(counted.clone()).unwrap();
    let [one, again] = statements_of(&counted, 1);
    assert!((10..50).contains(&one) && (10..one).contains(&again), "one call: {one}, again: {again}");
    // 64 calls of 9 changes each are 576 events, and one statement writes 64 rows.
    let [many, again] = statements_of(&counted, 64);
    assert!(many < 100 && again < 60, "64 calls: {many}, again: {again}");
}
