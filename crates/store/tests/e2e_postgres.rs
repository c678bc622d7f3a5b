//! The catalog on PostgreSQL: what holds for it wherever it lies, several nodes at once, and what is PostgreSQL's alone.
//! Needs its programs (Debian: `postgresql`); the server is the tests' own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod contract;
mod fixture;

use std::sync::Barrier;

use contract::{block_on, contract_tests, disorder, filled, rows_after};
use fixture::home::Home;
use fixture::postgres::Server;
use fixture::{call, call_id, change, event_id, joined_stories, segment, story, told_by};
use model::{CallId, Change, ChangeKind, EndReason, EventId, RecordingState as S, TenantId};
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use sqlx::{Connection, PgConnection, Row};
use store::{CallQuery, Catalog, OpenError, PostgresSettings};

contract_tests!(Home::server());

#[test]
fn both_databases_hold_the_same_rows() {
    let (file, server) = (Home::file(), Home::server());
    let mut told = joined_stories();
    told.extend([
        told_by(5, 9_500, segment(4, 1, S::Partial, Some(EndReason::Hold))),
        told_by(0, 9_501, segment(4, 2, S::Partial, Some(EndReason::HangUp))),
    ]);
    assert_eq!(rows_after(&server, &told, 7), rows_after(&file, &told, 100));
}

/// What two nodes tell of the same calls, each in its own order.
fn told_by_two() -> impl Strategy<Value = [Vec<Change>; 2]> {
    (disorder(joined_stories()), proptest::collection::vec(any::<bool>(), 100)).prop_map(
        |(changes, whose)| {
            let (one, other): (Vec<_>, Vec<_>) =
                changes.into_iter().zip(whose.into_iter().cycle()).partition(|(_, first)| *first);
            [one, other].map(|told| told.into_iter().map(|(change, _)| change).collect())
        },
    )
}

#[test]
fn two_nodes_that_write_at_once_end_in_the_same_rows() {
    let home = Home::server();
    let rows = rows_after(&home, &joined_stories(), 100);
    proptest!(Config { cases: 12, ..Config::default() }, |(told in told_by_two(), batch in 1_usize..12)| {
        home.empty();
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            for changes in &told {
                scope.spawn(|| block_on(async {
                    let catalog = home.open().await;
                    together.wait();
                    for changes in changes.chunks(batch) {
                        catalog.apply(changes).await.unwrap();
                    }
                    catalog.close().await;
                }));
            }
        });
        prop_assert_eq!(block_on(home.rows()), rows.clone());
    });
}

