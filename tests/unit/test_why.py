"""Words about searches are true to the search: one reader, one failing cell, one account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import why
from harness.loader.files import Files
from harness.loader.glibc import Glibc
from harness.loader.musl import Musl
from harness.loader.objects import X86_64, Object, Unloadable
from harness.loader.process import Loader, Look, Search, Step, System, Variables

HOME = "/opt/python"
PROGRAM = f"{HOME}/bin/python3.13"
MODULE = "/site/_mscl.so"
LIBPYTHON = "libpython3.13.so.1.0"
DIRECTORIES = ("/lib/x86_64-linux-gnu", "/lib")


def thing(**values: object) -> Object:
    return Object(architecture=X86_64)._replace(**values)  # type: ignore[arg-type]


def told(
    module: Object,
    program: Object,
    *,
    more: dict[str, Object | Unloadable] | None = None,
    library_path: str = "",
    loader: Loader | None = None,
    system: str | None = None,
) -> str:
    """The account of opening a module in a small world, with that release's label."""
    files = Files(
        files={
            PROGRAM: program,
            f"{HOME}/lib/{LIBPYTHON}": thing(soname=LIBPYTHON),
            MODULE: module,
            **(more or {}),
        }
    )
    rules = loader or Glibc()
    variables = Variables(library_path=library_path)
    process = rules.start(PROGRAM, System(files=files, directories=DIRECTORIES), variables).process
    answer = rules.open(process, MODULE, 0)
    search = answer.failure or answer.searches[-1]
    setting = why.Setting(
        files=files, program=PROGRAM, label="20250517", variables=variables, system=system
    )
    return why.account(search, setting)


def test_a_static_interpreter_is_told_to_have_no_rpath_to_lend() -> None:
    assert told(thing(needed=(LIBPYTHON,)), thing()) == (
        "`_mscl.so` needs `libpython3.13.so.1.0`. It has no search path of its own, so the "
        "interpreter's DT_RPATH would be used, but this interpreter (20250517) has none. "
        "LD_LIBRARY_PATH is unset. It is not in ld.so.cache. "
        "It is not in /lib/x86_64-linux-gnu or /lib."
    )


def test_an_interpreters_runpath_is_told_to_serve_itself_alone() -> None:
    words = told(thing(needed=(LIBPYTHON,)), thing(runpath="$ORIGIN/../lib"))
    assert "(20250517) has only a DT_RUNPATH, which serves nothing but itself." in words


def test_a_runpath_of_its_own_is_told_to_switch_off_every_rpath() -> None:
    words = told(thing(needed=(LIBPYTHON,), runpath="/nowhere"), thing(rpath="$ORIGIN/../lib"))
    assert "It has a DT_RUNPATH, so no DT_RPATH counts, not even the interpreter's." in words
    assert "Its DT_RUNPATH leads to /nowhere: not there." in words
    assert "would be" not in words


def test_a_helper_is_named_and_not_the_module_that_was_opened() -> None:
    helper = {"/site/libhelper.so": thing(needed=(LIBPYTHON,), runpath="$ORIGIN")}
    module = thing(needed=("libhelper.so",), runpath="$ORIGIN")
    words = told(module, thing(rpath="$ORIGIN/../lib"), more=dict(helper))
    assert words.startswith("`libhelper.so` needs `libpython3.13.so.1.0`.")
    assert "Its DT_RUNPATH leads to /site: not there." in words


def test_an_rpath_of_its_own_is_told_before_the_interpreters() -> None:
    words = told(thing(needed=(LIBPYTHON,), rpath="/build/lib"), thing())
    assert "Its own DT_RPATH leads to /build/lib: not there." in words
    assert (
        "The interpreter's DT_RPATH would be next, but this interpreter (20250517) has none."
        in words
    )


