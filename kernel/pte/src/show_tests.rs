use crate::bits::RDONLY;
use crate::granule::{Granule, K16, K64};
use crate::{Entry, KernelProt, Leaf, Marker, MemType, MigrationKind, Soft, Table, decode};
use abi::{Level, Pfn, Prot};
use std::format;
use std::string::{String, ToString};

const PFN: Pfn = Pfn(0x4_8000);

fn show(level: Level, word: u64) -> String {
    decode(level, word).to_string()
}

#[test]
fn user_leaves_in_words() {
    let leaf = Leaf::user(Level::Pmd, PFN, Prot::ReadWrite);
    assert_eq!(show(Level::Pmd, leaf.word()), "leaf 2M pfn=0x48000 rw- user nG AF");
    let dirty = leaf.word() & !RDONLY;
    assert_eq!(show(Level::Pmd, dirty), "leaf 2M pfn=0x48000 rw- user nG AF dirty");
    let page = Leaf::user(Level::Pte, PFN, Prot::ReadExec).made_old().special();
    assert_eq!(show(Level::Pte, page.word()), "leaf 4K pfn=0x48000 r-x user nG special");
    let broken = leaf.invalidated().word();
    assert_eq!(show(Level::Pmd, broken), "invalid leaf 2M pfn=0x48000 rw- user AF");
    let exec = Leaf::user(Level::Pmd, PFN, Prot::Exec).word();
    assert_eq!(show(Level::Pmd, exec), "leaf 2M pfn=0x48000 --x nG AF");
    let none = leaf.with_prot(Prot::None).word();
    assert_eq!(show(Level::Pmd, none), "protnone leaf 2M pfn=0x48000 --- AF");
}

#[test]
fn kernel_leaves_and_tables_in_words() {
    let leaf = |prot, mem| Leaf::kernel(Level::Pte, PFN, prot, mem).word();
    let text = leaf(KernelProt::Text, MemType::Normal);
    assert_eq!(show(Level::Pte, text), "leaf 4K pfn=0x48000 r-x AF");
    let uart = leaf(KernelProt::Data, MemType::Device);
    assert_eq!(show(Level::Pte, uart), "leaf 4K pfn=0x48000 rw- AF dirty device");
    assert_eq!(show(Level::Pud, Table::new(PFN).word()), "table pfn=0x48000 PXN AF");
    assert_eq!(show(Level::Pgd, Table::kernel(PFN).word()), "table pfn=0x48000 UXN AF");
}

#[test]
fn everything_else_in_words() {
    assert_eq!(show(Level::Pgd, 0), "none");
    assert_eq!(show(Level::Pgd, 0x11), "corrupt 0x0000000000000011");
    let soft = Soft::Migration {
        pfn: PFN,
        kind: MigrationKind::ReadExclusive,
        young: true,
        dirty: false,
        uffd_wp: true,
    };
    let words = "migration read-exclusive pfn=0x48000 young uffd-wp";
    assert_eq!(show(Level::Pmd, soft.encode(Level::Pmd)), words);
    let swap = Soft::Swap { device: 2, offset: 0x30, exclusive: true, uffd_wp: false };
    assert_eq!(format!("{swap}"), "swap device=2 offset=0x30 exclusive");
    let guard = Soft::Marker(Marker { guard: true, ..Marker::default() });
    assert_eq!(Entry::Soft(guard).to_string(), "marker guard");
}

#[test]
fn leaves_of_every_size_in_words() {
    fn first_word<G: Granule>(level: Level) -> String {
        let leaf = crate::any::Leaf::<G>::user(level, Pfn(0), Prot::Read);
        leaf.to_string().split(' ').next().unwrap().into()
    }
    assert_eq!(first_word::<crate::granule::K4>(Level::Pud), "1G");
    assert_eq!([Level::Pmd, Level::Pte].map(first_word::<K16>), ["32M", "16K"]);
    assert_eq!([Level::Pmd, Level::Pte].map(first_word::<K64>), ["512M", "64K"]);
}

#[test]
fn words_of_each_type_name_their_type() {
    let leaf = Leaf::user(Level::Pmd, PFN, Prot::ReadWrite);
    assert_eq!(format!("{leaf:?}"), "Leaf(pmd 0x0068000048000fc1)");
    assert_eq!(format!("{:?}", crate::Pmd::from_word(leaf.word())), "Pmd(0x0068000048000fc1)");
    assert_eq!(format!("{:?}", Table::new(PFN)), "Table(0x0800000048000403)");
}
