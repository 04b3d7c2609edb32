//! Reads of memory whose mapping is not known: they fail instead of raising a signal.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Reads this process's own memory through the kernel.
pub(crate) struct Reader {
    /// Used where process_vm_readv(2) is missing (seccomp sandboxes, emulators).
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// Anonymous writable mappings without the stacks of threads.
    anonymous: Vec<Range<usize>>,
}

impl Reader {
    /// Looks at the mappings and picks the system call that works here.
    ///
    /// # Errors
    /// What opening a pipe returned, where one is needed.
    pub(crate) fn new() -> io::Result<Self> {
        let mut reader = Self { pipe: None, anonymous: anonymous_mappings() };
        let probe = 42usize;
        let forced = std::env::var("GREENSTACK_FORCE_FALLBACK").is_ok_and(|list| list.contains("pipe"));
        if forced || reader.word(&raw const probe as usize) != Some(probe) {
            reader.pipe = Some(pipe()?);
        }
        Ok(reader)
    }

    /// Whether `address` lies in anonymous writable memory that is no thread's stack.
    pub(crate) fn is_heap(&self, address: usize) -> bool {
        self.anonymous.iter().any(|range| range.contains(&address))
    }

    /// The word at `address`, or `None` if it cannot be read.
    pub(crate) fn word(&self, address: usize) -> Option<usize> {
        let mut word = [0];
        self.words(address, &mut word).then_some(word[0])
    }

    /// Fills `words` from `address` on; `false` if any of them cannot be read.
    pub(crate) fn words(&self, address: usize, words: &mut [usize]) -> bool {
        let bytes = size_of_val(words);
        match &self.pipe {
            None => {
                let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: bytes };
                let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
                // SAFETY: (local) `local` describes `words`; the kernel checks `remote` and fails with EFAULT.
                let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
                usize::try_from(read) == Ok(bytes)
            }
            // A pipe holds 64 KiB; 32 words at a time never fill it.
            Some((receiver, sender)) => words.chunks_mut(32).enumerate().all(|(index, chunk)| {
                let bytes = size_of_val(chunk);
                let from = address.wrapping_add(index * 32 * size_of::<usize>());
                // SAFETY: (local) the kernel checks `from` and fails with EFAULT; `chunk` has room for what
                // has just been written.
                unsafe {
                    let written = libc::write(sender.as_raw_fd(), from as *const libc::c_void, bytes);
                    let Ok(written) = usize::try_from(written) else { return false };
                    libc::read(receiver.as_raw_fd(), chunk.as_mut_ptr().cast(), written);
                    written == bytes
                }
            }),
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: (local) `ends` has room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: (local) pipe2 succeeded, so both are open and ours alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Parses /proc/self/maps; see proc_pid_maps(5).
fn anonymous_mappings() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(parse_anonymous).collect()
}

fn parse_anonymous(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_whitespace();
    let (low, high) = fields.next()?.split_once('-')?;
    let writable = fields.next()?.as_bytes().get(1) == Some(&b'w');
    let inode = fields.nth(2)?;
    let is_stack = fields.next().is_some_and(|path| path.contains("stack"));
    let range = usize::from_str_radix(low, 16).ok()?..usize::from_str_radix(high, 16).ok()?;
    (writable && inode == "0" && !is_stack).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_pipe() -> Reader {
        Reader { pipe: Some(pipe().unwrap()), anonymous: anonymous_mappings() }
    }

    #[test]
    fn reads_words_that_are_mapped() {
        let words: Vec<usize> = (0..1000).collect();
        for reader in [Reader::new().unwrap(), with_pipe()] {
            let mut copy = vec![0; 1000];
            assert!(reader.words(words.as_ptr() as usize, &mut copy));
            assert_eq!(copy, words);
            assert_eq!(reader.word(&raw const words[7] as usize), Some(7));
        }
    }

    #[test]
    fn an_unmapped_address_is_none_not_a_signal() {
        for reader in [Reader::new().unwrap(), with_pipe()] {
            assert_eq!(reader.word(8), None);
            assert_eq!(reader.word(usize::MAX - 7), None);
            let one = 1usize;
            assert_eq!(reader.word(&raw const one as usize), Some(1));
        }
    }

    #[test]
    fn only_anonymous_writable_memory_is_heap() {
        let reader = Reader::new().unwrap();
        let boxed = vec![0u8; 1 << 22];
        assert!(parse_anonymous("7f10-7f20 rw-p 00000000 00:00 0").is_some());
        assert!(parse_anonymous("7f10-7f20 rw-p 00000000 00:00 0 [stack]").is_none());
        assert!(parse_anonymous("7f10-7f20 r--p 00000000 00:00 0").is_none());
        assert!(parse_anonymous("7f10-7f20 rw-p 00000000 08:01 77 /bin/x").is_none());
        assert!(Reader::new().unwrap().is_heap(boxed.as_ptr() as usize + 4096));
        assert!(!reader.is_heap(parse_anonymous as *const () as usize));
    }
}
