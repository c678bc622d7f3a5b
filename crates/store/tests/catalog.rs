//! The catalog over real files: what is told is found again, whatever the order, and only by its tenant.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fixture::{
    at, call, call_copy, call_id, change, change_of, corrected, extra, joined, joined_stories, segment, story,
};
use model::{
    Alarm, Change, ChangeKind, Condition, EndReason, EventId, NodeNumber, RecordingState as S, Severity,
    Side, Subject, TenantId, WallTime,
};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use sqlx::{Connection, Row, SqliteConnection};
use store::{AlarmQuery, CallQuery, Catalog};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// All rows of the index as text, for comparing.
async fn dump(path: &Path) -> Vec<String> {
    let mut db = SqliteConnection::connect(&format!("sqlite://{}?mode=ro", path.display())).await.unwrap();
    let mut all = Vec::new();
    for table in [
        "tenants", "calls", "segments", "streams", "copies", "parties", "tags", "metadata", "joins", "sides",
        "events",
    ] {
        let columns: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")))
                .fetch_all(&mut db)
                .await
                .unwrap();
        let quoted: Vec<String> = columns.iter().map(|c| format!("quote({c})")).collect();
        let sql = format!("SELECT {} FROM {table}", quoted.join(" || ' ' || "));
        let mut rows: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut db)
            .await
            .unwrap()
            .iter()
            .map(|row| format!("{table} {}", row.get::<String, _>(0)))
            .collect();
        rows.sort();
        all.extend(rows);
    }
    all
}

fn rows_after(changes: &[Change], batch: usize) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.db");
    block_on(async {
        let catalog = Catalog::open(&path).await.unwrap();
        for changes in changes.chunks(batch) {
            catalog.apply(changes).await.unwrap();
        }
        let rows = dump(&path).await;
        catalog.close().await;
        rows
    })
}

async fn filled(directory: &tempfile::TempDir, changes: &[Change]) -> Catalog {
    let catalog = Catalog::open(&directory.path().join("catalog.db")).await.unwrap();
    catalog.apply(changes).await.unwrap();
    catalog
}

/// A shuffled story in which some changes come again.
fn disorder(all: Vec<Change>) -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)
        .prop_map(move |again| {
            let mut changes = all.clone();
            changes.extend(again.iter().map(|i| i.get(&all).clone()));
            changes
        })
        .prop_flat_map(|changes| Just(changes).prop_shuffle())
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]
    #[test]
    fn any_order_and_repetition_ends_in_the_same_rows(
        changes in disorder([story(1), story(2)].concat()),
        batch in 1_usize..30,
    ) {
        prop_assert_eq!(rows_after(&changes, batch), rows_after(&[story(1), story(2)].concat(), 100));
    }

    /// The same where calls turn out to be one: before, while or after they are told of.
    #[test]
    fn calls_that_are_one_end_in_the_same_rows(changes in disorder(joined_stories()), batch in 1_usize..70) {
        prop_assert_eq!(rows_after(&changes, batch), rows_after(&joined_stories(), 100));
    }
}

