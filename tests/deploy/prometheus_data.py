"""A real Prometheus that scrapes a server: each expression of the dashboard must return data.

prometheus_data.py SOURCE_ROOT URL [KEY]     Give the server some requests of each kind while it runs.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request


def expressions(root):
    """Of the dashboard: (panel, expression), with Grafana's variables filled in."""
    with open(os.path.join(root, "deploy", "grafana", "uniface.json")) as f:
        panels = json.load(f)["panels"]
    for panel in panels:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "10s").replace("$job", ".*")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Prometheus:
    def __init__(self, root, url, key=None):
        parts = urllib.parse.urlsplit(url)
        self.folder = tempfile.mkdtemp()
        scrape = {"job_name": "uniface", "scrape_interval": "1s", "scheme": parts.scheme,
                  "static_configs": [{"targets": [parts.netloc]}], "tls_config": {"insecure_skip_verify": True}}
        if key:
            scrape["authorization"] = {"credentials": key}
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w") as f:
            json.dump({"global": {"evaluation_interval": "1s"}, "scrape_configs": [scrape],
                       "rule_files": [os.path.abspath(os.path.join(root, "deploy", "prometheus", "rules.yml"))]}, f)
        self.address = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + self.folder + "/data",
             "--web.listen-address=" + self.address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(self, expression):
        address = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(address, timeout=5) as r:
                return json.load(r)["data"]["result"]
        except OSError:
            return []

    def wait(self, expression, seconds=20):
        """The expression's result as soon as it has one that is not NaN; else []."""
        end = time.time() + seconds
        while time.time() < end:
            found = [r for r in self.query(expression) if r["value"][1] != "NaN"]
            if found:
                return found
            time.sleep(0.25)
        return []

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def without_data(root, url, key=None):
    """Panels whose expressions return nothing; all, when the server is not scraped."""
    p = Prometheus(root, url, key)
    try:
        if not p.wait('up{job="uniface"} == 1'):
            return ["the server is not scraped"]
        time.sleep(3)  # rates want two readings
        return [f"{title}: {e}" for title, e in expressions(root) if not p.wait(e, 8)]
    finally:
        p.close()


if __name__ == "__main__":
    missing = without_data(*sys.argv[1:])
    print("\n".join(missing))
    sys.exit(bool(missing))
