//! What a client says: its descriptions, its requests, what a bridge says of itself.

use bytes::Bytes;
use sip::{AddressView, Flow, FlowId, Part, RequestInfo, Transport};

/// `sendonly sendonly`, `inactive`, `image`, `text`, `video`, `-` for port 0; `bare` for a payload type that nothing
/// explains, `same` for a label that others have too; nothing for no body; `junk` for what is no SDP.
pub(super) fn sdp_part(lines: &str) -> Part {
    let mut sdp = "v=0\r\no=src 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n".to_owned();
    for (i, line) in lines.split_whitespace().enumerate() {
        let label = i + 1;
        let port = if line == "-" { 0 } else { 5_000 + 2 * i };
        match line {
            "image" => sdp.push_str("m=image 6000 udptl t38\r\n"),
            "text" => sdp.push_str("m=text 6000 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n"),
            "video" => sdp.push_str(&format!(
                "m=video {port} RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=sendonly\r\na=label:{label}\r\n"
            )),
            "bare" => {
                sdp.push_str(&format!("m=audio {port} RTP/AVP 111\r\na=sendonly\r\na=label:{label}\r\n"));
            }
            "same" => sdp.push_str(&format!("m=audio {port} RTP/AVP 0\r\na=sendonly\r\na=label:same\r\n")),
            "savp" => {
                sdp.push_str(&format!("m=audio {port} RTP/SAVP 0\r\na=sendonly\r\na=label:{label}\r\n"));
            }
            // A key of 30 octets `a`, for the fourth cipher that we offer.
            "sdes" => sdp.push_str(&format!(
                "m=audio {port} RTP/SAVP 0\r\na=sendonly\r\na=label:{label}\r\n\
                 a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n",
                "YWFh".repeat(10)
            )),
            "active" | "passive" => sdp.push_str(&format!(
                "m=audio {port} UDP/TLS/RTP/SAVP 0\r\na=sendonly\r\na=label:{label}\r\na=setup:{line}\r\n\
                 a=fingerprint:sha-256 {}\r\n",
                vec!["AB"; 32].join(":")
            )),
            "-" => sdp.push_str(&format!("m=audio {port} RTP/AVP 0\r\n")),
            direction => sdp.push_str(&format!(
                "m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\na=label:{label}\r\n"
            )),
        }
    }
    let bytes = if lines == "junk" { Bytes::from_static(b"junk") } else { Bytes::from(sdp) };
    Part { content_type: "application/sdp".into(), disposition: None, headers: vec![], bytes }
}

pub(super) fn request(method: &str, lines: &str) -> RequestInfo {
    let address = |user: &str| AddressView {
        display: None,
        uri: format!("sip:{user}@pbx.example"),
        user: Some(user.into()),
        host: "pbx.example".into(),
        params: vec![],
        uri_params: vec![],
    };
    RequestInfo {
        method: method.into(),
        uri: "sip:rec@192.0.2.1".into(),
        uri_user: Some("rec".into()),
        from: address("1001"),
        to: address("2002"),
        contact: None,
        asserted: vec![],
        call_id: "a@b".into(),
        headers: vec![],
        require: vec![],
        supported: vec![],
        reasons: vec![],
        parts: if lines.is_empty() { vec![] } else { vec![sdp_part(lines)] },
        flow: Flow {
            id: FlowId(1),
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:5060".parse().unwrap(),
        },
        peer_names: std::sync::Arc::default(),
        pass: None,
        siprec: false,
    }
}

/// `near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301 guid=…` as a phone's bridge says it.
pub(super) fn bridge(words: &str) -> Vec<(String, Option<String>)> {
    let named = |word: &str| match word.split_once('=') {
        None => (format!("x-{word}end"), None),
        Some((key, value)) => {
            let name = match key {
                "refci" => "x-refci",
                "cluster" => "x-nearendclusterid",
                "device" => "x-nearenddevice",
                "dn" => "x-nearendaddr",
                "far" => "x-farendrefci",
                "other" => "x-farendaddr",
                "guid" => "x-farendguid",
                other => panic!("no such parameter: {other}"),
            };
            (name.to_owned(), Some(value.to_owned()))
        }
    };
    words.split_whitespace().map(named).collect()
}
