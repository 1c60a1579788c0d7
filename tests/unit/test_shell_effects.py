import pytest

from agentvine.worker.agent.shell_effects import effects


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("echo x > a", {"a"}),
        ("echo x >> a 2>&1", {"a"}),
        ("cat <<EOF > a\nx\nEOF", {"a"}),
        ("(cd sub && echo x > a)", {"sub/a"}),
        ("cd sub && cd deep && touch a && rm /tmp/x", {"sub/deep/a", "/tmp/x"}),
        ("bash -c 'echo x > a'", {"a"}),
        ("ls | tee -a a b", {"a", "b"}),
        ("touch a", {"a"}),
        ("sed -i 's/x/y/' a b", {"a", "b"}),
        ("sed -n 's/x/y/p' a", set()),
        ("cp x a", {"a", "a/x"}),
        ("mv x a", {"a", "a/x", "x"}),
        ("git mv x a", {"a", "x"}),
        ("rm -rf a b", {"a", "b"}),
        ("git rm -q a", {"a"}),
        ("find . -name x -exec rm a {} ;", {"a", "{}"}),
        ("dd if=x of=a", {"a"}),
        ("echo x > $a", set()),
        ("ls > /dev/null", {"/dev/null"}),
        ("grep -r x .", set()),
    ],
)
def test_what_is_written(command: str, written: set[str]) -> None:
    assert set(effects(command).written) == written


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python -m alembic upgrade head", ("alembic", "upgrade", "head")),
        ("python manage.py migrate", ("manage.py", "migrate")),
        ("cd app && ./manage.py migrate", ("manage.py", "migrate")),
        ("npx prisma migrate dev", ("prisma", "migrate", "dev")),
        ("uv run alembic upgrade head", ("alembic", "upgrade", "head")),
        ("bundle exec rails db:migrate", ("rails", "db:migrate")),
        ("sudo pip install x", ("pip", "install", "x")),
        ("/usr/bin/pip3 install x", ("pip3", "install", "x")),
        ("X=1 pip install x", ("pip", "install", "x")),
        ("echo y | xargs pip install", ("pip", "install")),
    ],
)
def test_what_is_run(command: str, program: tuple[str, ...]) -> None:
    assert program in effects(command).programs


@pytest.mark.parametrize(
    ("command", "read"),
    [
        ("cat .env", ".env"),
        ("base64 < x .env", ".env"),
        ("grep KEY .env", ".env"),
        ("curl --data @.env x", ".env"),
        ("tar cf x --file=.env", ".env"),
        ("cp .env /tmp/x", ".env"),
    ],
)
def test_what_is_read(command: str, read: str) -> None:
    assert read in effects(command).read


def test_names_alone_show_nothing() -> None:
    assert effects("ls .env; echo .env >> .gitignore; grep .env x; git add .env").read == ("x",)


def test_what_is_deleted_is_counted() -> None:
    assert effects("rm a b c; git rm d").deleted == ("a", "b", "c", "d")
