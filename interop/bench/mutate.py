#!/usr/bin/env python3
"""Mutation testing: change aws_sso_mcp.py in many small ways, and see whether a test fails.

    python3 interop/bench/mutate.py --results FILE [--count 400] [--seed 1] [--kind KIND ...]

draws mutants from all sections of the file, about as many of each kind, and runs the unit tests
with each: first the test classes of the section of the same name, then all others. FILE gets one
line of JSON for each mutant, as soon as it is known. Those that are there already are not tried
again, so that a run can go on after it was stopped. At the end it prints the survivors and a table.

    --section NAME    only mutants of this section
    --kind KIND       only mutants of this kind: all of them, or --count
    --own             only the test classes of the section: a lower limit, in less time
    --again FILE      only those that survived in an earlier run
    --list            print the mutants, run nothing

Mutants kill processes and delete files that they should not. As root on Linux each runs in a PID
namespace of its own, where it sees no process of this machine; elsewhere use a machine that you
can lose. A mutant that survives is either equivalent (no test could notice) or shows a hole.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import io
import json
import os
import py_compile
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
SERVER = "aws_sso_mcp.py"
TESTS = "test_aws_sso_mcp.py"
SECTION_LINE = re.compile(r"^# --- (.+?) -+$")
DEFAULT_COUNT = 400
TIME_LIMIT_S = 300  # for one run of the tests
# Tests that make a PID namespace of their own.
NOT_IN_A_NAMESPACE = ("test_client_in_another_pid_namespace_tells_nothing",)
DOCSTRING = "Docstring"  # what is above the first section


class Edit(NamedTuple):
    """A part of the source that is replaced."""

    start: int  # in characters
    end: int
    text: str


class Mutant(NamedTuple):
    """One change of the source."""

    section: str
    kind: str
    line: int
    edits: tuple[Edit, ...]

    def apply(self, source: str) -> str:
        for edit in sorted(self.edits, reverse=True):
            source = source[: edit.start] + edit.text + source[edit.end :]
        return source

    def describe(self, source: str) -> str:
        """Return the removed and the added text, on one line; also the mutant's name."""
        column = self.edits[0].start - source.rfind("\n", 0, self.edits[0].start)
        parts = []
        for edit in self.edits:
            before = " ".join(source[edit.start : edit.end].split())
            parts.append(f"{before!r} -> {edit.text!r}")
        return f"{self.line}:{column} {self.kind}: " + ", ".join(parts)


# --- Which changes there are ------------------------------------------------------------


