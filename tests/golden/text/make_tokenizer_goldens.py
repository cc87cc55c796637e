#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tokenizers/NAME/{tokenizer.json,tokenizer_config.json,cases.json}: small tokenizers of the
families that we claim, trained here, and what PyPI tokenizers 0.23.3 does with generated texts.

usage: make_tokenizer_goldens.py [NAME…]    (from any folder; needs tokenizers==0.23.3)
"""
import json
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

from texts import WORDS, extremes, generate

PINNED = "0.23.3"
HERE = pathlib.Path(__file__).parent
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
CASED2 = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PREFIX = r"[^\r\n\p{L}\p{N}]?"
TEKKEN = f"{PREFIX}{CASED}|{PREFIX}{CASED2}|" + r"\p{N}|" + TAIL
O200K = f"{PREFIX}{CASED}{CONTRACTION}|{PREFIX}{CASED2}{CONTRACTION}|" + r"\p{N}{1,3}|" + TAIL
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
          r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


FAMILIES = {
    # name: (pre-tokenizer, normaliser, added tokens)
    "gpt2": (pre_tokenizers.ByteLevel(add_prefix_space=False), None, []),
    "gpt2_prefix": (pre_tokenizers.ByteLevel(add_prefix_space=True), None, []),
    "smollm2": (pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)]), None, []),
    "qwen3": (split(QWEN2), normalizers.NFC(), [
        AddedToken("<think>", normalized=False, special=False),
        AddedToken("[X]", normalized=False, lstrip=True, rstrip=True),
        AddedToken("[Y]", normalized=True, single_word=True),
        AddedToken("[Z]", normalized=True, rstrip=True),
        AddedToken("e\u0301", normalized=True)]),
    "llama3": (split(LLAMA3), None, []),
    "nemo": (split(TEKKEN), None, []),
    "o200k": (split(O200K), None, []),
    "qwen35": (split(QWEN35), normalizers.NFC(), []),
}


def training_text():
    # Enough repetition that pairs of letters, words and characters of other scripts merge.
    for seed in range(3):
        yield from generate(400, 100 + seed)
    for word in WORDS:
        for _ in range(20):
            yield f"{word} {word}s\n{word}"


def make(name):
    pre_tokenizer, normalizer, added = FAMILIES[name]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(training_text(), trainer)
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    if name == "llama3":
        model["ignore_merges"] = True
        # A word that no merge makes: only ignore_merges finds it.
        model["vocab"]["Zyzzyva"] = len(model["vocab"])
    if name == "smollm2":  # as the model that was made from a GGUF file: some bytes have no symbol
        kept = [t for t in model["vocab"] if not set(t) & set("òóĄ")]
        model["vocab"] = {t: i for i, t in enumerate(kept)}
        model["merges"] = [m for m in model["merges"] if "".join(m) in model["vocab"]]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(added)
    begin, end = (tokenizer.token_to_id(t) for t in ("<|im_start|>", "<|endoftext|>"))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if name == "llama3":
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing("<|im_start|> $A", special_tokens=[("<|im_start|>", begin)])])
    if name == "gpt2":
        tokenizer.post_processor = processors.TemplateProcessing(
            "<|im_start|> $A <|endoftext|>",
            special_tokens=[("<|im_start|>", begin), ("<|endoftext|>", end)])
    content = json.loads(tokenizer.to_str())
    if name == "gpt2":  # the older spelling of merges
        content["model"]["merges"] = [" ".join(m) for m in content["model"]["merges"]]
    folder = HERE / "tokenizers" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text)
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>"}}))
    reference = Tokenizer.from_str(text)
    cases = []
    texts = list(generate(60, 1, max_pieces=10)) + list(extremes(120))
    texts += ["Zyzzyva Zyzzyvas", " [X] a[X]b", "[Y] x[Y] [Y]", "[Z]\n b", "é e\u0301 \u0065\u0301"]
    for t in texts:
        plain = reference.encode(t, add_special_tokens=False).ids
        case = {"text": t, "ids": plain,
                "decoded": reference.decode(plain, skip_special_tokens=False)}
        skipped = reference.decode(plain, skip_special_tokens=True)
        if skipped != case["decoded"]:
            case["decoded_plain"] = skipped
        if len(cases) < 3:
            case["ids_with_specials"] = reference.encode(t, add_special_tokens=True).ids
        cases.append(case)
    (folder / "cases.json").write_text(json.dumps(
        {"source": f"tokenizers {PINNED}", "cases": cases}, ensure_ascii=False,
        separators=(",", ":")))


SPACE = "\u2581"
LEGACY = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def spaces_back(strip):
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * strip)


def special(*contents, **flags):
    return [AddedToken(c, special=True, normalized=False, **flags) for c in contents]


# SentencePiece-style. name: (normalizer, pre-tokenizer, decoder, added tokens, post-processor)
SENTENCE_PIECE = {
    # Llama 2, TinyLlama, Mistral 7B v0.1. In old files the control tokens are normalized.
    "llama2": (LEGACY, None, spaces_back(1),
               special("<unk>", "<s>") + [AddedToken("</s>", special=True, normalized=True)], "<s> $A"),
    # Mistral 7B v0.3 and Llama 2 in the newer form
    "mistral": (None, pre_tokenizers.Metaspace(SPACE, "first", False), spaces_back(1),
                special("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "<s> $A"),
    "phi3": (LEGACY, None, spaces_back(1),
             special("<unk>", "<s>") + special("</s>", "<|end|>", "<|assistant|>", rstrip=True)
             + [AddedToken("<fim>", special=False, normalized=True, lstrip=True, rstrip=True)], "$A"),
    # The runs of white space are added tokens.
    "gemma": (normalizers.Replace(" ", SPACE),
              pre_tokenizers.Split(" ", "merged_with_previous"), spaces_back(0),
              special("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
              + [AddedToken(c, special=False, normalized=False)
                 for c in ("\n\n", "\n\n\n", SPACE * 2, "\t\t", "<b>")], "<bos> $A"),
}


def all_splits(pieces):
    """The merges that transformers derives from the pieces of a SentencePiece model: each way to
    make a piece of two others, in the order of the pieces."""
    known = {p: i for i, p in enumerate(pieces)}
    merges = []
    for piece in pieces:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        merges += sorted((s for s in splits if s[0] in known and s[1] in known),
                         key=lambda s: (known[s[0]], known[s[1]]))
    return merges


def make_sentence_piece(name):
    normalizer, pre_tokenizer, decoder, added, template = SENTENCE_PIECE[name]
    trained = Tokenizer(models.BPE())
    # Only Mistral's pieces cross spaces here.
    trained.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "always", name != "mistral")
    trainer = trainers.BpeTrainer(vocab_size=560, show_progress=False, limit_alphabet=160)
    trained.train_from_iterator(training_text(), trainer)
    model = json.loads(trained.to_str())["model"]
    # As in SentencePiece, white space other than spaces has no pieces of its own (but Gemma's).
    pieces = [p for p in model["vocab"] if name == "gemma" or not set(p) & set("\n\r\t")]
    control = [t.content for t in added if t.special and t.content[0] == "<" and t.content[1] != "|"]
    vocabulary = control + [f"<0x{b:02X}>" for b in range(256)] + pieces
    assert len(set(vocabulary)) == len(vocabulary)
    merges = (all_splits(pieces) if name != "mistral" else
              [tuple(m) for m in model["merges"] if "".join(m) in pieces and set(m) <= set(pieces)])
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(vocabulary)}, merges,
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    tokenizer.post_processor = processors.TemplateProcessing(
        template, special_tokens=[(t, tokenizer.token_to_id(t)) for t in control])
    folder = HERE / "tokenizers" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text)
    end = "<eos>" if name == "gemma" else "</s>"
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<bos>" if name == "gemma" else "<s>", "eos_token": end, "unk_token": "<unk>"}))
    reference = Tokenizer.from_str(text)
    names = [t.content for t in added] + [SPACE, SPACE * 2, "<0x0A>", "a" + SPACE + " b"]
    texts = list(generate(45, 1, names, max_pieces=7))
    texts += [t for t in extremes(120) if len(t) <= 120]
    texts += [" ", "  a", "a ", "<s> a</s>b <s>", "x<fim> y", "[INST] a [/INST] b</s>", "a\n\nb\n"]
    cases = []
    for t in texts:
        encoding = reference.encode(t, add_special_tokens=False)
        case = {"text": t, "ids": encoding.ids, "offsets": [i for o in encoding.offsets for i in o],
                "decoded": reference.decode(encoding.ids, skip_special_tokens=False)}
        skipped = reference.decode(encoding.ids, skip_special_tokens=True)
        if skipped != case["decoded"]:
            case["decoded_plain"] = skipped
        if len(cases) < 3:
            case["ids_with_specials"] = reference.encode(t, add_special_tokens=True).ids
        cases.append(case)
    (folder / "cases.json").write_text(json.dumps(
        {"source": f"tokenizers {PINNED}", "cases": cases}, ensure_ascii=False,
        separators=(",", ":")))


if __name__ == "__main__":
    assert tokenizers.__version__ == PINNED, f"needs tokenizers {PINNED}"
    for family in sys.argv[1:] or [*FAMILIES, *SENTENCE_PIECE]:
        (make if family in FAMILIES else make_sentence_piece)(family)
