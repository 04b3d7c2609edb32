//! Finds and verifies, once per isolate, every word of V8 that a stack switch reads or writes.
//!
//! A word counts as found only if it is the single one that behaves as expected: written words are
//! written back at once, heap words are reached by a *path* (isolate, offset, pointer, offset) that is
//! calibrated once per process and verified by value in every isolate. Finding heap words by value alone
//! is wrong: recycled thread stacks leave equal stale words in recycled memory of later workers.
//!
//! Where they were seen on linux-x64 is told in docs/internals/v8-stacks.md.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Mutex;

use crate::layout::{Layout, StartWord};
use crate::read::Reader;
use crate::scope::{ScopeAccess, ScopeData};
use crate::symbols::{self, Functions, Isolate, ScopeFunctions};
use crate::{Refusal, Step, tls};

const WORD: usize = size_of::<usize>();

/// What the probe needs of Node-API to see V8's handles move.
pub trait NodeApi {
    /// Makes a new local handle and returns the address of its slot.
    fn fresh_local(&mut self) -> usize;
    /// Opens a handle scope.
    fn open_scope(&mut self);
    /// Closes the handle scope opened last.
    fn close_scope(&mut self);
}

/// Finds everything, or says which check failed.
pub(crate) fn probe(node: &mut dyn NodeApi) -> Result<Layout, Refusal> {
    Step::Symbols.check_not_forced()?;
    let functions = Functions::resolve()?;
    let isolate = find_isolate(&functions)?;
    let block = tls::executable_block()
        .ok_or_else(|| Refusal::new(Step::ThreadId, "the executable has no block of thread-local storage"))?;
    let thread_id = find_thread_id(&functions, isolate, &block)?;
    let cached_start = find_cached_start(&functions, &block)?;
    let reader = Reader::new()
        .map_err(|error| Refusal::new(Step::CollectorStart, format!("memory cannot be read: {error}")))?;
    let collector_starts = find_collector_starts(&functions, isolate, &block, &reader)?;
    let scopes = find_scopes(isolate, &reader, node)?;
    Ok(Layout { isolate, functions, scopes, thread_id, cached_start, collector_starts })
}

/// The bytes of the isolate, which is a heap block of its own on Linux.
pub(crate) fn isolate_size(isolate: Isolate) -> usize {
    // SAFETY: (measured) the isolate is allocated by malloc on every supported version on Linux.
    unsafe { libc::malloc_usable_size(isolate) }
}

/// A copy of the isolate's words.
pub(crate) fn isolate_words(isolate: Isolate, reader: &Reader) -> Option<Vec<usize>> {
    let mut words = vec![0; isolate_size(isolate) / WORD];
    reader.words(isolate as usize, &mut words).then_some(words)
}

fn find_isolate(functions: &Functions) -> Result<Isolate, Refusal> {
    Step::Isolate.check_not_forced()?;
    let isolate = symbols::current_isolate()?;
    // SAFETY: (measured) `IsLocked` compares the lock's owner with the current thread id and has no effect.
    if isolate.is_null() || !unsafe { (functions.is_locked)(isolate) } {
        return Err(Refusal::new(Step::Isolate, "the current isolate is not locked by this thread"));
    }
    Ok(isolate)
}

/// The one 4-byte word that decides whether this thread owns the isolate's lock.
fn find_thread_id(
    functions: &Functions,
    isolate: Isolate,
    block: &Range<usize>,
) -> Result<*mut i32, Refusal> {
    /// No thread id of V8 is as large: they count up from 1, one for each stack and thread of the process.
    const FOREIGN_ID: i32 = 0x7fff_fff0;
    Step::ThreadId.check_not_forced()?;
    let candidates: Vec<*mut i32> = block
        .clone()
        .step_by(size_of::<i32>())
        .map(|address| address as *mut i32)
        .filter(|&word| {
            // SAFETY: (measured) the word lies in this thread's own storage. It is written back before anything
            // but `IsLocked`, which only compares, has run; nothing else runs on this thread.
            unsafe {
                let value = word.read_volatile();
                if !(1..FOREIGN_ID).contains(&value) {
                    return false;
                }
                word.write_volatile(FOREIGN_ID);
                let locked = (functions.is_locked)(isolate);
                word.write_volatile(value);
                !locked
            }
        })
        .collect();
    match candidates[..] {
        [word] => Ok(word),
        _ => Err(Refusal::new(
            Step::ThreadId,
            format!("expected one word that holds V8's thread id, found {}", candidates.len()),
        )),
    }
}

