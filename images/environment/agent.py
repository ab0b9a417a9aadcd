"""Answer questions, each in a process of its own that is a child of this one.

The first process of a container, with the interpreter under test:

    python -I -B -c 'START' IDLE LASTING [USER]

where START imports this file, so that its bytecode is used, and calls ``main``.

Requests come as lines of JSON on standard input, answers go as lines of JSON to standard output,
in the order in which they are had. A request is

    {"id": 1, "limit": 60, "fresh": false, "variables": {}, "ask": {…}}

with what ``probe.py`` is asked; its answer

    {"id": 1, "exit_code": 0, "signal": null, "seconds": 0.1, "timed_out": false,
     "oom_killed": false, "reports": "…", "errors": "…"}

has what the probe reported, and what the sample printed; or, where no child could be had for it,
``{"id": 1, "unasked": "…"}`` says why. The child is forked: it has a started
interpreter at once, in which nothing has been imported but what every probe imports. Where the
question is to be asked in a ``fresh`` interpreter, or with other environment ``variables``, which
the loader reads when a program starts, the child becomes one. ``limit`` is in seconds.

As root, with the privilege to change its user and no other: each child gets a user of its own,
from USER on. So nothing that a sample does reaches this process, or another child, and what it
leaves running is found and ended.

It ends, and the container with it, at the end of its input, which is that of whoever asks; when
nothing else has run for IDLE seconds; and after LASTING seconds whatever runs.
"""

import json
import os
import select
import signal
import sys
import time

import probe

MAX_OUTPUT = 1 << 20
"""Bytes that are kept of what a child reports, and of what it prints."""

MOST_LEFT = 32
"""Reads that empty any pipe: each of 64 KiB, and no pipe holds more than a MiB."""

USERS = 200
"""How many users the image has for children, one after the other."""

OURS = ("agent", "probe", "select", "signal")
"""Modules that a child does not find loaded, as it would not in a fresh interpreter."""

PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
"""Where anybody may leave something."""

SHARED = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")

MANY = 20
"""Processes of a sample that has ended: more than that are a bomb, of which no end is in sight."""

TICK = 5
"""Seconds between two looks at whether anything is left to do."""

MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def oom_kills():
    """How many processes of this container the kernel has killed for want of memory."""
    for path in MEMORY_EVENTS:
        try:
            with open(path) as stream:
                for line in stream:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except OSError:
            continue
    return 0


