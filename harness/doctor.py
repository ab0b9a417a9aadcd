"""What a machine needs for the matrix, what of it is there, and how to put the rest right.

``examine`` only looks. ``heal`` is the one place in the project that changes the host: as root on
Debian or Ubuntu, saying each step before it is done. Whatever works already stays as it is.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import docker  # type: ignore[import-untyped, unused-ignore]
import docker.errors  # type: ignore[import-untyped, unused-ignore]
import requests
from rich.console import Console
from rich.text import Text

from harness import binfmt, cache
from harness.errors import SetupIncompleteError, ToolError
from harness.platforms import Platform

REGISTRY_URL = "https://registry-1.docker.io/v2/"
GITHUB_URL = "https://github.com/"
PYPI_INDEX = "https://pypi.org/simple"
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
PROBE_SECONDS = 3.0
ENGINE_SECONDS = 60
GOOD_QEMU = (9, 0)
LOW_DISK, NO_DISK = 10 * 10**9, 3 * 10**9  # bytes
DEFAULT_SOCKETS = ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")
# What a killed engine leaves behind, each with the program whose pid should be in it. The second
# belongs to Debian's init script, and is only ever looked at.
PID_FILES = {
    "/var/run/docker.pid": "dockerd",
    "/var/run/docker-ssd.pid": "dockerd",
    "/var/run/docker/containerd/containerd.pid": "containerd",
}
BLOCKING_PID_FILES = ("/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid")
DOCKERD_LOG = "/var/log/dockerd.log"
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on the PATH of every user
_TAIL_LINES = 20

# ---- The machine


class Silence(StrEnum):
    """Why there is no talking to an engine."""

    NOBODY = "nothing answers"
    DENIED = "permission denied on the socket"
    OTHER = "no usable answer"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers, as it describes itself."""

    name: str
    version: str
    arch: str
    storage: str
    data_root: str
    kernel: str


@dataclass(frozen=True, kw_only=True)
class NoEngine:
    """No engine, and the client library's own words about it."""

    why: Silence
    message: str


