"""What each rule of the loaders' models says, and what holds in any world."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.loader.files import Files, Nowhere
from harness.loader.glibc import ORDER, Glibc, expand, split
from harness.loader.musl import Musl
from harness.loader.objects import AARCH64, X86_64, Architecture, Object, Unloadable
from harness.loader.process import Answer, Loader, Process, Step, System, Variables
from tests.integration.oracle import COLUMNS, FAILS, LIBPYTHON
from tests.worlds import comparing
from tests.worlds.generator import generate
from tests.worlds.world import KINDS, Changes

GLIBC_DIRECTORIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib")
LD_SO = "/lib64/ld-linux-x86-64.so.2"
MUSL_LD_SO = "/lib/ld-musl-x86_64.so.1"
PROGRAM = "/app/bin/main"

Content = Mapping[str, Object | Unloadable]


def library(
    *needed: str,
    soname: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    architecture: Architecture = X86_64,
    no_default_libraries: bool = False,
) -> Object:
    return Object(
        architecture=architecture,
        soname=soname,
        needed=needed,
        rpath=rpath,
        runpath=runpath,
        no_default_libraries=no_default_libraries,
    )


def program(*needed: str, rpath: str | None = None, runpath: str | None = None) -> Object:
    plain = library(*needed, rpath=rpath, runpath=runpath)
    return plain._replace(interpreter=LD_SO, is_program=True)


def system(
    content: Content,
    *,
    links: Mapping[str, str] | None = None,
    twins: Mapping[str, str] | None = None,
    cache: Mapping[str, tuple[str, ...]] | None = None,
    subdirectories: tuple[str, ...] = (),
) -> System:
    return System(
        files=Files(files=content, links=links or {}, twins=twins or {}),
        directories=GLIBC_DIRECTORIES,
        cache=cache or {},
        subdirectories=subdirectories,
        lib="lib/x86_64-linux-gnu",
        platform="haswell",
    )


def start(
    content: Content,
    *,
    loader: Loader | None = None,
    variables: Variables | None = None,
    links: Mapping[str, str] | None = None,
    twins: Mapping[str, str] | None = None,
    cache: Mapping[str, tuple[str, ...]] | None = None,
    subdirectories: tuple[str, ...] = (),
) -> Answer:
    whole = system(content, links=links, twins=twins, cache=cache, subdirectories=subdirectories)
    return (loader or Glibc()).start(PROGRAM, whole, variables or Variables())


def paths(answer: Answer) -> list[str]:
    """Of all that is mapped, the program aside."""
    return [mapped.path for mapped in answer.process.mapped[1:]]


def missing(answer: Answer) -> str | None:
    if answer.failure is None:
        return None
    assert answer.failure.problem is None
    return answer.failure.name


# ---- the truth table


PYTHON = "/opt/python/bin/python3.13"
SITE = "/venv/site"
EXTENSION = f"{SITE}/extension.so"
HELPER = f"{SITE}/lib64/libhelper.so"

INTERPRETERS = {
    "shared": program(f"$ORIGIN/../lib/{LIBPYTHON}"),
    "static": program(),
    "static+runpath": program(runpath="$ORIGIN/../lib"),
    "static+rpath": program(rpath="$ORIGIN/../lib"),
}
OWN = "$ORIGIN/../libs"
EXTENSIONS: dict[str, Content] = {
    "python-mscl": {EXTENSION: library(LIBPYTHON)},
    "no-libpython": {EXTENSION: library()},
    "libpython-needed": {EXTENSION: library(LIBPYTHON)},
    "libpython-needed-runpath": {EXTENSION: library(LIBPYTHON, runpath=OWN)},
    "libpython-needed-rpath": {EXTENSION: library(LIBPYTHON, rpath=OWN)},
    "ucxx-shaped": {
        EXTENSION: library("libhelper.so", runpath="$ORIGIN/lib64"),
        HELPER: library(LIBPYTHON, soname="libhelper.so", runpath="$ORIGIN"),
    },
    "runpath-plain-helper": {
        EXTENSION: library("libhelper.so", runpath="$ORIGIN/lib64"),
        HELPER: library(LIBPYTHON, soname="libhelper.so"),
    },
    "abi3-libpython3": {EXTENSION: library("libpython3.so")},
}


def python(link_model: str, extension: str, **others: Object) -> Content:
    lib = "/opt/python/lib"
    return {
        PYTHON: INTERPRETERS[link_model],
        f"{lib}/{LIBPYTHON}": library(soname=LIBPYTHON),
        f"{lib}/libpython3.so": library(LIBPYTHON, soname="libpython3.so"),
        **EXTENSIONS[extension],
        **others,
    }


def imported(content: Content, variables: Variables | None = None, first: str = "") -> Answer:
    """Start the interpreter, open something first if so asked, and then the extension."""
    glibc = Glibc()
    answer = glibc.start(PYTHON, system(content), variables or Variables())
    if first:
        answer = glibc.open(answer.process, first, 0)
        assert answer.failure is None
    return glibc.open(answer.process, EXTENSION, 0)


@pytest.mark.parametrize("link_model", COLUMNS)
@pytest.mark.parametrize("extension", FAILS)
def test_the_truth_table(extension: str, link_model: str) -> None:
    """Every row and column of what upstream and the real loaders say."""
    wanted = None
    if FAILS[extension][COLUMNS.index(link_model)]:
        wanted = "libpython3.so" if extension == "abi3-libpython3" else LIBPYTHON
    assert missing(imported(python(link_model, extension))) == wanted


@pytest.mark.parametrize("link_model", COLUMNS)
@pytest.mark.parametrize("extension", sorted(set(FAILS) - {"abi3-libpython3"}))
def test_a_system_libpython_makes_every_row_good(extension: str, link_model: str) -> None:
    others = {f"/usr/lib/x86_64-linux-gnu/{LIBPYTHON}": library(soname=LIBPYTHON)}
    assert imported(python(link_model, extension, **others)).failure is None


@pytest.mark.parametrize("extension", FAILS)
def test_the_remedies_make_every_row_good(extension: str) -> None:
    content = python("static", extension)
    named = Variables(library_path="/opt/python/lib")
    assert imported(content, named).failure is None
    if extension != "abi3-libpython3":
        assert imported(content, first=f"/opt/python/lib/{LIBPYTHON}").failure is None


# ---- what is loaded already


def test_an_object_is_known_by_the_name_it_was_needed_by() -> None:
    answer = start(
        {
            PROGRAM: program("liba.so", "/l/libb.so", rpath="/l"),
            "/l/liba.so": library(soname="other"),
            "/l/libb.so": library("liba.so"),
        }
    )
    assert answer.failure is None
    assert [search.looks[0].step for search in answer.searches][-1] is Step.LOADED


def test_an_object_is_known_by_its_soname_whatever_its_file_is_called() -> None:
    answer = start(
        {
            PROGRAM: program("/l/anything.so", "libwanted.so.1"),
            "/l/anything.so": library(soname="libwanted.so.1"),
        }
    )
    assert paths(answer) == ["/l/anything.so"]


def test_a_soname_does_not_stand_for_a_path() -> None:
    """A name with a slash is compared with names and paths, and with a soname only as a whole."""
    answer = start(
        {
            PROGRAM: program("/l/liba.so", "/m/liba.so"),
            "/l/liba.so": library(soname="liba.so"),
            "/m/liba.so": library(soname="liba.so"),
        }
    )
    assert paths(answer) == ["/l/liba.so", "/m/liba.so"]


def test_one_file_under_several_names_is_mapped_once() -> None:
    """Symbolic links and hard links lead to the same inode; a copy does not."""
    plain = library()
    answer = start(
        {
            PROGRAM: program("/l/liba.so", "/l/link.so", "/l/twin.so", "/l/copy.so"),
            "/l/liba.so": plain,
            "/l/twin.so": plain,
            "/l/copy.so": plain,
        },
        links={"/l/link.so": "liba.so"},
        twins={"/l/twin.so": "/l/liba.so"},
    )
    assert paths(answer) == ["/l/liba.so", "/l/copy.so"]


def test_a_name_that_led_to_a_mapped_file_is_one_of_its_names_from_then_on() -> None:
    glibc = Glibc()
    answer = start(
        {PROGRAM: program("/l/liba.so"), "/l/liba.so": library()},
        links={"/m/libz.so": "../l/liba.so"},
    )
    by_path = glibc.open(answer.process, "/m/libz.so", 0)
    assert paths(by_path) == ["/l/liba.so"]
    again = glibc.open(by_path.process, "/m/libz.so", 0)
    assert again.searches[0].looks[0].step is Step.LOADED


def test_dlopen_knows_a_path_with_a_token_by_how_it_is_written() -> None:
    """The second caller means another file, and gets the first one."""
    glibc = Glibc()
    answer = start(
        {
            PROGRAM: program("/a/liba.so", "/b/libb.so"),
            "/a/liba.so": library(),
            "/b/libb.so": library(),
            "/a/libx.so": library(),
            "/b/libx.so": library(),
        }
    )
    first = glibc.open(answer.process, "$ORIGIN/libx.so", 1)
    second = glibc.open(first.process, "$ORIGIN/libx.so", 2)
    assert paths(second)[-1] == "/a/libx.so"


def test_the_program_is_opened_by_the_empty_name_and_not_by_its_path() -> None:
    answer = start({PROGRAM: program()})
    assert Glibc().open(answer.process, "", 0).opened == 0
    refused = Glibc().open(answer.process, PROGRAM, 0)
    assert refused.failure is not None
    assert refused.failure.problem == "cannot dynamically load position-independent executable"


def test_ld_so_is_mapped_from_the_start() -> None:
    answer = start(
        {
            PROGRAM: program("ld-linux-x86-64.so.2"),
            LD_SO: library(soname="ld-linux-x86-64.so.2"),
        }
    )
    assert paths(answer) == [LD_SO]


# ---- names with a slash, tokens, empty elements


def test_a_name_with_a_slash_is_a_path_and_not_searched_for() -> None:
    content = {PROGRAM: program("sub/liba.so", rpath="/l"), "/l/sub/liba.so": library()}
    assert missing(start(content)) == "sub/liba.so"
    there = start(content, variables=Variables(directory="/l"))
    assert paths(there) == ["sub/liba.so"]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$ORIGIN/x", "/app/bin/x"),
        ("${ORIGIN}/x", "/app/bin/x"),
        ("/a/$LIB", "/a/lib/x86_64-linux-gnu"),
        ("/a/${PLATFORM}", "/a/haswell"),
        ("$ORIGIN$LIB", "/app/binlib/x86_64-linux-gnu"),
        # Longer identifiers and what is no token stay.
        ("$ORIGINAL/x", "$ORIGINAL/x"),
        ("$ORIGIN_/x", "$ORIGIN_/x"),
        ("${ORIGIN", "${ORIGIN"),
        ("$HOME/x", "$HOME/x"),
        ("$", "$"),
        ("$ORIGIN-x", "/app/bin-x"),
        ("${ORIGIN}AL", "/app/binAL"),
    ],
)
def test_tokens(text: str, expanded: str) -> None:
    process = start({PROGRAM: program()}).process
    assert expand(text, process, 0) == expanded


def test_a_path_with_a_token_without_a_value_is_left_out() -> None:
    whole = system({PROGRAM: program(rpath="/a/$PLATFORM:/b")})._replace(platform="")
    process = Glibc().start(PROGRAM, whole, Variables()).process
    assert split("/a/$PLATFORM:/b", process, 0) == ("/b",)


def test_a_need_with_a_token_without_a_value_is_no_need() -> None:
    """As glibc has it: where it means to give up, it goes on."""
    whole = system({PROGRAM: program("$PLATFORM/liba.so")})._replace(platform="")
    assert Glibc().start(PROGRAM, whole, Variables()).failure is None


def test_directories_of_a_search_path() -> None:
    """Slashes at the end go, and so does what is there already; the empty one stays apart."""
    process = start({PROGRAM: program()}).process
    assert split("/a//:/b:/a::.:/", process, 0) == ("/a", "/b", "", ".", "/")
    assert split("/a;/b", process, 0) == ("/a;/b",)
    assert split("/a;/b", process, 0, separators=":;") == ("/a", "/b")


def test_an_empty_element_is_the_working_directory() -> None:
    """What is found there has no directory in its name; with a dot it has."""
    content = {PROGRAM: program("liba.so", runpath="/x:"), "/w/liba.so": library()}
    assert paths(start(content, variables=Variables(directory="/w"))) == ["liba.so"]
    dot = {**content, PROGRAM: program("liba.so", runpath=".")}
    assert paths(start(dot, variables=Variables(directory="/w"))) == ["./liba.so"]
    assert missing(start(content)) == "liba.so"


def test_an_empty_variable_is_no_directory() -> None:
    content = {PROGRAM: program("liba.so"), "/w/liba.so": library()}
    unset = Variables(library_path="", directory="/w")
    assert missing(start(content, variables=unset)) == "liba.so"
    assert missing(start(content, variables=unset._replace(library_path=":"))) is None


def test_origin_is_as_it_is_written_but_of_the_program_as_the_kernel_has_it() -> None:
    """Links to a library are not followed; those to the program are."""
    answer = start(
        {
            "/real/bin/main": program("liba.so", rpath="$ORIGIN/../lib"),
            "/store/liba.so": library("libb.so", runpath="$ORIGIN"),
            "/store/libb.so": library(),
        },
        links={PROGRAM: "/real/bin/main", "/real/lib/liba.so": "/store/liba.so"},
    )
    assert [search.found for search in answer.searches] == ["/real/bin/../lib/liba.so", None]
    assert "/real/bin/../lib" in answer.searches[1].directories
    assert "/store" not in answer.searches[1].directories


# ---- RPATH, RUNPATH and the other places


CHAIN: dict[str, Object] = {
    "/l/liba.so": library("libb.so"),
    "/l/libb.so": library("libc.so"),
    "/l/libc.so": library(),
}


def test_rpath_is_inherited_up_to_the_program() -> None:
    assert start({PROGRAM: program("liba.so", rpath="/l"), **CHAIN}).failure is None


def test_runpath_is_not_inherited() -> None:
    answer = start({PROGRAM: program("liba.so", runpath="/l"), **CHAIN})
    assert missing(answer) == "libb.so"
    assert answer.failure is not None
    assert answer.failure.needed_by == "/l/liba.so"


def test_a_runpath_hides_the_rpath_of_the_same_object() -> None:
    both = program("liba.so", rpath="/l")._replace(runpath="/nowhere")
    assert missing(start({PROGRAM: both, "/l/liba.so": library()})) == "liba.so"


def test_a_runpath_hides_the_rpaths_of_all_above() -> None:
    """The rule that breaks ucxx: an object with a RUNPATH has nothing from the interpreter."""
    content = {PROGRAM: program("liba.so", rpath="/l"), **CHAIN}
    content["/l/liba.so"] = library("libb.so", runpath="/nowhere")
    answer = start(content)
    assert missing(answer) == "libb.so"
    ignored = [look.ignored for search in answer.searches for look in search.looks if look.ignored]
    assert ignored == ["/l/liba.so has a DT_RUNPATH"]


def test_an_empty_runpath_hides_too() -> None:
    content = {PROGRAM: program("liba.so", rpath="/l"), **CHAIN}
    content["/l/liba.so"] = library("libb.so", runpath="")
    assert missing(start(content)) == "libb.so"


def test_below_an_object_with_runpath_the_rpath_from_further_up_counts_again() -> None:
    content = {PROGRAM: program("liba.so", rpath="/l"), **CHAIN}
    content["/l/liba.so"] = library("libb.so", runpath="/l")
    assert start(content).failure is None


def test_what_dlopen_opens_inherits_from_the_program_and_not_from_the_caller() -> None:
    """The caller's RPATH leads to the name alone."""
    glibc = Glibc()
    content = {
        PROGRAM: program("/x/caller.so"),
        "/x/caller.so": library(rpath="/l"),
        "/l/liba.so": library("libb.so"),
        "/l/libb.so": library(),
    }
    answer = start(content)
    opened = glibc.open(answer.process, "liba.so", 1)
    assert missing(opened) == "libb.so"
    assert opened.failure is not None
    owners = [look.owner for look in opened.failure.looks if look.step is Step.RPATH]
    assert owners == ["/l/liba.so", PROGRAM]
    content[PROGRAM] = program("/x/caller.so", rpath="/l")
    answer = start(content)
    assert glibc.open(answer.process, "liba.so", 1).failure is None


