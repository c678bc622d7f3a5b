//! Streams of several calls on one pair of ports: what each sender says is in its own recording and nowhere else, whatever
//! else comes there, and whatever becomes of the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use fault_support::orders::Orders;
use model::RecordingState;
use support::recording::Recorded;
use support::rtp::{Mouth, Talk};
use support::secrets::kept;
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

/// At an even port: no RTP comes from where another's RTCP does.
fn mouth() -> Mouth {
    std::iter::repeat_with(Mouth::open).find(|mouth| mouth.port().is_multiple_of(2)).unwrap()
}

fn mouths<const N: usize>() -> [Mouth; N] {
    std::array::from_fn(|_| mouth())
}

/// A trunk whose media are promised to come from where its SDP says.
const PROMISE: (&str, &str) = ("TRUNK__DEFAULT__SENDS_AS_ANNOUNCED", "true");

/// A server on which so many streams may share a pair.
fn server(streams: &str) -> Server {
    Server::with(&[("MEDIA__STREAMS_PER_PORT", streams), PROMISE])
}

/// Hangs up; what was recorded of the call.
fn end(server: &Server, dialog: &mut Dialog) -> Recorded {
    dialog.bye();
    server.wait_for_state(dialog.call_id(), "complete")
}

fn figure(server: &Server, name: &str) -> f64 {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let text = http::get(&server.http_address(), "/metrics", &[("Authorization", &bearer)]).unwrap().text();
    let of = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(of).unwrap_or_else(|| panic!("{name} in {text}"))
}

/// What came to shared ports and was nobody's is as much by now.
fn wait_for_unclaimed(server: &Server, expected: u32) {
    wait_for(server, "callspool_media_datagrams_unclaimed_total", expected);
}

fn wait_for(server: &Server, name: &str, expected: u32) {
    wait_until(&format!("{name} to be {expected}"), PATIENCE, || match figure(server, name) {
        is if (is - f64::from(expected)).abs() < 0.5 => Ok(()),
        is => Err(format!("{is}")),
    });
}

/// How often each of these payloads is in each of these recordings.
fn found(recorded: &[&Recorded], payloads: &[u64]) -> Vec<Vec<usize>> {
    recorded.iter().map(|r| payloads.iter().map(|p| kept(r, &payload(*p))).collect()).collect()
}

#[test]
fn each_tone_is_in_its_own_recording_and_nowhere_else() {
    let server = server("3");
    wait_for(&server, "callspool_segments_descriptors", 0);
    let tones = [400.0, 700.0, 1_100.0, 1_700.0, 2_300.0];
    let mouths: [Mouth; 5] = mouths();
    let mut calls: Vec<(Dialog, SocketAddr)> =
        (0..).zip(&mouths).map(|(n, m)| Dialog::begin(&server, &format!("tone-{n}"), m.port())).collect();
    let ports: Vec<u16> = calls.iter().map(|(_, to)| to.port()).collect();
    assert!(
        ports[..3].iter().all(|p| *p == ports[0]) && ports[3] == ports[4] && ports[3] != ports[0],
        "{ports:?}"
    );
    // A part each, and two pairs.
    wait_for(&server, "callspool_segments_descriptors", 5 + 2 * 2);
    std::thread::scope(|scope| {
        for ((mouth, (_, to)), hertz) in mouths.iter().zip(&calls).zip(tones) {
            scope.spawn(move || mouth.say(*to, &Talk::new(hertz, Duration::from_secs(2)).packets()));
        }
    });
    // All of them before anything is exported: whoever has said all would be silent for that long.
    let recorded: Vec<Recorded> = calls.iter_mut().map(|(dialog, _)| end(&server, dialog)).collect();
    for (recorded, hertz) in recorded.iter().zip(tones) {
        let stream = recorded.stream();
        assert_eq!((stream.accounting.received, stream.accounting.lost), (100, 0), "{:?}", stream.accounting);
        assert_eq!((stream.accounting.other_source, stream.accounting.invalid), (0, 0));
        let first = stream.anchors[0].position_us as f64 / 1e6;
        let others: Vec<f64> = tones.into_iter().filter(|t| *t != hertz).collect();
        let sound = server.export(&recorded.id(), &["--mono"]).remove(0);
        sound.cut(first + 0.02, first + 1.98).expect_tone("the export", hertz, &others);
    }
    wait_for(&server, "callspool_media_datagrams_unclaimed_total", 0);
    // The pairs rest before they are closed.
    wait_for(&server, "callspool_segments_descriptors", 2 * 2);
}

