"""What is foreseen of one cell, from what was prepared for it."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from harness import inventory, systems
from harness.extensions import tree_name
from harness.loader.files import Files
from harness.loader.glibc import Glibc
from harness.loader.process import Loader, Variables
from harness.matrix import Kind
from harness.plan import Cell
from harness.prediction import Open, Prediction, predict
from harness.prepared import Prepared, PreparedEnvironment
from harness.remedies import Remedy

PYTHONS = "/opt/python"
"""Where uv installs interpreters in an environment's image."""

SITE = "/opt/extensions"


def foresee(cell: Cell, prepared: Prepared, loader: Loader | None = None) -> Prediction | None:
    """What the loader's rules say of a cell's import; None where it is not for them to say.

    That is so of checks, and of cells that something has made untestable already. ``loader`` are
    the rules; glibc's, if not given.
    """
    environment = prepared.environments[cell.environment.id]
    tree = prepared.extension(cell).tree
    if cell.sample.kind is Kind.CHECK or tree is None:
        return None
    running = _running(cell, environment)
    if environment.system is None or running.interpreter is None:
        return None
    interpreter, python = cell.environment.interpreter, running.interpreter
    home = f"{PYTHONS}/cpython-{python.version}-{interpreter.platform.uv_python}"
    installed = inventory.load(tree / "files.json").below(f"{SITE}/{tree_name(cell)}")
    system = systems.load(environment.system)
    files = system.files | inventory.load(python.files).below(home) | installed
    opens = [*_preloaded(cell, home, files), *(Open(name=path) for path in _modules(installed))]
    library_path = f"{home}/lib" if cell.remedy is Remedy.LD_LIBRARY_PATH else ""
    return predict(
        loader or Glibc(),
        replace(system, files=files),
        f"{home}/bin/python{interpreter.python}",
        Variables(library_path=library_path),
        opens,
    )


def _running(cell: Cell, environment: PreparedEnvironment) -> PreparedEnvironment:
    """Whichever uv's interpreter is in place: a newer uv alone leaves the older one's there."""
    if cell.remedy is Remedy.UPGRADE_ONLY and environment.before is not None:
        return environment.before
    return environment


def _preloaded(cell: Cell, home: str, files: Files) -> list[Open]:
    """What the remedy opens before the import, and from where."""
    python = cell.environment.interpreter.python
    name = f"libpython{python}.so.1.0"
    # ctypes is built into a published interpreter, and a file of its own in a replica.
    folder = f"{home}/lib/python{python}/lib-dynload/"
    ctypes = next((path for path in files.files if path.startswith(f"{folder}_ctypes.")), None)
    opened = [Open(name=ctypes)] if ctypes else []
    match cell.remedy:
        case Remedy.PRELOAD:
            return [*opened, Open(name=name, caller=ctypes)]
        case Remedy.PRELOAD_BY_PATH:
            return [*opened, Open(name=f"{home}/lib/{name}", caller=ctypes)]
        case _:
            return []


def _modules(installed: Files) -> list[str]:
    names = {path: posixpath.basename(path) for path in installed.files}
    return [p for p, name in names.items() if name.endswith(".so") and not name.startswith("lib")]