def processes(user=None):
    """Ids of the processes of a user, or of all; not of those that have ended."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # Not by whom its folder belongs to: that is root where a process has changed its user.
            with open("/proc/" + name + "/status", errors="replace") as stream:
                status = dict(line.split(":", 1) for line in stream if ":" in line)
        except OSError:  # it has ended
            continue
        owner = int(status["Uid"].split()[0])
        if not status["State"].strip().startswith("Z") and user in (None, owner):
            found.append(int(name))
    return found


class Child:
    """A process that answers a question, and what it has said so far."""

    def __init__(self, request, user):
        self.request = request
        self.user = user
        self.killed_by_us = False
        self.kills_before = oom_kills()
        self.reports, reporting = os.pipe()
        self.errors, printing = os.pipe()
        self.said = {self.reports: bytearray(), self.errors: bytearray()}
        self.start = time.monotonic()
        self.deadline = self.start + request["limit"]
        try:
            self.pid = os.fork()
        except OSError:
            for descriptor in (self.reports, reporting, self.errors, printing):
                os.close(descriptor)
            raise
        if self.pid == 0:
            try:
                become(request, user, reporting, printing)
            except BaseException as error:
                os.write(2, f"the probe did not start: {error!r}".encode())
            os._exit(127)
        os.close(reporting)
        os.close(printing)

    def read(self, descriptor):
        """Take what is there; False at the end."""
        data = os.read(descriptor, 1 << 16)
        kept = self.said[descriptor]
        kept += data
        if descriptor == self.errors:
            del kept[:-MAX_OUTPUT]  # its end, where a dying process says why
        else:
            del kept[MAX_OUTPUT:]
        return bool(data)

    def kill(self):
        """End it, for it has had its time."""
        self.killed_by_us = True
        end(self.pid)

    def answer(self, status):
        """What there is to say of it after its end."""
        seconds = time.monotonic() - self.start
        for descriptor in self.said:
            os.set_blocking(descriptor, False)
            try:
                # What it has left in the pipe, and no more: what it has started may write for ever.
                for _ in range(MOST_LEFT):
                    if not self.read(descriptor):
                        break
            except BlockingIOError:  # something that it has started still has the other end
                pass
            os.close(descriptor)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        by_kernel = number == signal.SIGKILL and not self.killed_by_us
        return {
            "id": self.request["id"],
            "exit_code": os.WEXITSTATUS(status) if number is None else 128 + number,
            "signal": number,
            "seconds": round(seconds, 4),
            "timed_out": self.killed_by_us,
            "oom_killed": by_kernel and oom_kills() > self.kills_before,
            "reports": self.said[self.reports].decode("utf-8", "replace"),
            "errors": self.said[self.errors].decode("utf-8", "replace"),
        }


def become(request, user, reporting, printing):
    """In a child that was just forked: have nothing of the agent's, and answer the question."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    if user is not None:
        os.nice(19)  # the agent has to have a turn, however many processes a sample starts
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")  # rather this one than the agent
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    nothing = os.open(os.devnull, os.O_RDONLY)
    # Above the three standard ones, whichever numbers they have now.
    kept = [os.dup(descriptor) for descriptor in (reporting, memory)]
    for descriptor, standard in ((nothing, 0), (printing, 1), (printing, 2)):
        os.dup2(descriptor, standard)
    reporting, memory = kept
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:  # that of the listing itself
                continue
    variables = dict(request["variables"])
    ask = request["ask"]
    if ask["remedy"] == "ld-library-path":
        variables["LD_LIBRARY_PATH"] = probe.library_folder()
    ask["given"] = sorted(variables)
    if request["fresh"] or variables:
        os.set_inheritable(reporting, True)
        command = [sys.executable, "-I", "-B", probe.__file__, json.dumps(ask), str(reporting)]
        os.execve(sys.executable, command, {**os.environ, **variables})
    for name in OURS:
        sys.modules.pop(name, None)
    probe.answer(ask, reporting, memory)


def unasked(request, error):
    """The answer where no child could be had for a question."""
    return {"id": request["id"], "unasked": str(error)}


def end(pid):
    """Kill a process, which may have ended, and need not be there any more."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


class Agent:
    """The loop: requests in, children out, answers out."""

    def __init__(self, idle, lasting, first_user):
        self.idle = idle
        self.first_user = first_user
        self.next_user = 0
        self.children = {}
        self.pending = b""
        self.busy_at = time.monotonic()
        self.deadline = self.busy_at + lasting
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)
        # A child's end is told through this pipe, since others may keep its output open.
        self.ended, telling = os.pipe()
        os.set_blocking(self.ended, False)
        os.set_blocking(telling, False)
        self.poll.register(self.ended, select.POLLIN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(telling, warn_on_full_buffer=False)

    def run(self):
        """Until there is nobody to ask, or nothing has been asked for long enough."""
        while True:
            now = time.monotonic()
            deadlines = [child.deadline for child in self.children.values()]
            wait = max(0, min([now + TICK, *deadlines]) - now)
            for descriptor, _ in self.poll.poll(1000 * wait + 1):
                if descriptor == 0:
                    if not self.receive():
                        return
                elif descriptor == self.ended:
                    os.read(self.ended, 4096)
                else:
                    self.listen(descriptor)
            self.reap()
            now = time.monotonic()
            for child in self.children.values():
                if now >= child.deadline and not child.killed_by_us:
                    child.kill()
            if self.children:
                self.busy_at = now
            elif now - self.busy_at >= self.idle:
                if len(processes()) > 1:  # somebody's shell, say
                    self.busy_at = now
                else:
                    return
            if now >= self.deadline:
                return

    def receive(self):
        """Take requests, and start on them; False at the end of the input."""
        data = os.read(0, 1 << 16)
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                child = Child(request, self.user())
            except OSError as error:  # a sample has as many processes as there may be
                send(unasked(request, error))
                continue
            self.children[child.pid] = child
            for descriptor in child.said:
                self.poll.register(descriptor, select.POLLIN)
        return bool(data)

    def user(self):
        """A user that nothing of this container runs as; None where this one has to do."""
        if self.first_user is None:
            return None
        for _ in range(USERS):
            user = self.first_user + self.next_user
            self.next_user = (self.next_user + 1) % USERS
            if not any(child.user == user for child in self.children.values()):
                return user
        raise RuntimeError("more questions at once than users")

    def listen(self, descriptor):
        """Take what a child says."""
        for child in self.children.values():
            if descriptor in child.said and not child.read(descriptor):
                self.poll.unregister(descriptor)

    def reap(self):
        """Answer for children that have ended; others' orphans end here too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue
            for descriptor in child.said:
                try:
                    self.poll.unregister(descriptor)
                except KeyError:
                    pass
            send(child.answer(status))
            if child.user is not None:
                clean(child.user)


