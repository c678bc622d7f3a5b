//! Offers as the clients of `siprec-dialects` send them, in our own words, and what we answer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::net::SocketAddr;

use expect_test::{Expect, expect};
use media::sdp::{self, Direction, OfferLine, Origin, SdpError, Slot};
use model::{Codec, MediaKind};

/// What is read from an offer, line by line, and the answer of a recorder that takes all audio.
fn check(offer: &str, expect: Expect) {
    let offer: String = offer.lines().map(|l| format!("{}\r\n", l.trim_start())).collect();
    expect.assert_eq(&picture(offer.as_bytes()));
}

fn picture(offer: &[u8]) -> String {
    let read = sdp::read(offer).unwrap();
    let mut out = String::new();
    let Origin { username, session_id, version, address } = &read.origin;
    writeln!(out, "{username} {session_id} v{version} {address}").unwrap();
    for line in &read.media {
        let codecs: Vec<String> = line.codecs.iter().map(codec).collect();
        write!(out, "{:?} {} [{}]", line.kind, line.direction.as_str(), codecs.join(", ")).unwrap();
        let rest = [
            ("from", line.remote_rtp().map(|a| a.to_string())),
            ("rtcp", line.remote_rtcp().map(|a| a.to_string())),
            ("label", line.label.clone()),
            ("mid", line.mid.clone()),
            ("ptime", line.ptime.map(|p| p.to_string())),
            ("held", line.is_held().then(String::new)),
            ("off", line.is_off().then(String::new)),
            ("no rtp", (!line.is_rtp()).then(String::new)),
            ("encrypted", line.is_encrypted().then(String::new)),
        ];
        for (name, value) in rest {
            if let Some(value) = value {
                write!(out, " {}", format!("{name} {value}").trim_end()).unwrap();
            }
        }
        out.push('\n');
    }
    let answer = sdp::answer(&read, &slots(&read), &ours());
    for line in answer.lines().skip(4) {
        writeln!(out, "> {line}").unwrap();
    }
    out
}

fn codec((number, codec): &(u8, Codec)) -> String {
    let Codec { name, clock_rate, channels, fmtp } = codec;
    let channels = if *channels > 1 { format!("/{channels}") } else { String::new() };
    let fmtp = fmtp.as_ref().map(|f| format!(" ({f})")).unwrap_or_default();
    format!("{number} {name}/{clock_rate}{channels}{fmtp}")
}

fn slots(read: &sdp::Sdp) -> Vec<Slot> {
    let take = |(index, line): (u16, &sdp::MediaLine)| {
        if line.kind != MediaKind::Audio || !line.is_rtp() || line.is_encrypted() || line.is_off() {
            return Slot::Refuse;
        }
        let port = 20_000 + index * 2;
        Slot::Take {
            rtp: SocketAddr::new("192.0.2.200".parse().unwrap(), port),
            rtcp_port: port + 1,
            direction: line.direction.answered_by_recorder(),
            mux: true,
            security: media::sdp::Security::None,
            ice: None,
        }
    };
    (0..).zip(&read.media).map(take).collect()
}

fn ours() -> Origin {
    let address = "192.0.2.200".parse().unwrap();
    Origin { username: "callspool".to_owned(), session_id: 7, version: 1, address }
}

