#!/usr/bin/env python3
"""What stands in deploy/ is valid, and speaks of metrics and settings that exist.

deploy_test.py SOURCE_ROOT METRICS_TEST     Tools that are absent skip their part, visibly.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from prometheus_data import expressions

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from checks import check, end, skip  # noqa: E402

root, metrics_test = sys.argv[1:]
deploy = os.path.join(root, "deploy")
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
           "process_start_time_seconds", "process_threads", "process_open_fds", "process_max_fds"}


def text(*parts):
    with open(os.path.join(root, *parts)) as f:
        return f.read()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    return done.returncode, done.stdout + done.stderr


def prometheus():
    if not shutil.which("promtool"):
        skip("rules and dashboard: no promtool")
        return
    folder = os.path.join(deploy, "prometheus")
    for command in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
        status, out = run("promtool", *command, cwd=folder)
        check("promtool " + " ".join(command), status == 0, out)
    for title, expression in expressions(root):
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as f:
            json.dump({"groups": [{"name": "a", "rules": [{"record": "a:b", "expr": expression}]}]}, f)
            f.flush()
            status, out = run("promtool", "check", "rules", f.name)
        check(f"panel {title!r}", status == 0, expression, out)
    status, sample = run(metrics_test, "--write")
    done = subprocess.run(["promtool", "check", "metrics"], input=sample, capture_output=True, text=True)
    check("promtool check metrics", status == 0 and done.returncode == 0, done.stdout, done.stderr)


def names_exist():
    """Every metric that rules, dashboard, page and `uniface top` speak of is one of the server's."""
    table = ""
    for name in os.listdir(os.path.join(root, "apps", "server")):
        if name.endswith(".c"):
            table += text("apps", "server", name)
    known = set(re.findall(r'\{\s*"(uniface_\w+)"', table)) | PROCESS
    used = text("deploy", "prometheus", "rules.yml") + text("apps", "server", "ui", "app.js")
    used += text("apps", "cli", "cmd_top.c") + text("deploy", "kubernetes", "overlays", "replicas", "hpa.yaml")
    used += " ".join(e for _, e in expressions(root))
    used = re.sub(r"rules_test|uniface_(client|score_threshold)", "", used)
    for name in sorted(set(re.findall(r"\b(?:uniface|process)_[a-z_]+\b", used))):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        check(f"metric {name}", name in known or base in known)


def kubernetes():
    if not shutil.which("kubectl"):
        skip("Kubernetes: no kubectl")
        return
    try:
        import yaml
    except ImportError:
        skip("Kubernetes: no PyYAML")
        return
    for overlay in ("embedded", "postgresql", "replicas"):
        folder = os.path.join(deploy, "kubernetes", "overlays", overlay)
        status, out = run("kubectl", "kustomize", folder)
        check(f"kustomize {overlay}", status == 0, out)
        if status:
            continue
        things = {d["kind"]: d for d in yaml.safe_load_all(out)}
        check_pod(overlay, things["Deployment"])
        check(f"{overlay}: both ways are restricted",
              things["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
              and things["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"])
        check(f"{overlay}: kinds", {"Service", "ServiceAccount", "ServiceMonitor"} <= set(things)
              and ("PodDisruptionBudget" in things and "HorizontalPodAutoscaler" in things) == (overlay == "replicas"),
              sorted(things))
    check("embedded never has two pods", "Recreate" in text("deploy/kubernetes/overlays/embedded/kustomization.yaml"))


def check_pod(overlay, deployment):
    """What the restricted Pod Security Standard asks for, probes, resources; names that fit."""
    pod = deployment["spec"]["template"]["spec"]
    c = pod["containers"][0]
    own = c["securityContext"]
    check(f"{overlay}: restricted", pod["securityContext"]["runAsNonRoot"]
          and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
          and own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"]
          and own["capabilities"]["drop"] == ["ALL"] and not pod["automountServiceAccountToken"], pod)
    check(f"{overlay}: probes", all(c[p]["httpGet"]["port"] == "https"
                                    for p in ("startupProbe", "readinessProbe", "livenessProbe"))
          and c["readinessProbe"]["httpGet"]["path"] == "/readyz" and c["livenessProbe"]["httpGet"]["path"] == "/healthz")
    check(f"{overlay}: resources", {"cpu", "memory"} <= set(c["resources"]["requests"]) & set(c["resources"]["limits"]))
    mounts = {m["name"] for m in c["volumeMounts"]}
    check(f"{overlay}: volumes", mounts == {v["name"] for v in pod["volumes"]}, mounts)
    names = [e["name"] for e in c["env"]]
    check(f"{overlay}: the gallery", ("UNIFACE_GALLERY" in names) == (overlay != "embedded"), names)
    check_settings(overlay, names)


def check_settings(where, names):
    """Variables that begin with UNIFACE_ are settings of the server."""
    names_of = re.findall(r'\b(?:TEXT|NUMBER|WHOLE|SWITCH)\("([a-z-]+)"', text("apps", "server", "config.h"))
    known = {"UNIFACE_" + n.upper().replace("-", "_") for n in names_of}
    known |= {"UNIFACE_HEALTH_URL", "UNIFACE_CONFIG"}
    wrong = [n for n in names if n.startswith("UNIFACE_") and n not in known]
    check(f"{where}: settings exist", not wrong, wrong)


def systemd():
    if not shutil.which("systemd-analyze"):
        skip("systemd: no systemd-analyze")
        return
    with tempfile.TemporaryDirectory() as folder:
        unit = os.path.join(folder, "uniface.service")
        with open(unit, "w") as f:  # the program is not installed where a test runs
            f.write(text("deploy", "systemd", "uniface.service").replace("/usr/bin/uniface", "/bin/true"))
        status, out = run("systemd-analyze", "verify", "--man=no", unit)
        check("systemd-analyze verify", status == 0 and "uniface.service:" not in out, out)
        status, out = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
        check("hardening", status == 0, out)
    check_settings("unit", re.findall(r"Environment=(\w+)=", text("deploy", "systemd", "uniface.service")))


def container():
    lines = text("deploy", "Dockerfile")
    check("not root", re.search(r"^USER 10001", lines, re.M))
    check("health", re.search(r"^HEALTHCHECK .*\n\s+CMD uniface health", lines, re.M))
    check("several stages", len(re.findall(r"^FROM ", lines, re.M)) == 2)
    check("nothing is downloaded but packages", not re.search(r"curl|wget|ADD ", lines))
    variables = re.findall(r"\b(UNIFACE_\w+)=", lines)
    check_settings("container", variables)


prometheus()
names_exist()
kubernetes()
systemd()
container()
end()
