"""Hosts in Docker that are real enough to put a cluster on: systemd, sshd, addresses and cgroups of their own."""
