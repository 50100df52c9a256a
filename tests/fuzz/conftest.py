"""The fixtures of the end-to-end tests, here too."""

from tests.e2e.conftest import daemon, sample, streams

__all__ = ["daemon", "sample", "streams"]
