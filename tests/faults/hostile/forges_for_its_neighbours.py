"""Looks in its memory for others' nonces, reports for all to whatever it can open, and fails."""

import gc
import json
import os
import time

nonces: set[str] = set()
opened = 0
end = time.monotonic() + 3
while time.monotonic() < end:
    for thing in gc.get_objects():
        if type(thing) is dict and isinstance(thing.get("nonce"), str):
            nonces.add(thing["nonce"])
    report = {
        "event": "finished",
        "seconds": 0.0001,
        "mapped_libpythons": [],
        "modules": {},
        "outcome": "imported",
        "bindings": {"home": "forged", "counts": {}, "copies": {}},
    }
    lines = [json.dumps({**report, "nonce": nonce}) for nonce in nonces]
    said = ("\n" + "\n".join(lines) + "\n").encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            descriptors = os.listdir(f"/proc/{name}/fd")
        except OSError:
            descriptors = [str(number) for number in range(20)]
        for number in descriptors:
            try:
                descriptor = os.open(f"/proc/{name}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
                opened += 1
                os.write(descriptor, said)
                os.close(descriptor)
            except OSError:
                continue
    time.sleep(0.2)
raise ImportError(f"really; opened {opened} descriptors of others, knew {len(nonces)} nonces")
