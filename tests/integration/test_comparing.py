"""`pbs-matrix compare` on pairs of real runs, of which one thing or another was changed between."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import extensions, tools
from harness.comparison import Change
from harness.platforms import Platform
from tests import servers
from tests.integration.conftest import PROJECT, Pytest

pytestmark = pytest.mark.engine

RELEASE = "cp313-20250517~replica"
GONE = "missing-library libpython3.13.so.1.0"

FINE = "answer = 42\n"
BROKEN = "raise ImportError('no answer')\n"
OTHERWISE = "raise ImportError('another answer')\n"

RELINKED = """
from functools import cache

from harness import releases
from harness.releases import LinkModel

known = releases.link_model_eras()

@cache
def changed():
    return tuple(
        era._replace(link_model=LinkModel.STATIC_RPATH)
        if era.link_model is LinkModel.STATIC else era
        for era in known
    )

releases.link_model_eras = changed
"""
"""As if the table had said from the start that 20250517 was linked as 20250529 is."""


class Author:
    """A matrix of one's own, with wheels beside it that are built again and again."""

    def __init__(self, folder: Path, run_pytest: Pytest) -> None:
        self.folder = folder
        self._run_pytest = run_pytest
        self.samples: dict[str, dict[str, Any]] = {}
        self.write("relinked.py", RELINKED)
        shutil.copyfile(PROJECT / "matrix.lock", folder / "matrix.lock")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def python(self, name: str, text: str | None) -> None:
        """A wheel with one module; None: the wheel is gone, though the matrix names it."""
        module = name.replace("-", "_")
        self.samples[name] = {"wheel": f"dist/{module}-*.whl", "imports": module}
        for old in (self.folder / "dist").glob(f"{module}-*"):
            old.unlink()
        if text is not None:
            content = servers.tiny_wheel(module, "1.0", "py3-none-any", {f"{module}.py": text})
            (self.folder / "dist").mkdir(exist_ok=True)
            (self.folder / "dist" / f"{module}-1.0-py3-none-any.whl").write_bytes(content)

    def compiled(self, *, linked: bool) -> None:
        """Wheels of a module in C, for both platforms, linked to libpython or not."""
        self.samples["compiled"] = {"wheel": "dist/no_libpython-*.whl", "imports": "no_libpython"}
        (self.folder / "dist").mkdir(exist_ok=True)
        for platform in Platform:
            source = PROJECT / "cases" / "extensions" / "no-libpython"
            wheel = extensions.build("no-libpython", source, "3.13", platform)
            own = self.folder / "dist" / wheel.name
            shutil.copyfile(wheel, own)
            if linked:
                self._link(own)

    def _link(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        (module,) = (name for name in content if name.endswith(".so"))
        file = self.folder / Path(module).name
        file.write_bytes(content[module])
        tools.run([tools.patchelf(), "--add-needed", "libpython3.13.so.1.0", file], doing="linking")
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, file.read_bytes() if name == module else data)

    def run(self, name: str, *options: str) -> Path:
        """A results file of all that there is now."""
        project = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
        document = {
            **{"version": "1", "uv": ["0.7.6"], "python": ["3.13"]},
            "platforms": ["x86_64", "aarch64"],
            "bases": {"debian13": project["bases"]["debian13"]},
            "extensions": self.samples,
            "profiles": {"default": {}},
        }
        self.write("matrix.yaml", yaml.safe_dump(document))
        results = self.folder / f"{name}.jsonl"
        done = self._run_pytest(
            *(f"--matrix={self.folder / 'matrix.yaml'}", f"--results={results}"),
            *("--allow-untestable", "-n0", *options),
            environment={"PYTHONPATH": str(self.folder)},
        )
        assert results.exists(), done.stdout + done.stderr
        return results


@pytest.fixture
def author(run_pytest: Pytest, tmp_path: Path) -> Author:
    return Author(tmp_path, run_pytest)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "pbs-matrix", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )


def compared(base: Path, new: Path, exit_code: int) -> tuple[dict[str, str], dict[str, Any]]:
    """What became of each sample, on both platforms the same, and all cells."""
    done = command("compare", base, new, "--json")
    assert done.returncode == exit_code, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    cells = {cell["cell"]: cell for cell in json.loads(done.stdout)["cells"]}
    for cell in cells.values():
        found.setdefault(cell["extension"], set()).add(cell["change"])
    assert all(len(changes) == 1 for changes in found.values()), found
    assert len(cells) == 2 * len(found)
    return {name: changes.pop() for name, changes in found.items()}, cells


def differing(cell: dict[str, Any]) -> set[str]:
    return {cause["what"] for cause in cell["what_else_differs"]}


