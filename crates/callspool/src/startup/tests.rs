//! A segment that only the catalog knows of is ended by a start.

use model::{IdGenerator, OpenSegment};

use super::*;

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
