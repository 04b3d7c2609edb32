//! Asking the processor for memory before it is needed.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `length` bytes from `address` on. What lies there does not matter: it has no effect but
/// on time, and none at all on processors that it is not written for.
#[inline]
pub fn prefetch(address: usize, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..length).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: (local) the instruction never faults, whether the address is mapped or not.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(offset) as *const i8) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, length, LINE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_may_be_asked_for() {
        let here = [0u8; 256];
        prefetch(here.as_ptr() as usize, here.len());
        prefetch(0, LINE);
        prefetch(usize::MAX, 10 * LINE);
        assert_eq!(here, [0; 256]);
    }
}
