//! What a node may be to us, by the names in its `compatible`: the list of all devices that anything
//! in the kernel drives.

use crate::gic;
use crate::uart::UartKind;

/// What a node may be to us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Uart(UartKind),
    Unique(Unique),
}

/// Devices that a board has once.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unique {
    Psci,
    GicV2,
    GicV2m,
    GicV3,
    GicIts,
    Timer,
    Watchdog,
    Gpio,
    Mailbox,
    Aux,
    Pcie,
    Smmu,
}

/// Where names of `compatible` lead.
pub(crate) fn known(compatible: &str) -> Option<Kind> {
    Some(match compatible {
        "arm,pl011" => Kind::Uart(UartKind::Pl011),
        "brcm,bcm2835-aux-uart" => Kind::Uart(UartKind::MiniUart),
        "arm,psci" | "arm,psci-0.2" | "arm,psci-1.0" => Kind::Unique(Unique::Psci),
        gic::V3 => Kind::Unique(Unique::GicV3),
        "arm,gic-v3-its" => Kind::Unique(Unique::GicIts),
        "arm,gic-v2m-frame" => Kind::Unique(Unique::GicV2m),
        name if gic::V2.contains(&name) => Kind::Unique(Unique::GicV2),
        "arm,armv8-timer" | "arm,armv7-timer" => Kind::Unique(Unique::Timer),
        "brcm,bcm2711-pm" | "brcm,bcm2835-pm" | "brcm,bcm2835-pm-wdt" => {
            Kind::Unique(Unique::Watchdog)
        }
        "brcm,bcm2711-gpio" | "brcm,bcm2835-gpio" => Kind::Unique(Unique::Gpio),
        "brcm,bcm2835-mbox" => Kind::Unique(Unique::Mailbox),
        "brcm,bcm2835-aux" => Kind::Unique(Unique::Aux),
        "pci-host-ecam-generic" => Kind::Unique(Unique::Pcie),
        "arm,smmu-v3" => Kind::Unique(Unique::Smmu),
        _ => return None,
    })
}