@pytest.mark.parametrize("number", range(len(ORDER)))
def test_the_order_of_the_places(number: int) -> None:
    """With a library in all places but the first ones, the next one in order is taken."""
    places = [
        (Step.RPATH, "/rpath/liba.so"),
        (Step.LIBRARY_PATH, "/variable/liba.so"),
        (Step.RUNPATH, "/runpath/liba.so"),
        (Step.CACHE, "/cached/liba.so"),
        (Step.DEFAULT, "/lib/liba.so"),
    ]
    assert tuple(step for step, _ in places) == ORDER
    step, wanted = places[number]
    tags = {"rpath": "/rpath"} if step is Step.RPATH else {"runpath": "/runpath"}
    there: dict[str, Object] = {path: library() for _, path in places[number:]}
    answer = start(
        {PROGRAM: program("liba.so", **tags), **there},
        variables=Variables(library_path="/variable"),
        cache={"liba.so": ("/cached/liba.so",)},
    )
    assert paths(answer) == [wanted]
    assert answer.searches[0].looks[-1].step is step


def test_nodefaultlib_leaves_out_the_default_directories_in_the_cache_too() -> None:
    content = {
        PROGRAM: program("/l/liba.so"),
        "/l/liba.so": library("libb.so", no_default_libraries=True),
        "/lib/libb.so": library(),
        "/opt/libb.so": library(),
    }
    assert missing(start(content)) == "libb.so"
    # Only the preferred one of the cache is looked at, and nothing takes its place.
    both = ("/lib/libb.so", "/opt/libb.so")
    assert missing(start(content, cache={"libb.so": both})) == "libb.so"
    assert paths(start(content, cache={"libb.so": both[::-1]}))[-1] == "/opt/libb.so"


