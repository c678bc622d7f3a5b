//! Calls whose media go through the proxy: when their record server dies, hangs or stops, nothing that was said is lost and
//! their clients notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fault_support::cluster::Cluster;
use fault_support::listing::{Segment, segments};
use model::{EndReason, RecordingState, WallTime};
use nix::sys::signal::Signal;
use support::http;
use support::rtp::Mouth;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const RELAYED: [(&str, &str); 2] = [("MEDIA__RELAY", "yes"), ("API__METRICS_OPEN", "true")];
const STRETCH: Duration = Duration::from_millis(1_200);

/// A phone that numbers its packets: each payload is known by its place.
struct Phone {
    mouth: Mouth,
    /// When each was sent.
    sent: Mutex<Vec<WallTime>>,
    is_silent: AtomicBool,
}

/// It falls silent when the scenario is over, or has failed.
struct Hush<'a>(&'a Phone);

impl Drop for Hush<'_> {
    fn drop(&mut self) {
        self.0.is_silent.store(true, Ordering::Relaxed);
    }
}

impl Phone {
    fn new() -> Self {
        // RTCP is expected at the port after that of RTP.
        let mouth =
            (0..100).find_map(|_| Some(Mouth::open()).filter(|m| m.port().is_multiple_of(2))).unwrap();
        Self { mouth, sent: Mutex::default(), is_silent: AtomicBool::new(false) }
    }

    fn talk(&self, to: SocketAddr) {
        let mut talker = Talker::new(&self.mouth, to);
        for n in 0.. {
            if self.is_silent.load(Ordering::Relaxed) {
                return;
            }
            talker.say(1, &payload(n));
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            self.sent.lock().unwrap().push(WallTime(i64::try_from(since.as_nanos()).unwrap()));
        }
    }

    fn sent(&self) -> u64 {
        self.sent.lock().unwrap().len() as u64
    }
}

/// Which of so many payloads stand in the parts of a segment. Each stands there once, if at all.
fn numbers(segment: &Segment, sent: u64) -> BTreeSet<u64> {
    let parts = segment.record.parts.iter().map(|part| segment.directory.join(&part.file));
    let octets: Vec<u8> = parts.flat_map(|path| std::fs::read(path).unwrap()).collect();
    let mut found = BTreeSet::new();
    for n in 0..sent {
        let payload = payload(n);
        // Eight octets are enough to know it by; the rest must follow.
        let places = octets.windows(160).filter(|w| w[..8] == payload[..8] && *w == payload).count();
        assert!(places <= 1, "packet {n} stands there {places} times");
        if places == 1 {
            found.insert(n);
        }
    }
    found
}

/// Asserts that each packet is in one of them at least.
fn expect_all(sent: u64, found: &[BTreeSet<u64>]) {
    let missing: Vec<u64> = (0..sent).filter(|n| !found.iter().any(|f| f.contains(n))).collect();
    let spans: Vec<_> = found.iter().map(|f| (f.first(), f.last(), f.len())).collect();
    assert!(missing.is_empty(), "{missing:?} are missing of {sent} packets, in {spans:?}");
}

#[test]
fn a_call_goes_through_the_proxy_and_its_record_server_s_reports_come_back() {
    let cluster = Cluster::with(1, &RELAYED);
    let phone = Phone::new();
    let reports = Mouth::at(phone.mouth.port() + 1).expect("the port after a free one");
    let id = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "through", phone.mouth.port());
        let phone_that_talks = &phone;
        scope.spawn(move || phone_that_talks.talk(media));
        let at_the_end = Hush(&phone);
        let report = wait_until("a receiver report", PATIENCE, || {
            reports.receive().ok_or_else(|| "nothing has come".to_owned())
        });
        assert_eq!(report[1], 201, "it is a receiver report: {report:?}");
        assert_eq!(report[8..12], 0x5eed_u32.to_be_bytes(), "of what was sent");
        let sent = phone.sent();
        wait_until("what was sent to be counted", PATIENCE, || {
            let metrics = http::get(&cluster.proxy.http_address(), "/metrics", &[]).unwrap().text();
            let copied = metrics.lines().find_map(|l| l.strip_prefix("callspool_relay_copies_sent_total "));
            let copied: f64 = copied.and_then(|n| n.parse().ok()).unwrap_or(0.0);
            if copied >= sent as f64 { Ok(()) } else { Err(metrics) }
        });
        drop(at_the_end);
        std::thread::sleep(Duration::from_millis(100));
        dialog.bye();
        dialog.call_id().to_owned()
    });
    let [(_, segment)] = &cluster.sealed(&id, 1)[..] else { panic!("one segment") };
    assert_eq!(segment.record.state, RecordingState::Partial);
    let accounts = &segment.record.streams[0].accounting;
    assert_eq!((accounts.received, accounts.lost), (phone.sent(), 0));
    expect_all(phone.sent(), &[numbers(segment, phone.sent())]);
}