def left_by(user):
    """Paths of what a user has left where anybody may leave something."""
    found = []
    for place in PLACES:
        try:
            for entry in os.scandir(place):
                try:
                    if entry.stat(follow_symlinks=False).st_uid == user:
                        found.append(entry.path)
                except OSError:  # it has just gone
                    continue
        except OSError:  # there is no such place
            continue
    return found


def shares(user):
    """Whether a user has made System V segments, semaphores or queues, which no file shows."""
    for path in SHARED:
        try:
            with open(path) as stream:
                columns = next(stream).split()
                maker = columns.index("cuid")
                if any(line.split()[maker] == str(user) for line in stream):
                    return True
        except OSError:  # a kernel without them
            continue
    return False


def clean(user):
    """End what a sample has left running, and remove what it has left lying about.

    As that user: the agent may not, and nobody else's things can be meant by mistake. Where it
    does not come to an end, or there is no end in sight, the agent does, and with it everything in
    the container.
    """
    for attempt in range(10):
        running = processes(user)
        if not running and not left_by(user):
            if shares(user):
                break
            return
        if len(running) > MANY:
            break
        try:
            pid = os.fork()
        except OSError:  # there are as many processes as there may be
            break
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                try:
                    os.kill(-1, signal.SIGKILL)  # all of this user's, this one not included
                except OSError:  # there is none
                    pass
                for path in left_by(user):
                    remove(path)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.001 * 2**attempt - 0.001)  # what was killed may take a moment to be gone
    os._exit(1)


def remove(path):
    """Remove a file or a folder, as far as it can be, however deep it is."""
    place = os.path.dirname(path)
    left, moved = [path], 0
    while left:
        path = left.pop()
        try:
            if not os.path.isdir(path) or os.path.islink(path):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            for name in os.listdir(path):
                inside = os.path.join(path, name)
                if not os.path.isdir(inside) or os.path.islink(inside):
                    os.unlink(inside)
                    continue
                # Up to the top: no path is too long there, and nothing has to recurse.
                os.chmod(inside, 0o700)
                moved += 1
                above = os.path.join(place, f".{os.getpid()}-{moved}")
                os.rename(inside, above)
                left.append(above)
            os.rmdir(path)
        except OSError:
            continue


def send(message):
    """Write one line, whole."""
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def main():
    """Take requests until there is nobody to ask."""
    idle, lasting, *user = (int(text) for text in sys.argv[1:])
    send({"ready": True})
    Agent(idle, lasting, *user or [None]).run()
    # Whatever still runs ends with the container.
    os._exit(0)
