//! Conversations of several dialogs, of many kinds.

#![allow(dead_code, reason = "each test uses a part of this")]

use proptest::prelude::{Just, Strategy, prop_oneof};

/// What happens in a dialog, in this order.
pub(crate) type Dialog = Vec<String>;

/// A pair of a phone's bridge; the gateway says the same Cisco-Guid after a hold.
fn bridged(n: u64, holds: u64) -> Vec<Dialog> {
    let mut dialogs = Vec::new();
    for hold in 0..=holds {
        for end in ["near", "far"] {
            let is = format!(
                "is {end} refci={n}{hold}1 cluster=C1 device=SEP{n} dn=10{n} guid={:032x}",
                0xab_0000 + n
            );
            dialogs.push(vec![is, "invite".to_owned(), "bye".to_owned()]);
        }
    }
    dialogs
}

/// Two ends of a session, and a request of the first that names both.
pub(crate) fn told_later(n: u64) -> Vec<Dialog> {
    let (a, b) = (format!("{:032x}", 0xa0_0000 + n), format!("{:032x}", 0xb0_0000 + n));
    let first = vec![
        format!("says Session-ID: {a};remote={:032}", 0),
        "invite sendrecv".to_owned(),
        format!("says Session-ID: {a};remote={b}"),
        "info X-Other: 1".to_owned(),
        "bye".to_owned(),
    ];
    let second =
        vec![format!("says Session-ID: {b}"), "invite sendonly sendonly".to_owned(), "bye".to_owned()];
    vec![first, second]
}

/// Three recordings of one call by systems of different makers, that only one of them knows all of.
fn by_vendors(n: u64) -> Vec<Dialog> {
    let ucid = format!("{:016x}", 0x1234_5678_0000 + n);
    let works = format!("works-{:032x}", 0xcd_0000 + n);
    let says = |headers: &[String]| {
        let mut dialog: Dialog = headers.iter().map(|h| format!("says {h}")).collect();
        dialog.extend(["invite sendrecv".to_owned(), "bye".to_owned()]);
        dialog
    };
    let (ucid, works) = (format!("X-UCID: {ucid}"), format!("X-BroadWorks-Correlation-Info: {works}"));
    vec![says(std::slice::from_ref(&ucid)), says(std::slice::from_ref(&works)), says(&[ucid, works])]
}

pub(crate) fn conversation() -> impl Strategy<Value = fn(u64) -> Vec<Dialog>> {
    let one_hold: fn(u64) -> Vec<Dialog> = |n| bridged(n, 1);
    let two_holds: fn(u64) -> Vec<Dialog> = |n| bridged(n, 2);
    prop_oneof![
        Just(one_hold),
        Just(two_holds),
        Just(told_later as fn(u64) -> _),
        Just(by_vendors as fn(u64) -> _)
    ]
}
