//! Starts to load what is used soon.

/// Starts to load a value into the near cache. It changes nothing, and only helps where many values that are far away are
/// looked at one after the other.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        let start = std::ptr::from_ref(value).cast::<u8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            line(start.wrapping_add(offset));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(unsafe_code, reason = "an instruction; the block has its argument")]
pub(crate) fn line(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: an instruction of every x86-64 CPU; it reads nothing that anybody sees and never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}
