"""Sensitive operations: what an agent may not do before somebody agreed, at every permission level.

`RULES` says what is sensitive; an operator adds rules, allows exceptions, and moves limits (`Sensitive`), the agent and
its repository never do. `judge` is asked twice, with the same rules: before a tool call, and about the whole result.
Pushing, rewriting history and publishing are not here: no approval makes them the agent's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from agentvine.domain.base import Line, Strict
from agentvine.domain.installs import installed
from agentvine.domain.tool_policy import FileKind
from agentvine.domain.worker_types import TaskType

_Pattern = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00\\]*$")
]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,49}$")]
_SHOWN = 10

DELETING, INSTALLING, CREDENTIALS = "deleting-many-files", "package-installs", "credentials"
"""The rules that look at more than paths and command lines."""


class SensitiveRule(Strict):
    """Something sensitive: files by path, commands by their words."""

    name: _Name
    why: Line
    """What is at stake; completes "this needs approval: …"."""
    paths: tuple[_Pattern, ...] = ()
    """Without a slash the name of a file anywhere, with one a path from the root, where `**` is any depth.

    `X/**` is X itself as well, and a link is also meant if only what it leads to can lie where a pattern says.
    """
    unless: tuple[_Pattern, ...] = ()
    """Paths that are none of it after all."""
    commands: tuple[_Pattern, ...] = ()
    """`alembic upgrade` is every call of alembic with the argument upgrade, whatever stands between."""
    kinds: tuple[FileKind, ...] = (FileKind.TEST, FileKind.DOCS, FileKind.CODE)
    """The kinds of files that `paths` means."""
    reading: bool = False
    """True: to read such a file is sensitive, too."""


class Allowance(Strict):
    """What an operator allows of a rule. Every field that is given must fit."""

    rule: _Name
    types: tuple[TaskType, ...] = ()
    repositories: tuple[_Pattern, ...] = ()
    """Repository addresses, with `*` for anything."""
    paths: tuple[_Pattern, ...] = ()
    """Only these files; without it also the rule's commands are allowed."""


class Sensitive(Strict):
    """All that is sensitive on a worker, in the operator's words."""

    rule: tuple[SensitiveRule, ...] = Field(default=(), max_length=200)
    """Further rules; one with the name of a built-in rule takes its place."""
    allow: tuple[Allowance, ...] = Field(default=(), max_length=500)
    deleted_files: int = Field(default=10, ge=0, le=1_000_000)
    """How many files a result may delete without approval; a file that moved is not deleted."""
    packages: tuple[_Pattern, ...] = Field(default=(), max_length=10_000)
    """Names of packages that may be installed, with `*` for anything."""

    @model_validator(mode="after")
    def _allows_what_there_is(self) -> Self:
        names = {rule.name for rule in self.rules}
        for one in self.allow:
            if one.rule not in names:
                raise ValueError(f"there is no rule {one.rule!r} to allow; the rules are {', '.join(sorted(names))}")
        return self

    @property
    def rules(self) -> tuple[SensitiveRule, ...]:
        """The rules that hold: built in and added."""
        own = {rule.name: rule for rule in self.rule}
        return (*(own.pop(rule.name, rule) for rule in RULES), *own.values())


