"""Writes an encoder of the BERT family as an ONNX graph, the way onnxruntime likes it best.

Two forms of the same arithmetic: `plain` uses the standard operators that an export from PyTorch leaves, for onnxruntime's own
optimiser to fuse; `fused` uses onnxruntime's contributed operators directly (Attention, SkipLayerNormalization, BiasGelu), as its
transformer tool would. The benchmark takes whichever is faster at each length.
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONTRIB = "com.microsoft"


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = entry["data_offsets"]
        data = np.frombuffer(raw, np.float32, (end - start) // 4, 8 + length + start)
        tensors[name] = data.reshape(entry["shape"])
    return tensors


class Graph:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.config = json.loads((directory / "config.json").read_text())
        self.weights = read_safetensors(directory / "model.safetensors")
        self.nodes, self.constants, self.count = [], {}, 0

    def const(self, name, value):
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind, inputs, domain="", outputs=1, **attributes):
        self.count += 1
        names = [f"{kind}_{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0]

    def ints(self, *values):
        return self.const("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, name, transpose=False):
        value = self.weights[name]
        return self.const(name, value.T if transpose else value)

    def linear(self, rows, name):
        product = self.op("MatMul", [rows, self.weight(f"{name}.weight", True)])
        return self.op("Add", [product, self.weight(f"{name}.bias")])

    def norm(self, rows, name):
        inputs = [rows, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.op("LayerNormalization", inputs, axis=-1, epsilon=self.config["layer_norm_eps"])

    def skip_norm(self, rows, skip, name, bias):
        inputs = [rows, skip, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), self.weight(bias)]
        return self.op("SkipLayerNormalization", inputs, CONTRIB, epsilon=self.config["layer_norm_eps"])

    def embed(self):
        table = "embeddings.{}_embeddings.weight".format
        words = self.op("Gather", [self.weight(table("word")), "input_ids"])
        length = self.op("Slice", [self.op("Shape", ["input_ids"]), self.ints(1), self.ints(2)])
        kinds = self.weight(table("token_type"))
        first = self.op("Slice", [kinds, self.ints(0), self.ints(1), self.ints(0)])
        places = self.op("Slice", [self.weight(table("position")), self.ints(0), length, self.ints(0)])
        rows = self.op("Add", [self.op("Add", [words, first]), places])
        return self.norm(rows, "embeddings.LayerNorm")

    def heads(self, rows, name, order):
        count = self.config["num_attention_heads"]
        split = self.op("Reshape", [self.linear(rows, name), self.ints(0, 0, count, self.config["hidden_size"] // count)])
        return self.op("Transpose", [split], perm=order)

    def plain_layer(self, rows, at, mask):
        name = f"encoder.layer.{at}."
        query = self.heads(rows, name + "attention.self.query", [0, 2, 1, 3])
        key = self.heads(rows, name + "attention.self.key", [0, 2, 3, 1])
        value = self.heads(rows, name + "attention.self.value", [0, 2, 1, 3])
        root = (self.config["hidden_size"] / self.config["num_attention_heads"]) ** 0.5
        scores = self.op("Div", [self.op("MatMul", [query, key]), self.const("root", np.array(root, np.float32))])
        shares = self.op("Softmax", [self.op("Add", [scores, mask])], axis=-1)
        gathered = self.op("Transpose", [self.op("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        gathered = self.op("Reshape", [gathered, self.ints(0, 0, self.config["hidden_size"])])
        output = self.linear(gathered, name + "attention.output.dense")
        rows = self.norm(self.op("Add", [output, rows]), name + "attention.output.LayerNorm")
        inner = self.op("Gelu", [self.linear(rows, name + "intermediate.dense")])
        output = self.linear(inner, name + "output.dense")
        return self.norm(self.op("Add", [output, rows]), name + "output.LayerNorm")

    def fused_layer(self, rows, at, mask):
        name = f"encoder.layer.{at}."
        parts = [name + "attention.self." + part for part in ("query", "key", "value")]
        weight = np.concatenate([self.weights[part + ".weight"].T for part in parts], 1)
        bias = np.concatenate([self.weights[part + ".bias"] for part in parts])
        inputs = [rows, self.const(name + "qkv", weight), self.const(name + "qkv_bias", bias), mask]
        gathered = self.op("Attention", inputs, CONTRIB, num_heads=self.config["num_attention_heads"])
        output = self.op("MatMul", [gathered, self.weight(name + "attention.output.dense.weight", True)])
        rows = self.skip_norm(output, rows, name + "attention.output.LayerNorm", name + "attention.output.dense.bias")
        inner = self.op("MatMul", [rows, self.weight(name + "intermediate.dense.weight", True)])
        inner = self.op("BiasGelu", [inner, self.weight(name + "intermediate.dense.bias")], CONTRIB)
        output = self.op("MatMul", [inner, self.weight(name + "output.dense.weight", True)])
        return self.skip_norm(output, rows, name + "output.LayerNorm", name + "output.dense.bias")

    def build(self, fused):
        rows = self.embed()
        if fused:
            mask = self.op("Cast", ["attention_mask"], to=TensorProto.INT32)
        else:
            floats = self.op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
            absent = self.op("Sub", [self.const("one", np.array(1, np.float32)), floats])
            scaled = self.op("Mul", [absent, self.const("lowest", np.array(-1e9, np.float32))])
            mask = self.op("Unsqueeze", [scaled, self.ints(1, 2)])
        for at in range(self.config["num_hidden_layers"]):
            rows = (self.fused_layer if fused else self.plain_layer)(rows, at, mask)
        self.nodes.append(helper.make_node("Identity", [rows], ["last_hidden_state"]))
        shape = ["batch", "tokens"]
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask")]
        outputs = [
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, self.config["hidden_size"]])
        ]
        graph = helper.make_graph(self.nodes, "encoder", inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def build(directory, fused):
    """The graph's bytes: input_ids and attention_mask in, last_hidden_state out."""
    return Graph(directory).build(fused)
