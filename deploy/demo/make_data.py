#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the quick start's data: questions about trainerd's own commands, answered in one fixed form.

    make_data.py            writes commands.train.jsonl, commands.held_out.jsonl and the same questions as pairs of
                            answers, pairs.train.jsonl and pairs.held_out.jsonl, beside this file
    make_data.py --check    exits 1 when the committed files differ from what this writes

Every answer is the line  Run: `COMMAND`  which the base model never gives. A held-out question is a wording that does
not occur in training, its answer does not occur in it, and no two held-out questions share an answer. The rejected answer of a pair names another command, in another form.
"""
import json
import os
import sys

# command: (wordings in training, wording held out or None). Each wording completes "How do I …?".
COMMANDS = {
    "trainctl submit job.yaml": (["submit a job", "queue a training job", "start a fine-tuning job", "send my job file to the daemon"], "hand a job file to trainerd"),
    "trainctl submit job.yaml --watch": (["submit a job and watch it", "queue a job and follow it live", "start a job and see its progress at once"], None),
    "trainctl validate job.yaml": (["check a job file without running it", "validate my job file", "find mistakes in a job file", "test a configuration before training"], "check my job file for mistakes"),
    "trainctl preview job.yaml": (["see which tokens are trained", "preview the training data", "look at a rendered conversation", "see how my conversations are rendered"], "preview my conversations with the trained tokens marked"),
    "trainctl ls": (["list all jobs", "see every job", "show the jobs in the queue", "get an overview of my jobs"], "show a list of all my jobs"),
    "trainctl get JOB": (["see the details of one job", "look at one job's state", "show a single job", "find out what state a job is in"], None),
    "trainctl get JOB -o yaml": (["see a job's full configuration", "show the resolved configuration of a job", "print every setting of a job with its default"], None),
    "trainctl watch JOB": (["follow a job live", "watch the loss of a running job", "see the progress bar of a job", "watch a job while it trains"], None),
    "trainctl pause JOB": (["pause a job", "free the GPU for an hour and go on later", "put a job on hold", "interrupt a job without losing work"], "put my job on hold for an hour"),
    "trainctl resume JOB": (["resume a job", "continue a paused job", "let a paused job go on", "wake up a job that is on hold"], "continue a job that I paused"),
    "trainctl stop JOB": (["stop a job and keep a checkpoint", "end a job early", "stop a job gracefully", "finish a job now and keep its work"], None),
    "trainctl stop JOB --discard": (["stop a job and throw its work away", "discard a running job", "cancel a job without a final checkpoint"], None),
    "trainctl stop JOB --force": (["kill a job that hangs", "force a job to end at once", "end a job that does not react"], None),
    "trainctl rm JOB": (["delete a finished job", "remove a job and its files", "free the disk space of an old job", "get rid of a finished job"], "delete an old job and its files"),
    "trainctl logs JOB": (["read the log of a job", "see what the worker printed", "look at a job's output", "show the log of a job"], "look at the log of a job"),
    "trainctl logs -f JOB": (["follow the log of a job", "keep reading a job's log as it grows", "tail the log of a running job"], None),
    "trainctl checkpoints ls JOB": (["list the checkpoints of a job", "see which checkpoints exist", "find the checkpoints of a job", "show all checkpoints"], "see the checkpoints that a job has"),
    "trainctl wait JOB --for SUCCEEDED": (["wait in a script until a job has finished", "block until a job is done", "wait for the end of a job"], None),
    "trainctl config reference": (["see every key of the job file", "look up the configuration keys", "print the reference of all settings", "find out which settings exist"], "look up all keys of the job file"),
    "trainctl version": (["see which version runs", "print the version of client and daemon", "check the installed version"], None),
    "trainctl submit --from JOB": (["continue a stopped job as a new one", "start a new job from the checkpoint of another", "go on from where an old job ended"], None),
    "trainerd": (["start the daemon", "launch the server", "bring up the service", "run the daemon in the foreground"], None),
    "trainerd-worker devices": (["see which GPUs the machine has", "list the devices of this machine", "find out which devices can be used"], None),
}
FRAMES = [
    "How do I {}?",
    "What do I type to {}?",
    "Which command do I use to {}?",
    "I want to {}. What is the command?",
]
HELD_OUT_FRAME = "How can I {}?"


def answer(command):
    return f"Run: `{command}`"


def row(question, command):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer(command)}]}


def build():
    train, held_out = [], []
    for command, (wordings, held) in COMMANDS.items():
        for wording in wordings:
            train += [row(frame.format(wording), command) for frame in FRAMES]
        if held:
            held_out.append(row(HELD_OUT_FRAME.format(held), command))
    return train, held_out


def pairs(rows):
    """The rows as pairs: the right answer, and a guess that is the next command."""
    commands = list(COMMANDS)
    result = []
    for r in rows:
        question, right = r["messages"]
        other = commands[(commands.index(right["content"][6:-1]) + 1) % len(commands)]
        result.append({"prompt": [question], "chosen": [right], "rejected": [{"role": "assistant", "content": f"I think it is {other}."}]})
    return result


def check_promises(train, held_out):
    questions = {r["messages"][0]["content"] for r in train}
    answers = [r["messages"][1]["content"] for r in held_out]
    assert len(questions) == len(train), "a training question occurs twice"
    assert len(set(answers)) == len(answers) == 10, "held-out answers must be 10 different ones"
    for r in held_out:
        question, text = (m["content"] for m in r["messages"])
        assert question not in questions, question
        assert text not in question and text[6:-1] not in question, question


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    train, held_out = build()
    check_promises(train, held_out)
    different = False
    for name, rows in (("commands.train.jsonl", train), ("commands.held_out.jsonl", held_out),
                       ("pairs.train.jsonl", pairs(train[::len(FRAMES)])), ("pairs.held_out.jsonl", pairs(held_out))):
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        path = os.path.join(folder, name)
        if "--check" in sys.argv:
            with open(path, encoding="utf-8") as file:
                different |= file.read() != text
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    print(f"{len(train)} conversations for training, {len(held_out)} held out")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