def test_another_libpython_in_the_process_is_told_to_be_another() -> None:
    shared = thing(needed=("$ORIGIN/../lib/" + LIBPYTHON,))
    words = told(thing(needed=("libpython3.so",)), shared)
    assert words.startswith(
        "`_mscl.so` needs `libpython3.so`, and what this interpreter (20250517) has loaded is "
        "`libpython3.13.so.1.0`."
    )


def test_what_was_found_is_told_where() -> None:
    words = told(thing(needed=(LIBPYTHON,)), thing(rpath="$ORIGIN/../lib"))
    assert words.endswith(
        "The DT_RPATH of the interpreter (20250517) leads to /opt/python/bin/../lib: there it is."
    )
    system = {f"/lib/{LIBPYTHON}": thing()}
    words = told(thing(needed=(LIBPYTHON,)), thing(), more=dict(system))
    assert words.endswith("It is the system's, /lib/libpython3.13.so.1.0.")


def test_library_path_is_told_where_it_leads() -> None:
    words = told(thing(needed=(LIBPYTHON,)), thing(), library_path="/somewhere")
    assert "LD_LIBRARY_PATH leads to /somewhere: not there." in words


def test_a_name_with_a_slash_is_told_to_be_a_path() -> None:
    words = told(thing(needed=("/build/libx.so",)), thing())
    assert words == (
        "`_mscl.so` needs `/build/libx.so`. That is a path, so it is not searched for. "
        "There is no such file."
    )


def test_a_damaged_file_is_told_with_the_loaders_words() -> None:
    broken = {"/lib/libx.so": Unloadable(problem="invalid ELF header")}
    words = told(thing(needed=("libx.so",)), thing(), more=dict(broken))
    assert words.endswith("/lib/libx.so is there but cannot be loaded: invalid ELF header.")


def test_a_system_that_stands_for_others_is_told_in_its_own_words() -> None:
    words = told(thing(needed=(LIBPYTHON,)), thing(), system="No system has to have it")
    assert words.endswith("LD_LIBRARY_PATH is unset. No system has to have it.")
    assert words.count("No system") == 1


def test_musls_order_is_told_as_musl_has_it() -> None:
    words = told(thing(needed=("libx.so",), runpath="/a"), thing(runpath="/b"), loader=Musl())
    assert words == (
        "`_mscl.so` needs `libx.so`. LD_LIBRARY_PATH is unset. Its own DT_RUNPATH leads to /a: "
        "not there. The DT_RUNPATH of the interpreter (20250517) leads to /b: not there. "
        "It is not in /lib/x86_64-linux-gnu or /lib."
    )


def test_a_module_that_is_not_there_is_told_to_be_opened() -> None:
    setting = why.Setting(files=Files(), program=PROGRAM)
    search = Search(name="/site/_x.so", needed_by=PROGRAM, looks=(Look(step=Step.PATH),))
    assert why.account(search, setting).startswith("The interpreter opens `_x.so`.")


paths = st.sampled_from([None, "", "/a", "$ORIGIN", "$ORIGIN/../lib:/b"])


@pytest.mark.parametrize("loader", [Glibc(), Musl()])
@given(data=st.data())
def test_every_search_has_an_account_that_names_what_was_needed(
    loader: Loader, data: st.DataObject
) -> None:
    """Whatever the search paths: no account fails, is empty, or lets a directory go unnamed."""
    module = thing(
        needed=(data.draw(st.sampled_from([LIBPYTHON, "libx.so", "/x/liby.so"])),),
        rpath=data.draw(paths),
        runpath=data.draw(paths),
    )
    program = thing(rpath=data.draw(paths), runpath=data.draw(paths))
    words = told(
        module, program, loader=loader, library_path=data.draw(st.sampled_from(["", "/q"]))
    )
    assert module.needed[0] in words
    assert ".." not in words.replace("/..", "")
    assert words.endswith(".")


def test_an_empty_part_of_a_search_path_is_told_to_be_the_working_directory() -> None:
    said = told(thing(needed=(LIBPYTHON,), runpath=":/opt"), thing())
    assert "Its DT_RUNPATH leads to the working directory and /opt: not there." in said