#[test]
fn calls_that_are_one_are_found_and_shown_as_one() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &joined_stories()).await;
        let ids = async |query: CallQuery| {
            let found = catalog.calls(&query).await.unwrap();
            found.iter().map(|c| c.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(CallQuery::default()).await, [call_id(4), call_id(1)]);
        // By what each of them was known by.
        for number in ["1001", "1002", "1003"] {
            let query = CallQuery { number: Some(number.to_owned()), ..CallQuery::default() };
            assert_eq!(ids(query).await, [call_id(1)], "{number}");
            let ucid = Some(("ucid".to_owned(), format!("U{number}")));
            assert_eq!(ids(CallQuery { metadata: ucid, ..CallQuery::default() }).await, [call_id(1)]);
        }
        let vip = CallQuery { tag: Some("vip".to_owned()), ..CallQuery::default() };
        assert_eq!(ids(vip).await, [call_id(1)]);
        let surviving = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        for other in [2, 3] {
            let found = catalog.call(&TenantId::default(), call_id(other)).await.unwrap().unwrap();
            assert_eq!(found, surviving);
        }
        let segments: Vec<_> = surviving
            .segments
            .iter()
            .map(|s| (s.record.number, s.record.total, s.record.call, s.recorded_as))
            .collect();
        let of = |call: u64, number: u16| Some((call_id(call), number));
        let expected = [
            (1, 2, call_id(1), None),
            (2, 2, call_id(1), None),
            (3, 4, call_id(1), of(2, 1)),
            (4, 4, call_id(1), of(2, 2)),
            (5, 6, call_id(1), of(3, 1)),
            (6, 6, call_id(1), of(3, 2)),
        ];
        assert_eq!(segments, expected);
        let directories: Vec<_> = surviving.segments.iter().map(|s| s.directory.clone()).collect();
        // The last word on the sides was of all three.
        let sides: Vec<_> = surviving.segments.iter().map(|s| s.record.streams[0].side).collect();
        assert_eq!((sides, surviving.sides.swapped), (vec![Side::External; 6], true));
        assert!(directories[0] != directories[2] && directories[2] != directories[4]);
        assert_eq!((surviving.summary.total, surviving.summary.segments), (6, 6));
        assert_eq!(surviving.summary.started, at(10));
        assert_eq!(surviving.summary.ended, Some(at(100)));
        assert_eq!(surviving.summary.tags, ["complaint", "vip"]);
        assert_eq!(surviving.extra["ticket"], "T-3");
        let from: Vec<_> = surviving.joins.iter().map(|j| j.from.call).collect();
        assert_eq!(from, [call_id(2), call_id(3)]);
        assert!(surviving.events.iter().any(|e| e.kind == "joined"));
        let numbers: Vec<_> = surviving.data.parties.iter().filter_map(|p| p.number.clone()).collect();
        assert_eq!(numbers, ["1001", "2000", "1002", "1003"]);
    });
}

#[test]
fn what_was_said_of_a_call_stays_with_its_segments_and_counts_for_later_ones_of_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let changes = [story(1), story(2)].concat();
        let catalog = filled(&directory, &changes).await;
        // The second call is corrected, then found to be the first.
        let told = [change(9_001, corrected(&[2], true, 80)), change(9_002, joined(1, 2, [3, 4]))];
        catalog.apply(&told).await.unwrap();
        let ChangeKind::Segment { mut record, directory } = segment(1, 5, S::Incomplete, None) else {
            unreachable!()
        };
        record.started = at(95);
        catalog.apply(&[change(9_003, ChangeKind::Segment { record, directory })]).await.unwrap();
        let shown = async || {
            let detail = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
            let sides: Vec<_> = detail.segments.iter().map(|s| s.record.streams[0].side).collect();
            (sides, detail.sides.swapped)
        };
        let [agent, external] = [Side::Agent, Side::External];
        assert_eq!(shown().await, (vec![agent, agent, external, external, external], true));
        // What is said afterwards is said of all of it.
        catalog.apply(&[change(9_004, corrected(&[1, 2], false, 96))]).await.unwrap();
        assert_eq!(shown().await, (vec![agent; 5], false));
    });
}

#[test]
fn a_call_that_takes_in_a_live_one_is_live_and_complete_only_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await.unwrap();
        let shown = async |changes: &[Change]| {
            catalog.apply(changes).await.unwrap();
            let list = catalog.calls(&CallQuery::default()).await.unwrap();
            assert_eq!(list.len(), 1);
            (list[0].state, list[0].live, list[0].total, list[0].ended.is_some())
        };
        let hang_up = || Some(EndReason::HangUp);
        let first = [
            change(1, call(1, Some(50), 1)),
            change(2, segment(1, 1, S::Partial, hang_up())),
            change(3, call_copy(1, S::Complete)),
        ];
        assert_eq!(shown(&first).await, (S::Complete, false, 1, true));
        catalog
            .apply(&[change(4, call(2, None, 1)), change(5, segment(2, 1, S::Incomplete, None))])
            .await
            .unwrap();
        assert_eq!(shown(&[change(6, joined(1, 2, [2, 3]))]).await, (S::Incomplete, true, 3, false));
        // What the call had come to before is taken back; what is told later of the other counts to it.
        let ended = [
            change(7, call_copy(1, S::Partial)),
            change(8, segment(2, 1, S::PartialExternalError, hang_up())),
        ];
        assert_eq!(shown(&ended).await, (S::PartialExternalError, false, 2, true));
        let concluded =
            [change(9, call(1, Some(120), 2)), change(10, call_copy(1, S::CompleteExternalError))];
        assert_eq!(shown(&concluded).await, (S::CompleteExternalError, false, 2, true));
    });
}

