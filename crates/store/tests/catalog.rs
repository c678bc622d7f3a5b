//! The catalog in files of SQLite: what holds for it wherever it lies, and what is SQLite's alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod contract;
mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use contract::{block_on, contract_tests, filled};
use fixture::home::Home;
use fixture::{call_id, event_id, story};
use model::TenantId;
use sqlx::{Connection, Row, SqliteConnection};
use store::{AlarmQuery, CallQuery, Catalog, Lease};

contract_tests!(Home::file());

/// Those who ask run on any thread of a runtime. That this compiles is the test.
#[test]
fn what_is_asked_can_be_waited_for_on_any_thread() {
    fn is_sent<T: Send>(_: T) {}
    let catalog = Catalog::reader(Home::file().path());
    let (call, event, tenant) = (call_id(1), event_id(1), TenantId::default());
    let lease = Lease { name: "a".to_owned(), holder: "b".to_owned(), epoch: 1 };
    let (path, second) = (Path::new("x"), Duration::from_secs(1));
    is_sent((catalog.calls(&CallQuery::default()), catalog.call(&tenant, call), catalog.tenants()));
    is_sent((catalog.call_as_told(&tenant, call), catalog.alarms(&AlarmQuery::default())));
    is_sent((
        catalog.events(event, 1),
        catalog.event_span(),
        catalog.highest_id(),
        catalog.trim_events(event),
    ));
    is_sent((catalog.snapshot(path), catalog.damage(), catalog.forget_untold_since(event), catalog.close()));
    is_sent((catalog.clear_for_reindex(), catalog.is_current(), catalog.apply(&[]), Catalog::open(path)));
    is_sent((catalog.acquire("a", "b", second), catalog.renew(&lease, second), catalog.release(&lease)));
    is_sent(catalog.apply_guarded(&lease, &[]));
}

#[test]
fn nobody_else_may_read_the_files() {
    let home = Home::file();
    block_on(async {
        let _catalog = filled(&home, &story(1)).await;
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let mode = std::fs::metadata(home.path().with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    });
}

#[test]
fn large_lists_use_an_index() {
    let home = Home::file();
    let path = home.path();
    block_on(async {
        let _catalog = filled(&home, &story(1)).await;
        let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        for (filter, index) in [
            ("", "calls_by_start"),
            (" AND live = 1", "calls_live"),
            (" AND state = 6", "calls_by_state"),
            (" AND (started, id) < (5, 6)", "calls_by_start"),
        ] {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT id FROM calls WHERE tenant = 'default'{filter} \
                 ORDER BY started DESC, id DESC LIMIT 100"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap();
            let plan: String = rows.iter().map(|r| r.get::<String, _>("detail") + "; ").collect();
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter}: {plan}");
        }
    });
}
