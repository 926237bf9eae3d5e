#!/usr/bin/env python3
"""Vector search of UniFace beside other indexes, on the same vectors, in one run.

usage: search_peers.py UNIFACE [--count N] [--dim D] [--npy FILE [--groups FILE]] [--probes P] [--threads T]
                       [--batch B] [--only NAME,...] [--json FILE]

UniFace makes the vectors (`uniface bench search --save-vectors`; --npy takes real ones and augments them to --count)
and answers first; then each peer builds its index in a process of its own and answers the same probes, one call for
--batch of them. Recall@1 is against exact FP32 over all vectors. Memory is what the process grew by while building
and searching, the vectors themselves counted where the index keeps them. Peers: faiss-cpu (Flat, IVF, HNSW),
hnswlib, usearch (bench/requirements-search.txt).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("uniface")
p.add_argument("--count", type=int, default=100000)
p.add_argument("--dim", type=int, default=512)
p.add_argument("--npy")
p.add_argument("--groups")
p.add_argument("--probes", type=int, default=1000)
p.add_argument("--threads", type=int, default=1)
p.add_argument("--batch", type=int, default=1)
p.add_argument("--only", help="names of rows, with commas")
p.add_argument("--json", help="write the rows there")
p.add_argument("--one", help=argparse.SUPPRESS)   # a peer, in its own process
p.add_argument("--vectors", help=argparse.SUPPRESS)
a = p.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(a.threads)


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


# ---- peers: a function that builds, and returns what answers and how to set its effort ----

def faiss_module():
    import faiss
    faiss.omp_set_num_threads(a.threads)
    return faiss, f"faiss-cpu {faiss.__version__} ({faiss.get_compile_options().strip()})"


def faiss_flat(v):
    faiss, version = faiss_module()
    index = faiss.IndexFlatIP(v.shape[1])
    index.add(v)
    return version, [("", lambda q: index.search(q, 1)[1][:, 0])]


def faiss_ivf(v):
    import numpy as np
    faiss, version = faiss_module()
    lists = max(16, int(4 * len(v) ** 0.5))
    index = faiss.index_factory(v.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(v[np.random.default_rng(1).permutation(len(v))[:lists * 50]])
    index.add(v)

    def with_probes(n):
        def run(q):
            index.nprobe = n
            return index.search(q, 1)[1][:, 0]
        return run
    return version, [(f"nlist {lists}, nprobe {n}", with_probes(n)) for n in (16, 64)]


def faiss_hnsw(v):
    faiss, version = faiss_module()
    index = faiss.IndexHNSWFlat(v.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(v)

    def with_effort(n):
        def run(q):
            index.hnsw.efSearch = n
            return index.search(q, 1)[1][:, 0]
        return run
    return version, [(f"M 32, efSearch {n}", with_effort(n)) for n in (64, 256)]


def hnswlib_graph(v):
    import hnswlib
    index = hnswlib.Index(space="ip", dim=v.shape[1])
    index.init_index(max_elements=len(v), ef_construction=200, M=32)
    index.set_num_threads(a.threads)
    index.add_items(v)

    def with_effort(n):
        def run(q):
            index.set_ef(n)
            return index.knn_query(q, k=1, num_threads=a.threads)[0][:, 0]
        return run
    from importlib.metadata import version
    return "hnswlib " + version("hnswlib"), [(f"M 32, ef {n}", with_effort(n)) for n in (64, 256)]


def usearch_graph(v, kind="i8"):
    import numpy as np
    from usearch.index import Index
    import usearch
    index = Index(ndim=v.shape[1], metric="cos", dtype=kind, connectivity=32, expansion_add=200)
    index.add(np.arange(len(v)), v, threads=a.threads)

    def with_effort(n):
        def run(q):
            index.expansion_search = n
            return np.atleast_2d(index.search(q, 1, threads=a.threads).keys)[:, 0]
        return run
    isa = getattr(index, "hardware_acceleration", "unknown")
    return f"usearch {usearch.__version__} ({isa})", [(f"{kind}, ef {n}", with_effort(n)) for n in (64, 256)]


PEERS = {"faiss Flat": faiss_flat, "faiss IVF": faiss_ivf, "faiss HNSW": faiss_hnsw, "hnswlib": hnswlib_graph,
         "usearch": usearch_graph}


def run_peer(name):
    import numpy as np
    v, q = np.load(a.vectors + "vectors.npy"), np.load(a.vectors + "probes.npy")
    best = np.load(a.vectors + "best.npy")
    before, start = resident(), time.perf_counter()
    version, ways = PEERS[name](v)
    build = time.perf_counter() - start
    memory = resident() - before
    out = []
    for setting, answer in ways:
        answer(q[:8])
        times, right = [], 0
        for at in range(0, len(q), a.batch):
            part = q[at:at + a.batch]
            t = time.perf_counter()
            keys = answer(part)
            times.append(time.perf_counter() - t)
            right += int((np.asarray(keys) == best[at:at + a.batch]).sum())
        times.sort()
        out.append({"name": name, "setting": setting, "version": version, "build_s": build,
                    "memory_bytes": memory, "recall": right / len(q), "ms_per_probe": 1e3 * sum(times) / len(q),
                    "p50_ms": 1e3 * times[len(times) // 2], "p99_ms": 1e3 * times[len(times) * 99 // 100]})
    print(json.dumps(out))


# ---- the run ----

def exact(prefix):
    """The best vector of each probe, by blocks of FP32 products."""
    import numpy as np
    v, q = np.load(prefix + "vectors.npy", mmap_mode="r"), np.load(prefix + "probes.npy")
    best, score = np.zeros(len(q), np.int64), np.full(len(q), -2, np.float32)
    for at in range(0, len(v), 16384):
        s = q @ np.asarray(v[at:at + 16384]).T
        k = s.argmax(1)
        top = s[np.arange(len(q)), k]
        better = top > score
        best[better], score[better] = k[better] + at, top[better]
    np.save(prefix + "best.npy", best)


def uniface(prefix, detail):
    args = [a.uniface, "bench", "search", "--probes", str(a.probes), "--threads", str(a.threads), "--batch",
            str(a.batch), "--verify", str(a.probes), "--detail", detail, "--no-file", "--json"]
    if a.npy:
        args += ["--npy", a.npy, "--augment", str(a.count)] + (["--groups", a.groups] if a.groups else [])
    else:
        args += ["--count", str(a.count), "--dim", str(a.dim)]
    if not os.path.exists(prefix + "vectors.npy"):
        args += ["--save-vectors", prefix]
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    r = json.loads(done.stdout)
    return {"name": f"UniFace {detail}", "setting": f"miss rate {r['miss_rate']:g}",
            "version": f"{r['version']} ({r['kernels']}; {r['processor']})", "build_s": r["build_s"],
            "memory_bytes": r["memory_bytes"], "recall": r["agreement"], "ms_per_probe": r["ms_per_probe"],
            "p50_ms": r["latency_ms"]["p50"], "p99_ms": r["latency_ms"]["p99"]}


def main():
    wanted = a.only.split(",") if a.only else None
    rows, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "")
        for detail in ("int8", "float", "sketch"):
            if not wanted or f"UniFace {detail}" in wanted or not rows:
                rows.append(uniface(prefix, detail))
                print(rows[-1]["name"], f"{rows[-1]['ms_per_probe']:.4f} ms", file=sys.stderr, flush=True)
        exact(prefix)
        for name in PEERS:
            if wanted and name not in wanted:
                continue
            done = subprocess.run([sys.executable, __file__, a.uniface, "--one", name, "--vectors", prefix, "--threads",
                                   str(a.threads), "--batch", str(a.batch)], capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: left out: {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            rows += json.loads(done.stdout.splitlines()[-1])
            print(name, f"{rows[-1]['ms_per_probe']:.4f} ms", file=sys.stderr, flush=True)
    what = f"{a.count} vectors " + (f"from {os.path.basename(a.npy)}" if a.npy else f"of {a.dim}, made")
    print(f"\n{what}; {a.probes} probes, {a.threads} thread{'s' * (a.threads > 1)}, batch {a.batch}\n")
    print("| index | setting | recall@1 | ms per probe | p50 of a call | p99 | build s | memory, bytes per vector |")
    print("|---|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['name']} | {r['setting']} | {r['recall']:.4f} | {r['ms_per_probe']:.4f} | {r['p50_ms']:.4f} | "
              f"{r['p99_ms']:.4f} | {r['build_s']:.1f} | {r['memory_bytes'] / a.count:.0f} |")
        versions[r["name"].split()[0]] = r["version"]
    print("\n" + "\n".join(f"- {name}: {text}" for name, text in versions.items()))
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)


if a.one:
    run_peer(a.one)
else:
    main()
