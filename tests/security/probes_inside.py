"""More attempts, for what only a whole execution has: the ways out, the worker's secrets, what the agent leaves behind.

As in `probes.py`; `facts` also names the ports of the proxy and of the gateway, and what is listed.
"""

# ruff: noqa: E501  the attackers' programs keep their lines

from tests.security.probes import PROBES, Probe

_NOT_BY_BOX = {"more processes than the box has"}

PROXY = [
    Probe(
        "a host that is not listed, through the proxy",
        "return b' 200' in says(3128, facts['tunnel'].encode())[:20]",
    ),
    Probe(
        "other spellings of the host's loopback",
        """
        got = []
        for name in ("127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0", "[::ffff:127.0.0.1]", "[::1]",
                     "localhost", "localhost.", "127.0.0.1.", "ip6-localhost", "LOCALHOST", "127.0.0.1%00"):
            answer = says(3128, f"CONNECT {name}:{facts['port']} HTTP/1.1\\r\\nhost: {name}\\r\\n\\r\\n".encode())
            got += [name] if b" 200" in answer[:20] else []
        return got
        """,
    ),
    Probe(
        "the metadata service, through the proxy",
        """
        asked = b"GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\\r\\nhost: 169.254.169.254\\r\\n\\r\\n"
        return b" 200" in says(3128, asked)[:20]
        """,
    ),
    Probe(
        "another port of a listed host",
        "return b' 200' in says(3128, f'GET http://127.0.0.1:{facts[\"port\"]}/ HTTP/1.1\\r\\n\\r\\n'.encode())[:20]",
    ),
    Probe(
        "a listed host by a name that is not listed",
        """
        place = f"localhost:{facts['listed']}"
        return b" 200" in says(3128, f"CONNECT {place} HTTP/1.1\\r\\nhost: {place}\\r\\n\\r\\n".encode())[:20]
        """,
    ),
    Probe(
        "one host in the request, another in its header",
        """
        listed, other = facts["listed"], facts["port"]
        answer = says(3128, f"GET http://127.0.0.1:{listed}/ HTTP/1.1\\r\\nhost: 127.0.0.1:{other}\\r\\n\\r\\n".encode())
        return b" 200" in answer[:20]
        """,
    ),
    Probe(
        "a second request behind the first",
        """
        listed, other = facts["listed"], facts["port"]
        first = f"GET http://127.0.0.1:{listed}/ HTTP/1.1\\r\\nhost: 127.0.0.1:{listed}\\r\\ncontent-length: 0\\r\\n\\r\\n"
        return says(3128, f"{first}GET http://127.0.0.1:{other}/mark HTTP/1.1\\r\\n\\r\\n".encode()).count(b"HTTP/1.1 200") > 1
        """,
    ),
    Probe(
        "where a listed host redirects to",
        """
        listed = facts["listed"]
        answer = says(3128, f"GET http://127.0.0.1:{listed}/away HTTP/1.1\\r\\nhost: 127.0.0.1:{listed}\\r\\n\\r\\n".encode())
        away = answer.partition(b"location: ")[2].split(b"\\r\\n")[0]
        return not away or b" 200" in says(3128, b"GET %s HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n" % away)[:20]
        """,
    ),
    Probe(
        "other protocols through the proxy",
        """
        got = []
        for scheme in ("file:///etc/passwd", "ftp://127.0.0.1/", f"gopher://127.0.0.1:{facts['port']}/x", "unix:/run/x"):
            answer = says(3128, f"GET {scheme} HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n".encode())
            got += [scheme] if b" 200" in answer[:20] else []
        return got
        """,
    ),
]

GATEWAY = [
    Probe("the gateway as a tunnel", "return b' 200' in says(8118, facts['tunnel'].encode())[:20]"),
    Probe(
        "the gateway as a proxy",
        "return b' 200' in says(8118, f'GET http://127.0.0.1:{facts[\"port\"]}/ HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'.encode())[:20]",
    ),
    Probe(
        "other doors of the model's provider",
        """
        got = []
        for path in ("/v1/files", "/v1/organizations/api_keys", "/v1/messages/../files", "/v1/messages/batches", "/%2e%2e/"):
            for method in ("GET", "POST", "DELETE"):
                answer = says(8118, f"{method} {path} HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 0\\r\\n\\r\\n".encode())
                got += [path] if b" 20" in answer[:20] else []
        return got
        """,
    ),
    Probe(
        "the key in what the gateway answers",
        """
        body = b'{"model": "x", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}'
        answer = says(8118, b"POST /v1/messages HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
        return any(secret in answer for secret in secrets())
        """,
    ),
]

SECRETS = [
    Probe(
        "secrets in environments and command lines",
        """
        told = b"".join([*read("/proc/[0-9]*/environ"), *read("/proc/[0-9]*/cmdline")])
        return [secret for secret in secrets() if secret in told]
        """,
    ),
    Probe(
        "credentials of git",
        """
        known = subprocess.run(["git", "config", "--list"], capture_output=True, text=True, cwd=facts["here"]).stdout
        asked = subprocess.run(["git", "credential", "fill"], input="protocol=https\\nhost=git.example\\n\\n", timeout=10,
                               capture_output=True, text=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
        return [line for line in known.splitlines() if "credential" in line or "remote" in line] or "password" in asked.stdout
        """,
    ),
    Probe("the broker", "return dial(socket.AF_INET, ('127.0.0.1', 6379))"),
    Probe("the server's API", "return dial(socket.AF_INET, ('127.0.0.1', facts['api']))"),
    Probe(
        "the worker's mirrors, for writing",
        """
        lent = open(os.path.join(facts["here"], ".git/objects/info/alternates")).read().strip()
        open(os.path.join(lent, "planted"), "w")
        return lent
        """,
    ),
    Probe(
        "more of the worker's directory than what is lent",
        """
        found = [path for path in glob.glob(facts["work"] + "/**", recursive=True) if os.path.isfile(path)]
        lent = open(os.path.join(facts["here"], ".git/objects/info/alternates")).read().split()
        for further in [place + "/info/alternates" for place in lent]:
            lent += open(further).read().split() if os.path.exists(further) else []
        mine = os.environ.get("CLAUDE_CONFIG_DIR", "nowhere")
        return [path for path in found if not path.startswith((*lent, mine))]
        """,
    ),
]

INSIDE = [*(probe for probe in PROBES if probe.name not in _NOT_BY_BOX), *PROXY, *GATEWAY, *SECRETS]
"""All that is tried in whole executions."""
