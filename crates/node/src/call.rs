//! Arguments in, values out: Node-API with every status checked.

use std::ffi::c_void;
use std::ptr;

use napi_sys::{napi_callback_info, napi_env, napi_status, napi_value};

use crate::core::Core;
use crate::error::{Failure, of_status};

/// The most arguments that a native function takes.
const MAX_ARGUMENTS: usize = 8;

/// What a native function returns: a value, or nothing for `undefined`.
pub(crate) type Returned = Result<napi_value, Failure>;

/// `undefined`, as what a native function returns.
pub(crate) const UNDEFINED: napi_value = ptr::null_mut();

pub(crate) fn check(status: napi_status) -> Result<(), Failure> {
    of_status(status).map_or(Ok(()), Err)
}

/// The arguments of one call.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    env: napi_env,
    values: [napi_value; MAX_ARGUMENTS],
}

/// Bytes of a view or buffer of JavaScript's. Fetch them anew after every park: see [`Arguments::bytes`].
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    start: *mut u8,
    length: usize,
}

impl Bytes {
    /// Runs `operation` on the bytes.
    ///
    /// `operation` must not call JavaScript: that could detach or change them.
    pub(crate) fn with<R>(self, operation: impl FnOnce(&mut [u8]) -> R) -> R {
        if self.length == 0 {
            return operation(&mut []);
        }
        // SAFETY: (protocol) the bytes belong to an argument of the running call, which keeps them alive, and no
        // JavaScript runs meanwhile. Shared memory may be written by another thread, as by any system call.
        operation(unsafe { std::slice::from_raw_parts_mut(self.start, self.length) })
    }
}

impl Arguments {
    pub(crate) fn value(&self, index: usize) -> napi_value {
        self.values[index]
    }

    pub(crate) fn int(&self, index: usize) -> Result<i32, Failure> {
        let mut number = 0;
        // SAFETY: (local) an argument of the running call.
        check(unsafe { napi_sys::napi_get_value_int32(self.env, self.values[index], &mut number) })?;
        Ok(number)
    }

    pub(crate) fn index(&self, index: usize) -> Result<u32, Failure> {
        let number = self.int(index)?;
        u32::try_from(number).map_err(|_| Failure::internal(format!("{number} is not an index")))
    }

