"""Makes the virtual environment and installs the locked requirements, if that is not done yet.

    python3 requirements/install.py base embedded

Runs on a bare Python: only the standard library. What is installed is noted in the
environment by the lock's hash, so a second run has nothing to do and takes milliseconds.
Two runs at once wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
MADE_AT = VENV / ".made-at"
OLDEST = (3, 11)


def main(names: list[str]) -> None:
    if sys.version_info < OLDEST:
        sys.exit(f"Scrip needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    with (ROOT / "requirements" / "install.py").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not _is_usable():
            _make()
        missing = [name for name in names if not _is_installed(name)]
        if missing:
            _install(missing)


def _is_usable() -> bool:
    """Say whether the environment runs: its Python may have gone, or the folder have moved."""
    if MADE_AT.exists() and MADE_AT.read_text() != str(VENV):
        return False  # Programs in .venv/bin name the folder they were made in.
    probe = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    try:
        done = subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False)
        return done.returncode == 0
    except OSError:
        return False


def _make() -> None:
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        sys.exit(
            f"{sys.executable} cannot make a virtual environment: its venv module is incomplete.\n"
            "On Debian and Ubuntu: apt-get install python3-venv. Or name another Python:"
            " make run PYTHON=/path/to/python3.11"
        )
    # PostgreSQL may run as another user, who has to read what is installed here.
    os.umask(0o022)
    print(f"Making .venv with Python {sys.version.split()[0]}", flush=True)
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    MADE_AT.write_text(str(VENV))


def _stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def _digest(name: str) -> str:
    return hashlib.sha256((ROOT / "requirements" / f"{name}.txt").read_bytes()).hexdigest()


def _is_installed(name: str) -> bool:
    stamp = _stamp(name)
    return stamp.exists() and stamp.read_text() == _digest(name)


def _install(names: list[str]) -> None:
    """Install locks into the environment; every file must have the hash that the lock says."""
    digests = {name: _digest(name) for name in names}
    print(f"Installing {', '.join(names)}: a minute the first time", flush=True)
    locks = [argument for name in names for argument in ("-r", f"requirements/{name}.txt")]
    # Twice quiet: errors still show, remarks about this machine's pip settings do not.
    # Not compiled: most of it is never imported, and what is gets compiled when it is.
    how = ("-qq", "--no-compile", "--require-hashes", "--no-input")
    command = [str(PYTHON), "-m", "pip", "install", *how, *locks]
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, cwd=ROOT, env=os.environ | quiet, check=False).returncode:
        sys.exit("The packages could not be installed; pip says why above.")
    for name, digest in digests.items():
        _stamp(name).write_text(digest)


if __name__ == "__main__":
    main(sys.argv[1:])
