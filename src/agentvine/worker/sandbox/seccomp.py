"""The system calls that what runs inside may make, as a classic BPF program for seccomp(2), made without a library.

A deny-list: a general filter must let compilers, browsers and databases of any repository work. It closes what the
namespaces leave open (keyrings, io_uring, userfaultfd, AF_VSOCK, bpf, the 32-bit entry points) and what would widen
the kernel's surface (new namespaces, mounts, raw sockets). A call newer than this list is answered ENOSYS, so that
programs fall back. Numbers are those of the kernel's own tables (asm/unistd_64.h, asm-generic/unistd.h).
"""

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, jump if true, jump if false, k (linux/filter.h)."""
Block = list[Instruction]

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

ALLOW = 0x7FFF0000
KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERRNO = 0x00050000

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data (linux/seccomp.h)
_X32 = 0x40000000

_NEW_NAMESPACE = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} (linux/sched.h)
_NEW_TIME = 0x80  # CLONE_NEWTIME: in clone(2) these bits are the exit signal, in unshare(2) the flag
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX (asm-generic/ioctls.h)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_MASK = 1, 2, 0xF
_PROTOCOLS = (0, 6, 17)  # any, TCP, UDP
_NETLINK_ROUTE = 0
_PLAIN_LINUX = (0, 0xFFFFFFFF)  # set to the default, ask


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between the processors."""

    audit: int
    """AUDIT_ARCH_* (linux/audit.h)."""
    numbers: Mapping[str, int]
    """The calls that are treated specially, by name; a call that the processor does not have is absent."""
    x32: bool = False
    """True where a second ABI shares the numbers and has to be shut."""


_NEWEST = 469  # file_setattr, Linux 6.17; new calls have the same number everywhere
_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "lsm_set_self_attr": 460,
    "open_tree_attr": 467,
}
_X86_64 = {
    "ioctl": 16, "socket": 41, "socketpair": 53, "clone": 56, "ptrace": 101, "syslog": 103, "uselib": 134,
    "personality": 135, "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155,
    "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
    "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178,
    "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272, "move_pages": 279,
    "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "lookup_dcookie": 18, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51,
    "vhangup": 58, "quotactl": 60, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
    "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161,
    "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "socket": 198, "socketpair": 199, "add_key": 217,
    "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225, "migrate_pages": 238,
    "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
    "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "x86_64": Architecture(0xC000003E, MappingProxyType({**_X86_64, **_EVERYWHERE}), x32=True),
        "aarch64": Architecture(0xC00000B7, MappingProxyType({**_AARCH64, **_EVERYWHERE})),
    }
)
"""By the name that uname(2) gives the machine."""

_ABSENT = frozenset({"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"})
"""Answered ENOSYS: clone3 because its flags lie in memory that a filter cannot see, the C library then takes clone."""
_JUDGED = frozenset({"clone", "unshare", "ioctl", "socket", "socketpair", "personality"})
"""Allowed or refused by their arguments."""


def filter_program(machine: str) -> bytes:
    """The program for `machine`, as an array of struct sock_filter in the machine's own byte order.

    Raises ValueError for a machine whose calls are not listed.
    """
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise ValueError(f"no system call filter for {machine}; there is one for {', '.join(ARCHITECTURES)}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(architecture))


def _program(architecture: Architecture) -> Block:
    numbers = architecture.numbers
    block = [_load(_ARCHITECTURE), *_unless_equal([architecture.audit], _answer(KILL)), _load(_NUMBER)]
    if architecture.x32:
        block += _if_any_bit(_X32, _answer(KILL))
    block += [(_IF_GREATER, 0, 1, _NEWEST), *_refuse(errno.ENOSYS)]
    for name in sorted(_ABSENT):
        block += _if_equal(numbers[name], _refuse(errno.ENOSYS))
    for name, number in sorted(numbers.items()):
        if name not in _ABSENT | _JUDGED:
            block += _if_equal(number, _refuse(errno.EPERM))
    for name, judgement in _judgements().items():
        block += _if_equal(numbers[name], judgement)
    return [*block, *_answer(ALLOW)]


def _judgements() -> dict[str, Block]:
    namespaces = _if_any_bit(_NEW_NAMESPACE, _refuse(errno.EPERM))
    injection = [instruction for code in _TERMINAL_INJECTION for instruction in _if_equal(code, _refuse(errno.EPERM))]
    internet = [
        *_argument(1),
        (_AND, 0, 0, _TYPE_MASK),
        *_unless_equal([_STREAM, _DATAGRAM], _refuse(errno.EPERM)),
        *_argument(2),
        *_unless_equal(_PROTOCOLS, _refuse(errno.EPERM)),
        *_answer(ALLOW),
    ]
    netlink = [*_argument(2), *_unless_equal([_NETLINK_ROUTE], _refuse(errno.EAFNOSUPPORT)), *_answer(ALLOW)]
    families = [
        *_if_equal(_UNIX, _answer(ALLOW)),
        *_if_equal(_INET, internet),
        *_if_equal(_INET6, internet),
        *_if_equal(_NETLINK, netlink),
        *_refuse(errno.EAFNOSUPPORT),
    ]
    return {
        "clone": [*_argument(0), *namespaces, *_answer(ALLOW)],
        "unshare": [*_argument(0), *namespaces, *_if_any_bit(_NEW_TIME, _refuse(errno.EPERM)), *_answer(ALLOW)],
        "ioctl": [*_argument(1), *injection, *_answer(ALLOW)],
        "socket": [*_argument(0), *families],
        "socketpair": [*_argument(0), *_unless_equal([_UNIX], _refuse(errno.EAFNOSUPPORT)), *_answer(ALLOW)],
        "personality": [*_argument(0), *_unless_equal(_PLAIN_LINUX, _refuse(errno.EPERM)), *_answer(ALLOW)],
    }


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _argument(index: int) -> Block:
    """Load the low half of an argument: all of those judged here are 32 bits wide to the kernel.

    Both processors are little-endian.
    """
    return [_load(_ARGUMENTS + 8 * index)]


def _answer(value: int) -> Block:
    return [(_RETURN, 0, 0, value)]


def _refuse(number: int) -> Block:
    return _answer(_ERRNO | number)


def _if_equal(value: int, then: Block) -> Block:
    return [(_IF_EQUAL, 0, len(then), value), *then]


def _unless_equal(values: list[int] | tuple[int, ...], then: Block) -> Block:
    """Run `then` if the loaded value is none of `values`."""
    remaining = range(len(values) - 1, -1, -1)
    tests = [(_IF_EQUAL, left + len(then), 0, value) for value, left in zip(values, remaining, strict=True)]
    return [*tests, *then]


def _if_any_bit(bits: int, then: Block) -> Block:
    return [(_IF_ANY_BIT, 0, len(then), bits), *then]