    pub(crate) fn double(&self, index: usize) -> Result<f64, Failure> {
        let mut number = 0.0;
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_get_value_double(self.env, self.values[index], &mut number) })?;
        Ok(number)
    }

    pub(crate) fn bool(&self, index: usize) -> Result<bool, Failure> {
        let mut flag = false;
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_get_value_bool(self.env, self.values[index], &mut flag) })?;
        Ok(flag)
    }

    pub(crate) fn text(&self, index: usize) -> Result<String, Failure> {
        text(self.env, self.values[index])
    }

    /// `length` bytes from `offset` of a Uint8Array or Buffer.
    pub(crate) fn bytes(&self, index: usize, offset: usize, length: usize) -> Result<Bytes, Failure> {
        let mut total = 0;
        let mut start: *mut c_void = ptr::null_mut();
        // SAFETY: (local) as above; what is not asked for may be null.
        check(unsafe {
            napi_sys::napi_get_typedarray_info(
                self.env,
                self.values[index],
                ptr::null_mut(),
                &mut total,
                &mut start,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        match total.checked_sub(offset) {
            Some(room) if room >= length && (!start.is_null() || length == 0) => {
                // SAFETY: (local) within the view, as compared just above.
                Ok(Bytes { start: unsafe { start.cast::<u8>().add(offset) }, length })
            }
            _ => Err(Failure::new(
                "ERR_GREENSTACK_BUFFER_CHANGED",
                "the buffer was detached or resized while the greenlet was parked on it",
            )),
        }
    }

    /// All bytes of a Uint8Array or Buffer.
    pub(crate) fn all_bytes(&self, index: usize) -> Result<Bytes, Failure> {
        let mut length = 0;
        // SAFETY: (local) as above; what is not asked for may be null.
        check(unsafe {
            napi_sys::napi_get_typedarray_info(
                self.env,
                self.values[index],
                ptr::null_mut(),
                &mut length,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        self.bytes(index, 0, length)
    }

    /// The strings of an array.
    pub(crate) fn texts(&self, index: usize) -> Result<Vec<String>, Failure> {
        self.elements(index, text)
    }

    /// The numbers of an array.
    pub(crate) fn doubles(&self, index: usize) -> Result<Vec<f64>, Failure> {
        self.elements(index, |env, value| {
            let mut number = 0.0;
            // SAFETY: (local) as above.
            check(unsafe { napi_sys::napi_get_value_double(env, value, &mut number) })?;
            Ok(number)
        })
    }

    fn elements<T>(
        &self,
        index: usize,
        read: impl Fn(napi_env, napi_value) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let array = self.values[index];
        let mut length = 0;
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_get_array_length(self.env, array, &mut length) })?;
        (0..length)
            .map(|position| {
                let mut element = ptr::null_mut();
                // SAFETY: (local) as above.
                check(unsafe { napi_sys::napi_get_element(self.env, array, position, &mut element) })?;
                read(self.env, element)
            })
            .collect()
    }

    /// A text of which at most 255 bytes are wanted, put into `room`.
    pub(crate) fn short_text<'a>(&self, index: usize, room: &'a mut [u8; 256]) -> Result<&'a str, Failure> {
        let mut length = 0;
        // SAFETY: (local) room for as many bytes as are said, the NUL included.
        check(unsafe {
            napi_sys::napi_get_value_string_utf8(
                self.env,
                self.values[index],
                room.as_mut_ptr().cast(),
                room.len(),
                &mut length,
            )
        })?;
        // V8 writes whole characters only.
        Ok(std::str::from_utf8(&room[..length]).unwrap_or_default())
    }
}

fn text(env: napi_env, value: napi_value) -> Result<String, Failure> {
    let mut length = 0;
    // SAFETY: (local) a null buffer asks for the length in bytes.
    check(unsafe { napi_sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &mut length) })?;
    let mut bytes = vec![0u8; length + 1];
    // SAFETY: (local) room for the text and its NUL.
    check(unsafe {
        napi_sys::napi_get_value_string_utf8(env, value, bytes.as_mut_ptr().cast(), bytes.len(), &mut length)
    })?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What every exported callback does: fetch `arity` arguments, run `native`, throw its failure.
///
/// # Safety
/// To be called by Node-API only, for a function that was created with the isolate's `Core` as its data.
#[inline]
pub(crate) unsafe fn dispatch(
    env: napi_env,
    info: napi_callback_info,
    arity: usize,
    native: impl Fn(&'static Core, Arguments) -> Returned,
) -> napi_value {
    let mut count = arity.min(MAX_ARGUMENTS);
    let mut values = [ptr::null_mut(); MAX_ARGUMENTS];
    let mut data = ptr::null_mut();
    let (count_pointer, values_pointer) =
        if count == 0 { (ptr::null_mut(), ptr::null_mut()) } else { (&raw mut count, values.as_mut_ptr()) };
    // SAFETY: (local) room for `count` arguments; missing ones are filled with `undefined`.
    let status = unsafe {
        napi_sys::napi_get_cb_info(env, info, count_pointer, values_pointer, ptr::null_mut(), &mut data)
    };
    let returned = check(status).and_then(|()| {
        // SAFETY: (protocol) the data is this isolate's `Core`, which is never freed.
        let core: &'static Core = unsafe { &*data.cast::<Core>() };
        if core.is_closed() {
            return Err(Failure::new(
                "ERR_GREENSTACK_HUB_DESTROYED",
                "the hub of this thread has been destroyed",
            ));
        }
        native(core, Arguments { env, values })
    });
    returned.unwrap_or_else(|failure| {
        failure.throw(env);
        UNDEFINED
    })
}

/// Makes values of the running call.
impl Core {
    pub(crate) fn int_value(&self, number: i32) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) a call of Node's is running, so a handle scope is open.
        check(unsafe { napi_sys::napi_create_int32(self.env, number, &mut value) })?;
        Ok(value)
    }

    pub(crate) fn double_value(&self, number: f64) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_create_double(self.env, number, &mut value) })?;
        Ok(value)
    }

    pub(crate) fn bool_value(&self, flag: bool) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_get_boolean(self.env, flag, &mut value) })?;
        Ok(value)
    }

    pub(crate) fn text_value(&self, text: &str) -> Returned {
        self.utf8_value(text.as_bytes())
    }

    /// A string of what should be UTF-8: V8 replaces what is not.
    pub(crate) fn utf8_value(&self, bytes: &[u8]) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) as above; the bytes are passed with their length.
        check(unsafe {
            napi_sys::napi_create_string_utf8(
                self.env,
                bytes.as_ptr().cast(),
                bytes.len() as isize,
                &mut value,
            )
        })?;
        Ok(value)
    }

    /// A string of one byte for each character.
    pub(crate) fn latin1_value(&self, bytes: &[u8]) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) as above.
        check(unsafe {
            napi_sys::napi_create_string_latin1(
                self.env,
                bytes.as_ptr().cast(),
                bytes.len() as isize,
                &mut value,
            )
        })?;
        Ok(value)
    }

    /// A Buffer with a copy of the bytes.
    pub(crate) fn bytes_value(&self, bytes: &[u8]) -> Returned {
        let mut value = ptr::null_mut();
        // SAFETY: (local) as above; the bytes are passed with their length.
        check(unsafe {
            napi_sys::napi_create_buffer_copy(
                self.env,
                bytes.len(),
                bytes.as_ptr().cast(),
                ptr::null_mut(),
                &mut value,
            )
        })?;
        Ok(value)
    }

    pub(crate) fn array_value(&self, elements: impl IntoIterator<Item = Returned>) -> Returned {
        let mut array = ptr::null_mut();
        // SAFETY: (local) as above.
        check(unsafe { napi_sys::napi_create_array(self.env, &mut array) })?;
        for (position, element) in (0..).zip(elements) {
            // SAFETY: (local) as above.
            check(unsafe { napi_sys::napi_set_element(self.env, array, position, element?) })?;
        }
        Ok(array)
    }
}
