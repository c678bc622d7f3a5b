//! The types of values that settings have beside plain ones, and how each kind is read and shown.
//!
//! A reader says only what is wrong; what was expected is [`Setting::EXPECTED`], which the message adds.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use model::{NodeNumber, Severity, TenantId, VolumeName};
use toml::Value;

use super::declare::{Setting, article, quoted};

/// A number of octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// The octets as a length in memory.
    #[must_use]
    pub(crate) fn octets(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// An address with or without a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HostPort {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port; none: that of the listening socket.
    pub(crate) port: Option<u16>,
}

impl HostPort {
    /// The address, with the given port when it has none of its own.
    #[must_use]
    pub(crate) fn with_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

/// Where another node is reached: a name or address, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NodeAddress(String);

impl NodeAddress {
    /// As it is dialed.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A directory to record to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VolumeSetting {
    /// Its name in lists and manifests.
    pub(crate) name: VolumeName,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// How much it is wanted, against the others; 0: only read.
    pub(crate) weight: u32,
    /// What stays free; none: `recording.min_free_space`.
    pub(crate) min_free: Option<Size>,
}

/// A thousand times another's weight is as good as all of it.
const WEIGHT_MAX: u32 = 1_000;

impl Setting for VolumeSetting {
    const EXPECTED: &'static str = r#"a name and a path, such as "disk2=/mnt/disk2;weight=2;min_free=10GiB""#;

    fn from_text(text: &str) -> Result<Self, String> {
        let mut pieces = text.split(';');
        let (name, path) = pieces
            .next()
            .and_then(|p| p.split_once('='))
            .ok_or_else(|| format!("'{text}' is no name with a path"))?;
        let name = name.trim().parse().map_err(|e: model::NotAVolumeName| e.to_string())?;
        let path = PathBuf::from(path.trim());
        if !path.is_absolute() {
            return Err(format!("'{}' is no absolute path", path.display()));
        }
        let mut volume = Self { name, path, weight: 1, min_free: None };
        for piece in pieces {
            match piece.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("weight", value)) => {
                    let weight = value.parse().ok().filter(|w| *w <= WEIGHT_MAX);
                    volume.weight =
                        weight.ok_or_else(|| format!("'{value}' is no weight of 0 to {WEIGHT_MAX}"))?;
                }
                Some(("min_free", value)) => volume.min_free = Some(Size::from_text(value)?),
                _ => return Err(format!("'{piece}' is neither weight nor min_free")),
            }
        }
        Ok(volume)
    }

    fn to_toml(&self) -> String {
        let weight = if self.weight == 1 { String::new() } else { format!(";weight={}", self.weight) };
        let min_free = self.min_free.map(|s| format!(";min_free={s}")).unwrap_or_default();
        quoted(&format!("{}={}{weight}{min_free}", self.name, self.path.display()))
    }
}

/// An address or a range of addresses, IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AddressRange(pub(crate) IpNet);

/// A key with its value, for the data of calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    /// The key: 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`.
    pub(crate) key: String,
    /// The value: at most 256 characters.
    pub(crate) value: String,
}

macro_rules! choices {
    ($( $(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal, )+ } )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum $name { $( $(#[doc = $variant_doc])+ $variant, )+ }

        impl Setting for $name {
            const EXPECTED: &'static str = concat!("one of:" $(, " ", $word)+);
            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err(format!("'{text}' is not known")),
                }
            }
            fn to_toml(&self) -> String {
                quoted(match self { $( Self::$variant => $word, )+ })
            }
        }
    )+};
}

