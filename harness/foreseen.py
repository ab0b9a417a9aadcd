"""What is foreseen of one cell, from what was prepared for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness import inventory, routes, systems
from harness.flavours import Flavour
from harness.loader.files import Files
from harness.loader.glibc import Glibc
from harness.loader.process import Loader, Variables
from harness.matrix import Kind
from harness.outcome import Outcome, Reason
from harness.plan import Cell, module_name, tree_name
from harness.prediction import Open, Prediction, predict
from harness.prepared import Prepared
from harness.question import EXTENSIONS
from harness.remedies import Remedy
from harness.why import Setting, account


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """A prediction, and what it was made from."""

    prediction: Prediction
    setting: Setting
    others: tuple[str, ...]
    """Modules and plugins of which it cannot be seen whether the import opens them."""
    predict: Callable[[str], Prediction]
    """What would come of opening one of them."""

    def given(self, outcome: Outcome) -> Foreseen:
        """The same, where an outcome shows that one of the others was opened after all."""
        if outcome.reason is Reason.MISSING_LIBRARY and self.prediction.outcome is Reason.IMPORTS:
            for path in self.others:
                prediction = self.predict(path)
                if prediction.agrees(outcome.reason, outcome.missing_library):
                    return replace(self, prediction=prediction)
        return self

    @property
    def account(self) -> str:
        """Why the import fails, in words; empty where it does not."""
        search = self.prediction.search
        return account(search, self.setting) if search else ""


def foresee(cell: Cell, prepared: Prepared, loader: Loader | None = None) -> Foreseen | None:
    """What the loader's rules say of a cell's import; None where it is not for them to say.

    That is so of checks, of interpreters for musl (whose system is not looked at here), and of
    cells that something has made untestable already. ``loader`` are the rules; glibc's, if not
    given.
    """
    if cell.environment.interpreter.flavour is Flavour.MUSL:
        return None
    environment = prepared.environments[cell.environment.id]
    tree = prepared.extension(cell).tree
    if cell.sample.kind is Kind.CHECK or tree is None or environment.system is None:
        return None
    python = prepared.running(cell)
    if python is None:
        return None
    older = cell.environment.upgrade if cell.remedy is Remedy.UPGRADE_ONLY else None
    release = (older or cell.environment).interpreter.release
    interpreter = cell.environment.interpreter
    home = routes.folder(interpreter, python.version)
    place = f"{EXTENSIONS}/{tree_name(cell)}"
    installed = inventory.load(tree / "files.json").below(place)
    system = systems.load(environment.system)
    there = python.inside.inventory.below(home)
    files = system.files | there.files | installed.files
    program = f"{home}/bin/python{interpreter.python}"
    library_path = f"{home}/lib" if cell.remedy is Remedy.LD_LIBRARY_PATH else ""
    variables = Variables(library_path=library_path)
    opened, others = inventory.imported(tree, module_name(cell))

    def predicted(*further: str) -> Prediction:
        modules = (Open(name=place + path) for path in (*opened, *further))
        opens = [*_preloaded(cell, home, files), *modules]
        return predict(loader or Glibc(), system._replace(files=files), program, variables, opens)

    return Foreseen(
        prediction=predicted(),
        setting=Setting(files=files, program=program, label=release, variables=variables),
        others=others,
        predict=predicted,
    )


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
