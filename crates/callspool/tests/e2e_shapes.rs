//! Offers and bodies of every shape: one line or eight, lines that come and go, video, wrappings that are odd, messages
//! longer than a datagram should be, streams that are cut anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use model::{MediaKind, Side};
use support::flow::{Flow, Step};
use support::party::{Hush, Party};
use support::program::run;
use support::recording::Recorded;
use support::rtp::Packet;
use support::server::Server;
use support::sipp::{STRETCH, Scenario};
use support::{PATIENCE, audio, wait_until};

/// What is said on a line.
fn tone(line: usize) -> f64 {
    400.0 + 180.0 * line as f64
}

fn sdp(version: u32, lines: &[String]) -> String {
    let head = format!("v=0\no=- 7 {version} IN IP4 [media_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n");
    lines.iter().fold(head, |sdp, line| sdp + line)
}

fn audio_line(line: usize, direction: &str) -> String {
    format!("m=audio [port{line}] RTP/AVP 0\na={direction}\na=label:{}\n", line + 1)
}

fn bare(sdp: &str) -> String {
    format!(">>> INVITE\nContent-Type: application/sdp\n\n{sdp}<<< 200\n")
}

/// Plays a flow whose parties talk on the audio lines all the time, as many as there are ports.
fn play(server: &Server, name: &str, text: &str, talkers: usize) -> Recorded {
    let flow = Flow::read(text);
    let parties: Vec<Party> = (0..talkers).map(|_| Party::new()).collect();
    let mut scenario = Scenario::of(name, flow.clone());
    for (line, party) in parties.iter().enumerate() {
        scenario = scenario.key(&format!("port{line}"), party.mouth.port());
    }
    let mut sipp = scenario.start(server);
    let call_id = sipp.call_id().to_owned();
    std::thread::scope(|scope| {
        for (line, party) in parties.iter().enumerate() {
            scope.spawn(move || party.talk(tone(line)));
        }
        let everybody: Vec<&Party> = parties.iter().collect();
        let _at_the_end = Hush(&everybody);
        for step in &flow.steps {
            match step {
                Step::Expect { status: 200, cseq } if cseq.ends_with("INVITE") => {
                    let lines = sipp.answer(cseq).media();
                    for (party, line) in parties.iter().zip(&lines).filter(|(_, line)| line.port != 0) {
                        party.turn_to(line.rtp());
                    }
                }
                Step::Talk => {
                    std::thread::sleep(STRETCH);
                    sipp.go_on();
                }
                _ => {}
            }
        }
        sipp.finish();
    });
    server.wait_for_state(&call_id, "complete")
}

/// Each audio stream has its own tone, and none of its neighbors'.
fn expect_tones(recorded: &Recorded) {
    let segment = recorded.segment();
    for stream in segment.streams.iter().filter(|s| s.kind == MediaKind::Audio) {
        let line = usize::from(stream.slot);
        let part = segment.parts.last().expect("a part");
        let track = part.tracks.iter().position(|t| t.stream == stream.id).expect("a track");
        let others = [tone(line + 1), tone(line + 2)];
        let sound = audio::decode(&recorded.directory.join(&part.file), track);
        sound.expect_tone(&format!("line {line}"), tone(line), &others);
        assert_eq!(stream.accounting.lost, 0, "{:?}", stream.accounting);
    }
}

#[test]
fn one_to_eight_lines_are_received_each_by_itself() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for count in [1, 3, 8] {
            let server = &server;
            scope.spawn(move || {
                let lines: Vec<String> = (0..count).map(|line| audio_line(line, "sendonly")).collect();
                let text = format!("{}---\n>>> BYE\n<<< 200\n", bare(&sdp(1, &lines)));
                let recorded = play(server, &format!("lines{count}"), &text, count);
                assert_eq!(recorded.segment().streams.len(), count);
                expect_tones(&recorded);
            });
        }
    });
}

