"""Galleries: people enrolled, found, deleted; threads; keys."""
import threading

import numpy as np
import pytest

import uniface


@pytest.fixture
def gallery(tmp_path):
    with uniface.Gallery.open(tmp_path / "people.ufg", create=True, passphrase="long enough") as made:
        yield made


def test_a_life(gallery, fp32, crops, tmp_path):
    templates = fp32.predict(crops)
    for i, template in enumerate(templates):
        ids = gallery.enroll(f"p{i}", template, fp32, metadata={"team": i % 2, "name": f"Ä{i}"},
                             consent="form 7", source=f"{i}.jpg", quality=0.5)
        assert len(ids) == 1
    assert gallery.enroll("p0", templates[:2], fp32) and gallery.stats().templates == 26
    found = gallery.identify(templates[5], fp32, threshold=0.9, top_k=3)
    assert len(found) == 3 and found[0].id == "p5" and found[0].passes and not found[1].passes
    assert found[0].score == pytest.approx(1, abs=1e-3)
    team = gallery.identify(templates[5], fp32, threshold=0.9, metadata="team=0")
    assert all(int(c.id[1:]) % 2 == 0 for c in team)
    assert gallery.verify("p7", templates[7], fp32) == pytest.approx(1, abs=1e-3)
    people = gallery.people()
    assert len(people) == 24 and people[0].id == "p0" and people[0].templates == 3
    assert people[0].metadata == {"team": 0, "name": "Ä0"} and people[0].consent == "form 7"
    receipt = gallery.delete("p5")
    assert receipt.templates == 1 and len(receipt.audit_digest) == 64
    assert gallery.identify(templates[5], fp32, threshold=0.9)[0].id != "p5"
    with pytest.raises(uniface.exceptions.NotFound):
        gallery.delete("p5")
    with pytest.raises(uniface.exceptions.NotFound):
        gallery.verify("p5", templates[5], fp32)
    gallery.check()
    stats = gallery.stats()
    assert stats.people == 23 and stats.encrypted and stats.backend == "sqlite"
    assert gallery.expire() == 0
    gallery.close()
    with pytest.raises(uniface.exceptions.StateError, match="closed"):
        gallery.stats()
    with pytest.raises(uniface.exceptions.UniFaceError):
        uniface.Gallery.open(tmp_path / "people.ufg", passphrase="another one")
    with uniface.Gallery.open(tmp_path / "people.ufg", passphrase="long enough", read_only=True) as again:
        assert again.stats().people == 23
        with pytest.raises(uniface.exceptions.UniFaceError):
            again.enroll("x", templates[0], fp32)


def test_bad_calls(gallery, fp32, wide, crops, tmp_path):
    template = fp32.predict(crops[:1])[0]
    with pytest.raises(uniface.exceptions.NotFound):
        uniface.Gallery.open(tmp_path / "none.ufg")
    for bad in (template[:5], np.full(128, np.nan), "x", np.zeros((2, 3, 128)), None):
        with pytest.raises(ValueError):
            gallery.enroll("a", bad, fp32)
    with pytest.raises(ValueError, match="embedder"):
        gallery.enroll("a", template, "model")
    with pytest.raises(ValueError):
        gallery.enroll("", template, fp32)
    with pytest.raises(ValueError, match="crops"):
        gallery.enroll("a", template, fp32, crops=np.zeros((2, 3, 4, 3)))
    gallery.enroll("a", template, fp32)
    with pytest.raises(ValueError):
        gallery.identify(np.stack([template, template]), fp32)
    with pytest.raises(ValueError, match="top_k"):
        gallery.identify(template, fp32, top_k=0)
    with pytest.raises(uniface.exceptions.NotCalibrated):
        gallery.identify(template, fp32)
    with pytest.raises(uniface.exceptions.Mismatch):
        gallery.identify(wide.predict(crops[:1])[0], wide, threshold=0.5)
    with pytest.raises(uniface.exceptions.NotFound):
        gallery.identify(template, fp32, collection="none", threshold=0.5)


def test_many_threads(gallery, fp32, crops):
    templates = fp32.predict(crops)
    wrong = []

    def work(number):
        for i in range(number, 24, 4):
            gallery.enroll(f"p{i}", templates[i], fp32)
            found = gallery.identify(templates[i], fp32, threshold=0.9, top_k=1)
            if found[0].id != f"p{i}":
                wrong.append((i, found))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and gallery.stats().people == 24


def test_closing_while_others_search(tmp_path, fp32, crops):
    templates = fp32.predict(crops)
    gallery = uniface.Gallery.open(tmp_path / "plain.ufg", create=True, plain=True, keep_crops=True)
    for i, template in enumerate(templates):
        gallery.enroll(f"p{i}", template, fp32, crops=crops[i:i + 1])
    ended = []

    def search():
        try:
            while True:
                gallery.identify(templates[0], fp32, threshold=0.9)
        except uniface.exceptions.StateError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    gallery.close()
    for thread in threads:
        thread.join(timeout=60)
    assert len(ended) == 3