/// The word that `GetStackStart()` returns, if it is cached in thread-local storage.
fn find_cached_start(functions: &Functions, block: &Range<usize>) -> Result<Option<StartWord>, Refusal> {
    Step::StackStart.check_not_forced()?;
    // SAFETY: (measured) a static member without arguments that returns an address.
    let get = || unsafe { (functions.stack_start)() };
    let start = get();
    let candidates: Vec<*mut usize> = (block.start.next_multiple_of(WORD)..block.end - (WORD - 1))
        .step_by(WORD)
        .map(|address| address as *mut usize)
        .filter(|&word| {
            // SAFETY: (measured) as for the thread id: own storage, written back at once.
            unsafe {
                if word.read_volatile() != start {
                    return false;
                }
                word.write_volatile(start - 64);
                let follows = get() == start - 64;
                word.write_volatile(start);
                follows
            }
        })
        .collect();
    match candidates[..] {
        [] => Ok(None),
        [word] => Ok(Some(StartWord { word, main_start: start })),
        _ => Err(Refusal::new(
            Step::StackStart,
            format!("expected at most one cached stack start, found {}", candidates.len()),
        )),
    }
}

/// A way from the isolate to the main LocalHeap's stack start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeapPath {
    /// The word itself lies in the isolate (Node 20).
    Direct { offset: usize },
    /// A pointer in the isolate leads to a block that holds the word.
    Indirect { offset: usize, inner: usize },
}

/// The two paths, the same for every isolate of one process.
#[derive(Clone, Copy, Debug)]
struct Calibration {
    local_heap: HeapPath,
    /// From `GetCppHeap()` to the pointer to its `heap::base::Stack`, whose first word is meant.
    cpp_heap: isize,
}

static CALIBRATION: Mutex<Option<Calibration>> = Mutex::new(None);

/// How far around the C++ heap's address its pointer to the stack is looked for, in bytes.
const CPP_HEAP_REACH: usize = 0x400;

fn find_collector_starts(
    functions: &Functions,
    isolate: Isolate,
    block: &Range<usize>,
    reader: &Reader,
) -> Result<[StartWord; 2], Refusal> {
    Step::CollectorStart.check_not_forced()?;
    // SAFETY: (measured) reads one field of the isolate.
    let cpp_heap = unsafe { (functions.cpp_heap)(isolate) };
    if cpp_heap == 0 {
        return Err(Refusal::new(Step::CollectorStart, "the isolate has no C++ heap"));
    }
    let search = Search::new(functions, isolate, cpp_heap, block, reader)?;
    let mut calibration = CALIBRATION.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let paths = match *calibration {
        Some(paths) => paths,
        None => *calibration.insert(search.calibrate()?),
    };
    Ok([search.follow_local_heap(paths.local_heap)?, search.follow_cpp_heap(paths.cpp_heap)?])
}

/// One isolate's memory, and what a stack start looks like there.
struct Search<'a> {
    reader: &'a Reader,
    isolate: usize,
    words: Vec<usize>,
    cpp_heap: usize,
    /// V8's idea of the start of this thread's stack, and pthread's: they differ on the main thread.
    starts: [usize; 2],
    /// This thread's stack and storage, which hold many copies of the start.
    excluded: [Range<usize>; 2],
}