choices! {
    /// What a node does.
    Role {
        /// Takes SIP and has record servers record: itself, or other nodes.
        Proxy = "proxy",
        /// Receives media and keeps them, by order of proxies.
        Recorder = "recorder",
        /// Serves the page and the HTTP interface.
        Api = "api",
        /// Keeps the addresses at which clients find the proxy, with other nodes.
        LinkProtector = "link-protector",
    }
    /// Whether the segments of a call are brought together.
    GatherMode {
        /// They are.
        Gather = "gather",
        /// They stay where they are.
        Virtual = "virtual",
        /// Nobody asks for them, or is answered.
        Off = "off",
    }
    /// How media are received.
    MediaSource {
        /// By a socket for each port.
        Sockets = "sockets",
        /// The same, read by the kernel into buffers that are lent to it.
        IoUring = "io_uring",
        /// By packets in a ring that the kernel fills.
        PacketRing = "packet_ring",
    }
    /// The meaning of `a=inactive`.
    InactiveMeans {
        /// The call is held: the segment ends.
        Hold = "hold",
        /// Recording is paused: the segment goes on with a span in it.
        Pause = "pause",
    }
    /// What becomes of DTMF.
    DtmfRule {
        /// It is recorded.
        Keep = "keep",
        /// It is not.
        Mask = "mask",
    }
    /// How media are encrypted that are asked for.
    AskEncryption {
        /// Not at all.
        No = "no",
        /// By keys in SDP.
        Sdes = "sdes",
        /// By a handshake.
        Dtls = "dtls",
    }
    /// Whether media go through the proxy.
    RelayRule {
        /// They go straight to a record server.
        No = "no",
        /// They do.
        Yes = "yes",
        /// Those of clients do that refused to be told of other ports.
        WhenRefused = "when-refused",
    }
    /// Where keys of encrypted media come from.
    KeysFrom {
        /// Signalling brings them.
        Sdp = "sdp",
        /// Somebody gives them by the interface, where a line is encrypted and brings none.
        Api = "api",
        /// The same, for all lines that bring none.
        ApiAlways = "api-always",
    }
    /// How calls come.
    TrunkTransport {
        /// Datagrams.
        Udp = "udp",
        /// A connection.
        Tcp = "tcp",
        /// A connection with TLS.
        Tls = "tls",
        /// A WebSocket.
        Ws = "ws",
        /// A WebSocket with TLS.
        Wss = "wss",
    }
    /// Which requests must come with credentials.
    CredentialsFor {
        /// INVITEs that begin a call.
        Calls = "calls",
        /// All that can be asked for them.
        All = "all",
    }
    /// Whether TLS clients are asked for a certificate.
    TlsClients {
        /// They are not.
        None = "none",
        /// They are, and may have none.
        Request = "request",
        /// They are, and must have one.
        Require = "require",
    }
    /// How calls get to the record server that is chosen for them.
    Placement {
        /// Signalling stays here.
        Route = "route",
        /// They are sent there.
        Redirect = "redirect",
    }
    /// The oldest version of TLS.
    LeastTls {
        /// 1.2 and 1.3.
        V12 = "1.2",
        /// 1.3 only.
        V13 = "1.3",
    }
    /// The form of log lines.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines, an object a line.
        Json = "json",
    }
}

/// Time units, longest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Size units, longest first, in octets. Those of a thousand are read too, but never shown.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// Reads `1h30m` or `20s`: numbers, each followed by a unit. A sum that does not fit is refused.
fn sum_of_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len)?;
        let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = tail;
    }
    Some(sum)
}

/// A duration as people write it, `1m30s`; `0s` for none.
#[must_use]
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in TIME_UNITS {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    text
}

/// Reads a duration as people write it.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    sum_of_units(text, &TIME_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("'{text}' is no time with a unit"))
}

