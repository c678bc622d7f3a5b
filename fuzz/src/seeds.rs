//! What fuzzing begins from: at least one whole, ordinary input for each parser, by our own writers where we
//! have any. They lie in `corpus/` as files; a test holds the two together.

use std::net::SocketAddr;
use std::time::Duration;

use address::advert::{Advert, Interval};
use media::send::{RtpSender, Sending};
use media::{Frame, FrameKind};
use model::peer::{Family, Flowing};
use model::state::Respondent;
use model::{
    CallData, CallId, Codec, EndReason, MediaKind, Mono, NodeNumber, Now, OpenSegment, OpenStream, Route,
    SegmentId, Side, StartTrigger, StreamId, TenantId, WallTime,
};
use spool::SegmentWriter;
use spool::memory::MemoryDisk;

/// The seeds of a target.
pub type Seeds = (&'static str, fn() -> Vec<Vec<u8>>);

/// Those of every target, by its name.
pub const SEEDS: &[Seeds] = &[
    ("sip_message", sip_message),
    ("sip_stream", sip_stream),
    ("sdp", sdp),
    ("multipart", multipart),
    ("siprec", siprec),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("srtp", srtp),
    ("relay", relay),
    ("stun", stun),
    ("video", video),
    ("matroska", || files_ending(".mka")),
    ("manifest", manifest),
    ("call_log", call_log),
    ("sidecar", || files_ending(".pcap")),
    ("redo", redo),
    ("frames", frames),
    ("vrrp", vrrp),
];

const SDP: &str = "v=0\r\no=- 1 -1 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 192.0.2.1/127\r\nt=0 0\r\na=sendonly\r\nm=audio 4000/2 RTP/AVP 0 8 96 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=label:1\r\na=rtcp:4005 IN IP6 ::1\r\na=ptime:20\r\nm=video 0 RTP/AVP 97\r\na=mid:2\r\nc=IN IP6 2001:db8::2\r\na=rtcp-mux\r\nm=audio 4010 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4 UNENCRYPTED_SRTCP\r\na=crypto:2 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==\r\n";
const METADATA: &str = "<?xml version=\"1.0\"?><recording xmlns=\"urn:ietf:params:xml:ns:recording:1\"><datamode>complete</datamode><session session_id=\"s1\"><sipSessionID>ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2</sipSessionID></session><participant participant_id=\"p1\"><nameID aor=\"sip:1001@pbx\"><name xml:lang=\"en\">Bob &amp; Co</name></nameID></participant><participantsessionassoc participant_id=\"p1\" session_id=\"s1\"><associate-time>2026-11-20T09:15:00Z</associate-time></participantsessionassoc><stream stream_id=\"t1\" session_id=\"s1\"><label>1</label></stream><participantstreamassoc participant_id=\"p1\"><send>t1</send></participantstreamassoc></recording>";

const TO_SERVER: &[&str] = &[
    r#"{"order":{"open":{"segment":"0000000000007","call":"0000000000005","call_started":"2026-11-20T09:15:00Z","tenant":"default","number":1,"total":1,"respondent":"no","started":"2026-11-20T09:15:00Z","trigger":{"by":"manager"},"data":{},"metadata":[],"streams":[{"stream":"0000000000001","slot":0,"label":null,"kind":"audio","side":"agent","codecs":[[8,{"name":"PCMA","clock_rate":8000,"channels":1}]],"family":"v4","remote":"192.0.2.1:4000","remote_rtcp":null,"rtcp_mux":false,"flowing":"active"}]}},"secrets":[{"protection":{"srtp":{"inbound":{"suite":"AEAD_AES_128_GCM","masters":[{"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==","mki":"AQ=="}]},"outbound":{"suite":"AEAD_AES_128_GCM","masters":[{"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw=="}]}}},"ice":{"user":"evtj","password":"c2VjcmV0"}}]}"#,
    r#"{"order":{"keys":{"segment":"0000000000007","order":3,"stream":"0000000000001"}},"secrets":[{"protection":{"dtls":{"role":"client","peer":[{"hash":"sha-1","digest":"AAECAwQFBgcICQoLDA0ODxAREhM="}],"id":"x"}}}]}"#,
    r#"{"order":{"withdraw":{"segment":"0000000000007"}},"secrets":[]}"#,
    r#"{"probe":{}}"#,
];
const FROM_SERVER: &[&str] = &[
    r#"{"hello":{"name":"rec-1","node":1,"run":9,"segments":["0000000000007"]}}"#,
    r#"{"beat":{"number":1,"at":"2026-11-20T09:15:00Z","recordings":7,"loads":[["cpu",120]],"standing":{"over":["disk-space"]}}}"#,
    r#"{"report":{"opened":{"segment":"0000000000007","ports":[{"stream":"0000000000001","rtp":"192.0.2.1:4000","rtcp":"192.0.2.1:4001"}]}}}"#,
    r#"{"report":{"refused":{"segment":"0000000000007","why":{"kind":"storage","detail":"away"}}}}"#,
    r#"{"probed":{}}"#,
    r#"{"weather":[1,{"a":null}]}"#,
];

/// What a proxy says, what a record server says, and what is no JSON or no length.
fn frames() -> Vec<Vec<u8>> {
    let framed =
        |text: &&str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let stream = |size: u8, texts: &[&str]| {
        let messages: Vec<u8> = texts.iter().flat_map(framed).collect();
        [&[size][..], &messages].concat()
    };
    let broken = [stream(2, &["{}", "order?"]), vec![0xff; 4]].concat();
    vec![stream(255, TO_SERVER), stream(6, FROM_SERVER), broken]
}

/// A better node is heard, lets go, and one that is worse than this one says that it holds the address.
fn vrrp() -> Vec<Vec<u8>> {
    let of = |family: u8, [from, to, address]: [&str; 3]| {
        let said =
            [(10, 200), (25, 200), (5, 0), (120, 50), (25, 50), (255, 200)].map(|(after, priority)| {
                let advert = Advert {
                    router: 51,
                    priority,
                    interval: Interval::new(25).unwrap(),
                    addresses: vec![address.parse().unwrap()],
                };
                let octets = advert.octets(from.parse().unwrap(), to.parse().unwrap());
                [&[after, u8::try_from(octets.len()).unwrap()][..], &octets].concat()
            });
        [&[family][..], &said.concat()].concat()
    };
    vec![of(0, ["192.0.2.2", "224.0.0.18", "192.0.2.10"]), of(1, ["fe80::2", "ff02::12", "2001:db8::10"])]
}

/// What was appended in turn to two files, whole, cut, spoiled, and where the files are shorter or of zeros.
fn redo() -> Vec<Vec<u8>> {
    let appended = [0, 10, 20, 1, 10, 9, 0, 30, 40, 2, 10, 5, 3, 10, 5, 1, 19, 30];
    let seed = |head: [u8; 5]| [&head[..], &appended].concat();
    vec![
        seed([0, 0, 10, 10, 10]),
        seed([3, 0, 10, 10, 10]),
        seed([0, 20, 40, 10, 10]),
        seed([0, 0, 60, 9, 1]),
    ]
}

/// Some honest packets by two ciphers, and one of noise.
fn srtp() -> Vec<Vec<u8>> {
    let steps = |suite: u8, mki: u8| {
        let mut seed = vec![suite, mki];
        for what in [6, 6, 3, 2, 0, 1] {
            seed.extend([what, 20]);
            seed.extend([0x80; 20]);
        }
        seed
    };
    vec![steps(0, 0), steps(6, 4), steps(7, 1)]
}

/// Two sides that speak, are moved, report and are taken over: in the clear, by keys, and one that waits for them.
fn relay() -> Vec<Vec<u8>> {
    let sender = |ssrc| Sending {
        ssrc,
        payload_type: 0,
        clock_rate: 8_000,
        ptime_ms: 20,
        sequence: 65_533,
        timestamp: 7,
    };
    let talk = |how: [u8; 2]| {
        let mut senders = [RtpSender::new(sender(1)), RtpSender::new(sender(2))];
        let mut seed = how.to_vec();
        let mut push = |what: u8, bytes: &[u8]| {
            seed.extend([what, 1, u8::try_from(bytes.len()).unwrap()]);
            seed.extend_from_slice(bytes);
        };
        for n in 0..6_u8 {
            push(16, &senders[0].next(&[n; 40]));
            push(16 | 4 | 1, &senders[1].next(&[n; 40]));
        }
        push(0xe0, &[]);
        push(16 | 8, &senders[0].next(&[9; 40]));
        push(12, &senders[0].next(&[9; 40]));
        push(16 | 4 | 1, &senders[1].aside(101, &[5, 10, 0, 160]));
        push(16 | 2, &senders[0].report(WallTime(0), "a"));
        push(16 | 4 | 2 | 1, &senders[1].goodbye(WallTime(0)));
        seed
    };
    vec![talk([0x20, 0x20]), talk([0x23, 0x43]), talk([0x1f, 0x20]), talk([0x22, 0x40])]
}

/// A check as a client sends it, one that nominates, and one whose proof is missing.
fn stun() -> Vec<Vec<u8>> {
    let name = [0, 6, 0, 9, b'e', b'v', b't', b'j', b':', b'h', b'6', b'v', b'Y', 0, 0, 0];
    let priority = [0, 0x24, 0, 4, 0x6e, 0, 1, 0xff];
    let nominates = [0, 0x25, 0, 0];
    let plain = [&name[..], &priority].concat();
    let chosen = [&name[..], &nominates, &priority].concat();
    vec![[&[1][..], &plain].concat(), [&[1][..], &chosen].concat(), [&[0][..], &plain].concat()]
}

/// A key frame and one that leans on it, of each codec: in one packet, in several, and several units in one.
fn video() -> Vec<Vec<u8>> {
    let packets = |codec: u8, payloads: &[(u8, &[u8])]| {
        let mut seed = vec![codec];
        for (what, payload) in payloads {
            seed.extend([3, *what, u8::try_from(payload.len()).unwrap()]);
            seed.extend_from_slice(payload);
        }
        seed
    };
    let vp8_key = [0x90, 0x80, 0x07, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01, 9];
    let vp9_key = [0x8C, 0x81, 0x22, 0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xF0, 0x1D, 0xF0, 0xAA];
    let sets = [
        0x78, 0, 14, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x84, 0, 0, 3, 0, 4, 0, 4, 0x68, 0xce,
        0x3c, 0x80,
    ];
    let sps = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5a, 0xa0, 0x05, 0x02, 0x01,
        0xe1, 0x65, 0x95, 0x9a, 0x49, 0x32, 0xb8,
    ];
    vec![
        packets(0, &[(0x80, &vp8_key), (0x01, &[0x10, 0x11, 1]), (0x80, &[0, 2])]),
        packets(1, &[(0x80, &vp9_key), (0x81, &[0xCC, 0x81, 0x23, 0x86, 1])]),
        packets(
            1,
            &[(0, &[0x2A, 0, 0, 0x38, 0, 1, 0, 1, 0, 2, 0, 2, 1, 0x04, 9, 0x86]), (0x80, &[0x0C, 0x86])],
        ),
        packets(
            2,
            &[(0, &sets), (0, &[0x7C, 0x85, 0x88, 1]), (0x80, &[0x7C, 0x45, 2]), (0x81, &[0x41, 0x9a])],
        ),
        packets(
            3,
            &[
                (0, &[0x40, 0x01, 0x0c, 0x01]),
                (0, &sps),
                (0, &[0x60, 0x01, 0, 4, 0x44, 0x01, 0xc1, 0x72]),
                (0, &[0x62, 0x01, 0x93, 0x80, 1]),
                (0x80, &[0x62, 0x01, 0x53, 2]),
                (0x81, &[0x02, 0x01, 0xd0]),
            ],
        ),
    ]
}

