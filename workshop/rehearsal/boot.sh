#!/bin/bash
# boot.sh ROOT NAME v1|v2: becomes the init of a box. Started in its own mount, pid, uts, ipc, network and cgroup
# namespaces. v1: the machine keeps its controllers in hierarchies of their own, and the box's systemd is to use them.
set -eu
root=$1 name=$2 cgroups=$3

mount --make-rprivate /
mount --rbind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r file major minor <<<"$node"
    mknod -m 666 "dev/$file" c "$major" "$minor"
done
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
words=()
if [[ $cgroups == v1 ]]; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    for controller in cpuset cpu cpuacct pids blkio devices freezer memory; do
        mkdir "sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "sys/fs/cgroup/$controller"
    done
    words=(SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0)
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
# The kernel's own knobs are the machine's: read only, but for the network, which is the box's. The two that the
# installation sets are files of the box.
for knob in overcommit_memory swappiness; do cat "proc/sys/vm/$knob" >"run/$knob"; done
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind "run/overcommit_memory" "proc/sys/vm/overcommit_memory"
mount --bind "run/swappiness" "proc/sys/vm/swappiness"
hostname "$name"
mkdir -p .outside
pivot_root . .outside
cd /
mount --bind /.outside/proc/sys/net /proc/sys/net
umount -l /.outside
rmdir /.outside
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio --inh-caps=-sys_time,-sys_module,-sys_rawio \
    env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd "${words[@]}" systemd.show_status=1 --log-target=console --log-level=info
