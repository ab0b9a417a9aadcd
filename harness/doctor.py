"""What a machine needs for the matrix, what of it is there, and how to put the rest right.

``examine`` only looks. ``heal`` is the one place in the project that changes the host: as root on
Debian or Ubuntu, saying each step before it is done. Whatever works already stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from pypi_simple import PYPI_SIMPLE_ENDPOINT
from rich.console import Console
from rich.text import Text

from harness import binfmt, repairs
from harness import mirror as mirrors
from harness.errors import SetupIncompleteError
from harness.host import Engine, Host, NoEngine, Silence
from harness.platforms import Platform
from harness.repairs import Repair, Say
from harness.why import printable

REGISTRY_URL = "https://registry-1.docker.io/v2/"
GITHUB_URL = "https://github.com/"
PYPI_INDEX = str(PYPI_SIMPLE_ENDPOINT).rstrip("/")
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
LOW_DISK, NO_DISK = 10 * 10**9, 3 * 10**9  # bytes
DEFAULT_SOCKETS = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")
FOR_TESTS = (
    # package, programs of which one will do, which tests use it
    ("chromium", ("chromium", "chromium-browser", "google-chrome"), "the report page"),
    ("podman", ("podman",), "engines other than Docker"),
)
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class State(StrEnum):
    """How one thing stands; only ``missing`` keeps the matrix from running."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; ``advice`` is empty where nothing need be done."""

    name: str
    state: State
    detail: str
    advice: str = ""
    repairs: tuple[Repair, ...] = ()


def examine(host: Host | None = None, *, tests: bool = False) -> list[Check]:
    """Look at everything, change nothing. Checks come in the order their repairs need.

    ``tests``: also at what this project's own tests use beyond the matrix.
    """
    host = host or Host()
    answers = host.probe_all(_urls(host))  # under way while the engine is asked
    engine = host.engine()
    network = _network(host, answers())
    registry = network[0].state is State.OK
    native = host.native
    if isinstance(engine, Engine) and host.is_elsewhere(engine):
        native = Platform.named(engine.arch)
    foreign = [platform for platform in Platform if platform is not native]
    return [
        _engine(host, engine),
        *_isolation(engine),
        _mmdebstrap(host, registry=registry),
        *(_emulation(host, engine, platform) for platform in foreign),
        *network,
        _disk(host, engine),
        *(_for_tests(host, *one) for one in FOR_TESTS if tests),
    ]


def _isolation(engine: Engine | NoEngine) -> Iterator[Check]:
    """What stands between samples and this machine, beyond what the harness asks for."""
    if not isinstance(engine, Engine):
        return
    had = [name for name in engine.security if name not in ("cgroupns",)]
    mapped = {"userns", "rootless"} & set(had)
    detail = ", ".join(map(printable, had)) or "nothing that the engine names"
    if not mapped:
        detail += "; root in a container is root (docs/threat-model.md says what keeps it in)"
    if "seccomp" in had:
        yield Check(name="isolation", state=State.OK, detail=detail)
    else:
        yield Check(
            name="isolation",
            state=State.WARNING,
            detail=detail,
            advice="The engine filters no system calls: use a kernel and an engine with seccomp, "
            "or another runtime (docs/threat-model.md).",
        )


def _engine(host: Host, engine: Engine | NoEngine) -> Check:
    if isinstance(engine, Engine):
        detail = f"{engine.name} {engine.version}, {engine.arch}, storage {engine.storage}"
        if engine.address:
            detail += f", at {engine.address}"
        return Check(name="engine", state=State.OK, detail=detail)
    address = host.engine_address
    detail = f"{engine.why} ({address or 'the usual sockets'})"
    steps: tuple[Repair, ...] = ()
    if engine.why is Silence.DENIED:
        advice = "Run as root, or have root add you to the group `docker` (it is as good as root)."
    elif engine.why is Silence.OTHER:
        detail = f"{detail}: {engine.message}"
        advice = engine.advice or (
            "Something listens there: look at its log, or point DOCKER_HOST at another engine."
        )
    elif address is not None and address.url not in DEFAULT_SOCKETS:
        advice = (
            f"Start that engine, or correct {address.found}, which names it: this one is not the "
            "doctor's to start."
        )
    elif host.which("dockerd"):
        advice = "An engine is installed, but does not run: `pbs-matrix doctor --fix` starts it."
        steps = (repairs.start_engine(host),)
    else:
        advice = "`pbs-matrix doctor --fix` installs one; or point DOCKER_HOST at one that runs."
        steps = (*repairs.install(host, "docker.io"), repairs.start_engine(host))
    return Check(name="engine", state=State.MISSING, detail=detail, advice=advice, repairs=steps)


