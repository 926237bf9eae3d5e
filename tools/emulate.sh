#!/bin/sh
# Runs statically linked test programs in a Linux guest on an emulated processor (docs/testing.md).
#
#     tools/emulate.sh BOCHS KERNEL PROGRAM...
#
# BOCHS: a bochs with its "nogui" display, in its source tree (or BXSHARE names the folder of its
# BIOS-bochs-latest). KERNEL: a Linux for PCs with a serial console, 5.16 or newer for AMX.
#   EMULATE_CPU        model of the processor (default: sapphire_rapids)
#   EMULATE_ENV        variables for the programs, such as "UF_REQUIRE_ISA=amx"
#   EMULATE_TIMEOUT    seconds, all programs together (default: 3600)
# Needs Debian's busybox-static, cpio, isolinux, syslinux-common and xorriso. Exit status 0 when all
# programs passed.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
bochs=$(realpath "$1")
kernel=$(realpath "$2")
shift 2
share=${BXSHARE:-$(dirname "$bochs")/bios}
vga=$(find "$share" -name 'VGABIOS-lgpl-latest.bin' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The guest: busybox, the programs, and an init that runs them and writes to the serial port.
mkdir -p "$work/root/bin" "$work/root/proc" "$work/root/dev" "$work/root/tmp" "$work/iso"
cp "$(command -v busybox)" "$work/root/bin/busybox"
{
    echo '#!/bin/busybox sh'
    echo '/bin/busybox mount -t proc proc /proc'
    echo '/bin/busybox mount -t devtmpfs dev /dev'
    echo 'exec >/dev/ttyS0 2>&1 </dev/null'
    echo "export ${EMULATE_ENV:-LC_ALL=C}"
    for program; do
        name=$(basename "$program")
        cp "$program" "$work/root/bin/$name"
        echo "/bin/$name; echo \"exit status of $name: \$?\""
    done
    echo '/bin/busybox sleep 1' # lets the port run dry
    echo '/bin/busybox poweroff -f'
} >"$work/root/init"
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/iso/initrd.gz"

# clearcpuid=580: Linux turns long string instructions off, for a register that Bochs lacks, but not
# short ones (FSRM), and its memmove believes that nobody has these without those.
cp "$kernel" "$work/iso/kernel"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso"
cat >"$work/iso/isolinux.cfg" <<EOF
default linux
prompt 0
label linux
  kernel /kernel
  append initrd=/initrd.gz console=ttyS0 quiet mitigations=off nokaslr panic=-1 clearcpuid=580
EOF
xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$work/iso" 2>"$work/xorriso.log"

# Switching the machine off is a "panic" to Bochs.
cat >"$work/bochsrc" <<EOF
display_library: nogui
cpu: model=${EMULATE_CPU:-sapphire_rapids}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=512, host=512
romimage: file=$share/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$vga
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
panic: action=fatal
error: action=ignore
info: action=ignore
log: $work/bochs.log
EOF
timeout "${EMULATE_TIMEOUT:-3600}" "$bochs" -q -f "$work/bochsrc" >"$work/stdout" 2>&1 </dev/null ||
    true
tr -d '\r' <"$work/serial" | tee "$work/output"
passed=$(grep -c '^exit status of .*: 0$' "$work/output") || true
if [ "$passed" -ne $# ]; then
    tail -n 5 "$work/stdout" "$work/bochs.log" >&2
    echo "emulate.sh: $passed of $# programs passed" >&2
    exit 1
fi
