//! Each flaw is found. The ELFs are made here, byte by byte: one program header per segment.

use super::*;

const BASE: u64 = 0xffff_8000_0000_0000;
const R_X: u32 = 5;
const RW: u32 = 6;
const RWX: u32 = 7;

/// A segment: flags, offset from the base, contents.
type Segment<'a> = (u32, u64, &'a [u8]);

fn link(entry: u64, segments: &[Segment<'_>]) -> Vec<u8> {
    let mut elf = Vec::new();
    elf.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    elf.extend(entry.to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend(0u64.to_le_bytes());
    elf.extend(0u32.to_le_bytes());
    for half in [64, 56, segments.len() as u16, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut data_at = (64 + 56 * segments.len()) as u64;
    for (flags, offset, data) in segments {
        elf.extend(1u32.to_le_bytes());
        elf.extend(flags.to_le_bytes());
        let at = BASE + offset;
        let len = data.len() as u64;
        for word in [data_at, at, at, len, len, 1] {
            elf.extend(word.to_le_bytes());
        }
        data_at += len;
    }
    for (_, _, data) in segments {
        elf.extend(*data);
    }
    elf
}

fn header(image_size: u64, flags: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[IMAGE_SIZE_AT..IMAGE_SIZE_AT + 8].copy_from_slice(&image_size.to_le_bytes());
    bytes[FLAGS_AT..FLAGS_AT + 8].copy_from_slice(&flags.to_le_bytes());
    bytes[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
    bytes
}

#[test]
fn segments_lie_at_their_distance_with_zeros_between() {
    let head = header(0x2000, 0xa);
    let flat = flatten(&link(BASE, &[(R_X, 0, &head), (RW, 0x100, b"data")]), MAX_BYTES).unwrap();
    assert_eq!(flat.len(), 0x104);
    assert_eq!(&flat[..64], head);
    assert!(flat[64..0x100].iter().all(|b| *b == 0));
    assert_eq!(&flat[0x100..], b"data");
}

#[test]
fn each_flaw_is_refused() {
    let good = header(0x2000, 0xa);
    let flaw =
        |entry, segments: &[Segment<'_>]| flatten(&link(entry, segments), MAX_BYTES).unwrap_err();
    assert_eq!(flaw(BASE, &[]), Flaw::Empty);
    assert_eq!(flaw(BASE, &[(RWX, 0, &good)]), Flaw::WritableCode { base: BASE });
    assert_eq!(flaw(BASE + 4, &[(R_X, 0, &good)]), Flaw::Entry { entry: BASE + 4, base: BASE });
    assert_eq!(flaw(BASE, &[(R_X, 0, &[0; 80])]), Flaw::NoHeader);
    assert_eq!(flaw(BASE, &[(R_X, 0, b"short")]), Flaw::NoHeader);
    let small = header(8, 0xa);
    let short = Flaw::ShortSize { promised: 8, bytes: 64 };
    assert_eq!(flaw(BASE, &[(R_X, 0, &small)]), short);
    assert_eq!(flaw(BASE, &[(R_X, 0, &header(0x2000, 0x6))]), Flaw::Flags(6));
    let far = MAX_BYTES as u64;
    let large = Flaw::TooLarge { bytes: MAX_BYTES + 1 };
    assert_eq!(flaw(BASE, &[(R_X, 0, &good), (RW, far, b"x")]), large);
    assert!(matches!(flatten(b"no elf", MAX_BYTES), Err(Flaw::Unreadable(_))));
}
