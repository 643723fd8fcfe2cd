from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct

import numpy as np
import pytest
from conftest import run_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.graphdef import constant, convolution, field, node, prelu, varint

from fastimg import models
from fastimg.models import weights_files
from fastimg.models.weights_files import mat5
from fastimg.models.weights_files.protobuf import Message

# PyTorch says so of some damaged files and of plain pickles, before it refuses them.
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")

FSRCNN_S = {  # name in the paper: name in a re-implementation, weight shape, whether a PReLU follows
    "feature_extraction": ("first_part.0", (32, 1, 5, 5), True),
    "shrinking": ("mid_part.0", (5, 32, 1, 1), True),
    "mapping.0": ("mid_part.2", (5, 5, 3, 3), True),
    "expanding": ("mid_part.4", (32, 5, 1, 1), True),
    "deconvolution": ("last_part", (32, 1, 9, 9), False),
}
SRCNN = {"patch_extraction": (64, 1, 9, 9), "nonlinear_mapping": (32, 64, 1, 1), "reconstruction": (1, 32, 5, 5)}


def tensors(rng, slope_size=1):
    """Random FSRCNN-s weights by the paper's names."""
    result = {}
    for name, (_, shape, sloped) in FSRCNN_S.items():
        outputs = shape[1] if name == "deconvolution" else shape[0]
        result[f"{name}.weight"] = rng.standard_normal(shape, np.float32) * 0.1
        result[f"{name}.bias"] = rng.standard_normal(outputs, np.float32)
        if sloped:
            result[f"{name}.slope"] = rng.standard_normal(outputs if slope_size != 1 else 1, np.float32)
    return result


def assert_holds(model, expected):
    """Whether a model has these tensors, by the paper's names."""
    found = {}
    for layer in model.network.layers:
        for role in ("weight", "bias", "slope"):
            if getattr(layer, role, None) is not None:
                found[f"{layer.name}.{role}"] = getattr(layer, role)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def geometry(model):
    last = model.network.layers[-1]
    return last.stride[0], last.padding[0], last.output_padding[0], last.padding_mode


# --- writers of the formats ---------------------------------------------------------------------------------------


def write_safetensors(path, arrays, metadata=None):
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata)


def matlab_taps(weight):
    """(C_out, C_in, k, k) to (C_in, k·k, C_out) with column-major taps."""
    outputs, inputs, k, _ = weight.shape
    return weight.transpose(1, 3, 2, 0).reshape(inputs, k * k, outputs).astype(np.float64)


def cells(arrays):
    result = np.empty((len(arrays), 1), object)
    for i, array in enumerate(arrays):
        result[i, 0] = array
    return result


def write_mat(path, arrays, **changes):
    scipy_io = pytest.importorskip("scipy.io")
    variables = {
        "weights_conv": cells([matlab_taps(arrays[f"{n}.weight"]) for n in FSRCNN_S]),
        "biases_conv": cells([arrays[f"{n}.bias"][:, np.newaxis] for n in FSRCNN_S]),
        "prelu_conv": cells([arrays.get(f"{n}.slope", np.zeros((1, 0))) for n in FSRCNN_S]),
    }
    scipy_io.savemat(path, {k: v for k, v in {**variables, **changes}.items() if v is not None})


def state_dict(arrays):
    """As a re-implementation in PyTorch names it, every PReLU the module after its convolution."""
    torch = pytest.importorskip("torch")
    state = {}
    for name, (module, _, sloped) in FSRCNN_S.items():
        state[f"{module}.weight"] = torch.from_numpy(arrays[f"{name}.weight"])
        state[f"{module}.bias"] = torch.from_numpy(arrays[f"{name}.bias"])
        if sloped:
            head, _, index = module.rpartition(".")
            state[f"{head}.{int(index) + 1}.weight"] = torch.from_numpy(arrays[f"{name}.slope"])
    return state


