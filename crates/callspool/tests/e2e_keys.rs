//! Keys of media that nobody gives in SDP: they come by the interface, later than the packets that they open.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::io::Write;
use std::process::Stdio;

use fault_support::node::node;
use fault_support::volume::Volume;
use media::srtp::Srtp;
use model::{Keys, Suite};
use serde_json::{Value, json};
use support::messages::Media;
use support::recording::Recorded;
use support::rtp::Mouth;
use support::secrets::{Events, answers, files, give_keys, id_of, kept};
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const SUITE: Suite = Suite::AesCm128HmacSha1Tag80;
/// Base64 of 30 octets, each key another: what stands behind `inline:`.
const KEYS: [&str; 3] = [
    "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
    "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj",
    "MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm",
];
const OCTETS: [&[u8; 30]; 3] = [
    b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#",
    b"70xwPH5@/,L:S1wY\"~='EpgT%(i_Vc",
    b"123456789ABCDE0123456789ABcdef",
];
/// The trunk of a client whose keys come by the interface.
const TRUNK: [(&str, &str); 3] =
    [("TRUNK__PASSIVE__FROM", "127.0.0.1"), ("TRUNK__PASSIVE__KEYS", "api"), ("LOG__LEVEL", "trace")];

/// What a client does to its packets.
struct Cipher(Srtp);

impl Cipher {
    fn new(key: usize) -> Self {
        let keys = Keys::single(SUITE, OCTETS[key].to_vec()).unwrap();
        Self(Srtp::new(&keys, &keys).unwrap())
    }

    fn say(&mut self, talker: &mut Talker<'_>, frames: usize, octets: &[u8]) {
        for _ in 0..frames {
            let mut packet = talker.frame(octets).bytes();
            assert!(self.0.seal_rtp(&mut packet));
            talker.mouth.send(talker.to, &packet);
        }
    }
}

fn body(key: usize) -> Value {
    json!({"suite": SUITE.name(), "key": format!("inline:{}|2^31", KEYS[key])})
}

/// A dialog whose client says that it encrypts, and not by what; its call, and its stream.
fn begin(server: &Server, name: &str, mouth: &Mouth) -> (Dialog, Media, [String; 2]) {
    let (dialog, media) = Dialog::begin_by(server, name, mouth.port(), "RTP/SAVP", "");
    let names = names_of(server, &dialog);
    (dialog, media, names)
}

/// The ids of a dialog's call, and of its stream.
fn names_of(server: &Server, dialog: &Dialog) -> [String; 2] {
    let call = id_of(server, dialog.call_id());
    let stream = server.recorded(dialog.call_id()).expect("a call").stream().id.to_string();
    [call, stream]
}

