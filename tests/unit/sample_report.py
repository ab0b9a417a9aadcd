"""Results for tests of the report: a small matrix with one of most things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.flavours import Flavour
from harness.outcome import Reason
from harness.releases import link_model
from harness.results import Result
from harness.sources import Source
from tests.unit.sample_results import LIBPYTHON, made

RELEASES = {"0.7.5": "20250409", "0.7.6": "20250517", "0.7.7": "20250521", "0.13.9": "20250323"}
"""By uv version; the last tag is the newest commit, though not by its name."""

EXTENSIONS = ("good", "needing", "steady")
BECAUSE = "Nothing searches the interpreter's lib/"
LINK = "https://github.com/astral-sh/python-build-standalone/issues/619"
MESSAGE = f"{LIBPYTHON}: cannot open shared object file: No such file or directory"
SEARCHED = ("/opt/one", "/opt/two", "/usr/lib")
FAILS: dict[str, Any] = {
    "outcome": Reason.MISSING_LIBRARY,
    "message": MESSAGE,
    "expected": "missing-library",
    "expected_library": LIBPYTHON,
    "expected_because": BECAUSE,
    "expected_link": LINK,
    "predicted": {
        "outcome": "missing-library",
        "missing_library": LIBPYTHON,
        "needed_by": "/opt/extensions/needing.so",
        "searched": SEARCHED,
    },
    "evidence": {"exception": "ImportError", "mapped_libpythons": []},
    "pins": {"archive_sha256": "ab" * 32, "wheels": {"needing-1.0.whl": "cd" * 32}},
}
FORMS: dict[str, dict[str, Any]] = {
    "ok": {"outcome": Reason.IMPORTS},
    "split": {"outcome": Reason.SPLIT_BINDING, "expected": "split-binding"},
    "fails": FAILS,
    "regressed": {**FAILS, "status": "regressed", "expected": "imports", "expected_library": None},
    "fixed": {**FAILS, "outcome": Reason.IMPORTS, "message": "", "status": "fixed"},
    "mispredicted": {**FAILS, "outcome": Reason.CRASH, "message": "", "status": "mispredicted"},
    "untestable": {
        "outcome": Reason.UNTESTABLE,
        "message": "no space left on device",
        "status": "untestable",
    },
    "not-applicable": {
        "outcome": Reason.NOT_APPLICABLE,
        "message": "nothing to patch",
        "status": "not-applicable",
    },
}
"""What a line of each kind has, by the keys of the table's symbols."""


def cell(
    form: str = "ok",
    extension: str = "good",
    uv: str = "0.7.6",
    platform: str = "x86_64",
    *,
    base: str = "debian13",
    remedy: str = "none",
    source: Source = Source.UPSTREAM,
    **more: Any,
) -> Result:
    """A line of a form, in its place in the matrix."""
    release = more.pop("release", RELEASES.get(uv, "20250517"))
    mark = "~replica" if source is Source.REPLICA else ""
    added = "" if remedy == "none" else f"+{remedy}"
    fields = {
        "id": f"{extension}-uv{uv}-cp313-{release}{mark}-{platform}-{base}{added}",
        "release": release,
        "link_model": more.pop("link_model", None) or link_model(release),
        "platform": platform,
        "base": base,
        "remedy": remedy,
        "flavour": Flavour.STRIPPED,
        **FORMS[form],
        **more,
    }
    outcome = fields.pop("outcome")
    return made(extension, outcome, fields.pop("message", ""), uv=uv, source=source, **fields)


def matrix() -> Iterator[Result]:
    """Three extensions, four uv versions, two platforms; one breaks with the static releases."""
    for platform in ("x86_64", "aarch64"):
        for extension in EXTENSIONS:
            for uv in RELEASES:
                breaks = extension == "needing" and uv in ("0.7.6", "0.7.7")
                yield cell("fails" if breaks else "ok", extension, uv, platform)