impl fmt::Display for Size {
    /// In the largest unit that leaves no rest: `4MiB`, `1500B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match SIZE_UNITS.iter().take(5).find(exact) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a time with a unit (ms, s, m, h, d), such as \"20s\"";
    fn from_text(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
    fn to_toml(&self) -> String {
        quoted(&duration_text(*self))
    }
}

impl Setting for Size {
    const EXPECTED: &'static str = "a size with a unit (B, KiB, MiB, GiB, TiB), such as \"4MiB\"";
    fn from_text(text: &str) -> Result<Self, String> {
        sum_of_units(text, &SIZE_UNITS).map(Self).ok_or_else(|| format!("'{text}' is no size with a unit"))
    }
    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Reads what has a `FromStr`, and says what was expected when it is something else.
fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is no {what}"))
}

/// Types that are written without quotes, and read with or without.
macro_rules! bare {
    ($($T:ty, $expected:literal, $what:literal);+ $(;)?) => {$(
        impl Setting for $T {
            const EXPECTED: &'static str = $expected;
            fn from_text(text: &str) -> Result<Self, String> {
                parsed(text, $what)
            }
            fn from_toml(value: &Value) -> Result<Self, String> {
                Self::from_text(&plain_text(value)?)
            }
            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

bare! {
    u16, "a number from 0 to 65535", "number from 0 to 65535";
    u32, "a number, 0 or more", "number of 0 or more";
    usize, "a number, 0 or more", "number of 0 or more";
    bool, "true or false", "boolean";
}

/// Types that are written in quotes.
macro_rules! textual {
    ($($T:ty, $expected:literal, $what:literal);+ $(;)?) => {$(
        impl Setting for $T {
            const EXPECTED: &'static str = $expected;
            fn from_text(text: &str) -> Result<Self, String> {
                parsed(text, $what)
            }
            fn to_toml(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )+};
}

textual! {
    IpAddr, "an IP address such as \"192.0.2.1\"", "IP address";
    SocketAddr, "an IP address with a port, such as \"0.0.0.0:5060\" or \"[::]:5060\"", "IP address with a port";
    TenantId, "1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit", "tenant name";
    Severity, "notice, warning or critical", "severity";
}

impl Setting for String {
    const EXPECTED: &'static str = "text in quotes";
    fn from_text(text: &str) -> Result<Self, String> {
        if text.contains(char::is_control) {
            return Err("the text contains a control character".to_owned());
        }
        Ok(text.to_owned())
    }
    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path in quotes";
    fn from_text(text: &str) -> Result<Self, String> {
        String::from_text(text).map(Self::from)
    }
    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for NodeNumber {
    const EXPECTED: &'static str = "a number from 0 to 1023";
    fn from_text(text: &str) -> Result<Self, String> {
        let number = parsed::<u16>(text, "node number")?;
        Self::new(number).map_err(|_| format!("{number} is out of range"))
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        Self::from_text(&plain_text(value)?)
    }
    fn to_toml(&self) -> String {
        self.get().to_string()
    }
}

/// Empty text is none, for types that can be left out.
macro_rules! optional {
    ($($T:ty, $expected:literal, $read:expr, $show:expr);+ $(;)?) => {$(
        impl Setting for Option<$T> {
            const EXPECTED: &'static str = $expected;
            fn from_text(text: &str) -> Result<Self, String> {
                let read: fn(&str) -> Result<$T, String> = $read;
                if text.is_empty() { Ok(None) } else { read(text).map(Some) }
            }
            fn to_toml(&self) -> String {
                let show: fn(&$T) -> String = $show;
                quoted(&self.as_ref().map(show).unwrap_or_default())
            }
        }
    )+};
}

impl Setting for Tag {
    const EXPECTED: &'static str =
        "a key of 1 to 64 letters, digits, '-', '_' or '.', and a value, such as \"site=Bonn\"";
    fn from_text(text: &str) -> Result<Self, String> {
        let text = String::from_text(text)?;
        let Some((key, value)) = text.split_once('=') else { return Err(format!("'{text}' has no '='")) };
        let (key, value) = (key.trim(), value.trim());
        let is_key = (1..=64).contains(&key.len())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_key || value.chars().count() > 256 {
            return Err(format!("'{text}' is no tag"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
    fn to_toml(&self) -> String {
        quoted(&format!("{}={}", self.key, self.value))
    }
}

/// The name of a host or domain, or all below one, in small letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostPattern(pub(crate) String);

impl Setting for HostPattern {
    const EXPECTED: &'static str = "a name such as \"sbc.example.com\", or \"*.example.com\" for all below";
    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_name = (1..=255).contains(&text.len())
            && !name.is_empty()
            && !name.contains(|c: char| c == '*' || c == ',' || c.is_whitespace() || c.is_control());
        if is_name { Ok(Self(text)) } else { Err(format!("'{text}' is no name")) }
    }
    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// A codec to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CodecName(pub(crate) call::Asked);

impl Setting for CodecName {
    const EXPECTED: &'static str = "PCMU, PCMA, G722, G729 or OPUS";
    fn from_text(text: &str) -> Result<Self, String> {
        call::Asked::of_name(text.trim()).map(Self).ok_or_else(|| format!("'{text}' is no codec to ask for"))
    }
    fn to_toml(&self) -> String {
        quoted(self.0.name())
    }
}

/// Who of a call is the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AgentIs(pub(crate) call::AgentSide);

impl Setting for AgentIs {
    const EXPECTED: &'static str = "first, second, \"label:2\", \"number:10*\" or \"domain:pbx.example.com\"";
    fn from_text(text: &str) -> Result<Self, String> {
        use call::AgentSide;
        let text = String::from_text(text.trim())?;
        let side = match text.split_once(':') {
            None if text == "first" => AgentSide::First,
            None if text == "second" => AgentSide::Second,
            Some(("label", label)) if !label.is_empty() => AgentSide::Label(label.to_owned()),
            Some(("number", pattern)) if !pattern.is_empty() => AgentSide::Number(pattern.to_owned()),
            Some(("domain", domain)) if !domain.is_empty() => AgentSide::Domain(domain.to_ascii_lowercase()),
            _ => return Err(format!("'{text}' says not who the agent is")),
        };
        Ok(Self(side))
    }
    fn to_toml(&self) -> String {
        use call::AgentSide;
        quoted(&match &self.0 {
            AgentSide::First => "first".to_owned(),
            AgentSide::Second => "second".to_owned(),
            AgentSide::Label(label) => format!("label:{label}"),
            AgentSide::Number(pattern) => format!("number:{pattern}"),
            AgentSide::Domain(domain) => format!("domain:{domain}"),
        })
    }
}

impl Setting for AddressRange {
    const EXPECTED: &'static str = "an IP address, or a range such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let range = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip.to_canonical()),
            Err(_) => parsed::<IpNet>(text, "IP address or range")?,
        };
        // `192.0.2.7/24` is as likely a mistake for /32 as for .0.
        if range.addr() != range.network() {
            return Err(format!("'{text}' has bits beyond its length; the range is {}", range.trunc()));
        }
        Ok(Self(range))
    }
    fn to_toml(&self) -> String {
        let whole = self.0.prefix_len() == self.0.max_prefix_len();
        quoted(&if whole { self.0.addr().to_string() } else { self.0.to_string() })
    }
}

optional! {
    DtmfRule, "one of: keep mask, or \"\"", DtmfRule::from_text, |m| m.to_toml().trim_matches('"').to_owned();
    RelayRule, "one of: no yes when-refused, or \"\"", RelayRule::from_text, |m| m.to_toml().trim_matches('"').to_owned();
    InactiveMeans, "one of: hold pause, or \"\"", InactiveMeans::from_text, |m| m.to_toml().trim_matches('"').to_owned();
    TenantId, "1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit, or \"\"", |t| parsed(t, "tenant name"), ToString::to_string;
    Ipv4Addr, "an IPv4 address such as \"192.0.2.1\", or \"\"", |t| parsed(t, "IPv4 address"), ToString::to_string;
    Ipv6Addr, "an IPv6 address such as \"2001:db8::1\", or \"\"", |t| parsed(t, "IPv6 address"), ToString::to_string;
    HostPort, "an IP address with or without a port, such as \"192.0.2.1:5060\", or \"\"", read_host_port, show_host_port;
    NodeAddress, "a name or address with a port, such as \"rec1.example.com:5070\", or \"\"", read_node_address, |a| a.0.clone();
}

fn read_node_address(text: &str) -> Result<NodeAddress, String> {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let of_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    let is_name = |host: &str| !host.is_empty() && host.len() <= 253 && host.bytes().all(of_name);
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && is_port(port));
    if is_named || text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) {
        Ok(NodeAddress(text.to_owned()))
    } else {
        Err(format!("'{text}' is no name or address with a port"))
    }
}

fn read_host_port(text: &str) -> Result<HostPort, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(HostPort { ip: address.ip(), port: Some(address.port()) });
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let ip = parsed(bare, "IP address with or without a port")?;
    Ok(HostPort { ip, port: None })
}

fn show_host_port(value: &HostPort) -> String {
    match value.port {
        Some(port) => SocketAddr::new(value.ip, port).to_string(),
        None => value.ip.to_string(),
    }
}

/// Lists: a TOML array, or text with commas.
impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_text(text: &str) -> Result<Self, String> {
        if let Ok(value @ Value::Array(_)) = text.parse::<Value>() {
            return Self::from_toml(&value);
        }
        text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(T::from_text).collect()
    }
    fn from_toml(value: &Value) -> Result<Self, String> {
        match value.as_array() {
            Some(items) => items.iter().map(T::from_toml).collect(),
            None => value
                .as_str()
                .ok_or_else(|| format!("{} is no list", article(value.type_str())))
                .and_then(Self::from_text),
        }
    }
    fn to_toml(&self) -> String {
        format!("[{}]", self.iter().map(Setting::to_toml).collect::<Vec<_>>().join(", "))
    }
}

/// The text of a string, number or boolean.
fn plain_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        other => Err(format!("{} is not expected here", article(other.type_str()))),
    }
}
