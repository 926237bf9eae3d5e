#!/usr/bin/env python3
"""Signed models as a user meets them: keys, signing, whom to trust, releases that do not go down.

usage: sign_test.py UNIFACE
"""
import os
import shutil
import stat

from harness import answer, call, check, error, finish, has_signatures, path, shared, skip, small_network

MODELS = os.path.join(shared, "models")
PASSPHRASE = {"UNIFACE_SIGN_PASSPHRASE": "open sesame"}
net, model = path("net.onnx"), path("model.ufm")
key, public, other = path("release.key"), path("release.key.pub"), path("other.key")


def text(name):
    with open(name, encoding="utf-8") as f:
        return f.read()


def copy_of(source, name):
    shutil.copy(source, path(name))
    return path(name)


def run(name, **env):
    """Opens a model to run it."""
    return call("bench", name, "--seconds", "0.01", env=env)


def without_libsodium():
    error("no keys without libsodium", 3, "libsodium", "sign", "keygen", "-o", key)
    done = run(model, UNIFACE_TRUSTED_KEYS=public)
    check("trust is an error, not passed over", done.returncode == 3 and "libsodium" in done.errors, done.errors)
    done = call("sign", "verify", model, "--trusted", public)
    check("nor is verify", done.returncode == 3 and "libsodium" in done.errors, done.errors)
    check("without it all is as it was", run(model).returncode == 0)


def keys():
    error("keygen says what it needs", 2, "-o FILE", "sign", "keygen")
    made = answer("keygen", "sign", "keygen", "-o", key)
    check("keygen tells", made.get("secret") == key and made.get("public") == public and not made.get("encrypted"), made)
    check("only the owner reads it", stat.S_IMODE(os.stat(key).st_mode) == 0o600)
    check("the secret key's file", text(key).startswith("uniface secret key 1\n"))
    check("the public key's file", text(public) == "uniface public key 1\n" + made.get("key", "") + "\n", text(public))
    error("no key is replaced", 3, "there already", "sign", "keygen", "-o", key)
    os.rename(public, public + ".away")
    error("nor when the public one is gone", 3, "there already", "sign", "keygen", "-o", key)
    os.rename(public + ".away", public)
    sealed = answer("an encrypted key", "sign", "keygen", "-o", other, env=PASSPHRASE)
    check("is encrypted", sealed.get("encrypted") and "argon2id" in text(other), text(other))
    error("a passphrase that cannot be asked for", 2, "UNIFACE_SIGN_PASSPHRASE", "sign", "keygen", "--encrypt", "-o",
          path("x.key"))


def signing():
    error("sign needs a key", 2, "--key", "sign", model)
    error("a network needs a place to go", 2, "-o OUT.ufm", "sign", net, "--key", key)
    error("a public key signs nothing", 3, "no secret key", "sign", model, "--key", public)
    error("an encrypted key without its passphrase", 2, "UNIFACE_SIGN_PASSPHRASE", "sign", model, "--key", other)
    error("and with another", 3, "does not open", "sign", model, "--key", other, env={"UNIFACE_SIGN_PASSPHRASE": "no"})
    error("release 0", 2, "--release", "sign", model, "--key", key, "--release", "0")
    error("a signer with control characters", 2, "control", "sign", model, "--key", key, "--signer", "a\nb")
    check("an unsigned model says so", answer("inspect", "inspect", model).get("signature") == {"state": "none"})
    first = answer("sign", "sign", model, "--key", key, "--signer", "Exämple Ltd", "-o", path("r1.ufm"))
    s = first.get("signature", {})
    check("the signature", s.get("state") == "valid" and s.get("release") == 1 and s.get("signer") == "Exämple Ltd" and
          s.get("key") == text(public).split()[-1] and s.get("time", "").endswith("Z"), s)
    check("inspect tells the same", answer("inspect", "inspect", path("r1.ufm")).get("signature") == s)
    check("in words", "valid: release 1" in call("inspect", path("r1.ufm")).text)
    check("the id stays", first.get("id") == answer("inspect", "inspect", model).get("id"))
    second = answer("the next release", "sign", copy_of(path("r1.ufm"), "r2.ufm"), "--key", key)
    check("counts on", second.get("signature", {}).get("release") == 2, second)
    third = answer("a release by number", "sign", model, "--key", other, "--release", "9007199254740991", "-o",
                   path("other.ufm"), env=PASSPHRASE)
    check("is that number", third.get("signature", {}).get("release") == 9007199254740991, third)