@dataclass(frozen=True, kw_only=True)
class Host:
    """This machine, as far as the doctor looks at or touches it. Paths are taken below ``root``."""

    root: Path = Path("/")
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cache: Path = field(default_factory=cache.root)

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def exists(self, path: Path) -> bool:
        """Whether it is there and in sight: below a directory that is closed to us, nothing is."""
        try:
            return path.exists()
        except OSError:  # Python 3.11 raises where a parent may not be searched
            return False

    @property
    def binfmt(self) -> Path:
        return self.path(str(binfmt.BINFMT_MISC))

    @property
    def native(self) -> Platform | None:
        return Platform.host()

    @property
    def kernel(self) -> str:
        return os.uname().release

    @property
    def is_root(self) -> bool:
        return os.geteuid() == 0

    @property
    def is_debian(self) -> bool:
        """Debian, Ubuntu, or one that says it is like them."""
        try:
            lines = self.path("/etc/os-release").read_text().splitlines()
        except OSError:
            return False
        fields = dict(line.partition("=")[::2] for line in lines)
        ids = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        return "debian" in ids or "ubuntu" in ids

    @property
    def has_systemd(self) -> bool:
        return self.exists(self.path("/run/systemd/system"))

    def _environment(self) -> dict[str, str]:
        return {**self.env, "PATH": os.pathsep.join((self.env.get("PATH") or os.defpath, *_SBIN))}

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=self._environment()["PATH"])

    def run(self, *argv: str, **extra: str) -> tuple[int, str]:
        """Exit code and merged output of a command; ``extra`` adds to its environment."""
        try:
            done = subprocess.run(  # noqa: S603 - argument lists of this module, no shell
                argv,
                env={**self._environment(), **extra},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            return 127, str(error)
        return done.returncode, done.stdout

    def spawn(self, argv: Sequence[str], log: Path) -> Callable[[], int | None]:
        """Start a daemon in a session of its own; what comes back polls its exit code."""
        with log.open("ab") as output:
            daemon = subprocess.Popen(  # noqa: S603 - as above
                argv,
                cwd="/",
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it must outlive this program and its terminal
            )
        return daemon.poll

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def disk_free(self, path: Path) -> int:
        """Bytes free where ``path`` is, or would be."""
        while not self.exists(path) and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free

    def engine(self) -> Engine | NoEngine:
        """Ask the engine that ``DOCKER_HOST`` names, or the default one."""
        try:
            client = docker.from_env(timeout=10, environment=dict(self.env))
            try:
                version, info = client.version(), client.info()
            finally:
                client.close()
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            return NoEngine(why=_silence(error), message=str(error))
        parts = version.get("Components") or [{"Name": "Engine"}]
        return Engine(
            name=str((version.get("Platform") or {}).get("Name") or parts[0]["Name"]),
            version=str(version.get("Version", "?")),
            arch=str(version.get("Arch", "?")),
            storage=str(info.get("Driver", "?")),
            data_root=str(info.get("DockerRootDir", "")),
            kernel=str(info.get("KernelVersion", "")),
        )

    def probe(self, url: str) -> int | str:
        """HTTP status of a URL, or why there was none."""
        bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
        verify = next((self.env[name] for name in bundles if self.env.get(name)), True)
        try:
            with requests.get(url, timeout=PROBE_SECONDS, stream=True, verify=verify) as answer:
                return answer.status_code
        except requests.exceptions.SSLError:
            return "its certificate is not trusted here"
        except requests.exceptions.ProxyError:
            return "the proxy refuses"
        except requests.exceptions.Timeout:
            return f"no answer within {PROBE_SECONDS:g} s"
        except (requests.RequestException, OSError, ValueError):
            return "no connection"

    def fetch_qemu(self, platform: Platform) -> Path:
        """A static QEMU of Debian 13 in the cache. Raises HarnessError."""
        from harness.debian import fetch_qemu  # late: only a repair needs mmdebstrap's module

        return fetch_qemu(platform)


def _silence(error: BaseException) -> Silence:
    """Tell a socket that nobody serves from one that is not ours, by what lies beneath."""
    for cause in _causes(error, set()):
        if isinstance(cause, PermissionError):
            return Silence.DENIED
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return Silence.NOBODY
    return Silence.OTHER


def _causes(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    # urllib3 hides the OSError among the arguments of its own exception, requests in a chain.
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for inner in (error.__cause__, error.__context__, *error.args):
        if isinstance(inner, BaseException):
            yield from _causes(inner, seen)


# ---- Repairs


Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """One change of the host. Equal words are the same repair: done once in a run.

    ``commands`` is what a person would type as root; ``perform`` may raise HarnessError.
    """

    says: str
    commands: tuple[str, ...]
    perform: Callable[[Host, Say], None] = field(compare=False, repr=False)


def _must(host: Host, *argv: str, **extra: str) -> None:
    """Run a command; ToolError with the end of its output where it fails."""
    code, output = host.run(*argv, **extra)
    if code:
        raise ToolError(
            f"`{shlex.join(argv)}` failed with exit code {code}:\n{_tail(output)}",
            advice="Put that right by hand, then run `pbs-matrix doctor --fix` again.",
        )


def _tail(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-_TAIL_LINES:])


def _install_repairs(host: Host, *packages: str) -> tuple[Repair, ...]:
    update = ("apt-get", "update")
    install = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
    if not host.is_debian:
        commands = (f"# install {' '.join(packages)} with this system's package manager",)
    else:
        commands = (f"DEBIAN_FRONTEND=noninteractive {shlex.join(install)}",)
    fetch = Repair(
        says="read the package lists (apt-get update)",
        commands=(shlex.join(update),) if host.is_debian else (),
        perform=lambda host, say: _must(host, *update),
    )
    unpack = Repair(
        says=f"install {' and '.join(packages)} ({shlex.join(install)})",
        commands=commands,
        perform=lambda host, say: _must(host, *install, DEBIAN_FRONTEND="noninteractive"),
    )
    return fetch, unpack


def live_pid(host: Host, pid_file: str) -> int | None:
    """The pid in the file, if it is that of a live program of the expected name.

    A zombie's, or one that has since been given to another program, is not.
    """
    try:
        pid = int(host.path(pid_file).read_text())
        name = host.path(f"/proc/{pid}/comm").read_text().strip()
        # "pid (name) state ...", where the name may itself contain parentheses
        state = host.path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    return pid if name == PID_FILES[pid_file] and state not in "ZX" else None


def stale_pid_files(host: Host) -> list[str]:
    """What a killed engine left behind, and would keep the next one from starting."""
    return [
        name
        for name in BLOCKING_PID_FILES
        if host.exists(host.path(name)) and live_pid(host, name) is None
    ]


def _live_dockerd(host: Host) -> int | None:
    names = [name for name, program in PID_FILES.items() if program == "dockerd"]
    return next((pid for name in names if (pid := live_pid(host, name))), None)


def _start_repair(host: Host) -> Repair:
    if host.has_systemd:
        commands = ["systemctl start docker"]
    else:
        commands = [f"rm -f {' '.join(stale)}"] if (stale := stale_pid_files(host)) else []
        commands.append(f"setsid dockerd </dev/null >>{DOCKERD_LOG} 2>&1 &")
    says = "start the engine (unless installing it has done so)"
    return Repair(says=says, commands=tuple(commands), perform=_start_engine)


def _start_engine(host: Host, say: Say) -> None:
    engine = host.engine()
    if isinstance(engine, Engine):
        return
    ended: Callable[[], int | None] = lambda: None  # noqa: E731 - a stand-in, not a function
    log = host.path(DOCKERD_LOG)
    if host.has_systemd:
        say("-> systemctl start docker")
        _must(host, "systemctl", "start", "docker")
    elif pid := _live_dockerd(host):
        say(f"-> wait for dockerd, which runs already (pid {pid})")
    else:
        for name in stale_pid_files(host):
            say(f"-> remove {name}: no live {PID_FILES[name]} has the pid in it")
            host.path(name).unlink()
        say(f"-> dockerd in the background, output to {DOCKERD_LOG}")
        try:
            ended = host.spawn([host.which("dockerd") or "dockerd"], log)
        except OSError as error:
            raise ToolError(
                f"dockerd cannot be started: {error}",
                advice="Install an engine by hand, or point DOCKER_HOST at one that runs.",
            ) from error
    for _ in range(ENGINE_SECONDS):
        code = ended()
        engine = host.engine()
        if isinstance(engine, Engine):
            return
        if code is not None and not _live_dockerd(host):
            break
        host.pause(1)
    text = log.read_text(errors="replace") if host.exists(log) and not host.has_systemd else ""
    raise ToolError(
        f"the engine does not answer: {engine.message}\n{_tail(text)}".rstrip(),
        advice="See `journalctl -u docker`." if host.has_systemd else f"See {DOCKERD_LOG}.",
    )


def _tonistiigi(platform: Platform) -> str:
    return f"docker run --privileged --rm tonistiigi/binfmt --install {platform.debian}"


def _emulation_repairs(host: Host, platform: Platform, replaced: str | None) -> tuple[Repair, ...]:
    repairs: list[Repair] = []
    mount_point = str(binfmt.BINFMT_MISC)
    if not binfmt.is_mounted(host.binfmt):
        argvs: list[tuple[str, ...]] = [("mount", "-t", "binfmt_misc", "binfmt_misc", mount_point)]
        if not host.exists(host.binfmt):  # the kernel makes the directory when it loads the module
            argvs.insert(0, ("modprobe", "binfmt_misc"))
        repairs.append(_repair("mount binfmt_misc", argvs))
    elif binfmt.is_switched_off(host.binfmt):
        repairs.append(
            Repair(
                says=f"switch binfmt_misc on (write 1 to {mount_point}/status)",
                commands=(f"echo 1 >{mount_point}/status",),
                perform=lambda host, say: _write(host.binfmt / "status", "1"),
            )
        )
    by_hand = [_tonistiigi(platform), "# or this system's package qemu-user-static"]
    if replaced:  # the image leaves an entry of the same name as it is
        by_hand.insert(0, f"echo -1 >{mount_point}/{replaced}")
    name = binfmt.entry_name(platform)
    kept = f"; the entry {replaced} stays" if replaced not in (None, name) else ""
    says = f"register {name} with QEMU of Debian 13 (fetched to the cache{kept})"
    register = Repair(
        says=says,
        commands=tuple(by_hand),
        perform=lambda host, say: _register(host, say, platform),
    )
    return (*repairs, register)


def _repair(says: str, argvs: Sequence[Sequence[str]]) -> Repair:
    def perform(host: Host, say: Say) -> None:
        for argv in argvs:
            _must(host, *argv)

    commands = tuple(shlex.join(argv) for argv in argvs)
    return Repair(says=f"{says} ({' && '.join(commands)})", commands=commands, perform=perform)


def _is_good(handler: binfmt.Handler, version: tuple[int, int] | None) -> bool:
    # An unknown version is no reason to replace what works.
    return handler.works_in_containers and (version is None or version >= GOOD_QEMU)


def _register(host: Host, say: Say, platform: Platform) -> None:
    found = binfmt.find_handler(platform, host.binfmt)  # perhaps mounting has brought it to light
    if found and _is_good(found, binfmt.qemu_version(found.interpreter)):
        say(f"-> nothing to register: the entry {found.name} will do")
        return
    interpreter = host.fetch_qemu(platform)
    line = binfmt.registration_line(platform, interpreter)
    own = host.binfmt / binfmt.entry_name(platform)
    if own.exists():
        say(f"-> drop the former {own.name} (write -1 to it)")
        _write(own, "-1")
    say(f"-> write {line} to {binfmt.BINFMT_MISC}/register")
    _write(host.binfmt / "register", line)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ToolError(
            f"the kernel refuses {text!r} in {path}: {error.strerror}",
            advice="In a container it takes --privileged; otherwise do it on the host.",
        ) from error


# ---- Looking


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


def examine(host: Host | None = None) -> list[Check]:
    """Look at everything, change nothing. Checks come in the order their repairs need."""
    host = host or Host()
    answers = _ask_network(host)  # under way while the engine is asked
    engine = host.engine()
    network = _network(host, answers())
    registry = network[0].state is State.OK
    foreign = [platform for platform in Platform if platform is not host.native]
    return [
        _engine(host, engine),
        _mmdebstrap(host, registry=registry),
        *(_emulation(host, engine, platform) for platform in foreign),
        *network,
        _disk(host, engine),
    ]


def _engine(host: Host, engine: Engine | NoEngine) -> Check:
    if isinstance(engine, Engine):
        detail = f"{engine.name} {engine.version}, {engine.arch}, storage {engine.storage}"
        return Check(name="engine", state=State.OK, detail=detail)
    address = host.env.get("DOCKER_HOST", "")
    detail = f"{engine.why} ({'DOCKER_HOST=' + address if address else 'default socket'})"
    repairs: tuple[Repair, ...] = ()
    if engine.why is Silence.DENIED:
        advice = "Run as root, or have root add you to the group `docker` (it is as good as root)."
    elif engine.why is Silence.OTHER:
        detail = f"{detail}: {engine.message}"
        advice = "Something listens there: look at its log, or point DOCKER_HOST at another engine."
    elif address not in DEFAULT_SOCKETS:
        advice = "Start that engine, or unset DOCKER_HOST: this one is not the doctor's to start."
    elif host.which("dockerd"):
        advice = "An engine is installed, but does not run: `pbs-matrix doctor --fix` starts it."
        repairs = (_start_repair(host),)
    else:
        advice = "`pbs-matrix doctor --fix` installs one; or point DOCKER_HOST at one that runs."
        repairs = (*_install_repairs(host, "docker.io"), _start_repair(host))
    return Check(name="engine", state=State.MISSING, detail=detail, advice=advice, repairs=repairs)


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
        repairs=() if optional else _install_repairs(host, *packages),
    )


