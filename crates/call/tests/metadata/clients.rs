//! What is known of a call by the metadata of each client.

use expect_test::{Expect, expect};

use crate::client::Client;

macro_rules! document {
    ($name:literal) => {
        include_bytes!(concat!("../../../sip/tests/dialects/documents/", $name, ".xml"))
    };
}

fn check(document: &[u8], labels: [&str; 2], expect: Expect) {
    let mut client = Client::new();
    client.invite(document, labels);
    assert_eq!(client.answers, ["open", "200"]);
    expect.assert_eq(&client.picture());
}

#[test]
fn cube() {
    check(
        document!("cube"),
        ["1", "2"],
        expect![[r#"
        unknown
        4101 participant agent since 2026-03-11T08:15:30.412000Z
        +15550100200 participant external since 2026-03-11T08:15:30.412000Z
        stream 1 agent active
        stream 2 external active
        session-id = 5c1f0a9e00105000a000acbc32d5f8d1;remote=8d0f3b7200105000a0004c7766aa90e3
        siprec-session = PmA2cQZdEfGAAsUSKbq4Yw==
        siprec.start-time = 2026-03-11T08:15:30.412000Z
    "#]],
    );
}

#[test]
fn oracle() {
    check(
        document!("oracle"),
        ["16777227", "16777228"],
        expect![[r#"
        outgoing
        2065550143 caller agent since 2026-02-17T16:40:05.000000Z
        9001 called external since 2026-02-17T16:40:05.000000Z
        stream 16777227 agent active
        stream 16777228 external active
        siprec-session = q2Tk9WJbQoVRp0d3mZ1xNg==
        ucid = 0001000C699494E5
        siprec.1.callingparty = true
        siprec.1.request-uri = sip:9001@192.0.2.41:5060
        siprec.2.callingparty = false
        siprec.callerorig = true
        siprec.start-time = 2026-02-17T16:40:05.000000Z
        siprec.ucid = 00FA080001000C699494E5;encoding=hex
    "#]],
    );
}

#[test]
fn audiocodes() {
    check(
        document!("audiocodes"),
        ["1", "2"],
        expect![[r#"
        unknown
        441632960111 participant agent since 2026-05-04T10:22:41.000000Z
        6001 participant external since 2026-05-04T10:22:41.000000Z
        stream 1 external active
        stream 2 agent active
        siprec-group = 00000000-0000-0000-0000-00907a11c6d2
        siprec-session = 0000-0000-0000-0000-3f40d1c2b6a70015
        ucid = 0019001038F725B3
        siprec.avayaucid = FA080019001038F725B3
    "#]],
    );
}

#[test]
fn ribbon() {
    check(
        document!("ribbon"),
        ["1", "2"],
        expect![[r#"
        unknown
        +17325550133 participant agent since 2026-01-20T21:04:18.000000Z
        5500 participant external since 2026-01-20T21:04:18.000000Z
        stream 1 external active
        stream 2 agent active
        siprec-group = bDT8Xz1QSPKkRt2WvYq7Jw==
        siprec-session = cWm1Yz2RTQLlSu3XwZr8Kx==
        vendor-call-id = 335544_99120034@198.51.100.7
        siprec.calldata.callid = 335544_99120034@198.51.100.7
        siprec.calldata.fromhdr = <sip:+17325550133@198.51.100.7>;tag=gK08042a
        siprec.calldata.gcid = 7781204
        siprec.calldata.tohdr = <sip:5500@198.51.100.9>
        siprec.start-time = 2026-01-20T21:04:18.000000Z
    "#]],
    );
}

#[test]
fn broadworks() {
    check(
        document!("broadworks"),
        ["1", "9"],
        expect![[r#"
        incoming
        +12405550171 called agent since 2026-04-09T17:30:12.250000Z
        +13015550188 caller external
        stream 1 mixed active
        stream 9 external active
        siprec-group = urn:uuid:8d1ef8b4-0b62-46a1-9f3b-7a1a5a7e2b12
        siprec-session = urn:uuid:9e2fa9c5-1c73-47b2-8a4c-8b2b6b8f3c23
        tracking-id = 204:1
        vendor-call-id = callhalf-99141:0
        siprec.callid = callhalf-99141:0
        siprec.exttrackingid = 204:1
        siprec.groupid = branch-7
        siprec.initiator = sip:alice@as.example.net
        siprec.recordingtype = on
        siprec.serviceproviderid = northern-bank
        siprec.start-time = 2026-04-09T17:30:12.250000Z
        siprec.termcall.calledpartynumber = +12405550171
        siprec.termcall.callingpartynumber = +13015550188
        siprec.userid = alice@as.example.net
        siprec.version = 1.0
    "#]],
    );
}

#[test]
fn metaswitch() {
    check(
        document!("metaswitch"),
        ["1", "9"],
        expect![[r#"
        incoming
        2125550119 participant agent
        6465550145 participant external
        stream 1 mixed active
        stream 9 external active
        siprec-session = 5f1c2d7a90b34e0e
        siprec.callinfo.account-code = 4417
        siprec.callinfo.business-group = Harbour Legal
        siprec.callinfo.direction = inbound
        siprec.start-time = 2026-06-02T09:00:44.000000Z
    "#]],
    );
}

#[test]
fn avaya_sbce() {
    check(
        document!("avaya-sbce"),
        ["10", "20"],
        expect![[r#"
        unknown
        7001 participant agent since 2026-07-14T12:11:09.000000Z
        +4420794601 participant external since 2026-07-14T12:11:09.000000Z
        stream 10 agent active
        stream 20 external active
        session-id = 9b1fe6ad
        siprec-group = 3c62a4f0
        siprec-session = 0001003369949E5A
        ucid = 0001003369949E5A
        siprec.start-time = 2026-07-14T12:11:09.000000Z
    "#]],
    );
}

#[test]
fn avaya_sm() {
    check(
        document!("avaya-sm"),
        ["caller", "callee"],
        expect![[r#"
        unknown
        3100 participant agent
        3200 participant external
        stream caller agent active
        stream callee external active
        siprec-session = urn:uuid:1b7e4d70-2f55-4a6c-b5be-0a4f7f4b9e10
        siprec.recording-state = held
        siprec.sequence = 3
        siprec.start-time = 2026-08-21T07:45:00.500000Z
        siprec.state = hold
    "#]],
    );
}

#[test]
fn opensips() {
    check(
        document!("opensips"),
        ["1", "0"],
        expect![[r#"
        unknown
        sip:bob&jane@pbx.example?x=<1> participant agent since 2026-09-30T18:02:51.000000Z
        1002 participant external since 2026-09-30T18:02:51.000000Z
        stream 1 agent active
        stream 0 external active
        session-id = kx81-2f0e@203.0.113.5
        siprec-session = Ux0pRQAiT5mYb7x2NQh1jA==
    "#]],
    );
}

#[test]
fn freeswitch() {
    check(
        document!("freeswitch"),
        ["1", "9"],
        expect![[r#"
        unknown
        1000 participant agent
        +390655501 participant external
        stream 1 mixed active
        stream 9 external active
        siprec-session = 2f0b6a4e-7f1d-4c5b-9c59-0d1fbb6a8a11
        siprec.start-time = 2026-10-05T06:31:00.000000Z
    "#]],
    );
}

#[test]
fn sems() {
    check(
        document!("sems"),
        ["a_leg", "b_leg"],
        expect![[r#"
        unknown
        sip:alice@sems.example participant agent since 2026-11-12T23:59:59.000000Z
        sip:bob@sems.example participant external since 2026-11-12T23:59:59.000000Z
        stream a_leg agent active
        stream b_leg external active
        session-id = ltag-71f3
        siprec-session = 6E1A44D0-66B1A0F3000C2E55-F3A9B700
        siprec.start-time = 2026-11-12T23:59:59.000000Z
    "#]],
    );
}

#[test]
fn netsapiens() {
    check(
        document!("netsapiens"),
        ["1", "2"],
        expect![[r#"
        unknown
        1201 participant agent
        stream 1 external active
        stream 2 agent active
        siprec-session = 20261002100501000412
        siprec.group = support
        siprec.queue = sales
        siprec.skill = 7
        siprec.version = 1.1
    "#]],
    );
}

/// Labels that are missing on the wire are no loss: the order of the metadata's streams tells.
#[test]
fn labels_that_are_missing() {
    check(
        document!("audiocodes"),
        ["", ""],
        expect![[r#"
        unknown
        441632960111 participant agent since 2026-05-04T10:22:41.000000Z
        6001 participant external since 2026-05-04T10:22:41.000000Z
        stream - external active
        stream - agent active
        siprec-group = 00000000-0000-0000-0000-00907a11c6d2
        siprec-session = 0000-0000-0000-0000-3f40d1c2b6a70015
        ucid = 0019001038F725B3
        siprec.avayaucid = FA080019001038F725B3
    "#]],
    );
}

/// Who is asserted beside a recording session is whom it is for; From and To may be those of the call.
#[test]
fn headers_that_tell_who_is_who() {
    let mut client = Client::new();
    client.from = "sip:4101@client.example".into();
    client.to = "sip:+15550100200@client.example".into();
    client.asserted = Some("sip:+15550100200@client.example".into());
    client.invite(document!("cube"), ["1", "2"]);
    expect![[r#"
        incoming
        4101 caller external since 2026-03-11T08:15:30.412000Z
        +15550100200 called agent since 2026-03-11T08:15:30.412000Z
        stream 1 external active
        stream 2 agent active
        session-id = 5c1f0a9e00105000a000acbc32d5f8d1;remote=8d0f3b7200105000a0004c7766aa90e3
        siprec-session = PmA2cQZdEfGAAsUSKbq4Yw==
        siprec.start-time = 2026-03-11T08:15:30.412000Z
    "#]]
    .assert_eq(&client.picture());
}

/// Without metadata, or with such as cannot be read, the session is for whom it comes from.
#[test]
fn nothing_to_read() {
    let mut client = Client::new();
    client.from = "sip:4101@client.example".into();
    client.headers.push(("User-to-User".into(), "00FA080001003301C8F5A2;encoding=hex".into()));
    client.invite(b"no metadata", ["1", "2"]);
    expect![[r#"
        unknown
        4101 participant unknown
        stream 1 agent active
        stream 2 external active
        ucid = 0001003301C8F5A2
        user-to-user = 00FA080001003301C8F5A2;encoding=hex
    "#]]
    .assert_eq(&client.picture());
    assert_eq!(client.data.extra["recordpref"], "on");
    assert_eq!(
        client.kept[0].problem.as_deref(),
        Some("no recording metadata: neither session nor participant nor stream")
    );
}
