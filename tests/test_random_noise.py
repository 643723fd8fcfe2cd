from __future__ import annotations

import numpy as np
import pytest
from conftest import random_image
from reference import random_noise as reference
from tolerances import assert_close

from fastimg import util

scipy_stats = pytest.importorskip("scipy.stats")

MODES = ["gaussian", "localvar", "poisson", "salt", "pepper", "s&p", "speckle"]
DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
SHAPES = [(), (1,), (1, 1), (63,), (1, 65), (1024, 1), (61, 67), (4, 5, 3), (2, 3, 4, 5), (3, 40_001)]


def key_of(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(0, 2**64, dtype=np.uint64))


def unit_image(image: np.ndarray) -> np.ndarray:
    """As float64, integers in [0, 1]."""
    return image / np.float64(np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that the generator's authors publish
        ([0] * 4, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0A4093822,
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_reference_generator_gives_the_published_answers(counter, key, expected):
    assert reference.philox(np.array(counter, np.uint64), key).tolist() == expected


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_noise_agrees_with_reference(target, rng, shape, dtype):
    image = random_image(rng, shape, dtype)
    unit, noise = unit_image(image), reference.normals(image.size, key_of(5)).reshape(shape)
    for clip in (True, False):
        result = util.random_noise(image, "gaussian", 5, clip, mean=0.1, var=0.04)
        assert result.dtype == (np.float32 if image.dtype.kind == "u" else image.dtype)
        # Draws have single precision in every dtype; unclipped values reach 3.
        factor = 2e8 if dtype == "float64" else 4
        assert_close(np.asarray(result), reference.additive(unit, 0.1 + 0.2 * noise, clip), factor=factor)
        result = util.random_noise(image, "speckle", 5, clip, mean=0.1, var=0.04)
        assert_close(np.asarray(result), reference.speckle(unit, 0.1 + 0.2 * noise, clip), factor=factor)
        variances = 0.01 + rng.random(shape)
        result = util.random_noise(image, "localvar", 5, clip, local_vars=variances)
        expected = reference.additive(unit, np.sqrt(variances) * noise, clip)
        assert_close(np.asarray(result), expected, factor=2 * factor)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_impulses_agree_with_reference(target, rng, shape, dtype):
    image = random_image(rng, shape, dtype)
    chances = reference.chances(image.size, key_of(6)).reshape(shape)
    cases = {"s&p": (0.4 * 0.3, 0.4), "salt": (0.4, 0.4), "pepper": (0.0, 0.4)}
    for mode, (salt, either) in cases.items():
        options = {"salt_vs_pepper": 0.3} if mode == "s&p" else {}
        result = util.random_noise(image, mode, 6, amount=0.4, **options)
        expected = reference.impulses(unit_image(image), chances < either, chances < salt)
        np.testing.assert_array_equal(result, expected.astype(result.dtype))
        result = util.random_noise(image, mode, 6, amount=0.4, preserve_range=True, **options)
        top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
        expected = np.where(chances < salt, top, np.where(chances < either, 0, image))
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == image.dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_any_layout(target, layout, rng, mode, dtype):
    image = random_image(rng, (45, 46, 3), dtype)
    expected = util.random_noise(image, mode, 7)
    np.testing.assert_array_equal(util.random_noise(layout(image), mode, 7), expected)
    out = layout(np.empty_like(expected))
    assert util.random_noise(image, mode, 7, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("mode", [*MODES, "counted"])
def test_threads_do_not_change_the_result(target, rng, mode):
    image = random_image(rng, (300, 401), "float32")
    options = {"mode": "s&p", "count": 30_000} if mode == "counted" else {"mode": mode}
    first, *others = (util.random_noise(image, rng=8, threads=n, **options) for n in (1, 2, 3, 8))
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_preserve_range_is_in_units_of_the_image(target, rng, dtype):
    image = random_image(rng, (61, 67), dtype)
    top = np.iinfo(dtype).max
    noise = reference.normals(image.size, key_of(9)).reshape(image.shape)
    result = util.random_noise(image, "gaussian", 9, mean=3, var=20**2, preserve_range=True)
    assert_close(result, np.clip(image + 3.0 + 20 * noise, 0, top))
    default = util.random_noise(image, "gaussian", 9, preserve_range=True)
    assert_close(default, np.clip(image + 0.1 * top * noise, 0, top))
    default = util.random_noise(image, "localvar", 9, preserve_range=True)
    assert_close(default, np.clip(image + 0.1 * top * noise, 0, top))
    for mode in ("speckle", "poisson"):
        unit = util.random_noise(image, mode, 9)
        assert_close(util.random_noise(image, mode, 9, preserve_range=True), unit.astype(np.float64) * top)


# ---- distributions: seeds are fixed, so these pass or fail for good --------------------------------------------------

N = 400_000


@pytest.mark.parametrize("seed", [0, 1, 2**70])
def test_normal_distribution(target, seed):
    noise = util.random_noise(np.zeros(N), "gaussian", seed, clip=False, var=1.0)
    assert scipy_stats.kstest(noise, "norm").pvalue > 0.01
    assert abs(noise.mean()) < 4 / N**0.5
    assert abs(noise.var() - 1) < 4 * (2 / N) ** 0.5
    assert abs(scipy_stats.skew(noise)) < 4 * (6 / N) ** 0.5
    assert abs(scipy_stats.kurtosis(noise)) < 4 * (24 / N) ** 0.5
    for lag in (1, 15, 16, 17, 32, 48, 64, 1024):  # the pattern of words, blocks and chunks leaves no trace
        assert abs(np.mean(noise[lag:] * noise[:-lag])) < 4 / N**0.5
        assert abs(np.corrcoef(noise[lag:] ** 2, noise[:-lag] ** 2)[0, 1]) < 4 / N**0.5


@pytest.mark.parametrize("levels", [2, 16, 256, 4096])
@pytest.mark.parametrize("value", [0.01, 0.3, 1.0])
def test_poisson_distribution(target, levels, value):
    image = np.full(100_000, value)
    image[:levels] = np.linspace(0, 1, levels)  # so many different values, `value` among or beside them
    scale = reference.poisson_levels(image)
    counts = util.random_noise(image, "poisson", 3, clip=False)[levels:] * scale
    np.testing.assert_array_equal(counts, np.rint(counts))
    rate = value * scale
    lowest, highest = scipy_stats.poisson.ppf([0.001, 0.999], rate)
    edges = np.unique(np.linspace(lowest, highest, 40).astype(int))
    bins = np.concatenate([[-np.inf], edges, [np.inf]])
    observed = np.histogram(counts, bins=bins + 0.5)[0]
    expected = np.diff(scipy_stats.poisson.cdf(bins, rate)) * len(counts)
    enough = expected > 5
    observed = np.append(observed[enough], observed[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum() + 1e-9)
    keep = expected > 1e-6
    observed, expected = observed[keep], expected[keep]
    assert scipy_stats.chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue > 1e-3
    assert counts.mean() == pytest.approx(rate, abs=5 * (rate / len(counts)) ** 0.5)
    assert counts.var() == pytest.approx(rate, rel=0.05, abs=0.01)


def test_poisson_of_a_signed_image(target, rng):
    image = np.where(rng.random(200_000) < 0.5, -0.5, 0.6)
    levels = 2
    result = util.random_noise(image, "poisson", 4, clip=False)
    counts = (result + 1) / 1.6 * levels  # scikit-image shifts and scales the image to [0, 1] for the draw
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-12)
    for value in (-0.5, 0.6):
        rate = (value + 1) / 1.6 * levels
        assert counts[image == value].mean() == pytest.approx(rate, rel=0.02)
        assert counts[image == value].var() == pytest.approx(rate, rel=0.03)


def test_distributions_are_those_of_scikit_image():
    skimage_util = pytest.importorskip("skimage.util")
    image = np.tile(np.linspace(0.2, 0.8, 13), 6000)
    for mode in ("gaussian", "localvar", "poisson", "speckle", "s&p"):
        ours = util.random_noise(image, mode, 11).reshape(-1, 13)
        theirs = skimage_util.random_noise(image, mode, 12).reshape(-1, 13)
        for column in (0, 6, 12):
            assert scipy_stats.ks_2samp(ours[:, column], theirs[:, column], method="asymp").pvalue > 0.01


# ---- impulses by count ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 7, 1000, 61 * 67])
@pytest.mark.parametrize("dtype", DTYPES)
def test_counted_impulses(target, rng, count, dtype):
    image = np.full((61, 67), 100 if np.dtype(dtype).kind == "u" else 0.4).astype(dtype)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    result = util.random_noise(image, "s&p", 1, count=count, salt_vs_pepper=0.25, preserve_range=True)
    assert (result == top).sum() == round(count * 0.25)
    assert (result == 0).sum() == count - round(count * 0.25)
    assert (result == image).sum() == image.size - count
    assert (util.random_noise(image, "salt", 1, count=count) == 1).sum() == count
    assert (util.random_noise(image, "pepper", 1, count=count) == 0).sum() == count


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_are_replaced_together(target, rng, axis):
    image = np.moveaxis(np.full((40, 50, 3), 100, np.uint8), -1, axis)
    for options in ({"count": 300}, {"amount": 0.2}):
        result = util.random_noise(image, "s&p", 1, channel_axis=axis, preserve_range=True, **options)
        pixels = np.moveaxis(result, axis, -1).reshape(-1, 3)
        assert (pixels == pixels[:, :1]).all()
        if "count" in options:
            assert (pixels[:, 0] == 255).sum() == (pixels[:, 0] == 0).sum() == 150
        one_channel = util.random_noise(image.take(0, axis), "s&p", 1, preserve_range=True, **options)
        np.testing.assert_array_equal(result.take(0, axis), one_channel)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 16, 17, 100])
def test_every_pixel_is_chosen_equally_often(n):
    image = np.zeros(n, np.uint8)
    hits = sum(util.random_noise(image, "salt", seed, count=1, threads=1).astype(int) for seed in range(40 * n))
    assert hits.sum() == 40 * n
    assert n == 1 or scipy_stats.chisquare(hits).pvalue > 0.001


def test_chosen_pixels_have_no_pattern():
    picture = util.random_noise(np.zeros((512, 512), np.uint8), "salt", 3, count=100_000) == 1
    for part in (picture[:256], picture[:, :256], picture[::2], picture[:, ::2], picture[::2, 1::2]):
        expected = 100_000 * part.size / picture.size
        assert abs(part.sum() - expected) < 4 * expected**0.5
    neighbours = (picture[:, 1:] & picture[:, :-1]).mean()
    assert neighbours == pytest.approx((100_000 / 512**2) ** 2, rel=0.02)


# ---- seeds ----------------------------------------------------------------------------------------------------------


def test_rng():
    image = np.zeros((50, 50), np.float32)

    def noisy(rng: object) -> bytes:
        return util.random_noise(image, rng=rng, clip=False).tobytes()

    assert noisy(3) == noisy(np.int64(3)) == noisy(np.random.default_rng(3))
    generator = np.random.default_rng(3)
    assert len({noisy(generator), noisy(generator), noisy(4), noisy(None), noisy(None), noisy(2**100)}) == 6
    with pytest.raises(TypeError, match="rng must be None, an integer or a numpy.random.Generator, got 'seed'"):
        util.random_noise(image, rng="seed")
    with pytest.raises(ValueError, match="rng must be at least 0, got -1"):
        util.random_noise(image, rng=-1)


# ---- the ends of the range, and bad input ----------------------------------------------------------------------------


def test_signed_images(target, rng):
    image = rng.uniform(-1, 1, (50, 60)).astype(np.float32)
    assert set(np.unique(util.random_noise(image, "s&p", 1, amount=1))) == {-1, 1}
    assert util.random_noise(image, "gaussian", 1, var=4).min() == -1
    assert (util.random_noise(np.full((5, 5), -1.0), "poisson", 1) == -1).all()


@pytest.mark.parametrize("mode", MODES)
def test_nan_stays_where_it_is(target, mode):
    image = np.full((9, 9), 0.5, np.float32)
    image[4, 5] = np.nan
    result = util.random_noise(image, mode, 1, **({"amount": 0.0} if mode in ("salt", "pepper", "s&p") else {}))
    assert np.isnan(result[4, 5])
    assert np.isfinite(result).sum() == 80


def test_all_or_none():
    image = np.full((30, 31), 0.5)
    assert (util.random_noise(image, "salt", 1, amount=1.0) == 1).all()
    np.testing.assert_array_equal(util.random_noise(image, "salt", 1, amount=0), image)
    np.testing.assert_array_equal(util.random_noise(image, "gaussian", 1, var=0), image)


@pytest.mark.parametrize("mode", ["gaussian", "poisson"])
def test_a_nan_concerns_no_other_sample(mode):
    image = np.array([[np.nan, -0.5, 0.5, 0.25]])
    result = util.random_noise(image, mode, rng=3)
    assert np.isnan(result[0, 0])
    assert np.isfinite(result[0, 1:]).all()
    assert util.random_noise(image, var=0, rng=0)[0, 1] == -0.5


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    image = random_image(rng, (20, 30), "float32")
    out = torch.empty(20, 30)
    assert util.random_noise(torch.from_numpy(image), rng=1, out=out) is out
    np.testing.assert_array_equal(out.numpy(), util.random_noise(image, rng=1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "rain"}, ValueError, "mode must be one of 'gaussian', .*, got 'rain'"),
        ({"mode": 3}, ValueError, "mode must be one of .*, got 3"),
        ({"var": -1.0}, ValueError, "var must be at least 0, got -1"),
        ({"var": True}, TypeError, "var must be a number, got True"),
        ({"mode": "localvar", "local_vars": True}, TypeError, "local_vars must be a number, got True"),
        ({"mode": "localvar", "local_vars": 10**400}, ValueError, "local_vars must be finite, got inf"),
        ({"var": float("nan")}, ValueError, "var must be finite, got nan"),
        ({"mean": "a"}, TypeError, "mean must be a number, got 'a'"),
        ({"amount": 0.1}, ValueError, "amount has no meaning in mode 'gaussian'"),
        ({"channel_axis": -1}, ValueError, "channel_axis has no meaning in mode 'gaussian'"),
        ({"mode": "salt", "salt_vs_pepper": 0.1}, ValueError, "salt_vs_pepper has no meaning in mode 'salt'"),
        ({"mode": "s&p", "amount": 1.1}, ValueError, "amount must be at most 1, got 1.1"),
        ({"mode": "s&p", "salt_vs_pepper": -0.1}, ValueError, "salt_vs_pepper must be at least 0, got -0.1"),
        ({"mode": "s&p", "amount": 0.1, "count": 3}, ValueError, "amount and count must not both be given"),
        ({"mode": "s&p", "count": 21}, ValueError, "count must be at most 20, got 21"),
        ({"mode": "s&p", "count": 6, "channel_axis": 0}, ValueError, "count must be at most 5, got 6"),
        ({"mode": "s&p", "count": 1.5}, TypeError, "count must be an integer, got 1.5"),
        ({"mode": "s&p", "channel_axis": 2}, ValueError, "channel_axis must be None or between -2 and 1"),
        ({"mode": "localvar", "local_vars": np.zeros((4, 5))}, ValueError, "local_vars must be finite and above 0"),
        ({"mode": "localvar", "local_vars": np.ones(3)}, ValueError, "local_vars must have a shape that broadcasts"),
        ({"clip": 1}, TypeError, "clip must be True or False, got 1"),
        ({"preserve_range": None}, TypeError, "preserve_range must be True or False, got None"),
        ({"out": np.zeros((4, 5), np.uint8)}, TypeError, "out must have dtype float64, got uint8"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        util.random_noise(np.zeros((4, 5)), **options)


def test_bad_images():
    with pytest.raises(ValueError, match=r"image must not be empty, got shape \(0, 4\)"):
        util.random_noise(np.zeros((0, 4)))
    with pytest.raises(TypeError, match="image must have one of the dtypes uint8, .*, got int64"):
        util.random_noise(np.zeros((4, 4), np.int64))
    with pytest.raises(ValueError, match="image must not go below -1 in mode 'poisson', got a minimum of -3"):
        util.random_noise(np.full((4, 4), -3.0), "poisson")
    image = np.zeros((4, 4))
    with pytest.raises(ValueError, match="out must not overlap image"):
        util.random_noise(image, out=image)
    variances = np.ones((5, 4), np.float32)
    with pytest.raises(ValueError, match="out must not overlap local_vars"):
        util.random_noise(image.astype("f"), "localvar", local_vars=variances[1:], out=variances[:4])
    np.testing.assert_array_equal(variances, 1)
