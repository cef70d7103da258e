//! What a mapping permits, and what an access wants.

use core::fmt;

/// What a mapping permits its user. Reading is implied by writing: VMSAv8-64 has no write-only page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Prot {
    /// Nothing: the range is reserved, each access is denied.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExec,
    /// Executing alone: a program cannot read its own code.
    Exec,
}

impl Prot {
    /// Whether `access` is within these rights.
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => matches!(self, Self::Read | Self::ReadWrite | Self::ReadExec),
            Access::Write => matches!(self, Self::ReadWrite),
            Access::Exec => matches!(self, Self::ReadExec | Self::Exec),
        }
    }
}

impl fmt::Display for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "---",
            Self::Read => "r--",
            Self::ReadWrite => "rw-",
            Self::ReadExec => "r-x",
            Self::Exec => "--x",
        })
    }
}

/// What a program tried to do with an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Exec => "execute",
        })
    }
}
