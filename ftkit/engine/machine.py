"""What this machine computes with: devices, precisions, processes."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ftkit.errors import MachineError

LIBRARIES = (
    "ftkit",
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "peft",
    "tokenizers",
    "numpy",
    "scikit-learn",
    "evaluate",
    "nlpaug",
    "pytorch-optimizer",
)
"""Those whose version a run records and `ftkit doctor` tells."""


def has_accelerator() -> bool:
    """Whether there is a GPU, NVIDIA's or Apple's, to train on."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def device() -> torch.device:
    """Where a loaded model answers."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_bf16() -> bool:
    """Whether the device computes in bfloat16, and does not only emulate it."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    x86 = platform.machine() in ("x86_64", "AMD64")
    return bool(x86 and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_bf16())


def _cpu_bf16() -> bool:
    """Whether the processor has bfloat16 dot products (AVX512-BF16 or AMX): without, bf16 is slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision(wanted: str, setting: str = "train.precision") -> str:
    """`fp32`, `bf16` or `fp16` for the one that `setting` wants. Raises MachineError where the machine can't do it."""
    if wanted == "auto":
        return "bf16" if has_bf16() else "fp32"
    if wanted == "fp16" and not torch.cuda.is_available():
        raise MachineError(
            f"{setting}: fp16 needs a GPU; on a processor the library would silently compute in fp32",
            f"set {setting} to bf16, fp32 or auto",
        )
    if wanted == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise MachineError(f"{setting}: this GPU has no bf16", f"set {setting} to fp32 or auto")
    return wanted


def at_hand(precision: str) -> str:
    """The precision, or fp32 where the machine has no bf16: what was exported or calibrated elsewhere."""
    return precision if has_bf16() else "fp32"


@contextmanager
def memory_kept() -> Iterator[None]:
    """While this lasts, freed memory stays with the process, where the C library is one that can be told so.

    A step frees and takes the same blocks again and again; to have them from the system each time, page by page,
    costs a processor more than a tenth of the step. What was freed before goes back to the system first: reading many
    rows leaves pieces that are too small for a step's blocks.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    if not library.mallopt(_MMAP_THRESHOLD, 2**30):  # older ones take 32 MiB at most
        library.mallopt(_MMAP_THRESHOLD, _USUAL)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    give_back()
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _USUAL)
        library.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        give_back()


def give_back() -> None:
    """Hand memory that was freed back to the system, where the C library is one that keeps it (glibc)."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As glibc's malloc.h numbers them."""
_USUAL = 2**25
"""Where glibc's own rule has the threshold after a while."""


def peak_memory() -> int:
    """The most bytes that this process held in memory at once, since `forget_peak` where the system can forget."""
    import resource

    if found := re.search(r"VmHWM:\s+(\d+) kB", _said_of_this_process()):
        return int(found[1]) * 1024

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """Have `peak_memory` begin with what is held now, where the system is Linux: others keep the highest."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # 5: proc(5) has it for the peak alone
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _said_of_this_process() -> str:
    try:
        return Path("/proc/self/status").read_text()
    except OSError:  # no Linux
        return ""


def processes() -> int:
    """Processes that a training takes when not told: one for each GPU, else one."""
    return max(1, torch.cuda.device_count())


def gpu(rank: int) -> int:
    """The GPU of a process that is number `rank` on this machine; each may be shown one of them alone."""
    return rank % processes()


def thread_share(processes: int) -> int:
    """Threads for each of several processes on this machine."""
    return max(1, torch.get_num_threads() // processes)


def environment() -> dict[str, Any]:
    """Versions and machine, as a run records them."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "libraries": {name: version(name) for name in LIBRARIES},
    }
