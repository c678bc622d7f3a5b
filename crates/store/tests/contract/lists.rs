//! Lists, single calls, events, alarms, and what a reindex leaves.

use model::{
    Alarm, Change, ChangeKind, Condition, EndReason, NodeNumber, RecordingState as S, Severity, Subject,
    TenantId, WallTime,
};
use store::{AlarmQuery, CallQuery};

use super::{block_on, filled};
use crate::fixture::home::Home;
use crate::fixture::{at, call, call_copy, call_id, change, change_of, event_id, extra, segment, story};

pub(crate) fn a_call_is_shown_with_all_that_was_told(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
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

pub(crate) fn the_state_in_lists_follows_the_copies(home: &Home) {
    let check = |name: &str, kinds: Vec<ChangeKind>, expected: (S, bool, u16)| {
        block_on(async {
            home.empty();
            let changes: Vec<Change> =
                kinds.into_iter().enumerate().map(|(i, k)| change(i as u64 + 1, k)).collect();
            let catalog = filled(home, &changes).await;
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

pub(crate) fn lists_filter_and_page_by_key(home: &Home) {
    block_on(async {
        let mut changes: Vec<Change> = (0..25).map(|n| change(n + 1, call(n, Some(500), 1))).collect();
        changes.push(change(90, segment(3, 1, S::Incomplete, None)));
        changes.push(change(91, extra(4, "ticket", "Ünïque 50%")));
        changes.push(change(92, call_copy(5, S::CompleteExternalError)));
        let catalog = filled(home, &changes).await;
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

pub(crate) fn a_tenant_sees_and_changes_only_its_own(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
        let other: TenantId = "other".parse().unwrap();
        assert!(catalog.call(&other, call_id(1)).await.unwrap().is_none());
        let query = CallQuery { tenant: other.clone(), ..CallQuery::default() };
        assert!(catalog.calls(&query).await.unwrap().is_empty());
        let before = catalog.call(&TenantId::default(), call_id(1)).await.unwrap();
        catalog.apply(&[change_of("other", 5_000, extra(1, "stolen", "yes"))]).await.unwrap();
        assert_eq!(catalog.call(&TenantId::default(), call_id(1)).await.unwrap(), before);
    });
}

pub(crate) fn events_are_told_in_order_and_trimmed(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
        catalog.apply(&[change(9_000, alarm(Condition::ReceiveDrops, 1, None))]).await.unwrap();
        home.settle().await;
        let first = catalog.events(event_id(0), 3).await.unwrap();
        assert_eq!(first.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["call", "segment", "segment"]);
        let rest = catalog.events(first[2].id, 1_000).await.unwrap();
        assert_eq!(rest.len(), 12);
        assert!(rest[11].body.contains("receive-drops"), "{}", rest[11].body);
        assert_eq!(catalog.trim_events(rest[11].id).await.unwrap(), 14);
        assert_eq!(catalog.events(event_id(0), 10).await.unwrap().len(), 1);
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

pub(crate) fn alarms_are_active_until_they_are_cleared_in_any_order_and_stay_as_history(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
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
        catalog.trim_events(event_id(10_000)).await.unwrap();
        assert_eq!(catalog.alarms(&AlarmQuery::default()).await.unwrap().len(), 2);
    });
}

pub(crate) fn the_highest_id_is_known_after_a_restart(home: &Home) {
    block_on(async {
        let catalog = home.open().await;
        assert_eq!(catalog.highest_id().await.unwrap(), 0);
        catalog.apply(&story(1)).await.unwrap();
        catalog.close().await;
        let catalog = home.open().await;
        assert_eq!(catalog.highest_id().await.unwrap(), event_id(1_014).as_u64());
    });
}

pub(crate) fn a_reindex_forgets_what_has_no_file_and_keeps_the_rest(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
        catalog.apply(&story(2)).await.unwrap();
        // Found again: the first segment of call 1 only.
        let begin = event_id(50_000);
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
