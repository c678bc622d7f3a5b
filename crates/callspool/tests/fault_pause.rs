//! A volume fails while a call is paused: the segment that takes over begins in the pause, and nothing of what is said
//! in it is anywhere, on neither volume.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::listing::{Segment, directories, segments};
use fault_support::orders::Orders;
use model::GapReason;
use support::rtp::Mouth;
use support::secrets::{CARD, Events, expect_nowhere, order};
use support::server::Server;
use support::talker::{Talker, payload, tones};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// What a client says of the call while it is paused.
const METADATA: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
    <recording xmlns=\"urn:ietf:params:xml:ns:recording:1\"><datamode>complete</datamode></recording>\r\n";

#[test]
fn the_segment_that_takes_over_in_a_pause_keeps_nothing_of_it() {
    let mut server = Server::prepare(&[("RECORDING__DTMF", "mask")]);
    let roots = ["disk1", "disk2"].map(|name| server.directory().join(name));
    roots.iter().for_each(|root| std::fs::create_dir(root).unwrap());
    let [one, two] = roots.each_ref().map(|root| root.display().to_string());
    server.set("RECORDING__VOLUMES", &format!("disk1={one};min_free=256KiB, disk2={two};min_free=256KiB"));
    let orders = Orders::new(server.directory());
    server.set("DEBUG_FAULTS", orders.path().to_str().unwrap());
    server.restart();
    let events = Events::listen(&server);
    let all = || -> Vec<Segment> {
        let of = |root: &std::path::PathBuf| directories(root).iter().flat_map(|d| segments(d)).collect();
        roots.iter().flat_map(|root| -> Vec<Segment> { of(root) }).collect()
    };

    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "failover", mouth.port());
    let first = wait_until("the call to be on disk", PATIENCE, || all().pop().ok_or_else(String::new));
    let id = first.record.call.to_string();
    let (before, after) = (payload(1), payload(2));
    let mut secrets: Vec<_> = (3..5).map(payload).collect();
    let mut talker = Talker::new(&mouth, to);
    talker.say(25, &before);
    let failing = if directories(&roots[0]).is_empty() { &two } else { &one };
    orders.give(&format!("replace~{failing}:fail@1+"));
    order(&server, &id, "pause");
    // The manifest with the pause cannot be written: that is where the volume fails.
    let mut said = 0;
    let second = loop {
        talker.say(5, &secrets[0]);
        said += 1;
        if let Some(second) = all().into_iter().find(|s| s.record.number == 2) {
            break second;
        }
        assert!(said < 200, "no segment takes over: {:?}", all().len());
    };
    assert!(second.record.pauses.iter().all(|p| p.from_us == 0), "{:?}", second.record.pauses);
    talker.say(15, &secrets[1]);
    for key in CARD.chars().take(4) {
        tones(key).iter().for_each(|frame| talker.say(1, frame));
        talker.press(u8::try_from(key.to_digit(10).unwrap()).unwrap());
        secrets.extend(tones(key).into_iter().take(3));
    }
    dialog.info("Content-Type: application/dtmf-relay\r\n", &format!("Signal={CARD}\r\nDuration=160\r\n"));
    dialog.offer_with_metadata("sendonly", METADATA);
    talker.say(10, &secrets[1]);
    orders.withdraw();
    order(&server, &id, "resume");
    talker.say(40, &after);
    dialog.bye();
    let over = || {
        let all = all();
        if all.len() == 2 && all.iter().all(|s| s.sealed) { Ok(all) } else { Err(format!("{}", all.len())) }
    };
    let mut all = wait_until("both segments to be sealed", PATIENCE, over);
    all.sort_by_key(|s| s.record.number);

    expect_nowhere(&server, &events, &id, &secrets);
    let [first, second] = &all[..] else { panic!("two segments") };
    assert_ne!(first.record.volume, second.record.volume);
    assert!(matches!(&second.record.pauses[..], [p] if p.until.is_some()), "{:?}", second.record.pauses);
    let stream = &second.record.streams[0];
    assert!(stream.gaps.iter().any(|g| g.reason == GapReason::Pause), "{:?}", stream.gaps);
    assert!(stream.accounting.received - stream.accounting.discarded >= 36, "{:?}", stream.accounting);
    assert_eq!(second.record.metadata.len(), 1, "what the client said of the call is kept");
}
