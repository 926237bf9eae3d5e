#!/usr/bin/env python3
"""TLS and mutual TLS of the server, with an authority of the test's own that openssl makes.

tls_test.py UNIFACE
"""
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import warnings

from serving import Server, call, call_serve, check, finish, path, skip


warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, which are tried on purpose


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, cwd=path())
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-keyout", name + ".key", "-out", name + ".pem")


def certificate(name, by, *, days="2", kind="EC"):
    """NAME.key and NAME.pem, for localhost and 127.0.0.1, signed by the authority `by`."""
    key = ["-newkey", "rsa:2048"] if kind == "RSA" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl("req", *key, "-nodes", "-subj", f"/CN={name}", "-keyout", name + ".key", "-out", name + ".csr")
    with open(path("names"), "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", by + ".pem", "-CAkey", by + ".key", "-CAcreateserial", "-days",
            days, "-extfile", "names", "-out", name + ".pem")


def context(ca="ca", client=None, least=None, most=None):
    c = ssl.create_default_context(cafile=path(ca + ".pem"))
    c.set_ciphers("DEFAULT:@SECLEVEL=0")  # what is refused is refused by the server
    if least or most:
        c.minimum_version, c.maximum_version = least or ssl.TLSVersion.MINIMUM_SUPPORTED, most or ssl.TLSVersion.MAXIMUM_SUPPORTED
    if client:
        c.load_cert_chain(path(client + ".pem"), path(client + ".key"))
    return c


def ask(s, c, target="/", body=None):
    """The status and protocol of an answer; "refused" and why when the server ended the connection."""
    connection = http.client.HTTPSConnection("127.0.0.1", s.port, timeout=10, context=c)
    try:
        connection.request("POST" if body else "GET", target, body, {"Content-Type": "application/json"} if body else {})
        protocol = connection.sock.version()
        answer = connection.getresponse()
        answer.read()
        return answer.status, protocol
    except (OSError, http.client.HTTPException) as e:
        return "unknown" if isinstance(e, TimeoutError) else "refused", repr(e)
    finally:
        connection.close()


def tls(name):
    s = Server("--tls-cert", path(name + ".pem"), "--tls-key", path(name + ".key"), data="tls")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        found = ask(s, context(least=version, most=version))
        check(f"{name}: {version.name}", found == (200, version.name.replace("_", ".")), found)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        found = ask(s, context(least=version, most=version))
        check(f"{name}: no {version.name}", found[0] == "refused", found)
    found = ask(s, context("other"))
    check(f"{name}: another authority is the client's to refuse", found[0] == "refused" and "CERTIFICATE_VERIFY_FAILED" in found[1], found)
    return s


def bad_clients(s):
    """Bytes that are no TLS, half a handshake, and a client that is gone: others are served."""
    for label, data in (("plain HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ("noise", os.urandom(500)),
                        ("a record that is too long", b"\x16\x03\x01\xff\xff" + b"\0" * 100), ("half a record", b"\x16\x03\x01\x02")):
        raw = s.raw(data, timeout=2, half_close=True)
        check(f"{label}: nothing is told", not raw.startswith(b"HTTP/1.1 2"), raw[:80])
    silent = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(20)]
    began = time.monotonic()
    found = ask(s, context())
    check("20 that never shake hands: others are served", found[0] == 200 and time.monotonic() - began < 3, found)
    for c in silent:
        c.close()
    body = b'{"a":[' + b"1," * 200000 + b'1],"b":[1]}'
    found = ask(s, context(), "/v1/compare", body)
    check("a large body", found[0] == 400, found)


def weak_ciphers(s):
    """No ciphers without forward secrecy, no old ones."""
    for suite in ("AES128-SHA", "AES256-GCM-SHA384", "NULL-SHA256", "DES-CBC3-SHA", "RC4-SHA"):
        c = context(most=ssl.TLSVersion.TLSv1_2)
        try:
            c.set_ciphers(suite + ":@SECLEVEL=0")
        except ssl.SSLError:
            continue  # this OpenSSL does not have it either
        found = ask(s, c)
        check(f"no {suite}", found[0] == "refused", found)