def of_both(name: str) -> list[str]:
    return [f"{name}-uv0.7.6-{RELEASE}-{platform}-debian13" for platform in Platform]


def test_every_kind_of_change_occurs_between_two_real_runs_and_is_told(author: Author) -> None:
    """Of wheels that are built again, of the matrix file, and of a run that was flaky."""
    elsewhere = {"applies": {"python": "3.12"}}

    def write(base: Callable[[], None]) -> None:
        author.samples.clear()
        author.python("steady", FINE)
        author.python("broken", BROKEN)
        author.python("lost-anyway", None)
        author.python("elsewhere", FINE)
        author.samples["elsewhere"] |= elsewhere
        base()

    def before() -> None:
        author.compiled(linked=False)
        author.python("mended", BROKEN)
        author.python("otherwise", BROKEN)
        author.python("vanishing", FINE)
        author.python("appearing", None)
        author.python("narrowed", FINE)
        author.python("widened", FINE)
        author.samples["widened"] |= elsewhere
        author.python("removed", FINE)
        author.python("unsteady", FINE)

    def after() -> None:
        author.compiled(linked=True)
        author.python("mended", FINE)
        author.python("otherwise", OTHERWISE)
        author.python("vanishing", None)
        author.python("appearing", FINE)
        author.python("narrowed", FINE)
        author.samples["narrowed"] |= elsewhere
        author.python("widened", FINE)
        author.python("added", FINE)
        author.python("unsteady", FINE)

    write(before)
    first = author.run("first")
    author.python("unsteady", BROKEN)
    second = author.run("second", "--extension=unsteady")
    base = author.folder / "base.jsonl"
    merged = command("merge", first, second, "-o", base)
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert "2 with different answers" in merged.stdout
    write(after)
    new = author.run("new")

    changes, cells = compared(base, new, exit_code=1)
    assert changes == {
        "steady": Change.SAME_SUCCESS,
        "broken": Change.SAME_FAILURE,
        "lost-anyway": Change.UNTESTABLE_BOTH,
        "elsewhere": Change.NOT_APPLICABLE,
        "compiled": Change.REGRESSED,
        "mended": Change.FIXED,
        "otherwise": Change.OTHER_FAILURE,
        "vanishing": Change.UNTESTABLE_AFTER,
        "appearing": Change.UNTESTABLE_BEFORE,
        "narrowed": Change.NO_LONGER_APPLICABLE,
        "widened": Change.NEWLY_APPLICABLE,
        "removed": Change.REMOVED,
        "added": Change.ADDED,
        "unsteady": Change.FLAKY,
    }
    assert set(changes.values()) == set(Change)
    for name in of_both("compiled"):
        assert cells[name]["new"]["missing_library"] == "libpython3.13.so.1.0"
        assert differing(cells[name]) == {"wheels"}
    for name in of_both("unsteady"):
        assert cells[name]["base"]["answers"] == ["imports", "import-error: no answer"]
    for name in of_both("steady"):
        assert differing(cells[name]) == set()

    told = command("compare", base, new)
    assert told.returncode == 1
    assert f"{GONE} (2)" in told.stdout
    assert "2 regressed, 2 flaky" in told.stdout.splitlines()[-1]
    # The other way round what regressed is fixed, and the reverse.
    backwards, _ = compared(new, base, exit_code=1)
    assert (backwards["compiled"], backwards["mended"]) == (Change.FIXED, Change.REGRESSED)
    assert (backwards["added"], backwards["removed"]) == (Change.REMOVED, Change.ADDED)
    same, _ = compared(new, new, exit_code=0)
    assert not {Change.REGRESSED, Change.FIXED, Change.ADDED, Change.FLAKY} & set(same.values())


def test_a_replica_that_is_linked_otherwise_is_named_beside_what_changed(author: Author) -> None:
    """Only what is linked to libpython changes; how the interpreter is linked is told with it."""
    for name in ("no-libpython", "libpython-needed", "ucxx-shaped"):
        source = f"cases/extensions/{name}"
        author.samples[name] = {"source": source, "imports": name.replace("-", "_")}
    base, new = author.run("base"), author.run("new", "-p", "relinked")
    changes, cells = compared(base, new, exit_code=0)
    assert changes == {
        "no-libpython": Change.SAME_SUCCESS,
        "libpython-needed": Change.FIXED,
        "ucxx-shaped": Change.SAME_FAILURE,
    }
    for name in of_both("libpython-needed"):
        assert {"what": "linked", "base": "static", "new": "static+rpath"} in cells[name][
            "what_else_differs"
        ]
    backwards, _ = compared(new, base, exit_code=1)
    assert backwards["libpython-needed"] == Change.REGRESSED
    told = command("compare", new, base).stdout
    assert "linked: static+rpath → static" in told
