//! Calls that turn out to be one, and what people said of who is who.

use model::{Change, ChangeKind, EndReason, RecordingState as S, Side, TenantId};
use store::CallQuery;

use super::{block_on, filled};
use crate::fixture::home::Home;
use crate::fixture::{
    at, call, call_copy, call_id, change, change_of, corrected, event_id, joined, joined_stories, segment,
    story,
};

pub(crate) fn calls_that_are_one_are_found_and_shown_as_one(home: &Home) {
    block_on(async {
        let catalog = filled(home, &joined_stories()).await;
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

pub(crate) fn what_was_said_of_a_call_stays_with_its_segments_and_counts_for_later_ones_of_the_whole(
    home: &Home,
) {
    block_on(async {
        let changes = [story(1), story(2)].concat();
        let catalog = filled(home, &changes).await;
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

pub(crate) fn a_call_that_takes_in_a_live_one_is_live_and_complete_only_as_a_whole(home: &Home) {
    block_on(async {
        let catalog = home.open().await;
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

pub(crate) fn calls_of_two_tenants_are_never_one(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
        catalog.apply(&[change_of("other", 7_000, joined(2, 3, [2, 3]))]).await.unwrap();
        let ChangeKind::Joined(mut join) = joined(1, 2, [3, 4]) else { unreachable!() };
        join.from.tenant = "other".parse().unwrap();
        catalog.apply(&[change(7_001, ChangeKind::Joined(join))]).await.unwrap();
        let detail = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        assert_eq!((detail.joins.len(), detail.summary.segments), (0, 2));
    });
}

pub(crate) fn a_chain_of_which_a_join_goes_is_parted_where_it_was(home: &Home) {
    block_on(async {
        let catalog = filled(home, &[story(1), story(2), story(3)].concat()).await;
        catalog
            .apply(&[change(9_001, joined(1, 2, [3, 4])), change(9_002, joined(2, 3, [3, 4]))])
            .await
            .unwrap();
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 1);
        let begin = event_id(50_000);
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

pub(crate) fn a_reindex_parts_what_no_file_joins(home: &Home) {
    block_on(async {
        let catalog = filled(home, &[story(1), story(2)].concat()).await;
        catalog.apply(&[change(9_001, joined(1, 2, [3, 4]))]).await.unwrap();
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 1);
        let begin = event_id(50_000);
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
