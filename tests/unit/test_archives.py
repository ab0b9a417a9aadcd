"""Archives: the same content gives the same bytes, on any machine and at any time."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from harness import archives
from harness.errors import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "bin/program": (b"#!/bin/sh\n", 0o755),
    "lib/b.so": (b"\x7fELF", 0o644),
    "lib/a.txt": ("Ä".encode(), 0o600),
    "lib/ünï.txt": (b"", 0o664),
    "z" * 120 + "/long": (b"long", 0o644),
}
NAMES = ["bin/program", "lib/a.txt", "lib/b.so"]


def grow(root: Path, *, reverse: bool = False, time: int = 0, links: bool = True) -> Path:
    """The same tree, made in an order, at a time."""
    for name in sorted(FILES, reverse=reverse):
        content, mode = FILES[name]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (root / "empty").mkdir()
    if links:
        (root / "link").symlink_to("lib/b.so")
        (root / "folder").symlink_to("lib")
        (root / "broken").symlink_to("nowhere")
    for path in root.rglob("*"):
        os.utime(path, (time, time), follow_symlinks=False)
    return root


def zipped(tree: Path, output: Path, prefix: str = "python") -> bytes:
    archives.write_gzip(output, tree, prefix)
    return output.read_bytes()


def members(packed: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        infos = tar.getmembers()
    assert len({info.name for info in infos}) == len(infos)
    return {info.name: info for info in infos}


def contents(packed: bytes) -> dict[str, bytes]:
    """What each file of an archive holds, links followed."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        streams = {info.name: tar.extractfile(info) for info in tar if not info.isdir()}
        return {name: stream.read() for name, stream in streams.items() if stream}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return grow(tmp_path / "tree")


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Whatever the order, the times, and the names of the folder and of the archive."""
    other = grow(tmp_path / "another name", reverse=True, time=1_000_000_000)
    assert zipped(tree, tmp_path / "a.tar.gz") == zipped(other, tmp_path / "b.tar.gz")


def test_a_tree_with_another_owner_gives_the_same_bytes(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = zipped(tree, tmp_path / "a.tar.gz")
    real = tarfile.TarFile.gettarinfo

    def owned(self: tarfile.TarFile, *args: object, **more: object) -> tarfile.TarInfo:
        info = real(self, *args, **more)  # type: ignore[arg-type]
        info.uid, info.gid, info.uname, info.gname = 1234, 2**31, "user", "group"
        return info

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", owned)
    assert zipped(tree, tmp_path / "b.tar.gz") == before


def test_hard_links_give_the_same_bytes_as_copies(tree: Path, tmp_path: Path) -> None:
    (tree / "one").write_bytes(b"content")
    (tree / "two").write_bytes(b"content")
    copies = zipped(tree, tmp_path / "a.tar.gz")
    (tree / "two").unlink()
    (tree / "two").hardlink_to(tree / "one")
    assert zipped(tree, tmp_path / "b.tar.gz") == copies


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "prefix"])
def test_another_tree_gives_other_bytes(tree: Path, tmp_path: Path, change: str) -> None:
    before = zipped(tree, tmp_path / "a.tar.gz")
    prefix = "python"
    match change:
        case "content":
            (tree / "lib" / "b.so").write_bytes(b"\x7fELG")
        case "mode":
            (tree / "lib" / "b.so").chmod(0o755)
        case "name":
            (tree / "lib" / "b.so").rename(tree / "lib" / "c.so")
        case "link":
            (tree / "link").unlink()
            (tree / "link").symlink_to("lib/a.txt")
        case _:
            prefix = "python3"
    assert zipped(tree, tmp_path / "b.tar.gz", prefix) != before


def test_an_archive_holds_the_tree_below_its_prefix(tree: Path, tmp_path: Path) -> None:
    packed = zipped(tree, tmp_path / "a.tar.gz")
    found = members(packed)
    assert set(found) == {
        "python",
        *(f"python/{path.relative_to(tree).as_posix()}" for path in tree.rglob("*")),
    }
    assert {name: content for name, (content, _) in FILES.items()}.items() <= {
        name.removeprefix("python/"): content for name, content in _files_only(packed).items()
    }.items()
    assert found["python/empty"].isdir()
    targets = {name: found[f"python/{name}"].linkname for name in ("link", "folder", "broken")}
    assert targets == {"link": "lib/b.so", "folder": "lib", "broken": "nowhere"}


def _files_only(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        streams = {info.name: tar.extractfile(info) for info in tar if info.isreg()}
        return {name: stream.read() for name, stream in streams.items() if stream}


def test_everything_is_roots_and_readable_by_all(tree: Path, tmp_path: Path) -> None:
    found = members(zipped(tree, tmp_path / "a.tar.gz"))
    assert {(i.uid, i.gid, i.uname, i.gname, i.mtime) for i in found.values()} == {
        (0, 0, "root", "root", 0)
    }
    modes = {name: found[f"python/{name}"].mode for name in ("lib", *NAMES)}
    assert modes == {"lib": 0o755, "bin/program": 0o755, "lib/a.txt": 0o644, "lib/b.so": 0o644}


def test_the_compressed_file_has_no_name_and_no_time(tree: Path, tmp_path: Path) -> None:
    packed = zipped(tree, tmp_path / "secret-name.tar.gz")
    assert packed[3] == 0, "a flag byte of 0: no name, no comment"
    assert packed[4:8] == bytes(4)
    assert gzip.decompress(packed)


def context(
    output: Path, files: dict[str, Path], texts: dict[str, str], programs: tuple[str, ...] = ()
) -> bytes:
    archives.write_context(output, files, texts, programs)
    return output.read_bytes()


def test_a_context_holds_files_and_texts_by_their_names(tree: Path, tmp_path: Path) -> None:
    packed = context(
        tmp_path / "c.tar",
        {"files/b": tree / "lib" / "b.so", "run": tree / "bin" / "program"},
        {"Dockerfile": "FROM scratch\n", "idle.sh": "#!/bin/sh\n"},
        ("idle.sh",),
    )
    assert contents(packed) == {
        "Dockerfile": b"FROM scratch\n",
        "idle.sh": b"#!/bin/sh\n",
        "files/b": b"\x7fELF",
        "run": b"#!/bin/sh\n",
    }
    assert {name: info.mode for name, info in members(packed).items()} == {
        "Dockerfile": 0o644,
        "idle.sh": 0o755,
        "files/b": 0o644,
        "run": 0o755,
    }


def test_a_program_among_the_files_is_executable_whatever_its_mode(
    tree: Path, tmp_path: Path
) -> None:
    files = {"uv": tree / "lib" / "b.so"}
    packed = context(tmp_path / "c.tar", files, {}, ("uv",))
    assert members(packed)["uv"].mode == 0o755


def test_the_same_context_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    other = grow(tmp_path / "other", reverse=True, time=1_000_000_000)
    texts = {"Dockerfile": "FROM scratch\n", "a": "ä"}
    one = context(tmp_path / "1.tar", {name: tree / name for name in NAMES}, texts)
    two = context(
        tmp_path / "2.tar",
        {name: other / name for name in reversed(NAMES)},
        dict(reversed(texts.items())),
    )
    assert one == two


def test_hard_linked_files_of_a_context_have_their_content(tree: Path, tmp_path: Path) -> None:
    (tree / "twin").hardlink_to(tree / "lib" / "b.so")
    files = {"one": tree / "lib" / "b.so", "two": tree / "twin"}
    assert contents(context(tmp_path / "c.tar", files, {})) == dict.fromkeys(files, b"\x7fELF")


def test_hard_linked_files_of_a_context_give_the_same_bytes_as_copies(
    tree: Path, tmp_path: Path
) -> None:
    files = {"one": tree / "lib" / "b.so", "two": tree / "twin"}
    (tree / "twin").write_bytes(b"\x7fELF")
    copies = context(tmp_path / "1.tar", files, {})
    (tree / "twin").unlink()
    (tree / "twin").hardlink_to(tree / "lib" / "b.so")
    assert context(tmp_path / "2.tar", files, {}) == copies


def test_a_symbolic_link_among_the_files_of_a_context_is_followed(
    tree: Path, tmp_path: Path
) -> None:
    packed = context(tmp_path / "c.tar", {"lib": tree / "link"}, {})
    assert members(packed)["lib"].isreg()


def packed(path: Path, *infos: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def made(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def test_what_packages_hold_is_unpacked(tmp_path: Path) -> None:
    tar = packed(
        tmp_path / "x.tar",
        made("./usr/lib", tarfile.DIRTYPE),
        made("./usr/lib/a.so.1", size=3),
        made("./usr/lib/a.so", tarfile.SYMTYPE, "a.so.1"),
        made("./usr/lib/b.so", tarfile.LNKTYPE, "./usr/lib/a.so.1"),
        made("./usr/lib/c", tarfile.SYMTYPE, "/etc/c"),
        made("./etc/passwd"),
    )
    archives.extract(tar, tmp_path / "to", below=("./usr/",))
    assert sorted(p.name for p in (tmp_path / "to/usr/lib").iterdir()) == [
        "a.so",
        "a.so.1",
        "b.so",
        "c",
    ]
    assert not (tmp_path / "to/etc").exists()


@pytest.mark.parametrize(
    ("infos", "problem"),
    [
        ([made("./usr/../../x")], "leads out of it"),
        ([made("/usr/x")], "leads out of it"),
        ([made("./usr/null", tarfile.CHRTYPE)], "is a device or a pipe"),
        ([made("./usr/pipe", tarfile.FIFOTYPE)], "is a device or a pipe"),
        ([made("./usr/a", tarfile.SYMTYPE, "/etc"), made("./usr/a/x")], "written through a link"),
        ([made("./usr/a", tarfile.SYMTYPE, "/etc/x"), made("usr//a")], "written through a link"),
        ([made("./usr/a", tarfile.LNKTYPE, "../../etc/passwd")], "leads to outside"),
        ([made("./usr/a", tarfile.LNKTYPE, "/etc/passwd")], "leads to outside"),
        (
            [made("./usr/a", tarfile.SYMTYPE, "/etc/x"), made("./usr/b", tarfile.LNKTYPE, "usr/a")],
            "leads to usr/a",
        ),
        ([made("./usr/a", size=1025)], "bytes"),
        ([made(f"./usr/{n}") for n in range(6)], "members"),
    ],
)
def test_what_would_be_written_elsewhere_is_not_unpacked(
    infos: list[tarfile.TarInfo], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a Python whose tarfile has no filters."""
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1024)
    monkeypatch.delattr(tarfile, "tar_filter", raising=False)
    tar = packed(tmp_path / "x.tar", *infos)
    with pytest.raises(ArchiveError, match=problem):
        archives.extract(tar, tmp_path / "to", below=("./usr/", "/usr/", "usr/"))
    assert not (tmp_path / "to").exists()