def _emulation(host: Host, engine: Engine | NoEngine, platform: Platform) -> Check:
    def check(state: State, detail: str, advice: str = "", *repairs: Repair) -> Check:
        name = f"{platform} emulation"
        return Check(name=name, state=state, detail=detail, advice=advice, repairs=repairs)

    if _is_elsewhere(host, engine):
        return check(
            State.WARNING,
            "unknown: the engine is on another machine, and so is its binfmt_misc",
            f"If cells of {platform} fail to start: {_tonistiigi(platform)}",
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
        return check(State.MISSING, detail, fix, *_emulation_repairs(host, platform, None))
    version = binfmt.qemu_version(handler.interpreter)
    qemu = "QEMU {}.{}".format(*version) if version else "of unknown version"
    detail = f"{handler.interpreter} {qemu}, entry {handler.name}, flags {handler.flags or '-'}"
    repairs = _emulation_repairs(host, platform, handler.name)
    if _is_good(handler, version):
        return check(State.OK, detail)
    if not handler.works_in_containers:
        advice = f"Without flag F the kernel looks for QEMU inside the container. {fix}"
        return check(State.MISSING, detail, advice, *repairs)
    advice = f"Imports are about 4x slower than under QEMU {GOOD_QEMU[0]} or newer. {fix}"
    return check(State.WARNING, detail, advice, *repairs)


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
        check("GitHub", github, (), "Replicas stand in for the published archives."),
        check("PyPI", index, (), cached),
    ]