def write_pb(path, arrays, scale=2, **changes):
    """FSRCNN-small as OpenCV has it: a 1×1 convolution without bias, depth to space, and one bias after it."""
    graph, source = node("input", "Placeholder"), "input"
    for name in [*FSRCNN_S][:4]:
        graph += convolution(name, source, arrays[f"{name}.weight"], **changes)
        graph += constant(f"{name}/b", arrays[f"{name}.bias"])
        graph += node(f"{name}/biased", "Add", [name, f"{name}/b"])
        graph += prelu(f"{name}/prelu", f"{name}/biased", arrays[f"{name}.slope"])
        source = f"{name}/prelu"
    graph += convolution("last", source, arrays["last.weight"])
    block = {"block_size": [field(3, scale)], "data_format": [field(2, b"NHWC")]}
    graph += node("shuffle", "DepthToSpace", ["last"], **block)
    graph += constant("b", arrays["last.bias"]) + node("result", "BiasAdd", ["shuffle", "b"])
    path.write_bytes(graph)


def pb_tensors(rng, scale=2):
    arrays = tensors(rng, slope_size=None)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("deconvolution")}
    arrays["last.weight"] = rng.standard_normal((scale * scale, 32, 1, 1), np.float32) * 0.1
    arrays["last.bias"] = rng.standard_normal(1, np.float32)
    return arrays


# --- what each format gives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "deconvolution"), [(2, (2, 4, 1)), (3, (3, 3, 0)), (4, (4, 4, 3))])
def test_safetensors_by_the_papers_names(tmp_path, rng, scale, deconvolution):
    arrays = tensors(rng)
    write_safetensors(tmp_path / "w.safetensors", arrays, {"model": "FSRCNN_s", "scale": str(scale)})
    model = models.FSRCNN_s.from_file(tmp_path / "w.safetensors")
    assert model.scale == scale
    assert geometry(model) == (*deconvolution, "replicate")
    assert all(layer.padding_mode == "replicate" for layer in model.network.layers)
    assert_holds(model, arrays)


def test_mat_fsrcnn(tmp_path, rng):
    arrays = tensors(rng)
    write_mat(tmp_path / "w.mat", arrays)
    model = models.FSRCNN_s.from_file(tmp_path / "w.mat", 3)
    assert geometry(model) == (3, 3, 0, "replicate")
    assert_holds(model, arrays)


def test_mat_srcnn(tmp_path, rng):
    scipy_io = pytest.importorskip("scipy.io")
    arrays = {f"{name}.weight": rng.standard_normal(shape, np.float32) for name, shape in SRCNN.items()}
    arrays |= {f"{name}.bias": rng.standard_normal(shape[0], np.float32) for name, shape in SRCNN.items()}
    first, middle, last = (matlab_taps(arrays[f"{name}.weight"]) for name in SRCNN)
    variables = {"weights_conv1": first[0], "weights_conv2": middle, "weights_conv3": last[..., 0]}
    variables |= {f"biases_conv{i + 1}": arrays[f"{name}.bias"][:, np.newaxis] for i, name in enumerate(SRCNN)}
    scipy_io.savemat(tmp_path / "w.mat", variables)
    model = models.SRCNN.from_file(tmp_path / "w.mat", 4)
    assert_holds(model, arrays)
    assert [layer.activation for layer in model.network.layers] == ["relu", "relu", None]
    with pytest.raises(ValueError, match="scale must be given"):
        models.SRCNN.from_file(tmp_path / "w.mat")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("nested", [None, "state_dict", "params_ema", "weights"])