#[test]
fn calls_of_two_tenants_are_never_one() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        catalog.apply(&[change_of("other", 7_000, joined(2, 3, [2, 3]))]).await.unwrap();
        let ChangeKind::Joined(mut join) = joined(1, 2, [3, 4]) else { unreachable!() };
        join.from.tenant = "other".parse().unwrap();
        catalog.apply(&[change(7_001, ChangeKind::Joined(join))]).await.unwrap();
        let detail = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        assert_eq!((detail.joins.len(), detail.summary.segments), (0, 2));
    });
}

#[test]
fn a_chain_of_which_a_join_goes_is_parted_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &[story(1), story(2), story(3)].concat()).await;
        catalog
            .apply(&[change(9_001, joined(1, 2, [3, 4])), change(9_002, joined(2, 3, [3, 4]))])
            .await
            .unwrap();
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 1);
        let begin = EventId::from_u64(50_000);
        let again = [story(1), story(2), story(3)].concat().into_iter().map(|told| told.kind);
        let again = (50_001..).zip(again.chain([joined(2, 3, [3, 4])]));
        let again: Vec<Change> = again.map(|(event, kind)| change(event, kind)).collect();
        catalog.apply(&again).await.unwrap();
        catalog.forget_untold_since(begin).await.unwrap();
        let list = catalog.calls(&CallQuery::default()).await.unwrap();
        let found: Vec<_> = list.iter().map(|c| (c.id, c.segments, c.total)).collect();
        assert_eq!(found, [(call_id(2), 4, 4), (call_id(1), 2, 2)]);
    });
}

#[test]
fn a_reindex_parts_what_no_file_joins() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &[story(1), story(2)].concat()).await;
        catalog.apply(&[change(9_001, joined(1, 2, [3, 4]))]).await.unwrap();
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 1);
        let begin = EventId::from_u64(50_000);
        let again: Vec<Change> = (50_001..)
            .zip([story(1), story(2)].concat())
            .map(|(event, told)| change(event, told.kind))
            .collect();
        catalog.apply(&again).await.unwrap();
        catalog.forget_untold_since(begin).await.unwrap();
        let list = catalog.calls(&CallQuery::default()).await.unwrap();
        let found: Vec<_> = list.iter().map(|c| (c.id, c.segments, c.total, c.state)).collect();
        assert_eq!(found, [(call_id(2), 2, 2, S::Complete), (call_id(1), 2, 2, S::Complete)]);
    });
}

#[test]
fn a_call_is_shown_with_all_that_was_told() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        let list = catalog.calls(&CallQuery::default()).await.unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(
            (list[0].state, list[0].live, list[0].total, list[0].segments),
            (S::Complete, false, 2, 2)
        );
        assert_eq!(list[0].parties[0].name.as_deref(), Some("Ann"));
        let detail = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        assert_eq!(detail.summary, list[0]);
        assert_eq!(detail.extra["ticket"], "T-2");
        assert_eq!(detail.summary.tags, ["complaint"]);
        let numbers: Vec<u16> = detail.segments.iter().map(|s| s.record.number).collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!((detail.segments[0].state, detail.segments[0].copies.len()), (S::Partial, 2));
        assert_eq!(detail.segments[1].record.streams[0].accounting.lost, 3);
        assert_eq!(detail.copies.len(), 1);
        assert_eq!(detail.events.len(), 14);
        assert!(detail.events[0].id > detail.events[1].id, "newest first");
    });
}

