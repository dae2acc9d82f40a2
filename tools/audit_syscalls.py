"""Write `src/trailhound/sources/auditd/syscalls.py` from the kernel headers of this machine.

Needs `cpp` and `linux-libc-dev`. Numbers from 424 on are the same on every architecture, so
those that are newer than the installed headers are listed here.
"""

import re
import subprocess
import textwrap
from pathlib import Path

_TARGET = Path(__file__).parent.parent / "src/trailhound/sources/auditd/syscalls.py"
_NEWER = (
    "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount "
    "lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat "
    "removexattrat open_tree_attr file_getattr file_setattr"
)
_ARM64 = ["-D__BITS_PER_LONG=64"] + [
    f"-D__ARCH_WANT_{name}"
    for name in ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "SYS_CLONE3", "MEMFD_SECRET")
]
_HEAD = '''"""System call names by number. Written by `tools/audit_syscalls.py`; do not edit.

Facts of the kernel's `unistd` headers. A run `number: names` counts up by one a name.
"""

'''
_TAIL = '''

def _table(runs: dict[int, str]) -> dict[str, str]:
    return {
        str(first + offset): name
        for first, names in runs.items()
        for offset, name in enumerate(names.split())
    }


SYSCALLS = {"x86_64": _table(_X86_64), "i386": _table(_I386), "aarch64": _table(_AARCH64)}
"""Architecture → decimal number → name."""
'''


def _numbers(header: str, flags: list[str]) -> dict[int, str]:
    done = subprocess.run(  # noqa: S603
        ["cpp", "-dM", *flags],  # noqa: S607
        input=f"#include <{header}>\n",
        capture_output=True,
        text=True,
        check=True,
    )
    macros = dict(re.findall(r"#define __(NR\w+) (.+)", done.stdout))
    numbers: dict[int, str] = {}
    for macro, value in macros.items():
        if macro in ("NR_syscalls", "NR_arch_specific_syscall") or not macro.startswith("NR_"):
            continue
        text = value
        while text.startswith("__NR"):
            text = macros[text[2:]]
        digits = re.sub(r"__X32_SYSCALL_BIT|[()+ ]", "", text)
        numbers[int(digits)] = macro[3:]
    return numbers


def _runs(numbers: dict[int, str]) -> dict[int, str]:
    runs: dict[int, list[str]] = {}
    first = last = -2
    for number in sorted(numbers):
        if number != last + 1:
            first = number
        runs.setdefault(first, []).append(numbers[number])
        last = number
    return {key: " ".join(names) for key, names in runs.items()}


def _written(name: str, numbers: dict[int, str]) -> str:
    for number, newer in enumerate(_NEWER.split(), 451):
        numbers.setdefault(number, newer)
    lines = [f"{name} = {{"]
    for first, names in _runs(numbers).items():
        wrapped = textwrap.wrap(names, 88, break_long_words=False, break_on_hyphens=False)
        if len(wrapped) == 1:
            lines.append(f'    {first}: "{names}",')
        else:
            lines.append(f"    {first}: (")
            lines += [f'        "{row} "' for row in wrapped[:-1]] + [f'        "{wrapped[-1]}"']
            lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    """Write the module."""
    x32 = {n: name for n, name in _numbers("asm/unistd_x32.h", []).items() if n >= 512}
    tables = {
        "_X86_64": {**_numbers("asm/unistd_64.h", []), **x32},
        "_I386": _numbers("asm/unistd_32.h", []),
        "_AARCH64": _numbers("asm-generic/unistd.h", _ARM64),
    }
    _TARGET.write_text(
        _HEAD + "".join(_written(name, numbers) for name, numbers in tables.items()) + _TAIL
    )


if __name__ == "__main__":
    main()