def _mmdebstrap(host: Host, *, registry: bool) -> Check:
    if found := host.which("mmdebstrap"):
        return Check(name="mmdebstrap", state=State.OK, detail=found)
    optional = registry and not host.is_debian
    packages = ["mmdebstrap"]
    if not host.exists(host.path(DEBIAN_KEYRING)):  # Ubuntu: Debian's packages are signed with it
        packages.append("debian-archive-keyring")
    return Check(
        name="mmdebstrap",
        state=State.WARNING if optional else State.MISSING,
        detail="not installed",
        advice="It makes base images, replicas and a recent QEMU from Debian's packages."
        + (" Images can be pulled here, so the published releases need none of it." * optional),
        repairs=() if optional else repairs.install(host, *packages),
    )


def _emulation(host: Host, engine: Engine | NoEngine, platform: Platform) -> Check:
    def check(state: State, detail: str, advice: str = "", *steps: Repair) -> Check:
        name = f"{platform} emulation"
        return Check(name=name, state=state, detail=detail, advice=advice, repairs=steps)

    if host.is_elsewhere(engine):
        return check(
            State.WARNING,
            "unknown: the engine is on another machine, and so is its binfmt_misc",
            f"If cells of {platform} fail to start: {repairs.by_container(platform)}",
        )
    handler = binfmt.find_handler(platform, host.binfmt)
    fix = "`pbs-matrix doctor --fix` registers a recent QEMU."
    if handler is None:
        if not binfmt.is_mounted(host.binfmt):
            detail = "binfmt_misc is not mounted"
        elif binfmt.is_switched_off(host.binfmt):
            detail = "binfmt_misc is switched off as a whole (its `status` is disabled)"
        elif any(one.matches(platform) for one in binfmt.handlers(host.binfmt)):
            detail = "a handler is registered, but disabled"
        else:
            detail = "no handler is registered"
        return check(State.MISSING, detail, fix, *repairs.emulate(host, platform, None))
    version = binfmt.qemu_version(handler.interpreter)
    qemu = "QEMU {}.{}".format(*version) if version else "of unknown version"
    detail = f"{handler.interpreter} {qemu}, entry {handler.name}, flags {handler.flags or '-'}"
    if repairs.is_good(handler, version):
        return check(State.OK, detail)
    steps = repairs.emulate(host, platform, handler.name)
    if not handler.works_in_containers:
        advice = f"Without flag F the kernel looks for QEMU inside the container. {fix}"
        return check(State.MISSING, detail, advice, *steps)
    advice = f"Imports are about 4x slower than under QEMU {repairs.GOOD_QEMU[0]} or newer. {fix}"
    return check(State.WARNING, detail, advice, *steps)


def _network(host: Host, answers: Mapping[str, int | str]) -> list[Check]:
    def check(name: str, url: str, also: tuple[int, ...], otherwise: str) -> Check:
        answer, where = answers[url], _without_credentials(url)
        if isinstance(answer, int) and (200 <= answer < 400 or answer in also):
            return Check(name=name, state=State.OK, detail=f"{where} answers")
        why = f"HTTP status {answer}" if isinstance(answer, int) else answer
        return Check(name=name, state=State.WARNING, detail=f"{where}: {why}", advice=otherwise)

    registry, github, index = _urls(host)
    cached = "Only uv versions and wheels that are in the cache already can be tested."
    return [
        check("registry", registry, (401,), "Base images will be built from Debian packages."),
        # A mirror may list nothing and still have the files.
        check(
            "GitHub" if github == GITHUB_URL else "mirror",
            github,
            (403, 404),
            "Replicas stand in for the published archives.",
        ),
        check("PyPI", index, (), cached),
    ]


