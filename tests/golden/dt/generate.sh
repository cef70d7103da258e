#!/bin/sh
# Makes the device trees in this folder anew: QEMU's from QEMU, the Pi's from rpi4.dts.
# Needs qemu-system-aarch64 (10.0 made those committed) and dtc. The expected texts beside them come
# from the tests of kernel/board, run with BLESS=1; read the difference before committing it.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# QEMU pads its blob to a megabyte; dtc takes the padding off.
virt() {
    name=$1 machine=$2
    shift 2
    qemu-system-aarch64 -M "virt,$machine,dumpdtb=$work/$name" -nic none -display none "$@"
    dtc -q -I dtb -O dtb -p 0 -o "$name.dtb" "$work/$name"
}

fixed=dtb-randomness=off
virt virt-gicv2-4cpu "gic-version=2,$fixed" -cpu cortex-a72 -smp 4 -m 1G
virt virt-gicv3-8cpu-el2 "gic-version=3,virtualization=on,$fixed" -cpu max -smp 8 -m 1G
virt virt-gicv3-64cpu "gic-version=3,$fixed" -cpu max -smp 64 -m 2G
virt virt-gicv3-128cpu "gic-version=3,$fixed" -cpu max -smp 128 -m 2G
virt virt-highmem-off "gic-version=3,highmem=off,$fixed" -cpu cortex-a53 -smp 2 -m 2G
# The host needs no 64 GiB for this: nothing touches them.
virt virt-64g "gic-version=3,memory-backend=m,$fixed" -cpu neoverse-n1 -smp 4 -m 64G \
    -object memory-backend-ram,id=m,size=64G,reserve=off
virt virt-smmuv3 "gic-version=3,iommu=smmuv3,$fixed" -cpu max -smp 4 -m 1G
virt virt-secure "gic-version=3,secure=on,$fixed" -cpu cortex-a72 -smp 2 -m 512M
virt virt-numa2-4g "gic-version=2,$fixed" -cpu cortex-a57 -smp 4,sockets=2 -m 4G \
    -object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=3G \
    -numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1

# A kernel (one that never runs) brings bootargs and initrd into the tree.
printf 'kernel' >"$work/kernel"
head -c 12345 /dev/zero >"$work/initrd"
virt virt-chosen "gic-version=2,$fixed" -cpu cortex-a72 -smp 1 -m 128M \
    -kernel "$work/kernel" -initrd "$work/initrd" -append 'linear=4k run="stress all secs=3"'

dtc -q -I dts -O dtb -p 0 -o rpi4.dtb rpi4.dts

# What QEMU makes of that tree: its memory, and NOPs over the devices it lacks. dtc would drop the
# NOPs, so this one stays as it is.
qemu-system-aarch64 -M "raspi4b,dumpdtb=raspi4b-qemu.dtb" -dtb rpi4.dtb -display none \
    -kernel "$work/kernel" -append 'selftest'
