//! What tells a network that an address has moved: whoever has sent to it before has remembered where.
//!
//! For IPv4 these are ARP announcements (RFC 5227, section 3), as a request and as a reply, since some listen to one of
//! them only. For IPv6 it is an unsolicited neighbor advertisement to all nodes, which overrides what they remember
//! (RFC 4861, section 7.2.6). Whole frames of Ethernet; nothing is sent here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of Ethernet.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xFF; 6];
/// To ff02::1 (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xDD];
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_OF_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const ICMPV6: u8 = 58;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Not a router, not solicited.
const OVERRIDE: u8 = 0x20;
/// The target's address of the link, one unit of eight octets.
const TARGET_LINK_ADDRESS: [u8; 2] = [2, 1];

/// The frames that say that an address is here now.
#[must_use]
pub fn frames(address: IpAddr, mac: Mac) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(v4) => vec![arp(v4, mac, ARP_REQUEST), arp(v4, mac, ARP_REPLY)],
        IpAddr::V6(v6) => vec![neighbor_advertisement(v6, mac)],
    }
}

fn arp(address: Ipv4Addr, mac: Mac, operation: u8) -> Vec<u8> {
    // Whom it is for: nobody knows in a request, everybody is in a reply.
    let target = if operation == ARP_REQUEST { [0; 6] } else { BROADCAST };
    let ip = address.octets();
    [&BROADCAST[..], &mac, &ETHERTYPE_ARP, &ARP_OF_IPV4, &[0, operation], &mac, &ip, &target, &ip].concat()
}

fn neighbor_advertisement(address: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let ip = address.octets();
    let says = |checksum: [u8; 2]| {
        [&[NEIGHBOR_ADVERTISEMENT, 0], &checksum[..], &[OVERRIDE, 0, 0, 0], &ip, &TARGET_LINK_ADDRESS, &mac]
            .concat()
    };
    let mut sum = Sum::default();
    let unsummed = says([0, 0]);
    pseudo_header(&mut sum, address.into(), ALL_NODES.into(), unsummed.len(), ICMPV6);
    sum.add(&unsummed);
    let message = says(sum.checksum().to_be_bytes());
    let length = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    // Version 6; nobody takes it from beyond the link (RFC 4861, section 7.1.2).
    let header = [0x60, 0, 0, 0, length[0], length[1], ICMPV6, 255];
    let to = ALL_NODES.octets();
    [&ALL_NODES_MAC[..], &mac, &ETHERTYPE_IPV6, &header, &ip, &to, &message].concat()
}

/// The sum of the internet (RFC 1071), of pieces of an even length each; the last may be odd.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sum(u64);

impl Sum {
    pub(crate) fn add(&mut self, octets: &[u8]) {
        for pair in octets.chunks(2) {
            let word =
                u16::from_be_bytes([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]);
            self.0 = self.0.saturating_add(u64::from(word));
        }
    }

    /// What makes the whole come to nothing.
    pub(crate) fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > u64::from(u16::MAX) {
            sum = (sum & u64::from(u16::MAX)) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

/// What IPv6 has summed beside a message (RFC 8200, section 8.1), and UDP over IPv4 (RFC 768).
pub(crate) fn pseudo_header(sum: &mut Sum, from: IpAddr, to: IpAddr, length: usize, protocol: u8) {
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => sum.add(&v4.octets()),
            IpAddr::V6(v6) => sum.add(&v6.octets()),
        }
    }
    sum.add(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    sum.add(&[0, 0, 0, protocol]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn an_ipv4_address_is_announced_by_a_request_and_a_reply() {
        let frames = frames("192.0.2.10".parse().unwrap(), MAC);
        let arp = "0001080006040001020000000007c000020a000000000000c000020a";
        assert_eq!(hex(&frames[0]), format!("ffffffffffff0200000000070806{arp}"));
        let arp = "0001080006040002020000000007c000020affffffffffffc000020a";
        assert_eq!(hex(&frames[1]), format!("ffffffffffff0200000000070806{arp}"));
    }

    #[test]
    fn an_ipv6_address_is_announced_to_all_nodes_and_overrides() {
        let frames = frames("2001:db8::10".parse().unwrap(), MAC);
        let [frame] = &frames[..] else { panic!("{frames:?}") };
        let (ethernet, packet) = frame.split_at(14);
        assert_eq!(hex(ethernet), "33330000000102000000000786dd");
        let (header, message) = packet.split_at(40);
        let ip = "20010db8000000000000000000000010";
        assert_eq!(hex(header), format!("6000000000203aff{ip}ff020000000000000000000000000001"));
        assert_eq!(hex(&message[..2]), "8800");
        assert_eq!(hex(&message[4..]), format!("20000000{ip}0201020000000007"));
        let mut sum = Sum::default();
        pseudo_header(&mut sum, "2001:db8::10".parse().unwrap(), ALL_NODES.into(), message.len(), ICMPV6);
        sum.add(message);
        assert_eq!(sum.checksum(), 0);
    }

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_sum_is_that_of_the_rfc() {
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]);
        assert_eq!(!sum.checksum(), 0xDDF2);
    }
}
