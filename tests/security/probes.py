"""Attempts to get out of a box. Each is the body of a Python function that returns what it got hold of, if anything.

`facts` is what an attacker could know of the host; `call` makes a system call by its name. `bare` marks those that do
no harm and succeed where there is no box: they are tried there too, to notice a probe that could never succeed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent, indent

_FRAME = """
import ctypes, errno, fcntl, glob, json, os, pathlib, resource, signal, socket, stat, struct, subprocess, sys, tempfile
facts = json.loads(%s)
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    number = facts["calls"].get(name, facts["calls"].get(str(name), name))
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"{name} returned {result}"

def dial(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as out:
        out.settimeout(2)
        out.connect(address)
        return f"connected to {address}"

def survives(action):
    # Run in a child, because it may be killed for it. What it says comes back.
    child = subprocess.run([sys.executable, "-c", action], capture_output=True, text=True)
    return child.stdout.strip()

def read(pattern):
    # The content of all files that match; one that goes meanwhile is passed over.
    for path in glob.glob(pattern):
        try:
            with open(path, "rb") as file:
                yield file.read()
        except OSError:
            pass

def secrets():
    # Written backwards in this file, so that looking for them does not find it.
    return [secret[::-1].encode() for secret in facts["backwards"]]

def says(port, text):
    # What somebody on the box's own loopback answers, until it ends or pauses.
    with socket.create_connection(("127.0.0.1", port), 2) as out:
        out.settimeout(3)
        out.sendall(text)
        answer = b""
        try:
            while len(answer) < 65536 and (part := out.recv(65536)):
                answer += part
                out.settimeout(0.05)
        except (TimeoutError, ConnectionError):
            pass
        return answer
"""
_MAIN = """
def made(attempt):
    try:
        got = attempt()
    except OSError as error:
        return f"HELD {type(error).__name__} {error}"
    except Exception as error:  # the probe itself is wrong
        return f"BROKEN {type(error).__name__} {error}"
    return f"{'ESCAPED' if got else 'HELD'} {got}"

def tried(attempt):
    # In a process of its own, in a directory of its own.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.close(read)
        os.close(write)
        os.chdir(tempfile.mkdtemp(dir=os.getcwd(), prefix="place-"))
        signal.alarm(20)
        os.write(1, made(attempt)[:500].encode(errors="replace"))
        os._exit(0)
    os.close(write)
    said = b""
    while part := os.read(read, 65536):
        said += part
    os.close(read)
    _, status = os.waitpid(child, 0)
    return said.decode() or f"{'HELD' if os.WIFSIGNALED(status) else 'BROKEN'} it ended with {status}"

told = {name: tried(attempt) for name, attempt in ATTEMPTS.items()}
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt."""

    name: str
    body: str
    bare: bool = False


def assault(probes: Sequence[Probe], facts: Mapping[str, object], end: str = "print(json.dumps(told))") -> str:
    """A program that makes all attempts, each in a process of its own. `end` says what to do with `told`: by name of
    the attempt what became of it, in words that begin with HELD or ESCAPED."""
    functions = [f"def attempt_{n}():\n{indent(dedent(one.body).strip(), '    ')}\n" for n, one in enumerate(probes)]
    names = ", ".join(f"{one.name!r}: attempt_{n}" for n, one in enumerate(probes))
    frame = _FRAME % repr(json.dumps(facts))
    return "\n".join([frame, *functions, f"ATTEMPTS = {{{names}}}", _MAIN, end, ""])


FILES = [
    Probe("a file of the host", "return open(facts['canary']).read()", bare=True),
    Probe("through a link", "os.symlink(facts['canary'], 'link'); return open('link').read()", bare=True),
    Probe("a sibling's workspace", "return os.listdir(facts['sibling'])", bare=True),
    Probe("what the worker keeps privately", "return os.listdir(facts['private'])", bare=True),
    Probe("the root of the first process", "return open('/proc/1/root' + facts['canary']).read()"),
    Probe("up from the workspace", "return open('../' * 30 + facts['canary'].lstrip('/')).read()", bare=True),
    Probe("the shadow file", "return open('/etc/shadow').read()"),
    Probe(
        "homes",
        "return [one for one in glob.glob('/home/*') if one != '/home/agent'] or glob.glob('/root/.[a-z]*')[1:]",
    ),
    Probe(
        "sockets of services", "return glob.glob('/run/*/*.sock') + glob.glob('/run/*.sock') + glob.glob('/var/run/*')"
    ),
    Probe("the kernel's view of devices", "return os.listdir('/sys')", bare=True),
    Probe(
        "dangerous devices",
        """
        names = ("mem", "kmsg", "port", "kvm", "fuse", "loop-control", "sda", "vda", "nvme0n1", "vsock", "net/tun")
        return [name for name in names if os.path.exists(f"/dev/{name}")]
        """,
        bare=True,
    ),
    Probe("an open file of the worker's", "return [n for n in os.listdir('/proc/self/fd') if int(n) > 3]"),
    Probe("files by handle", "return call('open_by_handle_at', 0, None, 0)"),
    Probe(
        "names to handles", "return call('name_to_handle_at', -100, b'/', ctypes.create_string_buffer(136), None, 0)"
    ),
]

WRITES = [
    Probe("writing into the system", "return open('/usr/planted', 'w')"),
    Probe("writing into the root", "return open('/planted', 'w')"),
    Probe("writing into /etc", "return open('/etc/planted', 'w')"),
    Probe("writing into the tool chain", "return open(os.path.join(facts['prefix'], 'planted'), 'w')"),
    Probe("writing over the interpreter", "return open(sys.executable, 'r+b')"),
    Probe("writing over the launcher", "return open('/run/agentvine/launcher.py', 'r+')"),
    Probe("a file beside the workspace", "return open('/workspace/../planted', 'w')"),
    Probe("a device's directory", "return open('/dev/planted', 'w')"),
    Probe("opening a read-only mount", "os.chmod('/usr/bin', 0o777); return True"),
    Probe("a link to a file of the system", "os.link('/usr/bin/env', 'env'); return True"),
    Probe("core_pattern", "return open('/proc/sys/kernel/core_pattern', 'w')"),
    Probe("the system request key", "return open('/proc/sysrq-trigger', 'w')"),
    Probe(
        "any kernel setting",
        """
        def opens(path):
            try:
                os.close(os.open(path, os.O_WRONLY))
            except OSError:
                return False
            return True
        return [path for path in glob.glob('/proc/sys/**', recursive=True) if os.path.isfile(path) and opens(path)]
        """,
    ),
    Probe("a device of one's own", "os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0)); return True"),
    Probe("a lower out-of-memory score", "open('/proc/self/oom_score_adj', 'w').write('-1000'); return True"),
]

PRIVILEGES = [
    Probe("becoming root", "os.setuid(0); return os.getuid() == 0"),
    Probe("another group", "os.setgid(0); return os.getgid() == 0"),
    Probe(
        "no capability at all",
        "return [l for l in open('/proc/self/status') if l[:3] == 'Cap' and int(l.split()[1], 16)]",
    ),
    Probe("privileges by a program", "return [l for l in open('/proc/self/status') if l == 'NoNewPrivs:\\t0\\n']"),
    Probe("a higher priority", "os.setpriority(os.PRIO_PROCESS, 0, -10); return True"),
    Probe("real-time scheduling", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return True"),
    Probe(
        "raised limits",
        """
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6))
        except ValueError:  # what Python makes of EPERM
            return False
        return True
        """,
    ),
    Probe("changing root", "os.chroot('/tmp'); return True"),
    Probe("mounting", "return call('mount', b'none', b'/tmp', b'tmpfs', 0, None)"),
    Probe("making the root writable", "return call('mount', b'none', b'/', None, 0x20 | 0x1000, None)"),
    Probe("unmounting", "return call('umount2', b'/proc', 2)"),
    Probe("the new mount calls", "return call('fsopen', b'tmpfs', 0)"),
    Probe("pivoting", "return call('pivot_root', b'/tmp', b'/tmp')"),
    Probe("a user namespace", "return call('unshare', 0x10000000)"),
    Probe("a network namespace by clone", "return call('clone', 0x40000000 | 17, 0, 0, 0, 0)"),
    Probe("clone3, whose flags no filter sees", "return call('clone3', ctypes.create_string_buffer(88), 88)"),
    Probe("entering a namespace", "return call('setns', os.open('/proc/1/ns/user', os.O_RDONLY), 0)"),
    Probe("two namespaces at once", "return call('unshare', 0x10020000)"),
]

KERNEL = [
    Probe("keyrings", "return call('keyctl', 0, -3, 0)", bare=True),
    Probe("adding a key", "return call('add_key', b'user', b'x', b'y', 1, -3)"),
    Probe("requesting a key", "return call('request_key', b'user', b'x', None, -3)"),
    Probe("bpf", "return call('bpf', 5, None, 0)"),
    Probe("userfaultfd", "return call('userfaultfd', 1)"),
    Probe("io_uring", "return call('io_uring_setup', 1, ctypes.create_string_buffer(120))"),
    Probe("perf events", "return call('perf_event_open', ctypes.create_string_buffer(128), 0, -1, -1, 0)"),
    Probe("being traced", "return call('ptrace', 0, 0, 0, 0)", bare=True),
    Probe("tracing another", "return call('ptrace', 16, os.getppid(), 0, 0)"),
    Probe("reading another's memory", "return call('process_vm_readv', os.getpid(), None, 0, None, 0, 0)", bare=True),
    Probe("taking another's file", "return call('pidfd_getfd', os.pidfd_open(os.getpid()), 1, 0)", bare=True),
    Probe("the kernel's log", "return call('syslog', 10, None, 0)"),
    Probe("modules", "return call('finit_module', 0, b'', 0)"),
    Probe("another kernel", "return call('kexec_load', 0, 0, None, 0)"),
    Probe("restarting", "return call('reboot', 0, 0, 0, None)"),
    Probe("the clock", "return call('clock_settime', 0, ctypes.create_string_buffer(16))"),
    Probe("the host's name", "return call('sethostname', b'x', 1)"),
    Probe("swap", "return call('swapon', b'/workspace/x', 0)"),
    Probe("a predictable address space", "return call('personality', 0x0040000)", bare=True),
    Probe(
        "the second ABI of the processor",
        """
        if os.uname().machine != "x86_64":
            return None
        return survives("import ctypes; print(ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39)) > 0 and 'ran')")
        """,
    ),
    Probe(
        "typing into a terminal",
        """
        _, slave = os.openpty()
        fcntl.ioctl(slave, 0x5412, b"x")
        return True
        """,
    ),
    Probe("the worker's terminal", "return open('/dev/tty', 'rb', 0)"),
    Probe("the memory of the first process", "return open('/proc/1/mem', 'r+b', 0)"),
    Probe(
        "a process that is less confined",
        """
        found = []
        for status in read("/proc/[0-9]*/status"):
            told = dict(line.split(":", 1) for line in status.decode().splitlines() if ":" in line)
            if told["NoNewPrivs"].strip() != "1" or told["Seccomp"].strip() != "2" or int(told["CapEff"], 16):
                found.append(told["Name"])
        return found
        """,
        bare=True,
    ),
    Probe(
        "the files that are mapped by the first process", "return open(glob.glob('/proc/1/map_files/*').pop(0), 'rb')"
    ),
]

PROCESSES = [
    Probe(
        "seeing the host's processes",
        """
        return any(facts["marker"].encode() in told for told in read("/proc/[0-9]*/cmdline"))
        """,
        bare=True,
    ),
    Probe(
        "more processes than the box has",
        "return len([n for n in os.listdir('/proc') if n.isdigit()]) > facts['processes']",
    ),
    Probe("variables of the worker's", "return set(os.environ) - set(facts['variables'])"),
    Probe("arguments of bubblewrap", "return b'--ro-' b'bind' in open('/proc/1/cmdline', 'rb').read()"),
    Probe("signals to everybody", "os.kill(facts['sentinel'], 9); return True"),
    Probe("shared memory of the host", "return [l for l in open('/proc/sysvipc/shm')][1:] or os.listdir('/dev/shm')"),
]

NETWORK = [
    Probe("the host's loopback", "return dial(socket.AF_INET, ('127.0.0.1', facts['port']))", bare=True),
    Probe("the host's loopback, IPv6", "return dial(socket.AF_INET6, ('::1', facts['port6']))", bare=True),
    Probe(
        "the host by its mapped address", "return dial(socket.AF_INET6, ('::ffff:127.0.0.1', facts['port']))", bare=True
    ),
    Probe("the host by address zero", "return dial(socket.AF_INET, ('0.0.0.0', facts['port']))", bare=True),
    Probe("the metadata service", "return dial(socket.AF_INET, ('169.254.169.254', 80))"),
    Probe("the internet", "return dial(socket.AF_INET, ('192.0.2.1', 443))"),
    Probe("the internet, IPv6", "return dial(socket.AF_INET6, ('2001:db8::1', 443))"),
    Probe(
        "a datagram",
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            return out.sendto(b"x", ("192.0.2.1", 53))
        """,
        bare=True,
    ),
    Probe(
        "a datagram to the host",
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.connect(("127.0.0.1", facts["udp"]))
            out.send(b"x")
            out.settimeout(1)
            return out.recv(10)
        """,
        bare=True,
    ),
    Probe("a name", "return socket.getaddrinfo('example.com', 443)"),
    Probe("interfaces", "return [name for _, name in socket.if_nameindex() if name != 'lo']"),
    Probe("routes", "return len(open('/proc/net/route').readlines()) > 1"),
    Probe("an abstract socket", "return dial(socket.AF_UNIX, '\\0' + facts['abstract'])", bare=True),
    Probe("a socket by its path", "return dial(socket.AF_UNIX, facts['socket'])", bare=True),
    Probe("the worker's own control socket", "return glob.glob(facts['private'] + '/*/control')"),
    Probe("the hypervisor", "return socket.socket(40, socket.SOCK_STREAM)"),
    Probe("raw packets", "return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    Probe("frames", "return socket.socket(17, socket.SOCK_RAW, 0x300)"),
    Probe("the kernel's ciphers", "return socket.socket(38, socket.SOCK_SEQPACKET, 0)"),
    Probe("the kernel's messages", "return socket.socket(16, socket.SOCK_RAW, 16)", bare=True),
    Probe("another transport", "return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)"),
    Probe("pings", "return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)"),
]

PROBES = [*FILES, *WRITES, *PRIVILEGES, *KERNEL, *PROCESSES, *NETWORK]