@dataclass(frozen=True, slots=True)
class Touched:
    """A file, by its path in the repository, or by a path outside of it that starts with `/` or `~`."""

    path: str
    kind: FileKind
    written: bool = True
    """False: only read."""
    link: bool = False
    """True: a symbolic link, which may stand for a directory."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is about to be done, or what a result does."""

    type: TaskType
    repository: str
    files: tuple[Touched, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    """Programs with their arguments."""
    deleted: int = 0
    """How many files it deletes."""
    secrets: tuple[str, ...] = ()
    """Files into which it writes what looks like a secret."""
    unread: bool = False
    """True: it changes more than is looked through for secrets."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of an operation. Allowed if `rule` is empty."""

    rule: str = ""
    why: str = ""
    subjects: tuple[str, ...] = ()
    """The files or commands that it is about, in words."""
    files: tuple[str, ...] = ()
    """The files among them."""
    reading: bool = False
    """True: to read such a file is sensitive, too."""

    @property
    def allowed(self) -> bool:
        """True if no rule is against it."""
        return not self.rule

    @property
    def reason(self) -> str:
        """For who decides, for the agent, and for whoever reads the evidence."""
        shown = ", ".join(self.subjects[:_SHOWN])
        more = f" and {len(self.subjects) - _SHOWN} more" if len(self.subjects) > _SHOWN else ""
        return (
            f"{shown}{more}: sensitive by the rule {self.rule} ({self.why}). It needs approval, unless an operator "
            f'allows it with [[allow]] rule = "{self.rule}" in the file that SENSITIVE_RULES names.'
        )


_ALLOWED = Ruling()
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
    r"|(?<![A-Za-z0-9])(sk-ant-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|npm_\w{36}|av_[a-z0-9]{6,}_\w{20,})(?![A-Za-z0-9])"
)


def looks_secret(line: str) -> bool:
    """True for a line that holds a private key, or a token in the form that a well-known service gives its own."""
    return _SECRET.search(line) is not None


def judge(operation: Operation, sensitive: Sensitive) -> Ruling:
    """The first rule by which the operation needs approval; an allowing ruling if there is none."""
    return next((ruling for ruling in judge_all(operation, sensitive)), _ALLOWED)


def judge_all(operation: Operation, sensitive: Sensitive) -> Iterator[Ruling]:
    """Every rule by which the operation needs approval, with all that breaks it."""
    for rule in sensitive.rules:
        fitting = [one for one in sensitive.allow if one.rule == rule.name and _fits(one, operation)]
        if any(not one.paths for one in fitting):
            continue
        spared = tuple(path for one in fitting for path in one.paths)
        files = tuple(_files(rule, operation, spared))
        secrets = tuple(path for path in operation.secrets if rule.name == CREDENTIALS and not _any(spared, path))
        subjects = (
            *files,
            *_commands(rule, operation),
            *(f"{path} (a line looks like a secret)" for path in secrets),
            *_special(rule, operation, sensitive),
        )
        if subjects:
            named = tuple(dict.fromkeys((*files, *secrets)))
            yield Ruling(rule.name, rule.why, tuple(dict.fromkeys(subjects)), named, rule.reading)


def _fits(one: Allowance, operation: Operation) -> bool:
    if one.types and operation.type not in one.types:
        return False
    return not one.repositories or any(_like(pattern, operation.repository) for pattern in one.repositories)


def _files(rule: SensitiveRule, operation: Operation, spared: tuple[str, ...]) -> Iterator[str]:
    for file in operation.files:
        if not (file.written or rule.reading) or file.kind not in rule.kinds:
            continue
        meant = _any(rule.paths, file.path) or (file.link and _any(_on_the_way(rule.paths), file.path))
        if meant and not _any(rule.unless, file.path) and not _any(spared, file.path):
            yield file.path


def _commands(rule: SensitiveRule, operation: Operation) -> Iterator[str]:
    for words in operation.commands:
        if any(_is_call(pattern.split(), words) for pattern in rule.commands):
            yield f"`{' '.join(words)[:200]}`"