def test_pytorch(tmp_path, rng, zipped, nested):
    torch = pytest.importorskip("torch")
    arrays = tensors(rng, slope_size=None)
    state = state_dict(arrays)
    if nested:
        moments = {"step": torch.tensor(9.0), "exp_avg": torch.zeros(3)}
        optimizer = {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
        state = {"epoch": 3, nested: state, "optimizer": optimizer}
    torch.save(state, tmp_path / "w.anything", _use_new_zipfile_serialization=zipped)
    model = models.FSRCNN_s.from_file(tmp_path / "w.anything", 3)
    assert geometry(model) == (3, 4, 2, "zeros")
    assert all(layer.padding_mode == "zeros" for layer in model.network.layers)
    assert_holds(model, arrays)


def test_pytorch_prefers_averaged_weights(tmp_path, rng):
    torch = pytest.importorskip("torch")
    arrays = tensors(rng)
    other = {k: torch.zeros_like(v) for k, v in state_dict(arrays).items()}
    torch.save({"params": other, "params_ema": state_dict(arrays)}, tmp_path / "w.pth")
    assert_holds(models.FSRCNN_s.from_file(tmp_path / "w.pth", 2), arrays)


def test_pytorch_half_and_parallel(tmp_path, rng):
    torch = pytest.importorskip("torch")
    arrays = tensors(rng)
    state = {f"module.{k}": v.half() for k, v in state_dict(arrays).items()}
    torch.save(state, tmp_path / "w.pth")
    expected = {k: v.astype(np.float16).astype(np.float32) for k, v in arrays.items()}
    assert_holds(models.FSRCNN_s.from_file(tmp_path / "w.pth", 2), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pb(tmp_path, rng, scale):
    arrays = pb_tensors(rng, scale)
    write_pb(tmp_path / "w.pb", arrays, scale)
    model = models.FSRCNN_s.from_file(tmp_path / "w.pb")
    assert model.scale == scale
    assert [layer.name for layer in model.network.layers[-2:]] == ["sub_pixel_convolution", "pixel_shuffle"]
    assert {layer.padding_mode for layer in model.network.layers[:-1]} == {"zeros"}
    expected = {k.replace("last", "sub_pixel_convolution"): v for k, v in arrays.items()}
    expected["sub_pixel_convolution.bias"] = np.repeat(arrays["last.bias"], scale**2)
    assert_holds(model, expected)


def test_pb_of_several_channels(tmp_path, rng):
    """TensorFlow's depth_to_space has its channels the other way round."""
    weight = rng.standard_normal((12, 3, 1, 1), np.float32)
    bias = rng.standard_normal(3, np.float32)
    graph = node("x", "Placeholder") + convolution("c", "x", weight)
    graph += node("d", "DepthToSpace", ["c"], block_size=[field(3, 2)], data_format=[field(2, b"NHWC")])
    graph += constant("b", bias) + node("y", "AddV2", ["d", "b"])
    (tmp_path / "w.pb").write_bytes(graph)
    model = models.SuperResolution.from_file(tmp_path / "w.pb")
    image = rng.random((4, 5, 3), np.float32)
    product = np.einsum("oc,hwc->hwo", weight[..., 0, 0], image)
    expected = product.reshape(4, 5, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(8, 10, 3) + bias
    result = model.network(np.ascontiguousarray(image.transpose(2, 0, 1))).transpose(1, 2, 0)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_pb_with_relu_and_valid_padding(tmp_path, rng):
    weight = rng.standard_normal((4, 1, 3, 3), np.float32)
    graph = node("x", "Placeholder") + convolution("c", "x", weight, padding=b"VALID") + node("r", "Relu", ["c"])
    (tmp_path / "w.pb").write_bytes(graph)
    (layer,) = weights_files.read(tmp_path / "w.pb").layers
    np.testing.assert_array_equal(layer.weight, weight)
    assert (layer.padding, layer.activation, layer.bias) == ((0, 0), "relu", None)


# --- saving -------------------------------------------------------------------------------------------------------


def test_saved_models_come_back_whole(tmp_path, rng):
    """Also those whose geometry is not the paper's."""
    write_pb(tmp_path / "w.pb", pb_tensors(rng, 3), 3)
    write_mat(tmp_path / "w.mat", tensors(rng))
    torch = pytest.importorskip("torch")
    torch.save(state_dict(tensors(rng)), tmp_path / "w.pth")
    for name in ("w.pb", "w.mat", "w.pth"):
        model = models.FSRCNN_s.from_file(tmp_path / name, 3)
        model.save(tmp_path / "saved.safetensors", {"trained_on": "noise"})
        again = models.FSRCNN_s.from_file(tmp_path / "saved.safetensors")
        assert again.scale == 3
        for before, after in zip(model.network.layers, again.network.layers, strict=True):
            assert type(before) is type(after)
            for key, value in vars(before).items():
                np.testing.assert_array_equal(getattr(after, key), value, err_msg=f"{name} {before.name} {key}")
    header = json.loads((tmp_path / "saved.safetensors").read_bytes()[8:].split(b"}}", 1)[0] + b"}}")
    assert header["__metadata__"]["model"] == "FSRCNN_s"
    assert header["__metadata__"]["trained_on"] == "noise"


def test_saving_is_all_or_nothing(tmp_path, rng, monkeypatch):
    write_mat(tmp_path / "w.mat", tensors(rng))
    model = models.FSRCNN_s.from_file(tmp_path / "w.mat", 2)
    (tmp_path / "saved.safetensors").write_bytes(b"before")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left on device: .*saved.safetensors"):
        model.save(tmp_path / "saved.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saved.safetensors", "w.mat"]
    assert (tmp_path / "saved.safetensors").read_bytes() == b"before"


def test_a_description_nested_without_end(tmp_path, rng):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a.weight": np.zeros((1, 1, 1, 1), np.float32)}, {"layers": "[" * 100_000})
    with pytest.raises(ValueError, match="metadata 'layers' is not a description of layers"):
        models.SuperResolution.from_file(path)


def test_layers_of_one_name_are_not_saved(tmp_path):
    layer = models.Conv2d(np.ones((1, 1, 1, 1)), name="a")
    with pytest.raises(ValueError, match="different names"):
        models.SuperResolution([layer, layer]).save(tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


# --- bad files ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["safetensors", "described", "mat", "pth", "legacy", "pb"])
def good_file(request, tmp_path, rng):
    """A whole file of each format."""
    path = tmp_path / f"good.{request.param}"
    if request.param == "safetensors":
        write_safetensors(path, tensors(rng), {"scale": "2"})
    elif request.param == "described":
        write_mat(tmp_path / "w.mat", tensors(rng))
        models.FSRCNN_s.from_file(tmp_path / "w.mat", 2).save(path)
    elif request.param == "mat":
        write_mat(path, tensors(rng))
    elif request.param == "pb":
        write_pb(path, pb_tensors(rng))
    else:
        torch = pytest.importorskip("torch")
        torch.save(state_dict(tensors(rng)), path, _use_new_zipfile_serialization=request.param == "pth")
    return path


def test_truncated_files(good_file):
    content = good_file.read_bytes()
    models.FSRCNN_s.from_file(good_file, 2)
    for length in sorted(
        {0, 1, 7, 8, 9, 100, 130, *range(200, len(content), max(len(content) // 40, 1)), len(content) - 1}
    ):
        good_file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=good_file.name):
            models.FSRCNN_s.from_file(good_file, 2)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files(good_file, data):
    """One byte changed: an error that names the file, or weights of the right shapes."""
    content = bytearray(good_file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = good_file.with_name("damaged")
    damaged.write_bytes(content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :])
    try:
        outcome = str(models.FSRCNN_s.from_file(damaged, 2))
    except ValueError as error:
        outcome = str(error)
    assert outcome == "FSRCNN_s(scale=2)" or str(damaged) in outcome


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"GIF89a.........", "found a file that begins with b'GIF89a"),
        (b"MATLAB 7.3 MAT-file, Platform", "MATLAB 7.3"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "MATLAB 7.3"),
        (struct.pack("<Q", 2**40) + b"{}", "truncated or damaged safetensors"),
        (b"PK\x03\x04" + bytes(200), "truncated or damaged PyTorch"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a TensorFlow graph"),
        (b"\x0a\x00", "not a TensorFlow graph"),
    ],
)
def test_files_of_other_kinds(tmp_path, content, message):
    (tmp_path / "weights.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        weights_files.read(tmp_path / "weights.bin")
    assert str(tmp_path / "weights.bin") in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        models.FSRCNN.from_file(tmp_path / "absent.pth")


class Touch:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_code_in_pickles_is_refused(tmp_path, rng, form):
    torch = pytest.importorskip("torch")
    state = state_dict(tensors(rng)) | {"extra": Touch(tmp_path / "executed")}
    if form == "plain pickle":
        (tmp_path / "w.pth").write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    else:
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match=r"w\.pth.*nothing in a weights file is ever executed"):
        models.FSRCNN_s.from_file(tmp_path / "w.pth", 2)
    assert not (tmp_path / "executed").exists()


def test_wrong_tensors_in_safetensors(tmp_path, rng):
    path, arrays = tmp_path / "w.safetensors", tensors(rng)

    def refused(changes, message):
        changed = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
        write_safetensors(path, changed)
        with pytest.raises(ValueError, match=message) as error:
            models.FSRCNN_s.from_file(path, 2)
        assert str(path) in str(error.value)

    zeros = np.zeros((5, 32, 3, 3), np.float32)
    refused({"shrinking.weight": zeros}, r"'shrinking'.*expected shape \(5, 32, 1, 1\), found \(5, 32, 3, 3\)")
    refused({"shrinking.bias": np.zeros(4, np.float32)}, r"'shrinking': bias must have shape \(5,\), got \(4,\)")
    refused({"mapping.0.slope": np.zeros(2, np.float32)}, r"'mapping.0': slope must have shape \(1,\) or \(5,\)")
    refused({"expanding.slope": None}, "slope of 'expanding'.*missing")
    refused({"expanding.bias": None}, "bias of 'expanding'.*missing")
    refused({"expanding.weight": None}, r"missing tensor 'expanding.weight'")
    refused({k: None for k in arrays if k.startswith("expanding")}, "missing expanding, unexpected none")
    refused({"mapping.1.weight": arrays["mapping.0.weight"]}, r"missing none, unexpected mapping\.1")
    refused({"deconvolution.slope": np.zeros(1, np.float32)}, "slope of 'deconvolution'.*unexpected")
    refused({"shrinking.mean": np.zeros(5, np.float32)}, "unexpected tensor 'shrinking.mean'")
    refused({"shrinking.bias": np.zeros(5, np.int32)}, "'shrinking.bias': expected floating-point.*int32")
    refused({"shrinking.bias": np.full(5, np.nan, np.float32)}, "bias must be finite")
    write_safetensors(path, arrays | {f"mapping.{i}.weight": arrays["mapping.0.weight"] for i in range(4)})
    with pytest.raises(ValueError, match=r"expected shape \(56, 1, 5, 5\), found \(32, 1, 5, 5\)"):
        models.FSRCNN.from_file(path, 2)


def test_wrong_metadata_in_safetensors(tmp_path, rng):
    path, arrays = tmp_path / "w.safetensors", tensors(rng)
    for metadata, message in [
        ({"scale": "two"}, "'scale': expected a whole number, found 'two'"),
        ({"scale": "5"}, "scale must be one of 2, 3, 4, got 5"),
        ({"scale": "2", "layers": "5"}, "not a description of layers"),
        ({"scale": "2", "layers": "[{}]"}, "not a description of layers"),
        ({"scale": "2", "layers": '[{"type": "os.system", "name": "x"}]'}, "not a description of layers"),
        ({"scale": "2", "layers": '[{"type": "Conv2d", "name": "x"}]'}, r"missing tensor 'x\.weight'"),
        ({"scale": "2", "layers": '[{"type": "PixelShuffle", "name": "x", "factor": 2}]'}, "unexpected tensors: decon"),
        ({"scale": "2", "layers": '[{"type": "Conv2d", "name": "shrinking"}]'}, "'shrinking': .* takes no slope"),
        ({"layers": "["}, "w.safetensors"),
    ]:
        write_safetensors(path, arrays, metadata)
        with pytest.raises(ValueError, match=message) as error:
            models.FSRCNN_s.from_file(path)
        assert str(path) in str(error.value)
    write_safetensors(path, arrays, {"scale": "2"})
    with pytest.raises(ValueError, match="scale must be 2, for which these weights are, got 3"):
        models.FSRCNN_s.from_file(path, 3)
    write_safetensors(path, arrays)
    with pytest.raises(ValueError, match="scale must be given"):
        models.FSRCNN_s.from_file(path)
    with pytest.raises(ValueError, match="does not describe its layers"):
        models.SuperResolution.from_file(path)


def test_wrong_tensors_in_mat(tmp_path, rng):
    path, arrays = tmp_path / "w.mat", tensors(rng)
    weights = [matlab_taps(arrays[f"{n}.weight"]) for n in FSRCNN_S]
    scipy_io = pytest.importorskip("scipy.io")
    for changes, message in [
        ({"prelu_conv": None}, "expected the variables weights_conv.*found biases_conv, weights_conv"),
        ({"weights_conv": np.zeros((5, 5))}, "weights_conv: expected a cell array, found numbers"),
        ({"weights_conv": cells(weights[:4])}, r"as many cells .* \(4\), found 5 and 5"),
        (
            {"weights_conv": cells([*weights[:4], np.zeros((1, 80, 32))])},
            r"weights_conv\{5\}: expected shape \(C_in, k",
        ),
        ({"weights_conv": cells([weights[0][:, :9], *weights[1:]])}, r"weights_conv\{1\}.*found \(32, 1, 3, 3\)"),
        ({"biases_conv": cells([cells([np.ones(1)])] * 5)}, r"biases_conv\{1\}: expected numbers, found a cell"),
        ({"biases_conv": cells(["text"] * 5)}, "expected real numbers or cells of them, found array class 4"),
        ({"biases_conv": np.ones(3) * 1j}, "expected real numbers"),
    ]:
        write_mat(path, arrays, **changes)
        with pytest.raises(ValueError, match=message) as error:
            models.FSRCNN_s.from_file(path, 2)
        assert str(path) in str(error.value)
    scipy_io.savemat(path, {"x": 1.0})
    with pytest.raises(ValueError, match="found x"):
        models.FSRCNN_s.from_file(path, 2)
    write_mat(path, arrays)
    with pytest.raises(ValueError, match="expected 8 layers with weights .*, found 5"):
        models.FSRCNN.from_file(path, 2)
    with pytest.raises(ValueError, match="expected 3 layers with weights .*, found 5"):
        models.SRCNN.from_file(path, 2)
    with pytest.raises(ValueError, match="scale must be given"):
        models.FSRCNN_s.from_file(path)
    with pytest.raises(ValueError, match="scale must be one of 2, 3, 4, got 8"):
        models.FSRCNN_s.from_file(path, 8)


def test_wrong_tensors_in_pytorch(tmp_path, rng):
    torch = pytest.importorskip("torch")
    path, good = tmp_path / "w.pth", state_dict(tensors(rng))

    def refused(checkpoint, message):
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match=message) as error:
            models.FSRCNN_s.from_file(path, 2)
        assert str(path) in str(error.value)

    refused(good | {"mid_part.0.weight": torch.zeros(5, 30, 1, 1)}, r"'mid_part.0' \(shrinking\).*\(5, 30, 1, 1\)")
    refused(good | {"norm.running_mean": torch.zeros(5)}, r"found norm\.running_mean \(5,\)")
    refused(good | {"more.weight": torch.zeros(5, 5, 3, 3)}, "expected 5 layers .* found 6")
    refused({k: v for k, v in good.items() if k != "mid_part.1.weight"}, "slope of 'mid_part.0' .*missing")
    refused({k: v for k, v in good.items() if k != "last_part.bias"}, "bias of 'last_part' .*missing")
    refused(good | {"mid_part.0.bias": torch.zeros(5, dtype=torch.int64)}, "expected floating-point weights.*int64")
    refused({"epoch": 3}, r"expected a state dict.*found the keys \['epoch'\]")
    refused([1, 2], "expected a state dict.*found a list")
    refused({}, "expected a state dict")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (node("x", "Placeholder"), "expected one result, found"),
        (node("x", "Placeholder") + node("y", "Tanh", ["x"]), "'y': operation 'Tanh' is not supported"),
        (node("y", "Relu", ["x"]), "its input 'x' is missing"),
        (node("x", "Placeholder") + node("y", "Relu", ["x"]), "expected a convolution before Relu"),
        (node("y", "Relu", ["z"]) + node("z", "Relu", ["y"]), "expected one result"),
        (
            node("y", "Relu", ["z"]) + node("z", "Relu", ["y"]) + node("a", "Relu", ["z"]),
            "is its own input",
        ),
        (
            node("x", "Placeholder") + convolution("c", "x", np.zeros((1, 1, 3, 3)), strides=(1, 2, 2, 1)),
            "'c': expected stride 1",
        ),
        (node("x", "Placeholder") + convolution("c", "x", np.zeros((1, 1, 2, 2))), "'c': expected .* odd kernels"),
        (
            node("x", "Placeholder") + convolution("c", "x", np.zeros((1, 1, 3, 3)), padding=b"EXPLICIT"),
            "'c': expected padding",
        ),
        (
            node("x", "Placeholder") + node("c", "Conv2D", ["x"]),
            "'c'.*expected one constant",
        ),
        (
            node("x", "Placeholder") + convolution("c", "x", np.zeros((1, 1, 3, 3))) + node("y", "Add", ["c", "x"]),
            r"'y': expected relu\(x\)",
        ),
        (
            node("x", "Placeholder")
            + convolution("c", "x", np.zeros((3, 1, 3, 3)))
            + node("y", "DepthToSpace", ["c"], block_size=[field(3, 2)], data_format=[field(2, b"NHWC")]),
            "block size 2 does not fit 3 channels",
        ),
        (
            node("x", "Placeholder")
            + convolution("c", "x", np.zeros((1, 1, 3, 3)))
            + prelu("y", "c", np.zeros(1)).replace(b"y/sub", b"y/mul"),  # a product of itself
            r"'y': expected relu\(x\)",
        ),
        (
            node("x", "Placeholder")
            + convolution("c", "x", np.zeros((1, 1, 3, 3)))
            + prelu("y", "c", np.zeros(1)).replace(b"Abs", b"Neg"),
            r"'y': expected relu\(x\)",
        ),
    ],
)
def test_other_graphs(tmp_path, graph, message):
    (tmp_path / "w.pb").write_bytes(graph)
    with pytest.raises(ValueError, match=message) as error:
        models.SuperResolution.from_file(tmp_path / "w.pb")
    assert str(tmp_path / "w.pb") in str(error.value)


def test_missing_pytorch_is_named(tmp_path, rng):
    """In a process of its own, where it cannot be imported."""
    path = tmp_path / "w.pth"
    pytest.importorskip("torch").save(state_dict(tensors(rng)), path)
    program = f"""
import sys
sys.modules["torch"] = None
from fastimg import models
try:
    models.FSRCNN_s.from_file({str(path)!r}, 2)
except ImportError as error:
    print(error)
"""
    assert "pip install 'fastimg[weights]'" in run_python(program).stdout


# --- MATLAB's format ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_variables_of_every_kind(tmp_path, rng, compressed):
    scipy_io = pytest.importorskip("scipy.io")
    arrays = {
        name: (rng.random((3, 2, 5)) * 100).astype(name)
        for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
    }
    cell = np.empty((2, 2), object)
    cell.ravel()[:] = [np.ones((1, 1)), np.zeros((2, 0)), np.arange(3.0), np.array([[7.0]])]
    scipy_io.savemat(tmp_path / "v.mat", {**arrays, "cell": cell, "scalar": 2.5}, do_compression=compressed)
    variables = mat5.read((tmp_path / "v.mat").read_bytes())
    assert variables.keys() == {*arrays, "cell", "scalar"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(variables[name], array, err_msg=name)
    np.testing.assert_array_equal(variables["scalar"], [[2.5]])
    for found, expected in zip(variables["cell"], cell.ravel(order="F"), strict=True):
        np.testing.assert_array_equal(found.ravel(), expected.ravel())


def test_big_endian_mat():
    def element(kind, data):
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    content = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 2))
    content += struct.pack(">HH4s", 1, 1, b"x") + element(3, struct.pack(">hh", -2, 300))
    file = mat5.MAGIC.ljust(124) + b"\x01\x00MI" + element(14, content)
    np.testing.assert_array_equal(mat5.read(file)["x"], [[-2, 300]])


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_mat_reader(data, big):
    header = mat5.MAGIC.ljust(124) + (b"\x01\x00MI" if big else b"\x00\x01IM")
    with contextlib.suppress(ValueError):
        assert isinstance(mat5.read(header + data), dict)


# --- the protobuf wire format -------------------------------------------------------------------------------------


def test_message_fields():
    data = field(1, "name") + field(2, 300) + field(2, 2**64 - 1) + field(3, b"\x01\x80\x02") + field(4, [field(1, 7)])
    data += varint(5 << 3 | 5) + struct.pack("<f", 0.5) + varint(6 << 3 | 1) + struct.pack("<d", 0.25)
    message = Message(data)
    assert message.text(1) == "name"
    assert message.numbers(2) == [300, 2**64 - 1]
    assert message.numbers(3) == [1, 256]
    assert message.message(4).number(1) == 7
    assert struct.unpack("<f", message.bytes(5)) == (0.5,)
    assert struct.unpack("<d", message.bytes(6)) == (0.25,)
    assert (message.number(9, 4), message.bytes(9), message.messages(9)) == (4, b"", [])


@given(st.binary(max_size=200))
def test_no_bytes_break_the_message_reader(data):
    with contextlib.suppress(ValueError):
        assert Message(data).numbers(0) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08", "ends within a number"),
        (b"\x08" + b"\xff" * 10, "more than ten bytes"),
        (b"\x0a\x05ab", "3 bytes after the data"),
        (b"\x0d\x00\x00", "2 bytes after the data"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x00\x00", "field number 0"),
    ],
)
def test_bytes_that_are_no_message(data, message):
    with pytest.raises(ValueError, match=message):
        Message(data)
