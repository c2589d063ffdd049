"""Whether the prebuilt program can run on this machine, said before anything is fetched.

Rules of this module:
- It looks and changes nothing.
- It says no only where the program certainly would not run.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Final

from harness.local_llm.local_llm_errors import LocalModelError

_MACHINES: Final = ("x86_64", "aarch64")
_OLDEST_GLIBC: Final = (2, 17)
# What the wheel for x86_64 is compiled for.
_PROCESSOR_FLAGS: Final = frozenset({"avx2", "fma", "f16c", "bmi2"})
_LIBRARIES: Final = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6"}
_CPU_FACTS: Final = Path("/proc/cpuinfo")
_BUILD_IT: Final = (
    "build llama.cpp from its source (needs cmake and a C++ compiler; about ten minutes on two cores), and put its "
    "llama-server on the PATH or name it in config.yaml: llm.local.program"
)


def check_machine() -> None:
    """Say what keeps the prebuilt program from running here, if anything does.

    Raises:
        LocalModelError: something does.

    """
    reason = _unsuited()
    if reason is not None:
        raise LocalModelError(f"there is no prebuilt program for {reason}", _BUILD_IT)
    absent = [name for name in _LIBRARIES if not _loads(name)]
    if absent:
        packages = " ".join(_LIBRARIES[name] for name in absent)
        fix = f"install them (on Debian as root: apt-get install {packages})"
        raise LocalModelError(f"the program needs libraries that are not here: {', '.join(absent)}", fix)


def _unsuited() -> str | None:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return f"{platform.system()} on {platform.machine()}"
    library, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    if library != "glibc" or numbers < _OLDEST_GLIBC:
        return f"this C library ({library or 'not glibc'} {version}): it needs glibc 2.17 or newer".replace(" )", ")")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "Python without the global interpreter lock"
    if platform.machine() == "x86_64":
        lacking = sorted(_PROCESSOR_FLAGS - _flags())
        if lacking:
            return f"this processor, which lacks {', '.join(lacking)}"
    return None


def _flags() -> frozenset[str]:
    try:
        text = _CPU_FACTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _PROCESSOR_FLAGS  # it does not say: only a try can tell
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return _PROCESSOR_FLAGS


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
