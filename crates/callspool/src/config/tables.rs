//! What there can be any number of: named tables, `[trunk.acme]`, with type, default, unit and meaning of each
//! key. How a kind is declared says [`super::declare`].
//!
//! `docs/configuration.md` is made from this file too.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{Severity, TenantId};

use super::address::{ServiceAddress, TakeBack};
use super::declare::tables;
use super::values::{
    AddressRange, AgentIs, AskEncryption, CodecName, CredentialsFor, DtmfRule, HostPattern, InactiveMeans,
    KeysFrom, NodeAddress, RelayRule, Tag, TrunkTransport,
};
use super::webhooks::{EventPattern, WebhookUrl};

/// Each is a few hundred octets, and is looked at for every call that begins: a thousand are some microseconds.
const TRUNKS_MAX: usize = 1_000;
/// As many as there may be trunks to bring them calls.
const TENANTS_MAX: usize = 1_000;
/// Each reads the outbox four times a second: a few programs, not a fan-out.
const WEBHOOKS_MAX: usize = 32;

/// Each is advertised some times a second.
const ADDRESSES_MAX: usize = 16;
/// Each has a link that is heard ten times a second.
const PEERS_MAX: usize = 256;

tables! {
    /// Who may send calls, and how they are taken: an SBC, a PBX, a carrier. Without any, everybody may; with one, only those that are written.
    trunk: TrunkConfig, at most TRUNKS_MAX {
        /// Addresses that calls come from; the longest range that holds an address wins. Empty: all; then `tls_names` must say who may send, or it is `[trunk.default]`.
        from: Vec<AddressRange> = "", "list of IP or IP/bits";
        /// Names of the certificates that clients show, `sbc.example.com` or `*.example.com`; it takes only who has proved one of them (`tls.client_auth`). Empty: none is needed.
        tls_names: Vec<HostPattern> = "", "list of names";
        /// Transports that calls come by; empty: all.
        transports: Vec<TrunkTransport> = "", "list of udp, tcp, tls, ws, wss";
        /// Domains that calls are for, by Request-URI or To, written as `tls_names`; empty: all.
        domains: Vec<HostPattern> = "", "list of names";
        /// Owner of the calls; empty: `recording.tenant`. Another one must have a table, `[tenant.NAME]`.
        tenant: Option<TenantId> = "", "name";
        /// Calls recorded at once from it; beyond it new ones are refused with 503. 0: as many as `recording.max_calls`.
        max_calls: usize = "0", "calls";
        /// Calls that may begin in a second, after a second of rest all at once; beyond it new ones are refused with 503. 0: no limit.
        max_calls_per_second: u32 = "0", "calls a second";
        /// Who of a call is the agent, heard left: `first` or `second` of its participants and streams, `label:2`, `number:10*` or `domain:pbx.example.com`; the other is the external party.
        agent_side: AgentIs = "first", "first, second, label:, number: or domain:";
        /// Codecs that are asked for when an INVITE offers nothing, the best first; without one of audio: all five of audio. Video is asked for only where its codecs are named.
        ask_for: Vec<CodecName> = "", "list of PCMU, PCMA, G722, G729, OPUS, VP8, H264, H265";
        /// How media are to be encrypted that are asked for when an INVITE offers nothing: `no`, `sdes` (keys in SDP: have it signal over TLS), `dtls` (a handshake on the media port).
        ask_encrypted: AskEncryption = "no", "no, sdes or dtls";
        /// Name of how long recordings are kept, noted with each call as `retention`; nothing is deleted by it yet.
        retention: String = "", "name";
        /// What `a=inactive` in SDP means, as in `recording.inactive_means`; empty: as there.
        inactive_means: Option<InactiveMeans> = "", "hold or pause";
        /// What is noted in the data of each call.
        tags: Vec<Tag> = "", "list of key=value";
        /// What becomes of digits that are pressed, as in `recording.dtmf`; empty: as there.
        dtmf: Option<DtmfRule> = "", "keep or mask";
        /// Where the keys of encrypted media come from: `sdp`: signalling brings them; `api`: lines that are offered encrypted and bring none await them by the HTTP interface; `api-always`: those that are offered in the clear too, for clients that do not say that they encrypt (encryption.md).
        keys: KeysFrom = "sdp", "sdp, api or api-always";
        /// Whether its media come from exactly the addresses and ports that its SDP names: then its streams may share ports, where `media.streams_per_port` is above 1. What comes from elsewhere is recorded nowhere then (operation.md, *Shared ports*).
        sends_as_announced: bool = "false", "true or false";
        /// Whether media of its calls go through this proxy, as in `media.relay`; empty: as there.
        relay: Option<RelayRule> = "", "no, yes or when-refused";
        /// File of those who may send, with what stands for their passwords: then credentials are asked for (digest authentication). `callspool trunks password` writes it. Empty: nobody is asked.
        users_file: PathBuf = "", "path";
        /// Realm of these users, as clients are told it; passwords are set for a realm.
        realm: String = "callspool", "text";
        /// What credentials are asked for: `calls`: INVITEs that begin one; `all`: OPTIONS and requests within calls too.
        credentials_for: CredentialsFor = "calls", "calls or all";
    }

    /// Who owns calls. The owner that `recording.tenant` names needs no table.
    tenant: TenantConfig, at most TENANTS_MAX {
        /// What people call it; `callspool trunks` shows it.
        display_name: String = "", "text";
        /// Calls recorded at once for it; beyond it new ones are refused with 503. 0: as many as `recording.max_calls`.
        max_calls: usize = "0", "calls";
    }

    /// A record server that this proxy places calls on, and that this record server gathers from, by the name in its certificate.
    peer: PeerConfig, at most PEERS_MAX {
        /// Where it is reached, its `cluster.listen`; must be given.
        address: Option<NodeAddress> = "", "name or IP:port";
        /// Where its own proxy takes calls; must be given with `cluster.placement = "redirect"`.
        sip: String = "", "SIP URI";
    }

    /// An address at which clients find the proxy, on whichever of several nodes that is; the role `link-protector` keeps it (cluster.md, *Service addresses*). Nodes hear of each other by VRRP.
    address: AddressConfig, at most ADDRESSES_MAX {
        /// The address, with the length of its network; must be given, and stand in a list of `[sip]` too. The same on each node.
        address: Option<ServiceAddress> = "", "IP/bits";
        /// Interface that it is held on; must be given.
        interface: String = "", "name";
        /// Number of the VRRP group: the same on each node, and of no other group on this network; must be given.
        router_id: u16 = "0", "1 to 255";
        /// Of the nodes that are well the one with the highest priority holds the address.
        priority: u16 = "100", "2 to 254";
        /// How often the address is advertised; after three of these and a bit in which nothing is heard another node takes it.
        interval: Duration = "250ms", "time, 50ms to 3s";
        /// When a node takes the address from one of a lower priority that is well: `at-once`, when it has been well for so long, or `never`: that is for `callspool drain` on the other one.
        take_back: TakeBack = "5m", "at-once, never or time";
        /// Own addresses of the other nodes on this network, where multicast does not pass; empty: multicast.
        peers: Vec<IpAddr> = "", "list of IP";
    }

    /// Where events are posted as they happen: an on-call service, a program of yours. webhooks.md has requests, answers and a receiver.
    webhook: WebhookConfig, at most WEBHOOKS_MAX {
        /// Where they are posted; must be given.
        url: Option<WebhookUrl> = "", "http or https URL";
        /// File with what the receiver knows too, 32 octets or more on a line: requests are signed with it, with each of them where there are several lines. Empty: they are not signed.
        secret_file: PathBuf = "", "path";
        /// File with the value of the header `Authorization`, such as `Bearer …`. Empty: there is none.
        authorization_file: PathBuf = "", "path";
        /// Which events: kinds (`call`, `segment`, `copy`, `tag`, `metadata`, `joined`, `sides`, `alarm`), alarms of some kinds (`alarm:disk-*`), or `*` for all.
        events: Vec<EventPattern> = "alarm", "list of kinds";
        /// Of alarms only those as bad as this or worse.
        severity: Severity = "notice", "notice, warning or critical";
        /// Only what concerns these tenants; empty: all. What is told of the node belongs to `recording.tenant`.
        tenants: Vec<TenantId> = "", "list of names";
        /// PEM file of the authorities that the receiver is trusted by; empty: those of the system.
        ca: PathBuf = "", "path";
        /// PEM file of a certificate that is shown to the receiver (mutual TLS). Empty: none.
        certificate: PathBuf = "", "path";
        /// PEM file of its private key.
        key: PathBuf = "", "path";
        /// How long a request may take, from the connection to the answer; then it is sent again.
        timeout: Duration = "10s", "time, 500ms to 60s";
        /// After how long without success the alarm `webhook-failing` is raised.
        alarm_after: Duration = "1m", "time";
    }
}
