#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of GGUF files: PyPI gguf writes, quantizes and dequantizes.

usage: make_gguf_goldens.py [OUT_FILE]     default: gguf.json beside this script

Needs gguf 0.19.0 and numpy: the environment of tests/requirements.txt. Bytes are in hexadecimal.
"""
import importlib.metadata
import json
import pathlib
import sys
import tempfile

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

random = np.random.default_rng(7)


def half(value):
    return np.float16(value).tobytes()


def blocks(type_):
    """Three blocks of any bits, with scales that are normal, negative and subnormal."""
    _, size = gguf.GGML_QUANT_SIZES[type_]
    rows = [bytearray(random.integers(0, 256, size, dtype=np.uint8)) for _ in range(3)]
    scale_at = {Type.Q6_K: [208], Type.Q4_1: [0, 2], Type.Q4_K: [0, 2]}.get(type_, [0])
    for row, scale in zip(rows, (0.0371, -1.75, 3e-7)):
        for place in scale_at:
            row[place:place + 2] = half(scale * (1 + place))
    return b"".join(rows)


def dequantized():
    result = {}
    for type_ in (Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.Q4_K, Type.Q6_K):
        data = blocks(type_)
        values = dequantize(np.frombuffer(data, np.uint8), type_)
        result[type_.name] = {"bytes": data.hex(), "values": values.astype("<f4").tobytes().hex()}
    every_exponent = np.arange(0, 1 << 16, 509, dtype="<u2")
    for type_, finite in ((Type.F16, np.isfinite(every_exponent.view(np.float16))),
                          (Type.BF16, (every_exponent & 0x7F80) != 0x7F80)):
        data = every_exponent[finite].tobytes()
        raw = np.frombuffer(data, np.float16 if type_ == Type.F16 else np.uint8)
        values = dequantize(raw, type_)
        result[type_.name] = {"bytes": data.hex(), "values": values.astype("<f4").tobytes().hex()}
    return result


def quantized():
    """Rows of 32: random, zeros, ties between two steps, one outlier, tiny numbers."""
    ties = np.concatenate([[127.0], np.arange(31) - 15.5])
    outlier = np.concatenate([[1e4], random.normal(size=31)])
    rows = np.stack([random.normal(size=32), np.zeros(32), ties, outlier,
                     1e-7 * random.normal(size=32), -3 * random.random(32)]).astype(np.float32)
    result = {"values": rows.astype("<f4").tobytes().hex()}
    for type_ in (Type.F32, Type.BF16, Type.Q8_0):
        result[type_.name] = quantize(rows, type_).tobytes().hex()
    return result


def float16():
    """fp32 numbers and their nearest fp16 numbers: ties, subnormal numbers, overflow."""
    numbers = np.concatenate([
        random.normal(size=40), 1e-6 * random.normal(size=40), [0.0, -0.0, 65504, 65519.9, 65520],
        [2.0**-25, 2.0**-25 * 1.0001, 2.0**-24 * 1.5, 2.0**-14, 2.0**-14 * (1 - 2.0**-11)],
        1 + np.arange(12) * 2.0**-12, [-1e30, 1e-30]]).astype("<f4")
    with np.errstate(over="ignore"):
        return {"values": numbers.tobytes().hex(), "bits": numbers.astype("<f2").tobytes().hex()}


def whole_file():
    """A file with every type of value and three tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint8("n.u8", 200)
        writer.add_int8("n.i8", -100)
        writer.add_uint16("n.u16", 60000)
        writer.add_int16("n.i16", -30000)
        writer.add_uint32("n.u32", 4000000000)
        writer.add_int32("n.i32", -2000000000)
        writer.add_uint64("n.u64", 1 << 40)
        writer.add_int64("n.i64", -(1 << 40))
        writer.add_float32("n.f32", 0.5)
        writer.add_float64("n.f64", 0.1)
        writer.add_bool("n.bool", True)
        writer.add_string("n.text", "grüße")
        writer.add_array("n.ints", [1, -2, 3])
        writer.add_array("n.numbers", [0.5, -0.25])
        writer.add_array("n.texts", ["a", "", "▁b"])
        writer.add_array("n.bools", [True, False])
        writer.add_tensor("a.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
        rows = random.normal(size=(2, 64)).astype(np.float32)
        writer.add_tensor("b.weight", quantize(rows, Type.Q8_0), raw_dtype=Type.Q8_0)
        writer.add_tensor("c.weight", np.array([1.5], dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return {"bytes": path.read_bytes().hex(),
                "b.weight": dequantize(quantize(rows, Type.Q8_0), Type.Q8_0).astype("<f4").tobytes().hex()}


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "gguf.json"
    golden = {
        "made_with": {name: importlib.metadata.version(name) for name in ("gguf", "numpy")},
        "dequantized": dequantized(),
        "quantized": quantized(),
        "float16": float16(),
        "file": whole_file(),
    }
    out.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
