//! What a hostile network sends: SIP as RFC 4475 tortures it and as accidents leave it, RTP and RTCP that nobody
//! asked for, and plain garbage. All of it from a seed.

use super::Random;

/// Requests other than INVITE, and responses: tortuous but complete. `$here`, `$there` and `$n` are filled in.
const OTHERS: &[&str] = &[
    // RFC 4475 3.1.1.1: folded headers, odd white space, compact names, unknown headers
    "OPTIONS sip:vivekg@$there;unknownparam SIP/2.0\nTO :\n sip:vivekg@$there ;   tag    = 1918181833n\n\
     from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd$n\nMaX-fOrWaRdS: 0068\n\
     Call-ID: wsinv.$n@192.0.2.1\nContent-Length   : 0\ncseq: 0009\n  OPTIONS\n\
     Via  : SIP  /   2.0\n /UDP\n    $here;branch=z9hG4bK$n\ns :\nNewFangledHeader:   newfangled value\n continued newfangled value\n\
     UnknownHeaderWithUnusualValue: ;;,,;;,;\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
     v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8$n  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
     m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\n",
    // 3.1.1.2: every character that a token may have
    "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@$there SIP/2.0\n\
     Via: SIP/2.0/UDP $here;branch=z9hG4bK-.!%66*_+`'~$n\nTo: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <sip:1_unusual.URI@$there>\n\
     From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\";tag=_token~1'+`*%!-.$n\n\
     Call-ID: intmeth.$n%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\n\
     extensionHeader-!.%*+_`'~:\u{feff}\u{5927}\u{505c}\u{96fb}\nContent-Length: 0\n\n",
    // 3.1.1.4: escaped nulls
    "REGISTER sip:$there SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=8399$n\nMax-Forwards: 70\n\
     Call-ID: escnull.$n\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP $here;branch=z9hG4bKk$n\nContact: <sip:%00@host5.example.com>\n\
     Contact: <sip:%00%00@host5.example.com>\nL:0\n\n",
    // 3.1.1.11: a body whose type says nothing, multipart without end
    "MESSAGE sip:kumiko@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK.$n\nMax-Forwards: 70\nFrom: <sip:fluffy@example.com>;tag=$n\n\
     To: <sip:kumiko@example.org>\nCall-ID: mpart01.$n@example.com\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\n\
     Content-Length: 96\n\n--7a9cbec02ceef655\nContent-Type: text/plain\nContent-Transfer-Encoding: binary\n\nHello\n--7a9cbec02ceef65",
    // 3.1.2.3: a negative Content-Length
    "OPTIONS sip:user@$there SIP/2.0\nMax-Forwards: 254\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=$n\nCall-ID: ncl.$n\n\
     CSeq: 8 OPTIONS\nVia: SIP/2.0/UDP $here;branch=z9hG4bKkdj$n\nContent-Type: application/sdp\nContent-Length: -999\n\n",
    // 3.1.2.4: numbers beyond every range
    "OPTIONS sip:example.com SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK342$n\nTo: <sip:user@example.com>\nFrom: <sip:user@example.com>;tag=239232$n\n\
     Max-Forwards: 300\nCall-ID: scalar02.$n\nCSeq: 36893488147419103232 OPTIONS\nContact: <sip:user@host129.example.com>;expires=280297596632815\n\
     Expires: 10000000000000000000000000000000000000\nContent-Length: 0\n\n",
    // 3.1.2.7: an angle that never closes, 3.1.2.9: line ends in the wrong place
    "OPTIONS <sip:user@$there> SIP/2.0\r\rTo: \"Mr J. User <sip:j.user@example.com>\nFrom: sip:caller@example.net;tag=93942$n\nMax-Forwards: 10\n\
     Call-ID: baduri.$n\nCSeq: 8 OPTIONS\nVia: SIP/2.0/UDP $here;branch=z9hG4bKkd$n\nl: 0\n\n",
    // 3.1.2.18: a version from the future
    "OPTIONS sip:t.watson@example.org SIP/7.0\nVia:     SIP/7.0/UDP $here;branch=z9hG4bKkdjuw$n\nMax-Forwards: 70\nFrom: A. Bell <sip:a.g.bell@example.com>;tag=qweoiqpe$n\n\
     To: T. Watson <sip:t.watson@example.org>\nCall-ID: badvers.$n\nCSeq: 1 OPTIONS\nl: 0\n\n",
    // 3.3.1: headers missing
    "OPTIONS sip:user@$there SIP/2.0\nCSeq: 193942 OPTIONS\nVia: SIP/2.0/UDP $here;branch=z9hG4bKkd$n\nContent-Length: 0\n\n",
    // 3.3.8: single headers many times over
    "BYE sip:user@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nFrom: <sip:a@b>;tag=1\nFrom: <sip:c@d>;tag=2\nTo: <sip:x@y>;tag=3\nTo: <sip:x@y>;tag=4\n\
     Call-ID: multi01.$n\nCall-ID: other.$n\nCSeq: 5 BYE\nCSeq: 59 INVITE\nMax-Forwards: 70\nMax-Forwards: 5\nContent-Length: 0\nContent-Length: 77\n\n",
    // 3.3.12, 3.3.13: responses to nothing, with a status that is none
    "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nCall-ID: bigcode.$n\nCSeq: 35 INVITE\nFrom: <sip:user@example.com>;tag=11141343\nTo: <sip:user@example.edu>;tag=2229\nContent-Length: 0\n\n",
    "SIP/2.0 4294967301 better not break the receiver\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nCall-ID: bigcode.$n\nCSeq: 353494 INVITE\nFrom: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0\n\n",
    // A dialog and a transaction that are not there
    "UPDATE sip:rec@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nMax-Forwards: 70\nFrom: <sip:a@b>;tag=$n\nTo: <sip:x@y>;tag=nothing\nCall-ID: gone.$n\nCSeq: 2 UPDATE\nContact: <sip:a@$here>\nContent-Length: 0\n\n",
    "CANCEL sip:rec@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nMax-Forwards: 70\nFrom: <sip:a@b>;tag=$n\nTo: <sip:x@y>\nCall-ID: gone.$n\nCSeq: 2 CANCEL\nContent-Length: 0\n\n",
    "ACK sip:rec@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nMax-Forwards: 70\nFrom: <sip:a@b>;tag=$n\nTo: <sip:x@y>;tag=q\nCall-ID: gone.$n\nCSeq: 1 ACK\nContent-Length: 0\n\n",
    "INFO sip:rec@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n\nMax-Forwards: 70\nFrom: <sip:a@b>;tag=$n\nTo: <sip:x@y>;tag=q\nCall-ID: gone.$n\nCSeq: 1 INFO\nContent-Type: application/rs-metadata+xml\nContent-Length: 67\n\n<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY a \"aaaaaaaaaaaa\">]><r>&a;",
];