/// Transactions end in another order than they began, and ids come from clocks of several nodes.
#[test]
fn no_event_comes_behind_what_was_read() {
    let home = Home::server();
    block_on(async {
        let catalog = home.open().await;
        let read = async |after: EventId| -> Vec<EventId> {
            catalog.events(after, 100).await.unwrap().iter().map(|event| event.id).collect()
        };
        catalog.apply(&[change(1, call(4, None, 1))]).await.unwrap();
        home.settle().await;
        // Somebody has written an event and not ended yet; another node writes meanwhile.
        let mut slow = PgConnection::connect_with(&Server::shared().options(home.database())).await.unwrap();
        let mut slow = slow.begin().await.unwrap();
        sqlx::query(
            "INSERT INTO events (id, at, tenant, kind, body) VALUES ($1, 0, 'default', 'call', '{}')",
        )
        .bind(i64::try_from(event_id(5).as_u64()).unwrap())
        .execute(&mut *slow)
        .await
        .unwrap();
        catalog.apply(&[change(9, call(1, None, 1))]).await.unwrap();
        assert_eq!(read(event_id(0)).await, [event_id(1)]);
        assert_eq!(catalog.event_span().await.unwrap().newest, Some(event_id(1)));
        // Others may keep events back for a moment, in databases of other tests: this one does until it ends.
        let ours: String =
            sqlx::query_scalar("SELECT pg_current_xact_id()::TEXT").fetch_one(&mut *slow).await.unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let held = loop {
            let held = catalog.events_held_back().await.unwrap().expect("an event waits");
            if held.transaction == ours || std::time::Instant::now() > until {
                break held;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(held.transaction, ours);
        assert!(held.whose.starts_with("process "), "{held:?}");
        slow.commit().await.unwrap();
        home.settle().await;
        assert_eq!(catalog.events_held_back().await.unwrap(), None);
        assert_eq!(read(event_id(1)).await, [event_id(5), event_id(9)]);
        // What comes late with an earlier id comes behind.
        catalog.apply(&[change(7, call(2, None, 1)), change(3, call(3, None, 1))]).await.unwrap();
        home.settle().await;
        assert_eq!(read(event_id(5)).await, [event_id(9), event_id(3), event_id(7)]);
        assert_eq!(read(event_id(9)).await, [event_id(3), event_id(7)]);
        assert_eq!(read(event_id(7)).await, []);
        assert_eq!(catalog.event_span().await.unwrap().newest, Some(event_id(7)));
        // One that is not kept any more stands for what is older.
        catalog.trim_events(event_id(6)).await.unwrap();
        assert_eq!(read(event_id(5)).await, [event_id(9), event_id(7)]);
    });
}

#[test]
fn a_catalog_that_was_put_back_elsewhere_shows_all_its_events() {
    let home = Home::server();
    block_on(async {
        filled(&home, &story(1)).await.close().await;
        // As if the server they come from had done more transactions than this one ever will.
        Server::shared().run_in(
            home.database(),
            "UPDATE events SET written = '999999999999'::xid8 WHERE (id >> 21) % 4 = 0",
        );
        let catalog = filled(&home, &story(2)).await;
        home.settle().await;
        let ids: Vec<EventId> =
            catalog.events(event_id(0), 100).await.unwrap().iter().map(|event| event.id).collect();
        let told: Vec<EventId> = [story(1), story(2)].concat().iter().map(|change| change.id).collect();
        assert_eq!(ids, told);
    });
}

#[test]
fn nodes_that_start_at_once_make_the_tables_once() {
    let home = Home::server();
    let together = Barrier::new(6);
    std::thread::scope(|scope| {
        for n in 1..=6 {
            let (home, together) = (home.place(), &together);
            scope.spawn(move || {
                together.wait();
                block_on(async {
                    let catalog = Catalog::open(home).await.unwrap();
                    catalog.apply(&story(n)).await.unwrap();
                    catalog.close().await;
                });
            });
        }
    });
    let calls = block_on(async { home.open().await.calls(&CallQuery::default()).await.unwrap() });
    assert_eq!(calls.len(), 6);
}

#[test]
fn tables_of_a_newer_version_are_used_if_they_say_so() {
    let home = Home::server();
    block_on(async {
        filled(&home, &story(1)).await.close().await;
        let run = |sql: &str| Server::shared().run_in(home.database(), sql);
        run("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, '', 0)");
        let catalog = filled(&home, &story(2)).await;
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 2);
        assert_eq!(Catalog::reader(home.place()).calls(&CallQuery::default()).await.unwrap().len(), 2);
        run("UPDATE schema_compat SET oldest = 9999");
        let error = Catalog::open(home.place()).await.unwrap_err();
        assert!(matches!(error, OpenError::Tables { .. }), "{error}");
        assert!(error.to_string().contains("migration 9999"), "{error}");
        assert!(Catalog::reader(home.place()).calls(&CallQuery::default()).await.is_err());
    });
}

#[test]
fn who_only_asks_makes_no_tables() {
    let home = Home::server();
    block_on(async {
        let reader = Catalog::reader(home.place());
        let error = reader.calls(&CallQuery::default()).await.unwrap_err();
        assert!(error.to_string().contains("callspool serve"), "{error}");
        filled(&home, &story(1)).await.close().await;
        assert_eq!(reader.calls(&CallQuery::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn of_several_hosts_the_one_that_answers_is_taken() {
    let home = Home::server();
    let settings = |hosts: &str| -> PostgresSettings {
        format!("postgres://callspool@/{}?{hosts}", home.database()).parse().unwrap()
    };
    let nobody = tempfile::tempdir().unwrap();
    let (nobody, here) = (nobody.path().display(), Server::shared().directory().display());
    block_on(async {
        let catalog = Catalog::open(settings(&format!("host={nobody}&host={here}"))).await.unwrap();
        catalog.apply(&story(1)).await.unwrap();
        let error = Catalog::open(settings(&format!("host={nobody}"))).await.unwrap_err().to_string();
        assert!(error.contains("does not answer") && error.contains(&nobody.to_string()), "{error}");
    });
}

/// The month of an id, as a name of a partition.
async fn partition(home: &Home, table: &str, id: u64) -> String {
    let mut db = PgConnection::connect_with(&Server::shared().options(home.database())).await.unwrap();
    let sql = format!("SELECT tableoid::regclass::TEXT FROM {table} WHERE id = $1");
    let id = i64::try_from(id).unwrap();
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(id).fetch_one(&mut db).await.unwrap()
}

#[test]
fn rows_lie_in_the_partition_of_their_month_and_odd_ones_in_the_default() {
    let home = Home::server();
    block_on(async {
        let odd = CallId::from_u64(u64::MAX);
        let ChangeKind::Call(mut record) = call(1, None, 1) else { unreachable!() };
        record.id = odd;
        let catalog = filled(&home, &story(1)).await;
        catalog.apply(&[change(90_000, ChangeKind::Call(record))]).await.unwrap();
        assert_eq!(partition(&home, "calls", call_id(1).as_u64()).await, "calls_2020_01");
        assert_eq!(partition(&home, "events", story(1)[0].id.as_u64()).await, "events_2020_01");
        assert_eq!(partition(&home, "calls", odd.as_u64()).await, "calls_default");
        let list = catalog.calls(&CallQuery::default()).await.unwrap();
        assert_eq!(list.len(), 2);
        // This month and the next two are there before anything is of them.
        let mut db = PgConnection::connect_with(&Server::shared().options(home.database())).await.unwrap();
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM pg_inherits WHERE inhparent = 'calls'::regclass")
                .fetch_one(&mut db)
                .await
                .unwrap();
        assert_eq!(count, 1 + 3 + 1);
    });
}

/// Nodes have files of their own: what one does not find any more may be another's.
#[test]
fn a_reindex_forgets_only_what_its_node_had_told() {
    let home = Home::server();
    block_on(async {
        let ended = || segment(1, 1, S::Partial, Some(EndReason::HangUp));
        let of_five = || segment(2, 1, S::Partial, Some(EndReason::HangUp));
        let told = [
            change(1, call(1, Some(90), 1)),
            told_by(5, 2, ended()),
            told_by(0, 3, ended()),
            told_by(5, 4, of_five()),
        ];
        let catalog = filled(&home, &told).await;
        // Node 0 finds nothing.
        catalog.forget_untold_since(event_id(50_000)).await.unwrap();
        let found = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        let shown: Vec<_> =
            found.segments.iter().map(|s| (s.directory.as_str(), s.elsewhere.len())).collect();
        assert_eq!(shown, [("of-5", 0)]);
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 2);
    });
}

#[test]
fn large_lists_use_an_index() {
    let home = Home::server();
    block_on(async {
        let _catalog = filled(&home, &story(1)).await;
        let mut db = PgConnection::connect_with(&Server::shared().options(home.database())).await.unwrap();
        // So few rows are read as they lie, unless that is forbidden.
        sqlx::raw_sql("SET enable_seqscan = off; SET enable_sort = off").execute(&mut db).await.unwrap();
        for filter in ["", " AND live = 1", " AND state = 6", " AND (started, id) < (5, 6)"] {
            let sql = format!(
                "EXPLAIN SELECT id FROM calls WHERE tenant = 'default'{filter} \
                 ORDER BY started DESC, id DESC LIMIT 100"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap();
            let plan: String = rows.iter().map(|r| r.get::<String, _>(0) + "; ").collect();
            assert!(plan.contains("Index") && !plan.contains("Sort  ("), "{filter}: {plan}");
        }
    });
}
