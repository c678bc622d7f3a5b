//! A document of each client, as it sends them.

use expect_test::{Expect, expect};
use sip::siprec::read;

use crate::picture::picture;

fn check(document: &str, expect: Expect) {
    expect.assert_eq(&picture(&read(document.as_bytes()).unwrap()));
}

/// Participants and streams interleaved, no names; the first participant is the anchor leg.
#[test]
fn cube() {
    check(
        include_str!("documents/cube.xml"),
        expect![[r#"
        complete
        session PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z
          known to SIP as 5c1f0a9e00105000a000acbc32d5f8d1;remote=8d0f3b7200105000a0004c7766aa90e3
        participant PmA2cQZdEfGAA8USKbq4Yw==
          sip:4101@10.20.30.1
        participant PmA2cQZdEfGABMUSKbq4Yw==
          sip:+15550100200@10.20.30.2
        stream PmDwGwZdEfGACMUSKbq4Yw== label 1
        stream PmDwGwZdEfGACcUSKbq4Yw== label 2
        PmA2cQZdEfGAA8USKbq4Yw== in PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z
        PmA2cQZdEfGABMUSKbq4Yw== in PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z
        PmA2cQZdEfGAA8USKbq4Yw== sends ["PmDwGwZdEfGACMUSKbq4Yw=="] hears ["PmDwGwZdEfGACcUSKbq4Yw=="]
        PmA2cQZdEfGABMUSKbq4Yw== sends ["PmDwGwZdEfGACcUSKbq4Yw=="] hears ["PmDwGwZdEfGACMUSKbq4Yw=="]
    "#]],
    );
}

/// What comes with the BYE: the end of everything.
#[test]
fn cube_bye() {
    check(
        include_str!("documents/cube-bye.xml"),
        expect![[r#"
        complete
        session PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z until 2026-03-11T08:19:02.088000Z
        participant PmA2cQZdEfGAA8USKbq4Yw==
          sip:4101@10.20.30.1
        participant PmA2cQZdEfGABMUSKbq4Yw==
          sip:+15550100200@10.20.30.2
        PmA2cQZdEfGAA8USKbq4Yw== in PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z until 2026-03-11T08:19:02.088000Z
        PmA2cQZdEfGABMUSKbq4Yw== in PmA2cQZdEfGAAsUSKbq4Yw== from 2026-03-11T08:15:30.412000Z until 2026-03-11T08:19:02.088000Z
    "#]],
    );
}

/// The namespace and the forms of the drafts, times without zone, extension data.
#[test]
fn oracle() {
    check(
        include_str!("documents/oracle.xml"),
        expect![[r#"
        complete
        session q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        participant a9JrX2VhTf5KqLw8bYc1Dg==
          sip:2065550143@192.0.2.40 called Front Desk
          callingparty = true
          request-uri = sip:9001@192.0.2.41:5060
        participant Ho4bR8wLTlqXc6y0JdT2Vw==
          sip:9001@192.0.2.41 called 9001
          callingparty = false
        stream Zk7uY0sQRbZ2fE1nVq8mHw== label 16777227 separate
        stream Lr5dG3tNS1mWk9PzQa0xBg== label 16777228 separate
        a9JrX2VhTf5KqLw8bYc1Dg== in q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        Ho4bR8wLTlqXc6y0JdT2Vw== in q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        a9JrX2VhTf5KqLw8bYc1Dg== sends ["Zk7uY0sQRbZ2fE1nVq8mHw=="] hears []
        Ho4bR8wLTlqXc6y0JdT2Vw== sends ["Lr5dG3tNS1mWk9PzQa0xBg=="] hears []
        ucid = 00FA080001000C699494E5;encoding=hex
        callerorig = true
    "#]],
    );
}

/// An end that is missing, one that is misspelled, text as it is, and no end of all.
#[test]
fn oracle_damaged() {
    check(
        include_str!("documents/oracle-damaged.xml"),
        expect![[r#"
        complete damaged
        session q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        participant a9JrX2VhTf5KqLw8bYc1Dg==
          sip:2065550143@192.0.2.40 called Front "Desk" & Co
          callingparty = true
          request-uri = sip:9001@192.0.2.41:5060
        participant Ho4bR8wLTlqXc6y0JdT2Vw==
          sip:9001@192.0.2.41 called 9001
          callingparty = false
        stream Zk7uY0sQRbZ2fE1nVq8mHw== label 16777227 separate
        stream Lr5dG3tNS1mWk9PzQa0xBg== label 16777228 separate
        a9JrX2VhTf5KqLw8bYc1Dg== in q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        Ho4bR8wLTlqXc6y0JdT2Vw== in q2Tk9WJbQoVRp0d3mZ1xNg== from 2026-02-17T16:40:05.000000Z
        a9JrX2VhTf5KqLw8bYc1Dg== sends ["Zk7uY0sQRbZ2fE1nVq8mHw=="] hears []
        Ho4bR8wLTlqXc6y0JdT2Vw== sends ["Lr5dG3tNS1mWk9PzQa0xBg=="] hears []
        ucid = 00FA080001000C699494E5;encoding=hex
        callerorig = true
    "#]],
    );
}

/// Ids that are numbers, addresses without scheme, labels crossed.
#[test]
fn audiocodes() {
    check(
        include_str!("documents/audiocodes.xml"),
        expect![[r#"
        complete
        group 00000000-0000-0000-0000-00907a11c6d2 from 2026-05-04T10:22:41.000000Z
        session 0000-0000-0000-0000-3f40d1c2b6a70015 of group 00000000-0000-0000-0000-00907a11c6d2
        participant 441632960111
          441632960111@10.33.8.52
        participant 6001
          6001@10.33.8.70
        stream 00000000-0000-0000-0000-d13a3f2bd8a1 label 1
        stream 00000000-0000-0000-0000-1dd36b27ec80 label 2
        441632960111 in 0000-0000-0000-0000-3f40d1c2b6a70015 from 2026-05-04T10:22:41.000000Z
        6001 in 0000-0000-0000-0000-3f40d1c2b6a70015 from 2026-05-04T10:22:41.000000Z
        441632960111 sends ["00000000-0000-0000-0000-1dd36b27ec80"] hears ["00000000-0000-0000-0000-d13a3f2bd8a1"]
        6001 sends ["00000000-0000-0000-0000-d13a3f2bd8a1"] hears ["00000000-0000-0000-0000-1dd36b27ec80"]
        avayaucid = FA080019001038F725B3
    "#]],
    );
}

/// A prefix on everything, call data in the group.
#[test]
fn ribbon() {
    check(
        include_str!("documents/ribbon.xml"),
        expect![[r#"
        complete
        group bDT8Xz1QSPKkRt2WvYq7Jw== from 2026-01-20T21:04:18.000000Z
        session cWm1Yz2RTQLlSu3XwZr8Kx== of group bDT8Xz1QSPKkRt2WvYq7Jw== from 2026-01-20T21:04:18.000000Z
        participant dXn2Za3SURMmTv4YxAs9Ly==
          sip:+17325550133@198.51.100.7 called CUSTOMER
        participant eYo3Ab4TVSNnUw5ZyBt0Mz==
          sip:5500@198.51.100.9
        stream fZp4Bc5UWTOoVx6AzCu1Na== label 1
        stream gAq5Cd6VXUPpWy7BaDv2Ob== label 2
        session cWm1Yz2RTQLlSu3XwZr8Kx== recorded from 2026-01-20T21:04:18.000000Z
        dXn2Za3SURMmTv4YxAs9Ly== in cWm1Yz2RTQLlSu3XwZr8Kx== from 2026-01-20T21:04:18.000000Z
        eYo3Ab4TVSNnUw5ZyBt0Mz== in cWm1Yz2RTQLlSu3XwZr8Kx== from 2026-01-20T21:04:18.000000Z
        dXn2Za3SURMmTv4YxAs9Ly== sends ["gAq5Cd6VXUPpWy7BaDv2Ob=="] hears ["fZp4Bc5UWTOoVx6AzCu1Na=="]
        eYo3Ab4TVSNnUw5ZyBt0Mz== sends ["fZp4Bc5UWTOoVx6AzCu1Na=="] hears ["gAq5Cd6VXUPpWy7BaDv2Ob=="]
        calldata.fromhdr = <sip:+17325550133@198.51.100.7>;tag=gK08042a
        calldata.tohdr = <sip:5500@198.51.100.9>
        calldata.callid = 335544_99120034@198.51.100.7
        calldata.gcid = 7781204
    "#]],
    );
}

/// Another root, the forms of the first drafts, an extension of its own, one mixed stream.
#[test]
fn broadworks() {
    check(
        include_str!("documents/broadworks.xml"),
        expect![[r#"
        complete
        group urn:uuid:8d1ef8b4-0b62-46a1-9f3b-7a1a5a7e2b12
        session urn:uuid:9e2fa9c5-1c73-47b2-8a4c-8b2b6b8f3c23 of group urn:uuid:8d1ef8b4-0b62-46a1-9f3b-7a1a5a7e2b12 from 2026-04-09T17:30:12.250000Z
        participant urn:uuid:af30bad6-2d84-48c3-9b5d-9c3c7c9a4d34
          sip:+12405550171@as.example.net;user=phone called Alice Moore
        participant urn:uuid:b041cbe7-3e95-49d4-ac6e-ad4d8dab5e45
          tel:+13015550188
        stream urn:uuid:c152dcf8-4fa6-4ae5-8d7f-be5e9ebc6f56 label 1 mixed
        urn:uuid:af30bad6-2d84-48c3-9b5d-9c3c7c9a4d34 in urn:uuid:9e2fa9c5-1c73-47b2-8a4c-8b2b6b8f3c23 from 2026-04-09T17:30:12.250000Z
        urn:uuid:b041cbe7-3e95-49d4-ac6e-ad4d8dab5e45 in urn:uuid:9e2fa9c5-1c73-47b2-8a4c-8b2b6b8f3c23
        urn:uuid:af30bad6-2d84-48c3-9b5d-9c3c7c9a4d34 sends ["urn:uuid:c152dcf8-4fa6-4ae5-8d7f-be5e9ebc6f56"] hears []
        urn:uuid:b041cbe7-3e95-49d4-ac6e-ad4d8dab5e45 sends ["urn:uuid:c152dcf8-4fa6-4ae5-8d7f-be5e9ebc6f56"] hears []
        initiator = sip:alice@as.example.net
        version = 1.0
        exttrackingid = 204:1
        serviceproviderid = northern-bank
        groupid = branch-7
        userid = alice@as.example.net
        callid = callhalf-99141:0
        termcall.callingpartynumber = +13015550188
        termcall.calledpartynumber = +12405550171
        recordingtype = on
    "#]],
    );
}

/// The namespace of the drafts, an extension of its own, one stream for all.
#[test]
fn metaswitch() {
    check(
        include_str!("documents/metaswitch.xml"),
        expect![[r#"
        complete
        session 5f1c2d7a90b34e0e from 2026-06-02T09:00:44.000000Z
        participant p-1
          sip:2125550119@mas.example.net called Harbour Reception
        participant p-2
          sip:6465550145@mas.example.net
        stream s-1 label 1
        p-1 in 5f1c2d7a90b34e0e
        p-2 in 5f1c2d7a90b34e0e
        p-1 sends ["s-1"] hears []
        p-2 sends ["s-1"] hears []
        callinfo.direction = inbound
        callinfo.business-group = Harbour Legal
        callinfo.account-code = 4417
    "#]],
    );
}

/// The UCID for an id, zones without colon, a participant who is nobody, a stream without id.
#[test]
fn avaya_sbce() {
    check(
        include_str!("documents/avaya-sbce.xml"),
        expect![[r#"
        complete
        group 3c62a4f0 from 2026-07-14T12:11:09.000000Z
        session 0001003369949E5A of group 3c62a4f0 from 2026-07-14T12:11:09.000000Z
          known to SIP as 9b1fe6ad
        participant a41f
          sip:7001@aura.example called Seven One
        participant a420
          sip:+4420794601@aura.example
        participant 0000
        stream b7 label 10
        stream  label 20
        a41f in 0001003369949E5A from 2026-07-14T12:11:09.000000Z
        a420 in 0001003369949E5A from 2026-07-14T12:11:09.000000Z
        a41f sends ["b7"] hears [""]
        a420 sends [""] hears ["b7"]
    "#]],
    );
}

/// States as attributes, ids in several forms, a mixed stream beside those of both sides.
#[test]
fn avaya_sm() {
    check(
        include_str!("documents/avaya-sm.xml"),
        expect![[r#"
        complete held
        session urn:uuid:1b7e4d70-2f55-4a6c-b5be-0a4f7f4b9e10 from 2026-08-21T07:45:00.500000Z
        participant caller
          sip:3100@sm.example called Caller
        participant callee
          sip:3200@sm.example called Callee
        stream 1 label caller
        stream 2 label callee
        stream 3 label mixed
        caller sends ["1", "3"] hears []
        callee sends ["2", "3"] hears []
        state = active
        sequence = 3
        state = hold
    "#]],
    );
}

/// Names and addresses as they are, labels from 1 down.
#[test]
fn opensips() {
    check(
        include_str!("documents/opensips.xml"),
        expect![[r#"
        complete
        session Ux0pRQAiT5mYb7x2NQh1jA==
          known to SIP as kx81-2f0e@203.0.113.5
        participant Wz2qSRBjU6nZc8y3ORi2kB==
          sip:bob&jane@pbx.example?x=<1> called Bob & "Jane" <bob@pbx.example>
        participant Xa3rTSCkV7oAd9z4PSj3lC==
          sip:1002@pbx.example
        stream Yb4sUTDlW8pBe0A5QTk4mD== label 1
        stream Zc5tVUEmX9qCf1B6RUl5nE== label 0
        session Ux0pRQAiT5mYb7x2NQh1jA== recorded from 2026-09-30T18:02:51.000000Z
        Wz2qSRBjU6nZc8y3ORi2kB== in Ux0pRQAiT5mYb7x2NQh1jA== from 2026-09-30T18:02:51.000000Z
        Xa3rTSCkV7oAd9z4PSj3lC== in Ux0pRQAiT5mYb7x2NQh1jA== from 2026-09-30T18:02:51.000000Z
        Wz2qSRBjU6nZc8y3ORi2kB== sends ["Yb4sUTDlW8pBe0A5QTk4mD=="] hears ["Zc5tVUEmX9qCf1B6RUl5nE=="]
        Xa3rTSCkV7oAd9z4PSj3lC== sends ["Zc5tVUEmX9qCf1B6RUl5nE=="] hears ["Yb4sUTDlW8pBe0A5QTk4mD=="]
    "#]],
    );
}

/// One stream that both send.
#[test]
fn freeswitch() {
    check(
        include_str!("documents/freeswitch.xml"),
        expect![[r#"
        complete
        session 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a11 from 2026-10-05T06:31:00.000000Z
        participant 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a12
          sip:1000@fs.example called Extension 1000
        participant 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a13
          sip:+390655501@fs.example
        stream 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a14 label 1
        2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a12 in 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a11
        2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a13 in 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a11
        2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a12 sends ["2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a14"] hears []
        2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a13 sends ["2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a14"] hears []
    "#]],
    );
}

/// Labels that are words.
#[test]
fn sems() {
    check(
        include_str!("documents/sems.xml"),
        expect![[r#"
        complete
        session 6E1A44D0-66B1A0F3000C2E55-F3A9B700 from 2026-11-12T23:59:59.000000Z
          known to SIP as ltag-71f3
        participant p-a
          sip:alice@sems.example called alice
        participant p-b
          sip:bob@sems.example called bob
        stream s-a label a_leg
        stream s-b label b_leg
        session 6E1A44D0-66B1A0F3000C2E55-F3A9B700 recorded from 2026-11-12T23:59:59.000000Z
        p-a in 6E1A44D0-66B1A0F3000C2E55-F3A9B700 from 2026-11-12T23:59:59.000000Z
        p-b in 6E1A44D0-66B1A0F3000C2E55-F3A9B700 from 2026-11-12T23:59:59.000000Z
        p-a sends ["s-a"] hears ["s-b"]
        p-b sends ["s-b"] hears ["s-a"]
    "#]],
    );
}

/// An association that names its stream as attribute, key-values as parameters.
#[test]
fn netsapiens() {
    check(
        include_str!("documents/netsapiens.xml"),
        expect![[r#"
        partial
        session 20261002100501000412
        participant 41ac77
          sip:1201@tenant.example called Rey
        stream Lk2 label 2
        41ac77 in 20261002100501000412
        41ac77 sends ["Lk2"] hears []
        version = 1.1
        group = support
        queue = sales
        skill = 7
    "#]],
    );
}
