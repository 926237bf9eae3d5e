"""The PostgreSQL side of galleries against servers that this program starts and stops.

Usage: postgres_test.py SOURCE_ROOT BUILD_ROOT SERVER_TEST SEARCH_TEST GALLERY_TEST. Ends with "N passed, N failed, N skipped";
exit status 77: all skipped.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

from postgres_server import PASSWORD, Servers, Skip

TOTALS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")


def run_program(program, environment, totals):
    done = subprocess.run([program], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    closing = None
    for line in done.stdout.splitlines():
        closing = TOTALS.match(line) or closing
        if not TOTALS.match(line):
            print(line)
    counted = [int(n) for n in closing.groups()] if closing else [0, 1, 0]
    if done.returncode not in (0, 77) and not counted[1]:
        counted[1] = 1
    for i, n in enumerate(counted):
        totals[i] += n


def shards(servers, source_root, coordinator, search_test, environment, totals):
    """A coordinator and two shards, made by the script that operators use; the same searches as on one server."""
    with_password = [coordinator, servers.start("shard1"), servers.start("shard2")]
    addresses = [re.sub(":[^:@]*@", "@", a) for a in with_password]
    coordinator = coordinator.replace("/postgres", "/coordinator")
    secret = {**os.environ, "PGPASSWORD": PASSWORD, "SHARD_PASSWORD": PASSWORD}
    subprocess.run(["psql", "-qd", addresses[0], "-c", "CREATE DATABASE coordinator"], check=True, env=secret)
    for address in addresses[1:]:  # so few rows would be read one by one, and rightly so
        subprocess.run(["psql", "-qd", address, "-c", "ALTER ROLE uniface SET enable_sort = off"], check=True, env=secret)
    addresses[0] = addresses[0].replace("/postgres", "/coordinator")
    for kind in ("halfvec", "bit"):
        done = subprocess.run(["sh", pathlib.Path(source_root) / "deploy/postgres/shards.sh", "-g", "search_" + kind,
                               "-s", kind, "-p", "2", "some model", "64", *addresses], env=secret)
        totals[done.returncode != 0] += 1
    run_program(search_test, {**environment, "UNIFACE_TEST_POSTGRES": coordinator, "UNIFACE_TEST_SHARDS": "4"}, totals)
    for address in addresses[1:]:
        scans = subprocess.run(["psql", "-Atd", address, "-c", "SELECT count(*), count(*) FILTER (WHERE idx_scan > 0)"
                                " FROM pg_stat_user_indexes WHERE indexrelname LIKE '%embedding%' OR"
                                " indexrelname LIKE '%binary_quantize%'"],
                               check=True, env=secret, capture_output=True, text=True).stdout.strip()
        print(f"HNSW indexes of a shard, and those of them that were used: {scans}")
        totals[scans != "4|4"] += 1


def main():
    source_root, build_root, server_test, search_test, gallery_test = sys.argv[1:]
    totals = [0, 0, 0]
    try:
        servers = Servers(source_root, build_root)
    except Skip as reason:
        print(f"SKIP postgres: {reason}")
        print("0 passed, 0 failed, 1 skipped")
        return 77
    if not servers.vector:
        print(f"SKIP pgvector: {servers.why_not}")
        totals[2] += 1
    address = servers.start("one")
    restart = servers.folder / "restart"
    restart.write_text(shlex.join(map(str, servers.control_command(servers.running[0], "restart"))) + " >/dev/null")
    environment = {"UNIFACE_TEST_POSTGRES": address, "UNIFACE_TEST_RESTART": f"sh {restart}"}
    if servers.vector:
        environment["UNIFACE_TEST_VECTOR"] = "1"
    run_program(server_test, environment, totals)
    run_program(gallery_test, environment, totals)
    if servers.vector:
        run_program(search_test, environment, totals)
        shards(servers, source_root, address, search_test, environment, totals)
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return totals[1] > 0


if __name__ == "__main__":
    sys.exit(main())
