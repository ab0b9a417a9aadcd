"""The hostile modules, and what is to become of each."""

from __future__ import annotations

from harness.outcome import Reason
from tests.faults.samples.laboratory import BROKEN, GOOD, KEEPS
from tests.faults.samples.trials import Expected

ACTS = (
    Expected(
        module="tries_network",
        reasons=(Reason.IMPORT_ERROR,),
        acts=True,
        # In a network of its container's own, in which there is nobody else.
        allowed=("a port below 1024 of lo",),
        # Refused from Docker 23.0 on: https://github.com/moby/moby/pull/44562
        up_to_engine=("sockets of the hypervisor (AF_VSOCK)",),
    ),
    Expected(module="tries_first_process", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(module="tries_engine", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(module="tries_devices", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(
        module="tries_kernel",
        reasons=(Reason.IMPORT_ERROR,),
        acts=True,
        # Refused from Docker 25.0 on: https://github.com/moby/moby/pull/46762
        up_to_engine=("io_uring",),
    ),
    Expected(module="tries_privileges", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(module="tries_to_change_the_next", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(
        module="tries_others",
        reasons=(Reason.IMPORT_ERROR,),
        acts=True,
        meanwhile=(KEEPS,),
        # Wheels have no secrets from each other; and what a sample lets all read, all may read.
        allowed=("unpacked: read", "/tmp: read what all may read"),
    ),
    Expected(
        module="looks_at_host",
        reasons=(Reason.IMPORT_ERROR,),
        acts=True,
        # Words and figures only, none of which opens anything.
        allowed=(
            *("paths of mounts, as text", "paths of layers, as text", "the kernel's version"),
            *("the kernel's command line", "the memory that the host has"),
            "the command of the first process",
        ),
    ),
    Expected(module="fills_the_disk", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(module="makes_a_huge_file", reasons=(Reason.IMPORT_ERROR,), acts=True),
    Expected(module="opens_many_files", reasons=(Reason.IMPORT_ERROR,), acts=True),
)
"""Modules that try what they may not, and tell what came of it."""

ENDS = (
    Expected(module="loops_ignoring_signals", reasons=(Reason.TIMEOUT,), limit=3),
    Expected(module="sleeps_blocking_signals", reasons=(Reason.TIMEOUT,), limit=3),
    Expected(module="loops_when_loaded", reasons=(Reason.TIMEOUT,), limit=3),
    Expected(module="stops_itself", reasons=(Reason.TIMEOUT,), limit=3),
    Expected(module="segfaults", reasons=(Reason.CRASH,), text="SIGSEGV"),
    Expected(module="aborts", reasons=(Reason.CRASH,), text="SIGABRT"),
    Expected(module="exits_at_once", reasons=(Reason.CRASH,), text="exit code 0"),
    Expected(module="exits_as_if_killed", reasons=(Reason.CRASH,), text="exit code 137"),
    Expected(module="exits_when_loaded", reasons=(Reason.CRASH,), text="exit code 0"),
    Expected(module="overwrites_the_interpreter", reasons=(Reason.CRASH,), text="SIG"),
    # What is done at exit is no part of an import, and is not waited for.
    Expected(module="exits_at_exit", reasons=(Reason.IMPORTS,)),
    Expected(module="hangs_at_exit", reasons=(Reason.IMPORTS,)),
    Expected(module="threads_never_end", reasons=(Reason.IMPORTS,)),
    Expected(module="raises_base_exception", reasons=(Reason.IMPORT_ERROR,), text="base"),
    Expected(module="raises_system_exit", reasons=(Reason.IMPORT_ERROR,), text="0"),
    Expected(module="raises_keyboard_interrupt", reasons=(Reason.IMPORT_ERROR,), text="interrupt"),
    Expected(module="raises_generator_exit", reasons=(Reason.IMPORT_ERROR,), text="generator"),
    Expected(module="raises_without_text", reasons=(Reason.CRASH,), text="exit code 0"),
    Expected(module="long_message", reasons=(Reason.IMPORT_ERROR,)),
    # Its name alone is more than a report may have: what is cut short is no report.
    Expected(module="long_exception_name", reasons=(Reason.CRASH,)),
    Expected(module="no_utf8", reasons=(Reason.IMPORT_ERROR,), text="\\udcff"),
    Expected(module="recursion", reasons=(Reason.IMPORT_ERROR,), text="recursion"),
    Expected(module="recursion_in_c", reasons=(Reason.IMPORT_ERROR, Reason.CRASH)),
    Expected(module="replaces_modules", reasons=(Reason.CRASH,)),
    Expected(module="replaces_the_end", reasons=(Reason.TIMEOUT, Reason.CRASH), limit=3),
    Expected(module="closes_descriptors", reasons=(Reason.CRASH,)),
    Expected(module="changes_its_limits", reasons=(Reason.IMPORT_ERROR,), text="raised: []"),
    Expected(module="deletes_site_packages", reasons=(Reason.IMPORT_ERROR,), text='"deleted": []'),
)
"""Modules that end their process, or do not, or go wrong in some other way."""

FORGERIES = (
    Expected(module="forges_on_stdout", reasons=(Reason.IMPORT_ERROR,), text="really"),
    Expected(module="forges_on_every_descriptor", reasons=(Reason.IMPORT_ERROR,), text="really"),
    # It decides by itself whether it imports, and so may as well say so. Of nobody else.
    Expected(module="forges_with_the_nonce", reasons=(Reason.IMPORTS,)),
    # A probe says nothing twice, and all that it has to say.
    Expected(module="reports_twice", reasons=(Reason.CRASH,)),
    Expected(module="forges_the_start", reasons=(Reason.CRASH,)),
    Expected(module="reports_nonsense", reasons=(Reason.CRASH,)),
    Expected(module="reports_nonsense_first", reasons=(Reason.CRASH,)),
    Expected(module="reports_deep_nonsense", reasons=(Reason.CRASH, Reason.IMPORT_ERROR)),
    Expected(module="reports_no_figures", reasons=(Reason.CRASH, Reason.IMPORT_ERROR)),
    Expected(module="reports_as_a_check", reasons=(Reason.CRASH,)),
    Expected(module="reports_not_applicable", reasons=(Reason.CRASH,)),
    # Two processes with one report each: whether the second one is heard is a matter of luck.
    Expected(module="forks", reasons=(Reason.CRASH, Reason.IMPORTS)),
    Expected(
        module="forges_for_its_neighbours",
        reasons=(Reason.IMPORT_ERROR,),
        text="really; opened 0 descriptors",
        meanwhile=(BROKEN,),
    ),
)
"""Modules that report something themselves."""

HOGS = (
    Expected(module="floods_stdout", reasons=(Reason.IMPORT_ERROR, Reason.TIMEOUT), limit=15),
    Expected(module="floods_stderr", reasons=(Reason.IMPORT_ERROR, Reason.TIMEOUT), limit=15),
    Expected(module="floods_the_report", reasons=(Reason.CRASH, Reason.TIMEOUT), limit=15),
    Expected(module="floods_after_its_end", reasons=(Reason.CRASH,), text="exit code 0", limit=10),
    Expected(module="eats_memory", reasons=(Reason.OUT_OF_MEMORY,)),
    Expected(
        module="eats_memory_in_children",
        reasons=(Reason.IMPORT_ERROR, Reason.OUT_OF_MEMORY),
        meanwhile=(GOOD,),
    ),
    Expected(module="fork_bomb", reasons=(Reason.TIMEOUT,), limit=4, meanwhile=(GOOD,)),
    Expected(module="thread_bomb", reasons=(Reason.IMPORT_ERROR,), text="no more threads"),
    Expected(module="makes_many_files", reasons=(Reason.IMPORT_ERROR,), text="made files"),
    Expected(module="makes_deep_directories", reasons=(Reason.IMPORT_ERROR,), text="made"),
)
"""Modules that take more than there is for them."""

TRACES = (
    Expected(module="leaves_traces", reasons=(Reason.IMPORT_ERROR, Reason.IMPORTS, Reason.CRASH)),
    Expected(module="leaves_shared_memory", reasons=(Reason.IMPORTS,)),
    Expected(module="files_flicker", reasons=(Reason.IMPORT_ERROR,), text="flicker"),
    Expected(module="daemon_escapes", reasons=(Reason.IMPORTS,)),
    Expected(
        module="kills_everybody",
        reasons=(Reason.IMPORT_ERROR,),
        text='"killed": []',
        meanwhile=(GOOD, BROKEN),
    ),
    # They may well kill the one that has started them.
    Expected(module="kills_who_cleans", reasons=(Reason.IMPORT_ERROR, Reason.CRASH)),
)
"""Modules that leave something behind, or after others."""

FRESH = (
    Expected(module="loops_ignoring_signals", reasons=(Reason.TIMEOUT,), limit=3, fresh=True),
    Expected(module="exits_at_once", reasons=(Reason.CRASH,), text="exit code 0", fresh=True),
    Expected(module="forges_on_every_descriptor", reasons=(Reason.IMPORT_ERROR,), fresh=True),
    Expected(module="floods_after_its_end", reasons=(Reason.CRASH,), fresh=True),
    Expected(module="daemon_escapes", reasons=(Reason.IMPORTS,), fresh=True),
    Expected(
        module="replaces_the_end", reasons=(Reason.TIMEOUT, Reason.CRASH), limit=3, fresh=True
    ),
)
"""The same, asked as what comes unexpected is asked again."""

ALL = (*ACTS, *ENDS, *FORGERIES, *HOGS, *TRACES, *FRESH)

IN_ONE_CONTAINER = (
    *("segfaults", "exits_at_once", "leaves_traces", "daemon_escapes", "kills_who_cleans"),
    *("closes_descriptors", "replaces_modules", "makes_deep_directories", "long_message"),
    *("loops_when_loaded", "floods_after_its_end", "files_flicker", "eats_memory"),
)
"""One after another in the same container, each followed by a harmless one."""
