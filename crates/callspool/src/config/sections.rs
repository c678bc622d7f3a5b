//! Every setting of callspool, with its type, default, unit and meaning.
//!
//! `docs/configuration.md` is made from this file, and a test compares the two. Lengths of time and sizes are
//! text with a unit (`"20s"`, `"4MiB"`), so that nobody has to guess one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::{NodeNumber, TenantId};

use super::catalog::CatalogUrl;
use super::declare::sections;
use super::hours::Hours;
use super::values::{
    AddressRange, DtmfRule, GatherMode, HostPort, InactiveMeans, LeastTls, LogFormat, MediaSource, Placement,
    RelayRule, Role, Size, TlsClients, VolumeSetting,
};

sections! {
    /// This process and where its files are.
    node: NodeConfig {
        /// Name of this node in logs and on the page; empty: the host name.
        name: String = "", "text";
        /// Number of this node, part of every id that it gives; no two nodes share one.
        number: NodeNumber = "0", "0 to 1023";
        /// Directory of everything that is kept; a service uses /var/lib/callspool.
        data_dir: PathBuf = "./.state", "path";
        /// What this node does: `proxy` (takes SIP and places each call on a record server), `recorder` (receives media and keeps them), `api` (page and HTTP interface), `link-protector` (has the addresses of `[address.NAME]` on this node or on another one).
        roles: Vec<Role> = "proxy, recorder, api", "list of roles";
        /// User to become when started as root, before anything is opened; of root's powers it keeps only ports below 1024. Empty: stay who one is. A service unit or container sets the user itself.
        user: String = "", "user name";
        /// Allow core dumps, and debuggers of the same user, to find a fault. Either shows keys of media and what is said (encryption.md).
        core_dumps: bool = "false", "true or false";
        /// How long live calls may go on after a stop was asked for; then their segments are ended and sealed. For as long, a proxy hands its calls on to others.
        shutdown_grace: Duration = "5s", "time";
        /// Where new calls are sent (302) while none are taken, because callspool stops or is drained; empty: they are refused with 503.
        handover: String = "", "SIP URI";
    }

    /// Signalling.
    sip: SipConfig {
        /// Addresses that receive SIP over UDP; those of the default whose family the machine lacks are left out.
        udp: Vec<SocketAddr> = "0.0.0.0:5060, [::]:5060", "list of IP:port";
        /// Addresses that accept SIP over TCP; those of the default whose family the machine lacks are left out.
        tcp: Vec<SocketAddr> = "0.0.0.0:5060, [::]:5060", "list of IP:port";
        /// Addresses that accept SIP over TLS, usually port 5061; they need `[tls]`.
        tls: Vec<SocketAddr> = "", "list of IP:port";
        /// Addresses that accept SIP over WebSocket (RFC 7118), without TLS: for a proxy with TLS before it.
        ws: Vec<SocketAddr> = "", "list of IP:port";
        /// Addresses that accept SIP over WebSocket within TLS; they need `[tls]`.
        wss: Vec<SocketAddr> = "", "list of IP:port";
        /// Address in Contact and Via for IPv4 peers; empty: the address that the request came to.
        advertised_v4: Option<HostPort> = "", "IP or IP:port";
        /// Address in Contact and Via for IPv6 peers; empty: the address that the request came to.
        advertised_v6: Option<HostPort> = "", "IP or [IP]:port";
        /// What the User-Agent and Server headers say.
        user_agent: String = "callspool", "text";
        /// Session interval that is asked for and granted at most (RFC 4028).
        session_expires: Duration = "30m", "time";
        /// Shortest session interval that is accepted (RFC 4028 Min-SE).
        min_se: Duration = "90s", "time, 90s or more";
        /// INVITE sessions at once; beyond it new ones are refused with 503.
        max_sessions: usize = "10000", "sessions";
        /// SIP transactions at once; beyond it new requests are refused with 503.
        max_transactions: usize = "40000", "transactions";
        /// Send requests of more than 1,300 bytes over UDP too where the peer uses UDP, instead of TCP (RFC 3261 18.1.1).
        large_requests_over_udp: bool = "true", "true or false";
        /// A connection by TCP or TLS on which nothing came for so long is closed; longer than half of session_expires keeps those of live calls.
        tcp_idle_timeout: Duration = "20m", "time";
        /// Connections at once, by TCP, TLS and WebSocket together, handshakes included; beyond it new ones are closed.
        tcp_max_connections: usize = "4096", "connections";
        /// Such connections at once from one source: an IPv4 address, or an IPv6 network of 64 bits.
        tcp_max_connections_per_source: usize = "256", "connections";
        /// Requests a second from one source, by whatever transport (bursts of twice as many pass), apart from those of calls that go on; beyond it they are refused with 503 and Retry-After at little cost, and a connection that brings more than twice as many is closed. 0: no limit.
        max_requests_per_source: usize = "1000", "requests per second";
        /// Name servers for names of SIP peers (RFC 3263); empty: those of the system.
        name_servers: Vec<SocketAddr> = "", "list of IP:port";
        /// Receive buffer of each UDP socket; the kernel allows net.core.rmem_max.
        recv_buffer: Size = "4MiB", "size";
    }

    /// Certificates for SIP over TLS and WSS. The files are read again when they change and at a reload, without a restart; one that cannot be used then changes nothing, and is told.
    tls: TlsConfig {
        /// PEM file of our certificate, followed by those that lead to its authority.
        certificate: PathBuf = "", "path";
        /// PEM file of its private key; only its owner and group may have access.
        key: PathBuf = "", "path";
        /// PEM file of the authorities that are trusted for clients, and for servers that callspool connects to; empty: for those the ones of the system.
        ca: PathBuf = "", "path";
        /// Whether clients are asked for a certificate: `none`, `request` (without one they are let in), `require` (mutual TLS).
        client_auth: TlsClients = "none", "none, request or require";
        /// Oldest version of TLS that is spoken.
        min_version: LeastTls = "1.2", "1.2 or 1.3";
    }

    /// This node among others: proxies place calls on the record servers that `[peer.NAME]` names, and record servers gather from those that they name. Nodes know each other by certificates of a private authority, which `callspool cert` makes.
    cluster: ClusterConfig {
        /// How a new call gets to the record server that is chosen for it: `route`: this node keeps the signalling and has that one record; `redirect`: it is sent there by 302, to `sip` of `[peer.NAME]`, and that node does everything for it.
        placement: Placement = "route", "route or redirect";
        /// Addresses at which proxies and other record servers reach this record server; empty: none does. They need a certificate.
        listen: Vec<SocketAddr> = "", "list of IP:port";
        /// PEM file of the authority of the nodes: whoever it has certified is one of them.
        ca: PathBuf = "", "path";
        /// PEM file of this node's certificate, in which its name among the others stands.
        certificate: PathBuf = "", "path";
        /// PEM file of its private key; only its owner and group may have access.
        key: PathBuf = "", "path";
        /// How long a proxy may be away from this record server before its calls are offered to other proxies. A call whose client turns to another proxy goes there at once.
        adopt_after: Duration = "5s", "time";
    }

    /// Receiving media.
    media: MediaConfig {
        /// IPv4 address that media ports are opened on; empty: no media over IPv4.
        listen_v4: Option<Ipv4Addr> = "0.0.0.0", "IPv4 address";
        /// IPv6 address that media ports are opened on; empty: no media over IPv6. The default is left out on a machine without IPv6.
        listen_v6: Option<Ipv6Addr> = "::", "IPv6 address";
        /// IPv4 address in SDP; empty: the listen address, or when that is 0.0.0.0 the one that the request came to.
        advertised_v4: Option<Ipv4Addr> = "", "IPv4 address";
        /// IPv6 address in SDP; empty: the listen address, or when that is :: the one that the request came to.
        advertised_v6: Option<Ipv6Addr> = "", "IPv6 address";
        /// First port of the range for RTP and RTCP.
        port_min: u16 = "16384", "even port";
        /// Last port of the range; each stream takes an even port for RTP and the next one for RTCP, or shares them.
        port_max: u16 = "32767", "odd port";
        /// Streams that may share a pair of ports, where it is certain whose each packet is; 1: each stream has ports of its own (operation.md, *Shared ports*).
        streams_per_port: usize = "1", "streams, 1 to 64";
        /// Threads that receive media; 0: one less than there are cores, but at least one.
        threads: usize = "1", "threads";
        /// How media are received (operation.md, *Size*). What the machine does not allow is told, and sockets are read instead.
        source: MediaSource = "sockets", "sockets, io_uring or packet_ring";
        /// Memory of a media thread for packets that were not read yet, for each address family, where `source` is `packet_ring`: 64 MiB hold 32,000.
        ring: Size = "64MiB", "size, 1MiB to 1GiB";
        /// How often a media thread reads its sockets; longer costs less CPU, arrival times come from the kernel either way.
        tick: Duration = "5ms", "time, 1ms to 50ms";
        /// A segment none of whose active streams brought a packet for so long ends with an external error; 0s: never.
        media_timeout: Duration = "30s", "time";
        /// A call that is held for so long is taken to have ended; 0s: never.
        hold_timeout: Duration = "2h", "time";
        /// Receive buffer of each media socket; the kernel allows net.core.rmem_max.
        recv_buffer: Size = "208KiB", "size";
        /// Whether media of calls that are placed on record servers of other nodes go through this proxy (cluster.md, *Relay*): `no`: straight to the record server; `yes`: then another one that takes over loses nothing and the client notices nothing; `when-refused`: for the next calls of clients that refused the re-INVITE by which they are told of another record server.
        relay: RelayRule = "no", "no, yes or when-refused";
        /// Record servers that record each call which goes through this proxy, at once: with 2 the loss of one costs nothing and begins no new segment (cluster.md, *Two copies*).
        copies: usize = "1", "1 or 2";
        /// Threads that relay media, where there are record servers on other nodes.
        relay_threads: usize = "1", "threads, 1 to 64";
        /// Whether a client must show the certificate of its `a=fingerprint` in a DTLS handshake; `false` for clients that have none but RSA: who sends is then not proved (encryption.md).
        dtls_verify: bool = "true", "true or false";
    }

    /// What is written, where, and how soon.
    recording: RecordingConfig {
        /// Directory of the recordings; empty: `repository` in the data directory.
        repository: PathBuf = "", "path";
        /// Directories to record to, each on a disk of its own: `"disk2=/mnt/disk2"`, or `"disk2=/mnt/disk2;weight=2;min_free=10GiB"`. Segments are spread by free space and weight; 0 is only read. Empty: `repository` alone; else that is only read.
        volumes: Vec<VolumeSetting> = "", "list of name=path";
        /// Owner of the calls that are recorded here.
        tenant: TenantId = "default", "name";
        /// How often buffered media are written to files; with the reorder window this is what a killed process loses.
        flush: Duration = "100ms", "time, 20ms to 1s";
        /// How often what was written is made durable; this is what a machine that loses power loses.
        sync: Duration = "1s", "time";
        /// Media in memory that wait for the disk; beyond it packets are dropped, counted and alarmed.
        buffer_max: Size = "256MiB", "size";
        /// How long after the end of a call a continuation is waited for before the call is complete.
        linger: Duration = "3s", "time";
        /// What `a=inactive` in SDP means when nothing else tells: `hold` ends the segment, `pause` marks a span in it.
        inactive_means: InactiveMeans = "hold", "hold or pause";
        /// After how long a pause ends by itself, with an alarm, unless the order says otherwise; 0s: never, only whoever may resume ends it.
        pause_timeout: Duration = "0s", "time";
        /// Whether recording clients may pause, resume, start and stop by headers: `Record` in INFO, `X-AC-Action` in INFO, re-INVITE and UPDATE.
        orders_by_header: bool = "true", "true or false";
        /// What becomes of digits that are pressed: `keep`, or `mask`: neither tones nor telephone events reach a file (pause.md).
        dtmf: DtmfRule = "keep", "keep or mask";
        /// Whether video that is offered is recorded beside audio; without it, its m-lines are answered with port 0.
        video: bool = "true", "true or false";
        /// Free space on the repository's disk below which new calls are refused.
        min_free_space: Size = "1GiB", "size";
        /// How long an operation on a disk may take before its segments go on on another volume, if there is one.
        stall: Duration = "3s", "time, 500ms to 60s";
        /// Threads of each volume that open segments. Opening is mostly waiting for the file system: with one, a disk that takes a millisecond for a file is full at some 200 calls a second (operation.md).
        openers: usize = "4", "threads, 1 to 16";
        /// Calls recorded at once; beyond it new ones are refused with 503.
        max_calls: usize = "2500", "calls";
    }

    /// Bringing together on one record server what several recorded of a call (cluster.md, *Segments come together*). The record servers that it is fetched from are named by `[peer.NAME]`.
    gathering: GatheringConfig {
        /// Whether segments are moved: `gather`: those of a call come to lie on one record server; `virtual`: they stay where they are, and are shown as such; `off`: this node neither asks nor answers others.
        mode: GatherMode = "gather", "gather, virtual or off";
        /// Hours of the day (UTC) in which this node fetches, such as `22:00-05:00`; empty: always. What a person asks for is fetched at once.
        window: Option<Hours> = "", "hours";
        /// Hours of the day (UTC) in which copies are removed that another node has for certain; empty: always.
        purge_window: Option<Hours> = "", "hours";
        /// How much is fetched in a second at most, of all calls together: recordings need disk and network more.
        rate: Size = "16MiB", "size a second";
        /// How much is on its way at once at most.
        in_flight: Size = "8MiB", "size";
        /// How long nobody may say how a call came out that nobody has any more, before its record servers conclude it themselves. Longer than a restart or a cut of the network takes: what a proxy says that is back later is as good, and costs the call its state in between.
        conclude_after: Duration = "5m", "time, 10s or more";
    }

    /// Playing here what other record servers have of a call (cluster.md, *What lies where*). They are named by `[peer.NAME]`.
    elsewhere: ElsewhereConfig {
        /// How much of what was fetched to be played is kept, in `elsewhere` in the data directory; what was used longest ago goes first, and what nobody used for a day. 0: nothing is fetched, and a call is played as far as it lies here.
        cache: Size = "1GiB", "size";
        /// How much is fetched in a second at most, of all calls together: recordings need disk and network more.
        rate: Size = "16MiB", "size a second";
    }

    /// The index of the recordings. It can be rebuilt from the repository at any time: `callspool reindex`.
    catalog: CatalogConfig {
        /// PostgreSQL 15 or newer that has the catalog, which several nodes may share: `postgres://USER@HOST:PORT,HOST/DATABASE?sslrootcert=FILE`; of several hosts the one that takes writes is used. Empty: it is a file, `path`.
        url: CatalogUrl = "", "URL";
        /// File with the password for it, which only this user may read; empty: none is needed, or `PGPASSWORD` has it.
        password_file: PathBuf = "", "path";
        /// SQLite file, where there is no `url`; empty: `catalog.db` in the data directory.
        path: PathBuf = "", "path";
        /// File that takes changes while the catalog cannot; empty: `catalog.journal` in the data directory.
        journal: PathBuf = "", "path";
        /// Longest journal; beyond it changes are left to `callspool reindex`, counted and alarmed.
        journal_max: Size = "1GiB", "size";
    }

    /// The page and the HTTP interface.
    api: ApiConfig {
        /// Address of the page; other than loopback it needs `allowed_hosts`, and a proxy with TLS before it.
        listen: SocketAddr = "127.0.0.1:8080", "IP:port";
        /// File of the access token, made at first start with mode 0600; empty: `token` in the data directory.
        token_file: PathBuf = "", "path";
        /// Host names by which the page may be asked for, beside localhost and the listen address.
        allowed_hosts: Vec<String> = "", "list of names";
        /// Connections to the page at once from one source, an IPv4 address or an IPv6 network of 64 bits, of 512 in all; beyond it new ones are closed. 0: no limit.
        max_connections_per_source: usize = "256", "connections";
        /// Requests a second to the page from one source (bursts of twice as many pass); beyond it they are answered 429 with Retry-After, and beyond twice as many the connection is closed. 0: no limit.
        max_requests_per_source: usize = "100", "requests per second";
        /// Addresses of proxies before the page: all their clients are one source, so for them there is no limit per source. The default is a proxy on the same machine.
        proxies: Vec<AddressRange> = "127.0.0.0/8, ::1", "list of IP or IP/bits";
        /// Serve /metrics to whoever reaches the page, without the token: it tells counts and names of volumes, nothing of calls or people.
        metrics_open: bool = "false", "true or false";
    }

    /// When something is told as an alarm: alarms.md has each kind.
    alarms: AlarmsConfig {
        /// A condition that comes and goes is told once in so long, and the same incident is told once and then counted.
        repeat: Duration = "10m", "time";
        /// Alarms about calls, segments and streams that are kept at once; beyond it they are merged and counted.
        max_subjects: usize = "10000", "alarms";
        /// A call on which media are expected and none came for so long is told of; 0s: never. After `media.media_timeout` its segment ends.
        no_media: Duration = "10s", "time";
        /// A call on which media come on one stream, and came on no other for so long, is told of; 0s: never.
        one_way: Duration = "20s", "time";
        /// A stream in which nothing was heard for so long, although packets come, is told of; 0s: never. Judged in G.711, G.722 and L16.
        silence: Duration = "2m", "time";
        /// A stream of which more than this share is lost in 10 s is told of; it is over at a quarter of it. 0: never.
        loss: u16 = "5", "percent";
        /// A disk that will be full sooner than this, if it goes on as in the last hours, is told of; 0s: never.
        disk_full_within: Duration = "7d", "time";
    }

    /// What the process tells about itself, on standard error. Numbers and names of people appear only from `debug` on.
    log: LogConfig {
        /// Least level, optionally per module: `info`, `info,callspool::net=debug`.
        level: String = "info", "filter";
        /// `text` for people, `json` for machines.
        format: LogFormat = "text", "text or json";
    }
}
