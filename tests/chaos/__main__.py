"""`python -m tests.chaos`: the crash matrix, zombies, and a fleet under faults. The exit code is the checker's."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.disks import FLAG, have_own_mounts

_DATABASES = ("sqlite", "postgresql")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
    parser.add_argument("--database", choices=_DATABASES, default=_DATABASES[0], help="what the servers store in")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long faults happen to a running fleet")
    parser.add_argument("--soak", type=float, default=0.0, help="so many minutes with few orders, watched for growth")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from one fault to the next, on the average")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--servers", type=int, default=1, help="so many share the port of the fleet, and the database")
    parser.add_argument("--without-claude", action="store_true", help="no share of orders with the real CLI")
    parser.add_argument("--planted", action="store_true", help="plant a bug, which has to be found")
    parser.add_argument("--matrix", action="store_true", help="the crash matrix")
    parser.add_argument("--zombies", type=int, default=0, help="so many workers that are frozen past their lease")
    parser.add_argument("--kills", type=int, default=0, help="so many deaths of a server while it accepts tasks")
    parser.add_argument("--leaving", type=int, default=0, help="measure so many times how long it takes to end")
    parser.add_argument("--at-once", type=int, default=4, help="cells of the matrix, or zombies, at the same time")
    parser.add_argument("--schedule", action="store_true", help="only print what would happen, and when")
    parser.add_argument(FLAG, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="do it in this new directory, and leave everything there")
    return parser


def main() -> int:
    """Do what the command line says."""
    given = _arguments().parse_args()
    given.small_disks = have_own_mounts("tests.chaos", sys.argv[1:])
    from tests.chaos import parts  # seconds, which are not to be spent twice

    if given.schedule:
        parts.show(given)
        return 0
    with TemporaryDirectory(prefix="agentvine-chaos-", dir="/tmp") as temporary:
        where: Path = given.keep or Path(temporary)
        where.mkdir(exist_ok=True)
        return 0 if parts.do(given, where) else 1


if __name__ == "__main__":
    sys.exit(main())