fn head(method: &str, cseq: u32, tag: &str, more: &str) -> String {
    format!(
        "{method} sip:record@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKm{cseq};rport\r\nMax-Forwards: 70\r\nf: \"A \\\"B\\\"\" <sip:a@192.0.2.1;x-nearend>;tag=a\r\nTo: <sip:record@192.0.2.2>{tag}\r\ni: c@192.0.2.1\r\nCSeq: {cseq} {method}\r\nm: <sip:a@192.0.2.1:5060>;+sip.src\r\nSupported: timer\r\nSession-Expires: 1800;refresher=uac\r\nReason: Q.850;cause=16;text=\"a, b\"\r\nP-Asserted-Identity: \"B\" <sip:b@h>, <tel:+49>\r\n{more}"
    )
}

fn two_parts() -> String {
    format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n{METADATA}\r\n--b--\r\n"
    )
}

fn messages() -> Vec<String> {
    let body = two_parts();
    let with_body =
        format!("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let empty = "Content-Length: 0\r\n\r\n";
    vec![
        head("INVITE", 1, "", &with_body),
        head("INVITE", 1, "", empty),
        head("ACK", 1, ";tag=x", empty),
        head("CANCEL", 1, "", empty),
        head("OPTIONS", 2, "", empty),
        head("BYE", 3, ";tag=x", empty),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ]
}

/// A message behind its length, as the target wants it.
fn with_length(message: &str) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [length.as_slice(), message.as_bytes()].concat()
}

