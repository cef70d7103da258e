//! A plugin for QEMU that counts, for each address of the guest's code, how often it is executed
//! inside the windows of granule's benchmark.
//!
//! The kernel marks a window's edges with two hints that do nothing (`arch::pmu::mark`); the plugin
//! sees them among the instructions and counts in between. At the end it writes a line for each
//! address that was reached, `address count`, in hexadecimal and decimal, to the file that its
//! argument `out=` names. `make bench PROFILE=1` builds it, loads it and turns the addresses into
//! functions and lines.
//!
//! No header and no binding: the few functions of the plugin interface (version 2 and later;
//! `include/qemu/qemu-plugin.h`) are declared here, and the emulator that loads the library has them.
//!
//! One virtual CPU at a time is assumed, as it is where instructions are counted exactly.
//!
//! Where QEMU has no plugins there is nothing in here.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The version of the interface that this speaks; QEMU refuses what it does not know.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 4;

/// A block of instructions that is being translated.
#[repr(C)]
pub struct Block {
    opaque: [u8; 0],
}

/// One of its instructions.
#[repr(C)]
pub struct Instruction {
    opaque: [u8; 0],
}

type Id = u64;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, call: extern "C" fn(Id, *mut Block));
    fn qemu_plugin_register_atexit_cb(
        id: Id,
        call: extern "C" fn(Id, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    fn qemu_plugin_insn_data(
        instruction: *const Instruction,
        to: *mut c_void,
        bytes: usize,
    ) -> usize;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        call: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
}

/// The callback reads no registers.
const NO_REGISTERS: c_int = 0;
/// `hint #112` and `hint #113`: a window begins, a window ends.
const BEGIN: u32 = 0xd503_2e1f;
const END: u32 = 0xd503_2e3f;

/// Whether a window is open.
static OPEN: AtomicBool = AtomicBool::new(false);
/// The count of each address; a count stays where it is for as long as the emulator runs.
static COUNTS: Mutex<BTreeMap<u64, &'static AtomicU64>> = Mutex::new(BTreeMap::new());
/// Where to write them.
static OUT: OnceLock<PathBuf> = OnceLock::new();

/// The entry by name: reads the arguments and asks to see what is translated. 0 is success.
///
/// # Safety
/// As QEMU calls it: `argv` holds `argc` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    _info: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    for n in 0..argc as usize {
        // SAFETY: the caller's promise: there are more of them than `n`.
        let arg = unsafe { argv.add(n) };
        // SAFETY: as above.
        let arg = unsafe { *arg };
        // SAFETY: as above: a string that ends with a zero.
        let arg = unsafe { CStr::from_ptr(arg) };
        if let Some(path) = arg.to_str().ok().and_then(|arg| arg.strip_prefix("out=")) {
            // A second one would change nothing.
            let _ = OUT.set(path.into());
        }
    }
    if OUT.get().is_none() {
        eprintln!("granule-hotspots: out=FILE says where to write");
        return 1;
    }
    // SAFETY: the identifier is ours, and the functions stay loaded.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate) };
    // SAFETY: as above.
    unsafe { qemu_plugin_register_atexit_cb(id, on_exit, std::ptr::null_mut()) };
    0
}

/// Gives each instruction of a block its count.
extern "C" fn on_translate(_id: Id, block: *mut Block) {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the block is valid during this call.
    for index in 0..unsafe { qemu_plugin_tb_n_insns(block) } {
        // SAFETY: as above, and there are more instructions than `index`.
        let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
        let mut word = 0_u32;
        let place = (&raw mut word).cast::<c_void>();
        // SAFETY: `place` has room for four bytes.
        unsafe { qemu_plugin_insn_data(instruction, place, size_of::<u32>()) };
        let (call, data): (extern "C" fn(c_uint, *mut c_void), _) = match u32::from_le(word) {
            BEGIN => (on_begin, std::ptr::null_mut()),
            END => (on_end, std::ptr::null_mut()),
            _ => {
                // SAFETY: the instruction is valid during this call.
                let address = unsafe { qemu_plugin_insn_vaddr(instruction) };
                let count: &'static AtomicU64 =
                    counts.entry(address).or_insert_with(|| Box::leak(Box::default()));
                (on_instruction, std::ptr::from_ref(count).cast_mut().cast())
            }
        };
        // SAFETY: the instruction is valid, and what the callback is given lives for ever.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(instruction, call, NO_REGISTERS, data) };
    }
}

extern "C" fn on_begin(_cpu: c_uint, _data: *mut c_void) {
    OPEN.store(true, Ordering::Relaxed);
}

extern "C" fn on_end(_cpu: c_uint, _data: *mut c_void) {
    OPEN.store(false, Ordering::Relaxed);
}

extern "C" fn on_instruction(_cpu: c_uint, count: *mut c_void) {
    if OPEN.load(Ordering::Relaxed) {
        // SAFETY: `on_translate` registered it with a count, which lives for ever.
        let count = unsafe { &*count.cast::<AtomicU64>() };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The emulator ends: writes what was counted.
extern "C" fn on_exit(_id: Id, _data: *mut c_void) {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for (address, count) in counts.iter() {
        let count = count.load(Ordering::Relaxed);
        if count > 0 {
            // A string takes every write.
            let _ = writeln!(text, "{address:#x} {count}");
        }
    }
    if let Some(path) = OUT.get()
        && let Err(why) = fs::write(path, text)
    {
        eprintln!("granule-hotspots: {}: {why}", path.display());
    }
}