def test_the_cache_compares_numbers_by_their_value() -> None:
    content = {PROGRAM: program("liba.so.01"), "/opt/liba.so.1": library()}
    assert start(content, cache={"liba.so.1": ("/opt/liba.so.1",)}).failure is None
    assert missing(start(content, cache={"liba.so.2": ("/opt/liba.so.1",)})) == "liba.so.01"


def test_a_stale_entry_of_the_cache_is_passed_over() -> None:
    content = {PROGRAM: program("liba.so"), "/lib/liba.so": library()}
    answer = start(content, cache={"liba.so": ("/gone/liba.so",)})
    assert paths(answer) == ["/lib/liba.so"]


def test_hwcaps_subdirectories_come_before_their_directory() -> None:
    content = {
        PROGRAM: program("liba.so", "libb.so", rpath="/l:/m"),
        "/l/liba.so": library(),
        "/m/glibc-hwcaps/x86-64-v2/liba.so": library(),
        "/l/libb.so": library(),
        "/l/glibc-hwcaps/x86-64-v2/libb.so": library(),
        "/l/glibc-hwcaps/x86-64-v3/libb.so": library(),
    }
    levels = ("glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2")
    assert paths(start(content, subdirectories=levels)) == [
        "/l/liba.so",
        "/l/glibc-hwcaps/x86-64-v3/libb.so",
    ]