def touched(operation: Operation, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The files of `patterns` that the operation writes, whatever they are for; also a link in a directory's place."""
    return tuple(
        file.path
        for file in operation.files
        if _any(patterns, file.path) or (file.link and _any(_on_the_way(patterns), file.path))
        if file.written
    )


def _special(rule: SensitiveRule, operation: Operation, sensitive: Sensitive) -> Iterator[str]:
    if rule.name == DELETING and operation.deleted > sensitive.deleted_files:
        yield f"{operation.deleted} files are deleted, more than {sensitive.deleted_files}"
    if rule.name == CREDENTIALS and operation.unread:
        yield "the whole change (it is too large to be looked through for secrets)"
    if rule.name == INSTALLING:
        for words in operation.commands:
            if foreign := [name for name in installed(words) if not _allowed_package(name, sensitive)]:
                yield f"`{' '.join(words)[:200]}` (installs {', '.join(foreign[:5])[:200]})"


def _is_call(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """True if the program is the pattern's and its further words stand among the arguments, in this order."""
    if not words or words[0] != pattern[0]:
        return False
    rest = iter(words[1:])
    return all(any(_like(word, argument) for argument in rest) for word in pattern[1:])


def _allowed_package(name: str, sensitive: Sensitive) -> bool:
    if "://" in name:
        return any("://" in pattern and _like(pattern, name) for pattern in sensitive.packages)
    plain = re.split(r"[\[<>=!~;]|(?<=.)@", name, maxsplit=1)[0]
    return any(_like(pattern, plain) for pattern in sensitive.packages)


def _like(pattern: str, text: str) -> bool:
    return _plain_glob(pattern).match(text) is not None


@cache
def _plain_glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)


def _any(patterns: tuple[str, ...], path: str) -> bool:
    return bool(patterns) and _path_globs(patterns).fullmatch(path) is not None


@cache
def _path_globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Patterns for paths as one regular expression, without regard to case: file systems disagree about it."""
    return re.compile("|".join(map(_path_glob, patterns)), re.IGNORECASE | re.DOTALL)


def _path_glob(pattern: str) -> str:
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    parts = ["(?:.*/)?" if part == "**" else f"{_segment(part)}/" for part in pattern.split("/")]
    before = "".join(parts[:-1])
    if not pattern.endswith("/**"):
        return before + parts[-1].removesuffix("/")
    return f"{before[:-1]}(?:/.*)?" if before.endswith("/") else f"{before}.*"


@cache
def _on_the_way(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The directories that `patterns` name: a link in the place of one brings in what lies elsewhere."""
    ways = (pattern.split("/") for pattern in patterns)
    return tuple("/".join(way[:end]) for way in ways for end in range(1, len(way)) if way[end - 1] != "**")


def _segment(part: str) -> str:
    return "".join("[^/]*" if char == "*" else "[^/]" if char == "?" else re.escape(char) for char in part)


_CODE = (FileKind.CODE,)
_SECURITY_WORDS = (
    *("auth", "authn", "authz", "authentication", "authorization", "oauth", "oauth2", "oidc", "saml", "sso", "jwt"),
    *("security", "crypto", "cryptography", "permissions", "rbac", "acl", "csrf", "password", "passwords", "login"),
)

RULES: tuple[SensitiveRule, ...] = (
    SensitiveRule(
        name="database-migrations",
        why="they change data that nobody can bring back",
        paths=("**/migrations/**", "db/migrate/**", "**/alembic/versions/**", "**/flyway/**", "V*__*.sql"),
        commands=(
            *("alembic upgrade", "alembic downgrade", "alembic stamp", "flask db upgrade", "flask db downgrade"),
            *("manage.py migrate", "django-admin migrate", "rails db:*", "rake db:*", "prisma migrate", "prisma db"),
            *("flyway migrate", "flyway clean", "liquibase update", "knex migrate:*", "dbmate up", "goose up"),
            *("sequelize db:*", "typeorm migration:*", "diesel migration", "sqlx migrate", "sqitch deploy"),
        ),
        unless=("tests/**", "test/**", "**/src/test/**"),  # elsewhere tools load migrations whatever they are called
    ),
    SensitiveRule(
        name="ci-and-deployment",
        why="it runs elsewhere, with rights that the agent does not have",
        paths=(
            *(".github/workflows/**", ".github/actions/**", ".github/CODEOWNERS", "CODEOWNERS", ".gitlab-ci.yml"),
            *(".github/dependabot.yml", ".github/dependabot.yaml", "action.yml", "action.yaml"),
            *(".gitlab/**", ".circleci/**", ".buildkite/**", ".woodpecker/**", ".woodpecker.yml", ".drone.yml"),
            *(".gitea/**", ".forgejo/**", ".travis.yml", "appveyor.yml", "Jenkinsfile*", "azure-pipelines*.yml"),
            *("bitbucket-pipelines.yml", "Dockerfile*", "*.dockerfile", "Containerfile*", "compose*.yml"),
            *("compose*.yaml", "docker-compose*.yml", "docker-compose*.yaml", "**/k8s/**", "**/kubernetes/**"),
            *("**/helm/**", "charts/**", "**/deploy/**", "**/deployment/**", "**/terraform/**", "*.tf", "*.tfvars"),
            *("**/ansible/**", "Procfile", "fly.toml", "render.yaml", "vercel.json", "netlify.toml", "serverless.yml"),
        ),
    ),
    SensitiveRule(
        name="agents-and-hooks",
        why="it steers what tools and agents do later, on other machines",
        paths=(
            *(".agentvine.toml", ".mcp.json", "**/.claude/**", "CLAUDE.md", "AGENTS.md", ".cursorrules", ".cursor/**"),
            *(".pre-commit-config.yaml", ".husky/**", ".githooks/**", ".gitattributes", ".vscode/**", ".envrc"),
            *("CLAUDE.local.md", "lefthook.yml", "lefthook.yaml", "**/.devcontainer/**", ".devcontainer.json"),
        ),
    ),
    SensitiveRule(
        name="dependencies",
        why="it decides what foreign code runs",
        paths=(
            *("pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "constraints*.txt", "Pipfile*"),
            *("*requirements*.in", "**/requirements/*.txt", "**/requirements/*.in"),
            *("poetry.lock", "uv.lock", "pdm.lock", "environment.yml", "conda-lock.yml", "package.json"),
            *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "pnpm-workspace.yaml"),
            *(".yarnrc.yml", "**/.yarn/**", "gradlew*", "mvnw*", "**/gradle/wrapper/**", "**/.mvn/**"),
            *("bun.lock", "bun.lockb", "deno.lock", "Cargo.toml", "Cargo.lock", "go.mod", "go.sum", "go.work"),
            *("Gemfile*", "*.gemspec", "composer.json", "composer.lock", "pom.xml", "build.gradle*"),
            *("settings.gradle*", "libs.versions.toml", "gradle-wrapper.properties", "mix.exs", "mix.lock"),
            *("pubspec.yaml", "pubspec.lock", "*.csproj", "packages.config", "Directory.Packages.props", "flake.lock"),
        ),
    ),
    SensitiveRule(name=INSTALLING, why="it runs foreign code now"),
    SensitiveRule(
        name="security-and-auth",
        why="a mistake there opens a door",
        paths=(
            *(f"**/{word}/**" for word in _SECURITY_WORDS),
            *(f"{word}.*" for word in _SECURITY_WORDS),
            *("auth_*.*", "*_auth.*", "oauth_*.*", "jwt_*.*", "password_*.*", "SECURITY.md"),
        ),
        kinds=_CODE,
    ),
    SensitiveRule(
        name="licences",
        why="it changes what others may do with the code",
        paths=(
            *(f"{name}{ending}" for name in ("LICENSE", "LICENCE", "COPYING", "NOTICE") for ending in ("", ".*", "-*")),
            "LICENSES/**",
        ),
        kinds=(FileKind.CODE, FileKind.DOCS),
    ),
    SensitiveRule(name=DELETING, why="what is gone is missed late"),
    SensitiveRule(
        name=CREDENTIALS,
        why="whoever has them can act in somebody's name",
        paths=(
            *(".env", ".env.*", "*.pem", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "id_rsa*", "id_dsa*"),
            *("id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd"),
            *("**/.aws/**", "**/.ssh/**", "**/.gnupg/**", "**/.docker/config.json", "**/.kube/**", "credentials.json"),
            *("secrets.yml", "secrets.yaml", "secrets.json", "secrets.toml", "service-account*.json", "*.key"),
        ),
        unless=("*.example", "*.sample", "*.template", "*.dist", "*.pub"),
        reading=True,
    ),
)
"""What is sensitive unless an operator says otherwise."""
