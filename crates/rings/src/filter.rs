//! Which packets the kernel puts into a ring: a program of the classic packet filter (`SO_ATTACH_FILTER`), over a packet
//! that begins with its IP header.

use std::net::IpAddr;

use libc::sock_filter;

use crate::packet::Ports;

/// Octets that are kept of a fragment, which is only counted.
const OF_FRAGMENT: u32 = 64;
/// All octets.
const WHOLE: u32 = 0x4_0000;
/// Where the kernel shows whether a packet is for this machine (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const UDP: u32 = 17;
const FRAGMENT_HEADER: u32 = 44;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_OCTET: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF_FROM_X: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const X_IS_HEADER_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const SHIFT_RIGHT: u32 = libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const MORE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Where a step leads, beside the next one.
#[derive(Clone, Copy)]
enum Then {
    Next,
    /// What does not hold is not for us.
    NeedsIt,
    /// What holds is not for us.
    NeedsNot,
    /// What holds is a fragment.
    IsFragment,
}

/// The program for datagrams to these ports.
pub(crate) fn program(ports: &Ports) -> Vec<sock_filter> {
    let mut steps = vec![
        // For this machine, not another that it only overhears.
        (LOAD_WORD, PACKET_TYPE, Then::Next),
        (EQUAL, 0, Then::NeedsIt),
    ];
    match ports.address {
        IpAddr::V4(address) => {
            steps.extend([(LOAD_OCTET, 9, Then::Next), (EQUAL, UDP, Then::NeedsIt)]);
            if !address.is_unspecified() {
                steps.extend([(LOAD_WORD, 16, Then::Next), (EQUAL, u32::from(address), Then::NeedsIt)]);
            }
            steps.extend([(LOAD_HALF, 6, Then::Next), (ANY_BIT, 0x3fff, Then::IsFragment)]);
            steps.extend([(X_IS_HEADER_LENGTH, 0, Then::Next), (LOAD_HALF_FROM_X, 2, Then::Next)]);
        }
        IpAddr::V6(address) => {
            if !address.is_unspecified() {
                let words = u128::from(address).to_be_bytes();
                for (at, word) in (24..).step_by(4).zip(words.chunks_exact(4)) {
                    let word = word.iter().fold(0, |word, octet| word << 8 | u32::from(*octet));
                    steps.extend([(LOAD_WORD, at, Then::Next), (EQUAL, word, Then::NeedsIt)]);
                }
            }
            steps.extend([(LOAD_OCTET, 6, Then::Next), (EQUAL, FRAGMENT_HEADER, Then::IsFragment)]);
            steps.extend([(EQUAL, UDP, Then::NeedsIt), (LOAD_HALF, 42, Then::Next)]);
        }
    }
    steps.extend([
        (AT_LEAST, u32::from(ports.min), Then::NeedsIt),
        (MORE, u32::from(ports.max), Then::NeedsNot),
    ]);
    if ports.parts > 1 {
        steps.extend([(SHIFT_RIGHT, 1, Then::Next), (MODULO, u32::from(ports.parts), Then::Next)]);
        steps.push((EQUAL, u32::from(ports.part), Then::NeedsIt));
    }
    // Of several rings one counts fragments.
    let of_fragment = if ports.part == 0 { OF_FRAGMENT } else { 0 };
    let returns = [WHOLE, of_fragment, 0].map(|octets| (RETURN, octets, Then::Next));
    let (whole, count) = (steps.len(), steps.len() + returns.len());
    steps.extend(returns);
    (0..count).zip(steps).map(|(at, (code, k, then))| step(code, k, then, (at, whole))).collect()
}

fn step(code: u32, k: u32, then: Then, (at, whole): (usize, usize)) -> sock_filter {
    // A program is shorter than 64 steps.
    let to = |place: usize| u8::try_from(place.saturating_sub(at + 1)).unwrap_or(u8::MAX);
    let (fragment, nothing) = (to(whole + 1), to(whole + 2));
    let (jt, jf) = match then {
        Then::Next => (0, 0),
        Then::NeedsIt => (0, nothing),
        Then::NeedsNot => (nothing, 0),
        Then::IsFragment => (fragment, 0),
    };
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}