/// What becomes of the record server that has the call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Killed,
    Hangs,
    Stops,
}

#[test]
fn when_a_record_server_is_killed_nothing_is_lost_and_no_client_notices() {
    goes_on(Fate::Killed);
}

#[test]
fn when_a_record_server_hangs_nothing_is_lost_and_no_client_notices() {
    goes_on(Fate::Hangs);
}

#[test]
fn when_a_record_server_stops_nothing_is_lost_and_no_client_notices() {
    goes_on(Fate::Stops);
}

fn goes_on(fate: Fate) {
    let mut cluster = Cluster::with(2, &RELAYED);
    let phone = Phone::new();
    let (id, at) = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "anchored", phone.mouth.port());
        let phone_that_talks = &phone;
        scope.spawn(move || phone_that_talks.talk(media));
        let at_the_end = Hush(&phone);
        std::thread::sleep(3 * STRETCH);
        let [(at, _)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
        let at = *at;
        let server = &mut cluster.recorders[at];
        match fate {
            Fate::Killed => server.kill(),
            Fate::Hangs => server.signal(Signal::SIGSTOP),
            Fate::Stops => server.signal(Signal::SIGTERM),
        }
        wait_until("another one to have the call", PATIENCE, || match cluster.of(dialog.call_id()).len() {
            2 => Ok(()),
            n => Err(format!("{n} segments")),
        });
        std::thread::sleep(STRETCH);
        assert_eq!(dialog.asked(), Vec::<String>::new(), "{fate:?}: nobody tells the client of anything");
        drop(at_the_end);
        std::thread::sleep(Duration::from_millis(200));
        dialog.bye();
        (dialog.call_id().to_owned(), at)
    });
    let server = &mut cluster.recorders[at];
    match fate {
        Fate::Killed => server.restart(),
        Fate::Hangs => server.signal(Signal::SIGCONT),
        Fate::Stops => {
            assert_eq!(server.wait_for_end().code(), Some(0));
            server.restart();
        }
    }
    cluster.wait_until_ready();
    let segments = cluster.sealed(&id, 2);
    let [(one_at, one), (two_at, two)] = &segments[..] else { panic!("two segments") };
    assert_eq!((*one_at, *two_at), (at, 1 - at));
    assert_eq!(
        (one.record.state, two.record.state),
        (RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent),
        "{fate:?}"
    );
    assert_eq!(two.record.end, Some(EndReason::HangUp));
    let sent = phone.sent();
    let found = [one, two].map(|segment| numbers(segment, sent));
    expect_all(sent, &found);
    // What both have is what was replayed: it ends where the first one ended.
    let both = found[0].intersection(&found[1]).count();
    assert!(both > 0, "{fate:?}: nothing was replayed");
    let accounts = &two.record.streams[0].accounting;
    assert_eq!((accounts.lost, accounts.other_source), (0, 0), "{fate:?}");
    let first = *found[1].first().unwrap();
    expect_in_place(two, first, phone.sent.lock().unwrap()[first as usize], fate);
}

/// What was replayed lies where it was said, and not where it arrived, more than a second later.
fn expect_in_place(segment: &Segment, n: u64, said: WallTime, fate: Fate) {
    let anchor = segment.record.streams[0].anchors.first().expect("an anchor");
    // As the talker counts.
    let ticks = 8_000 + 160 * n as i64 - i64::from(anchor.rtp);
    let place = segment.record.started.0 + anchor.position_us * 1_000 + ticks * 125_000;
    let apart = (place - said.0) / 1_000_000;
    assert!(apart.abs() < 500, "{fate:?}: packet {n} lies {apart} ms after it was said");
}

/// What was lost is the one that the proxy took for the segment, or the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    First,
    Second,
}

