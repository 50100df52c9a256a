"""Where messages come from: the SMS Spam Collection's download, or a file of one's own."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filterd.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from pooch import Pooch

URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
MEMBER = "SMSSpamCollection"
MEMBER_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
RETRIES = 4


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content; ``name`` without its folder, the ending tells its form."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """The content's checksum."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def is_sms_spam_collection(self) -> bool:
        """Whether this is, byte for byte, the SMS Spam Collection v.1."""
        return self.sha256 == MEMBER_SHA256


def local(path: Path) -> Source:
    """Read a file, a zip that holds the collection, or a folder that holds either.

    Raises DataError where there is no such thing.
    """
    try:
        if path.is_dir():
            path = _in_folder(path)
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".zip":
        return Source(MEMBER, member(data, path.name))
    return Source(path.name, data)


def download(url: str = URL, cache: Path | None = None, retries: int = RETRIES) -> Source:
    """Fetch the SMS Spam Collection once; later calls take it from the cache.

    A broken line and a wrong checksum are tried again, ``retries`` times. Raises UnavailableError
    where the server does not answer, DataError where what it sends is something else.
    """
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel(logging.WARNING)
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.zip"
    store = pooch.create(
        path=cache or Path(pooch.os_cache("filterd")),
        base_url="",
        registry={name: None},
        urls={name: url},
        retry_if_failed=retries,
    )
    try:
        return Source(MEMBER, _verified(Path(store.fetch(name, downloader=_fetch))))
    except RequestException as error:
        raise UnavailableError(
            f"{url} cannot be downloaded ({type(error).__name__}): try again later, "
            "or download it elsewhere and give --path FILE"
        ) from error
    except _WrongFileError as error:
        raise DataError(f"{url}: {error}; give the right file with --path") from error


class _WrongFileError(ValueError):
    """Not the collection's zip. A ValueError, because pooch tries again after one."""


def _fetch(url: str, output_file: str, pooch: Pooch) -> None:
    """Download with a progress bar and check the member before it enters the cache."""
    from pooch import HTTPDownloader

    HTTPDownloader(progressbar=True, timeout=30)(url, output_file, pooch)
    _verified(Path(output_file))


def _verified(path: Path) -> bytes:
    """The member's content; what has another checksum does not stay in the cache."""
    try:
        data = member(path.read_bytes(), "what came")
        found = hashlib.sha256(data).hexdigest()
        if found != MEMBER_SHA256:
            raise DataError(f"{MEMBER} has the sha256 {found}, not {MEMBER_SHA256}")
    except DataError as error:
        path.unlink()
        raise _WrongFileError(str(error)) from error
    return data


def member(data: bytes, name: str) -> bytes:
    """The collection inside a zip. Raises DataError where it is damaged or another one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read(MEMBER)
    except KeyError as error:
        raise DataError(f"{name} is a zip without {MEMBER}") from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{name} is not a whole zip file") from error


def _in_folder(folder: Path) -> Path:
    for candidate in (MEMBER, f"{MEMBER}.tsv", "sms+spam+collection.zip"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(f"{folder} holds no {MEMBER}: give the file itself")
