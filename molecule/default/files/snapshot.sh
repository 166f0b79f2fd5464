#!/bin/sh
# A host as text. Left out is what changes by itself or by being looked at: caches, logs, lists of packages, clocks.
set -eu
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

echo "# files"
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root \
    -o -path /var/cache -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \
    -o -path /var/tmp -o -path '/usr/lib/python3*' -o -path /usr/share/doc -o -path /var/backups \) -prune \
    -o \( -type f -o -type l \) -print | sort
for folder in /var/lib/containerd /var/lib/kubelet /var/lib/etcd; do
    test -d "$folder" && find "$folder" -mindepth 1 | sort
done
echo "# contents of /etc"
find /etc -xdev -type f ! -name ld.so.cache ! -name resolv.conf ! -name hosts ! -name mtab ! -name '*-' \
    -exec sha256sum {} + | sort -k 2
echo "# packages"
dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' | grep ' installed$' | sort
echo "# units"
systemctl list-unit-files --no-legend --plain | awk '{ print $1, $2 }' | grep -v '\.mount\|\.scope' | sort
echo "# failed units"
systemctl list-units --state=failed --no-legend --plain | awk '{ print $1 }' | sort
echo "# mounts"
awk '{ print $2, $3 }' /proc/mounts | sort
echo "# interfaces"
ls /sys/class/net
echo "# routes"
ip route show table all | sed 's/ \(expires\|metric\) [^ ]*//g' | grep -v '^ff00\|^fe80\|multicast\|anycast' | sort
echo "# packet filter"
for save in iptables-save ip6tables-save; do
    if command -v $save >/dev/null; then
        # Docker's resolver is in the host's own tables; empty tables come and go.
        $save 2>/dev/null | sed 's/\[[0-9:]*\]//' | grep -v '^#' | grep -v '^\*\|^COMMIT\|^:.* ACCEPT ' || true
    fi
done
if command -v nft >/dev/null; then
    nft list tables | grep -v 'table ip6\? \(nat\|filter\|mangle\|raw\)$' || true
fi
echo "# settings"
for name in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables net/ipv4/conf/eth0/proxy_arp net/ipv4/neigh/eth0/proxy_delay; do
    test -e "/proc/sys/$name" && echo "$name $(cat "/proc/sys/$name")"
done
true
