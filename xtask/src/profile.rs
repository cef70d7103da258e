//! `make bench PROFILE=1 ONLY=operation`: where an operation's instructions are executed.
//!
//! The kernel marks its windows, a plugin of the emulator (`xtask/hotspots`) counts each instruction
//! in them, and the image's debug information says what it belongs to. Exact, not sampled.

use crate::{
    bench,
    image::Image,
    launch::Launch,
    symbols::{Place, Symbols},
    trouble::{Result, Trouble},
    workspace,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

/// The plugin's package, and what Cargo makes of it.
const PACKAGE: &str = "granule-hotspots";
const LIBRARY: &str =
    if cfg!(target_os = "macos") { "libgranule_hotspots.dylib" } else { "libgranule_hotspots.so" };
/// How many lines of each list are shown.
const SHOWN: usize = 25;

/// Runs `launch` with the plugin and prints where its instructions are; whether that worked.
pub(crate) fn profile(launch: &mut Launch, image: &Image) -> Result<bool> {
    let counts = workspace::out_dir().join("hotspots");
    // What an earlier run left must not pass for this one's.
    let _ = fs::remove_file(&counts);
    let plugin = build()?;
    let plugin = format!("{},out={}", bench::quoted(&plugin), bench::quoted(&counts));
    launch.args.extend(["-plugin".into(), plugin]);
    launch.run = launch.run.take().map(|run| run + " profile");
    let outcome = bench::play(launch, image)?;
    let text = String::from_utf8_lossy(&outcome.output).into_owned();
    let counted = match fs::read_to_string(&counts) {
        Ok(counted) if outcome.status == Some(0) => parse(&counted),
        _ => {
            println!("{text}");
            return Ok(false);
        }
    };
    let units = units(&text);
    if units == 0 {
        println!("{text}");
        return Ok(false);
    }
    let symbols = Symbols::open(&image.elf, &workspace::root())?;
    Profile::new(&counted, &symbols).print(units);
    Ok(true)
}

fn build() -> Result<PathBuf> {
    let target = workspace::target_dir();
    let mut cargo = workspace::cargo("build");
    cargo.args(["--quiet", "--release", "--package", PACKAGE, "--target-dir"]).arg(&target);
    workspace::succeed(cargo.stdin(Stdio::null()))?;
    let library = target.join("release").join(LIBRARY);
    let found = Path::is_file(&library);
    found.then_some(library).ok_or_else(|| Trouble::Failed(format!("building {PACKAGE}")))
}

/// The plugin's lines: an address and how often it was executed.
fn parse(text: &str) -> BTreeMap<u64, u64> {
    let line = |line: &str| {
        let (address, count) = line.split_once(' ')?;
        let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        Some((address, count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Units in all windows of the run: the kernel says so of each row.
fn units(text: &str) -> u64 {
    let count = |line: &str| {
        let (_, rest) = line.split_once("\"counted\": ")?;
        rest.split([',', '}']).next()?.trim().parse::<u64>().ok()
    };
    text.lines().filter_map(count).sum()
}

/// Instructions by what they belong to.
#[derive(Default)]
struct Profile {
    all: u64,
    /// The function as written, inlined or not: its own instructions.
    own: BTreeMap<String, u64>,
    /// The function as linked, with what was inlined into it: instructions, and calls.
    linked: BTreeMap<String, (u64, u64)>,
    lines: BTreeMap<String, u64>,
}

impl Profile {
    fn new(counted: &BTreeMap<u64, u64>, symbols: &Symbols) -> Self {
        let mut profile = Self::default();
        for (&address, &count) in counted {
            profile.all += count;
            let linked = symbols.linked(address).unwrap_or(("?".into(), 0));
            let (own, line) = match ours(&symbols.places(address)) {
                Some(Place { function, file, line }) => {
                    (format!("{} in {file}", plain(function)), format!("{file}:{line}"))
                }
                // Assembly has no lines.
                None => (linked.0.clone(), linked.0.clone()),
            };
            *profile.own.entry(own).or_default() += count;
            *profile.lines.entry(line).or_default() += count;
            let (sum, calls) = profile.linked.entry(linked.0).or_default();
            *sum += count;
            *calls += if linked.1 == address { count } else { 0 };
        }
        profile
    }

    fn print(&self, units: u64) {
        let per = |count: u64| count as f64 / units as f64;
        println!("{:.1} instructions a unit, in {units} units", per(self.all));
        println!("\nAs linked, with what is inlined: a unit's instructions, and calls");
        let calls: BTreeMap<_, _> = self.linked.iter().map(|(name, (n, _))| (name, *n)).collect();
        for (name, count) in largest(&calls) {
            println!("  {:>9.1} {:>8.2}  {name}", per(count), per(self.linked[*name].1));
        }
        println!("\nAs written: a unit's instructions of the function alone");
        for (name, count) in largest(&self.own) {
            println!("  {:>9.1}  {name}", per(count));
        }
        println!("\nLine by line");
        for (at, count) in largest(&self.lines) {
            println!("  {:>9.1}  {at}", per(count));
        }
    }
}

/// The innermost place in this repository: what the core library does there is done for it.
fn ours(places: &[Place]) -> Option<&Place> {
    places.iter().find(|place| place.file.starts_with("kernel/")).or(places.first())
}

/// A function's name without the types that it was made for.
fn plain(function: &str) -> &str {
    function
        .split_once('<')
        .map_or(function, |(name, _)| if name.is_empty() { function } else { name })
}

/// The entries with the largest counts, largest first.
fn largest<K: Ord>(counts: &BTreeMap<K, u64>) -> Vec<(&K, u64)> {
    let mut sorted: Vec<_> = counts.iter().map(|(name, count)| (name, *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.truncate(SHOWN);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_noise_is_not() {
        let counted = parse("0x10 5\nnonsense\n0xffff800000000000 7\n");
        assert_eq!(counted, BTreeMap::from([(0x10, 5), (0xffff_8000_0000_0000, 7)]));
    }

    #[test]
    fn units_of_all_rows_are_summed() {
        let text = "boot\n{\"op\": \"a\", \"counted\": 512, \"cpus\": 1}\n{\"counted\": 8}\n";
        assert_eq!(units(text), 520);
    }

    #[test]
    fn the_core_library_works_for_whoever_inlines_it() {
        let place = |file: &str| Place { function: "f<T>".into(), file: file.into(), line: 1 };
        let places = [place("core/src/sync/atomic.rs"), place("kernel/mm/src/lib.rs")];
        assert_eq!(ours(&places), Some(&places[1]));
        assert_eq!(ours(&places[..1]), Some(&places[0]));
        assert_eq!(ours(&[]), None);
        assert_eq!((plain("f<T>"), plain("<T as U>::f"), plain("g")), ("f", "<T as U>::f", "g"));
    }

    #[test]
    fn the_largest_come_first() {
        let counts = BTreeMap::from([("a", 1), ("b", 3), ("c", 2)]);
        assert_eq!(largest(&counts), [(&"b", 3), (&"c", 2), (&"a", 1)]);
    }
}
