"""Names of published files: what they say, and the choice among them that real uvs made."""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import Version

from harness import published
from harness.flavours import Flavour
from harness.platforms import Platform
from harness.published import Name, best, parse
from tests.unit import published_names

LINUX = "x86_64-unknown-linux-gnu"
START = f"cpython-3.13.3+20250517-{LINUX}"


def read(filename: str) -> Name:
    name = parse(filename)
    assert name is not None, filename
    return name


def test_a_name_says_version_release_platform_and_flavour() -> None:
    assert read(f"{START}-install_only_stripped.tar.gz") == Name(
        filename=f"{START}-install_only_stripped.tar.gz",
        version="3.13.3",
        release="20250517",
        platform=Platform.X86_64,
        flavour=Flavour.STRIPPED,
        kind="install_only_stripped",
    )
    assert read("cpython-3.14.0rc1+20250723-aarch64-unknown-linux-gnu-debug-full.tar.zst") == Name(
        filename="cpython-3.14.0rc1+20250723-aarch64-unknown-linux-gnu-debug-full.tar.zst",
        version="3.14.0rc1",
        release="20250723",
        platform=Platform.AARCH64,
        flavour=Flavour.DEBUG,
        kind="full",
        options=("debug",),
    )
    assert read("cpython-3.14.0b1+20250529-" + LINUX + "-install_only.tar.gz").python == "3.14"


@pytest.mark.parametrize(
    ("tail", "flavour"),
    [
        ("gnu-install_only_stripped.tar.gz", Flavour.STRIPPED),
        ("gnu-install_only.tar.gz", Flavour.INSTALL_ONLY),
        ("gnu-debug-full.tar.zst", Flavour.DEBUG),
        ("gnu-freethreaded+pgo+lto-full.tar.zst", Flavour.FREETHREADED),
        ("gnu-freethreaded+lto-full.tar.zst", Flavour.FREETHREADED),
        ("gnu-freethreaded+noopt-full.tar.zst", Flavour.FREETHREADED),
        ("gnu-freethreaded-install_only_stripped.tar.gz", Flavour.FREETHREADED),
        ("gnu-freethreaded-install_only.tar.gz", Flavour.FREETHREADED),
        ("musl-install_only_stripped.tar.gz", Flavour.MUSL),
        ("musl-install_only.tar.gz", Flavour.MUSL),
        # A full archive of the default build is what the smaller ones are made of.
        ("gnu-pgo+lto-full.tar.zst", None),
        ("gnu-noopt-full.tar.zst", None),
        ("musl-lto-full.tar.zst", None),
        ("gnu-freethreaded+debug-full.tar.zst", None),
        ("musl-freethreaded+lto-full.tar.zst", None),
        ("musl-debug-full.tar.zst", None),
        # Whatever comes next is not what there is now.
        ("gnu-jit-install_only_stripped.tar.gz", None),
        ("gnu-install_only_stripped.tar.gz.sha256", None),
        ("gnu-install_only_stripped.zip", None),
    ],
)
def test_a_names_tail_is_its_flavour(tail: str, flavour: Flavour | None) -> None:
    name = parse(f"cpython-3.13.3+20250517-x86_64-unknown-linux-{tail}")
    assert (name and name.flavour) == flavour


@pytest.mark.parametrize("uv", published_names.offered())
def test_what_a_uv_offers_is_read_in_full(uv: str) -> None:
    """Nothing of the name is lost: it can be put together again."""
    names = published_names.offered()[uv]
    assert len(names) > 100
    for filename in names:
        name = read(filename)
        version = f"{name.version}+{name.release}"
        triple = f"{name.platform}-unknown-linux-{name.flavour.libc}"
        options = f"-{'+'.join(name.options)}" if name.options else ""
        end = "zst" if name.kind == "full" else "gz"
        assert filename == f"cpython-{version}-{triple}{options}-{name.kind}.tar.{end}"
        assert name.python == ".".join(name.version.split(".", 2)[:2])
        assert parse(quote(filename)) == name
        assert parse(quote(filename).lower()) == name


@pytest.mark.parametrize("filename", [*published_names.others(), "", "SHA256SUMS", "cpython-"])
def test_what_is_not_under_test_is_none(filename: str) -> None:
    """Other systems and processors, microarchitectures, and the names from before 2022."""
    assert parse(filename) is None
    assert parse(quote(filename)) is None


@given(st.sampled_from(published_names.offered_by_any()), st.data())
def test_a_changed_name_is_never_taken_for_what_it_was(filename: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(filename) - 1))
    letter = data.draw(st.sampled_from(["", "x", "-", "+", ".", "/", "٣", "\n", "\0"]))
    changed = filename[:place] + letter + filename[place + 1 :]
    name = parse(changed)
    assert name is None or name.filename == changed


@given(st.text())
@example("cpython-٣.13.3+20250517-x86_64-unknown-linux-gnu-install_only.tar.gz")
@example(f"{START}-install_only.tar.gz\n")
@example("../" + START + "-install_only.tar.gz")
def test_any_text_is_a_name_or_none(text: str) -> None:
    assert parse(text) is None


# The choice.


