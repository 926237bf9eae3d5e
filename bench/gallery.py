#!/usr/bin/env python3
"""Galleries side by side on one machine: a file, and a PostgreSQL server of this program's own whose searches are
those of our index in memory, of pgvector's HNSW over halves and of its HNSW over signs.

usage: gallery.py UNIFACE [--count N] [--dim D] [--singles N] [--probes P] [--dir DIR] [--json FILE]

The server is made in a temporary folder, with fsync, and thrown away. pgvector is built by tools/build-pgvector.sh
where the machine has none; without either, the file alone is measured and it is said why. Every row enrols the same
made templates, in transactions of 1,000 and then one by one, and asks for the same probes.
"""
import argparse
import json
import pathlib
import platform
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests/gallery"))
from postgres_server import Servers, Skip  # noqa: E402

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("uniface")
p.add_argument("--count", type=int, default=5000)
p.add_argument("--dim", type=int, default=512)
p.add_argument("--singles", type=int, default=200)
p.add_argument("--probes", type=int, default=500)
p.add_argument("--dir", help="where the gallery in a file is made")
p.add_argument("--json", help="write what was measured there")
a = p.parse_args()


def bench(*options):
    done = subprocess.run([a.uniface, "bench", "gallery", "--count", str(a.count), "--dim", str(a.dim), "--singles",
                           str(a.singles), "--probes", str(a.probes), "--deletions", "10", "--json", *options],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def server():
    """Its address and what it is; fsync on, as people run it."""
    servers = Servers(root, root / "build")
    address = servers.start("bench")
    with open(servers.running[0] / "postgresql.conf", "a") as f:
        f.write("fsync = on\nshared_buffers = 1GB\nmaintenance_work_mem = 512MB\n")
    servers.control(servers.running[0], "restart")
    version = subprocess.run([servers.programs / "postgres", "--version"], capture_output=True, text=True).stdout
    # programs are in PREFIX/lib/postgresql/VERSION/bin, what they share in PREFIX/share/postgresql
    shared = servers.programs.parents[3] / "share/postgresql"
    control = next(shared.rglob("vector.control"), None) if servers.vector else None
    if control:
        version = version.strip() + ", pgvector " + control.read_text().split("default_version = '")[1].split("'")[0]
    return servers, address, version.strip()


rows, facts = [], []
measured = bench(*(["--dir", a.dir] if a.dir else []))
for side in ("encrypted", "plain"):
    rows.append(("file, " + side, measured[side]))
facts.append("UniFace {version} on {processor}".format(**measured) + f", Linux {platform.release()}")
facts.append("encryption costs {bulk:.1f} % of bulk enrolment, {single:.1f} % of enrolment one by one, {identify:.1f} % "
             "of identify (medians of pairs)".format(**measured["encryption_percent"]))
facts.append("the disk alone writes and syncs 16 KiB {disk_per_s:.0f} times a second (p50 {disk_ms_p50:.2f} ms)".format(
    **measured))
try:
    servers, address, version = server()
    kinds = [("memory", "encrypted")] + ([("halfvec", "plain"), ("bit", "plain")] if servers.vector else [])
    for kind, side in kinds:
        print(f"PostgreSQL, search={kind}", file=sys.stderr, flush=True)
        options = ["-g", f"{address}?gallery=bench_{kind}&search={kind}"] + (["--plain"] if side == "plain" else [])
        rows.append((f"PostgreSQL, search={kind}, {side}", bench(*options)[side]))
    facts.append(version if servers.vector else f"{version}; pgvector left out: {servers.why_not}")
except Skip as why:
    facts.append(f"PostgreSQL left out: {why}")

print(f"\n{a.count} people of {a.dim} dimensions in bulk, {a.singles} one by one, {a.probes} probes, one thread\n")
print("| gallery | bulk, templates/s | one by one, /s | p99, ms | identify p50, ms | p99 | mates found | open to first "
      "answer, s | delete, ms |")
print("|---|---|---|---|---|---|---|---|---|")
for name, r in rows:
    print(f"| {name} | {r['bulk_per_s']:.0f} | {r['single_per_s']:.0f} | {r['single_ms_p99']:.1f} | "
          f"{r['identify_ms_p50']:.2f} | {r['identify_ms_p99']:.2f} | {r['mates_found']:.4f} | {r['open_s']:.3f} | "
          f"{r['delete_ms_p50']:.1f} |")
print("\n" + "\n".join("- " + fact for fact in facts))
if a.json:
    pathlib.Path(a.json).write_text(json.dumps({"rows": dict(rows), "facts": facts}, indent=1))
