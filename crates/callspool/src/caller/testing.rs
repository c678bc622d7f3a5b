//! What tests of the caller share.

use std::time::Duration;

use sip::Transport;

use super::plan::{CallPlan, Impairments, Law, Target, VoiceSource};
use crate::net::TlsFiles;

/// A call of half a second to nobody, plain with one stream or SIPREC with two.
pub(super) fn plan(siprec: bool) -> CallPlan {
    let remote = ([127, 0, 0, 1], 5060).into();
    CallPlan {
        login: None,
        target: Target {
            uri: "sip:rec@127.0.0.1".into(),
            transport: Transport::Udp,
            remote,
            host: "127.0.0.1".into(),
        },
        tls: TlsFiles::default(),
        from_uri: "sip:1001@example.com".into(),
        display: None,
        local: remote.ip(),
        siprec,
        delayed_offer: false,
        voices: if siprec {
            vec![VoiceSource::Tone(440.0), VoiceSource::Speech(1)]
        } else {
            vec![VoiceSource::Tone(440.0)]
        },
        law: Law::Pcmu,
        ptime_ms: 20,
        encryption: None,
        duration: Some(Duration::from_millis(500)),
        holds: Vec::new(),
        vanish: false,
        impairments: Impairments { seed: 1, ..Impairments::default() },
        calls: 1,
        rate: 100.0,
        concurrency: 100,
        timeout: Duration::from_secs(5),
    }
}
