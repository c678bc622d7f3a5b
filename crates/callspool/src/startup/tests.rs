//! What a start mends: segments that only the catalog knows of, joins that a crash cut in half, of all tenants.

use model::{Correction, IdGenerator, OpenSegment, Party, PartyRole, Side, Sides};

use super::*;
use crate::whole::tests::{Two, two};
use spool::joining::Half;
use spool::log::{joins_of, state_of, total_of};

/// A process that has just begun, and its catalog.
struct Begun {
    state: tempfile::TempDir,
    mender: Mender,
    handle: store::Handle,
    writer: std::thread::JoinHandle<std::io::Result<()>>,
}

fn begin(repository: Repository, disks: BTreeMap<VolumeName, Disk>) -> Begun {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("catalog.db");
    let (handle, worker) = store::CatalogWriter::start(&path, &state.path().join("journal"));
    let writer = std::thread::spawn(move || worker.run(|_| {}));
    let mender = Mender {
        teller: Teller::new(IdGenerator::new(NodeNumber::SINGLE, 0), Default::default(), handle.clone()),
        repository,
        disks,
        pending: Pending::new(state.path()),
        reader: Arc::new(Catalog::reader(&path)),
        tenant: TenantId::default(),
        node: NodeNumber::SINGLE,
        others_order: false,
        begun: now().wall,
        concluding: Arc::default(),
    };
    Begun { state, mender, handle, writer }
}

impl Begun {
    fn on(two: &Two) -> Self {
        begin(two.repository.clone(), BTreeMap::from([(VolumeName::default(), two.disk.clone())]))
    }

    async fn mend(&self, left: Left) {
        let (_stop, stopping) = watch::channel(false);
        let mending = self.mender.clone();
        tokio::task::spawn_blocking(move || mending.mend(left, &stopping)).await.unwrap();
    }

    async fn until_written(&self, count: u64) {
        while self.handle.status().written < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn end(self) {
        self.handle.stop();
        self.writer.join().unwrap().unwrap();
        drop(self.state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_segment_without_files_ends_with_an_alarm_whosever_it_is() {
    for tenant in [TenantId::default(), "other".parse().unwrap()] {
        let empty = tempfile::tempdir().unwrap();
        let begun = begin(Repository::new(empty.path()), BTreeMap::new());
        let mender = &begun.mender;
        let started = mender.begun - Duration::from_secs(60);
        let mut open =
            OpenSegment::first(SegmentId::from_u64(5_001), CallId::from_u64(4_000), started, Vec::new());
        open.tenant = tenant.clone();
        open.data.parties = vec![Party {
            role: PartyRole::Caller,
            side: Side::Agent,
            uri: None,
            number: Some("1001".to_owned()),
            name: None,
            participant: None,
            joined: None,
            left: None,
        }];
        let segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, now());
        mender.teller.segment_with_copy(segment.record(), segment.directory());
        let swapped = Sides { swapped: true, ..Sides::default() };
        let correction = Correction {
            calls: vec![open.call],
            from: Sides::default(),
            to: swapped,
            at: mender.begun,
            by: "test".to_owned(),
        };
        mender.teller.tell(tenant.clone(), ChangeKind::Sides(correction));
        begun.until_written(3).await;
        let call = async || mender.reader.call(&open.tenant, open.call).await.unwrap().unwrap();
        assert!(call().await.summary.live);

        let left = mender.survey().await;
        assert_eq!(
            (left.markers.iter().map(|(_, m)| m.markers.len()).sum::<usize>(), left.calls.len()),
            (0, 1)
        );
        begun.mend(left).await;
        begun.until_written(7).await;
        let detail = call().await;
        assert!(!detail.summary.live && detail.summary.ended.is_some(), "{:?}", detail.summary);
        assert_eq!(detail.summary.state, RecordingState::PartialInternalError);
        assert!(detail.events.iter().any(|e| e.kind == "alarm"), "{:?}", detail.events);
        // What people corrected is applied to what was recorded, and not twice.
        assert_eq!(detail.segments[0].record.data.parties[0].side, Side::External);
        assert_eq!(detail.data.parties[0].side, Side::External);
        begun.end();
    }
}

/// A machine that loses its power may keep that a file was put in place and lose what is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_a_loss_of_power_emptied_is_what_it_was_before() {
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::with_reserve(root.path(), 1);
    let began = now();
    let mut open =
        OpenSegment::first(SegmentId::from_u64(5_001), CallId::from_u64(4_000), began.wall, Vec::new());
    open.data.sip_call_ids = vec!["first".to_owned()];
    let mut segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, began);
    let flush = |segment: &mut spool::SegmentWriter, seconds| {
        let mut ops = Vec::new();
        segment.flush(began + Duration::from_secs(seconds), Vec::new(), &mut ops);
        disk.apply_all(ops).unwrap();
    };
    flush(&mut segment, 0);
    open.data.sip_call_ids = vec!["second".to_owned()];
    segment.annotate(began, open.data.clone(), Vec::new());
    flush(&mut segment, 2);
    let path = root.path().join(segment.manifest_path());
    let replaced = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "").unwrap();