fn sip_message() -> Vec<Vec<u8>> {
    let each = messages().into_iter().map(|m| with_length(&m));
    let call = ["INVITE", "INVITE", "CANCEL"];
    let twice = call.iter().flat_map(|method| with_length(&head(method, 1, "", "Content-Length: 0\r\n\r\n")));
    each.chain([twice.collect()]).collect()
}

fn sip_stream() -> Vec<Vec<u8>> {
    let all = messages().concat();
    let at = |step: u8| [[step].as_slice(), b"\r\n\r\n", all.as_bytes()].concat();
    vec![at(255), at(7)]
}

fn sdp() -> Vec<Vec<u8>> {
    vec![SDP.as_bytes().to_vec(), SDP.replace("\r\n", "\n").into_bytes()]
}

fn multipart() -> Vec<Vec<u8>> {
    let nested =
        format!("a\n--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n{}\r\n--a--\r\n", two_parts());
    vec![format!("b\n{}", two_parts()).into_bytes(), nested.into_bytes()]
}

fn siprec() -> Vec<Vec<u8>> {
    let prefixed = METADATA.replace("</", "</tns:").replace("<s", "<tns:s").replace("<p", "<tns:p");
    let clients = [
        include_str!("../../crates/sip/tests/dialects/documents/oracle-damaged.xml"),
        include_str!("../../crates/sip/tests/dialects/documents/broadworks.xml"),
        include_str!("../../crates/sip/tests/dialects/documents/avaya-sbce.xml"),
        include_str!("../../crates/sip/tests/dialects/documents/opensips.xml"),
        include_str!("../../crates/sip/tests/dialects/documents/netsapiens.xml"),
    ];
    let clients = clients.map(|document| document.as_bytes().to_vec());
    [METADATA.as_bytes().to_vec(), prefixed.into_bytes()].into_iter().chain(clients).collect()
}

