//! What a slot's word says, to its last bit.

use super::{Hazards, NUMBER_BITS, NUMBERS, Number, PAGES, Word};
use core::sync::atomic::Ordering;

/// Locks made before, for numbers from the first to the last.
const SOME_MADE: [u32; 6] = [0, 1, 2, 1 << 13, NUMBERS - 2, NUMBERS - 1];
const SOME_PAGES: [u64; 5] = [0, 1, 1 << 20, PAGES / 2, PAGES - 1];

#[test]
fn a_word_keeps_lock_page_and_looking_apart() {
    let numbers = SOME_MADE.map(Number::after);
    for number in numbers {
        for page in SOME_PAGES.map(Some).into_iter().chain([None]) {
            let word = Word::looking(number, page);
            for word in [word, word.looked(), word.looked().looking_again()] {
                assert_eq!(word.page(), page);
                for other in numbers {
                    assert_eq!(word.is_of(other), other == number, "{number:?} {other:?}");
                }
                assert_ne!(word.0, 0, "a claim is not an empty slot");
            }
            assert!(word.is_looking() && !word.looked().is_looking());
        }
    }
    assert!(!numbers.iter().any(|number| Word(0).is_of(*number)));
}

#[test]
fn numbers_wrap_and_are_never_zero() {
    let hazards = Hazards::new(1);
    assert_eq!([hazards.number(), hazards.number()], [0, 1].map(Number::after));
    assert_eq!(Number::after(NUMBERS), Number::after(0));
    for made in [NUMBERS - 1, u32::MAX - 1] {
        hazards.locks.store(made, Ordering::Relaxed);
        for _ in 0..4 {
            let Number(number) = hazards.number();
            assert!(number != 0 && number & !NUMBER_BITS == 0, "{number:#x}");
        }
    }
}