#[test]
fn the_state_in_lists_follows_the_copies() {
    let check = |name: &str, kinds: Vec<ChangeKind>, expected: (S, bool, u16)| {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let changes: Vec<Change> =
                kinds.into_iter().enumerate().map(|(i, k)| change(i as u64 + 1, k)).collect();
            let catalog = filled(&directory, &changes).await;
            let list = catalog.calls(&CallQuery::default()).await.unwrap();
            assert_eq!((list[0].state, list[0].live, list[0].total), expected, "{name}");
        });
    };
    let hold = || Some(EndReason::Hold);
    check("live", vec![call(1, None, 1), segment(1, 1, S::Incomplete, None)], (S::Incomplete, true, 1));
    check("segment only", vec![segment(1, 1, S::Incomplete, None)], (S::Incomplete, true, 1));
    check("held", vec![call(1, None, 1), segment(1, 1, S::Partial, hold())], (S::Partial, false, 2));
    check(
        "a hold that was never resumed: the end corrects the total",
        vec![segment(1, 1, S::Partial, hold()), call(1, Some(90), 1)],
        (S::Partial, false, 1),
    );
    check(
        "gathered, then continued",
        vec![
            call(1, None, 1),
            segment(1, 1, S::Partial, hold()),
            call_copy(1, S::Complete),
            call_copy(1, S::Partial),
            segment(1, 2, S::Incomplete, None),
        ],
        (S::Incomplete, true, 2),
    );
    check("told of, nothing recorded", vec![call(1, None, 0)], (S::Delete, false, 0));
}

#[test]
fn lists_filter_and_page_by_key() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let mut changes: Vec<Change> = (0..25).map(|n| change(n + 1, call(n, Some(500), 1))).collect();
        changes.push(change(90, segment(3, 1, S::Incomplete, None)));
        changes.push(change(91, extra(4, "ticket", "Ünïque 50%")));
        changes.push(change(92, call_copy(5, S::CompleteExternalError)));
        let catalog = filled(&directory, &changes).await;
        let check = async |name: &str, query: CallQuery, expected: &[u64]| {
            let found: Vec<_> = catalog.calls(&query).await.unwrap().iter().map(|c| c.id).collect();
            let expected: Vec<_> = expected.iter().map(|n| call_id(*n)).collect();
            assert_eq!(found, expected, "{name}");
        };
        let all = CallQuery::default;
        check("live", CallQuery { live: Some(true), ..all() }, &[3]).await;
        check("state", CallQuery { state: Some(S::CompleteExternalError), ..all() }, &[5]).await;
        check("from", CallQuery { from: Some(at(230)), ..all() }, &[24, 23]).await;
        check("until", CallQuery { until: Some(at(10)), ..all() }, &[0]).await;
        check("text, any case", CallQuery { text: Some("ÜNÏQUE".to_owned()), ..all() }, &[4]).await;
        check("percent is plain", CallQuery { text: Some("0%".to_owned()), ..all() }, &[4]).await;
        check("number prefix", CallQuery { number: Some("102".to_owned()), ..all() }, &[24, 23, 22, 21, 20])
            .await;
        check("no wildcard in numbers", CallQuery { number: Some("%".to_owned()), ..all() }, &[]).await;
        check("quotes", CallQuery { text: Some("' OR 1=1 --".to_owned()), ..all() }, &[]).await;
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = catalog.calls(&CallQuery { after, limit: Some(10), ..all() }).await.unwrap();
            seen.extend(page.iter().map(|c| c.id));
            match page.last() {
                Some(last) => after = Some(last.cursor()),
                None => break,
            }
        }
        assert_eq!(seen, (0..25).rev().map(call_id).collect::<Vec<_>>());
    });
}

#[test]
fn a_tenant_sees_and_changes_only_its_own() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        let other: TenantId = "other".parse().unwrap();
        assert!(catalog.call(&other, call_id(1)).await.unwrap().is_none());
        let query = CallQuery { tenant: other.clone(), ..CallQuery::default() };
        assert!(catalog.calls(&query).await.unwrap().is_empty());
        let before = catalog.call(&TenantId::default(), call_id(1)).await.unwrap();
        catalog.apply(&[change_of("other", 5_000, extra(1, "stolen", "yes"))]).await.unwrap();
        assert_eq!(catalog.call(&TenantId::default(), call_id(1)).await.unwrap(), before);
    });
}

#[test]
fn events_are_told_in_order_and_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        catalog.apply(&[change(9_000, alarm(Condition::ReceiveDrops, 1, None))]).await.unwrap();
        let first = catalog.events(EventId::from_u64(0), 3).await.unwrap();
        assert_eq!(first.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["call", "segment", "segment"]);
        let rest = catalog.events(first[2].id, 1_000).await.unwrap();
        assert_eq!(rest.len(), 12);
        assert!(rest[11].body.contains("receive-drops"), "{}", rest[11].body);
        assert_eq!(catalog.trim_events(rest[11].id).await.unwrap(), 14);
        assert_eq!(catalog.events(EventId::from_u64(0), 10).await.unwrap().len(), 1);
    });
}

