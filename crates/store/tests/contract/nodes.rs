//! Segments that several nodes have, and text that a caller chose.

use model::{Change, ChangeKind, Direction, EndReason, RecordingState as S, TenantId};
use proptest::prelude::{prop_assert_eq, proptest};
use proptest::test_runner::Config;
use store::CallQuery;

use super::{block_on, disorder, filled, rows_after};
use crate::fixture::home::Home;
use crate::fixture::{call_id, change, segment, story, told_by};

/// A call of which a segment is told by three nodes, by turns.
fn told_by_several() -> Vec<Change> {
    let incomplete = || segment(1, 3, S::Incomplete, None);
    let partial = || segment(1, 3, S::Partial, Some(EndReason::HangUp));
    let mut all = story(1);
    all.extend([
        told_by(7, 2_000, incomplete()),
        told_by(5, 2_001, incomplete()),
        told_by(9, 2_002, partial()),
        told_by(5, 2_003, partial()),
        told_by(7, 2_004, partial()),
    ]);
    all
}

pub(crate) fn what_nodes_say_of_one_segment_is_kept_of_each_in_any_order(home: &Home) {
    let rows = rows_after(home, &told_by_several(), 100);
    proptest!(Config { cases: 16, ..Config::default() }, |(
        changes in disorder(told_by_several()), batch in 1_usize..20,
    )| {
        prop_assert_eq!(rows_after(home, &changes, batch), rows.clone());
    });
    home.empty();
    block_on(async {
        let catalog = filled(home, &told_by_several()).await;
        let found = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        let [_, _, shared] = found.segments.as_slice() else { unreachable!() };
        // The last that told is shown.
        assert_eq!((shared.record.node.get(), shared.directory.as_str()), (7, "of-7"));
        assert_eq!(shared.record.streams[0].accounting.received, 1_007);
        let others: Vec<_> = shared
            .elsewhere
            .iter()
            .map(|other| (other.directory.as_str(), other.record.streams[0].accounting.received))
            .collect();
        assert_eq!(others, [("of-5", 1_005), ("of-9", 1_009)]);
        assert_eq!(shared.copies.len(), 3);
    });
}

/// NUL is no text for PostgreSQL, and an index there takes no long values.
pub(crate) fn text_that_a_caller_chose_is_told_whatever_it_is(home: &Home) {
    let ChangeKind::Call(mut record) = crate::fixture::call(1, Some(90), 1) else { unreachable!() };
    let long = |c: char| c.to_string().repeat(70_000);
    record.data.parties[0].name = Some("A\0nn \\u0000 \u{FFFF}".to_owned());
    record.data.parties[0].number = Some(long('7'));
    record.data.parties[1].number = Some("4\09".to_owned());
    let more = [("x\0", "y\0".to_owned()), (&long('k'), long('v')), ("long", long('ü'))];
    record.data.extra.extend(more.map(|(key, value)| (key.to_owned(), value)));
    record.data.direction = Direction::Incoming;
    let data = record.data.clone();
    block_on(async {
        let told = [change(1, ChangeKind::Call(record))];
        let catalog = filled(home, &told).await;
        let found = catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap();
        assert_eq!(found.data, data);
        let finds = async |query: CallQuery| catalog.calls(&query).await.unwrap().len();
        let all = CallQuery::default;
        let value = |key: &str, value: String| CallQuery { metadata: Some((key.to_owned(), value)), ..all() };
        assert_eq!(finds(value("x\0", "y\0".to_owned())).await, 1);
        assert_eq!(finds(value("long", long('ü'))).await, 1);
        assert_eq!(finds(value("long", "ü".repeat(256))).await, 0);
        assert_eq!(finds(CallQuery { number: Some("777".to_owned()), ..all() }).await, 1);
        assert_eq!(finds(CallQuery { number: Some("4\0".to_owned()), ..all() }).await, 1);
        assert_eq!(finds(CallQuery { text: Some("a\0NN".to_owned()), ..all() }).await, 1);
        assert_eq!(finds(CallQuery { tag: Some("\0".to_owned()), ..all() }).await, 0);
        assert_eq!(finds(CallQuery { direction: Some(data.direction), ..all() }).await, 1);
        // Told again it is as it was.
        catalog.apply(&told).await.unwrap();
        assert_eq!(catalog.call(&TenantId::default(), call_id(1)).await.unwrap().unwrap(), found);
    });
}