impl<'a> Search<'a> {
    fn new(
        functions: &Functions,
        isolate: Isolate,
        cpp_heap: usize,
        block: &Range<usize>,
        reader: &'a Reader,
    ) -> Result<Self, Refusal> {
        let stack = current_stack().ok_or_else(|| {
            Refusal::new(Step::CollectorStart, "the bounds of the thread's stack are unknown")
        })?;
        let words = isolate_words(isolate, reader)
            .ok_or_else(|| Refusal::new(Step::CollectorStart, "the isolate cannot be read"))?;
        // SAFETY: (measured) a static member without arguments that returns an address.
        let start = unsafe { (functions.stack_start)() };
        Ok(Self {
            reader,
            isolate: isolate as usize,
            words,
            cpp_heap,
            starts: [start, stack.end],
            // The thread's control block follows its storage; one page of it is left out as well.
            excluded: [stack, block.start..block.end + 4096],
        })
    }

    fn is_start(&self, value: usize) -> bool {
        self.starts.contains(&value)
    }

    /// The word at `address` if that is heap memory and not the thread's own.
    fn heap_word(&self, address: usize) -> Option<usize> {
        let allowed = address.is_multiple_of(WORD)
            && self.reader.is_heap(address)
            && !self.excluded.iter().any(|range| range.contains(&address));
        if allowed { self.reader.word(address) } else { None }
    }

    fn calibrate(&self) -> Result<Calibration, Refusal> {
        let cpp_heap = one("pointers to the C++ heap's stack", self.cpp_heap_candidates())?;
        let owned_by_cpp_heap = self.follow_cpp_heap(cpp_heap)?.word as usize;
        let mut paths: Vec<HeapPath> = self.direct_candidates().collect();
        paths
            .extend(self.indirect_candidates().filter(|&path| self.address(path) != Some(owned_by_cpp_heap)));
        Ok(Calibration { local_heap: one("words of the main LocalHeap", paths)?, cpp_heap })
    }

    fn direct_candidates(&self) -> impl Iterator<Item = HeapPath> {
        let indices = self.words.iter().enumerate().filter(|(_, word)| self.is_start(**word));
        indices.map(|(index, _)| HeapPath::Direct { offset: index * WORD })
    }

    /// The isolate's pointer must be the start of a malloc chunk, and the target lie inside that chunk.
    fn indirect_candidates(&self) -> impl Iterator<Item = HeapPath> {
        self.words.iter().enumerate().flat_map(|(index, &pointer)| {
            let size = self.chunk_size(pointer).unwrap_or(0);
            let mut chunk = vec![0; size / WORD];
            if !self.reader.words(pointer, &mut chunk) {
                chunk.clear();
            }
            let offset = index * WORD;
            let hits = chunk.into_iter().enumerate().filter(|(_, word)| self.is_start(*word));
            hits.map(move |(inner, _)| HeapPath::Indirect { offset, inner: inner * WORD })
        })
    }

    /// The usable bytes of glibc's chunk that starts at `pointer`: its size word lies just before it.
    fn chunk_size(&self, pointer: usize) -> Option<usize> {
        const FLAGS: usize = 0xf;
        if !pointer.is_multiple_of(16) {
            return None;
        }
        self.heap_word(pointer)?;
        let size = self.heap_word(pointer.checked_sub(WORD)?)? & !FLAGS;
        (0x20..=0x4000).contains(&size).then(|| size - WORD)
    }

    /// Looks on both sides: `v8::CppHeap` is a base class at some offset inside the object.
    fn cpp_heap_candidates(&self) -> Vec<isize> {
        let mut words = [0; 2 * CPP_HEAP_REACH / WORD];
        if !self.reader.words(self.cpp_heap - CPP_HEAP_REACH, &mut words) {
            return Vec::new();
        }
        let hits = words.iter().enumerate().filter(|&(_, &pointer)| {
            pointer.is_multiple_of(16) && self.heap_word(pointer).is_some_and(|word| self.is_start(word))
        });
        hits.map(|(index, _)| (index * WORD) as isize - CPP_HEAP_REACH as isize).collect()
    }

    /// Where a path leads in this isolate.
    fn address(&self, path: HeapPath) -> Option<usize> {
        match path {
            HeapPath::Direct { offset } => Some(self.isolate + offset),
            HeapPath::Indirect { offset, inner } => Some(self.words.get(offset / WORD)? + inner),
        }
    }

