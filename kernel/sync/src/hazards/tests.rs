//! What a slot's word says, to its last bit.

use super::{Hazards, NUMBERS, Number, PAGES, Word};
use core::sync::atomic::Ordering;

const SOME_NUMBERS: [u32; 6] = [1, 2, 3, 1 << 13, NUMBERS - 1, NUMBERS];
const SOME_PAGES: [u64; 5] = [0, 1, 1 << 20, PAGES / 2, PAGES - 1];

#[test]
fn a_word_keeps_lock_page_and_looking_apart() {
    for number in SOME_NUMBERS {
        for page in SOME_PAGES.map(Some).into_iter().chain([None]) {
            let word = Word::looking(Number(number), page);
            for word in [word, word.looked(), word.looked().looking_again()] {
                assert_eq!(word.page(), page);
                for other in SOME_NUMBERS {
                    assert_eq!(word.is_of(Number(other)), other == number, "{number} {other}");
                }
                assert_ne!(word.0, 0, "a claim is not an empty slot");
            }
            assert!(word.is_looking() && !word.looked().is_looking());
        }
    }
    assert!(!SOME_NUMBERS.iter().any(|number| Word(0).is_of(Number(*number))));
}

#[test]
fn numbers_wrap_and_are_never_zero() {
    let hazards = Hazards::new(1);
    assert_eq!([hazards.number().0, hazards.number().0], [1, 2]);
    for made in [NUMBERS - 1, u32::MAX - 1] {
        hazards.locks.store(made, Ordering::Relaxed);
        for _ in 0..4 {
            let number = hazards.number().0;
            assert!((1..=NUMBERS).contains(&number), "{number}");
        }
    }
}
