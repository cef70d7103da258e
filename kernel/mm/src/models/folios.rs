//! A folio that is frozen to become something else, against somebody who has seen its number in a table.

use super::{Without, machine};
use abi::Order;
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::{Arc, Mutex};

/// What a folio is, besides its counts: written while it is frozen, read by who holds a reference. Loom
/// is told of each access and orders none: the mutex, which it does not see, only satisfies the compiler.
#[derive(Default)]
struct Nature(Mutex<UnsafeCell<()>>);

impl Nature {
    fn read(&self) {
        self.0.lock().expect("no panic").with(|_| ());
    }

    fn write(&self) {
        self.0.lock().expect("no panic").with_mut(|_| ());
    }
}

/// A folio is frozen, becomes something else and is given references again; meanwhile somebody takes one
/// and looks what it is.
pub fn freezing_against_getting(without: Without) {
    let mm = without.boot();
    let folio = mm.folio_alloc(Order::PAGE).expect("memory");
    let nature = Arc::new(Nature::default());
    let getter = {
        let (mm, nature) = (mm.clone(), nature.clone());
        thread::spawn(move || {
            machine::be(1);
            let Some(head) = mm.folio_try_get(folio, 1) else { return };
            nature.read();
            mm.head_put(head, 1);
        })
    };
    if mm.folio_freeze(folio, 1) {
        nature.write();
        mm.folio_unfreeze(mm.desc(folio));
    }
    getter.join().expect("no panic");
    mm.head_put(folio, 1);
    assert_eq!(mm.desc(folio).refs(), 0, "wrong: a reference too many, or too few");
}
