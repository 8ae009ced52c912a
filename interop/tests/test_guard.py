"""Do the tests that read the server's source find what they are there to find?

`OutsideWorldPromiseTest` and `LockPromiseTest` of test_aws_sso_mcp.py search the source for what it
must not do. Here, exactly that is planted into copies of it. The last class is about the
processes of the unit tests: does each tell all that it finds?
"""

from __future__ import annotations

import ast
import os
import sys
import unittest
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

import pytest

from test_aws_sso_mcp import (
    AMBIGUOUS,
    COMPUTING_TYPES,
    DOORS,
    GUARDED_ASSIGNMENTS,
    GUARDED_NAMES,
    REACHING_TYPES,
    SERVER,
    WORLD,
    Finding,
    KeyGuard,
    OutsideWorldGuard,
    ProcessOfTests,
    SeveralProcesses,
    SourceFacts,
    public_names,
    section_starts,
    uses_without_lock,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# A name, and lines that reach outside: the guard must find that name in each of them. All
# lines are planted into one copy of the file.
# fmt: off
REACHING_LINES: list[tuple[str, ...]] = [
    # a function of a module, by whatever way it is named
    ("os.system", "os.system('x')", "from os import system as s1; s1('x')", "from os import system",
     "run = os.system", "run = [os.system][0]", "run: object = os.system",
     "(run := os.system)('x')", "partial(os.system, 'x')", "list(map(os.system, ['x']))",
     "sorted('x', key=os.system)", "re.sub('x', os.system, 'x')", "lambda x=os.system: x('x')",
     "def inner_function(x=os.system): pass", "def inner_function(*, x=os.system): pass",
     "@os.system\ndef inner_function(): pass", "class Inner:\n    run = os.system",
     "class Inner:\n    def __enter__(self):\n        os.system('x')",
     "class Inner(metaclass=os.system): pass", "[os.system(x) for x in 'x']",
     "[x for x in 'x' if os.system(x)]", "{x: y for x in 'x' for y in [os.system(x)]}",
     "f'{os.system(1)}'", "f'{1:{os.system(1)}}'", "assert os.system('x')", "return os.system",
     "yield os.system", "raise Failure('x', os.system('x'))", "with os.system('x'): pass",
     "try: pass\nexcept os.system('x'): pass", "for os.system in []: pass", "os.system = None",
     "del os.system", "if TYPE_CHECKING: pass\nelse: os.system('x')"),
    ("os", "import os as o1; o1.system('x')"), ("os.*", "from os import *"),
    ("json.loads", "json.loads = home"),
    # a module under another name
    ("os", "o2 = os; o2.system('x')", "(o2 := os).system('x')", "o2, number = os, 1",
     "def inner_function(o2=os): o2.system('x')", "for o2 in [os]: o2.system('x')",
     "[o2.system('x') for o2 in (os,)]", "print(os)", "return os",
     "getattr(os, 'sys' + 'tem')('x')", "vars(os)['system']('x')", "os.replace('x', 'y')"),
    ("os.path", "p1 = os.path; p1.exists('x')", "import os.path as p2; p2.exists('x')",
     "from os import path as p3; p3.isfile('x')", "os.path.exists('x')"),
    ("os.path.realpath", "from os.path import realpath"),
    # modules within modules
    ("os.sys", "os.sys.modules['os']"), ("json.codecs", "json.codecs.open('x')"),
    ("json.decoder", "json.decoder.scanner"), ("re.enum", "re.enum.sys"),
    ("contextlib.os", "contextlib.os.system('x')"), ("threading._os", "threading._os.system('x')"),
    # builtins that open, print, or run text
    ("open", "open('x')", "run = open", "with open('x', 'w') as file: pass",
     "list(map(open, ['x']))", "partial(open, 'x')", "json.loads(open('x'))", "f'{open(1)}'",
     "class Inner:\n    run = open", "lambda open: 1\nopen('x')"),
    ("__import__", "__import__('os').system('x')"), ("globals", "globals()['os']"),
    ("locals", "locals()['os']"), ("vars", "vars()['os']"), ("object", "object.mro()"),
    ("staticmethod", "class Inner:\n    run = staticmethod(open)"),
    ("__builtins__", "__builtins__['open']('x')", "__builtins__.open('x')"),
    ("__loader__", "__loader__.load_module('os')"), ("__spec__", "__spec__.loader"),
    # attributes with two underscores, frames
    (".__class__", "().__class__.__bases__[0].__subclasses__()"),
    (".__subclasses__", "type(1).__subclasses__()"), (".__globals__", "home.__globals__['os']"),
    (".__code__", "home.__code__ = 1"), (".__self__", "len.__self__.open('x')"),
    (".__getattribute__", "json.loads.__getattribute__('x')"),
    ("os.__dict__", "os.__dict__['system']('x')"), (".f_globals", "home.f_globals['os']"),
    (".f_builtins", "home.f_builtins['open']"),
    ("sys.modules", "sys.modules['os'].system('x')", "from sys import modules as m1"),
    ("sys._getframe", "sys._getframe().f_globals"), ("sys.path", "sys.path.insert(0, '.')"),
    ("sys.meta_path", "sys.meta_path.clear()"), ("sys.excepthook", "sys.excepthook = home"),
    ("sys.stdout", "sys.stdout = None"), ("sys.stderr", "sys.stderr.write('x')"),
    ("sys.stdin", "sys.stdin.buffer.read()"),
    # files
    ("io.open", "from io import open as o3; o3('x')"),
    ("io.FileIO", "class Inner(io.FileIO): pass"),
    ("tomllib.load", "import tomllib; tomllib.load(1)"),
    (".read", "import configparser; configparser.RawConfigParser().read('x')"),
    (".read_file", "import configparser; configparser.RawConfigParser().read_file('x')"),
    ("configparser.ConfigParser", "from configparser import ConfigParser"),
    ("shutil.rmtree", "import shutil; shutil.rmtree('x')"),
    ("shutil.copy", "from shutil import copy as c2"),
    ("shutil.which", "import shutil; shutil.which('x')"),
    # the environment, changed or handed on
    ("os.environ", "os.environ['X'] = 'x'", "os.environ['X'] += 'x'", "del os.environ['X']",
     "os.environ.update(X='x')", "os.environ.pop('X')", "os.environ |= {}",
     "environment = os.environ; environment['X'] = 'x'", "environment = {'x': os.environ}",
     "def inner_function(environment=os.environ): pass",
     "from os import environ as e1; e1['X'] = 'x'", "os.environ['X']", "'X' in os.environ",
     "{**os.environ}"),
    ("os.environ.get", "os.environ.get = None"), ("os.environb", "os.environb[b'X']"),
    # processes, threads, signals
    ("os.popen", "class Inner:\n    run = property(os.popen)"),
    ("threading.Thread", "threading.Thread(target=home).start()",
     "class Inner(threading.Thread): pass"),
    ("threading.excepthook", "threading.excepthook = home"),
    # text that is evaluated, attributes that are named by text
    ("typing.get_type_hints", "from typing import get_type_hints as t2; t2(home)"),
    ("typing.ForwardRef", "from typing import ForwardRef as t3; t3('x')"),
    ("functools.reduce", "from functools import reduce as r1"),
    # doors of The outside world
    ("Process", "Process(['/bin/sh', '-c', 'x'])", "run = Process", "class Inner(Process): pass",
     "isinstance(1, Process)", "partial(Process, ['x'])", "Process.__init__", "Process = None",
     "def Process(): pass", "[Process for Process in 'x']", "def inner_function(Process): pass"),
    ("json", "import json as read_file"), ("read_file", "run = read_file", "read_file('x')"),
    ("write_file", "write_file('x', 'y')", "class Inner:\n    run = write_file"),
    ("._popen", "run._popen.kill()"),
    # names that are imported, bound again
    ("os", "import os as json"), ("json.loads", "from json import loads as l1"),
    ("json", "json = None", "def inner_function(json): pass", "for json in 'x': pass",
     "try: pass\nexcept OSError as json: pass"),
    # methods that a Path has, and text or a match has too
    (".replace", "home.replace('x')", "home.replace(target='x')", "home.replace(*['x', 'y'])",
     "home.replace(*[], 'x')", "run = home.replace"),
    (".copy", "home.copy('x')"), (".group", "home.group()"), (".parser", "home.parser"),
    # methods of a Path, without a Path in sight
    (".read_text", "home().read_text()", "(home() / 'x').parent.read_text()",
     "run = home.read_text", "home.read_text = 1", "list(map(home.read_text, 'x'))"),
    (".open", "with home.open() as file: pass"),
    # statements
    ("asyncfunctiondef", "async def inner_function(): pass"), ("global", "global read_json"),
    ("..x1", "from . import x1"), (".os.x2", "from .os import x2"),
]
# Names that are found where they are called, or are attributes of an object.
REACHING_NAMES = """
    print input eval exec compile breakpoint help exit quit dir getattr setattr delattr
    memoryview __file__ a_name_that_nothing_binds .__bases__ .__mro__ .__dict__
    .__func__ .__closure__ .__get__ .__call__ .__builtins__ json.__loader__
    os.__getattribute__ .gi_frame sys.settrace sys.addaudithook io.open io.FileIO
    io.open_code json.load json.dump os.open os.fdopen os.write os.remove os.rename
    os.symlink os.chmod os.makedirs os.listdir os.scandir os.stat os.access os.chdir
    os.getuid os.putenv os.popen os.execv os.posix_spawn os.fork os.kill os._exit
    os.startfile signal.signal signal.alarm signal.SIGKILL stat.S_ISREG threading.Timer
    _thread.start_new_thread time.sleep handle_signals .kill .terminate .unknown_method
"""
# Modules that no section may import.
REACHING_MODULES = """
    _posixsubprocess antigravity ast asyncio atexit bdb builtins cProfile code
    codecs codeop concurrent.futures csv ctypes dbm dis doctest ensurepip faulthandler
    fcntl fileinput ftplib gc getpass glob grp gzip http.client imaplib importlib
    importlib.util inspect linecache logging logging.handlers marshal mmap msvcrt
    multiprocessing netrc operator optparse pdb pickle pkgutil platform posix pprint pty
    pwd pydoc readline resource runpy sched select selectors shelve site smtplib socket
    socketserver sqlite3 ssl subprocess symtable sysconfig syslog tarfile tempfile
    termios this timeit trace traceback tty types unittest urllib.request venv weakref
    webbrowser winreg wsgiref xml.etree xmlrpc.client zipapp zipfile zipimport
    an_unknown_module
"""
# What must not be found, in whichever section.
HARMLESS_LINES = [
    "re.fullmatch('x', 'x')", "from json import loads; loads('1')",
    "json.loads(json.dumps({}))", "'a'.replace('b', 'c')", "'a'.replace('b', 'c', 1)",
    "' a '.strip().partition(' ')", "folder / 'x'", "folder.name",
    "folder.parent.parent.stem", "folder.with_name('x').with_suffix('.json')",
    "folder.joinpath('x').is_absolute()", "folder.parts[0].casefold()",
    "os.environ.get('X')", "numbers = [1, 2]; numbers.append(3); numbers.sort()",
    "f'{len([1]):>{2}}'", "with contextlib.suppress(ValueError): int('x')",
    "def inner_function(text: Process) -> open: return text",
    "class Inner:\n    size = 1\n    def double(self): return self.size",
    "if TYPE_CHECKING:\n    from pathlib import Path", "time.monotonic() - time.time()",
]
# fmt: on


class Planted(NamedTuple):
    """A case as a function at the end of a section."""

    section: str
    number: int  # of the case
    lines: range  # where the case stands


def plant(
    source: str, into: Sequence[str], cases: Sequence[str]
) -> tuple[str, list[Planted]]:
    """Return a copy that has every case in each of these sections."""
    starts = section_starts(source)
    ends = dict(zip([*list(starts.values())[1:], source.count("\n") + 2], starts))
    lines: list[str] = []
    planted: list[Planted] = []
    for line_number, line in enumerate(f"{source}\n".split("\n"), 1):
        section = ends.get(line_number)
        if section in into:
            for number, case in enumerate(cases):
                lines.append("def planted(folder):")
                first = len(lines) + 1
                lines += ["    " + each for each in case.split("\n")]
                here = range(first, len(lines) + 1)
                planted.append(Planted(str(section), number, here))
        lines.append(line)
    return "\n".join(lines), planted


def use_of(name: str) -> str:
    """Return a line that uses a name, as the tables spell it."""
    if name.startswith("."):
        return f"folder{name}"
    return f"{name}()"


# A server of few lines, and what it needs.
SAMPLE = """\
from __future__ import annotations
import json
# --- The outside world ---
NUMBER = 1
class Process:
    def __init__(self, command, program):
        self.pid = 1
def read_file(path, kind):
    return path
# --- Login ---
def log_in(program):
    return Process("log in", program)
def run_aws(command, program):
    return (lambda: Process(program=program, command=command))()
def who_am_i(program):
    name = "log in"
    if program:
        name = "identity"
    return run_aws(name, program)
def read_token(path):
    return json.loads(read_file(path, "cache"))
"""
SAMPLE_HARMLESS = {"__future__.annotations", "json", "json.loads"}
SAMPLE_DOORS = {"Process": ("log_in", "run_aws"), "read_file": ("read_token",)}
SAMPLE_KEYS = {"COMMANDS": ["log in", "identity"], "READ_FILES": ["cache"]}
SAMPLE_END = SAMPLE.count("\n") + 2  # the line of what is added below


def sample_with(line: str) -> str:
    return f"{SAMPLE}def more(name):\n    {line}\n"


class OutsideWorldGuardTest(unittest.TestCase):
    """The test that reads the source for what reaches outside finds it."""

    source = SERVER.read_text(encoding="utf-8")
    other_sections = tuple(set(section_starts(source)) - {WORLD})

    def found(self, source: str) -> set[tuple[int, str]]:
        return {(each.line, each.name) for each in OutsideWorldGuard(source).findings}

    def findings_in_sample(self, source: str) -> list[Finding]:
        return OutsideWorldGuard(source, SAMPLE_HARMLESS, SAMPLE_DOORS).findings

    def assert_none(self, findings: Sequence[Finding]) -> None:
        assert "\n".join(map(str, findings)) == ""

    def assert_found(
        self, sections: Sequence[str], cases: Sequence[tuple[str, str]]
    ) -> None:
        """Plant (name, line) into each section: the name must be found in each line.

        Unless it is a door that is open in the section.
        """
        source, planted = plant(self.source, sections, [line for _, line in cases])
        found = self.found(source)
        missed: list[str] = []
        for case in planted:
            name, line = cases[case.number]
            is_found = any((number, name) in found for number in case.lines)
            is_open = case.section in DOORS.get(name, ())
            if is_found == is_open:
                missed.append(f"{case.section}: {name} in {line!r}")
        assert missed == []
        assert len(sections) * len(cases) == len(planted)

    def test_what_reaches_outside_is_found_in_every_other_section(self) -> None:
        cases = [(name, use_of(name)) for name in REACHING_NAMES.split()]
        for name, *lines in REACHING_LINES:
            cases += [(name, line) for line in lines]
        for module in REACHING_MODULES.split():
            cases.append((module, f"import {module}"))
            cases.append((f"{module}.x", f"from {module} import x"))
        for method in sorted(public_names([Path]) - public_names([PurePath])):
            cases.append((f".{method}", f"folder.{method}()"))
        self.assert_found(self.other_sections, cases)
        source, planted = plant(self.source, [WORLD], [line for _, line in cases])
        world_lines = {number for case in planted for number in case.lines}
        assert set() == world_lines & {line for line, _ in self.found(source)}

    @unittest.skipIf(sys.version_info < (3, 10), "match is of Python 3.10")
    def test_match_statement_is_found(self) -> None:
        line = "match folder:\n    case Failure(__init__=run): pass"
        self.assert_found(["Tools"], [("match", line)])

    def test_harmless_lines_are_not_found(self) -> None:
        source, _ = plant(self.source, self.other_sections, HARMLESS_LINES)
        self.assert_none(OutsideWorldGuard(source).findings)

    def test_doors_open_only_where_the_table_says(self) -> None:
        self.assert_found(self.other_sections, [(name, use_of(name)) for name in DOORS])

    def test_names_of_the_outside_world_that_are_no_doors_are_found(self) -> None:
        names = sorted(SourceFacts(self.source).world_names - set(DOORS))
        self.assert_found(["Tools"], [(name, name) for name in names])

    def test_door_is_called_where_it_may_be_used_and_not_handed_on(self) -> None:
        source = SAMPLE.replace('Process("log in", program)', "Process")
        findings = self.findings_in_sample(source)
        assert [each.name for each in findings] == ["Process"]

    def test_section_cannot_be_stretched_over_the_next(self) -> None:
        heading = "# --- The outside world ---\n"
        for text in (
            f'"""\n{heading}"""\n',
            f"class Inner:\n    x = 1\n{heading}    y = 1\n",
            f"@open\n{heading}def more(): pass\n",
        ):
            source = "# --- Login ---\n" + text
            assert "statement" in {name for _, name in self.found(source)}

    def test_annotations_are_checked_where_python_evaluates_them(self) -> None:
        source = sample_with("def inner(x: open) -> open: pass")
        self.assert_none(self.findings_in_sample(source))
        source = source.replace("from __future__ import annotations\n", "")
        names = [each.name for each in self.findings_in_sample(source)]
        assert names == ["open", "open"]

    def test_only_known_names_mean_two_things(self) -> None:
        both = public_names(COMPUTING_TYPES) & public_names(REACHING_TYPES)
        assert both - public_names([PurePath]) <= AMBIGUOUS

    def test_finding_tells_the_line_and_what_to_do(self) -> None:
        [finding] = map(str, self.findings_in_sample(sample_with("json.load(1)")))
        assert finding.startswith(f"line {SAMPLE_END} (Login): json.load is in")
        assert "Then add it to HARMLESS." in finding

    def test_entry_that_nothing_needs_is_reported(self) -> None:
        guard = OutsideWorldGuard(SAMPLE, SAMPLE_HARMLESS, SAMPLE_DOORS)
        assert guard.unused() == []
        harmless = {*SAMPLE_HARMLESS, "len", "io", "json.dumps", ".columns"}
        doors = {**SAMPLE_DOORS, "Process": ("log_in", "run_aws", "Tools")}
        unused = [".columns", "Process in Tools", "io", "json.dumps", "len"]
        assert unused == OutsideWorldGuard(SAMPLE, harmless, doors).unused()

    def test_key_is_written_out_by_whoever_chooses_it(self) -> None:
        assert KeyGuard(SAMPLE, SAMPLE_KEYS).unused() == []
        for line in (
            "Process('log in', 'aws')",
            "Process(program='aws', command='log in')",
            "run_aws('identity', 'aws')",
            "def inner(program): return Process('log in', program)",
        ):
            with self.subTest(line):
                self.assert_none(KeyGuard(sample_with(line), SAMPLE_KEYS).findings)

    def test_other_keys_are_found(self) -> None:
        for line in (
            "Process('delete', 'aws')",
            "Process(['/bin/sh', '-c', 'x'], 'aws')",
            "Process('log' + ' in', 'aws')",
            "Process('log in' if name else 'identity', 'aws')",
            "Process(f'log in', 'aws')",
            "Process(unknown, 'aws')",
            "Process(*name)",
            "Process(**name)",
            "Process()",
            "run = Process",
            "run_aws('delete', 'aws')",
            "run_aws(name + 'x', 'aws')",
            "run = run_aws",
            "return Process(name, 'aws')",
            "name = 'delete'; Process(name, 'aws')",
            "key = 'log in'; key += 'x'; Process(key, 'aws')",
            "(lambda name: Process(name, 'aws'))('delete')",
            "read_file('x', 'everything')",
            "read_file('x')",
        ):
            with self.subTest(line):
                findings = KeyGuard(sample_with(line), SAMPLE_KEYS).findings
                assert [each.line for each in findings] == [SAMPLE_END]

    def test_key_that_nothing_uses_is_reported(self) -> None:
        source = SAMPLE.replace('name = "identity"', 'name = "log in"')
        assert KeyGuard(source, SAMPLE_KEYS).unused() == ["COMMANDS: identity"]


class LockGuardTest(unittest.TestCase):
    """The test that reads the source for locks misses each one that is left out."""

    tree = ast.parse(SERVER.read_text(encoding="utf-8"))

    def test_every_lock_that_is_left_out_is_found(self) -> None:
        locks = {*GUARDED_NAMES.values(), *GUARDED_ASSIGNMENTS.values()}
        count = 0
        for node in ast.walk(self.tree):
            if isinstance(node, ast.With):
                lock = ast.unparse(node.items[0].context_expr)
                if lock in locks:
                    count += 1
                    with self.subTest(line=node.lineno):
                        assert uses_without_lock(self.tree, node) != []
        assert count > 10


class Examples(unittest.TestCase):
    """Tests for another process to run."""

    def passes(self) -> None:
        pass

    def fails(self) -> None:
        self.fail("what is wrong")

    def fails_in_a_part(self) -> None:
        for number in (1, 2):
            with self.subTest(number=number):
                assert number == 1

    def ends_with_an_error(self) -> None:
        raise LookupError("where")

    def is_skipped(self) -> None:
        self.skipTest("why")

    def ends_the_process(self) -> None:
        os._exit(0)


@unittest.skipUnless(sys.platform == "linux", "elsewhere there is one process")
class SeveralProcessesTest(unittest.TestCase):
    def result_of(self, *names: str) -> unittest.TestResult:
        """Return what another process tells of these examples."""
        tests = {}
        for name in names:
            test = Examples(name)
            tests[test.id()] = test
        result = unittest.TestResult()
        ProcessOfTests(unittest.TestSuite(tests.values())).report(tests, result)
        return result

    def test_each_test_runs_in_one_process(self) -> None:
        suite = SeveralProcesses()
        for _ in range(200):
            suite.addTest(Examples("passes"))
        result = unittest.TestResult()
        suite.run(result)
        assert result.testsRun == 200
        assert result.wasSuccessful()

    def test_each_problem_is_told_with_its_test_and_its_text(self) -> None:
        for name, *texts in (
            ("fails", "what is wrong", "line"),
            ("fails_in_a_part", "number=2", "AssertionError"),
            ("ends_with_an_error", "LookupError: where", "line"),
        ):
            with self.subTest(name):
                result = self.result_of("passes", name)
                [(test, told)] = result.failures
                assert Examples(name) == test
                for text in texts:
                    assert text in told
                assert result.testsRun == 2

    def test_skips_are_told_with_their_reasons(self) -> None:
        [(test, reason)] = self.result_of("is_skipped", "passes").skipped
        assert (Examples("is_skipped"), "why") == (test, reason)

    def test_process_that_ends_early_is_an_error(self) -> None:
        with pytest.raises(EOFError):
            self.result_of("passes", "ends_the_process")