fn sender() -> RtpSender {
    RtpSender::new(Sending {
        ssrc: 5,
        payload_type: 0,
        clock_rate: 8_000,
        ptime_ms: 20,
        sequence: 65_530,
        timestamp: 0,
    })
}

/// Packets over a sequence wrap, one lost, one late, an event among them.
fn rtp() -> Vec<Vec<u8>> {
    let mut sender = sender();
    let mut packets: Vec<Vec<u8>> = (0..12).map(|n| sender.next(&[n; 20])).collect();
    packets.insert(6, sender.aside(101, &[1, 10, 0, 160]));
    packets.remove(3);
    packets.swap(7, 8);
    let steps = packets.iter().flat_map(|packet| {
        let head = [0xf0, 20, u8::try_from(packet.len()).unwrap()];
        [head.as_slice(), packet.as_slice()].concat()
    });
    vec![steps.collect()]
}

fn rtcp() -> Vec<Vec<u8>> {
    let mut sender = sender();
    sender.next(&[0; 160]);
    let at = WallTime::from_millis(1_795_166_100_000);
    vec![sender.report(at, "caller"), sender.goodbye(at)]
}

/// The content of the manifest: what stands behind its checksum.
fn manifest() -> Vec<Vec<u8>> {
    let content = |bytes: Vec<u8>| bytes.splitn(5, |c| *c == b'\n').nth(4).unwrap_or_default().to_vec();
    files_ending(".json").into_iter().map(content).collect()
}

