//! The flow from the first Rust to the prompt.
//!
//! 1. a console, from what the early code found, then from the device tree;
//! 2. this CPU: vectors, what it can do;
//! 3. memory: the final tables, the page allocator, the heap;
//! 4. interrupts, threads;
//! 5. the other CPUs;
//! 6. what the command line asks for, or the prompt.
//!
//! Each step notes its time; the last line before the prompt says where the boot's time went.

use crate::console::{self, println};
use crate::{cpus, exceptions, heap, interrupts, memory, power, prompt, threads};
use abi::{Level, PAGE_SIZE};
use arch::boot::{self, Handover};
use arch::{exception, semihosting, timer};
use board::{Board, UartKind};
use core::fmt::Display;
use drivers::bcm2711::{Function, Gpio};
use drivers::uart::{BAUD, Line, MiniUart, Pl011, Uart};
use pte::Caps;
use shell::{Arg, BootOptions, Kind};
use spin::Once;

static BOARD: Once<Board> = Once::new();
static HANDOVER: Once<&'static Handover> = Once::new();
static CAPS: Once<Caps> = Once::new();
/// What the early code has printed to: a voice before the tree is read, if any.
static EARLY_UART: Once<Uart> = Once::new();

/// What the device tree says; `None` before it was read.
pub(crate) fn board() -> Option<&'static Board> {
    BOARD.get()
}

/// What all CPUs can do.
pub(crate) fn caps() -> Option<&'static Caps> {
    CAPS.get()
}

/// The device tree itself.
pub(crate) fn device_tree() -> Option<&'static [u8]> {
    memory::device_tree(HANDOVER.get()?)
}

/// What the kernel command line may say.
pub(crate) static OPTIONS: [Arg; 8] = [
    Arg::key("run", Kind::Word, "commands to run, `;` between them; then power off").optional(),
    Arg::key("linear", Kind::OneOf(&["blocks", "4k"]), "the linear map's leaves").or("blocks"),
    Arg::key("asids", Kind::Number { min: 8, max: 16 }, "ASID bits to use at most").optional(),
    Arg::key("movable", Kind::SIZE, "memory at the end of each node for what moves only").or("0"),
    Arg::key("maxcpus", Kind::Number { min: 1, max: 64 }, "CPUs to start at most").optional(),
    Arg::key("sanitize", Kind::OneOf(&["on", "off"]), "watch translation (images with it)")
        .or("off"),
    Arg::key("mutant", Kind::Word, "a known bug to commit (images with them)").optional(),
    Arg::flag("tour", "show what this is, then give the prompt"),
];