# ---- files that cannot be loaded


@pytest.mark.parametrize("architecture", [AARCH64, Architecture(183, 64, big_endian=True)])
def test_another_architecture_is_passed_over(architecture: Architecture) -> None:
    content = {
        PROGRAM: program("liba.so", rpath="/l:/m"),
        "/l/liba.so": library(architecture=architecture),
    }
    answer = start(content)
    assert missing(answer) == "liba.so"
    assert answer.searches[0].passed_over == (("/l/liba.so", "another architecture's"),)
    assert paths(start({**content, "/m/liba.so": library()})) == ["/m/liba.so"]


def test_the_other_word_size_is_passed_over_and_told_of_where_nothing_else_is() -> None:
    narrow = library(architecture=Architecture(3, 32))
    content = {PROGRAM: program("liba.so", rpath="/l:/m"), "/l/liba.so": narrow}
    answer = start(content)
    assert answer.failure is not None
    assert answer.failure.problem == "wrong ELF class: ELFCLASS32"
    assert answer.failure.found is None
    assert paths(start({**content, "/m/liba.so": library()})) == ["/m/liba.so"]


def test_a_damaged_file_ends_the_search() -> None:
    content: Content = {
        PROGRAM: program("liba.so", rpath="/l:/m"),
        "/l/liba.so": Unloadable(problem="invalid ELF header"),
        "/m/liba.so": library(),
    }
    answer = start(content)
    assert answer.failure is not None
    assert (answer.failure.found, answer.failure.problem) == ("/l/liba.so", "invalid ELF header")