/// The lines of a call log, each without its checksum.
fn call_log() -> Vec<Vec<u8>> {
    let logs = files_ending("call.log").into_iter().map(|log| {
        let lines = log.split(|c| *c == b'\n').filter(|line| !line.is_empty());
        // {"crc":"0eec4be0","at":…}
        lines.map(|line| &line[b"{\"crc\":\"00000000\",".len()..]).collect::<Vec<_>>().join(&b'\n')
    });
    logs.collect()
}

/// The files of a short call whose names end so: two streams, two codecs, an event, one second.
fn files_ending(end: &str) -> Vec<Vec<u8>> {
    let disk = short_call();
    disk.paths().filter(|path| path.ends_with(end)).map(|path| disk.bytes(path).unwrap().to_vec()).collect()
}

const START: WallTime = WallTime::from_millis(1_795_166_100_000);

fn stream(n: u64, side: Side) -> OpenStream {
    OpenStream {
        stream: StreamId::from_u64(n),
        slot: 0,
        label: Some(n.to_string()),
        kind: MediaKind::Audio,
        side,
        codecs: vec![(0, Codec::new("PCMU", 8_000, 1))],
        family: Family::V4,
        remote: None,
        remote_rtcp: None,
        may_share: false,
        route: Route::Direct,
        rtcp_mux: false,
        flowing: Flowing::Active,
        protection: model::Protection::None,
        ice: None,
    }
}

fn short_call() -> MemoryDisk {
    let now = |ms: u64| Now { mono: Mono(1_000_000_000), wall: START } + Duration::from_millis(ms);
    let open = OpenSegment {
        segment: SegmentId::from_u64(5_001),
        call: CallId::from_u64(4_000),
        call_started: START,
        tenant: TenantId::default(),
        number: 1,
        total: 1,
        respondent: Respondent::No,
        started: START,
        trigger: StartTrigger::Manager,
        data: CallData::default(),
        metadata: Vec::new(),
        takes_over: None,
        streams: vec![stream(1, Side::Agent), stream(2, Side::External)],
        pause: None,
        dtmf: model::Dtmf::Keep,
        files: model::peer::FileNames::ByNumber,
    };
    let mut disk = MemoryDisk::new();
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(0));
    let mut ops = Vec::new();
    writer.flush(now(0), Vec::new(), &mut ops);
    for n in 0..20_u8 {
        let codec = std::sync::Arc::new(Codec::new(if n < 10 { "PCMU" } else { "PCMA" }, 8_000, 1));
        let (stream, kind) = match n {
            5 => (1, FrameKind::TelephoneEvent),
            _ => (1 + u64::from(n % 2), FrameKind::Media),
        };
        let packet = [[0x80, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 9].as_slice(), &[n; 40]].concat();
        writer.push(&Frame {
            stream: StreamId::from_u64(stream),
            position_us: i64::from(n) * 20_000,
            duration_us: Some(20_000),
            payload_type: 0,
            codec: Some(&codec),
            kind,
            payload: &packet[12..],
            packet: &packet,
            source: SocketAddr::from(([192, 0, 2, 7], 16_384)),
            destination_port: 40_000,
            arrival: now(u64::from(n) * 20).wall,
            late: false,
        });
    }
    writer.flush(now(500), Vec::new(), &mut ops);
    writer.end(now(600), now(600).wall, EndReason::HangUp, Vec::new(), &mut ops);
    disk.apply_all(&ops).unwrap();
    let digest = |path: String| {
        let digest = spool::digest_of(&disk, &path).unwrap();
        (path, digest.bytes, digest.sha256)
    };
    let digests: Vec<_> = writer.files().into_iter().map(digest).collect();
    ops.clear();
    writer.seal(now(700), &digests, &mut ops);
    disk.apply_all(&ops).unwrap();
    disk
}