/// An INVITE with two bodies. Few of these are sent: one that is understood is a call like any other.
const INVITE: &str = "INVITE sip:rec@$there SIP/2.0\nVia: SIP/2.0/UDP $here;branch=z9hG4bK$n;rport\nMax-Forwards: 70\nFrom: <sip:src@$here>;tag=$n\n\
     To: <sip:rec@$there>\nCall-ID: noise.$n\nCSeq: 1 INVITE\nContact: <sip:src@$here>;+sip.src\nRequire: siprec\n\
     Content-Type: multipart/mixed;boundary=b\nContent-Length: 415\n\n--b\nContent-Type: application/sdp\n\nv=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\n\
     c=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0 96\na=rtpmap:96 opus/48000/2\na=label:1\na=sendonly\nm=audio 9 RTP/AVP 8\na=label:2\na=sendonly\n\
     --b\nContent-Type: application/rs-metadata+xml\nContent-Disposition: recording-session\n\n<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>complete</datamode></recording>\n--b--\n";

/// One in so many messages is an INVITE.
const INVITE_IN: usize = 60;

/// Stretches that parsers stumble over.
const STUMBLES: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b";",
    b"%",
    b"%00",
    b"\"",
    b"<",
    b">",
    b"=",
    b",,,,",
    b"\xff\xfe",
    b"\xc0\x80",
    b"@@",
    b"[::",
    b"tag=",
    b"branch=",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 4294967296\r\n",
    b"--b\r\n",
    b"Via: ",
    b"SIP/2.0",
    b"\t \r\n ",
];

/// A message to `there` from `here`: as it is written above, or spoiled.
pub fn message(random: &mut Random, here: &str, there: &str) -> Vec<u8> {
    let base = if random.below(INVITE_IN) == 0 { INVITE } else { *random.one_of(OTHERS) };
    let unique = random.next().to_string();
    let text =
        base.replace('\n', "\r\n").replace("$here", here).replace("$there", there).replace("$n", &unique);
    let mut bytes = text.into_bytes();
    if random.below(4) > 0 {
        let times = 1 + random.below(6);
        (0..times).for_each(|_| mutate(random, &mut bytes));
    }
    bytes
}

/// Spoils bytes in one place.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let until = at + random.below(bytes.len() - at).min(200);
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.octet(),
        2 => drop(bytes.drain(at..until)),
        3 => {
            let again = bytes[at..until].to_vec();
            bytes.splice(at..at, again);
        }
        4 => bytes.truncate(at.max(1)),
        5 | 6 => {
            let what = random.one_of(STUMBLES);
            bytes.splice(at..at, what.iter().copied());
        }
        _ => {
            let count = random.below(3_000);
            bytes.splice(at..at, std::iter::repeat_n(b'A', count));
        }
    }
}

/// Bytes without any sense.
pub fn garbage(random: &mut Random) -> Vec<u8> {
    let count = random.below(1_400);
    random.bytes(count)
}

/// A datagram for an RTP port that is not RTCP: RTP of a stranger, the same spoiled, or garbage.
pub fn rtp(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(3) {
        0 => garbage(random),
        _ => {
            let mut bytes = vec![0x80, *random.one_of(&[0, 0, 8, 101, 13, 0x80])];
            bytes.extend(random.bytes(10 + 160));
            bytes
        }
    };
    if random.below(2) == 0 {
        let times = 1 + random.below(3);
        (0..times).for_each(|_| mutate(random, &mut bytes));
    }
    bytes.truncate(1_400);
    // RFC 5761: what looks like RTCP is taken as such, and counted elsewhere.
    if let Some(kind) = bytes.get_mut(1)
        && (192..=223).contains(kind)
    {
        *kind = 0;
    }
    bytes
}

/// A datagram for an RTCP port: reports, goodbyes and descriptions of a stranger, spoiled or not.
pub fn rtcp(random: &mut Random) -> Vec<u8> {
    let kind = *random.one_of(&[200_u8, 201, 202, 203, 204, 205]);
    let words = random.octet() % 12;
    let mut bytes = vec![0x80 | (random.octet() & 0x1f), kind, 0, words];
    bytes.extend(random.bytes(usize::from(words) * 4));
    if random.below(2) == 0 {
        mutate(random, &mut bytes);
    }
    bytes.truncate(1_400);
    bytes
}