    let repository = Repository::new(root.path());
    let disks = BTreeMap::from([(VolumeName::default(), Disk::new(root.path()))]);
    let begun = begin(repository.clone(), disks);
    let left = begun.mender.survey().await;
    begun.mend(left).await;
    let found = repository.manifests(segment.directory()).unwrap();
    let manifest = found[0].manifest.as_ref().unwrap();
    assert!(replaced.contains("second") && manifest.sealed);
    assert_eq!(manifest.record.data.sip_call_ids, ["first"]);
    assert_eq!(repository.live_markers().unwrap().markers, []);
    begun.end();
}

/// A segment that is being recorded, whose marker is lost.
fn unmarked(disk: &Disk, root: &std::path::Path, id: SegmentId, call: u64) -> spool::SegmentWriter {
    let began = now();
    let open = OpenSegment::first(id, CallId::from_u64(call), began.wall, Vec::new());
    let mut segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, began);
    let mut ops = Vec::new();
    segment.flush(began, Vec::new(), &mut ops);
    disk.apply_all(ops).unwrap();
    std::fs::remove_file(root.join(layout::MARKERS_PATH)).unwrap();
    disk.settle().unwrap();
    segment
}

/// A loss of power may take the marker and leave the manifest, and then the catalog knows of the segment or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_marker_is_lost_is_found_by_its_manifest_and_closed() {
    for is_known in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::with_reserve(root.path(), 1);
        let segment = unmarked(&disk, root.path(), SegmentId::from_u64(5_001), 4_000);
        let repository = Repository::new(root.path());
        let disks = BTreeMap::from([(VolumeName::default(), Disk::new(root.path()))]);
        let begun = begin(repository.clone(), disks);
        if is_known {
            begun.mender.teller.segment_with_copy(segment.record(), segment.directory());
            begun.until_written(2).await;
        }
        let left = begun.mender.survey().await;
        assert_eq!((left.markers[0].1.markers.len(), left.calls.len()), (0, usize::from(is_known)));
        begun.mend(left).await;
        let found = repository.manifests(segment.directory()).unwrap();
        let manifest = found[0].manifest.as_ref().unwrap();
        assert!(manifest.sealed, "{is_known}");
        assert_eq!(manifest.record.state, RecordingState::PartialInternalError);
        assert_eq!(repository.live_markers().unwrap().markers, []);
        let call = async || {
            let reader = &begun.mender.reader;
            reader.call(&TenantId::default(), segment.record().call).await.ok().flatten()
        };
        let until = Instant::now() + Duration::from_secs(20);
        while call().await.is_none_or(|call| call.summary.live) && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        assert!(!call().await.unwrap().summary.live, "{is_known}");
        begun.end();
    }
}