def _disk(host: Host, engine: Engine | NoEngine) -> Check:
    places = {"cache": host.cache}
    if isinstance(engine, Engine):
        root = host.path(engine.data_root)
        if engine.data_root and not _is_elsewhere(host, engine) and host.exists(root):
            places["engine"] = root
    elif host.env.get("DOCKER_HOST", "") in DEFAULT_SOCKETS:
        places["engine"] = host.path("/var/lib/docker")
    free = {name: host.disk_free(path) for name, path in places.items()}
    detail = ", ".join(
        f"{free[name] / 10**9:.1f} GB free for the {name} ({path})" for name, path in places.items()
    )
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


def _urls(host: Host) -> tuple[str, str, str]:
    """Registry, GitHub, and a small page of the package index (its root is tens of MB)."""
    chosen = (host.env[name] for name in INDEX_VARIABLES if host.env.get(name))
    return REGISTRY_URL, GITHUB_URL, next(chosen, PYPI_INDEX).rstrip("/") + "/pip/"


def _ask_network(host: Host) -> Callable[[], Mapping[str, int | str]]:
    """Start all probes at once; what comes back waits for them, and not longer than they may."""
    late = f"no answer within {PROBE_SECONDS:g} s"
    answers: dict[str, int | str] = dict.fromkeys(_urls(host), late)

    def ask(url: str) -> None:
        answers[url] = host.probe(url)

    # Daemon threads: a name server that does not answer must not hold up the end of the program.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in answers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS + 1

    def wait() -> Mapping[str, int | str]:
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return dict(answers)

    return wait


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_elsewhere(host: Host, engine: Engine | NoEngine) -> bool:
    """Whether the engine runs under another kernel: a remote one, or one in a virtual machine."""
    if isinstance(engine, Engine):
        return engine.kernel not in ("", host.kernel)
    address = host.env.get("DOCKER_HOST", "")
    return bool(address) and not address.startswith("unix:")


