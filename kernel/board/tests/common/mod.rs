//! What the suites share: the golden trees, and a builder for trees that no board has.

#![allow(dead_code, reason = "each suite uses its part")]

use std::path::PathBuf;

/// The folder of the golden trees.
pub(crate) fn golden_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/dt"))
}

/// Every golden tree with its name, in the order of names.
pub(crate) fn golden_trees() -> Vec<(String, Vec<u8>)> {
    let mut trees = Vec::new();
    for entry in std::fs::read_dir(golden_dir()).expect("the golden trees") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|extension| extension == "dtb") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            trees.push((name, std::fs::read(&path).expect("a golden tree")));
        }
    }
    trees.sort();
    assert!(trees.len() >= 12, "golden trees are missing: {}", trees.len());
    trees
}

/// The golden tree of that name.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    std::fs::read(golden_dir().join(name).with_extension("dtb")).expect("a golden tree")
}

/// Builds a blob token by token; nothing stops it from building a wrong one.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    pub(crate) structure: Vec<u8>,
    pub(crate) strings: Vec<u8>,
    pub(crate) reservations: Vec<(u64, u64)>,
}

impl Builder {
    /// A root with two address and two size cells, still open.
    pub(crate) fn new() -> Self {
        Self::default().begin("").cells("#address-cells", &[2]).cells("#size-cells", &[2])
    }

    /// A blob taken apart, to be changed and put together again; its reservations stay behind.
    /// `None` where its header points outside of it.
    pub(crate) fn dissect(dtb: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let bytes = dtb.get(4 * at..4 * at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
        };
        Some(Self {
            structure: dtb.get(word(2)?..word(2)? + word(9)?)?.to_vec(),
            strings: dtb.get(word(3)?..word(3)? + word(8)?)?.to_vec(),
            reservations: vec![(0, 0x1000)],
        })
    }

    /// The same, with a GiB of memory, so that a board can be made of it.
    pub(crate) fn with_memory() -> Self {
        Self::new().memory(0x4000_0000, 1 << 30)
    }

    pub(crate) fn memory(self, start: u64, bytes: u64) -> Self {
        self.begin(&format!("memory@{start:x}"))
            .text("device_type", "memory")
            .numbers("reg", &[start, bytes])
            .end()
    }

    /// A GICv2 with phandle 1, and the root's interrupts sent to it.
    pub(crate) fn with_gic(self) -> Self {
        self.cells("interrupt-parent", &[1])
            .begin("intc")
            .text("compatible", "arm,gic-400")
            .cells("phandle", &[1])
            .cells("#interrupt-cells", &[3])
            .numbers("reg", &[0x800_0000, 0x1000, 0x801_0000, 0x2000])
            .end()
    }

    pub(crate) fn token(mut self, word: u32) -> Self {
        self.structure.extend(word.to_be_bytes());
        self
    }

    pub(crate) fn nop(self) -> Self {
        self.token(4)
    }

    pub(crate) fn begin(mut self, name: &str) -> Self {
        self = self.token(1);
        self.structure.extend(name.as_bytes());
        self.structure.push(0);
        self.pad()
    }

    pub(crate) fn end(self) -> Self {
        self.token(2)
    }

    pub(crate) fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        let wanted = [name.as_bytes(), &[0]].concat();
        let known = self.strings.windows(wanted.len()).position(|window| window == wanted);
        let offset = known.unwrap_or(self.strings.len()) as u32;
        if known.is_none() {
            self.strings.extend(wanted);
        }
        self = self.token(3).token(value.len() as u32).token(offset);
        self.structure.extend(value);
        self.pad()
    }

    pub(crate) fn flag(self, name: &str) -> Self {
        self.bytes(name, &[])
    }

    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.bytes(name, format!("{text}\0").as_bytes())
    }

    pub(crate) fn cells(self, name: &str, cells: &[u32]) -> Self {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, &bytes)
    }

    pub(crate) fn numbers(self, name: &str, numbers: &[u64]) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.bytes(name, &bytes)
    }

    pub(crate) fn reserve(mut self, start: u64, bytes: u64) -> Self {
        self.reservations.push((start, bytes));
        self
    }

    fn pad(mut self) -> Self {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }

    /// Closes the root and the tree.
    pub(crate) fn blob(self) -> Vec<u8> {
        self.end().token(9).raw()
    }

    /// The blob as it stands, with a correct header.
    pub(crate) fn raw(self) -> Vec<u8> {
        let mut reservations = Vec::new();
        for (start, bytes) in self.reservations.into_iter().chain([(0, 0)]) {
            reservations.extend(start.to_be_bytes());
            reservations.extend(bytes.to_be_bytes());
        }
        let structure = 40 + reservations.len();
        let strings = structure + self.structure.len();
        let total = strings + self.strings.len();
        let header = [
            0xd00d_feed,
            total,
            structure,
            strings,
            40,
            17,
            16,
            0,
            self.strings.len(),
            self.structure.len(),
        ];
        let words = header.into_iter().flat_map(|word| (word as u32).to_be_bytes());
        words.chain(reservations).chain(self.structure).chain(self.strings).collect()
    }
}
