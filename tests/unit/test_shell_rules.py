import pytest

from agentvine.worker.agent.shell import Unreadable, commands
from agentvine.worker.agent.shell_rules import objection

REFUSED = [
    "git push",
    "git  push origin HEAD",
    "git -C sub push",
    "git -c core.quotepath=off push",
    "git --git-dir=.git --work-tree . push",
    "/usr/bin/git push",
    '"git" push',
    "g'i't pu\"sh\"",
    "\\git push",
    "git \\\n  push",
    "true && git push",
    "true; git push",
    "true | git push",
    "true & git push",
    "true\ngit push",
    "(git push)",
    "{ git push; }",
    "if true; then git push; fi",
    "while ! git push; do true; done",
    "for r in a b; do git push $r; done",
    "f() { git push; }; f",
    "! git push",
    "A=1 B=2 git push",
    "GIT_DIR=.git git push 2>&1 | tail -1",
    "git push > log 2>&1",
    "echo $(git push)",
    "echo `git push`",
    'echo "$(git push)"',
    'echo "`git push`"',
    "echo ${x:-$(git push)}",
    "echo ${#x}; git push",
    "echo a#b; git push",
    "echo '#'; git push",
    "cat <(git push)",
    "cat <<EOF\n$(git push)\nEOF",
    "echo $((1<<2))\ngit push",
    "cat <<EOF\ngit push",
    "bash -c 'git push'",
    "bash -lc 'cd x && git push'",
    "sh -c \"bash -c 'git push'\"",
    "eval git push",
    "eval 'git push'",
    "bash <<'EOF'\ngit push\nEOF",
    "bash <<< 'git push'",
    "echo git push | sh",
    "env git push",
    "env -u X A=1 git push",
    "sudo -u root git push",
    "nohup git push &",
    "timeout 60 git push",
    "timeout -k 5 60s git push",
    "nice -n 10 git push",
    "command git push",
    "exec git push",
    "echo push | xargs git",
    "echo origin | xargs -n 1 git push",
    "echo push | xargs -I{} git {}",
    "find . -name x -exec git push ;",
    "g=git; $g push",
    "$(echo git) push",
    "$'\\x67it' push",
    "/usr/bin/gi? push",
    "{git,push}",
    "git $verb",
    "git $(echo push)",
    "git -c alias.p=push p",
    "git config alias.p push",
    "git config --global core.hooksPath x",
    "git config user.email a@b",
    "git commit --amend --no-edit",
    "git commit -m x --am",
    "git rebase -i HEAD~2",
    "git filter-branch --all",
    "git filter-repo",
    "git update-ref refs/heads/main HEAD~1",
    "git reflog expire --all",
    "git svn dcommit",
    "git subtree push --prefix x origin main",
    "gh pr create",
    "glab mr create",
    "GH_TOKEN=x gh api /user",
    "npm publish",
    "npm --registry x publish",
    "npx -p x npm publish",
    "yarn npm publish",
    "pnpm publish",
    "twine upload dist/*",
    "python -m twine upload dist/*",
    "python3.11 -m twine upload dist/*",
    "poetry publish --build",
    "uv publish",
    "cargo publish",
    "docker push image",
    "mvn deploy",
    "./gradlew publish",
    "python -c \"import os; os.system('git push')\"",
    "python3 -c \"import subprocess; subprocess.run(['git', 'push'])\"",
    "node -e \"require('child_process').execSync('git push')\"",
    "uv run git push",
    "uv run --with x git push",
    "poetry run twine upload dist/*",
    "coverage run -m twine upload dist/*",
    "echo 'unclosed",
]

ALLOWED = [
    "git status",
    "git add -A && git commit -m 'fix: do not push twice'",
    'git commit -m "docs: how to git push"',
    "git commit -F - <<'EOF'\nfix: a thing\n\ngit push is not needed\nEOF",
    "cat > notes.md <<'EOF'\nRun `git push` or $(git push).\nIt's fine.\nEOF",
    "git log --oneline | head -3",
    "git diff HEAD~1 -- 'src/*.py'",
    'git -C "$DIR" status',
    "git log $(git merge-base main HEAD)..",
    "cd $(git rev-parse --show-toplevel) && git status",
    "git config --get user.name",
    "git config user.name",
    "git config -l",
    "git reflog",
    "git stash && git stash pop",
    "git checkout -b fix/push",
    "echo git push",
    "grep -rn 'git push' docs",
    "grep -rl foo | xargs grep git",
    "grep -rl foo | xargs -n 5 sed -n 1p",
    "find . -name '*.py' -exec grep -l git {} +",
    "ls # git push",
    "# git push\nls",
    "python -m pytest -q tests/test_push.py",
    "python -m pytest -k 'git and push'",
    "$PYTHON -m pytest -q",
    "for f in *.py; do git add $f; done",
    "npm test",
    "npm ci",
    "npm run build",
    "yarn install",
    "cargo test",
    "docker build .",
    "uv run pytest",
    "timeout 60 pytest",
    "echo '/* comment'",
    'python - <<EOF\nprint("it\'s")\nEOF',
    "[ -f x ] && echo yes || echo no",
    "case $x in a) ls;; *) pwd;; esac",
    "x=$((1 + 2)); echo $x",
    "arr=(a b); echo ${arr[0]} ${#arr[@]}",
    "",
]


@pytest.mark.parametrize("command", REFUSED)
def test_what_pushes_publishes_or_rewrites_is_refused(command: str) -> None:
    assert objection(command)


@pytest.mark.parametrize("command", ALLOWED)
def test_ordinary_work_is_not_hindered(command: str) -> None:
    assert objection(command) is None


def test_the_reason_says_what_to_do_instead() -> None:
    assert "commit your work" in (objection("git push") or "")
    assert "new commit" in (objection("git commit --amend") or "")
    assert "without variables" in (objection("git $x") or "")


@pytest.mark.parametrize(
    "command",
    [
        "echo x > file",
        "echo x >> file",
        "echo x &> file",
        "ls | tee file",
        "rm -rf x",
        "sed -i s/a/b/ x",
        "sed --in-place s/a/b/ x",
        "git commit -m x",
        "git add x",
        "git checkout-index -a",
        "sudo rm x",
        "find . -exec rm {} ;",
        "ruff check --fix .",
        "npx eslint --fix src",
        "prettier --write .",
    ],
)
def test_a_review_is_told_not_to_change_files(command: str) -> None:
    assert objection(command, may_write=False)
    assert objection(command) is None


@pytest.mark.parametrize(
    "command", ["git log -p", "pytest -q 2>&1 | tail", "ls > /dev/null 2>&1", "sed -n 1,3p x", "ruff check ."]
)
def test_a_review_may_look_and_analyse(command: str) -> None:
    assert objection(command, may_write=False) is None


def test_nesting_without_end_is_refused() -> None:
    assert objection("$(" * 500 + "true" + ")" * 500)
    assert objection("sudo " * 500 + "true")
    assert objection("; ".join(["true"] * 5000))


def test_words_are_read_as_a_shell_reads_them() -> None:
    (command,) = commands("a 'b c' \"d $e\" f\\ g h*i")
    assert [word.text for word in command.words] == ["a", "b c", "d e", "f g", "h*i"]
    assert [word.dynamic for word in command.words] == [False, False, True, False, True]


def test_an_open_bracket_is_said() -> None:
    with pytest.raises(Unreadable):
        commands("echo $(ls")
