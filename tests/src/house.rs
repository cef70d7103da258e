//! The rooms of the house, from the top to the bottom, and how they are read.
//!
//! A room uses only rooms above it. What it may hold is its rule; both are data here, so that a
//! change of either is one line in one place.

use crate::source;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The kernel's rooms in their order. A room may use those before it; the image uses all.
pub const ORDER: [&str; 15] = [
    "abi", "pte", "sync", "oracle", "litmus", "mm", "smmu", "arch", "sched", "drivers", "board",
    "shell", "stress", "parity", "kernel",
];

/// The only rooms that may know the CPU by name. The others run on the host as well, whole.
pub const KNOW_ARCH: [&str; 2] = ["sched", "kernel"];

/// The repository's top.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// One crate of the workspace, as far as the rules look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its name in the order, or its package's name outside the kernel.
    pub name: String,
    /// What it is built from.
    pub uses: Vec<String>,
    /// What its tests are built from besides.
    pub tests_use: Vec<String>,
}

impl Room {
    /// Reads a manifest: the rooms among its dependencies, by their names in the order.
    pub fn read(manifest: &str) -> Result<Self, toml::de::Error> {
        let table: Table = toml::from_str(manifest)?;
        let package = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
        let mut room = Self {
            name: room_name(package.unwrap_or_default()),
            uses: Vec::new(),
            tests_use: Vec::new(),
        };
        room.collect(&table);
        // Dependencies of one target only count the same.
        for one in table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values)
        {
            room.collect(one.as_table().unwrap_or(&Table::new()));
        }
        Ok(room)
    }

    fn collect(&mut self, table: &Table) {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let dev = section == "dev-dependencies";
            let list = if dev { &mut self.tests_use } else { &mut self.uses };
            let entries = table.get(section).and_then(Value::as_table);
            for (name, what) in entries.into_iter().flatten() {
                // A renamed dependency is known by its package.
                let package = what.get("package").and_then(Value::as_str).unwrap_or(name);
                list.push(room_name(package));
            }
        }
    }

    /// Its place in the order; `None` outside the kernel.
    fn place(&self) -> Option<usize> {
        place(&self.name)
    }

    /// Every way in which this room reaches where it may not.
    pub fn reaches(&self) -> Vec<String> {
        let Some(here) = self.place() else { return Vec::new() };
        let says = |verb: &str, other: &String| format!("{} {verb} {other}", self.name);
        let mut wrong = Vec::new();
        for other in &self.uses {
            if place(other).is_some_and(|there| there >= here) {
                wrong.push(says("uses, further down,", other));
            } else if is_host_side(other) {
                wrong.push(says("uses the host's", other));
            } else if other == "arch" && !KNOW_ARCH.contains(&&*self.name) {
                wrong.push(says("need not know", other));
            }
        }
        let down = |other: &&String| place(other).is_some_and(|there| there >= here);
        wrong.extend(self.tests_use.iter().filter(down).map(|o| says("tests with", o)));
        wrong
    }
}

/// `granule-mm` is the room `mm`, `granule` is the image.
fn room_name(package: &str) -> String {
    match package {
        "granule" => "kernel".into(),
        _ => package.strip_prefix("granule-").unwrap_or(package).into(),
    }
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|room| *room == name)
}

/// Crates that the kernel must not need.
fn is_host_side(name: &str) -> bool {
    ["evidence", "machine", "weak", "tests", "xtask"].contains(&name)
}

/// The manifests of the workspace's members.
pub fn manifests(root: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(root.join("Cargo.toml"))?;
    let table: Table = toml::from_str(&text).map_err(io::Error::other)?;
    let members = table.get("workspace").and_then(|w| w.get("members")).and_then(Value::as_array);
    let manifest = |member: &Value| Some(root.join(member.as_str()?).join("Cargo.toml"));
    Ok(members.into_iter().flatten().filter_map(manifest).collect())
}

/// A source file of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its room.
    pub room: String,
    /// Its path below the room's `src`.
    pub path: String,
    /// Its code, without prose.
    pub code: String,
}

impl Source {
    /// `source` as if it were `path` in `room`.
    pub fn new(room: &str, path: &str, source: &str) -> Self {
        Self { room: room.into(), path: path.into(), code: source::code(source) }
    }

    /// Each use of `word`, as `room/path:line: word`.
    pub fn uses_of(&self, word: &str) -> Vec<String> {
        let at = |line| format!("{}/{}:{line}: {word}", self.room, self.path);
        source::lines_with(&self.code, word).map(at).collect()
    }
}

/// Every Rust file below `kernel/`.
pub fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut all = Vec::new();
    for room in ORDER {
        let folder = match room {
            "kernel" => root.join("kernel/src"),
            room => root.join("kernel").join(room).join("src"),
        };
        // A room of a later day has no folder yet.
        if folder.is_dir() {
            walk(&folder, &mut |path| {
                let inside = path.strip_prefix(&folder).unwrap_or(path).display().to_string();
                all.push(Source::new(room, &inside, &fs::read_to_string(path)?));
                Ok(())
            })?;
        }
    }
    Ok(all)
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, visit)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            visit(&path)?;
        }
    }
    Ok(())
}