const METADATA: &str =
    r#"<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode></recording>"#;

/// A recording session with two streams; their lines.
fn session(server: &Server, name: &str, [one, two]: [&Mouth; 2]) -> (Dialog, Vec<SocketAddr>) {
    let mut dialog = Dialog::begin_recording(server, name, one.port(), METADATA);
    dialog.speak("RTP/AVP", &format!("m=audio {} RTP/AVP 0\r\na=sendonly\r\n", two.port()));
    let media = dialog.offer_with_metadata("sendonly", METADATA);
    (dialog, media.iter().map(support::messages::Media::rtp).collect())
}

#[test]
fn what_is_late_on_hold_is_nobodys_and_what_comes_after_it_is_where_it_belongs() {
    let server = server("8");
    let [a1, a2, b1, b2]: [Mouth; 4] = mouths();
    let (mut a, to_a) = session(&server, "held", [&a1, &a2]);
    let (mut b, to_b) = session(&server, "talks-on", [&b1, &b2]);
    // Streams of one call are on two pairs, those of two on the same.
    assert!(to_a == to_b && to_a[0] != to_a[1], "{to_a:?} {to_b:?}");
    let all = [(&a1, to_a[0]), (&a2, to_a[1]), (&b1, to_b[0]), (&b2, to_b[1])];
    let mut talkers = all.map(|(mouth, to)| Talker::new(mouth, to));
    // All of them with one SSRC, and the same numbers: they say nothing of whose a packet is.
    for _ in 0..20 {
        talkers.iter_mut().zip(1..).for_each(|(talker, n)| talker.say(1, &payload(n)));
    }
    a.speak("RTP/AVP", &format!("m=audio {} RTP/AVP 0\r\na=inactive\r\n", a2.port()));
    a.offer_with_metadata("inactive", METADATA);
    wait_until("the first segment to end", PATIENCE, || match server.recorded(a.call_id()) {
        Some(recorded) if recorded.segments[0].ended.is_some() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..10 {
        talkers.iter_mut().zip(11..).for_each(|(talker, n)| talker.say(1, &payload(n)));
    }
    wait_for_unclaimed(&server, 20);
    a.speak("RTP/AVP", &format!("m=audio {} RTP/AVP 0\r\na=sendonly\r\n", a2.port()));
    let media = a.offer_with_metadata("sendonly", METADATA);
    // Where it was nobody has its addresses again.
    assert!(media.iter().zip(&to_a).all(|(m, before)| m.rtp() != *before), "{media:?}");
    talkers[0].to = media[0].rtp();
    talkers[1].to = media[1].rtp();
    for _ in 0..15 {
        talkers.iter_mut().zip(21..).for_each(|(talker, n)| talker.say(1, &payload(n)));
    }
    let (a, b) = (end(&server, &mut a), end(&server, &mut b));
    let said = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];
    let expected_of_a = vec![20, 20, 0, 0, 0, 0, 0, 0, 15, 15, 0, 0];
    assert_eq!(found(&[&a, &b], &said), [expected_of_a, vec![0, 0, 20, 20, 0, 0, 10, 10, 0, 0, 15, 15]]);
    assert_eq!(b.segment().streams.iter().map(|s| s.accounting.received).collect::<Vec<_>>(), [45, 45]);
    wait_for(&server, "callspool_media_datagrams_unclaimed_total", 20);
}

#[test]
fn a_stranger_is_counted_and_heard_by_nobody_whatever_he_writes_into_his_packets() {
    let server = server("4");
    let [a, b, stranger]: [Mouth; 3] = mouths();
    let (mut of_a, to) = Dialog::begin(&server, "a", a.port());
    let (mut of_b, to_b) = Dialog::begin(&server, "b", b.port());
    assert_eq!(to, to_b);
    let (mut at_a, mut at_b) = (Talker::new(&a, to), Talker::new(&b, to));
    (at_a.ssrc, at_b.ssrc) = (7, 8);
    at_a.say(10, &payload(1));
    at_b.say(10, &payload(2));
    // As if it was a, which has moved: source, number and all.
    let mut at_stranger = Talker::new(&stranger, to);
    (at_stranger.ssrc, at_stranger.payload_type) = (7, 0);
    at_stranger.skip(10);
    at_stranger.say(30, &payload(3));
    // What is no RTP, to either port.
    for port in [to.port(), to.port() + 1] {
        stranger.send(SocketAddr::new(to.ip(), port), b"hello");
    }
    wait_for_unclaimed(&server, 32);
    // A source that another stream has: it is a's all the same.
    at_a.ssrc = 8;
    at_a.say(20, &payload(4));
    at_b.say(20, &payload(5));
    let (of_a, of_b) = (end(&server, &mut of_a), end(&server, &mut of_b));
    assert_eq!(found(&[&of_a, &of_b], &[1, 2, 3, 4, 5]), [vec![10, 0, 0, 20, 0], vec![0, 10, 0, 0, 20]]);
    let counts = |r: &Recorded| (r.stream().accounting.received, r.stream().accounting.other_source);
    assert_eq!((counts(&of_a), counts(&of_b)), ((30, 0), (30, 0)));
    assert_eq!(of_a.stream().ssrcs, [7, 8]);
}

#[test]
fn who_moves_is_followed_and_gets_other_ports_where_somebody_was_a_moment_ago() {
    let server = server("4");
    let [a, b, c, d]: [Mouth; 4] = mouths();
    let (mut of_a, to) = Dialog::begin(&server, "moves", a.port());
    let (mut of_b, to_b) = Dialog::begin(&server, "stays", b.port());
    let (mut of_c, to_c) = Dialog::begin(&server, "goes", c.port());
    assert!(to == to_b && to == to_c);
    let (mut at_a, mut at_b, mut at_c) = (Talker::new(&a, to), Talker::new(&b, to), Talker::new(&c, to));
    at_a.say(10, &payload(1));
    at_b.say(10, &payload(2));
    at_c.say(10, &payload(3));
    // To where nobody is: it stays, and what comes late from where it was is nobody's.
    of_a.speak_from(d.port());
    assert_eq!(of_a.offer("sendonly")[0].rtp(), to);
    Talker::new(&a, to).say(10, &payload(8));
    wait_for_unclaimed(&server, 10);
    at_a.mouth = &d;
    at_a.say(10, &payload(4));
    // To where somebody was a moment ago, who is late.
    let of_c = end(&server, &mut of_c);
    of_a.speak_from(c.port());
    let moved = of_a.offer("sendonly")[0].rtp();
    assert_ne!(moved, to);
    at_c.say(10, &payload(5));
    wait_for_unclaimed(&server, 20);
    (at_a.mouth, at_a.to) = (&c, moved);
    at_a.say(10, &payload(6));
    at_b.say(10, &payload(7));
    let (of_a, of_b) = (end(&server, &mut of_a), end(&server, &mut of_b));
    assert_eq!(
        found(&[&of_a, &of_b, &of_c], &[1, 2, 3, 4, 5, 6, 7, 8]),
        [vec![10, 0, 0, 10, 0, 10, 0, 0], vec![0, 10, 0, 0, 0, 0, 10, 0], vec![0, 0, 10, 0, 0, 0, 0, 0]]
    );
}

#[test]
fn tenants_never_share_nor_does_anybody_of_whom_nothing_is_promised() {
    let server = Server::with(&[
        ("MEDIA__STREAMS_PER_PORT", "8"),
        ("TRUNK__OURS__FROM", "127.0.0.1"),
        ("TRUNK__OURS__SENDS_AS_ANNOUNCED", "true"),
        ("TRUNK__THEIRS__FROM", "127.0.0.2"),
        ("TRUNK__THEIRS__SENDS_AS_ANNOUNCED", "true"),
        ("TRUNK__THEIRS__TENANT", "bonn"),
        ("TENANT__BONN__DISPLAY_NAME", "Bonn"),
        ("TRUNK__OTHERS__FROM", "127.0.0.3"),
    ]);
    let names = ["ours", "theirs-1", "theirs-2", "other-1", "other-2"];
    let froms = ["127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"];
    let mouths: [Mouth; 5] = mouths();
    let mut calls: Vec<(Dialog, SocketAddr)> = names
        .iter()
        .zip(froms)
        .zip(&mouths)
        .map(|((name, from), mouth)| Dialog::begin_from(&server, name, mouth.port(), from, ""))
        .collect();
    let to: Vec<SocketAddr> = calls.iter().map(|(_, to)| *to).collect();
    assert_eq!(to[1], to[2]);
    let alone = [to[0], to[1], to[3], to[4]];
    assert_eq!(alone.iter().collect::<BTreeSet<_>>().len(), 4, "{to:?}");
    // Of the last two the one announces the truth, and the other sends from elsewhere: it is followed.
    let elsewhere = mouth();
    let senders = [&mouths[0], &mouths[1], &mouths[2], &mouths[3], &elsewhere];
    for ((mouth, to), n) in senders.into_iter().zip(&to).zip(1..) {
        Talker::new(mouth, *to).say(10, &payload(n));
    }
    // To the port of the other tenant.
    mouths[0].say(to[1], &Talk::new(400.0, Duration::from_millis(100)).packets());
    wait_for_unclaimed(&server, 5);
    let recorded: Vec<Recorded> = calls
        .iter_mut()
        .zip(["default", "bonn", "bonn", "default", "default"])
        .map(|((dialog, _), tenant)| end_of(&server, tenant, dialog))
        .collect();
    let all = found(&recorded.iter().collect::<Vec<_>>(), &[1, 2, 3, 4, 5]);
    let each_its_own: Vec<Vec<usize>> =
        (0..5).map(|of| (0..5).map(|n| if n == of { 10 } else { 0 }).collect()).collect();
    assert_eq!(all, each_its_own);
}

/// Hangs up a call of a tenant; what was recorded of it.
fn end_of(server: &Server, tenant: &str, dialog: &mut Dialog) -> Recorded {
    dialog.bye();
    wait_until("the call to be sealed", PATIENCE, || match server.recorded(dialog.call_id()) {
        Some(recorded) if recorded.sealed => {
            assert_eq!(recorded.segment().tenant.as_str(), tenant);
            Ok(recorded)
        }
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn who_breaks_his_promise_is_recorded_nowhere_and_it_is_told() {
    let server = Server::with(&[("MEDIA__STREAMS_PER_PORT", "4"), PROMISE, ("ALARMS__NO_MEDIA", "2s")]);
    let [a, b, other]: [Mouth; 3] = mouths();
    let (mut of_a, to) = Dialog::begin(&server, "a", a.port());
    let (mut of_b, to_b) = Dialog::begin(&server, "b", b.port());
    assert_eq!(to, to_b);
    // It says b, and sends from elsewhere.
    let (mut at_a, mut at_b) = (Talker::new(&a, to), Talker::new(&other, to));
    let mut sent = 0;
    wait_until("it to be told", PATIENCE, || {
        at_a.say(10, &payload(1));
        at_b.say(10, &payload(2));
        sent += 10;
        let alarms = server.callspool(&["alarms", "--json"]);
        if alarms.text().contains("no-media") { Ok(()) } else { Err(alarms.text().to_owned()) }
    });
    wait_for_unclaimed(&server, sent);
    let (of_a, of_b) = (end(&server, &mut of_a), end_of(&server, "default", &mut of_b));
    let sent = usize::try_from(sent).unwrap();
    assert_eq!(found(&[&of_a, &of_b], &[1, 2]), [vec![sent, 0], vec![0, 0]]);
}

/// Two calls that announce one address are never on one port, and neither is a third that comes when they have gone.
#[test]
fn who_announces_the_address_of_another_gets_another_port() {
    let server = server("8");
    let [a, b]: [Mouth; 2] = mouths();
    let (mut first, to_first) = Dialog::begin(&server, "first", a.port());
    let (mut second, to_second) = Dialog::begin(&server, "second", a.port());
    let (mut third, to_third) = Dialog::begin(&server, "third", b.port());
    assert!(to_first != to_second && to_third == to_first, "{to_first} {to_second} {to_third}");
    Talker::new(&a, to_first).say(10, &payload(1));
    Talker::new(&a, to_second).say(10, &payload(2));
    let mut at_third = Talker::new(&b, to_third);
    at_third.say(10, &payload(3));
    // By a re-INVITE neither.
    third.speak_from(a.port());
    let moved = third.offer("sendonly")[0].rtp();
    assert!(![to_first, to_second].contains(&moved), "{moved}");
    (at_third.mouth, at_third.to) = (&a, moved);
    at_third.say(10, &payload(4));
    Talker::new(&b, to_third).say(10, &payload(5));
    wait_for_unclaimed(&server, 10);
    let all = [end(&server, &mut first), end(&server, &mut second), end(&server, &mut third)];
    let [first, second, third] = &all;
    let said = [1, 2, 3, 4, 5];
    let expected = [vec![10, 0, 0, 0, 0], vec![0, 10, 0, 0, 0], vec![0, 0, 10, 10, 0]];
    assert_eq!(found(&[first, second, third], &said), expected);
    // All have gone, and what is late of them finds nobody.
    let (mut last, to_last) = Dialog::begin(&server, "last", a.port());
    assert!(![to_first, to_second, moved].contains(&to_last), "{to_last}");
    Talker::new(&a, to_first).say(10, &payload(6));
    Talker::new(&a, to_last).say(10, &payload(7));
    wait_for_unclaimed(&server, 20);
    assert_eq!(found(&[&end(&server, &mut last)], &[6, 7]), [[0, 10]]);
}

#[test]
fn a_segment_that_takes_over_has_its_seats() {
    let mut server = Server::prepare(&[("MEDIA__STREAMS_PER_PORT", "4"), PROMISE]);
    let orders = Orders::of(&mut server);
    server.restart();
    let [a, b]: [Mouth; 2] = mouths();
    let (mut of_a, to) = Dialog::begin(&server, "fails", a.port());
    let (mut of_b, to_b) = Dialog::begin(&server, "is-whole", b.port());
    assert_eq!(to, to_b);
    let (mut at_a, mut at_b) = (Talker::new(&a, to), Talker::new(&b, to));
    at_a.say(20, &payload(1));
    at_b.say(20, &payload(2));
    let rule = format!("append~{}:fail", support::secrets::id_of(&server, of_a.call_id()));
    orders.give(&rule);
    let segments = || server.recorded(of_a.call_id()).map_or(0, |r| r.segments.len());
    wait_until("a segment to take over", PATIENCE, || {
        at_a.say(5, &payload(3));
        at_b.say(5, &payload(4));
        if segments() == 2 { Ok(()) } else { Err("none".to_owned()) }
    });
    orders.expect_obeyed(&server, &rule);
    orders.withdraw();
    at_a.say(20, &payload(5));
    at_b.say(20, &payload(6));
    of_a.bye();
    let of_b = end(&server, &mut of_b);
    let of_a = wait_until("both segments to be sealed", PATIENCE, || match server.recorded(of_a.call_id()) {
        Some(recorded) if recorded.sealed => Ok(recorded),
        other => Err(format!("{other:?}")),
    });
    let states: Vec<RecordingState> = of_a.segments.iter().map(|s| s.state).collect();
    let expected = [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
    assert_eq!(states, expected);
    assert_eq!(kept(&of_a, &payload(5)), 20);
    for (recorded, others) in [(&of_a, [2, 4, 6]), (&of_b, [1, 3, 5])] {
        assert_eq!(found(&[recorded], &others), [[0, 0, 0]]);
    }
    assert_eq!((kept(&of_b, &payload(2)), kept(&of_b, &payload(6))), (20, 20));
    wait_for(&server, "callspool_media_datagrams_unclaimed_total", 0);
}
