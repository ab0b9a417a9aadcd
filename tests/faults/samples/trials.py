"""What is expected of each hostile module, and whether a trial is as it should be."""

from __future__ import annotations

import ast
import errno
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from harness.outcome import Outcome, Reason
from harness.why import printable
from tests.faults.fault import Happened
from tests.faults.samples.laboratory import BROKEN, GOOD, HOSTILE, KEEPS, Trial, laboratory

MAX_MESSAGE = 4000
"""Characters that a verdict may have from a stranger."""

MAX_OUTPUT = 1 << 20
"""Bytes of output that are kept of a stranger."""

MAX_SHOWN = 100
"""Characters of a message that a table shows."""

HANG = 60
"""Seconds until the next answer beyond which it is a hang."""

EMULATED = 3
FRESH_EMULATED = 30
"""Seconds that a limit is longer by under emulation; where an interpreter has to start, too."""

RIGHT: Mapping[str, tuple[Reason, str | None]] = {
    GOOD: (Reason.IMPORTS, None),
    BROKEN: (Reason.MISSING_LIBRARY, "libpython3.13.so.1.0"),
    KEEPS: (Reason.IMPORTS, None),
}
"""Verdicts of harmless samples, whatever was asked before them or is asked beside them."""

REFUSALS = frozenset(errno.errorcode.values()) | {"gaierror", "TimeoutError", "nothing"}
"""What an act is answered with that comes to nothing."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is to become of a hostile module."""

    module: str
    reasons: tuple[Reason, ...]
    """One of these."""
    text: str = ""
    """That its message has."""
    limit: int = 60
    """Seconds that it is given."""
    meanwhile: tuple[str, ...] = ()
    """Harmless samples that are asked for while it runs."""
    acts: bool = False
    """Whether its message is JSON that tells what came of each act: all of them are refused."""
    allowed: tuple[str, ...] = ()
    """Acts that harm nobody, and need not be refused."""
    up_to_engine: tuple[str, ...] = ()
    """Acts that are refused by the filter of system calls of newer engines only."""
    fresh: bool = False
    """Whether it is asked for in an interpreter and a container of its own."""

    @property
    def name(self) -> str:
        """Of the fault."""
        return self.module.replace("_", "-") + ("-in-a-fresh-interpreter" if self.fresh else "")


def inject(expected: Expected, platform: str) -> Happened:
    """Try a module out, and say what came of it."""
    more = FRESH_EMULATED if expected.fresh else EMULATED
    is_cut_short = Reason.TIMEOUT in expected.reasons
    trial = laboratory(platform).try_out(
        expected.module,
        limit=expected.limit + (more if is_cut_short and platform == "aarch64" else 0),
        meanwhile=expected.meanwhile,
        fresh=expected.fresh,
    )
    said = told(trial.outcome) if expected.acts else {}
    what = does(expected.module)
    if said:
        counts = Counter(came.partition(" ")[0] for came in said.values())
        what += " " + ", ".join(f"{count} {name}" for name, count in counts.most_common())
    if trial.in_a_new_container:
        what += " The container ended, and was replaced."
    after = ", ".join(outcome.short for outcome in trial.after.values())
    return Happened(
        what=what,
        verdict=f"{_words(trial.outcome, MAX_SHOWN)}; then {after}",
        seconds=trial.seconds,
        left=trial.left,
        wrong=wrong(expected, trial),
    )


def wrong(expected: Expected, trial: Trial) -> tuple[str, ...]:
    """What is not as it should be."""
    outcome = trial.outcome
    found = []
    if outcome.reason not in expected.reasons or expected.text not in outcome.message:
        words = " or ".join(expected.reasons)
        found.append(f"not {words} ({expected.text!r}): {_words(outcome)}")
    if len(outcome.message) > MAX_MESSAGE:
        found.append(f"a message of {len(outcome.message)} characters")
    try:
        json.dumps(outcome.evidence, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        found.append(f"evidence that is no JSON: {error}")
    if len(trial.finished.errors) > MAX_OUTPUT:
        found.append(f"kept {len(trial.finished.errors)} characters of output")
    for when, others in (("after it", trial.after), ("meanwhile", trial.meanwhile)):
        for name, other in others.items():
            if (other.reason, other.missing_library) != RIGHT[name]:
                found.append(f"{name} {when}: {_words(other)}")
    if missing := {*expected.meanwhile} - {*trial.meanwhile}:
        found.append(f"no answer meanwhile: {', '.join(sorted(missing))}")
    if trial.seconds > HANG:
        found.append(f"the next answer came {trial.seconds:.0f} s after its end")
    found += [f"the next sample sees {what}" for what in trial.changed]
    if expected.acts:
        found += not_refused(told(outcome), (*expected.allowed, *expected.up_to_engine))
    return tuple(found)


def told(outcome: Outcome) -> dict[str, str]:
    """What a module tells of its acts, by act."""
    try:
        said = json.loads(outcome.message)
    except ValueError:
        return {"tell": f"untold: {printable(outcome.message)[:200]}"}
    return {str(act): str(came) for act, came in said.items()}


def not_refused(said: Mapping[str, str], allowed: tuple[str, ...] = ()) -> list[str]:
    """Acts that came to something, in words; also those that failed for want of skill."""
    return [
        f"{act}: {printable(came)}"
        for act, came in said.items()
        if came.partition(" ")[0] not in REFUSALS and act not in allowed
    ]


def does(module: str) -> str:
    """What a module says that it does."""
    path = HOSTILE / f"{module}.c"
    if path.exists():
        return path.read_text().removeprefix("/*").partition("*/")[0].strip()
    text = ast.get_docstring(ast.parse((HOSTILE / f"{module}.py").read_text()))
    assert text is not None
    return text.replace("\n", " ")


def _words(outcome: Outcome, most: int = 200) -> str:
    said = printable(outcome.message)[:most]
    return f"{outcome.short}: {said}" if said else outcome.short
