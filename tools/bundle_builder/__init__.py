"""Fills a bundle where package registries are all there is: programs from Go modules, a few files from Debian.

The way is one: `parts` says what there is, `golang` compiles, `debian` fetches packages, `oci` packs images, `store`
keeps what was made under the digest of what it was made from, `manifest` says what a bundle holds, `builder` does it
in order. `golang` and `debian` are the only ones that start processes.
"""