def s_client(s, *arguments, said=b"Q\n", seconds=3.0):
    """What openssl's client shows until the server ends the connection, or for some seconds; `said` goes to it at the start."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", "-CAfile", "ca.pem", *arguments], cwd=path(),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        p.stdin.write(said)
        p.stdin.flush()
        p.wait(seconds)
    except BrokenPipeError:  # it has ended already
        pass
    except subprocess.TimeoutExpired:
        p.kill()
    return p.communicate()[0].decode(errors="replace")


def odd_handshakes(s):
    """Names that are not the server's, another handshake within a connection, requests before one has ended."""
    for name in ("wrong.example", "127.0.0.1", "a" * 63, "a.b" * 60, "xn--a", "-"):
        shown = s_client(s, "-servername", name)
        check(f"SNI {name[:20]}: the server's own certificate, or none", "CN = server" in shown or "CN=server" in shown
              or "no peer certificate" in shown, shown[-300:])
    shown = s_client(s, "-tls1_2", said=b"R\n")
    check("no other handshake by the client's wish", "RENEGOTIATING" in shown and shown.count("verify return:1") <= 2, shown[-500:])
    with open(path("early"), "wb") as f:
        f.write(b"POST /v1/compare HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    s_client(s, "-tls1_3", "-sess_out", "session", said=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    # Without a ticket, which this server gives to nobody, there is none.
    early = os.path.exists(path("session")) and s_client(s, "-tls1_3", "-sess_in", "session", "-early_data", "early")
    check("no request before the handshake's end (0-RTT)", not early or "Early data was accepted" not in early, early)
    check("and others are served", ask(s, context())[0] == 200)


def mutual():
    s = Server("--tls-cert", path("server.pem"), "--tls-key", path("server.key"), "--tls-client-ca", path("ca.pem"),
               data="mutual")
    check("a client of the authority", ask(s, context(client="client"))[0] == 200, ask(s, context(client="client")))
    for label, client in (("no certificate", None), ("one of another authority", "stranger"), ("one that has expired", "late"),
                          ("one that signs itself", "other")):
        found = ask(s, context(client=client))
        check(f"{label}: refused", found[0] in (403, "refused"), found)
        posted = ask(s, context(client=client), "/v1/compare", b'{"a":[1,2],"b":[1,2]}')
        check(f"{label}: no operation", posted[0] in (403, "refused"), posted)
    check("and then the right one again", ask(s, context(client="client"))[0] == 200)
    s.stop()


def settings():
    def wrong(label, part, *flags):
        for more in ([], ["--check-config"]):
            done = call_serve("--listen", "127.0.0.1:0", *flags, *more)
            check(" ".join([label, *more]), done.returncode == 3 and part in done.errors, f"{done.returncode}: {done.errors}")

    wrong("a key of another certificate", "belong together", "--tls-cert", path("server.pem"), "--tls-key", path("client.key"))
    wrong("a certificate that is none", "PEM", "--tls-cert", path("names"), "--tls-key", path("server.key"))
    wrong("no authority's file", "No such file", "--tls-cert", path("server.pem"), "--tls-key", path("server.key"),
          "--tls-client-ca", path("none.pem"))
    wrong("an authority's file without a certificate", "certificate", "--tls-cert", path("server.pem"), "--tls-key", path("server.key"),
          "--tls-client-ca", path("names"))
    good = call_serve("--tls-cert", path("server.pem"), "--tls-key", path("server.key"), "--tls-client-ca", path("ca.pem"), "--check-config")
    check("good ones", good.returncode == 0, good.errors)


def remote():
    """Beyond loopback with TLS and keys, as in production; `uniface health` by the authority."""
    s = Server("--listen", "0.0.0.0:0", "--tls-cert", path("server.pem"), "--tls-key", path("server.key"), data="remote",
               auth=True)
    found = ask(s, context(), "/v1/people")
    check("beyond loopback: a key is needed", found[0] == 401, found)
    url = f"https://localhost:{s.port}"
    good = call("health", "--live", url, "--ca", path("ca.pem"))
    check("uniface health", good.returncode == 0, good.errors)
    bad = call("health", "--live", url, "--ca", path("other.pem"))
    check("another authority: not healthy", bad.returncode != 0 and "certificate" in bad.errors, bad.errors)
    check("ends well under TLS", s.stop(signal.SIGTERM)[0] == 0)


def main():
    if not shutil.which("openssl"):
        skip("TLS: no openssl to make certificates")
        finish()
    for name in ("ca", "other"):
        authority(name)
    certificate("server", "ca")
    certificate("rsa", "ca", kind="RSA")
    certificate("client", "ca")
    certificate("stranger", "other")
    certificate("late", "ca", days="-1")
    s = tls("rsa")
    weak_ciphers(s)
    s.stop()
    s = tls("server")
    bad_clients(s)
    odd_handshakes(s)
    s.stop()
    mutual()
    settings()
    remote()
    finish()


main()