class Source:
    """The text of a Python file, and where its lines and sections are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self._line_starts = [0]
        for line in self.lines:
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._sections: list[str] = []  # of each line
        section = DOCSTRING
        for line in self.lines:
            match = SECTION_LINE.match(line.rstrip())
            if match:
                section = match[1]
            self._sections.append(section)

    def offset(self, line: int, column_bytes: int) -> int:
        """Return the offset of a place that the ast module names."""
        before = self.lines[line - 1].encode()[:column_bytes].decode()
        return self._line_starts[line - 1] + len(before)

    def offset_of_token(self, place: tuple[int, int]) -> int:
        line, column = place
        return self._line_starts[line - 1] + column

    def line_of(self, offset: int) -> int:
        return bisect.bisect_right(self._line_starts, offset)

    def section_of(self, line: int) -> str:
        return self._sections[line - 1]


class Change(NamedTuple):
    kind: str
    edits: tuple[Edit, ...]


class Changes(ast.NodeVisitor):
    """Collects the changes of statements and expressions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Change] = []
        self.function_depth = 0

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.source.offset(node.lineno, node.col_offset)
        return start, self.source.offset(node.end_lineno, node.end_col_offset)

    def code(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.source.text[start:end]

    def replace(self, kind: str, node: ast.expr | ast.stmt, text: str) -> None:
        start, end = self.span(node)
        self.found.append(Change(kind, (Edit(start, end, text),)))

    def remove_from_list(self, kind: str, nodes: Sequence[ast.expr]) -> None:
        """Add a change for each of several elements: without it, and without its comma."""
        for node in nodes:
            start, end = self.span(node)
            comma = re.compile(r"\s*(?:#[^\n]*\s*)?,").match(self.source.text, end)
            if comma:
                end = comma.end()
            self.found.append(Change(kind, (Edit(start, end, ""),)))

    # --- Statements

    def visit_If(self, node: ast.If) -> None:
        if self.code(node.test) != "TYPE_CHECKING":
            self.negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def negate(self, test: ast.expr) -> None:
        self.replace("condition", test, f"(not ({self.code(test)}))")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.function_depth += 1
        for statement in node.body:
            self.visit(statement)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self.function_depth -= 1

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is None:
            return
        code = self.code(value)
        if code == "True":
            self.replace("return", value, "False")
        elif code == "False":
            self.replace("return", value, "True")
        elif code != "None":
            self.replace("return", value, "None")
        else:
            self.replace("return", node, "pass")
        self.visit(value)

    def visit_Expr(self, node: ast.Expr) -> None:
        is_text = isinstance(node.value, ast.Constant)
        if not is_text and self.function_depth > 0:
            self.replace("statement", node, "pass")
        if not is_text:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, (ast.Attribute, ast.Subscript)):
            self.replace("statement", node, "pass")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace("statement", node, "pass")
        self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace("statement", node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace("statement", node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self.replace("statement", node, "pass")

    def visit_With(self, node: ast.With) -> None:
        manager = node.items[0].context_expr
        code = self.code(manager)
        if "lock" in code.lower() or code == "SHARED_STATE":
            self.replace("lock", manager, "__import__('contextlib').nullcontext()")
        elif "suppress" in code and isinstance(manager, ast.Call):
            self.remove_from_list("except", manager.args)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if isinstance(node.type, ast.Tuple):
            self.remove_from_list("except", node.type.elts)
        elif node.type is not None:
            self.replace("except", node.type, "()")
        for statement in node.body:
            self.visit(statement)

    # --- Expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        others = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
        operands = [node.left, *node.comparators]
        for number, operator in enumerate(node.ops):
            other = others.get(type(operator))
            if other is not None:
                _, start = self.span(operands[number])
                end, _ = self.span(operands[number + 1])
                edit = Edit(start, end, f" {other} ")
                self.found.append(Change("comparison", (edit,)))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        neutral = "True" if isinstance(node.op, ast.And) else "False"
        for value in node.values:
            self.replace("operand", value, neutral)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if self.function_depth > 0:
            for keyword in node.keywords:
                self.without_keyword(keyword)
        elif isinstance(node.func, ast.Name) and node.func.id == "frozenset":
            pass  # its elements are those of a display
        self.generic_visit(node)

    def without_keyword(self, keyword: ast.keyword) -> None:
        if keyword.arg is None:
            return
        assert keyword.end_lineno is not None
        assert keyword.end_col_offset is not None
        start = self.source.offset(keyword.lineno, keyword.col_offset)
        end = self.source.offset(keyword.end_lineno, keyword.end_col_offset)
        comma = re.compile(r"\s*,").match(self.source.text, end)
        if comma:
            end = comma.end()
        self.found.append(Change("keyword", (Edit(start, end, ""),)))

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace("constant", node, str(not value))
        elif isinstance(value, int):
            other = value + 1 if value < 10 else value * 2
            self.replace("constant", node, str(other))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Do not look inside: its places are not exact in older versions of Python."""

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self.visit_elements(node)

    def visit_List(self, node: ast.List) -> None:
        self.visit_elements(node)

    def visit_Set(self, node: ast.Set) -> None:
        self.visit_elements(node)

    def visit_elements(self, node: ast.Tuple | ast.List | ast.Set) -> None:
        is_table = self.function_depth == 0 and isinstance(node, ast.Tuple)
        if len(node.elts) > 1 or is_table:
            self.remove_from_list("row", node.elts)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values):
            if key is not None:
                start, _ = self.span(key)
                _, end = self.span(value)
                comma = re.compile(r"\s*,").match(self.source.text, end)
                if comma:
                    end = comma.end()
                self.found.append(Change("row", (Edit(start, end, ""),)))
        self.generic_visit(node)


# --- Regular expressions ----------------------------------------------------------------


class Character(NamedTuple):
    """A character of a pattern, and the part of the source where it stands."""

    text: str
    start: int
    end: int


def patterns(source: Source) -> Iterator[list[Character]]:
    """Yield the raw strings of a file; those that stand beside each other are one."""
    pattern: list[Character] = []
    between = {tokenize.NL, tokenize.COMMENT}
    reader = io.StringIO(source.text).readline
    for token in tokenize.generate_tokens(reader):
        if token.type == tokenize.STRING:
            pattern += characters(token, source)
        elif token.type not in between:
            if pattern:
                yield pattern
            pattern = []


def characters(token: tokenize.TokenInfo, source: Source) -> list[Character]:
    """Return the characters of a raw string; those of another string are none.

    What an f-string inserts is one character, `\\x00`.
    """
    match = re.match(r"(?i)(r|rf|fr)(\"\"\"|'''|\"|')", token.string)
    if match is None:
        return []
    is_formatted = "f" in match[1].lower()
    offset = source.offset_of_token(token.start)
    at = match.end()
    end = len(token.string) - len(match[2])
    found = []
    while at < end:
        text = token.string[at]
        length = 1
        if is_formatted and token.string[at : at + 2] in {"{{", "}}"}:
            length = 2
        elif is_formatted and text == "{":
            length = token.string.index("}", at) + 1 - at
            text = "\0"
        found.append(Character(text, offset + at, offset + at + length))
        at += length
    return found


class Part(NamedTuple):
    """A part of a pattern: its first character, and the one behind its last."""

    kind: str
    first: int
    end: int


def parts_of_pattern(text: str) -> Iterator[Part]:
    """Yield what can be left out of a pattern: alternatives, `?` and `*`, anchors."""
    opened: list[list[int]] = [[0]]  # for each open group, where its alternatives begin
    at = 0
    while at < len(text):
        end = end_of_item(text, at)
        item = text[at:end]
        if item.startswith("("):
            opened.append([at + len(item)])
        elif item == ")":
            yield from alternatives(opened.pop(), at)
        elif item == "|":
            opened[-1].append(at + 1)
        elif item in {r"\b", r"\Z", "^", "$"}:
            yield Part("anchor", at, end)
        elif item in {"?", "*"} and text[at - 1] not in "(*+?}|":
            yield Part("optional", at, end)
        at = end
    yield from alternatives(opened.pop(), len(text))


def end_of_item(text: str, at: int) -> int:
    """Return the end of an escape, a set, the start of a group, or a character."""
    item = re.compile(
        r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<\w+>|<[=!]|[a-zA-Z]*:|[=!])"
        r"|\(\?[a-zA-Z]+\)|."
    ).match(text, at)
    assert item is not None
    return item.end()


def alternatives(starts: list[int], end: int) -> Iterator[Part]:
    if len(starts) == 1:
        return
    ends = [*(start - 1 for start in starts[1:]), end]
    for start, alternative_end in zip(starts, ends):
        if start == starts[-1]:
            yield Part("alternative", start - 1, alternative_end)
        else:
            yield Part("alternative", start, alternative_end + 1)


def changes_of_patterns(source: Source) -> Iterator[Change]:
    for pattern in patterns(source):
        text = "".join(character.text for character in pattern)
        text = re.sub(r"\(\?[a-zA-Z]+\)", lambda flags: "." * len(flags[0]), text)
        for part in parts_of_pattern(text):
            edits = []
            for character in pattern[part.first : part.end]:
                edits.append(Edit(character.start, character.end, ""))
            yield Change(part.kind, joined(edits))


def joined(edits: list[Edit]) -> tuple[Edit, ...]:
    """Return the edits of neighbours as one."""
    result: list[Edit] = []
    for edit in edits:
        if result and result[-1].end == edit.start:
            result[-1] = Edit(result[-1].start, edit.end, "")
        else:
            result.append(edit)
    return tuple(result)


def all_mutants(source: Source) -> list[Mutant]:
    """Return every mutant; Python cannot compile some of them."""
    visitor = Changes(source)
    visitor.visit(ast.parse(source.text))
    mutants = []
    for change in [*visitor.found, *changes_of_patterns(source)]:
        line = source.line_of(change.edits[0].start)
        section = source.section_of(line)
        if section != DOCSTRING:
            mutants.append(Mutant(section, change.kind, line, change.edits))
    return mutants


def compiles(mutant: Mutant, source: Source) -> bool:
    try:
        compile(mutant.apply(source.text), SERVER, "exec")
    except SyntaxError:
        return False
    return True


def draw(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants: of each section by its size, at least 20, of each kind alike."""
    generator = random.Random(seed)
    by_section: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_section[mutant.section].append(mutant)
    least = 20
    rest = max(0, count - least * len(by_section))
    drawn = []
    for of_section in by_section.values():
        share = least + round(rest * len(of_section) / len(mutants))
        drawn += draw_of_each_kind(of_section, share, generator)
    return drawn


def draw_of_each_kind(
    mutants: list[Mutant], count: int, generator: random.Random
) -> list[Mutant]:
    by_kind: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in generator.sample(mutants, len(mutants)):
        by_kind[mutant.kind].append(mutant)
    drawn: list[Mutant] = []
    while len(drawn) < count and any(by_kind.values()):
        for of_kind in by_kind.values():
            if of_kind and len(drawn) < count:
                drawn.append(of_kind.pop())
    return drawn


# --- Running the tests ------------------------------------------------------------------


STARTS_SERVERS = {"ProcessTest", "CommandTest"}
KIT_CLASSES = {*STARTS_SERVERS, "ConfiguredTest", "CliAnswersTest", "LinearTimeTest"}


class TestClass(NamedTuple):
    name: str
    section: str
    is_slow: bool  # it starts servers


def test_classes(text: str) -> list[TestClass]:
    """Return the test classes, the fast ones first."""
    source = Source(text)
    found = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or not node.name.endswith("Test"):
            continue
        if node.name != "Test" and node.name not in KIT_CLASSES:
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            is_slow = bool(bases & STARTS_SERVERS)
            section = source.section_of(node.lineno)
            found.append(TestClass(node.name, section, is_slow))
    return sorted(found, key=lambda each: each.is_slow)


class Worker(threading.Thread):
    """Runs the tests of one mutant after the other, in a copy of the repository."""

    def __init__(self, jobs: queue.Queue[Mutant], session: Session) -> None:
        super().__init__(daemon=True)
        self.jobs = jobs
        self.session = session
        self.folder = Path(tempfile.mkdtemp(prefix="mutate-"))

    def run(self) -> None:
        try:
            self.copy_repository()
            while True:
                try:
                    mutant = self.jobs.get_nowait()
                except queue.Empty:
                    return
                if compiles(mutant, self.session.source):
                    self.session.add(mutant, self.outcome(mutant))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def copy_repository(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                path = self.folder / "copy" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path)
        tests = self.folder / "copy" / TESTS
        text = tests.read_text()
        # Many mutants let a test wait for what never comes.
        text = text.replace("DEADLINE_S = 20", "DEADLINE_S = 8")
        for name in NOT_IN_A_NAMESPACE:
            text = text.replace(f"def {name}", f"def not_{name}")
        tests.write_text(text)
        (self.folder / "home").mkdir()
        (self.folder / "tmp").mkdir()
        py_compile.compile(str(tests))

    def outcome(self, mutant: Mutant) -> str:
        """Return whose tests kill a mutant, or that it survives."""
        text = mutant.apply(self.session.source.text)
        (self.folder / "copy" / SERVER).write_text(text)
        own = []
        others = []
        for test_class in self.session.classes:
            if test_class.section == mutant.section:
                own.append(test_class)
            else:
                others.append(test_class)
        if self.fails(own):
            return "killed by its section"
        if not self.session.own_only and self.fails(others):
            return "killed by others"
        return "survived"

    def fails(self, classes: list[TestClass]) -> bool:
        """Return whether a test of these classes fails.

        A busy machine makes tests fail that wait for a process: such a test must fail
        alone as well.
        """
        slow = {each.name for each in classes if each.is_slow}
        names = [each.name for each in classes]
        while names:
            output = self.run_tests(names)
            if output is None:
                return False
            failed = re.search(
                r"^(?:FAIL|ERROR): \w+ \(\w+\.((\w+)\.\w+)", output, re.MULTILINE
            )
            if failed is None or failed[2] not in slow:
                return True
            if self.run_tests([failed[1]]) is not None:
                return True
            print(f"passes alone: {failed[1]}", file=sys.stderr, flush=True)
            names.remove(failed[2])  # a class that has failed without a reason
        return False

    def run_tests(self, names: list[str]) -> str | None:
        """Return the output of failed tests; None if they pass."""
        modules = [f"{Path(TESTS).stem}.{name}" for name in names]
        command = [sys.executable, "-m", "unittest", "-q", "-f", *modules]
        if sys.platform == "linux" and os.geteuid() == 0:
            namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
            command = [*namespace, *command]
        environment = {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            # Mutants of one size, written in one second, must not share compiled code.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            done = subprocess.run(
                command,
                cwd=self.folder / "copy",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            (self.folder / "tmp").mkdir()
        if done.returncode == 0:
            return None
        return done.stderr.decode(errors="replace")


class Session:
    """What the workers share."""

    def __init__(self, source: Source, results: Path, own_only: bool) -> None:
        self.source = source
        self.own_only = own_only
        self.classes = test_classes((ROOT / TESTS).read_text())
        self.results = results
        self.lock = threading.Lock()  # guards the file of results

    def add(self, mutant: Mutant, outcome: str) -> None:
        name = mutant.describe(self.source.text)
        row = {"section": mutant.section, "mutant": name, "outcome": outcome}
        with self.lock, self.results.open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_results(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a file of results by the names of the mutants."""
    rows = {}
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["mutant"]] = row
    return rows


def print_results(rows: list[dict[str, str]]) -> None:
    total: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    for row in rows:
        total[row["section"]] += 1
        if row["outcome"] == "survived":
            survived[row["section"]] += 1
            print(f"- {row['section']}, line {row['mutant']}")
    print("\n| section | mutants | killed |\n|---|---|---|")
    for section, count in total.items():
        print(f"| {section} | {count} | {count - survived[section]} |")
    print(f"| all | {total.total()} | {total.total() - survived.total()} |")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--section")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--again", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def choose(options: argparse.Namespace, source: Source) -> list[Mutant]:
    """Return the mutants that are wanted."""
    mutants = all_mutants(source)
    count = options.count
    if options.section:
        mutants = [mutant for mutant in mutants if mutant.section == options.section]
    if options.kind:
        mutants = [mutant for mutant in mutants if mutant.kind in options.kind]
    elif count is None:
        count = DEFAULT_COUNT
    if options.again:
        survivors = set()
        for name, row in read_results(options.again).items():
            if row["outcome"] == "survived":
                survivors.add(name)
        return [each for each in mutants if each.describe(source.text) in survivors]
    if count is not None:
        return draw(mutants, count, options.seed)
    return mutants


def main() -> None:
    options = read_options()
    source = Source((ROOT / SERVER).read_text())
    mutants = choose(options, source)
    if options.list or options.results is None:
        for mutant in mutants:
            print(f"{mutant.section}, line {mutant.describe(source.text)}")
        print(len(mutants), dict(Counter(mutant.kind for mutant in mutants)))
        return
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # a shell lets `&` and nohup ignore them
    known = read_results(options.results)
    jobs: queue.Queue[Mutant] = queue.Queue()
    for mutant in mutants:
        if mutant.describe(source.text) not in known:
            jobs.put(mutant)
    session = Session(source, options.results, options.own)
    workers = [Worker(jobs, session) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print_results(list(read_results(options.results).values()))


if __name__ == "__main__":
    main()