fn give(server: &Server, [call, stream]: &[String; 2], key: usize) -> Value {
    let (status, text) = give_keys(server, call, stream, &body(key));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn expect_nowhere(server: &Server, events: &Events, call: &str) {
    let mut all = vec![("the interface".to_owned(), answers(server, call))];
    all.push(("the events".to_owned(), events.heard(call)));
    files(server.directory(), &mut all);
    assert!(all.iter().any(|(name, _)| name.ends_with(".json")), "there is something to search");
    let log = all.iter().find(|(name, b)| name.ends_with(".log") && !b.is_empty()).expect("a log");
    let log = String::from_utf8_lossy(&log.1);
    assert!(log.contains("keys of a stream are given"), "somebody can see who gave keys");
    for (name, bytes) in &all {
        for secret in KEYS.iter().map(|k| k.as_bytes()).chain(OCTETS.iter().map(|o| &o[..])) {
            assert!(!bytes.windows(20).any(|w| w == &secret[..20]), "a key is in {name}");
        }
    }
}

fn counts(recorded: &Recorded) -> (u64, u64) {
    let each = recorded.segments.iter().map(|s| s.streams[0].accounting);
    each.fold((0, 0), |sum, a| (sum.0 + a.received, sum.1 + a.unauthenticated))
}

/// The keys come late, a wrong one first; they change, and come late again; a hold changes nothing.
#[test]
fn keys_that_come_late_open_what_came_before_and_are_nowhere() {
    let server = Server::with(&TRUNK);
    let events = Events::listen(&server);
    let mouth = Mouth::open();
    let (mut dialog, media, names) = begin(&server, "late", &mouth);
    assert_eq!((media.profile.as_str(), media.value("crypto")), ("RTP/SAVP", None), "{media:?}");
    let mut talker = Talker::new(&mouth, media.rtp());
    let sounds: Vec<_> = (1..=5).map(payload).collect();
    let (mut one, mut two) = (Cipher::new(0), Cipher::new(1));
    one.say(&mut talker, 40, &sounds[0]);
    assert_eq!(give(&server, &names, 2)["changed"], true, "nobody can tell yet that it is a wrong one");
    one.say(&mut talker, 10, &sounds[0]);
    let taken = give(&server, &names, 0);
    assert_eq!(taken, json!({"call": names[0], "stream": names[1], "suite": SUITE.name(), "changed": true}));
    assert_eq!(give(&server, &names, 0)["changed"], false);
    one.say(&mut talker, 20, &sounds[1]);
    // Another key, which is given a while after it is used.
    two.say(&mut talker, 30, &sounds[2]);
    give(&server, &names, 1);
    two.say(&mut talker, 20, &sounds[3]);
    dialog.offer("inactive");
    let again = dialog.offer("sendonly").remove(0);
    talker.to = again.rtp();
    two.say(&mut talker, 20, &sounds[4]);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    let found: Vec<_> = sounds.iter().map(|s| kept(&recorded, s)).collect();
    assert_eq!(found, [50, 20, 30, 20, 20]);
    assert_eq!(counts(&recorded), (140, 0));
    let sound = &server.export(&recorded.id(), &[])[0];
    let loud = |from: usize, until: usize| {
        sound.samples[from * 8..until * 8].iter().filter(|s| s.unsigned_abs() > 500).count()
    };
    let begun = sound.samples.iter().position(|s| s.unsigned_abs() > 500).unwrap() / 8;
    assert!(begun < 500, "the first packet is heard where it was said, not after {begun} ms");
    assert!(loud(begun, begun + 2_000) > 8_000, "two seconds and more are heard");
    expect_nowhere(&server, &events, &names[0]);
}

/// Nobody gives keys for a while: that is told, and over when they come. The command gives them from standard input.
#[test]
fn that_keys_are_missing_is_told_and_what_waited_is_kept() {
    let server = Server::with(&[&TRUNK[..], &[("ALARMS__SILENCE", "0s")]].concat());
    let mouth = Mouth::open();
    let (mut dialog, media, names) = begin(&server, "missing", &mouth);
    let mut talker = Talker::new(&mouth, media.rtp());
    let mut one = Cipher::new(0);
    one.say(&mut talker, 350, &payload(1));
    let alarms = |more: &[&str]| server.callspool(&[&["alarms", "--json"], more].concat()).text().to_owned();
    wait_until("somebody to be told", PATIENCE, || {
        let now = alarms(&[]);
        if now.contains("wrong-keys") && now.contains("keys are not known") { Ok(()) } else { Err(now) }
    });
    assert!(!alarms(&[]).contains("no-media"), "what waits is media");
    let mut command = server.command();
    command.args(["keys", &names[0], &names[1], "--suite", SUITE.name()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("inline:{}\n", KEYS[0]).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("has its keys"), "{said}{output:?}");
    one.say(&mut talker, 350, &payload(2));
    wait_until("the alarm to be over", PATIENCE, || {
        let now = alarms(&[]);
        if now.contains("wrong-keys") { Err(now) } else { Ok(()) }
    });
    assert!(alarms(&["--all"]).contains("wrong-keys"));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!([1, 2].map(|n| kept(&recorded, &payload(n))), [350, 350]);
    assert_eq!(counts(&recorded), (700, 0));
}

/// Without keys nothing is kept, and everything is counted. Keys that nobody can take are refused, and say why.
#[test]
fn without_keys_all_is_counted_and_keys_that_nobody_awaits_are_refused() {
    let server = Server::with(&TRUNK);
    let mouth = Mouth::open();
    let (mut dialog, media, names) = begin(&server, "never", &mouth);
    let mut talker = Talker::new(&mouth, media.rtp());
    Cipher::new(0).say(&mut talker, 30, &payload(1));
    let other = [names[0].clone(), names[0].clone()];
    let mut bad = body(0);
    bad["key"] = json!(KEYS[0]);
    for (what, body, status, kind) in
        [(&other, &body(0), 404, "no-such-stream"), (&names, &bad, 422, "unfit")]
    {
        let (is, text) = give_keys(&server, &what[0], &what[1], body);
        assert!(is == status && text.contains(kind), "{is}: {text}");
        assert!(!text.contains(&KEYS[0][..12]), "{text}");
    }
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!((kept(&recorded, &payload(1)), counts(&recorded)), (0, (0, 30)));
    let (status, text) = give_keys(&server, &names[0], &names[1], &body(0));
    assert!(status == 409 && text.contains("not-live"), "{status}: {text}");

    // A trunk that says nothing of it: the line is refused, and keys of a plain one too.
    let server = Server::start();
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n";
    assert_eq!(Dialog::refused(&server, "unsaid", sdp), 488);
    let (mut dialog, _) = Dialog::begin(&server, "plain", mouth.port());
    let [call, stream] = names_of(&server, &dialog);
    let (status, text) = give_keys(&server, &call, &stream, &body(0));
    assert!(status == 409 && text.contains("by signalling"), "{status}: {text}");
    dialog.bye();
}

/// An INVITE without offer asks for ours, which asks for keys; packets that overtake the ACK wait for it.
#[test]
fn a_delayed_offer_brings_keys_in_the_ack_and_what_overtakes_it_is_kept() {
    let settings = [("TRUNK__LATE__FROM", "127.0.0.1"), ("TRUNK__LATE__ASK_ENCRYPTED", "sdes")];
    let server = Server::with(&settings);
    let mouth = Mouth::open();
    let mut cipher = Cipher::new(0);
    let (mut dialog, offered) = Dialog::begin_without_offer(&server, "delayed", mouth.port(), |offered| {
        cipher.say(&mut Talker::new(&mouth, offered[0].rtp()), 20, &payload(1));
        ("RTP/SAVP".to_owned(), format!("a=crypto:4 {} inline:{}\r\n", SUITE.name(), KEYS[0]))
    });
    assert_eq!(offered[0].profile, "RTP/SAVP");
    let tags: Vec<_> = offered[0].attributes.iter().filter_map(|a| a.strip_prefix("crypto:")).collect();
    assert_eq!(tags.len(), 5, "{offered:?}");
    let mut talker = Talker::new(&mouth, offered[0].rtp());
    talker.skip(20);
    cipher.say(&mut talker, 20, &payload(2));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!([1, 2].map(|n| kept(&recorded, &payload(n))), [20, 20]);
    assert_eq!(counts(&recorded), (40, 0));
}

/// The same with callspool's own client, by keys and by handshakes; reports of ours are opened by it.
#[test]
fn delayed_offers_of_both_kinds_are_answered_by_our_own_client() {
    for kind in ["sdes", "dtls"] {
        let settings = [("TRUNK__LATE__FROM", "127.0.0.1"), ("TRUNK__LATE__ASK_ENCRYPTED", kind)];
        let server = Server::with(&settings);
        let to = format!("sip:recorder@{}", server.sip_address());
        let arguments = [
            "call",
            "--to",
            &to,
            "--delayed-offer",
            "--srtp",
            kind,
            "--streams",
            "1",
            "--duration",
            "2s",
            "--json",
        ];
        let done = server.callspool(&arguments).expect_ok("callspool call");
        let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
        let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
        let sent = report["streams"][0]["packets"].as_u64().unwrap();
        assert_eq!(counts(&recorded), (sent, 0), "{kind}: {report:#}");
    }
}

/// Keys, and what waits for them, go along to a segment that takes over.
#[test]
fn keys_hold_over_a_volume_that_is_pulled() {
    let (one, two) = (Volume::mount(16 << 10), Volume::mount(16 << 10));
    let node = node([one.path(), two.path()], &TRUNK);
    let mut volumes = [one, two];
    let mouth = Mouth::open();
    let (mut dialog, media) = Dialog::begin_by(&node.server, "moved", mouth.port(), "RTP/SAVP", "");
    let segments = || node.all();
    wait_until("a segment", PATIENCE, || if segments().is_empty() { Err("none".to_owned()) } else { Ok(()) });
    let record = segments().remove(0).record;
    let names = [record.call.to_string(), record.streams[0].id.to_string()];
    let mut talker = Talker::new(&mouth, media.rtp());
    let (mut cipher, mut other) = (Cipher::new(0), Cipher::new(1));
    cipher.say(&mut talker, 20, &payload(1));
    give(&node.server, &names, 0);
    let volume = usize::from(node.on(0).is_empty());
    volumes[volume].hide();
    wait_until("another segment to take over", PATIENCE, || {
        cipher.say(&mut talker, 10, &payload(2));
        if node.on(1 - volume).is_empty() { Err("none".to_owned()) } else { Ok(()) }
    });
    cipher.say(&mut talker, 50, &payload(3));
    other.say(&mut talker, 30, &payload(4));
    give(&node.server, &names, 1);
    dialog.bye();
    volumes[volume].show();
    node.expect_sound();
    let second = node.on(1 - volume).remove(0).record;
    assert_eq!(second.number, 2, "{second:#?}");
    let a = second.streams[0].accounting;
    assert!(a.received >= 80 && a.unauthenticated == 0, "{a:?}");
}