/// The second is added after the answer, the first is given up for good, the third takes its turn after both.
#[test]
fn lines_come_and_go_within_one_segment() {
    let server = Server::start();
    let given_up = "m=audio 0 RTP/AVP 0\n".to_owned();
    let line = |n| audio_line(n, "sendonly");
    let text = format!(
        "{}---\n{}---\n{}---\n>>> BYE\n<<< 200\n",
        bare(&sdp(1, &[line(0)])),
        bare(&sdp(2, &[line(0), line(1)])),
        bare(&sdp(3, &[given_up, line(1), line(2)])),
    );
    let recorded = play(&server, "come-and-go", &text, 3);
    let segment = recorded.segment();
    let received: Vec<_> = segment.streams.iter().map(|s| s.accounting.received).collect();
    let stretch = STRETCH.as_millis() as u64 / 20;
    let [first, second, third] = received[..] else { panic!("three streams: {received:?}") };
    assert!(first.abs_diff(2 * stretch) < 20 && second.abs_diff(2 * stretch) < 20, "{received:?}");
    assert!(third.abs_diff(stretch) < 20, "{received:?}");
}

#[test]
fn video_is_kept_beside_audio_packet_by_packet() {
    let server = Server::start();
    let video = "m=video [port2] RTP/AVP 97\na=rtpmap:97 H264/90000\na=fmtp:97 packetization-mode=1\na=sendonly\na=label:3\n";
    let lines = [audio_line(0, "sendonly"), audio_line(1, "sendonly"), video.to_owned()];
    let flow = Flow::read(&format!("{}---\n>>> BYE\n<<< 200\n", bare(&sdp(1, &lines))));
    let parties = [Party::new(), Party::new(), Party::new()];
    let mut scenario = Scenario::of("video", flow);
    for (line, party) in parties.iter().enumerate() {
        scenario = scenario.key(&format!("port{line}"), party.mouth.port());
    }
    let mut sipp = scenario.start(&server);
    let call_id = sipp.call_id().to_owned();
    let pictures = pictures();
    std::thread::scope(|scope| {
        let media = sipp.answer("1 INVITE").media();
        assert!(media[2].has("rtpmap:97 H264/90000") && media[2].has("recvonly"), "{:?}", media[2]);
        for line in [0, 1] {
            parties[line].turn_to(media[line].rtp());
            let party = &parties[line];
            scope.spawn(move || party.talk(tone(line)));
        }
        let _at_the_end = Hush(&[&parties[0], &parties[1]]);
        parties[2].mouth.say(media[2].rtp(), &pictures);
        sipp.go_on();
        sipp.finish();
    });
    let recorded = server.wait_for_state(&call_id, "complete");
    expect_tones(&recorded);
    let segment = recorded.segment();
    let seen = &segment.streams[2];
    assert_eq!((seen.kind, seen.side, seen.label.as_deref()), (MediaKind::Video, Side::Mixed, Some("3")));
    let a = seen.accounting;
    assert_eq!((a.received, a.lost, a.dropped), (pictures.len() as u64, 0, 0), "{a:?}");
    // Whose voice is where is as it would be without video.
    assert_eq!((segment.streams[0].side, segment.streams[1].side), (Side::Agent, Side::External));

    let sidecar = segment.sidecar.as_ref().expect("a sidecar");
    let file = std::fs::File::open(recorded.directory.join(&sidecar.file)).unwrap();
    let mut reader = spool::pcap::SidecarReader::new(std::io::BufReader::new(file)).unwrap();
    let mut kept = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        if packet.to.port() == seen.port {
            kept.push(packet.payload.to_vec());
        }
    }
    let sent: Vec<_> = pictures.iter().map(Packet::bytes).collect();
    assert!(kept == sent, "{} of {} packets are as they were sent", kept.len(), sent.len());
    let mut tshark = std::process::Command::new("tshark");
    tshark.arg("-r").arg(recorded.directory.join(&sidecar.file));
    tshark.args(["-d", &format!("udp.port=={},rtp", seen.port), "-Y", "rtp.p_type == 97 && rtp.marker == 1"]);
    let told = run(tshark, PATIENCE).expect_ok("tshark");
    assert_eq!(told.text().lines().count(), 30, "pictures that tshark sees the end of");
    let [left, right] = &server.export(&recorded.id(), &[])[..] else { panic!("two channels") };
    left.cut(0.2, 1.0).expect_tone("agent", tone(0), &[tone(1)]);
    right.cut(0.2, 1.0).expect_tone("external", tone(1), &[tone(0)]);
    server.callspool(&["verify", "--all"]).expect_ok("callspool verify");
}