/// Where the boot's time went: a name and the time at its end.
struct Phases {
    times: [(&'static str, u64); 12],
    len: usize,
}

impl Phases {
    fn note(&mut self, name: &'static str) {
        if let Some(place) = self.times.get_mut(self.len) {
            *place = (name, timer::now_ns());
            self.len += 1;
        }
    }
}

/// The image's first entry.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(handover: &'static Handover) -> ! {
    let hz = timer::frequency_hz();
    let mut phases = Phases { times: [("", 0); 12], len: 0 };
    phases.times[0] = ("entry", timer::ticks_to_ns(handover.entered_at, hz));
    phases.len = 1;
    phases.note("early");
    HANDOVER.call_once(|| handover);
    heap::init();
    remember_early_uart(handover);
    let board = match Board::parse(boot::dtb()) {
        Ok(board) => BOARD.call_once(|| board),
        Err(error) => stop_early(&error),
    };
    phases.note("tree");
    open_console(board);
    phases.note("console");

    let caps = chosen_caps(board);
    CAPS.call_once(|| caps);
    if let Err(error) = arch::init_cpu(0, boot::sections().boot_stack, &caps) {
        stop_early(&error);
    }
    exception::install(&exceptions::HANDLERS);
    semihosting::is_present();
    phases.note("cpu");

    let options = parse_options(board);
    let pages = options.args().maybe_word("linear") == Some("4k");
    let plan = memory::Plan {
        linear: if pages { Level::Pte } else { Level::Pmd },
        nr_cpus: cpus::count(board),
        caps,
        movable: options.args().maybe_number("movable").unwrap_or(0),
        #[cfg(feature = "sanitize")]
        sanitize: options.args().maybe_word("sanitize") == Some("on"),
    };
    if let Err(error) = memory::init(handover, board, &plan) {
        stop_early(&error);
    }
    phases.note("memory");

    if let Err(error) = interrupts::init(board) {
        stop_early(&error);
    }
    phases.note("gic");
    if let Err(error) = threads::init(boot::sections().boot_stack) {
        stop_early(&format_args!("no threads: {error:?}"));
    }
    arch::irq::unmask();
    enable_input(board);
    phases.note("threads");

    arm(options.args().maybe_word("mutant"));
    let most = options.args().maybe_number("maxcpus").unwrap_or(u64::MAX);
    let running = cpus::start(board, &caps, most as usize);
    if let Err(error) = memory::start_compaction() {
        println!("# nobody compacts memory in the background: {error:?}");
    }
    phases.note("cpus");

    greet(board, running, &phases);
    for warning in options.warnings() {
        println!("# command line: {warning}");
    }
    prompt::main(options.args().maybe_word("run"), options.args().flag("tour"))
}

/// Arms a known bug, in images that have them.
fn arm(name: Option<&str>) {
    #[cfg(feature = "mutants")]
    if let (Some(name), Some(mm)) = (name, memory::mm()) {
        let mutant = mm::mutant::Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        match mutant {
            Some(_) => println!("# mutant: {name}"),
            None => {
                // Whoever waits for a bug that nobody armed would take its absence for silence.
                println!("# mutant: {name} is none: `zoo list` names them");
                power::off(1)
            }
        }
        mm.arm(mutant.copied());
    }
    #[cfg(not(feature = "mutants"))]
    let _ = name;
}

/// Keeps the early code's UART, for words that come before the tree is read or say that it cannot be.
fn remember_early_uart(handover: &Handover) {
    let Some(pa) = handover.early_uart else { return };
    let Ok(base) = boot::map_device_early(pa, PAGE_SIZE) else { return };
    // SAFETY: the early code has found a PL011 here; its page is mapped as device, and the final
    // tables map it at the same address.
    let uart = Uart::Pl011(unsafe { Pl011::new(base) });
    EARLY_UART.call_once(|| uart);
}

/// The boot cannot go on: says why, by whatever can speak, and ends.
fn stop_early(why: &dyn Display) -> ! {
    if console::uart().is_none()
        && let Some(uart) = EARLY_UART.get()
    {
        console::attach(*uart, &Default::default());
    }
    println!("\n# granule cannot boot: {why}");
    power::end_failed()
}

/// What this CPU can do, within what the command line allows. ASIDs have 8 bits or 16: fewer than 16
/// allowed means 8.
fn chosen_caps(board: &Board) -> Caps {
    let mut caps = arch::caps::read();
    // Parsed again later with the warnings; quotes that do not match are an error then.
    if let Ok(options) = BootOptions::parse(board.bootargs.as_str(), &OPTIONS)
        && let Some(bits) = options.args().maybe_number("asids")
        && bits < 16
    {
        caps.asid_bits = 8;
    }
    caps
}

fn parse_options(board: &'static Board) -> BootOptions<'static> {
    match BootOptions::parse(board.bootargs.as_str(), &OPTIONS) {
        Ok(options) => options,
        Err(error) => {
            println!("# command line: {error}");
            power::off(2)
        }
    }
}

fn open_console(board: &Board) {
    let Some(description) = board.console() else {
        if let Some(uart) = EARLY_UART.get() {
            console::attach(*uart, &Default::default());
        }
        return;
    };
    let registers = description.registers;
    let Ok(base) = boot::map_device_early(registers.start, registers.bytes()) else { return };
    route_pins(board, description.kind);
    let uart = match description.kind {
        // SAFETY: the tree describes a PL011 here; mapped as device, here and in the final tables.
        UartKind::Pl011 => Uart::Pl011(unsafe { Pl011::new(base) }),
        // SAFETY: the same of a mini UART.
        UartKind::MiniUart => Uart::Mini(unsafe { MiniUart::new(base) }),
    };
    let baud = board.stdout.and_then(|stdout| stdout.baud).unwrap_or(BAUD);
    let line = Line::at(description.clock_hz.unwrap_or(0), baud);
    let carried = uart.init(line).unwrap_or_default();
    console::attach(uart, &carried);
}

/// On a Pi, gives the header's pins to the UART that is the console.
fn route_pins(board: &Board, kind: UartKind) {
    let Some(range) = board.bcm2711.gpio else { return };
    let Ok(base) = boot::map_device_early(range.start, range.bytes()) else { return };
    // SAFETY: the pin controller, says the tree; mapped as device, here and in the final tables.
    let gpio = unsafe { Gpio::new(base) };
    gpio.route_serial(match kind {
        UartKind::Pl011 => Function::Alt0,
        UartKind::MiniUart => Function::Alt5,
    });
}

fn enable_input(board: &Board) {
    let (Some(uart), Some(interrupt)) =
        (console::uart(), board.console().and_then(|uart| uart.interrupt))
    else {
        println!("# the console has no interrupt: no input");
        return;
    };
    match interrupts::enable_receive(interrupt) {
        Ok(()) => uart.enable_receive_interrupt(),
        Err(error) => println!("# no console input: {error}"),
    }
    // What came before the interrupt was on.
    console::on_receive();
}

fn greet(board: &Board, running: usize, phases: &Phases) {
    let version = env!("GRANULE_VERSION");
    println!("granule {version} on {}", board.model.as_str());
    let memory = shell::Bytes(board.memory_bytes());
    let cpus = if running == 1 { "CPU" } else { "CPUs" };
    println!("{running} {cpus}, {memory} of RAM, entered at EL{}", entry_level());
    let times = &phases.times[..phases.len];
    let total = times.last().map_or(0, |last| last.1.saturating_sub(times[0].1));
    console::print!("booted in {} us:", total / 1000);
    for pair in times.windows(2) {
        let [(_, before), (name, after)] = pair else { continue };
        console::print!(" {name} {}", after.saturating_sub(*before) / 1000);
    }
    println!();
}

fn entry_level() -> u8 {
    HANDOVER.get().map_or(0, |handover| handover.entry_el)
}
