//! The shared library: where it is looked for, whether this machine can run it, and the five functions we call. The only
//! `unsafe` code of the workspace is in this file.

#![expect(unsafe_code, reason = "the engine is a C library; every block says why it is sound")]

use super::EngineError;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// The engine's version that this binary is made for: the npm package's, and what `chdb_version` returns before the dash.
pub const ENGINE_VERSION: &str = "26.7.3-stable.1";

const FILE_NAME: &str = "libchdb.so";

/// Where the library is looked for, best first: the configured file, beside the binary, `DATA_DIR/engine`, then the user's
/// cache (`$XDG_CACHE_HOME`, else `$HOME/.cache`), where `cargo xtask engine` puts it. Whatever is `None` is left out.
pub fn searched_places(
    configured: Option<&Path>,
    binary: Option<&Path>,
    data_dir: Option<&Path>,
    cache_home: Option<&Path>,
) -> Vec<PathBuf> {
    // A configured file is meant: another one found elsewhere would hide the mistake.
    if let Some(configured) = configured {
        return vec![configured.to_owned()];
    }
    let beside = binary.and_then(Path::parent).map(|dir| dir.join(FILE_NAME));
    let in_data = data_dir.map(|dir| dir.join("engine").join(FILE_NAME));
    let in_cache =
        cache_home.map(|dir| dir.join("control-tower/engine").join(ENGINE_VERSION).join(FILE_NAME));
    [beside, in_data, in_cache].into_iter().flatten().collect()
}

/// The first candidate that is a file.
pub fn find_library(candidates: &[PathBuf]) -> Result<PathBuf, EngineError> {
    candidates
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| EngineError::NotFound { searched: candidates.to_vec() })
}

/// Whether the library can run on this machine. It is built for Linux on x86-64 with glibc and AVX2; without AVX2 it would
/// die of an illegal instruction, with no word of why.
pub(super) fn check_machine() -> Result<(), EngineError> {
    let unsupported = |reason: &str| Err(EngineError::Unsupported { reason: reason.to_owned() });
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return unsupported("it is built for Linux on x86-64 only");
    }
    if cfg!(not(target_env = "gnu")) {
        return unsupported("it needs glibc, and this binary is built for another C library");
    }
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return unsupported("this processor has no AVX2");
    }
    Ok(())
}

/// The engine's answer to a command line; opaque to us.
#[repr(C)]
struct EngineResult {
    internal: *mut c_void,
}

type Version = unsafe extern "C" fn() -> *const c_char;
type SetSignalHandlers = unsafe extern "C" fn(c_int);
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut EngineResult;
type ResultError = unsafe extern "C" fn(*mut EngineResult) -> *const c_char;
type DestroyResult = unsafe extern "C" fn(*mut EngineResult);

/// The loaded library. It is never unloaded: the engine leaves threads behind that run in it.
pub(super) struct Library {
    query_command_line: QueryCommandLine,
    result_error: ResultError,
    destroy_result: DestroyResult,
}

impl Library {
    /// Loads the file and checks its version.
    pub(super) fn load(path: &Path) -> Result<Self, EngineError> {
        let failed =
            |error: libloading::Error| EngineError::Load { path: path.to_owned(), reason: error.to_string() };
        // SAFETY: loading runs the library's initialisers. The file is the engine that the operator installed; its
        // initialisers set up static data and touch nothing of ours. The machine was checked for the CPU features it needs.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        // SAFETY: `chdb_version` is `const char * chdb_version(void)`.
        let version = unsafe { library.get::<Version>(b"chdb_version\0") }.map_err(failed)?;
        // SAFETY: it takes nothing and returns a NUL-terminated text with static lifetime, or null.
        let version = unsafe { text(version()) };
        let expected = ENGINE_VERSION.split('-').next().unwrap_or(ENGINE_VERSION);
        if version != expected {
            return Err(EngineError::WrongVersion { path: path.to_owned(), found: version });
        }
        // SAFETY: `void chdb_set_signal_handlers_enabled(int)`.
        let signals = unsafe { library.get::<SetSignalHandlers>(b"chdb_set_signal_handlers_enabled\0") }
            .map_err(failed)?;
        // SAFETY: called before the engine starts, as it demands; signals stay with us.
        unsafe { signals(0) };
        // SAFETY: each type is the C declaration of the symbol in version 26.7.3, which was checked above.
        let (query_command_line, result_error, destroy_result) = unsafe {
            (
                *library.get::<QueryCommandLine>(b"chdb_query_cmdline\0").map_err(failed)?,
                *library.get::<ResultError>(b"chdb_result_error\0").map_err(failed)?,
                *library.get::<DestroyResult>(b"chdb_destroy_query_result\0").map_err(failed)?,
            )
        };
        std::mem::forget(library);
        Ok(Self { query_command_line, result_error, destroy_result })
    }

    /// Runs the engine with this command line until its last query ends; an error is what the engine says.
    pub(super) fn run_command_line(&self, line: &[String]) -> Result<(), String> {
        let line: Vec<CString> = line
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let mut words: Vec<*mut c_char> = line.iter().map(|word| word.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(words.len()).map_err(|e| e.to_string())?;
        // The C convention ends argv with a null that argc does not count.
        words.push(std::ptr::null_mut());
        // SAFETY: `words` holds `count` NUL-terminated texts and outlives the call; the engine copies what it keeps and
        // does not write to them. It runs once in this process, which `engine::run` documents and the lock enforces.
        let result = unsafe { (self.query_command_line)(count, words.as_mut_ptr()) };
        if result.is_null() {
            return Err("the engine returned nothing".to_owned());
        }
        // SAFETY: `result` is not null and came from the engine; the text, if any, lives as long as the result.
        let error = unsafe { text((self.result_error)(result)) };
        // SAFETY: `result` is destroyed once, and not used afterwards.
        unsafe { (self.destroy_result)(result) };
        if error.is_empty() { Ok(()) } else { Err(error) }
    }
}

/// Copies a C text; null is the empty text.
///
/// # Safety
/// `text` is null or points to a NUL-terminated text that is not changed meanwhile.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
