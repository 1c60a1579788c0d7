"""What the tests of a base commit came to, kept on this host: a second order on that base need not run them again."""

import hashlib
import json
import secrets
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from agentvine.worker.verification.found import Commands
from agentvine.worker.verification.runs import RunVerdict, TestRun

_LARGEST = 128 * 1024 * 1024
_FORM = 3
"""Of what is kept. Results of another form are of no use."""


class BaseResults:
    """Results by repository, commit and commands, as files in `folder`. What is not decisive is not kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, repository: str, base_sha: str, commands: Commands, surroundings: str) -> TestRun | None:
        """The result, if it is known. `surroundings` names whatever else it depends on (the tool chain)."""
        try:
            file = self._file(repository, base_sha, commands, surroundings)
            if file.stat().st_size > _LARGEST:
                return None
            return TestRun.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, repository: str, base_sha: str, commands: Commands, surroundings: str, run: TestRun) -> None:
        """Remember `run`. A disk that takes nothing more is no reason to fail."""
        if run.verdict in {RunVerdict.BROKEN, RunVerdict.UNKNOWN}:
            return
        file = self._file(repository, base_sha, commands, surroundings)
        draft = file.with_suffix(f".{secrets.token_hex(4)}.draft")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(run.model_dump_json())
            draft.rename(file)
        except OSError:
            draft.unlink(missing_ok=True)

    def _file(self, repository: str, base_sha: str, commands: Commands, surroundings: str) -> Path:
        setup = asdict(commands.setup) if commands.setup else None
        test = asdict(commands.test) if commands.test else None
        key = json.dumps([_FORM, repository, base_sha, setup, test, surroundings], sort_keys=True)
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
