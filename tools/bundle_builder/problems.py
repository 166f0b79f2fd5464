"""What ends a build: one message that says what is wrong and what to do."""

from __future__ import annotations


class CannotBuild(Exception):
    """A build, a check or a request that cannot succeed, in words for who asked for it."""
