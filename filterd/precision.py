"""Precision: which one a model runs in, what the artifact and the machine allow."""

from __future__ import annotations

from typing import Literal

import torch

from filterd.artifact import Artifact, Manifest
from filterd.errors import SettingsError
from filterd.linear import Int8Linear, TransposedLinear, for_serving
from filterd.model import SpamModel

Precision = Literal["fp32", "bf16", "int8"]
Wanted = Literal["auto", "fp32", "bf16", "int8"]


def candidates(wanted: Wanted, device: torch.device, manifest: Manifest) -> list[Precision]:
    """What may run, the plainest first; warm-up measures which of several is fastest.

    Raises SettingsError for a precision that the device or the artifact refuses.
    """
    if wanted != "auto":
        _check(wanted, device, manifest)
        return [wanted]
    if device.type == "cuda":
        return ["bf16"]
    found: list[Precision] = ["fp32"]
    if _has_bf16():
        found.append("bf16")
    if _has_int8() and manifest.int8 is not None and manifest.int8.near:
        found.append("int8")
    return found


def build(artifact: Artifact, device: torch.device, precision: Precision) -> SpamModel:
    """The artifact's model, its weights laid out for a device and a precision."""
    model = artifact.build_model().to(
        device, torch.bfloat16 if precision == "bf16" else torch.float32
    )
    if device.type == "cpu" and precision != "bf16":
        model.look_up_first()
        for_serving(model.blocks, Int8Linear if precision == "int8" else TransposedLinear)
    return model


def _check(wanted: Precision, device: torch.device, manifest: Manifest) -> None:
    if wanted != "int8":
        return
    if device.type != "cpu":
        raise SettingsError("FILTERD_PRECISION=int8 is for CPUs: use bf16 or auto on this device")
    if not _has_int8():
        raise SettingsError("FILTERD_PRECISION=int8: torch has no oneDNN here: use fp32 or auto")
    found = manifest.int8
    if found is not None and not found.near:
        raise SettingsError(
            f"FILTERD_PRECISION=int8: {manifest.version} may not run so: its scores move by up to "
            f"{found.max_difference:.3f} and {found.labels_equal:.2%} of labels stay: use fp32"
        )


def _has_int8() -> bool:
    usable = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return usable and hasattr(torch.ops.onednn, "qlinear_pointwise")


def _has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself, instead of widening it first."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
