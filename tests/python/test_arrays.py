"""What predict makes of arrays: the right answer, or a ValueError that says what is wanted."""
import numpy as np
import pytest

import uniface
from conftest import cosines


def same(a, b):
    """Equal but for rounding: how a network computes may follow the size of the batch."""
    return a.shape == b.shape and np.allclose(a, b, atol=1e-5)


def test_uint8_and_float_are_the_same_picture(fp32, crops):
    whole = fp32.predict(crops)
    assert whole.shape == (24, 128) and whole.dtype == np.float32
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    floats = crops.astype(np.float32) / 255
    assert np.array_equal(fp32.predict(floats), whole)
    assert np.array_equal(fp32.predict(floats.astype(np.float64)), whole)
    assert cosines(fp32.predict(floats.astype(np.float16)), whole).min() > 0.999
    assert np.array_equal(fp32.predict(crops.astype(np.int64)), whole)
    assert np.array_equal(fp32.predict(crops.astype(">i4")), whole)
    assert np.array_equal(fp32.predict(floats.astype(">f4")), whole)


def test_a_batch_is_its_pictures(wide, crops):
    whole = wide.predict(crops)
    assert whole.shape == (24, 512)
    alone = np.concatenate([wide.predict(crop[None]) for crop in crops])
    assert cosines(whole, alone).min() > 0.999
    assert same(wide.predict(crops[3]), alone[3:4])
    assert same(wide.predict(list(crops[:1])), alone[:1])
    assert same(wide.predict(uniface.Image(crops[5])), alone[5:6])


def test_other_sizes_are_scaled_inside(fp32, crops):
    whole = fp32.predict(crops)
    larger = np.stack([uniface.preprocess.resize_and_normalize(c, target_size=(160, 160)) for c in crops])
    assert larger.shape == (24, 160, 160, 3) and larger.dtype == np.float32
    assert 0 <= larger.min() and larger.max() <= 1
    assert cosines(fp32.predict(larger), whole).min() > 0.95
    assert cosines(fp32.predict(larger), whole).mean() > 0.985
    mixed = fp32.predict([crops[0], larger[1], uniface.Image(crops[2])])
    assert mixed.shape == (3, 128) and same(mixed[0], whole[0])
    assert fp32.predict(np.zeros((2, 1, 7, 3), np.uint8)).shape == (2, 128)


def test_memory_layout_does_not_matter(fp32, crops):
    whole = fp32.predict(crops)
    assert np.array_equal(fp32.predict(np.asfortranarray(crops)), whole)
    wider = np.zeros((24, 112, 130, 3), np.uint8)
    wider[:, :, :112] = crops
    assert np.array_equal(fp32.predict(wider[:, :, :112]), whole)
    assert same(fp32.predict(crops[::-1])[::-1], whole)
    shifted = np.zeros(crops.nbytes + 1, np.uint8)[1:].reshape(crops.shape)
    shifted[...] = crops
    assert np.array_equal(fp32.predict(shifted), whole)
    frozen = crops.copy()
    frozen.flags.writeable = False
    assert np.array_equal(fp32.predict(frozen), whole)


def test_gray_and_alpha(fp32, crops):
    gray = crops.mean(axis=3).astype(np.uint8)
    as_rgb = fp32.predict(np.repeat(gray[..., None], 3, axis=3))
    assert np.array_equal(fp32.predict(gray), as_rgb)
    assert np.array_equal(fp32.predict(gray[..., None]), as_rgb)
    assert same(fp32.predict(gray[0]), as_rgb[:1])
    opaque = np.concatenate([crops, np.full(crops.shape[:3] + (1,), 255, np.uint8)], axis=3)
    assert np.array_equal(fp32.predict(opaque), fp32.predict(crops))