def verifying():
    good = answer("verify", "sign", "verify", path("r1.ufm"), "--trusted", public)
    check("is trusted", good.get("trusted") is True and good.get("reason") is None, good)
    error("whom to trust", 2, "--trusted", "sign", "verify", path("r1.ufm"))
    for label, name, part, *more in (("unsigned", model, "not signed"), ("another's", path("other.ufm"), "not among"),
                                     ("old", path("r1.ufm"), "at least 2", "--min-release", "2")):
        bad = answer(label, "sign", "verify", name, "--trusted", public, *more, status=1)
        check(label + " is not trusted", bad.get("trusted") is False and part in bad.get("reason", ""), bad)
    two = call("sign", "verify", path("other.ufm"), "--trusted", public, other + ".pub")
    check("several keys", two.returncode == 0 and "trusted" in two.text, two.errors)
    error("a secret key is not trusted", 3, "secret key", "sign", "verify", path("r1.ufm"), "--trusted", key)
    error("no such key", 3, "/no.pub", "sign", "verify", path("r1.ufm"), "--trusted", "/no.pub")
    with open(path("r1.ufm"), "rb") as f:
        data = bytearray(f.read())
    at = int.from_bytes(data[64 + 3 * 64 + 8:64 + 3 * 64 + 16], "little")  # the signature's section
    data[at + 100] ^= 1
    with open(path("bent.ufm"), "wb") as f:
        f.write(data)
    error("a bent signature", 3, "damaged", "sign", "verify", path("bent.ufm"), "--trusted", public)


def trusting():
    folder = path("trusted")
    os.makedirs(folder)
    error("a folder without keys", 3, "no public key", "bench", model, env={"UNIFACE_TRUSTED_KEYS": folder})
    shutil.copy(public, folder)
    trusted = {"UNIFACE_TRUSTED_KEYS": folder}
    check("a signed model opens", run(path("r1.ufm"), **trusted).returncode == 0)
    check("its release is remembered beside the keys", text(os.path.join(folder, "releases")).startswith(
        "uniface releases 1\n1 "), os.listdir(folder))
    for label, name, part in (("unsigned", model, "not signed"), ("a bare network", net, "not signed"),
                              ("another's", path("other.ufm"), "not among")):
        done = run(name, **trusted)
        check(label + " does not open", done.returncode == 3 and part in done.errors and name in done.errors, done.errors)
    check("what only looks may look", call("inspect", model, env=trusted).returncode == 0)
    check("a newer one opens", run(path("r2.ufm"), **trusted).returncode == 0)
    older = run(path("r1.ufm"), **trusted)
    check("an older one no more", older.returncode == 3 and "release 2 was in use" in older.errors, older.errors)
    named = answer("a model of its own name", "sign", model, "--key", key, "--name", "door", "-o", path("door.ufm"))
    check("begins at 1", named.get("signature", {}).get("release") == 1, named)
    check("and opens beside", run(path("door.ufm"), **trusted).returncode == 0)
    elsewhere = dict(trusted, UNIFACE_RELEASES=path("elsewhere"))
    check("another list knows nothing of it", run(path("r1.ufm"), **elsewhere).returncode == 0)
    check("and is made", os.path.exists(path("elsewhere")))
    alone = {"UNIFACE_TRUSTED_KEYS": public}
    check("a file of one key", run(path("r1.ufm"), **alone).returncode == 0 and os.path.exists(public + ".releases"))
    with open(path("elsewhere"), "w", encoding="utf-8") as f:
        f.write("something else\n")
    lost = run(path("r2.ufm"), **elsewhere)
    check("a damaged list lets nothing in", lost.returncode == 3 and "damaged" in lost.errors, lost.errors)
    error("keys that are not there", 3, "/nowhere", "bench", path("r1.ufm"), env={"UNIFACE_TRUSTED_KEYS": "/nowhere"})


def changing():
    """What changes a model says that the signature is gone."""
    source = os.path.join(MODELS, "mobilefacenet_y1.onnx")
    if not os.path.exists(source):
        skip("changed models: no networks at ../shared/models")
        return
    call("import", source, "-o", path("face.ufm"))
    answer("sign a face model", "sign", path("face.ufm"), "--key", key)
    done = call("quantize", path("face.ufm"), "--precision", "fp16", "-o", path("half.ufm"))
    check("quantize says it is not signed", done.returncode == 0 and "not signed" in done.errors, done.errors)
    check("nor is it", answer("inspect half", "inspect", path("half.ufm")).get("signature") == {"state": "none"})
    detector = os.path.join(MODELS, "yunet_n_320.onnx")
    photos = os.path.join(shared, "testdata", "photos")
    if not os.path.exists(detector) or not os.path.exists(os.path.join(photos, "2.jpg")):
        skip("calibrate: no detector or photos")
        return
    with open(path("pairs.tsv"), "w", encoding="utf-8") as f:
        names = sorted(n for n in os.listdir(photos) if n.endswith(".jpg"))[:6]
        f.writelines(f"{a} {b} {int(a == b)}\n" for a in names for b in names)
    done = call("calibrate", path("face.ufm"), "--detector", detector, "--pairs", path("pairs.tsv"), "--images", photos)
    check("calibrate says the signature is gone", done.returncode == 0 and "signature was left out" in done.errors,
          done.errors)
    check("as it is", answer("inspect it", "inspect", path("face.ufm")).get("signature") == {"state": "none"})


small_network(net)
check("import", call("import", net, "-o", model).returncode == 0)
if has_signatures():
    for part in (keys, signing, verifying, trusting, changing):
        part()
else:
    without_libsodium()
finish()