def _disk(host: Host, engine: Engine | NoEngine) -> Check:
    places = {"cache": host.cache}
    if isinstance(engine, Engine):
        root = host.path(engine.data_root)
        if engine.data_root and not host.is_elsewhere(engine) and host.exists(root):
            places["engine"] = root
    elif host.engine_address is None or host.engine_address.url in DEFAULT_SOCKETS:
        places["engine"] = host.path("/var/lib/docker")
    free = {name: host.disk_free(path) for name, path in places.items()}
    detail = ", ".join(
        f"{free[name] / 10**9:.1f} GB free for the {name} ({path})" for name, path in places.items()
    )
    if host.is_elsewhere(engine):
        detail += "; unknown for the engine, which is on another machine"
    least = min(free.values())
    if least >= LOW_DISK:
        return Check(name="disk", state=State.OK, detail=detail)
    return Check(
        name="disk",
        state=State.WARNING if least >= NO_DISK else State.MISSING,
        detail=detail,
        advice=f"A full run wants {LOW_DISK // 10**9} GB; it cannot start under "
        f"{NO_DISK // 10**9} GB. Make room: `pbs-matrix clean` removes this project's images.",
    )


def _for_tests(host: Host, package: str, programs: Sequence[str], what: str) -> Check:
    if found := next(filter(None, map(host.which, programs)), None):
        return Check(name=package, state=State.OK, detail=found)
    return Check(
        name=package,
        state=State.WARNING,
        detail="not installed",
        advice=f"The tests of {what} use it: `pbs-matrix doctor --tests --fix` installs it.",
        repairs=repairs.install(host, package),
    )


def _urls(host: Host) -> tuple[str, str, str]:
    """Registry, GitHub or its mirror, and a small page of the index (whose root is tens of MB)."""
    mirror = host.env.get(mirrors.VARIABLE, "")
    archives = mirror if mirror.startswith(("http:", "https:")) else GITHUB_URL
    chosen = (host.env[name] for name in INDEX_VARIABLES if host.env.get(name))
    return REGISTRY_URL, archives, next(chosen, PYPI_INDEX).rstrip("/") + "/pip/"


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def heal(checks: Sequence[Check], host: Host, say: Say, *, tests: bool = False) -> list[Check]:
    """Do the repairs of ``checks`` as root on Debian or Ubuntu, and look again.

    Elsewhere it says the commands instead, changes nothing, and gives the checks back. Raises
    HarnessError at the first repair that fails.
    """
    steps: dict[str, Repair] = {}
    for check in checks:
        for step in check.repairs:
            steps.setdefault(step.says, step)
    if not steps:
        say("Nothing to put right: nothing was changed.")
        return list(checks)
    if not (host.is_root and host.is_debian):
        why = "This is not Debian or Ubuntu" if host.is_root else "Not root"
        say(f"{why}: nothing was changed. As root, these commands do it:")
        for step in steps.values():
            for command in step.commands:
                say(f"  {command}")
        return list(checks)
    for step in steps.values():
        say(f"-> {step.says}")
        step.perform(host, say)
    return examine(host, tests=tests)


def render(checks: Sequence[Check], console: Console) -> None:
    """One line for each check, its advice beneath where all is not well. Words, not only colour."""
    styles = {State.OK: "green", State.WARNING: "yellow", State.MISSING: "bold red"}
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        line = Text(f"{check.state:7}", style=styles[check.state])
        line.append(f"  {check.name:{width}}  {check.detail}", style="default not bold")
        console.print(line, soft_wrap=True)
        if check.advice and check.state is not State.OK:
            console.print(Text(f"{'':7}  {'':{width}}  {check.advice}"), soft_wrap=True)


def run(
    fix: bool,
    *,
    tests: bool = False,
    host: Host | None = None,
    console: Console | None = None,
) -> int:
    """``pbs-matrix doctor``: look, with ``fix`` put right, and say what is left.

    ``tests``: as :func:`examine` takes it.

    0 where nothing is missing; raises SetupIncompleteError otherwise, and whatever a failing
    repair raises.
    """
    host, console = host or Host(), console or Console()
    checks = examine(host, tests=tests)
    render(checks, console)
    if fix:

        def say(line: str) -> None:
            console.print(Text(line), soft_wrap=True)

        console.print()
        before, checks = checks, heal(checks, host, say, tests=tests)
        if checks != before:
            console.print()
            render(checks, console)
    missing = [check for check in checks if check.state is State.MISSING]
    if not missing:
        return 0
    if fix:
        advice = "See the advice and commands above; then run `pbs-matrix doctor` again."
    else:
        advice = "`pbs-matrix doctor --fix` as root puts right what it can, or says the commands."
    problem = "; ".join(f"{check.name}: {check.detail}" for check in missing)
    raise SetupIncompleteError(f"still missing: {problem}", advice=advice)
