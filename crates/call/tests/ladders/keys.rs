//! Keys that come beside signalling, or in an answer to an offer of ours.

use call::{AskEncrypted, FrontConfig, KeysBy, Trunk, Trunks};
use expect_test::{Expect, expect};
use model::TenantId;

use crate::world::{World, config};

/// Plays lines; `give 7` gives a key.
fn check(keys: KeysBy, ask_encrypted: AskEncrypted, script: &str, expected: Expect) {
    let trunk = Trunk { keys, ask_encrypted, ..Trunk::open(TenantId::default()) };
    let trunks = Trunks::new(vec![trunk], TenantId::default());
    let mut world = World::keyed(FrontConfig { trunks, ..config(4) });
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match line.strip_prefix("give ") {
            Some(octet) => world.give(octet.parse().unwrap()),
            None => world.play(line),
        }
    }
    expected.assert_eq(&world.out);
}

#[test]
fn keys_are_told_to_what_records_and_stay_with_the_line() {
    check(
        KeysBy::Interface,
        AskEncrypted::No,
        "
        invite savp
        give 1
        opened
        opened
        give 2
        carried-out
        give 2
        reinvite inactive
        sealed
        give 3
        reinvite savp
        opened
        failing
        give 4
        opened
        reinvite sdes
        give 5
        bye
        give 6
        ",
        expect![[r#"
            > invite savp
                open 1/1 1:mixed:active:awaited
            > give 1
                given
            > opened
                change 1:mixed:active:given 1
                200 s1 20000/recvonly by RTP/SAVP ()
                annotate 0 bodies
                tell call of 1
            > opened
            > give 2
                given, not yet
                keys:given 2
            > carried-out
            > give 2
                given already, not yet
                keys:given 2
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > give 3
                ERROR the stream is in the clear, or signalling brought its keys
            > reinvite savp
                open 2/2 1:mixed:active:given 2
            > opened
                200 s1 20004/recvonly by RTP/SAVP ()
                tell call of 2
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 3/3 1:mixed:active:given 2 taking over
            > give 4
                given
            > opened
                change 1:mixed:active:given 4
                annotate 0 bodies
                tell call of 3
            > reinvite sdes
                ALARM keys-in-clear: trunk default sends the keys of encrypted media over signalling in the clear: whoever reads that can open them; have it send SIP over TLS
                change 1:mixed:active:srtp 97
            > give 5
                ERROR the stream is in the clear, or signalling brought its keys
            > bye
                end by hang-up
                tell call of 3, ended
            > give 6
                ERROR the call is over
        "#]],
    );
}

#[test]
fn keys_that_nobody_awaits_are_refused() {
    check(
        KeysBy::Signalling,
        AskEncrypted::No,
        "
        invite savp
        session 2
        invite sdes
        opened
        give 1
        ",
        expect![[r#"
            > invite savp
                ALARM not-recorded: a stream is not recorded: its client wants it encrypted and gives neither a key (SDES, a=crypto) nor a certificate (DTLS, a=fingerprint); have it send one of them, or media in the clear; if its keys are to come by the interface, say so in `keys` of its trunk
                488 s1
            > session 2
            > invite sdes
                ALARM keys-in-clear: trunk default sends the keys of encrypted media over signalling in the clear: whoever reads that can open them; have it send SIP over TLS
                open 1/1 1:mixed:active:srtp 97
            > opened
                200 s2 20000/recvonly by RTP/SAVP (4)
                tell call of 1
            > give 1
                ERROR its trunk brings keys by signalling: `keys` of the trunk says otherwise
        "#]],
    );
}

#[test]
fn a_delayed_offer_asks_for_keys_and_awaits_them() {
    check(
        KeysBy::Signalling,
        AskEncrypted::Sdes,
        "
        invite
        opened
        ack sdes
        opened
        session 2
        invite
        opened
        ack sendonly
        opened
        session 3
        invite
        opened
        ack savp
        ",
        expect![[r#"
            > invite
                ALARM keys-in-clear: trunk default sends the keys of encrypted media over signalling in the clear: whoever reads that can open them; have it send SIP over TLS
                open 1/1 -:mixed:active:awaited
            > opened
                200 s1 20000/recvonly by RTP/SAVP (1,2,3,4,5)
                tell call of 1
            > ack sdes
                change 1:mixed:active:srtp 97
            > opened
            > session 2
            > invite
                open 1/1 -:mixed:active:awaited
            > opened
                200 s2 20004/recvonly by RTP/SAVP (1,2,3,4,5)
                tell call of 1
            > ack sendonly
                change 1:mixed:active
            > opened
            > session 3
            > invite
                open 1/1 -:mixed:active:awaited
            > opened
                200 s3 20008/recvonly by RTP/SAVP (1,2,3,4,5)
                tell call of 1
            > ack savp
                ALARM not-recorded: a stream is not recorded: its client wants it encrypted and gives neither a key (SDES, a=crypto) nor a certificate (DTLS, a=fingerprint); have it send one of them, or media in the clear; if its keys are to come by the interface, say so in `keys` of its trunk
                end by hold
                tell call of 2
        "#]],
    );
}

#[test]
fn a_delayed_offer_asks_for_a_handshake_and_the_answer_says_who_begins() {
    check(
        KeysBy::Signalling,
        AskEncrypted::Dtls,
        "
        invite
        opened
        ack active
        opened
        session 2
        invite
        opened
        ack passive
        opened
        reinvite
        opened
        ",
        expect![[r#"
            > invite
                open 1/1 -:mixed:active:awaited
            > opened
                200 s1 20000/recvonly by UDP/TLS/RTP/SAVP (ActPass)
                tell call of 1
            > ack active
                change 1:mixed:active:dtls server
            > opened
            > session 2
            > invite
                open 1/1 -:mixed:active:awaited
            > opened
                200 s2 20004/recvonly by UDP/TLS/RTP/SAVP (ActPass)
                tell call of 1
            > ack passive
                change 1:mixed:active:dtls client
            > opened
            > reinvite
                change 1:mixed:active:dtls client
            > opened
                200 s2 20008/recvonly by UDP/TLS/RTP/SAVP (ActPass)
        "#]],
    );
}