def test_a_directory_of_that_name_ends_the_search() -> None:
    content = {
        PROGRAM: program("liba.so", rpath="/l:/m"),
        "/l/liba.so/file": library(),
        "/m/liba.so": library(),
    }
    answer = start(content)
    assert answer.failure is not None
    assert answer.failure.problem == "cannot read file data: Is a directory"


def test_a_loop_of_links_ends_one_search_path_and_no_more() -> None:
    content = {
        PROGRAM: program("liba.so", rpath="/l:/m"),
        "/m/liba.so": library(),
        "/v/liba.so": library(),
    }
    variables = Variables(library_path="/v")
    answer = start(content, variables=variables, links={"/l/liba.so": "liba.so"})
    assert paths(answer) == ["/v/liba.so"]
    # A directory that is a loop is just not there.
    answer = start(content, variables=variables, links={"/l": "l"})
    assert paths(answer) == ["/m/liba.so"]


# ---- a whole process


def test_needs_are_loaded_breadth_first() -> None:
    answer = start(
        {
            PROGRAM: program("a.so", "b.so", rpath="/l"),
            "/l/a.so": library("c.so"),
            "/l/b.so": library("d.so"),
            "/l/c.so": library(),
            "/l/d.so": library(),
        }
    )
    assert paths(answer) == ["/l/a.so", "/l/b.so", "/l/c.so", "/l/d.so"]


