//! Asking for memory before it is needed.

/// Octets that a processor fetches together.
const LINE: usize = 64;

/// Has the processor fetch so many octets from there on into its caches, without waiting for them. Nothing is read, and
/// nothing but time depends on it: any address will do.
#[inline]
pub fn fetch(from: *const u8, octets: usize) {
    let lines = (from.addr() % LINE + octets).div_ceil(LINE);
    for line in 0..lines {
        one(from.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn one(at: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: it changes nothing that a program can see, and does not fail, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn one(at: *const u8) {
    // SAFETY: it changes nothing that a program can see, and does not fail, whatever the address.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn one(_at: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_will_do() {
        let octets = [7_u8; 300];
        for (from, length) in
            [(octets.as_ptr(), 300), (std::ptr::null(), 4_096), (usize::MAX as *const u8, 1)]
        {
            fetch(from, length);
        }
        assert_eq!(octets, [7; 300]);
    }
}
