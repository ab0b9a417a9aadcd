"""Lowers all its limits to nothing, and its priority, and tries to raise them again."""

import os
import resource

got = []
os.nice(19)
for name in dir(resource):
    if name.startswith("RLIMIT_"):
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            try:
                resource.setrlimit(which, (hard + 1, hard + 1))
                got.append(name)
            except (OSError, ValueError):
                pass
for which in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
    resource.setrlimit(which, (0, 0))
raise ImportError(f"raised: {got}")