/// 30 pictures a second for a second, each of three packets, as H.264 goes over RTP (fragments of RFC 6184 section 5.8).
fn pictures() -> Vec<Packet> {
    (0..90_u32)
        .map(|n| {
            let (picture, third) = (n / 3, n % 3);
            let begin_or_end = [0x80, 0x00, 0x40][third as usize];
            let mut payload = vec![0x7c, begin_or_end | 0x05];
            payload.extend((0..1_000).map(|i| (n + i) as u8));
            Packet {
                at: Duration::from_micros(u64::from(picture) * 33_333),
                marker: third == 2,
                payload_type: 97,
                sequence: 500 + n as u16,
                timestamp: 9_000 + picture * 3_000,
                ssrc: 0xf11f,
                payload,
            }
        })
        .collect()
}

const METADATA: &str = "<?xml version=\"1.0\"?>\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\n\
    <session session_id=\"shape\"/>\n\
    <participant participant_id=\"a\"><nameID aor=\"sip:4001@pbx.invalid\"/></participant>\n\
    <participant participant_id=\"b\"><nameID aor=\"sip:4002@pbx.invalid\"/></participant>\n\
    <stream stream_id=\"s1\" session_id=\"shape\"><label>1</label></stream>\n\
    <stream stream_id=\"s2\" session_id=\"shape\"><label>2</label></stream>\n\
    <participantstreamassoc participant_id=\"a\"><send>s2</send></participantstreamassoc>\n\
    <participantstreamassoc participant_id=\"b\"><send>s1</send></participantstreamassoc>\n\
    </recording>\n";

/// A call of two lines that are crossed with their participants, wrapped like this: what is between `--` and `--`.
fn wrapped(head: &str, body: &str) -> String {
    let sdp = sdp(1, &[audio_line(0, "sendonly"), audio_line(1, "sendonly")]);
    let body = body.replace("SDP", sdp.trim_end()).replace("METADATA", METADATA.trim_end());
    format!(">>> INVITE\n{head}\n\n{body}\n<<< 200\n>>> BYE\n<<< 200\n")
}

#[test]
fn bodies_are_taken_however_they_are_wrapped() {
    let server = Server::start();
    let sdp_part = "Content-Type: application/sdp\n\nSDP\n";
    let xml_part =
        "Content-Type: application/rs-metadata+xml\nContent-Disposition: recording-session\n\nMETADATA\n";
    let usual = format!("--b\n{sdp_part}--b\n{xml_part}--b--");
    let quoted = usual.replace("--b", "--a;b c");
    let hyphens = usual.replace("--b", "--b--");
    let turned = format!("what is before\n--b\n{xml_part}--b  \n{sdp_part}--b--\nwhat is after");
    let nested = format!(
        "--b\nContent-Type:multipart/related;boundary=\"b--i\"\n\n--b--i\n{sdp_part}--b--i\n{xml_part}--b--i--\n--b\nContent-Type: application/gtd\n\nIAM,\n\n--b--"
    );
    let unclosed = format!("--b\n{sdp_part}--b\n{xml_part}");
    let untyped = "--b\n\nSDP\n--b\n\nMETADATA\n--b--".to_owned();
    let plain_xml = usual.replace("application/rs-metadata+xml", "application/xml");
    let cases = [
        ("usual", "Content-Type: multipart/mixed;boundary=b", &usual),
        ("compact", "c:multipart/mixed;boundary=b\nl: [len]", &usual),
        ("no-length", "Content-Type: multipart/mixed;boundary=b\nContent-Length: none", &usual),
        ("quoted", "Content-Type: multipart/mixed;boundary=\"a;b c\";charset=utf-8", &quoted),
        ("hyphens", "Content-Type: multipart/mixed; boundary=b--", &hyphens),
        ("turned", "Content-Type:multipart/mixed;Boundary = b", &turned),
        ("nested", "Content-Type: multipart/mixed;boundary=b", &nested),
        ("unclosed", "Content-Type: multipart/mixed;boundary=b", &unclosed),
        ("wrong-name", "Content-Type: multipart/mixed;boundary=other", &usual),
        ("no-name", "Content-Type: multipart/mixed", &usual),
        ("untyped", "Content-Type: multipart/mixed;boundary=b", &untyped),
        ("plain-xml", "Content-Type: multipart/mixed;boundary=b", &plain_xml),
    ];
    for (name, head, body) in cases {
        let text = wrapped(head, body);
        let sipp =
            Scenario::of(name, Flow::read(&text)).key("port0", 40_000).key("port1", 40_002).start(&server);
        let call_id = sipp.call_id().to_owned();
        sipp.finish();
        let recorded = server.wait_for_state(&call_id, "complete");
        let segment = recorded.segment();
        let numbers: Vec<_> = segment.data.parties.iter().filter_map(|p| p.number.as_deref()).collect();
        assert_eq!(numbers, ["4001", "4002"], "{name}");
        let sides: Vec<_> = segment.streams.iter().map(|s| (s.label.as_deref(), s.side)).collect();
        assert_eq!(sides, [(Some("1"), Side::External), (Some("2"), Side::Agent)], "{name}");
        assert_eq!(segment.metadata.len(), 1, "{name}");
    }
}