#[test]
fn one_of_two_copies_is_lost_and_the_other_is_whole() {
    for which in [Which::First, Which::Second] {
        one_is_lost(which);
    }
}

fn one_is_lost(which: Which) {
    let settings = [RELAYED[0], ("MEDIA__COPIES", "2")];
    let mut cluster = Cluster::with(3, &settings);
    let phone = Phone::new();
    let (id, lost) = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "doubled", phone.mouth.port());
        let phone_that_talks = &phone;
        scope.spawn(move || phone_that_talks.talk(media));
        let at_the_end = Hush(&phone);
        let copies = wait_until("two copies", PATIENCE, || match &cluster.of(dialog.call_id())[..] {
            [(one, _), (other, _)] => Ok([*one, *other]),
            more => Err(format!("{more:?}")),
        });
        std::thread::sleep(STRETCH);
        // The proxy takes turns: the first record server got the call, the next one its copy.
        let lost = copies[usize::from(which == Which::Second)];
        cluster.recorders[lost].kill();
        std::thread::sleep(2 * STRETCH);
        assert_eq!(dialog.asked(), Vec::<String>::new(), "{which:?}: nobody tells the client of anything");
        drop(at_the_end);
        std::thread::sleep(Duration::from_millis(200));
        dialog.bye();
        (dialog.call_id().to_owned(), lost)
    });
    cluster.recorders[lost].restart();
    cluster.wait_until_ready();
    let copies = cluster.sealed(&id, 2);
    let [(_, one), (_, other)] = &copies[..] else { panic!("two copies") };
    assert_eq!((one.record.id, one.record.number), (other.record.id, 1), "{which:?}: one segment");
    let (_, whole) = copies.iter().find(|(at, _)| *at != lost).expect("one that was not lost");
    assert_eq!(whole.record.end, Some(EndReason::HangUp), "{which:?}");
    assert_eq!(whole.record.state, RecordingState::Partial, "{which:?}");
    let accounts = &whole.record.streams[0].accounting;
    assert_eq!((accounts.received, accounts.lost), (phone.sent(), 0), "{which:?}");
    expect_all(phone.sent(), &[numbers(whole, phone.sent())]);
}

#[test]
fn two_copies_come_to_lie_at_one_record_server_though_one_of_them_dies() {
    let mut cluster = Cluster::gathering(2, &[RELAYED[0], ("MEDIA__COPIES", "2")]);
    let phone = Phone::new();
    let (id, lost) = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "twins", phone.mouth.port());
        let phone_that_talks = &phone;
        scope.spawn(move || phone_that_talks.talk(media));
        let at_the_end = Hush(&phone);
        let lost = wait_until("two copies", PATIENCE, || match &cluster.of(dialog.call_id())[..] {
            [(one, _), _] => Ok(*one),
            more => Err(format!("{more:?}")),
        });
        std::thread::sleep(STRETCH);
        cluster.recorders[lost].kill();
        std::thread::sleep(STRETCH);
        drop(at_the_end);
        std::thread::sleep(Duration::from_millis(200));
        dialog.bye();
        (dialog.call_id().to_owned(), lost)
    });
    cluster.recorders[lost].restart();
    cluster.wait_until_ready();
    let [(at, first)] = &wait_until("both copies to lie at one record server", PATIENCE * 2, || {
        let all = cluster.of(&id);
        let twins: Vec<_> = all.iter().map(|(_, s)| segments(&s.directory.join("twin")).len()).collect();
        if twins == [1] { Ok(all) } else { Err(format!("{twins:?} of {all:?}")) }
    })[..] else {
        panic!("one segment")
    };
    let twin = &segments(&first.directory.join("twin"))[0];
    let found = [first, twin].map(|copy| numbers(copy, phone.sent()));
    expect_all(phone.sent(), &found);
    // The one that was killed lacks what was said after that.
    assert!(found.iter().any(|copy| copy.len() < found[0].union(&found[1]).count()), "{found:?}");
    let server = &cluster.recorders[*at];
    let call = first.record.call.to_string();
    wait_until("the call to be complete", PATIENCE, || match &server.show(&call) {
        shown if shown["state"] == "complete" && shown["segments"][0]["twin"].is_object() => Ok(()),
        shown => Err(shown.to_string()),
    });
    let verified = server.callspool(&["verify", "--all"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.text(), verified.err);
}