def rivals(name: Name) -> list[str]:
    """What else a release has of the same version and platform, and what it does not lead to."""
    start = f"cpython-{name.version}+{name.release}-{name.platform}"
    less = {
        "install_only_stripped": ("install_only", "full"),
        "install_only": ("full",),
        "full": (),
    }
    special = [option for option in name.options if option in ("debug", "freethreaded")]
    within = [
        f"{start}-unknown-linux-{name.flavour.libc}-{'+'.join([*special, *more])}-{kind}.tar.gz"
        for kind in less[name.kind]
        for more in ([], ["noopt"], ["lto"], ["pgo", "lto"])
        if special or more
    ]
    within += [
        f"{start}-unknown-linux-{name.flavour.libc}-{kind}.tar.gz"
        for kind in less[name.kind]
        if not special
    ]
    others = [
        f"{start}_v3-unknown-linux-gnu-{name.kind}.tar.gz",
        f"{start}-unknown-linux-gnu-freethreaded+debug-full.tar.zst",
        f"{start}-unknown-linux-gnu-pgo+lto-full.tar.zst",
    ]
    return [*within, *others]


@pytest.mark.parametrize("uv", published_names.offered())
def test_of_all_that_a_uv_offers_the_newest_is_best(uv: str) -> None:
    """The lists are uv's own, in its own order: the newest version of each Python comes first."""
    names = [read(filename) for filename in published_names.offered()[uv]]
    every = [name.filename for name in names]
    every += [rival for name in names for rival in rivals(name)]
    alike: dict[tuple[str, Platform, Flavour], list[Name]] = {}
    for name in names:
        if name.flavour is not Flavour.INSTALL_ONLY:
            alike.setdefault((name.python, name.platform, name.flavour), []).append(name)
    assert len(alike) > 10
    for wanted, versions in alike.items():
        assert best(every, *wanted) == max(versions, key=lambda name: Version(name.version))


@pytest.mark.parametrize("uv", published_names.offered())
def test_of_all_builds_of_a_version_best_is_what_each_uv_chose(uv: str) -> None:
    """Among all that any uv ever chose, as far as its newest release reaches."""
    names = [read(filename) for filename in published_names.offered()[uv]]
    last = max(name.release for name in names)
    every = [read(filename) for filename in published_names.offered_by_any()]
    builds: dict[str, list[Name]] = {}
    for name in every:
        if name.release <= last:
            builds.setdefault(name.version, []).append(name)
    for name in names:
        if name.flavour is Flavour.DEBUG:
            continue  # known of one uv alone
        flavour = Flavour.STRIPPED if name.flavour is Flavour.INSTALL_ONLY else name.flavour
        filenames = [build.filename for build in builds[name.version]]
        assert best(filenames, name.python, name.platform, flavour) == name


def test_there_are_versions_that_uvs_took_from_several_releases_and_builds() -> None:
    """Else the test before this one would tell nothing."""
    names = [read(filename) for filename in published_names.offered_by_any()]
    found = Counter((n.version, n.platform, n.flavour) for n in names)
    assert len([key for key, count in found.items() if count > 1]) > 5
    options = {n.options for n in names if n.flavour is Flavour.FREETHREADED}
    assert options == {("freethreaded",), ("freethreaded", "lto"), ("freethreaded", "pgo", "lto")}


def test_a_release_without_a_stripped_archive_has_install_only_for_it() -> None:
    only = ["cpython-3.12.3+20240415-x86_64-unknown-linux-gnu-install_only.tar.gz"]
    found = best(only, "3.12", Platform.X86_64, Flavour.STRIPPED)
    assert found is not None
    assert found.flavour is Flavour.INSTALL_ONLY
    assert best(only, "3.12", Platform.X86_64, Flavour.DEBUG) is None
    assert best(only, "3.12", Platform.AARCH64, Flavour.STRIPPED) is None
    assert best(only, "3.1", Platform.X86_64, Flavour.STRIPPED) is None


def test_install_only_is_taken_where_it_is_asked_for() -> None:
    both = [f"{START}-install_only_stripped.tar.gz", f"{START}-install_only.tar.gz"]
    for names in (both, both[::-1]):
        wanted = {Flavour.STRIPPED: both[0], Flavour.INSTALL_ONLY: both[1]}
        for flavour, filename in wanted.items():
            found = best(names, "3.13", Platform.X86_64, flavour)
            assert found is not None
            assert found.filename == filename
    assert best(both[:1], "3.13", Platform.X86_64, Flavour.INSTALL_ONLY) is None


def test_musl_is_what_is_linked_dynamically() -> None:
    """uv leaves out those before, which can load no extension at all (issue 86 of PBS)."""
    tail = "x86_64-unknown-linux-musl-install_only_stripped.tar.gz"
    static, dynamic = f"cpython-3.13.2+20250212-{tail}", f"cpython-3.13.2+20250311-{tail}"
    assert best([static], "3.13", Platform.X86_64, Flavour.MUSL) is None
    found = best([static, dynamic], "3.13", Platform.X86_64, Flavour.MUSL)
    assert found is not None
    assert found.filename == dynamic


def test_a_pre_release_is_older_than_what_it_leads_to() -> None:
    versions = ["3.14.0a7", "3.14.0b1", "3.14.0b10", "3.14.0rc2", "3.14.0", "3.14.2", "3.14.11"]
    assert sorted([*versions[3:], *versions[:3]], key=published.version_order) == versions
    assert sorted(versions, key=Version) == versions
    with pytest.raises(ValueError, match="no version of CPython"):
        published.version_order("3.14")
