"""The fixtures of the end-to-end tests, here too."""

from tests.e2e.conftest import daemon, daemon_of, sample, streams

__all__ = ["daemon", "daemon_of", "sample", "streams"]