/// A call of a proxy on another node may go on at another record server, and that proxy says how it came out.
#[tokio::test(flavor = "multi_thread")]
async fn who_records_for_others_concludes_its_own_calls_only() {
    for (call, own) in [(4_000, false), (100, true)] {
        assert_eq!(CallId::from_u64(call).node() == NodeNumber::SINGLE, own);
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::with_reserve(root.path(), 1);
        let segment = unmarked(&disk, root.path(), SegmentId::from_u64(5_001), call);
        let repository = Repository::new(root.path());
        let disks = BTreeMap::from([(VolumeName::default(), Disk::new(root.path()))]);
        let mut begun = begin(repository.clone(), disks);
        begun.mender.others_order = true;
        let calls = BTreeSet::from([segment.directory().to_owned()]);
        begun.mend(Left { calls, ..Left::default() }).await;
        assert!(repository.manifests(segment.directory()).unwrap()[0].manifest.as_ref().unwrap().sealed);
        let lines = repository.log(segment.directory()).unwrap().0;
        assert_eq!(is_concluded(&lines, CallId::from_u64(call)), own);
        begun.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_process_records_is_not_taken_for_what_was_left_open() {
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::with_reserve(root.path(), 1);
    let repository = Repository::new(root.path());
    let disks = BTreeMap::from([(VolumeName::default(), disk.clone())]);
    let begun = begin(repository.clone(), disks);
    let id = IdGenerator::new(NodeNumber::SINGLE, 0).segment(now().wall);
    let own = unmarked(&disk, root.path(), id, 4_000);
    let marked = unmarked(&disk, root.path(), SegmentId::from_u64(5_001), 4_001);
    let at = ManifestPath::parse(&marked.manifest_path()).unwrap();
    let (path, bytes) = (layout::marker_path(marked.record().id), layout::marker_bytes(&at.path()));
    disk.apply_all(vec![spool::FileOp::Mark { path, bytes }]).unwrap();
    let calls = [&own, &marked].map(|segment| segment.directory().to_owned());
    begun.mend(Left { calls: BTreeSet::from(calls), ..Left::default() }).await;
    for segment in [own, marked] {
        let found = repository.manifests(segment.directory()).unwrap();
        assert!(!found[0].manifest.as_ref().unwrap().sealed, "{}", segment.directory());
    }
    begun.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_of_markers_that_cannot_be_read_keeps_no_segment_open() {
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::with_reserve(root.path(), 1);
    let segments: Vec<_> = (0..20_u64)
        .map(|n| {
            let began = now();
            let (id, call) = (SegmentId::from_u64(5_000 + n), CallId::from_u64(4_000 + n));
            let open = OpenSegment::first(id, call, began.wall, Vec::new());
            let mut segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, began);
            let mut ops = Vec::new();
            segment.flush(began, Vec::new(), &mut ops);
            disk.apply_all(ops).unwrap();
            segment
        })
        .collect();
    let rule = format!("read~{}/{}/0:fail@1+", root.path().display(), layout::MARKERS_PATH);
    faults::give(&rule);
    let repository = Repository::new(root.path());
    let disks = BTreeMap::from([(VolumeName::default(), Disk::new(root.path()))]);
    let begun = begin(repository.clone(), disks);
    let left = begun.mender.survey().await;
    assert_eq!((left.markers[0].1.markers.len(), left.markers[0].1.unreadable), (4, 16));
    begun.mend(left).await;
    for segment in &segments {
        let found = repository.manifests(segment.directory()).unwrap();
        assert!(found[0].manifest.as_ref().unwrap().sealed, "{}", segment.directory());
    }
    faults::withdraw(&rule);
    let alarms = async || begun.mender.reader.alarms(&store::AlarmQuery::default()).await.unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    let tells = |alarms: &[store::AlarmRow]| alarms.iter().any(|a| a.alarm.text.contains("16 places"));
    while !tells(&alarms().await) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    assert!(tells(&alarms().await));
    begun.end();
}

/// What was flushed to a part, as a redo of another process has it.
fn redo_of(path: &str, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut shelf = spool::redo::Shelf::new(3);
    while let spool::redo::Room::Wanted(index) = shelf.room(now().mono) {
        shelf.opened(index);
    }
    shelf.put(&spool::redo::Record { path, offset, bytes }).unwrap();
    shelf.unwritten().unwrap().bytes.to_vec()
}

/// What a crash leaves of a segment, with a redo: its part, and octets of which the part has the first seven.
fn cut_off(root: &std::path::Path) -> (String, Vec<u8>) {
    let disk = Disk::with_reserve(root, 1);
    let began = now();
    let open =
        OpenSegment::first(SegmentId::from_u64(5_001), CallId::from_u64(4_000), began.wall, Vec::new());
    let mut segment = spool::SegmentWriter::open(&open, NodeNumber::SINGLE, began);
    let mut ops = Vec::new();
    segment.flush(began, Vec::new(), &mut ops);
    disk.apply_all(ops).unwrap();
    std::fs::create_dir_all(root.join(spool::redo::DIR)).unwrap();
    let part = format!("{}/001-1.mka", segment.directory());
    std::fs::write(root.join(&part), "no head").unwrap();
    (part, b"no head of a part".to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redo_file_that_cannot_be_read_costs_what_it_has_and_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let (part, whole) = cut_off(root.path());
    let redo = root.path().join(spool::redo::DIR);
    // A directory can be opened by nobody who wants to write.
    std::fs::create_dir(redo.join("00")).unwrap();
    std::fs::write(redo.join("01"), redo_of(&part, 7, &whole[7..])).unwrap();
    let disks = BTreeMap::from([(VolumeName::default(), Disk::new(root.path()))]);
    let begun = begin(Repository::new(root.path()), disks);
    let left = begun.mender.survey().await;
    assert_eq!(
        left.markers.iter().map(|(_, marked)| marked.markers.len()).sum::<usize>(),
        1,
        "it is to be closed"
    );
    assert_eq!(std::fs::read(root.path().join(&part)).unwrap(), whole);
    let is_there = |name: &str| redo.join(name).exists();
    assert_eq!([is_there("00"), is_there("00.unreadable")], [false, true]);
    assert_eq!(redo.join("01").metadata().unwrap().len(), 0);
    begun.until_written(1).await;
    begun.end();
}

/// Who was away with a redo file of its own must find it where it was.
#[tokio::test(flavor = "multi_thread")]
async fn beside_the_recording_no_redo_file_is_moved() {
    let root = tempfile::tempdir().unwrap();
    cut_off(root.path());
    let redo = root.path().join(spool::redo::DIR);
    std::fs::create_dir(redo.join("00")).unwrap();
    let (disk, repository) = (Disk::new(root.path()), Repository::new(root.path()));
    let replayed = recorder::replay(&disk, &repository, &[], 4, When::Later).unwrap();
    assert_eq!((replayed.unreadable.len(), replayed.files), (1, 0));
    assert!(redo.join("00").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_a_crash_cut_in_half_is_completed_and_the_call_concluded_as_one() {
    for half in [Half::Into, Half::From] {
        let two = two();
        two.note(half);
        let begun = Begun::on(&two);
        let calls = BTreeSet::from([half.directory(&two.join)]);
        begun.mend(Left { calls, ..Left::default() }).await;
        expect_one(&two, &begun, half).await;
        let lines = two.repository.log(&Half::From.directory(&two.join)).unwrap().0;
        assert_eq!(state_of(&lines, model::CopyOf::Call(two.join.from.call)), None);
        begun.end();
    }
}

/// Nobody looks into the logs of calls that are concluded.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_concluded_calls_that_a_crash_cut_in_half_is_completed_by_the_start_or_a_reindex() {
    for (half, by_start) in [(Half::Into, true), (Half::From, true), (Half::Into, false), (Half::From, false)]
    {
        let two = two();
        conclude_both(&two);
        two.note(half);
        let begun = Begun::on(&two);
        if by_start {
            begun.mender.pending.note(&two.join).unwrap();
            begun.mend(Left::default()).await;
        } else {
            let mender = begun.mender.clone();
            let directory = half.directory(&two.join);
            let found = crate::reindex::changes_of(&two.repository, &directory).unwrap().half_noted;
            assert_eq!(found, std::slice::from_ref(&two.join));
            tokio::task::spawn_blocking(move || mender.complete_found(&directory, &found)).await.unwrap();
        }
        expect_one(&two, &begun, half).await;
        assert_eq!(begun.mender.pending.all().unwrap(), []);
        begun.end();
    }
}

/// A log that does not take the line: an alarm says so, and the next start tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_cannot_be_completed_stays_for_the_next_start_with_an_alarm() {
    let two = two();
    two.note(Half::Into);
    let log = two.directory.path().join(layout::log_path(&Half::From.directory(&two.join)));
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let begun = Begun::on(&two);
    begun.mender.pending.note(&two.join).unwrap();
    begun.mend(Left::default()).await;
    assert_eq!(begun.mender.pending.all().unwrap().len(), 1);
    let alarms = async || begun.mender.reader.alarms(&store::AlarmQuery::default()).await.unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    while alarms().await.is_empty() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    assert!(alarms().await[0].alarm.text.contains("not both their logs say so"));
    std::fs::remove_dir(&log).unwrap();
    begun.mend(Left::default()).await;
    assert_eq!(begun.mender.pending.all().unwrap(), []);
    begun.end();
}

/// Concludes both calls, as those who held them did.
fn conclude_both(two: &Two) {
    for (half, total) in [(Half::Into, 2), (Half::From, 1)] {
        let key = half.key(&two.join);
        let conclusion = Conclusion {
            call: key.call,
            call_started: key.call_started,
            tenant: key.tenant.clone(),
            total,
            from: None,
            state: Some(RecordingState::Complete),
        };
        let then = model::Now { mono: now().mono, wall: two.join.at - Duration::from_secs(1) };
        two.disk.apply_all(gather::conclude(then, NodeNumber::SINGLE, &conclusion, &[]).ops).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_joins_calls_that_are_over_in_any_order_once_and_of_one_tenant() {
    use api::port::{Changed, JoinError, JoinedCalls};
    for turned in [false, true] {
        let two = two();
        conclude_both(&two);
        let begun = Begun::on(&two);
        let [into, from] = [Half::Into, Half::From].map(|h| h.key(&two.join).call);
        let calls = if turned { [from, into] } else { [into, from] };
        let join = async |tenant: &str, calls: [CallId; 2]| {
            let (mender, tenant) = (begun.mender.clone(), tenant.parse().unwrap());
            tokio::task::spawn_blocking(move || mender.join_over(&tenant, calls, "ann")).await.unwrap()
        };
        let nobody = CallId::from_u64(9);
        assert_eq!(join("other", calls).await, Err(JoinError::NoCall(calls[0])));
        assert_eq!(join("default", [into, nobody]).await, Err(JoinError::NoCall(nobody)));
        let one = |changed| Ok(JoinedCalls { call: into, changed });
        assert_eq!(join("default", calls).await, one(Changed::Yes));
        assert_eq!(join("default", calls).await, one(Changed::No));
        expect_one(&two, &begun, Half::Into).await;
        let lines = two.repository.log(&Half::From.directory(&two.join)).unwrap().0;
        assert_eq!(joins_of(&lines)[0].why, model::JoinReason::Person("ann".to_owned()));
        assert_eq!(begun.mender.pending.all().unwrap(), []);
        begun.end();
    }
}

/// Both logs say it, the call is concluded as one, and the catalog shows one.
async fn expect_one(two: &Two, begun: &Begun, half: Half) {
    let lines = |half: Half| two.repository.log(&half.directory(&two.join)).unwrap().0;
    for half in [Half::Into, Half::From] {
        assert_eq!(joins_of(&lines(half)).len(), 1, "{half:?}");
    }
    let [into, from] = [Half::Into, Half::From].map(|h| h.key(&two.join).call);
    let of_into = lines(Half::Into);
    assert_eq!(state_of(&of_into, model::CopyOf::Call(into)), Some(RecordingState::Complete));
    assert_eq!(total_of(&of_into, into), Some(3));
    let list = async || begun.mender.reader.calls(&CallQuery::default()).await.unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until
        && list().await.iter().map(|c| c.state).collect::<Vec<_>>() != [RecordingState::Complete]
    {
        tokio::time::sleep(LOOK).await;
    }
    let found: Vec<_> = list().await.iter().map(|c| (c.id, c.segments, c.total, c.state)).collect();
    assert_eq!(found, [(into, 3, 3, RecordingState::Complete)], "{half:?}");
    let other = begun.mender.reader.call(&TenantId::default(), from).await.unwrap().unwrap();
    assert_eq!((other.summary.id, other.joins.len()), (into, 1));
}
