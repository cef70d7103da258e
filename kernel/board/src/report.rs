//! The board in words: what the boot log prints, and what the golden files hold.

use crate::board::{Bcm2711, Board};
use crate::cpu::{Conduit, EnableMethod, PsciVersion};
use crate::gic::Gic;
use crate::memory::Reservation;
use crate::pci::{Pcie, Smmu};
use crate::uart::UartKind;
use crate::value::Status;
use core::fmt::{self, Display, Formatter};

impl Display for Board {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "model: {}\ncompatible:", self.model)?;
        for kind in &self.compatible {
            write!(f, " {kind}")?;
        }
        writeln!(f)?;
        self.write_memory(f)?;
        self.write_chosen(f)?;
        self.write_cpus(f)?;
        if let Some(gic) = &self.gic {
            gic.fmt(f)?;
        }
        if let Some(timer) = self.timer {
            write!(f, "timer: virtual {}", timer.virt)?;
            if let Some(phys) = timer.phys {
                write!(f, ", physical {phys}")?;
            }
            if let Some(hz) = timer.clock_hz {
                write!(f, ", {hz} Hz")?;
            }
            writeln!(f)?;
        }
        self.bcm2711.fmt(f)?;
        if let Some(smmu) = &self.smmu {
            smmu.fmt(f)?;
        }
        if let Some(pcie) = &self.pcie {
            pcie.fmt(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if self.warnings_lost > 0 {
            writeln!(f, "warning: {} more", self.warnings_lost)?;
        }
        Ok(())
    }
}

impl Board {
    fn write_memory(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for memory in &self.memory {
            let mib = memory.range.bytes() >> 20;
            writeln!(f, "memory: {} ({mib} MiB) node {}", memory.range, memory.numa_node)?;
        }
        for reserved in &self.reserved {
            let how = match reserved.kind {
                Reservation::Boot => "in use at boot",
                Reservation::Owned => "owned",
                Reservation::NoMap => "not to be mapped",
                Reservation::Reusable => "reusable",
            };
            writeln!(f, "reserved: {} {how}", reserved.range)?;
        }
        Ok(())
    }

    fn write_chosen(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.bootargs.is_empty() {
            writeln!(f, "bootargs: {:?}", self.bootargs)?;
        }
        if let Some(initrd) = self.initrd {
            writeln!(f, "initrd: {initrd}")?;
        }
        for (index, uart) in self.uarts.iter().enumerate() {
            let kind = match uart.kind {
                UartKind::Pl011 => "pl011",
                UartKind::MiniUart => "mini UART",
            };
            write!(f, "uart: {kind} at {}", uart.registers)?;
            if let Some(interrupt) = uart.interrupt {
                write!(f, ", interrupt {interrupt}")?;
            }
            if let Some(hz) = uart.clock_hz {
                write!(f, ", {hz} Hz")?;
            }
            if let Some(alias) = uart.alias {
                write!(f, ", serial{alias}")?;
            }
            if uart.status != Status::Okay {
                f.write_str(", disabled")?;
            }
            if let Some(stdout) = self.stdout.filter(|stdout| stdout.uart == index) {
                f.write_str(", stdout")?;
                if let Some(baud) = stdout.baud {
                    write!(f, " at {baud} baud")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_cpus(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for cpu in &self.cpus {
            write!(f, "cpu: {:#x}", cpu.mpidr)?;
            let model = cpu.model.and_then(|model| self.cpu_models.get(usize::from(model)));
            if let Some(model) = model {
                write!(f, " {model}")?;
            }
            match cpu.enable {
                EnableMethod::Unknown => f.write_str(" no start method")?,
                EnableMethod::Psci => f.write_str(" psci")?,
                EnableMethod::SpinTable { release_addr } => {
                    write!(f, " spin-table {release_addr}")?;
                }
            }
            write!(f, " node {}", cpu.numa_node)?;
            f.write_str(if cpu.status == Status::Okay { "\n" } else { " disabled\n" })?;
        }
        if let Some(psci) = self.psci {
            let conduit = match psci.conduit {
                Conduit::Hvc => "hvc",
                Conduit::Smc => "smc",
            };
            match psci.version {
                PsciVersion::V0_1 { cpu_on } => writeln!(f, "psci: 0.1 by {conduit}, {cpu_on:x?}"),
                PsciVersion::V0_2 => writeln!(f, "psci: 0.2 by {conduit}"),
                PsciVersion::V1_0 => writeln!(f, "psci: 1.0 by {conduit}"),
            }?;
        }
        Ok(())
    }
}

impl Display for Gic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2 { distributor, cpu_interface, v2m } => {
                write!(f, "gic: v2, distributor {distributor}, cpu interface {cpu_interface}")?;
                if let Some(v2m) = v2m {
                    write!(f, ", msi frame {v2m}")?;
                }
            }
            Self::V3 { distributor, redistributors, stride, its } => {
                write!(f, "gic: v3, distributor {distributor}, redistributors")?;
                for region in redistributors {
                    write!(f, " {region}")?;
                }
                if let Some(stride) = stride {
                    write!(f, " every {stride:#x}")?;
                }
                if let Some(its) = its {
                    write!(f, ", its {its}")?;
                }
            }
        }
        writeln!(f)
    }
}

impl Display for Bcm2711 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let blocks = [
            ("watchdog", self.watchdog),
            ("gpio", self.gpio),
            ("mailbox", self.mailbox),
            ("aux", self.aux),
        ];
        for (name, registers) in blocks {
            if let Some(registers) = registers {
                writeln!(f, "{name}: {registers}")?;
            }
        }
        Ok(())
    }
}

impl Display for Smmu {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "smmu: v3 at {}, phandle {:#x}", self.registers, self.phandle)?;
        let interrupts =
            [("event", self.event), ("sync", self.command_sync), ("error", self.global_error)];
        for (name, interrupt) in interrupts {
            if let Some(interrupt) = interrupt {
                write!(f, ", {name} {interrupt}")?;
            }
        }
        writeln!(f)
    }
}

impl Display for Pcie {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (first, last) = self.buses;
        writeln!(f, "pcie: ecam {}, buses {first}..={last}", self.ecam)?;
        for window in &self.windows {
            writeln!(f, "pcie: {:?} {:#x} at {}", window.kind, window.pci, window.cpu)?;
        }
        for map in &self.iommu_map {
            writeln!(
                f,
                "pcie: {:#x} requesters from {:#x} are streams from {:#x} of smmu {:#x}",
                map.count, map.rid, map.stream, map.smmu
            )?;
        }
        Ok(())
    }
}
