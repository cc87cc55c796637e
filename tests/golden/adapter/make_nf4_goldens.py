#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden of 4-bit NormalFloat with double quantization: what bitsandbytes stores on the CPU.

usage: make_nf4_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt and bitsandbytes
(deploy/requirements/bitsandbytes.txt).

Numbers of a generated case are not stored: number i of case NAME is an exact function of (NAME, i),
see numbers() here and tests/engine/ops/nf4_test.cc. Arrays of bytes are hexadecimal; those of large
cases and of dequantized matrices are stored as checksums, see checksum().
"""
import json
import os
import sys

# The functions of bitsandbytes as they are written, not compiled.
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import bitsandbytes
import bitsandbytes.functional
import numpy as np
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import hash32

NF4 = bitsandbytes.functional.get_4bit_type("nf4", device="cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Cases with more elements store checksums only.
LARGE = 40000


def numbers(name, count):
    """Exact in fp32: bell-shaped, and each block of 64 has another magnitude."""
    key = np.uint32(0)
    for byte in name.encode():
        key = np.uint32((int(key) * 31 + byte) & 0xFFFFFFFF)
    i = np.arange(count, dtype=np.uint32)
    total = np.zeros(count)
    for part in range(4):
        h = hash32(i * np.uint32(4) + np.uint32(part) + key)
        total += ((h >> np.uint32(12)).astype(np.float64) - 2.0**19) / 2.0**20
    exponent = hash32(i // np.uint32(64) + np.uint32(77) + key) % np.uint32(4)
    return (total * 2.0**-exponent.astype(np.float64)).astype(np.float32)


def checksum(data):
    """Of bytes, as a hexadecimal number of 64 bits."""
    data = np.frombuffer(data, dtype=np.uint8)
    index = np.arange(len(data), dtype=np.uint32)
    terms = (data.astype(np.uint64) + np.uint64(1)) * hash32(index).astype(np.uint64)
    return f"{int(terms.sum(dtype=np.uint64)):016x}"


def dequantized(packed, state, count, dtype):
    # As one row: with AVX-512, bitsandbytes reads the scales of other blocks if the length of a row
    # is no multiple of 64.
    scales = bitsandbytes.functional.dequantize_blockwise(state.absmax, state.state2)
    scales += state.offset
    out = torch.ops.bitsandbytes.dequantize_4bit.default(packed, scales, 64, "nf4", (count,), dtype)
    return out.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def case(shape, dtype, values):
    tensor = torch.from_numpy(values).reshape(shape).to(DTYPES[dtype])
    packed, state = bitsandbytes.functional.quantize_4bit(
        tensor, blocksize=64, compress_statistics=True, quant_type="nf4")
    assert state.state2.blocksize == 256 and state.offset.dtype == torch.float32
    codes, scales = packed.numpy().tobytes(), state.absmax.numpy().tobytes()
    store = checksum if len(values) > LARGE else bytes.hex
    return {"shape": list(shape), "dtype": dtype, "codes": store(codes), "scales": store(scales),
            "scale_scales": state.state2.absmax.numpy().tobytes().hex(),
            "scale_mean": state.offset.numpy().tobytes().hex(),
            "float32": checksum(dequantized(packed, state, len(values), torch.float32)),
            "bfloat16": checksum(dequantized(packed, state, len(values), torch.bfloat16))}


def nearest_ties():
    """Blocks with scale 1: each midpoint of two levels, and the numbers next to it."""
    midpoints = ((NF4[:-1] + NF4[1:]) / 2).numpy()
    block = np.zeros(64, dtype=np.float32)
    block[:15] = midpoints
    block[15:30] = np.nextafter(midpoints, np.float32(2))
    block[30:45] = np.nextafter(midpoints, np.float32(-2))
    block[45] = 1.0
    return np.concatenate([block, -block, block * np.float32(3), block[:46]])


def explicit_cases():
    spread = np.array([10.0**e for e in range(-37, 27)], dtype=np.float32)
    return {
        "zero": np.zeros(200, dtype=np.float32),
        "zero_blocks": np.concatenate([np.zeros(64), numbers("a", 64), np.zeros(64),
                                       -np.zeros(40)]).astype(np.float32),
        "equal": np.full(128, -0.375, dtype=np.float32),
        "one": np.array([-3.5], dtype=np.float32),
        "ties": nearest_ties(),
        "spread": np.concatenate([spread, -spread[::-1], spread[10:30]]),
        "huge": numbers("huge", 130) * np.float32(2.0**120),
        "tiny": numbers("tiny", 130) * np.float32(2.0**-120),
        "subnormal": numbers("subnormal", 150) * np.float32(2.0**-135),
    }


SHAPES = [(1, 63), (1, 64), (1, 65), (3, 5), (64, 64), (33, 97), (256, 64), (257, 64), (300, 100),
          (576, 192), (1200, 1792)]


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    cases = {}
    for shape in SHAPES:
        name = f"{shape[0]}x{shape[1]}"
        cases[name] = case(shape, "float32", numbers(name, shape[0] * shape[1]))
    for dtype in ("bfloat16", "float16"):
        cases[dtype] = case((65, 130), dtype, numbers(dtype, 65 * 130))
    for name, values in explicit_cases().items():
        cases[name] = {**case((1, len(values)), "float32", values),
                       "values": values.tobytes().hex()}
    map_ = bitsandbytes.functional.create_dynamic_map().numpy().tobytes().hex()
    with open(os.path.join(out, "nf4.json"), "w") as f:
        json.dump({"bitsandbytes": bitsandbytes.__version__, "torch": torch.__version__,
                   "levels": NF4.numpy().tobytes().hex(), "dynamic_map": map_, "cases": cases}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
