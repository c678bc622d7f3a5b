//! A segment that only the catalog knows of is ended by a start.

use model::{IdGenerator, OpenSegment};

use super::*;
use crate::whole::tests::two;
use spool::joining::Half;
use spool::log::{state_of, total_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_live_segment_without_files_ends_with_an_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.db");
    let (handle, worker) = store::CatalogWriter::start(&path, &directory.path().join("journal"));
    let writer = std::thread::spawn(move || worker.run(|_| {}));
    let repository = Repository::new(directory.path());
    let mender = Mender {
        teller: Teller::new(IdGenerator::new(NodeNumber::SINGLE, 0), Default::default(), handle.clone()),
        repository,
        disks: BTreeMap::new(),
        reader: Arc::new(Catalog::reader(&path)),
        tenant: TenantId::default(),
        node: NodeNumber::SINGLE,
        begun: now().wall,
        concluding: Arc::default(),
    };
    let started = mender.begun - Duration::from_secs(60);
    let open = OpenSegment::first(SegmentId::from_u64(5_001), CallId::from_u64(4_000), started, Vec::new());
    let at = now();
    let segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, at);
    mender.teller.segment_with_copy(segment.record(), segment.directory());
    let until_written = async |count| {
        while handle.status().written < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until_written(2).await;
    let call = async || mender.reader.call(&open.tenant, open.call).await.unwrap().unwrap();
    assert!(call().await.summary.live);

    let left = mender.survey().await;
    assert_eq!((left.markers.iter().map(|(_, m)| m.len()).sum::<usize>(), left.calls.len()), (0, 1));
    let (_stop, stopping) = watch::channel(false);
    let mending = mender.clone();
    tokio::task::spawn_blocking(move || mending.mend(left, &stopping)).await.unwrap();
    until_written(6).await;
    let detail = call().await;
    assert!(!detail.summary.live && detail.summary.ended.is_some(), "{:?}", detail.summary);
    assert_eq!(detail.summary.state, RecordingState::PartialInternalError);
    assert!(detail.events.iter().any(|e| e.kind == "alarm"), "{:?}", detail.events);
    handle.stop();
    writer.join().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_a_crash_cut_in_half_is_completed_and_the_call_concluded_as_one() {
    for half in [Half::Into, Half::From] {
        let two = two();
        two.note(half);
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("catalog.db");
        let (handle, worker) = store::CatalogWriter::start(&path, &state.path().join("journal"));
        let writer = std::thread::spawn(move || worker.run(|_| {}));
        let mender = Mender {
            teller: Teller::new(IdGenerator::new(NodeNumber::SINGLE, 0), Default::default(), handle.clone()),
            repository: two.repository.clone(),
            disks: BTreeMap::from([(VolumeName::default(), two.disk.clone())]),
            reader: Arc::new(Catalog::reader(&path)),
            tenant: TenantId::default(),
            node: NodeNumber::SINGLE,
            begun: now().wall,
            concluding: Arc::default(),
        };
        let calls = BTreeSet::from([half.directory(&two.join)]);
        let (_stop, stopping) = watch::channel(false);
        let mending = mender.clone();
        let left = Left { calls, ..Left::default() };
        tokio::task::spawn_blocking(move || mending.mend(left, &stopping)).await.unwrap();

        let lines = |half: Half| two.repository.log(&half.directory(&two.join)).unwrap().0;
        for half in [Half::Into, Half::From] {
            assert_eq!(joins_of(&lines(half)).len(), 1, "{half:?}");
        }
        let [into, from] = [Half::Into, Half::From].map(|h| h.key(&two.join).call);
        let of_into = lines(Half::Into);
        assert_eq!(state_of(&of_into, model::CopyOf::Call(into)), Some(RecordingState::Complete));
        assert_eq!(total_of(&of_into, into), Some(3));
        assert_eq!(state_of(&lines(Half::From), model::CopyOf::Call(from)), None);
        let list = async || mender.reader.calls(&CallQuery::default()).await.unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until
            && list().await.iter().map(|c| c.state).collect::<Vec<_>>() != [RecordingState::Complete]
        {
            tokio::time::sleep(LOOK).await;
        }
        let found: Vec<_> = list().await.iter().map(|c| (c.id, c.segments, c.total, c.state)).collect();
        assert_eq!(found, [(into, 3, 3, RecordingState::Complete)], "{half:?}");
        let other = mender.reader.call(&TenantId::default(), from).await.unwrap().unwrap();
        assert_eq!((other.summary.id, other.joins.len()), (into, 1));
        handle.stop();
        writer.join().unwrap().unwrap();
    }
}
