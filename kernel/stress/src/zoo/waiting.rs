//! Bugs of code that is not built yet. They are as well known as the others; here nobody can commit them.

use super::Waiting;

/// All of them.
pub const WAITING: &[Waiting] = &[Waiting {
    name: "device-flush-after-set",
    about: "copy on write gives CPUs the new page while a device keeps the old one",
    waits_for: "the notifier, and a device with a TLB of its own.",
    found: "2017, the thread on secondary TLBs and copy on write: the device was told of the change after \
            the new entry was stored. CPU and device wrote to different pages, and neither knew.",
    lanes: &["CPU 0", "device", "its TLB"],
    steps: &[
        (1, "reads page P"),
        (2, "keeps P -> old frame A"),
        (0, "write fault: copies A to B"),
        (0, "clears, flushes CPUs, stores P -> B"),
        (0, "writes P: the data is in B"),
        (1, "reads P: A's data"),
        (0, "tells the device: too late"),
    ],
    rule: "Between the cleared entry and the new one are the flush of the CPUs and that of every device that \
            shares the table, both complete.",
}];