@pytest.mark.parametrize("shape", [(0, 160, 160, 3), (0, 112, 112, 3), (0, 5, 5, 1)])
def test_an_empty_batch_gives_no_rows(wide, shape):
    assert wide.predict(np.zeros(shape, np.float32)).shape == (0, 512)
    assert wide.predict([]).shape == (0, 512)


BAD = {
    "nan": np.full((2, 160, 160, 3), np.nan, np.float32),
    "one nan": np.where(np.arange(76800).reshape(1, 160, 160, 3) == 76799, np.nan, 0.5),
    "infinite": np.full((1, 160, 160, 3), np.inf, np.float32),
    "0..255 as float": np.full((1, 160, 160, 3), 200, np.float32),
    "-1..1": np.full((1, 112, 112, 3), -1, np.float32),
    "integers beyond bytes": np.full((1, 160, 160, 3), 300),
    "negative integers": np.full((1, 160, 160, 3), -1),
    "channels first": np.zeros((2, 3, 160, 160), np.float32),
    "two channels": np.zeros((1, 160, 160, 2), np.uint8),
    "five dimensions": np.zeros((1, 1, 160, 160, 3), np.uint8),
    "one dimension": np.zeros(512, np.uint8),
    "no dimension": np.zeros((), np.uint8),
    "no height": np.zeros((1, 0, 160, 3), np.uint8),
    "no width": np.zeros((1, 160, 0, 3), np.uint8),
    "too wide": np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (1, 1, 40000, 3)),
    "text": np.full((1, 160, 160, 3), "x"),
    "objects": np.full((1, 160, 160, 3), None, object),
    "complex": np.zeros((1, 160, 160, 3), complex),
    "bool": np.zeros((1, 160, 160, 3), bool),
    "a string": "face.jpg",
    "none": None,
    "a number": 5,
    "ragged": [[1, 2], [3]],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_value_errors(fp32, name):
    with pytest.raises(ValueError) as caught:
        fp32.predict(BAD[name])
    text = str(caught.value)
    assert isinstance(caught.value, uniface.exceptions.UniFaceError)
    assert "(N, height, width, 3)" in text and "batch" in text, text
    if isinstance(BAD[name], np.ndarray):
        assert str(BAD[name].shape) in text and str(BAD[name].dtype) in text, text


def test_a_list_with_one_bad_picture(fp32, crops):
    with pytest.raises(ValueError):
        fp32.predict([crops[0], np.zeros((3, 3), complex)])
    with pytest.raises(ValueError):
        fp32.predict([crops[0], "face.jpg"])


def test_pictures_of_detectors(detector):
    assert len(detector.predict(np.zeros((100, 80, 3), np.uint8))) == 0
    assert len(detector.predict(np.zeros((100, 80)))) == 0
    assert [len(f) for f in detector.predict(np.zeros((2, 50, 50, 3), np.uint8))] == [0, 0]
    for bad in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 7), np.uint8), None, "x", 7,
                np.full((5, 5, 3), np.nan), np.full((5, 5, 3), 7.0)):
        with pytest.raises(ValueError) as caught:
            detector.predict(bad)
        assert "(height, width, 3)" in str(caught.value)


def test_resize_and_normalize():
    white = np.full((40, 60, 3), 255, np.uint8)
    made = uniface.preprocess.resize_and_normalize(white, target_size=(30, 20))
    assert made.shape == (20, 30, 3) and made.dtype == np.float32 and made.min() == 1
    assert uniface.preprocess.resize_and_normalize(white).shape == (160, 160, 3)
    assert uniface.preprocess.resize(white, 8).shape == (8, 8, 3)
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (4, 1, 3))
    unscaled = uniface.preprocess.resize_and_normalize(ramp, target_size=(256, 4))
    assert np.array_equal(np.rint(unscaled * 255), ramp)
    for size in ((0, 5), (5,), "x", (5, -1), (1 << 20, 5), None, (2, 3, 4)):
        with pytest.raises(ValueError, match="target_size"):
            uniface.preprocess.resize_and_normalize(white, target_size=size)