# ---- Fronts


def heal(checks: Sequence[Check], host: Host, say: Say) -> list[Check]:
    """Do the repairs of ``checks`` as root on Debian or Ubuntu, and look again.

    Elsewhere it says the commands instead, changes nothing, and gives the checks back. Raises
    HarnessError at the first repair that fails.
    """
    repairs: dict[str, Repair] = {}
    for check in checks:
        for repair in check.repairs:
            repairs.setdefault(repair.says, repair)
    if not repairs:
        say("Nothing to put right: nothing was changed.")
        return list(checks)
    if not (host.is_root and host.is_debian):
        why = "This is not Debian or Ubuntu" if host.is_root else "Not root"
        say(f"{why}: nothing was changed. As root, these commands do it:")
        for repair in repairs.values():
            for command in repair.commands:
                say(f"  {command}")
        return list(checks)
    for repair in repairs.values():
        say(f"-> {repair.says}")
        repair.perform(host, say)
    return examine(host)


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


def run(fix: bool, *, host: Host | None = None, console: Console | None = None) -> int:
    """``pbs-matrix doctor``: look, with ``fix`` put right, and say what is left.

    0 where nothing is missing; raises SetupIncompleteError otherwise, and whatever a failing
    repair raises.
    """
    host, console = host or Host(), console or Console()
    checks = examine(host)
    render(checks, console)
    if fix:

        def say(line: str) -> None:
            console.print(Text(line), soft_wrap=True)

        console.print()
        before, checks = checks, heal(checks, host, say)
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
