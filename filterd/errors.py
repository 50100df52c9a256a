"""Every error that filterd raises on purpose.

The tree::

    FilterdError            one line that says what happened and what to do
    ├── SettingsError       a setting or an argument is wrong: fix it and start again
    ├── ArtifactError       the artifact cannot be served: refuse to start, or keep the old one
    ├── DataError           a file of messages cannot be used as it is
    ├── FeedbackError       what somebody says about a message cannot be used as it is
    ├── UnavailableError    something outside is away for now: leave entries pending, back off
    │   └── GroupMissingError   the stream or its consumer group is gone: make it again
    └── EntryError          this entry can never be scored: dead-letter it
"""

from __future__ import annotations


class FilterdError(Exception):
    """The root. ``exit_code`` is what a command ends with when nothing catches it.

    Its message is one line, whatever names of files, fields or tokens it quotes.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SettingsError(FilterdError):
    """A setting or an argument is wrong; the message names the remedy."""

    exit_code = 2


class ArtifactError(FilterdError):
    """An artifact is missing, damaged or of a kind that this version cannot serve."""


class DataError(FilterdError):
    """A file of messages cannot be used; the message names the file and the rows."""


class FeedbackError(FilterdError):
    """A correction or its withdrawal cannot be used; the message never shows the text."""


class UnavailableError(FilterdError):
    """A server did not answer or refused for now; ``kind`` is a bounded word for metrics."""

    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class GroupMissingError(UnavailableError):
    """The input stream or its consumer group does not exist (any more)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="nogroup")


class EntryError(FilterdError):
    """An entry that can never be scored; ``reason`` is the dead letter's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def printable(text: str) -> str:
    r"""A text for one line of a terminal: what cannot be seen, and line ends, as escapes.

    >>> printable("one\ntwo\x1b[31m")
    'one\\ntwo\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