@pytest.mark.parametrize("loader", [Glibc(), Musl(), Glibc(loaded_names_count=False)])
def test_a_loop_of_needs_ends(loader: Loader) -> None:
    answer = start(
        {
            PROGRAM: program("a.so", rpath="/l"),
            "/l/a.so": library("b.so", "a.so"),
            "/l/b.so": library("a.so"),
        },
        loader=loader,
    )
    assert answer.failure is None
    assert paths(answer) == ["/l/a.so", "/l/b.so"]


def test_preloaded_libraries_come_before_what_the_program_needs() -> None:
    content = {
        PROGRAM: program("a.so", rpath="/l"),
        "/l/a.so": library(),
        "/l/p.so": library("q.so"),
        "/l/q.so": library(),
        "/l/o.so": library(soname="a.so"),
    }
    both = Variables(preload="/l/p.so:/l/o.so gone.so")
    answer = start(content, variables=both)
    assert paths(answer) == ["/l/p.so", "/l/o.so", "/l/q.so"]
    assert [search.name for search in answer.searches if search.failed] == ["gone.so"]
    needs_more = {**content, "/l/p.so": library("gone.so")}
    assert missing(start(needs_more, variables=both)) == "gone.so"


@pytest.mark.parametrize("loader", [Glibc(), Musl()])
def test_a_failed_dlopen_leaves_nothing(loader: Loader) -> None:
    answer = start(
        {
            PROGRAM: program("a.so", rpath="/l"),
            "/l/a.so": library(),
            "/l/b.so": library("a.so", "c.so"),
        },
        loader=loader,
    )
    failed = loader.open(answer.process, "/l/b.so", 0)
    assert missing(failed) == "c.so"
    assert failed.opened is None
    assert paths(failed) == ["/l/a.so"]


def test_a_failed_dlopen_leaves_the_names_that_it_found_for_what_was_there() -> None:
    glibc = Glibc()
    answer = start(
        {
            PROGRAM: program("/l/a.so"),
            "/l/a.so": library(),
            "/l/b.so": library("z.so", "gone.so", runpath="/m"),
        },
        links={"/m/z.so": "/l/a.so"},
    )
    assert missing(glibc.open(answer.process, "z.so", 0)) == "z.so"
    failed = glibc.open(answer.process, "/l/b.so", 0)
    assert missing(failed) == "gone.so"
    assert glibc.open(failed.process, "z.so", 0).opened == 1


def test_a_program_that_is_none_does_not_start() -> None:
    assert missing(start({"/other": program()})) == PROGRAM
    text = start({PROGRAM: Unloadable(problem="invalid ELF header")})
    assert text.failure is not None
    assert text.failure.problem == "invalid ELF header"


# ---- musl


def musl(
    content: Content,
    variables: Variables | None = None,
    links: Mapping[str, str] | None = None,
) -> Answer:
    whole = system(content, links=links)._replace(directories=("/lib", "/usr/lib"))
    return Musl().start(PROGRAM, whole, variables or Variables())


def musl_program(*needed: str, rpath: str | None = None, runpath: str | None = None) -> Object:
    return program(*needed, rpath=rpath, runpath=runpath)._replace(interpreter=MUSL_LD_SO)


def test_musl_inherits_a_runpath_as_well() -> None:
    assert musl({PROGRAM: musl_program("liba.so", runpath="/l"), **CHAIN}).failure is None


def test_musl_takes_the_runpath_where_both_are_there() -> None:
    both = musl_program("liba.so", rpath="/l")._replace(runpath="/m")
    assert missing(musl({PROGRAM: both, "/l/liba.so": library()})) == "liba.so"


def test_musl_looks_into_the_variable_first() -> None:
    content = {
        PROGRAM: musl_program("liba.so", rpath="/l"),
        "/l/liba.so": library(),
        "/v/liba.so": library(),
    }
    assert paths(musl(content, Variables(library_path="/v"))) == ["/v/liba.so"]


