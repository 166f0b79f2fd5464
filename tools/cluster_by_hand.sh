#!/bin/bash
# What somebody in a hurry types: kubeadm on the hosts of a laboratory by ssh, with nothing checked, nothing that can be
# run twice and nothing that can be taken back. tools/bench_cluster.py holds the roles' time against this one's.
#
# usage: cluster_by_hand.sh BUNDLE SSH_CONFIG CONTROL_PLANE WORKER...   (addresses)
set -euo pipefail
bundle=$1 ssh_config=$2 control_plane=$3
shift 3
workers=("$@")
began=$EPOCHREALTIME

tell() { printf '%6.1f s  %s\n' "$(bc <<<"$EPOCHREALTIME - $began")" "$1"; }
on() { local host=$1; shift; ssh -F "$ssh_config" "root@$host" "$@"; }
all() { # one function on every host at once
    local pids=() host
    for host in "$control_plane" "${workers[@]}"; do "$1" "$host" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid"; done
}

pause=$(python3 -c "import json,sys; print(next(a['reference'] for a in json.load(open(sys.argv[1]))['artifacts'] if a['name']=='pause' and a['kind']=='image'))" "$bundle/manifest.json")
common=(images/pause.tar images/kube-proxy.tar images/coredns.tar)
own=(images/etcd.tar images/kube-apiserver.tar images/kube-controller-manager.tar images/kube-scheduler.tar)

prepare() {
    local host=$1 images=("${common[@]}")
    [ "$host" != "$control_plane" ] || images+=("${own[@]}")
    tar -C "$bundle" -cf - bin/kubeadm bin/kubelet bin/kubectl bin/crictl \
        bin/cni/bridge bin/cni/host-local bin/cni/loopback bin/cni/portmap "${images[@]}" |
        on "$host" 'mkdir -p /tmp/bundle && tar -C /tmp/bundle -xf -'
    on "$host" sh -s -- "$pause" <<'HOST'
set -eu
install /tmp/bundle/bin/kube* /tmp/bundle/bin/crictl /usr/local/bin/
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd /etc/kubernetes/manifests
install /tmp/bundle/bin/cni/* /opt/cni/bin/
sysctl -qw net.ipv4.ip_forward=1
cat >/etc/containerd/config.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
cat >/etc/systemd/system/kubelet.service <<'UNIT'
[Unit]
StartLimitIntervalSec=0
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl restart containerd
systemctl enable -q kubelet
for archive in /tmp/bundle/images/*.tar; do ctr -n k8s.io images import "$archive" >/dev/null; done
HOST
}

registration() { echo "nodeRegistration: {criSocket: 'unix:///run/containerd/containerd.sock', imagePullPolicy: Never, kubeletExtraArgs: [{name: node-ip, value: $1}]}"; }

join() {
    local host=$1
    [ "$host" != "$control_plane" ] || return 0
    on "$host" 'cat >/tmp/join.yaml && kubeadm join --ignore-preflight-errors=SystemVerification --config /tmp/join.yaml >/tmp/join.log' <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {bootstrapToken: {apiServerEndpoint: '$control_plane:6443', token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}
$(registration "$host")
YAML
}

network() {
    local host=$1 name range
    name=$(on "$host" hostname)
    range=$(on "$control_plane" "kubectl --kubeconfig /etc/kubernetes/admin.conf get node $name -o jsonpath={.spec.podCIDR}")
    on "$host" 'cat >/etc/cni/net.d/10-bridge.conflist' <<JSON
{"cniVersion":"0.4.0","name":"hand","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,
 "ipam":{"type":"host-local","ranges":[[{"subnet":"$range"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}
JSON
    for other in "$control_plane" "${workers[@]}"; do
        [ "$other" = "$host" ] || on "$other" ip route replace "$range" via "$host"
    done
}

all prepare
tell "programs and images on every host"
on "$control_plane" 'cat >/tmp/init.yaml && kubeadm init --ignore-preflight-errors=SystemVerification --config /tmp/init.yaml >/tmp/init.log' <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: abcdef.0123456789abcdef}]
localAPIEndpoint: {advertiseAddress: $control_plane}
$(registration "$control_plane")
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
controlPlaneEndpoint: $control_plane:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
resolvConf: /etc/kubelet-resolv.conf
featureGates: {KubeletInUserNamespace: true}
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
conntrack: {maxPerCore: 0}
YAML
tell "kubeadm init"
all join
tell "kubeadm join on every worker"
all network
tell "network"
on "$control_plane" 'export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl wait --for=condition=Ready node --all --timeout=120s >/dev/null
until kubectl -n kube-system wait --for=condition=Ready pod --all --timeout=120s >/dev/null 2>&1; do sleep 0.2; done'
tell "nodes and system pods ready"
