"""PostgreSQL servers of the tests' own: made in a temporary folder, on free ports of the loopback, stopped at
the end. Nothing of the machine's PostgreSQL but its programs is used."""
import atexit
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

PASSWORD = "not-to-be-shown"


class Skip(Exception):
    """The reason why there can be no server here."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def newest_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found or int(found[-1].parts[-3]) < 15:
        raise Skip("PostgreSQL 15 (postgresql-15) is not installed")
    return found[-1].parent


def as_user():
    """PostgreSQL does not run as root."""
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
            return ["runuser", "-u", name, "--"]
        except KeyError:
            pass
    raise Skip("no user to run PostgreSQL as")


class Servers:
    """A folder with servers in it. `vector` tells whether they have pgvector; `why_not`, why they have not.
    Without the roots pgvector is not asked for."""

    def __init__(self, source_root=None, build_root=None):
        self.programs, self.user = newest_programs(), as_user()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="uniface-postgres-"))
        self.folder.chmod(0o755)
        self.running = []
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: exit(1))  # so that the above runs
        self.vector, self.why_not = False, "not asked for"
        if source_root:
            self.build_vector(source_root, build_root)

    def build_vector(self, source_root, build_root):
        kept = pathlib.Path(os.environ.get("UNIFACE_PGVECTOR", pathlib.Path(build_root) / "pgvector"))
        built = subprocess.run(["sh", pathlib.Path(source_root) / "tools/build-pgvector.sh", kept],
                               capture_output=True, text=True)
        self.vector, self.why_not = built.returncode == 0, built.stdout.strip()
        if built.returncode not in (0, 77):
            raise RuntimeError("tools/build-pgvector.sh: " + built.stdout + built.stderr)
        if self.vector:  # copied to where every user may read it
            shutil.copytree(kept, self.folder / "server", symlinks=True)
            self.programs = self.folder / "server" / (kept / "ready").read_text().strip().lstrip("/")

    def run(self, *command):
        done = subprocess.run([*self.user, *command], capture_output=True, text=True, cwd=self.folder,
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")

    def start(self, name):
        """A new server; returns its address."""
        data = self.folder / name
        data.mkdir()
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self.user:
            shutil.chown(data, self.user[2])
        self.run(self.programs / "initdb", "-D", data, "-U", "uniface", "-E", "UTF8", "--locale=C.UTF-8", "-N",
                 "--auth=scram-sha-256", f"--pwfile={secret}")
        port = free_port()
        with open(data / "postgresql.conf", "a") as f:
            f.write(f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n"
                    "fsync = off\nshared_buffers = 64MB\nmax_connections = 40\n")
        self.running.append(data)
        self.control(data, "start")
        return f"postgresql://uniface:{PASSWORD}@127.0.0.1:{port}/postgres"

    def control_command(self, data, action):
        return [*self.user, self.programs / "pg_ctl", "-D", data, "-l", data / "server.log", "-w", "-s", action]

    def control(self, data, action):
        subprocess.run(self.control_command(data, action), check=True, cwd=self.folder, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def close(self):
        for data in self.running:
            subprocess.run([*self.user, self.programs / "pg_ctl", "-D", data, "-m", "immediate", "-s", "stop"],
                           cwd=self.folder, stdin=subprocess.DEVNULL)
        self.running = []
        shutil.rmtree(self.folder, ignore_errors=True)
