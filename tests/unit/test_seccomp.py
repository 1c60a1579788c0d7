"""The system call filter, run through a small interpreter of classic BPF: what it says of each call."""

import errno
import struct

import pytest

from agentvine.worker.sandbox.seccomp import ALLOW, ARCHITECTURES, KILL, filter_program

MACHINES = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
PLAIN = {"x86_64": {"read": 0, "openat": 257, "execve": 59}, "aarch64": {"read": 63, "openat": 56, "execve": 221}}
STREAM, DATAGRAM, RAW, SEQPACKET, CLOEXEC = 1, 2, 3, 5, 0o2000000
TIOCSTI, TIOCGWINSZ = 0x5412, 0x5413


def refused(number: int) -> int:
    return 0x00050000 | number


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter returns for a call. Only the instructions that the filter uses are known here."""
    program = list(struct.iter_unpack("=HBBI", filter_program(machine)))
    arch = ARCHITECTURES[machine].audit if audit is None else audit
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *(value & 0xFFFFFFFFFFFFFFFF for value in padded))
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        match code:
            case 0x20:
                accumulator = int(struct.unpack_from("=I", data, k)[0])
            case 0x54:
                accumulator &= k
            case 0x15:
                at += jump_true if accumulator == k else jump_false
            case 0x25:
                at += jump_true if accumulator > k else jump_false
            case 0x45:
                at += jump_true if accumulator & k else jump_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@MACHINES
def test_it_is_small_enough_and_jumps_only_forwards_to_its_own_end(machine: str) -> None:
    program = list(struct.iter_unpack("=HBBI", filter_program(machine)))
    assert len(program) < 4096  # BPF_MAXINSNS
    for at, (code, jump_true, jump_false, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert at + 1 + max(jump_true, jump_false) < len(program)
    assert program[-1] == (0x06, 0, 0, ALLOW)


@MACHINES
def test_ordinary_calls_pass(machine: str) -> None:
    for number in PLAIN[machine].values():
        assert verdict(machine, number, 1, 2, 3) == ALLOW


@MACHINES
def test_every_listed_call_without_a_judgement_is_refused(machine: str) -> None:
    judged = {"clone", "unshare", "ioctl", "socket", "socketpair", "personality"}
    for name, number in ARCHITECTURES[machine].numbers.items():
        if name in judged:
            continue
        expected = errno.ENOSYS if name == "clone3" or name.startswith("io_uring") else errno.EPERM
        assert verdict(machine, number) == refused(expected), name


@MACHINES
def test_calls_that_are_newer_than_the_list_do_not_exist(machine: str) -> None:
    assert verdict(machine, 470) == refused(errno.ENOSYS)


def test_another_architecture_and_the_second_abi_are_killed() -> None:
    i386 = 0x40000003
    assert verdict("x86_64", 11, audit=i386) == KILL
    assert verdict("x86_64", 0x40000000 | 59) == KILL
    assert verdict("aarch64", 11, audit=0x40000028) == KILL


@MACHINES
@pytest.mark.parametrize("flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_new_namespace(machine: str, flag: int) -> None:
    numbers = ARCHITECTURES[machine].numbers
    assert verdict(machine, numbers["clone"], flag | 17) == refused(errno.EPERM)
    assert verdict(machine, numbers["unshare"], flag) == refused(errno.EPERM)


@MACHINES
def test_processes_and_threads_may_be_made(machine: str) -> None:
    numbers = ARCHITECTURES[machine].numbers
    assert verdict(machine, numbers["clone"], 17) == ALLOW  # SIGCHLD
    assert verdict(machine, numbers["clone"], 0x3D0F00) == ALLOW  # as the C library makes a thread
    assert verdict(machine, numbers["clone"], 0x80) == ALLOW  # an exit signal, not CLONE_NEWTIME
    assert verdict(machine, numbers["unshare"], 0x80) == refused(errno.EPERM)
    assert verdict(machine, numbers["unshare"], 0x400) == ALLOW  # CLONE_FILES


@MACHINES
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_typing_into_a_terminal_is_refused_whatever_the_upper_half_says(machine: str, high: int) -> None:
    ioctl = ARCHITECTURES[machine].numbers["ioctl"]
    assert verdict(machine, ioctl, 0, high | TIOCSTI) == refused(errno.EPERM)
    assert verdict(machine, ioctl, 0, high | TIOCGWINSZ) == ALLOW


@MACHINES
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (1, STREAM, 0, ALLOW),
        (1, SEQPACKET | CLOEXEC, 0, ALLOW),
        (2, STREAM | CLOEXEC, 6, ALLOW),
        (2, DATAGRAM, 17, ALLOW),
        (10, STREAM, 0, ALLOW),
        (2, RAW, 1, refused(errno.EPERM)),
        (2, RAW | CLOEXEC, 0, refused(errno.EPERM)),
        (10, RAW, 58, refused(errno.EPERM)),
        (2, STREAM, 132, refused(errno.EPERM)),  # SCTP
        (2, DATAGRAM, 1, refused(errno.EPERM)),  # ICMP
        (16, RAW, 0, ALLOW),  # NETLINK_ROUTE, by which programs ask for their addresses
        (16, RAW, 4, refused(errno.EAFNOSUPPORT)),  # NETLINK_SOCK_DIAG
        (16, DATAGRAM, 16, refused(errno.EAFNOSUPPORT)),  # NETLINK_GENERIC
        (17, RAW, 0, refused(errno.EAFNOSUPPORT)),  # AF_PACKET
        (38, SEQPACKET, 0, refused(errno.EAFNOSUPPORT)),  # AF_ALG
        (40, STREAM, 0, refused(errno.EAFNOSUPPORT)),  # AF_VSOCK
        (44, RAW, 0, refused(errno.EAFNOSUPPORT)),  # AF_XDP
    ],
)
def test_only_sockets_of_allowed_kinds_are_opened(
    machine: str, family: int, kind: int, protocol: int, expected: int
) -> None:
    assert verdict(machine, ARCHITECTURES[machine].numbers["socket"], family, kind, protocol) == expected


@MACHINES
def test_socket_pairs_and_personalities(machine: str) -> None:
    numbers = ARCHITECTURES[machine].numbers
    assert verdict(machine, numbers["socketpair"], 1, STREAM, 0) == ALLOW
    assert verdict(machine, numbers["socketpair"], 2, STREAM, 0) == refused(errno.EAFNOSUPPORT)
    assert verdict(machine, numbers["personality"], 0xFFFFFFFF) == ALLOW
    assert verdict(machine, numbers["personality"], 0x0040000) == refused(errno.EPERM)  # ADDR_NO_RANDOMIZE


def test_a_machine_without_a_list_has_no_filter() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        filter_program("riscv64")
