//! The names of TLBI operations.

use crate::instruction::Named;
use pte::Scope;

/// The operation of this name, in capitals.
pub(crate) fn operation(name: &str) -> Option<(Named, Scope)> {
    let (name, scope) = match name.strip_suffix("IS") {
        Some(rest) => (rest, Scope::InnerShareable),
        None => (name, Scope::Local),
    };
    let named = match name {
        "VMALLE1" => Named::All,
        "ASIDE1" => Named::Asid,
        "VAE1" => Named::Va { asid: true, last: false },
        "VAAE1" => Named::Va { asid: false, last: false },
        "VALE1" => Named::Va { asid: true, last: true },
        "VAALE1" => Named::Va { asid: false, last: true },
        "RVAE1" => Named::Range { asid: true, last: false },
        "RVAAE1" => Named::Range { asid: false, last: false },
        "RVALE1" => Named::Range { asid: true, last: true },
        "RVAALE1" => Named::Range { asid: false, last: true },
        _ => return None,
    };
    Some((named, scope))
}