    fn follow_local_heap(&self, path: HeapPath) -> Result<StartWord, Refusal> {
        let value = match path {
            HeapPath::Direct { offset } => self.words.get(offset / WORD).copied(),
            HeapPath::Indirect { .. } => self.address(path).and_then(|address| self.heap_word(address)),
        };
        self.verified("the main LocalHeap", self.address(path), value)
    }

    fn follow_cpp_heap(&self, offset: isize) -> Result<StartWord, Refusal> {
        let pointer = self.reader.word(self.cpp_heap.wrapping_add_signed(offset));
        self.verified("the C++ heap", pointer, pointer.and_then(|pointer| self.heap_word(pointer)))
    }

    fn verified(
        &self,
        place: &str,
        address: Option<usize>,
        value: Option<usize>,
    ) -> Result<StartWord, Refusal> {
        match (address, value) {
            (Some(address), Some(value)) if self.is_start(value) => {
                Ok(StartWord { word: address as *mut usize, main_start: value })
            }
            _ => Err(Refusal::new(
                Step::CollectorStart,
                format!("the word of {place} does not hold the start of this thread's stack"),
            )),
        }
    }
}

fn one<T: Copy>(what: &str, candidates: Vec<T>) -> Result<T, Refusal> {
    match candidates[..] {
        [candidate] => Ok(candidate),
        _ => Err(Refusal::new(
            Step::CollectorStart,
            format!("expected one candidate for the {what}, found {}", candidates.len()),
        )),
    }
}

/// The lowest and highest address of the current thread's stack; see pthread_getattr_np(3).
pub(crate) fn current_stack() -> Option<Range<usize>> {
    let mut base: *mut c_void = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: (local) the attributes are initialised by pthread_getattr_np before they are read, and destroyed.
    let failed = unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let failed = libc::pthread_attr_getstack(&raw const attributes, &raw mut base, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        failed
    };
    (failed == 0).then(|| base as usize..base as usize + size)
}

fn find_scopes(isolate: Isolate, reader: &Reader, node: &mut dyn NodeApi) -> Result<ScopeAccess, Refusal> {
    Step::HandleScope.check_not_forced()?;
    if let Some(functions) = ScopeFunctions::resolve() {
        return Ok(ScopeAccess::Exported(functions));
    }
    let delete_extensions = symbols::delete_extensions().ok_or_else(|| {
        Refusal::new(Step::HandleScope, "neither HandleScope's constructor nor DeleteExtensions is exported")
    })?;
    let mut candidates: Vec<usize> = Vec::new();
    for round in 0..2 {
        let next = node.fresh_local() + WORD;
        let words = isolate_words(isolate, reader)
            .ok_or_else(|| Refusal::new(Step::HandleScope, "the isolate cannot be read"))?;
        let fits = |index: usize| looks_like_scope_data(&words, index, next);
        if round == 0 {
            candidates = (0..words.len() - 2).filter(|&index| fits(index)).collect();
        } else {
            candidates.retain(|&index| fits(index));
        }
    }
    candidates.retain(|&index| {
        let level = || reader.word(isolate as usize + (index + 2) * WORD).map(|word| word as i32);
        let before = level();
        node.open_scope();
        let inside = level();
        node.close_scope();
        before.map(|level| level + 1) == inside && level() == before
    });
    match candidates[..] {
        [index] => {
            let data = (isolate as usize + index * WORD) as *mut ScopeData;
            Ok(ScopeAccess::Data { data, delete_extensions })
        }
        _ => Err(Refusal::new(
            Step::HandleScope,
            format!("expected one candidate for the handle scope's data, found {}", candidates.len()),
        )),
    }
}

/// `{ next, limit, level: i32, sealed_level: i32 }`, where `next` follows the handle made last.
fn looks_like_scope_data(words: &[usize], index: usize, expected_next: usize) -> bool {
    const HANDLE_BLOCK_REACH: usize = 1 << 16;
    let [next, limit, levels] = [words[index], words[index + 1], words[index + 2]];
    next == expected_next
        && limit.checked_sub(next).is_some_and(|room| room <= HANDLE_BLOCK_REACH)
        && (1..100_000).contains(&(levels as i32))
}
