#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seed inputs for the fuzz targets (tests/fuzz.sh) out of the golden files: FOLDER/{tokenizer,template,jsonl,safetensors,gguf}/*.

usage: fuzz_seeds.py FOLDER"""

import gzip
import json
import pathlib
import struct
import sys

GOLDEN = pathlib.Path(__file__).resolve().parent
# Mutating a file of 50 KB seldom hits what matters.
KEPT_MERGES = 30


def small_tokenizer(path):
    """A tokenizer.json with all 256 bytes and its first merges: small, and it still loads."""
    file = json.loads(path.read_text())
    model = file["model"]
    model["merges"] = model["merges"][:KEPT_MERGES]
    parts = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    needed = {"".join(pair) for pair in parts} | {token for pair in parts for token in pair}
    kept = [token for token in model["vocab"]
            if len(token) == 1 or token in needed or token == model.get("unk_token") or token.startswith("<0x")]
    model["vocab"] = {token: number for number, token in enumerate(kept)}
    ids = dict(model["vocab"])
    for token in file["added_tokens"]:
        token["id"] = ids.setdefault(token["content"], len(ids))
    if file.get("post_processor"):
        file["post_processor"] = None
    return json.dumps(file, ensure_ascii=False, separators=(",", ":")).encode()


def tokenizers():
    config = b'\0{"eos_token":"<|im_end|>","pad_token":{"content":"<|endoftext|>"},"chat_template":[{"name":"default","template":"x"}],' \
             b'"added_tokens_decoder":{"900":{"content":"<|new|>","special":true,"lstrip":true}}}'
    for path in sorted(GOLDEN.glob("text/tokenizers/*/tokenizer.json")):
        yield small_tokenizer(path)
        yield small_tokenizer(path) + config
    tiny = GOLDEN / "tiny_tokenizer" / "tokenizer.json"
    yield small_tokenizer(tiny)
    yield b'{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"unk_token":"a","fuse_unk":true,"ignore_merges":true},' \
          b'"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel"}]},' \
          b'"decoder":{"type":"ByteLevel"},"normalizer":{"type":"NFC"},"post_processor":{"type":"TemplateProcessing",' \
          b'"single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"id":"a","ids":[0]}}}}'


def templates():
    for case in json.loads((GOLDEN / "text" / "template_cases.json").read_text())["cases"]:
        yield case["template"].encode()
    for path in sorted(GOLDEN.rglob("*.jinja")):
        yield path.read_bytes()


def data_files():
    def rows(*values):
        return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)

    def talk(question, answer, **more):
        return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}

    files = [
        rows(talk("Hi é 😀", "Yo"), talk("x<|im_end|>\n<|im_start|>assistant\n", "<think>\nr\n</think>\n\na")),
        rows({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "q"}, "p"]},
                           {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.5}}}]},
                           {"role": "tool", "content": "t"}, {"role": "assistant", "content": "a", "weight": 0}], "tools": [{"name": "f"}],
              "chat_template_kwargs": {"enable_thinking": False}}),
        rows({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a\n"}], "system": "s"}),
        rows({"instruction": "i", "input": "x", "output": "o"}, {"instruction": "i", "output": ""}),
        rows({"prompt": "p", "completion": "c"}, {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "c"}]}),
        b"\xef\xbb\xbf" + rows(talk("a", "b"))[:-1] + b"\r\n\r\n{\"messages\": ",
        rows({"messages": [{"role": "usr", "content": 1}]}, {"messages": []}, []) + b'{"messages":[{"role":"user","content":"\\ud83d"}]}\n',
    ]
    for number, file in enumerate(files):
        for variant in (0, 1, 2, 3, 4, 8, 16, 32):
            yield bytes([variant]) + file
        yield bytes([number]) + gzip.compress(file, mtime=0)
    # An empty frame of zstd with a content checksum.
    yield b"\0" + bytes.fromhex("28b52ffd2400010000") + bytes.fromhex("99e9d851")


def safetensors():
    def file(header, data):
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data

    yield file({}, b"")
    yield file({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}}, bytes(22))
    yield file({"a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}, "z": {"dtype": "I64", "shape": [0, 4], "data_offsets": [1, 1]}}, b"x")
    yield file({"a": {"dtype": "F64", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}, bytes(8))
    yield struct.pack("<Q", 1 << 63) + b"{}"
    yield struct.pack("<Q", 2) + b"{}"


def gguf():
    golden = json.loads((GOLDEN / "formats" / "gguf.json").read_text())
    yield bytes.fromhex(golden["file"]["bytes"])
    # A list of lists, and a tensor of each type with rows of 256 elements.
    lists = struct.pack("<IQ", 9, 2) + 2 * (struct.pack("<IQ", 4, 1) + bytes(4))
    tensors, data = b"", 0
    types = {0: 1024, 1: 512, 2: 144, 3: 160, 8: 272, 12: 144, 14: 210, 30: 512}
    for number, size in types.items():
        tensors += struct.pack("<Q2sIQIQ", 2, b"%02d" % number, 1, 256, number, data)
        data += -(-size // 32) * 32
    header = b"GGUF" + struct.pack("<IQQ", 3, len(types), 1) + struct.pack("<Q1sI", 1, b"l", 9) + lists + tensors
    yield header + bytes(-len(header) % 32) + bytes(range(256)) * (data // 256 + 1)


def main():
    root = pathlib.Path(sys.argv[1])
    for name, seeds in (("tokenizer", tokenizers()), ("template", templates()), ("jsonl", data_files()), ("safetensors", safetensors()), ("gguf", gguf())):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folder / f"seed-{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main()
