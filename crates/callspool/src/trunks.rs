//! Trunks as the configuration has them, for the gate and the front.

use std::sync::Arc;

use call::{Anchoring, AskEncrypted, Challenged, Digest, KeysBy, Trunk, Trunks};
use model::Dtmf;
use model::peer::Flowing;
use sip::Transport;

use crate::config::{
    AskEncryption, Config, CredentialsFor, DtmfRule, InactiveMeans, KeysFrom, RelayRule, TrunkTransport,
};
use crate::users::TrunkUsers;

/// All trunks, with their users.
pub(crate) fn of(config: &Config, users: &TrunkUsers) -> Trunks {
    let own = &config.recording.tenant;
    let written = config.tables.trunk.iter().map(|(name, trunk)| Trunk {
        name: name.as_str().into(),
        from: trunk.from.iter().map(|range| range.0).collect(),
        tls_names: trunk.tls_names.iter().map(|name| name.0.clone()).collect(),
        transports: trunk.transports.iter().copied().map(transport).collect(),
        domains: trunk.domains.iter().map(|domain| domain.0.clone()).collect(),
        tenant: trunk.tenant.as_ref().unwrap_or(own).clone(),
        calls_max: Some(trunk.max_calls).filter(|max| *max > 0),
        rate_max: Some(trunk.max_calls_per_second).filter(|max| *max > 0),
        agent_side: trunk.agent_side.0.clone(),
        ask_for: trunk.ask_for.iter().map(|codec| codec.0).collect(),
        ask_encrypted: match trunk.ask_encrypted {
            AskEncryption::No => AskEncrypted::No,
            AskEncryption::Sdes => AskEncrypted::Sdes,
            AskEncryption::Dtls => AskEncrypted::Dtls,
        },
        retention: Some(trunk.retention.clone()).filter(|name| !name.is_empty()),
        inactive: trunk.inactive_means.map(flowing),
        dtmf: trunk.dtmf.map(dtmf),
        keys: match trunk.keys {
            KeysFrom::Sdp => KeysBy::Signalling,
            KeysFrom::Api => KeysBy::Interface,
            KeysFrom::ApiAlways => KeysBy::InterfaceAlways,
        },
        sends_as_announced: trunk.sends_as_announced,
        relay: anchoring(trunk.relay.unwrap_or(config.media.relay)),
        tags: trunk.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
        digest: users.get(name).map(|users| Digest {
            realm: trunk.realm.as_str().into(),
            users: Arc::clone(users),
            of: match trunk.credentials_for {
                CredentialsFor::Calls => Challenged::Calls,
                CredentialsFor::All => Challenged::All,
            },
        }),
    });
    let mut all: Vec<Trunk> = written.collect();
    if all.is_empty() {
        // Everybody may send.
        all.push(Trunk { relay: anchoring(config.media.relay), ..Trunk::open(own.clone()) });
    }
    Trunks::new(all, own.clone())
}

/// Whether media go through the proxy.
const fn anchoring(rule: RelayRule) -> Anchoring {
    match rule {
        RelayRule::No => Anchoring::Never,
        RelayRule::Yes => Anchoring::Always,
        RelayRule::WhenRefused => Anchoring::OnceRefused,
    }
}

/// What a line is on which nothing is sent.
pub(crate) const fn flowing(inactive: InactiveMeans) -> Flowing {
    match inactive {
        InactiveMeans::Hold => Flowing::Held,
        InactiveMeans::Pause => Flowing::Paused,
    }
}

/// As SIP has it.
pub(crate) const fn transport(setting: TrunkTransport) -> Transport {
    match setting {
        TrunkTransport::Udp => Transport::Udp,
        TrunkTransport::Tcp => Transport::Tcp,
        TrunkTransport::Tls => Transport::Tls,
        TrunkTransport::Ws => Transport::Ws,
        TrunkTransport::Wss => Transport::Wss,
    }
}

/// What becomes of digits.
pub(crate) const fn dtmf(rule: DtmfRule) -> Dtmf {
    match rule {
        DtmfRule::Keep => Dtmf::Keep,
        DtmfRule::Mask => Dtmf::Mask,
    }
}
