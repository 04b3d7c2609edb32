//! Linux on x86-64: TLS variant II, the executable's block ends at the thread pointer.
//!
//! Source: "ELF Handling For Thread-Local Storage" (Drepper), section 3; dl_iterate_phdr(3).

use std::ffi::c_void;
use std::ops::Range;

/// Size and alignment of the executable's `PT_TLS` segment.
#[derive(Default)]
struct Segment {
    size: usize,
    align: usize,
}

/// The addresses of the executable's thread-local variables in the current thread.
pub(crate) fn executable_block() -> Option<Range<usize>> {
    let mut segment = Segment::default();
    // SAFETY: (local) the callback casts `data` back to the `Segment` it was made from, and the walk ends
    // before this function returns.
    unsafe {
        libc::dl_iterate_phdr(Some(read_first_object), (&raw mut segment).cast());
    }
    if segment.size == 0 || !segment.align.is_power_of_two() {
        return None;
    }
    let end = thread_pointer();
    Some(end - segment.size.next_multiple_of(segment.align)..end)
}

/// Reads the first object, which is the executable, and stops the walk.
unsafe extern "C" fn read_first_object(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> libc::c_int {
    // SAFETY: (protocol) dl_iterate_phdr(3) hands out a valid `info` and our own `data`; the program headers
    // it points to number `dlpi_phnum`.
    unsafe {
        let segment = &mut *data.cast::<Segment>();
        let headers = std::slice::from_raw_parts((*info).dlpi_phdr, usize::from((*info).dlpi_phnum));
        for header in headers.iter().filter(|header| header.p_type == libc::PT_TLS) {
            segment.size = usize::try_from(header.p_memsz).unwrap_or(0);
            segment.align = usize::try_from(header.p_align).unwrap_or(1).max(1);
        }
    }
    1
}

fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: (local) the x86-64 ABI stores the thread pointer itself at `fs:0`; reading it has no effect.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local!(static VARIABLE: u64 = const { 1 });

    #[test]
    fn a_thread_local_of_the_executable_lies_in_the_block() {
        let block = executable_block().unwrap();
        VARIABLE.with(|variable| assert!(block.contains(&(std::ptr::from_ref(variable) as usize))));
    }

    #[test]
    fn each_thread_has_a_block_of_its_own() {
        let here = executable_block().unwrap();
        let there = std::thread::spawn(|| executable_block().unwrap()).join().unwrap();
        assert_ne!(here, there);
        assert_eq!(here.len(), there.len());
    }
}