def test_musl_has_no_use_for_sonames() -> None:
    content = {
        PROGRAM: musl_program("/l/liba.so", "libwanted.so"),
        "/l/liba.so": library(soname="libwanted.so"),
    }
    assert missing(musl(content)) == "libwanted.so"


def test_musl_knows_what_was_opened_by_path_only_once_a_search_found_the_same_file() -> None:
    content = {
        PROGRAM: musl_program("/l/liba.so", "liba.so", "libb.so"),
        "/l/liba.so": library(),
        "/lib/libb.so": library("liba.so"),
    }
    assert missing(musl(content)) == "liba.so"
    content[PROGRAM] = musl_program("/l/liba.so", "liba.so", "libb.so", rpath="/l")
    assert paths(musl(content)) == ["/l/liba.so", "/lib/libb.so"]


def test_musl_expands_no_token_in_a_need_and_origin_alone_in_a_path() -> None:
    content = {
        PROGRAM: musl_program("$ORIGIN/liba.so"),
        "/app/bin/liba.so": library(),
    }
    assert missing(musl(content)) == "$ORIGIN/liba.so"
    for path, found in (("${ORIGIN}", True), ("$ORIGIN:$LIB", False), ("$LIB:/app/bin", False)):
        content[PROGRAM] = musl_program("liba.so", rpath=path)
        assert (musl(content).failure is None) is found


def test_musl_answers_the_names_of_the_c_library_itself() -> None:
    content = {
        PROGRAM: musl_program("libm.so.6", "libpthread.so.0", "libc.so", "/l/libc.so.6"),
        # glibc's, by its path.
        "/l/libc.so.6": library(soname="libc.so.6"),
    }
    assert paths(musl(content)) == [MUSL_LD_SO]


def test_musl_does_not_pass_over_what_it_cannot_load() -> None:
    content: Content = {
        PROGRAM: musl_program("liba.so", rpath="/l:/m"),
        "/l/liba.so": Unloadable(problem="invalid ELF header"),
        "/m/liba.so": library(),
    }
    answer = musl(content)
    assert answer.failure is not None
    assert answer.failure.problem == "Exec format error"


def test_musl_preloads_on_nobodys_behalf() -> None:
    content = {PROGRAM: musl_program(rpath="/l"), "/l/liba.so": library()}
    assert paths(musl(content, Variables(preload="liba.so"))) == []
    assert paths(musl(content, Variables(preload="/l/liba.so"))) == ["/l/liba.so"]


def test_musl_takes_the_program_for_the_caller() -> None:
    content = {
        PROGRAM: musl_program("/x/caller.so"),
        "/x/caller.so": library(rpath="/l"),
        "/l/liba.so": library(),
    }
    answer = musl(content)
    assert missing(Musl().open(answer.process, "liba.so", 1)) == "liba.so"


def test_musl_gives_up_at_a_loop_of_links() -> None:
    content = {PROGRAM: musl_program("liba.so", rpath="/l:/m"), "/lib/liba.so": library()}
    assert missing(musl(content, links={"/l/liba.so": "liba.so"})) == "liba.so"


def test_musl_does_not_try_a_path_that_is_longer_than_its_buffer() -> None:
    directory = "/" + "d" * 250 + "/" + "e" * 250
    content = {
        PROGRAM: musl_program("lib.so", "library.so", rpath=directory),
        f"{directory}/lib.so": library(),
        f"{directory}/library.so": library(),
    }
    assert missing(musl(content)) == "library.so"


# ---- files


def test_why_a_path_leads_nowhere() -> None:
    files = Files(
        files={"/a/file": library()},
        links={"/a/link": "file", "/a/loop": "loop", "/d": "a", "/a/broken": "nothing"},
        folders=frozenset({"/empty"}),
    )
    wanted = {
        "/a/file": "/a/file",
        "/d/link": "/a/file",
        "/d/../a/./file": "/a/file",
        "/a/missing": Nowhere.MISSING,
        "/missing/file": Nowhere.MISSING,
        "/a/broken": Nowhere.MISSING,
        "/a/loop": Nowhere.LOOP,
        "/a/loop/file": Nowhere.LOOP,
        "/a/file/x": Nowhere.NOT_A_DIRECTORY,
        "/a/file/": Nowhere.NOT_A_DIRECTORY,
        "/a/file/../file": Nowhere.NOT_A_DIRECTORY,
        "/a": Nowhere.DIRECTORY,
        "/empty": Nowhere.DIRECTORY,
        "/empty/../a/file": "/a/file",
        "/" + "x" * 256: Nowhere.TOO_LONG,
        "/a" * 3000: Nowhere.TOO_LONG,
        "": Nowhere.MISSING,
    }
    assert {path: files.reach(path) for path in wanted} == wanted
    assert files.reach("file", directory="/d") == "/a/file"


