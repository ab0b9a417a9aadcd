"""Tries to reach anything: over TCP, UDP, raw packets; cloud metadata; by new interfaces."""

import ctypes
import fcntl
import os
import socket
from functools import partial

from acts import attempt, read, seen, tell, write


def tcp(address: tuple[str, int], family: socket.AddressFamily = socket.AF_INET) -> str:
    with socket.socket(family) as trial:
        trial.settimeout(3)
        trial.connect(address)
        return "a connection"


def udp(address: tuple[str, int]) -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as trial:
        return trial.sendto(b"\0" * 12, address)


def opened(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol):
        return "a socket"


def tunnel() -> str:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, ctypes.create_string_buffer(b"tun0", 40))
    return "an interface"


def up() -> str:
    """Raise an interface's flags."""
    with socket.socket(type=socket.SOCK_DGRAM) as trial:
        request = b"lo".ljust(16, b"\0") + (0x1 | 0x40 | 0x100).to_bytes(2, "little") + b"\0" * 22
        fcntl.ioctl(trial, 0x8914, request)
    return "an interface in promiscuous mode"


attempt("TCP to 1.1.1.1:443", partial(tcp, ("1.1.1.1", 443)))
attempt("TCP over IPv6", partial(tcp, ("2606:4700:4700::1111", 443), socket.AF_INET6))
attempt("DNS over UDP to 1.1.1.1", partial(udp, ("1.1.1.1", 53)))
attempt("look a host's name up", lambda: socket.gethostbyname("pypi.org") and "an address")
attempt("cloud metadata, 169.254.169.254", partial(tcp, ("169.254.169.254", 80)))
attempt("the engine's bridge, 172.17.0.1", partial(tcp, ("172.17.0.1", 22)))
attempt("broadcast", partial(udp, ("255.255.255.255", 9)))
attempt("raw packets (AF_PACKET)", partial(opened, socket.AF_PACKET, socket.SOCK_RAW, 0x300))
attempt("raw ICMP", partial(opened, socket.AF_INET, socket.SOCK_RAW, 1))
attempt("sockets of the hypervisor (AF_VSOCK)", partial(opened, 40, socket.SOCK_STREAM))
attempt("the kernel's cryptography (AF_ALG)", partial(opened, 38, socket.SOCK_SEQPACKET))
attempt("a tunnel (/dev/net/tun)", tunnel)
attempt("an interface's flags", up)
attempt("forwarding of packets", partial(write, "/proc/sys/net/ipv4/ip_forward", b"1"))
attempt("interfaces other than lo", lambda: seen(sorted({*os.listdir("/sys/class/net")} - {"lo"})))
attempt("a port below 1024 of lo", lambda: socket.create_server(("127.0.0.1", 80)) and "a port")
attempt("routes", lambda: seen(read("/proc/net/route", 1000).splitlines()[1:]))
tell()