/// Metadata of 12 kB beside the offer, over UDP: the network cuts it, and it comes as one.
#[test]
fn a_datagram_may_be_longer_than_it_should() {
    let server = Server::start();
    let data: String =
        (0..400).map(|n| format!("<extensiondata key=\"{n}\">0123456789</extensiondata>\n")).collect();
    let long = METADATA
        .replace("<session session_id=\"shape\"/>", &format!("<session session_id=\"shape\"/>\n{data}"));
    let sdp = sdp(1, &[audio_line(0, "sendonly")]);
    let text = format!(
        ">>> INVITE\nContent-Type: multipart/mixed;boundary=b\n\n--b\nContent-Type: application/sdp\n\n{sdp}--b\nContent-Type: application/rs-metadata+xml\n\n{long}--b--\n<<< 200\n---\n>>> BYE\n<<< 200\n"
    );
    assert!(text.len() > 12_000, "{}", text.len());
    let recorded = play(&server, "long", &text, 1);
    expect_tones(&recorded);
    let kept = &recorded.segment().metadata[0].text;
    assert!(kept.contains("key=\"399\"") && kept.trim_end().ends_with("</recording>"), "{}", kept.len());
}

/// Over TCP, which knows no messages: one that comes in pieces, and several that come as one.
#[test]
fn a_stream_may_be_cut_anywhere() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.sip_address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let here = stream.local_addr().unwrap();
    let sdp = "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendonly\r\n";
    let request = |method: &str, number: u32, tag: &str, body: &str| {
        format!(
            "{method} sip:rec@{to} SIP/2.0\r\nVia: SIP/2.0/TCP {here};branch=z9hG4bK{number}{method}\r\nFrom: <sip:1001@test.invalid>;tag=1\r\n\
             To: <sip:rec@test.invalid>{tag}\r\nCall-ID: cut-anywhere\r\nCSeq: {number} {method}\r\nContact: <sip:1001@{here};transport=tcp>\r\n\
             Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
            to = server.sip_address(),
        )
    };
    let invite = request("INVITE", 1, "", sdp);
    for piece in invite.as_bytes().chunks(invite.len() / 9) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = read_until(&mut stream, "SIP/2.0 200 ", "1 INVITE");
    let to = answer.lines().find_map(|l| l.strip_prefix("To: ")).unwrap();
    let tag = format!(";tag={}", to.split_once(";tag=").unwrap().1.trim());
    let together = [
        request("ACK", 1, &tag, ""),
        request("INVITE", 2, &tag, &sdp.replace("7 1", "7 2")),
        request("INVITE", 3, &tag, &sdp.replace("7 1", "7 3")),
        request("INFO", 4, &tag, ""),
    ];
    stream.write_all(together.concat().as_bytes()).unwrap();
    read_until(&mut stream, "SIP/2.0 200 ", "3 INVITE");
    let last = [request("ACK", 3, &tag, ""), request("BYE", 5, &tag, "")];
    stream.write_all(last.concat().as_bytes()).unwrap();
    read_until(&mut stream, "SIP/2.0 200 ", "5 BYE");
    let recorded = server.wait_for_state("cut-anywhere", "complete");
    assert_eq!(recorded.segments.len(), 1);
}

/// Reads until there is a response with this status to the request with this CSeq.
fn read_until(stream: &mut TcpStream, status: &str, cseq: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 8_192];
    wait_until(&format!("{status}to {cseq}"), PATIENCE, || {
        if let Ok(length) = stream.read(&mut buffer) {
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let found = text.split("SIP/2.0 ").map(|m| format!("SIP/2.0 {m}"));
        let cseq = format!("CSeq: {cseq}\r\n");
        let found = found.into_iter().find(|m| m.starts_with(status) && m.contains(&cseq));
        found.ok_or_else(|| text.clone())
    })
}