# ---- what holds everywhere

NAMES = st.text(max_size=8) | st.sampled_from(
    ["", "a.so", "b.so", "/l/a.so", "l/b.so", "$ORIGIN/a.so", "$PLATFORM", "libc.so.6", "./b.so"]
)
PATHS = (
    st.none()
    | st.text(max_size=12)
    | st.sampled_from(["", ":", "/l", "$ORIGIN:/m", "$LIB", ".:l", "/loop"])
)
OBJECTS = st.builds(
    Object,
    architecture=st.sampled_from([X86_64, X86_64, X86_64, AARCH64, Architecture(3, 32)]),
    soname=st.none() | NAMES,
    needed=st.lists(NAMES, max_size=4).map(tuple),
    rpath=PATHS,
    runpath=PATHS,
    no_default_libraries=st.booleans(),
    interpreter=st.none() | st.sampled_from([LD_SO, "/l/a.so", "b.so"]),
    is_program=st.booleans(),
) | st.builds(Unloadable, problem=st.text(min_size=1, max_size=5))
PLACES = st.sampled_from(
    ["/l/a.so", "/l/b.so", "/m/a.so", "/m/b.so", "/lib/a.so", LD_SO, PROGRAM, "/a.so/x"]
)
SYSTEMS = st.builds(
    System,
    files=st.builds(
        Files,
        files=st.dictionaries(PLACES, OBJECTS, max_size=8),
        links=st.dictionaries(PLACES, NAMES, max_size=3),
        twins=st.dictionaries(PLACES, PLACES, max_size=2),
    ),
    directories=st.sampled_from([(), ("/lib",), ("/lib", "/m")]),
    cache=st.dictionaries(NAMES, PLACES.map(lambda path: (path,)), max_size=2),
    subdirectories=st.sampled_from([(), ("glibc-hwcaps/x86-64-v3",)]),
    platform=st.sampled_from(["", "haswell"]),
)
VARIABLES = st.builds(
    Variables,
    library_path=PATHS.map(lambda path: path or ""),
    preload=st.lists(NAMES, max_size=2).map(":".join),
    directory=st.sampled_from(["/", "/l", "/nowhere"]),
)
LOADERS = st.sampled_from([Glibc(), Musl(), *(Glibc(order=ORDER[:n]) for n in range(5))])


def check(before: Process, answer: Answer) -> None:
    """What holds of every answer."""
    process = answer.process
    if answer.failure is not None:
        assert answer.failure.failed
        assert answer.failure in answer.searches
        assert answer.opened is None
        # Of a program that does not start nothing is left to speak of.
        assert not before.mapped or len(process.mapped) == len(before.mapped)
    for old, new in zip(before.mapped, process.mapped, strict=False):
        assert new._replace(names=old.names) == old
        assert new.names >= old.names
    for number, mapped in enumerate(process.mapped[len(before.mapped) :], len(before.mapped)):
        assert mapped.loader is None or mapped.loader < number
    for search in answer.searches:
        assert search.found is not None or search.failed


@settings(max_examples=200, deadline=None)
@given(loader=LOADERS, system=SYSTEMS, variables=VARIABLES, names=st.lists(NAMES, max_size=4))
def test_every_question_has_an_answer(
    loader: Loader, system: System, variables: Variables, names: list[str]
) -> None:
    """Whatever files, links, names and paths there are: it ends, and what it says is sound."""
    answer = loader.start(PROGRAM, system, variables)
    check(answer.process._replace(mapped=()), answer)
    if answer.failure is not None:
        return
    for number, name in enumerate(names):
        before = answer.process
        answer = loader.open(before, name, number % len(before.mapped))
        check(before, answer)
        if answer.failure is None:
            assert answer.opened is not None
            again = loader.open(answer.process, name, number % len(before.mapped))
            assert again.opened == answer.opened


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**63), name=st.sampled_from(sorted(KINDS)))
def test_the_model_answers_every_generated_world(seed: int, name: str) -> None:
    kind = KINDS[name]
    world = generate(seed, kind)
    assert generate(seed, kind) == world
    bare = System(files=Files(), directories=("/lib",), lib="lib", platform="x")
    predicted = comparing.predict(world, bare, Changes(), kind.model)
    assert predicted.account.outcomes