fn alarm(condition: Condition, raised: i64, cleared: Option<i64>) -> ChangeKind {
    ChangeKind::Alarm(Box::new(Alarm {
        kind: condition.into(),
        severity: condition.severity(),
        subject: Subject::Node(NodeNumber::SINGLE),
        call: None,
        segment: None,
        raised: WallTime(raised),
        cleared: cleared.map(WallTime),
        count: 1,
        text: "datagrams dropped".to_owned(),
    }))
}

#[test]
fn alarms_are_active_until_they_are_cleared_in_any_order_and_stay_as_history() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        let changes = [
            change(9_000, alarm(Condition::ReceiveDrops, 1, None)),
            change(9_001, alarm(Condition::DiskSpace, 2, None)),
            change(9_002, alarm(Condition::ReceiveDrops, 1, Some(5))),
            change(9_003, alarm(Condition::ReceiveDrops, 7, None)),
        ];
        // As told, told again, and with the end before the beginning.
        for order in [[0, 1, 2, 3], [2, 0, 3, 1]] {
            let changes: Vec<_> = order.iter().map(|i| changes[*i].clone()).collect();
            catalog.apply(&changes).await.unwrap();
            let active = AlarmQuery { active: true, ..AlarmQuery::default() };
            let kinds: Vec<_> = catalog
                .alarms(&active)
                .await
                .unwrap()
                .iter()
                .map(|r| (r.alarm.kind.name(), r.alarm.raised.0))
                .collect();
            assert_eq!(kinds, [("receive-drops", 7), ("disk-space", 2)]);
        }
        let critical = AlarmQuery { severity: Some(Severity::Critical), ..AlarmQuery::default() };
        assert_eq!(catalog.alarms(&critical).await.unwrap().len(), 1);
        let all = catalog.alarms(&AlarmQuery::default()).await.unwrap();
        assert_eq!(
            all.iter().map(|r| r.alarm.cleared.map(|t| t.0)).collect::<Vec<_>>(),
            [None, None, Some(5)]
        );
        let rest = AlarmQuery { before: Some(all[0].id), limit: Some(1), ..AlarmQuery::default() };
        assert_eq!(catalog.alarms(&rest).await.unwrap(), all[1..2]);
        let other = AlarmQuery { tenant: "other".parse().unwrap(), ..AlarmQuery::default() };
        assert!(catalog.alarms(&other).await.unwrap().is_empty());
        // What is over goes with the events, what lasts stays, and a reindex leaves both.
        catalog.clear_for_reindex().await.unwrap();
        catalog.trim_events(EventId::from_u64(10_000)).await.unwrap();
        assert_eq!(catalog.alarms(&AlarmQuery::default()).await.unwrap().len(), 2);
    });
}

#[test]
fn the_highest_id_is_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await.unwrap();
        assert_eq!(catalog.highest_id().await.unwrap(), 0);
        catalog.apply(&story(1)).await.unwrap();
        catalog.close().await;
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await.unwrap();
        assert_eq!(catalog.highest_id().await.unwrap(), fixture::segment_id(1, 2).as_u64() + 1);
    });
}

#[test]
fn a_reindex_forgets_what_has_no_file_and_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let catalog = filled(&directory, &story(1)).await;
        catalog.apply(&story(2)).await.unwrap();
        // Found again: the first segment of call 1 only.
        let begin = EventId::from_u64(50_000);
        let found = segment(1, 1, S::Partial, Some(EndReason::Hold));
        catalog.apply(&[change(50_001, found)]).await.unwrap();
        assert!(catalog.forget_untold_since(begin).await.unwrap() > 0);
        let list = catalog.calls(&CallQuery::default()).await.unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].id, list[0].segments, list[0].state), (call_id(1), 1, S::Partial));
        catalog.clear_for_reindex().await.unwrap();
        assert!(catalog.calls(&CallQuery::default()).await.unwrap().is_empty());
        // The journal may replay what the events already tell of.
        catalog.apply(&story(2)).await.unwrap();
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap()[0].state, S::Complete);
    });
}

#[test]
fn nobody_else_may_read_the_files() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let _catalog = filled(&directory, &story(1)).await;
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    });
}

#[test]
fn large_lists_use_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.db");
    block_on(async {
        let _catalog = filled(&directory, &story(1)).await;
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