#[test]
fn two_labeled_legs_of_a_border_element() {
    check(
        "v=0
         o=BorderElement 3141 5926 IN IP4 198.51.100.7
         s=SIP Call
         c=IN IP4 198.51.100.7
         t=0 0
         m=audio 16384 RTP/AVP 0 101 19
         a=rtpmap:0 PCMU/8000
         a=rtpmap:101 telephone-event/8000
         a=fmtp:101 0-16
         a=rtpmap:19 CN/8000
         a=ptime:20
         a=sendonly
         a=label:1
         m=audio 16386 RTP/AVP 0 101 19
         a=rtpmap:0 PCMU/8000
         a=rtpmap:101 telephone-event/8000
         a=fmtp:101 0-16
         a=rtpmap:19 CN/8000
         a=ptime:20
         a=sendonly
         a=label:2",
        expect![[r#"
            BorderElement 3141 v5926 198.51.100.7
            Audio sendonly [0 PCMU/8000, 101 TELEPHONE-EVENT/8000 (0-16), 19 CN/8000] from 198.51.100.7:16384 rtcp 198.51.100.7:16385 label 1 ptime 20
            Audio sendonly [0 PCMU/8000, 101 TELEPHONE-EVENT/8000 (0-16), 19 CN/8000] from 198.51.100.7:16386 rtcp 198.51.100.7:16387 label 2 ptime 20
            > t=0 0
            > m=audio 20000 RTP/AVP 0 101 19
            > a=rtpmap:0 PCMU/8000
            > a=rtpmap:101 telephone-event/8000
            > a=fmtp:101 0-16
            > a=rtpmap:19 CN/8000
            > a=ptime:20
            > a=recvonly
            > a=label:1
            > m=audio 20002 RTP/AVP 0 101 19
            > a=rtpmap:0 PCMU/8000
            > a=rtpmap:101 telephone-event/8000
            > a=fmtp:101 0-16
            > a=rtpmap:19 CN/8000
            > a=ptime:20
            > a=recvonly
            > a=label:2
        "#]],
    );
}

#[test]
fn one_leg_held_the_other_not() {
    check(
        "v=0
         o=- 1 2 IN IP4 198.51.100.7
         s=-
         c=IN IP4 198.51.100.7
         t=0 0
         m=audio 16384 RTP/AVP 8
         a=inactive
         a=label:1
         m=audio 16386 RTP/AVP 8
         a=sendonly
         a=label:2",
        expect![[r#"
            - 1 v2 198.51.100.7
            Audio inactive [8 PCMA/8000] from 198.51.100.7:16384 rtcp 198.51.100.7:16385 label 1 held
            Audio sendonly [8 PCMA/8000] from 198.51.100.7:16386 rtcp 198.51.100.7:16387 label 2
            > t=0 0
            > m=audio 20000 RTP/AVP 8
            > a=inactive
            > a=label:1
            > m=audio 20002 RTP/AVP 8
            > a=recvonly
            > a=label:2
        "#]],
    );
}

#[test]
fn direction_and_hold_of_the_session() {
    check(
        "v=0
         o=- 1 2 IN IP4 198.51.100.7
         s=-
         c=IN IP4 0.0.0.0
         t=0 0
         a=sendonly
         m=audio 16384 RTP/AVP 8
         m=audio 16386 RTP/AVP 8
         c=IN IP4 198.51.100.8
         a=recvonly",
        expect![[r#"
            - 1 v2 198.51.100.7
            Audio sendonly [8 PCMA/8000] held
            Audio recvonly [8 PCMA/8000] from 198.51.100.8:16386 rtcp 198.51.100.8:16387 held
            > t=0 0
            > m=audio 20000 RTP/AVP 8
            > a=recvonly
            > m=audio 20002 RTP/AVP 8
            > a=inactive
        "#]],
    );
}

#[test]
fn addresses_per_media_large_labels_and_no_rtpmap() {
    check(
        "v=0
         o=Sonus_UAC 28814 10893 IN IP4 203.0.113.20
         s=SIP Media Capabilities
         t=0 0
         m=audio 1032 RTP/AVP 0 18
         c=IN IP4 203.0.113.21
         a=label:16777227
         a=fmtp:18 annexb=no
         m=audio 1034 RTP/AVP 0 18
         c=IN IP4 203.0.113.22
         a=label:16777228
         a=fmtp:18 annexb=no",
        expect![[r#"
            Sonus_UAC 28814 v10893 203.0.113.20
            Audio sendrecv [0 PCMU/8000, 18 G729/8000 (annexb=no)] from 203.0.113.21:1032 rtcp 203.0.113.21:1033 label 16777227
            Audio sendrecv [0 PCMU/8000, 18 G729/8000 (annexb=no)] from 203.0.113.22:1034 rtcp 203.0.113.22:1035 label 16777228
            > t=0 0
            > m=audio 20000 RTP/AVP 0 18
            > a=fmtp:18 annexb=no
            > a=recvonly
            > a=label:16777227
            > m=audio 20002 RTP/AVP 0 18
            > a=fmtp:18 annexb=no
            > a=recvonly
            > a=label:16777228
        "#]],
    );
}

#[test]
fn a_browser_escalates_with_video_and_data() {
    check(
        "v=0
         o=- 4611731400430051336 2 IN IP4 127.0.0.1
         s=-
         t=3034423619 3042462419
         a=group:BUNDLE a v d
         m=audio 54321 RTP/AVPF 111 9 126
         c=IN IP6 2001:db8::5
         a=rtcp:54321 IN IP6 2001:db8::5
         a=mid:a
         a=rtcp-mux
         a=rtpmap:111 opus/48000/2
         a=fmtp:111 minptime=10;useinbandfec=1
         a=rtpmap:126 telephone-event/8000
         m=video 54323 RTP/AVP 96
         c=IN IP6 2001:db8::5
         a=mid:v
         a=rtpmap:96 VP8/90000
         m=application 54325 UDP/DTLS/SCTP webrtc-datachannel
         c=IN IP6 2001:db8::5
         a=mid:d
         m=audio 54327 RTP/SAVP 0
         c=IN IP6 2001:db8::5
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxx",
        expect![[r#"
            - 4611731400430051336 v2 127.0.0.1
            Audio sendrecv [111 OPUS/48000/2 (minptime=10;useinbandfec=1), 9 G722/8000, 126 TELEPHONE-EVENT/8000] from [2001:db8::5]:54321 rtcp [2001:db8::5]:54321 mid a
            Video sendrecv [96 VP8/90000] from [2001:db8::5]:54323 rtcp [2001:db8::5]:54324 mid v
            Other sendrecv [] from [2001:db8::5]:54325 rtcp [2001:db8::5]:54326 mid d no rtp
            Audio sendrecv [0 PCMU/8000] from [2001:db8::5]:54327 rtcp [2001:db8::5]:54328 encrypted
            > t=3034423619 3042462419
            > m=audio 20000 RTP/AVPF 111 9 126
            > a=rtpmap:111 opus/48000/2
            > a=fmtp:111 minptime=10;useinbandfec=1
            > a=rtpmap:126 telephone-event/8000
            > a=rtcp-mux
            > a=recvonly
            > a=mid:a
            > m=video 0 RTP/AVP 96
            > a=mid:v
            > m=application 0 UDP/DTLS/SCTP webrtc-datachannel
            > a=mid:d
            > m=audio 0 RTP/SAVP 0
        "#]],
    );
}

#[test]
fn an_address_for_rtcp_and_its_own_port() {
    check(
        "v=0
         o=- 0 0 IN IP4 198.51.100.7
         s=-
         c=IN IP4 198.51.100.7
         t=0 0
         m=audio 4000 RTP/AVP 0
         a=rtcp:5000 IN IP4 198.51.100.9
         m=audio 4002 RTP/AVP 0
         a=rtcp:5002
         m=audio 4004 RTP/AVP 0
         a=rtcp-mux",
        expect![[r#"
            - 0 v0 198.51.100.7
            Audio sendrecv [0 PCMU/8000] from 198.51.100.7:4000 rtcp 198.51.100.9:5000
            Audio sendrecv [0 PCMU/8000] from 198.51.100.7:4002 rtcp 198.51.100.7:5002
            Audio sendrecv [0 PCMU/8000] from 198.51.100.7:4004 rtcp 198.51.100.7:4004
            > t=0 0
            > m=audio 20000 RTP/AVP 0
            > a=recvonly
            > m=audio 20002 RTP/AVP 0
            > a=recvonly
            > m=audio 20004 RTP/AVP 0
            > a=rtcp-mux
            > a=recvonly
        "#]],
    );
}

#[test]
fn what_is_broken_costs_itself_only() {
    check(
        "o=a user with spaces 18446744073709551616 -7 IN IP4 media.example.com
         v=0
         garbage
         c=IN IP4
         m=audio 70000 RTP/AVP 0 0 abc 300
         a=rtpmap:0
         a=rtpmap: 96 opus/0
         a=fmtp:
         a=label:
         a=ptime:20.5
         m=
         m=audio  4000/2  RTP/AVP   8   96
         c=IN IP4 198.51.100.7/127/3
         b=AS:-1
         a=rtpmap:96  iLBC / 8000
         a=rtpmap:98 AMR-WB/16000
         a = sendonly
         z=nonsense",
        expect![[r#"
            a user with spaces 0 v7 0.0.0.0
            Audio sendrecv [0 PCMU/8000] ptime 20 off
            Audio sendrecv [] off
            Audio sendonly [8 PCMA/8000, 96 ILBC/8000, 98 AMR-WB/16000] from 198.51.100.7:4000 rtcp 198.51.100.7:4001
            > t=0 0
            > m=audio 0 RTP/AVP 0 0 abc 300
            > a=label:
            > m=audio 0 RTP/AVP 0
            > m=audio 20004 RTP/AVP 8 96
            > a=rtpmap:96  iLBC / 8000
            > a=rtpmap:98 AMR-WB/16000
            > a=recvonly
        "#]],
    );
}

#[test]
fn bare_line_feeds_and_other_bytes() {
    let offer = b"v=0\no=J\xf6rg 1 1 IN IP4 198.51.100.7\ns=\xff\nc=IN IP4 198.51.100.7\nt=0 0\nm=audio 4000 RTP/AVP 0\na=label:\xe9\x00x";
    expect![[r#"
        J�rg 1 v1 198.51.100.7
        Audio sendrecv [0 PCMU/8000] from 198.51.100.7:4000 rtcp 198.51.100.7:4001 label �x
        > t=0 0
        > m=audio 20000 RTP/AVP 0
        > a=recvonly
        > a=label:�x
    "#]]
    .assert_eq(&picture(offer));
}

#[test]
fn what_is_no_sdp_is_refused() {
    assert_eq!(sdp::read(b""), Err(SdpError::NotSdp));
    assert_eq!(sdp::read(b"<?xml version=\"1.0\"?>"), Err(SdpError::NotSdp));
    assert_eq!(sdp::read(&vec![b'a'; 70_000]), Err(SdpError::TooLong(70_000)));
    let many = "m=audio 1 RTP/AVP 0\n".repeat(200);
    assert_eq!(sdp::read(many.as_bytes()), Err(SdpError::TooManyMedia));
    assert!(sdp::read(b"v=0").unwrap().media.is_empty());
}

#[test]
fn an_offer_of_ours_reads_back() {
    let opus = Codec { fmtp: Some("useinbandfec=1".to_owned()), ..Codec::new("opus", 48_000, 2) };
    let line = |port: u16, label: Option<&str>, mux| OfferLine {
        kind: MediaKind::Audio,
        rtp: SocketAddr::new("2001:db8::9".parse().unwrap(), port),
        rtcp_port: port + 3,
        codecs: vec![(0, Codec::new("PCMU", 8_000, 1)), (96, opus.clone())],
        direction: Direction::RecvOnly,
        label: label.map(str::to_owned),
        mux,
        ptime: Some(20),
        protocol: "RTP/AVP".to_owned(),
        security: media::sdp::Security::None,
        ice: None,
    };
    let lines = [line(20_000, Some("1"), false), line(20_002, None, true)];
    let text = sdp::offer(&lines, &ours());
    expect![[r#"
        v=0
        o=callspool 7 1 IN IP4 192.0.2.200
        s=-
        c=IN IP4 192.0.2.200
        t=0 0
        m=audio 20000 RTP/AVP 0 96
        c=IN IP6 2001:db8::9
        a=rtpmap:0 PCMU/8000
        a=rtpmap:96 OPUS/48000/2
        a=fmtp:96 useinbandfec=1
        a=ptime:20
        a=rtcp:20003
        a=recvonly
        a=label:1
        m=audio 20002 RTP/AVP 0 96
        c=IN IP6 2001:db8::9
        a=rtpmap:0 PCMU/8000
        a=rtpmap:96 OPUS/48000/2
        a=fmtp:96 useinbandfec=1
        a=ptime:20
        a=rtcp-mux
        a=recvonly
    "#]]
    .assert_eq(&text.replace('\r', ""));
    let read = sdp::read(text.as_bytes()).unwrap();
    assert_eq!(read.origin, ours());
    for (read, written) in read.media.iter().zip(&lines) {
        assert_eq!((read.remote_rtp(), &read.codecs), (Some(written.rtp), &written.codecs));
        assert_eq!(
            (read.direction, &read.label, read.ptime),
            (written.direction, &written.label, written.ptime)
        );
        assert_eq!(read.rtcp_mux, written.mux);
    }
}
