"""What the kernel's binfmt_misc knows about running another architecture's programs.

The kernel keeps its handlers as files: ``status`` and ``register``, and one file for each entry.
This module reads them, and knows the line that registers a QEMU; it changes nothing itself.
Format: https://docs.kernel.org/admin-guide/binfmt-misc.html
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ToolError
from harness.platforms import Platform

BINFMT_MISC = Path("/proc/sys/fs/binfmt_misc")

E_MACHINE = {Platform.X86_64: 0x3E, Platform.AARCH64: 0xB7}
"""``e_machine`` of an ELF header."""

# The header's first 20 bytes, as QEMU's scripts/qemu-binfmt-conf.sh gives them: ident, e_type
# (EXEC, with DYN let through by the mask's 0xfe), e_machine. Any OSABI will do for aarch64; those
# from 0 to 3 (System V to GNU) for x86_64.
_MASKS = {
    Platform.X86_64: bytes.fromhex("fffffffffffefefc" + "ff" * 8 + "feffffff"),
    Platform.AARCH64: bytes.fromhex("ffffffffffffff00" + "ff" * 8 + "feffffff"),
}
_EXEC, _DYN = 2, 3
# What the kernel reads of a program before it asks the handlers (BINPRM_BUF_SIZE).
_HEAD_BYTES = 256
# The kernel refuses longer lines (MAX_REGISTER_LENGTH in fs/binfmt_misc.c).
_LINE_BYTES = 1920


@dataclass(frozen=True, kw_only=True)
class Handler:
    """One entry of binfmt_misc that matches on magic bytes.

    ``enabled`` is false, too, where binfmt_misc as a whole is switched off. ``registered`` is in
    nanoseconds since the epoch.
    """

    name: str
    enabled: bool
    interpreter: Path
    flags: str
    offset: int
    magic: bytes
    mask: bytes
    registered: int = 0

    @property
    def works_in_containers(self) -> bool:
        """Whether the kernel holds the interpreter open (flag ``F``).

        Without it the interpreter's path is looked up inside the container, where no QEMU is.
        """
        return "F" in self.flags

    def matches(self, platform: Platform) -> bool:
        """Whether the kernel hands the platform's programs, position-independent or not, to it."""
        return all(self._takes(elf_header(platform, kind)) for kind in (_EXEC, _DYN))

    def _takes(self, header: bytes) -> bool:
        head = header.ljust(_HEAD_BYTES, b"\0")[self.offset :]
        if len(head) < len(self.magic):
            return False
        compared = zip(head, self.magic, self.mask, strict=False)
        return all((byte ^ wanted) & mask == 0 for byte, wanted, mask in compared)


def elf_header(platform: Platform, kind: int = _EXEC) -> bytes:
    """The first 20 bytes of a program of the platform; ``kind`` is ``e_type``."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return ident + kind.to_bytes(2, "little") + E_MACHINE[platform].to_bytes(2, "little")


def entry_name(platform: Platform) -> str:
    """The name of the entry that this project registers for the platform."""
    return f"pbs-matrix-{platform.value}"


def is_mounted(root: Path = BINFMT_MISC) -> bool:
    """Whether binfmt_misc is mounted at ``root``."""
    return (root / "register").exists()


def is_switched_off(root: Path = BINFMT_MISC) -> bool:
    """Whether all handlers are switched off at once, by ``echo 0 > status``."""
    try:
        return (root / "status").read_text().strip() == "disabled"
    except OSError:
        return False


def handlers(root: Path = BINFMT_MISC) -> list[Handler]:
    """All entries that match on magic bytes, in the order in which the kernel asks them.

    The kernel asks the newest first. A directory listing does not show that order, but the
    entry's times do: it is created when it is registered, and never written to afterwards
    (``bm_get_inode`` in fs/binfmt_misc.c). Our own goes first where the clock's tick cannot tell.
    """
    off = is_switched_off(root)
    try:
        paths = sorted(path for path in root.iterdir() if path.name not in ("register", "status"))
    except OSError:  # not mounted, or no binfmt_misc in this kernel
        return []
    found = [handler for path in paths if (handler := _read(path, off=off)) is not None]
    ours = {entry_name(platform) for platform in Platform}
    return sorted(found, key=lambda one: (-one.registered, one.name not in ours, one.name))


def find_handler(platform: Platform, root: Path = BINFMT_MISC) -> Handler | None:
    """The handler that the kernel uses for the platform's programs, or None.

    It may be one that is useless in containers: see ``Handler.works_in_containers``.
    """
    for handler in handlers(root):
        if handler.enabled and handler.matches(platform):
            return handler
    return None


def can_run(platform: Platform, root: Path = BINFMT_MISC) -> bool:
    """Whether containers of the platform can run under this machine's kernel."""
    if platform.is_native:
        return True
    handler = find_handler(platform, root)
    return handler is not None and handler.works_in_containers


def registration_line(platform: Platform, interpreter: Path, name: str | None = None) -> str:
    """What to write to ``register``, in one write, to have ``interpreter`` run the platform.

    Flags: ``F`` opens the interpreter now, so that containers need not have it; ``C`` takes user
    and capabilities from the program, as sudo in a container needs, and implies ``O``, which
    passes the program as an open file.

    Raises ToolError for a path that the kernel's format cannot hold.
    """
    fields = (
        "",
        name or entry_name(platform),
        "M",
        "",
        _escaped(elf_header(platform)),
        _escaped(_MASKS[platform]),
        str(interpreter),
        "OCF",
    )
    line = ":".join(fields)
    if not interpreter.is_absolute() or re.search(r"[:\n]", str(interpreter)):
        raise ToolError(
            f"binfmt_misc cannot take the interpreter {str(interpreter)!r}",
            advice="Give it an absolute path without a colon (move the cache directory).",
        )
    if len(line.encode()) > _LINE_BYTES:
        raise ToolError(
            f"the registration of {interpreter} is longer than the kernel's {_LINE_BYTES} bytes",
            advice="Move QEMU to a shorter path (move the cache directory).",
        )
    return line


def qemu_version(interpreter: Path) -> tuple[int, int] | None:
    """Major and minor version of a QEMU.

    None if the file is gone or is no QEMU. Gone does not mean broken: with flag ``F`` the kernel
    still holds the file, and handlers registered from a container have paths of that container.
    """
    # Rosetta, box64: no business of ours to start. In the cache only the directory says "qemu".
    if not any("qemu" in part for part in interpreter.parts[-2:]):
        return None
    try:
        answer = subprocess.run(
            [interpreter, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"qemu\S* version (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _read(path: Path, *, off: bool) -> Handler | None:
    """The entry in ``path``; None where it matches on a file's extension, or has just gone."""
    try:
        text = path.read_text(errors="replace")
        registered = path.stat().st_mtime_ns
    except OSError:
        return None
    state, _, rest = text.partition("\n")
    fields = dict(line.partition(" ")[::2] for line in rest.splitlines())
    try:
        magic = bytes.fromhex(fields["magic"])
        return Handler(
            name=path.name,
            enabled=state == "enabled" and not off,
            interpreter=Path(fields["interpreter"]),
            flags=fields.get("flags:", "").strip(),
            offset=int(fields.get("offset", "0")),
            magic=magic,
            mask=bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic),
            registered=registered,
        )
    except (KeyError, ValueError):
        return None


def _escaped(data: bytes) -> str:
    # Every byte, NUL above all: the kernel unescapes, and a raw NUL would end its string.
    return "".join(f"\\x{byte:02x}" for byte in data)
